//! Who waits for whom, and who gives way, when releases of a stack meet.

use super::*;
use crate::sample::{ME, NOW, OTHER, START, alarm, push, redriven, rollback};
use crate::turn::CLOCKS_MS;

const HOLDER: &str = "arn:aws:states:eu-west-1:123456789012:execution:deploy:holder";
const EARLIER: &str = "2026-01-01T00:00:00#2026-01-01T00:00:00.000Z";
const MINE: &str = "2026-01-01T00:00:05#2026-01-01T00:00:05.000Z";
const LATER: &str = "2026-01-01T00:00:09#2026-01-01T00:00:09.000Z";

fn web() -> TakeTurnInput {
    push(ME, "web", MINE)
}

fn held_by(execution: &str) -> Option<Holder> {
    Some(Holder {
        execution: execution.to_owned(),
        redrives: 0,
        since: START.to_owned(),
        record: "release#1#holder".to_owned(),
        digest: None,
        order: None,
        waits_for: None,
        changing_until: None,
        changing_by: None,
        goes_back: false,
    })
}

/// Another release has the turn, and a third one the place in line.
fn behind(order: &str, waits_for: &str) -> Turn {
    Turn {
        holder: held_by(HOLDER),
        waiting: in_line(OTHER, order, waits_for),
        ..Turn::default()
    }
}

fn in_line(execution: &str, order: &str, waits_for: &str) -> Option<Waiting> {
    Some(Waiting {
        execution: execution.to_owned(),
        order: order.to_owned(),
        digest: None,
        waits_for: waits_for.to_owned(),
    })
}

fn held() -> Turn {
    Turn {
        holder: held_by(HOLDER),
        ..Turn::default()
    }
}

/// I have the place in line.
fn next() -> Turn {
    Turn {
        waiting: in_line(ME, MINE, "web"),
        ..held()
    }
}

/// What is done where everybody else lives.
fn among_the_living(turn: &Turn, me: &TakeTurnInput) -> Step {
    with(turn, me, &Life::Running)
}

fn with(turn: &Turn, me: &TakeTurnInput, life: &Life) -> Step {
    step(&Seen {
        turn,
        me,
        holder: Some(life),
        waiting: Some(life),
        now: NOW,
    })
}

fn aborted() -> Life {
    Life::Ended {
        status: "ABORTED".to_owned(),
        redrives: 0,
    }
}

fn stand_in_line() -> Step {
    Step::StandInLine { displacing: None }
}

fn displace() -> Step {
    let displacing = Some(OTHER.to_owned());
    Step::StandInLine { displacing }
}

fn give_way(to: &str) -> Step {
    Step::GiveWay { to: to.to_owned() }
}

const WAIT: Step = Step::Wait { until: None };

#[test]
fn the_newer_of_two_releases_of_a_repository_is_the_next() {
    let turn = behind(LATER, "web");
    assert_eq!(among_the_living(&turn, &web()), give_way(OTHER));
    let turn = behind(EARLIER, "web");
    assert_eq!(among_the_living(&turn, &web()), displace());
}

#[test]
fn an_older_rival_is_displaced_whether_it_lives_or_not() {
    let turn = behind(EARLIER, "web");
    let unasked = Seen {
        turn: &turn,
        me: &web(),
        holder: None,
        waiting: None,
        now: NOW,
    };
    assert_eq!(step(&unasked), displace());
}

#[test]
fn a_release_of_another_repository_keeps_its_place() {
    for order in [EARLIER, LATER] {
        let turn = behind(order, "worker");
        assert_eq!(among_the_living(&turn, &web()), WAIT, "{order}");
    }
}

#[test]
fn a_rollback_is_for_the_images_of_all_repositories() {
    let turn = behind(EARLIER, "web");
    assert_eq!(among_the_living(&turn, &rollback(ME, MINE)), displace());
    let turn = behind(LATER, EVERY_REPOSITORY);
    assert_eq!(among_the_living(&turn, &web()), give_way(OTHER));
}

#[test]
fn the_place_of_a_release_that_ended_is_taken_whatever_it_was_for() {
    for waits_for in ["web", "worker", EVERY_REPOSITORY] {
        let turn = behind(LATER, waits_for);
        assert_eq!(with(&turn, &web(), &aborted()), stand_in_line());
    }
}

#[test]
fn a_release_whose_place_is_gone_was_replaced_by_who_has_the_turn() {
    let mut turn = held();
    let holder = turn.holder.as_mut().unwrap();
    holder.order = Some(LATER.to_owned());
    holder.waits_for = Some("web".to_owned());
    assert_eq!(among_the_living(&turn, &web()), give_way(HOLDER));
    turn.waiting = in_line(OTHER, EARLIER, "worker");
    assert_eq!(among_the_living(&turn, &web()), give_way(HOLDER));
}

#[test]
fn one_that_replaced_others_and_is_dead_has_nobody_wait_for_it() {
    let mut turn = held();
    let holder = turn.holder.as_mut().unwrap();
    holder.order = Some(LATER.to_owned());
    holder.waits_for = Some("web".to_owned());
    assert_eq!(with(&turn, &web(), &aborted()), stand_in_line());
}

#[test]
fn who_finds_the_place_empty_behind_another_release_stands_in_line() {
    assert_eq!(among_the_living(&held(), &web()), stand_in_line());
    for (order, waits_for) in [(EARLIER, "web"), (LATER, "worker")] {
        let mut turn = held();
        let holder = turn.holder.as_mut().unwrap();
        holder.order = Some(order.to_owned());
        holder.waits_for = Some(waits_for.to_owned());
        assert_eq!(among_the_living(&turn, &web()), stand_in_line());
    }
}

#[test]
fn a_turn_that_nobody_has_and_nobody_waits_for_is_taken_at_once() {
    assert_eq!(among_the_living(&Turn::default(), &web()), Step::Take);
}

#[test]
fn who_is_next_takes_a_free_turn_and_waits_for_a_living_one() {
    let mut turn = next();
    assert_eq!(among_the_living(&turn, &web()), WAIT);
    turn.holder = None;
    assert_eq!(among_the_living(&turn, &web()), Step::Take);
}

#[test]
fn a_free_turn_is_left_to_who_is_next() {
    let mut turn = behind(LATER, "worker");
    turn.holder = None;
    assert_eq!(among_the_living(&turn, &web()), WAIT);
}

#[test]
fn an_alarm_does_not_queue() {
    let fired = alarm(ME, MINE);
    let mut turn = behind(LATER, "web");
    assert_eq!(among_the_living(&turn, &fired), WAIT);
    turn.holder = None;
    assert_eq!(among_the_living(&turn, &fired), Step::Take);
    assert_eq!(among_the_living(&Turn::default(), &fired), Step::Take);
}

#[test]
fn a_dead_one_is_taken_over_by_who_is_next_and_by_an_alarm() {
    let over = Step::TakeOver {
        status: "ABORTED".to_owned(),
    };
    assert_eq!(with(&next(), &web(), &aborted()), over);
    let turn = behind(LATER, "web");
    assert_eq!(with(&turn, &alarm(ME, MINE), &aborted()), over);
}

#[test]
fn a_dead_one_keeps_its_turn_until_its_last_call_is_over() {
    let mut turn = next();
    let over = NOW - CLOCKS_MS;
    turn.holder.as_mut().unwrap().changing_until = Some(over + 1);
    let until = Some(NOW + 1);
    assert_eq!(with(&turn, &web(), &aborted()), Step::Wait { until });
    turn.holder.as_mut().unwrap().changing_until = Some(over);
    assert!(matches!(
        with(&turn, &web(), &aborted()),
        Step::TakeOver { .. }
    ));
}

#[test]
fn whether_another_one_lives_is_asked_only_where_it_matters() {
    let holder = Step::NeedLife { of: Who::Holder };
    let waiting = Step::NeedLife { of: Who::Waiting };
    let mut newer = held();
    newer.holder.as_mut().unwrap().order = Some(LATER.to_owned());
    newer.holder.as_mut().unwrap().waits_for = Some("web".to_owned());
    for (turn, me, expected) in [
        (next(), web(), holder.clone()),
        (newer, web(), holder),
        (behind(LATER, "web"), web(), waiting.clone()),
        (behind(EARLIER, "worker"), web(), waiting),
        (held(), web(), stand_in_line()),
        (Turn::default(), web(), Step::Take),
    ] {
        let seen = Seen {
            turn: &turn,
            me: &me,
            holder: None,
            waiting: None,
            now: NOW,
        };
        assert_eq!(step(&seen), expected);
    }
}

#[test]
fn an_execution_that_step_functions_does_not_know_may_have_just_begun() {
    let since = millis_of(START).unwrap();
    for (now, lives) in [
        (since + MAY_BE_NEW_MS - 1, true),
        (since + MAY_BE_NEW_MS, false),
    ] {
        let gone = Step::TakeOver {
            status: "GONE".to_owned(),
        };
        let seen = |turn: &Turn, me: &TakeTurnInput| {
            step(&Seen {
                turn,
                me,
                holder: Some(&Life::Unknown),
                waiting: Some(&Life::Unknown),
                now,
            })
        };
        let expected = if lives { WAIT } else { gone };
        assert_eq!(seen(&next(), &web()), expected);
        let expected = if lives { WAIT } else { stand_in_line() };
        let of_place = behind(MINE, "worker");
        assert_eq!(seen(&of_place, &push(ME, "web", LATER)), expected);
    }
}

#[test]
fn the_turn_is_kept_by_the_try_that_took_it() {
    let turn = Turn {
        holder: held_by(ME),
        ..Turn::default()
    };
    assert_eq!(among_the_living(&turn, &web()), Step::Keep);
    assert_eq!(among_the_living(&turn, &alarm(ME, MINE)), Step::Keep);
}

#[test]
fn a_redriven_one_retakes_its_turn_when_the_last_call_of_its_earlier_try_is_over() {
    let mut turn = Turn {
        holder: held_by(ME),
        ..Turn::default()
    };
    let me = redriven(web(), 1);
    assert_eq!(among_the_living(&turn, &me), Step::Retake);
    turn.holder.as_mut().unwrap().changing_until = Some(NOW);
    let until = Some(NOW + CLOCKS_MS);
    assert_eq!(among_the_living(&turn, &me), Step::Wait { until });
}

#[test]
fn a_late_call_of_an_earlier_try_leaves_the_turn_to_the_later_one() {
    let mut turn = Turn {
        holder: held_by(ME),
        ..Turn::default()
    };
    turn.holder.as_mut().unwrap().redrives = 1;
    assert_eq!(among_the_living(&turn, &web()), WAIT);
}

#[test]
fn a_redriven_one_lives_though_step_functions_tells_of_before() {
    let mut turn = next();
    turn.holder.as_mut().unwrap().redrives = 1;
    assert_eq!(with(&turn, &web(), &aborted()), WAIT);
}
