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

pub(crate) fn plan(action: Action) -> Plan {
    let rolls_back = action == Action::Rollback;
    Plan {
        action,
        reason: "because".to_owned(),
        release: Release {
            stack: "shop".to_owned(),
            action: match rolls_back {
                true => RequestedAction::Rollback,
                false => RequestedAction::Deploy,
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
    assert_eq!(in_turn(&on_alarm("disk", at), &unsettled, false), none);
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
    assert_eq!(in_turn(&plan, &unsettled, false), expected);
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
        assert_eq!(in_turn(&plan, &unsettled, false), Action::Settle.into());
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
        let decision = in_turn(&on_alarm("errors", at), &turn, false);
        let expected = expected.map_or(Action::Rollback.into(), nothing_to_roll_back);
        assert_eq!(decision, expected, "{at} {turn:?}");
    }
}

#[test]
fn a_person_needs_no_reason_to_go_back() {
    for turn in [turn(&[]), deployed(&[("currentAction", "rollback")])] {
        let decision = in_turn(&plan(Action::Rollback), &turn, false);
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
            assert_eq!(in_turn(&plan, &turn, false), *expected, "{known}");
        }
        for earlier in [EARLIER, ORDER] {
            let turn = turn(&[("deployed:shop", earlier), ("verified:shop", "sha256:1")]);
            assert_eq!(in_turn(&plan, &turn, false), action.into(), "{earlier}");
        }
        plan.release.force = true;
        let turn = turn(&[("deployed:shop", LATER), ("verified:shop", "sha256:1")]);
        assert_eq!(in_turn(&plan, &turn, false), action.into());
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
        let decision = in_turn(&plan(Action::Verify), &turn, touched);
        assert_eq!(decision, *expected, "{known:?} {touched}");
    }
}

#[test]
fn what_does_not_run_yet_is_deployed_even_if_it_was_found_healthy_once() {
    let turn = turn(&[("verified:shop", DIGEST)]);
    for action in [Action::Migrate, Action::Deploy] {
        assert_eq!(in_turn(&plan(action), &turn, false), action.into());
    }
}
