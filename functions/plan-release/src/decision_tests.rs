use super::*;
use bluegreen_contract::Limits;
use bluegreen_release::Value;
use std::collections::BTreeMap;

const EARLIER: &str = "2026-01-01T00:00:00#";
const ORDER: &str = "2026-01-01T00:00:05#";
const LATER: &str = "2026-01-01T00:00:09#";
const DIGEST: &str = "sha256:2";
/// 2026-01-01T00:00:00Z in milliseconds since 1970.
const MIDNIGHT: i64 = 1_767_225_600_000;
/// Half an hour later.
const NOW: i64 = MIDNIGHT + 1_800_000;

pub(crate) fn plan(action: Action) -> Plan {
    let rolls_back = action == Action::Rollback;
    Plan {
        action,
        reason: "because".to_owned(),
        release: Release {
            stack: "shop".to_owned(),
            action: match action {
                Action::Rollback => RequestedAction::Rollback,
                Action::Contract => RequestedAction::Contract,
                _ => RequestedAction::Deploy,
            },
            repository: (!rolls_back).then(|| "shop".to_owned()),
            tag: None,
            images_before: vec![],
            commit: None,
            commit_url: None,
            digest: (!rolls_back).then(|| DIGEST.to_owned()),
            image: None,
            record: "release#2#shop-v2".to_owned(),
            order: ORDER.to_owned(),
            started_at: "2026-01-01T00:00:05.000Z".to_owned(),
            pushed_at: None,
            started_by: "a person".to_owned(),
            to: None,
            contracts: (action == Action::Contract).then(|| "release#1#shop-v1".to_owned()),
            alarm: None,
            force: false,
            ignore_alarms: false,
        },
        ending: None,
        image_parameters: BTreeMap::new(),
        services: vec![],
        migration: None,
        migrations: None,
        post_deploy: None,
        contract: None,
        alarms: vec!["errors".to_owned()],
        health_check_url: None,
        limits: Limits {
            rollback_window_seconds: 900,
            target_health_minutes: 10,
            ..Limits::default()
        },
        update: None,
        revisions: vec![],
        image_configs: vec![],
        notes: vec![],
    }
}

fn on_alarm(name: &str, at: &str) -> Plan {
    let mut plan = plan(Action::Rollback);
    plan.release.alarm = Some(FiredAlarm {
        name: name.to_owned(),
        at: at.to_owned(),
    });
    plan
}

/// The stack's item as the table holds it. Times are numbers, all else is text.
pub(crate) fn turn(attributes: &[(&str, &str)]) -> Turn {
    let item = attributes.iter().map(|(name, value)| {
        let value = match *name {
            "currentFrom" | "currentFinished" | "rolledBackAt" => {
                Value::Number(value.parse().unwrap())
            }
            _ => Value::Text((*value).to_owned()),
        };
        ((*name).to_owned(), value)
    });
    Turn::from_item(&item.collect())
}

/// A deployment that was begun at midnight and found healthy a minute later, and more.
fn deployed(more: &[(&str, &str)]) -> Turn {
    let (from, finished) = (MIDNIGHT.to_string(), (MIDNIGHT + 60_000).to_string());
    let current = [
        ("currentRecord", "release#1#shop-v1"),
        ("currentAction", "deploy"),
        ("currentFrom", &*from),
        ("currentFinished", &*finished),
    ];
    let kept = current
        .into_iter()
        .filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    turn(&kept.chain(more.iter().copied()).collect::<Vec<_>>())
}

fn nothing_to_roll_back(why: AlarmIsNoReason) -> Decision {
    why.into()
}

#[test]
fn an_alarm_that_guards_no_deployment_needs_no_turn() {
    let none = nothing_to_roll_back(AlarmIsNoReason::GuardsNoDeployment);
    let at = "2026-01-01T00:05:00Z";
    assert_eq!(before_the_turn(&on_alarm("disk", at)), none);
    assert_eq!(
        before_the_turn(&on_alarm("errors", at)),
        Action::Rollback.into()
    );
    // Nor does it wait for anything that an earlier release left.
    let unsettled = deployed(&[("unsettled", "arn:dead")]);
    assert_eq!(in_turn(&on_alarm("disk", at), &unsettled, false, NOW), none);
}

#[test]
fn the_alarm_of_a_stack_that_is_not_deployed_to_stays_nobodys_business() {
    let ending = Ending::NothingToRollBack {
        why: AlarmIsNoReason::NotDeployedTo("There is nothing to deploy to.".to_owned()),
    };
    let plan = Plan {
        action: Action::End,
        ending: Some(ending.clone()),
        alarms: vec![],
        ..on_alarm("errors", "2026-01-01T00:05:00Z")
    };
    let expected = Decision {
        action: Action::End,
        ending: Some(ending),
    };
    assert_eq!(before_the_turn(&plan), expected);
    let unsettled = deployed(&[("unsettled", "arn:dead")]);
    assert_eq!(in_turn(&plan, &unsettled, false, NOW), expected);
}

#[test]
fn what_an_earlier_release_left_comes_to_rest_before_anything_is_decided() {
    let unsettled = deployed(&[("unsettled", "arn:dead"), ("deployed:shop", LATER)]);
    for plan in [
        plan(Action::Deploy),
        plan(Action::Migrate),
        plan(Action::Verify),
        plan(Action::Rollback),
        on_alarm("errors", "2025-12-31T23:00:00Z"),
    ] {
        assert_eq!(
            in_turn(&plan, &unsettled, false, NOW),
            Action::Settle.into()
        );
    }
}

#[test]
fn an_alarm_is_a_reason_to_go_back_from_a_deployment_of_a_short_while_ago_alone() {
    let (rolled_back, long_ago) = ((MIDNIGHT + 60_000).to_string(), MIDNIGHT.to_string());
    let after = AlarmIsNoReason::AfterTheWindow { seconds: 900 };
    for (turn, at, expected) in [
        (
            turn(&[]),
            "2026-01-01T00:05:00Z",
            Some(AlarmIsNoReason::NoRelease),
        ),
        (
            deployed(&[("currentAction", "rollback")]),
            "2026-01-01T00:05:00Z",
            Some(AlarmIsNoReason::JustRolledBack),
        ),
        (
            deployed(&[("rolledBackAt", &rolled_back)]),
            "2026-01-01T00:05:00Z",
            Some(AlarmIsNoReason::JustRolledBack),
        ),
        (
            deployed(&[("rolledBackAt", &long_ago)]),
            "2026-01-01T00:05:00Z",
            None,
        ),
        (
            deployed(&[]),
            "2025-12-31T23:59:59.999Z",
            Some(AlarmIsNoReason::BeforeTheRelease),
        ),
        (deployed(&[]), "2026-01-01T00:00:00Z", None),
        (deployed(&[]), "2026-01-01T00:16:00Z", None),
        (deployed(&[]), "2026-01-01T00:16:00.001Z", Some(after)),
    ] {
        let decision = in_turn(&on_alarm("errors", at), &turn, false, NOW);
        let expected = expected.map_or(Action::Rollback.into(), nothing_to_roll_back);
        assert_eq!(decision, expected, "{at} {turn:?}");
    }
}

#[test]
fn a_person_needs_no_reason_to_go_back() {
    for turn in [turn(&[]), deployed(&[("currentAction", "rollback")])] {
        let decision = in_turn(&plan(Action::Rollback), &turn, false, NOW);
        assert_eq!(decision, Action::Rollback.into());
    }
}

#[test]
fn a_push_that_is_older_than_what_was_deployed_is_stale_unless_it_is_forced() {
    let stale = Decision {
        action: Action::End,
        ending: Some(Ending::Stale),
    };
    for action in [Action::Migrate, Action::Deploy, Action::Verify] {
        let mut plan = plan(action);
        for (known, expected) in [
            ("deployed:shop", &stale),
            ("deployed:worker", &Decision::from(action)),
        ] {
            let turn = turn(&[(known, LATER), ("verified:shop", "sha256:1")]);
            assert_eq!(in_turn(&plan, &turn, false, NOW), *expected, "{known}");
        }
        for earlier in [EARLIER, ORDER] {
            let turn = turn(&[("deployed:shop", earlier), ("verified:shop", "sha256:1")]);
            assert_eq!(
                in_turn(&plan, &turn, false, NOW),
                action.into(),
                "{earlier}"
            );
        }
        plan.release.force = true;
        let turn = turn(&[("deployed:shop", LATER), ("verified:shop", "sha256:1")]);
        assert_eq!(in_turn(&plan, &turn, false, NOW), action.into());
    }
}

#[test]
fn what_runs_already_is_verified_unless_a_release_has_found_it_healthy() {
    let record = Decision {
        action: Action::Record,
        ending: Some(Ending::NothingToDeploy),
    };
    let verify = Decision::from(Action::Verify);
    for (known, touched, expected) in [
        (Some(("verified:shop", DIGEST)), false, &record),
        (Some(("verified:shop", DIGEST)), true, &record),
        (Some(("verified:shop", "sha256:1")), false, &verify),
        // It came with the stack itself.
        (None, false, &record),
        (Some(("verified:worker", "sha256:1")), false, &record),
        // It came by an earlier try of this execution.
        (None, true, &verify),
    ] {
        let turn = turn(known.as_slice());
        let decision = in_turn(&plan(Action::Verify), &turn, touched, NOW);
        assert_eq!(decision, *expected, "{known:?} {touched}");
    }
}

#[test]
fn what_does_not_run_yet_is_deployed_even_if_it_was_found_healthy_once() {
    let turn = turn(&[("verified:shop", DIGEST)]);
    for action in [Action::Migrate, Action::Deploy] {
        assert_eq!(in_turn(&plan(action), &turn, false, NOW), action.into());
    }
}

mod a_contract_command {
    use super::*;

    const OWN: &str = "release#1#shop-v1";

    /// What there is to do, half an hour after midnight: the release was found healthy a minute after
    /// midnight, and its window is a quarter of an hour.
    fn of(turn: &Turn, change: impl Fn(&mut Plan)) -> Result<(), NotContracted> {
        let mut plan = plan(Action::Contract);
        change(&mut plan);
        match in_turn(&plan, turn, false, NOW) {
            Decision {
                action: Action::Contract,
                ending: None,
            } => Ok(()),
            Decision {
                action: Action::End,
                ending: Some(Ending::NothingToContract { why }),
            } => Err(why),
            other => panic!("{other:?}"),
        }
    }

    fn due(release: &str, at: i64) -> String {
        format!(r#"{{"release":"{release}","at":{at}}}"#)
    }

    fn run(release: &str, by: &str) -> String {
        format!(r#"{{"release":"{release}","by":"{by}"}}"#)
    }

    #[test]
    fn runs_when_the_window_has_passed_and_the_release_still_serves() {
        assert_eq!(of(&deployed(&[]), |_| ()), Ok(()));
        let passed = due(OWN, NOW);
        assert_eq!(of(&turn(&[("contractDue:shop", &passed)]), |_| ()), Ok(()));
        // A release of another repository is the stack's newest one.
        let other = [
            ("contractDue:shop", &*passed),
            ("currentRecord", "release#2#worker"),
        ];
        assert_eq!(of(&deployed(&other), |_| ()), Ok(()));
    }

    #[test]
    fn does_not_run_before_that_unless_it_is_forced() {
        let early = Err(NotContracted::BeforeItsTime {
            until: "2026-01-01T01:01:00.000Z".to_owned(),
        });
        let hour = |plan: &mut Plan| plan.limits.rollback_window_seconds = 3600;
        assert_eq!(of(&deployed(&[]), hour), early);
        let until = due(OWN, MIDNIGHT + 3_660_000);
        let waits = deployed(&[("contractDue:shop", &until)]);
        assert_eq!(of(&waits, |_| ()), early);
        assert_eq!(of(&waits, |plan| plan.release.force = true), Ok(()));
    }

    #[test]
    fn is_nobodys_once_the_release_was_taken_back_or_another_one_serves() {
        let force = |plan: &mut Plan| plan.release.force = true;
        let back = deployed(&[("currentAction", "rollback")]);
        assert_eq!(of(&back, force), Err(NotContracted::RolledBack));
        let other = deployed(&[("currentRecord", "release#2#shop-v2")]);
        assert_eq!(of(&other, force), Err(NotContracted::NoRelease));
        let stale = due("release#0#shop-v0", MIDNIGHT);
        let other = turn(&[("contractDue:shop", &stale)]);
        assert_eq!(of(&other, force), Err(NotContracted::NoRelease));
        assert_eq!(of(&turn(&[]), force), Err(NotContracted::NoRelease));
    }

    #[test]
    fn runs_once_for_a_release_and_again_only_where_that_is_forced_or_redriven() {
        let by = "release#2#shop-contract";
        let already = deployed(&[("contracted:shop", &run(OWN, by))]);
        let refused = Err(NotContracted::Already {
            by: "shop-contract".to_owned(),
        });
        assert_eq!(of(&already, |_| ()), refused);
        assert_eq!(of(&already, |plan| plan.release.force = true), Ok(()));
        let redriven = |plan: &mut Plan| plan.release.record = by.to_owned();
        assert_eq!(of(&already, redriven), Ok(()));
        let earlier = run("release#0#shop-v0", by);
        assert_eq!(
            of(&deployed(&[("contracted:shop", &earlier)]), |_| ()),
            Ok(())
        );
    }

    #[test]
    fn waits_until_what_an_earlier_release_left_has_come_to_rest() {
        let unsettled = deployed(&[("unsettled", "arn:dead")]);
        let plan = plan(Action::Contract);
        assert_eq!(
            in_turn(&plan, &unsettled, false, NOW),
            Action::Settle.into()
        );
    }
}
