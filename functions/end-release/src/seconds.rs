//! How long the parts of a release took.

use aws_smithy_types::date_time::{DateTime, Format};
use bluegreen_contract::{EndReleaseInput, Health, Verdict};
use bluegreen_release::Seconds;

/// `now` in milliseconds since 1970. What the release did not come to, or did not end well, has no
/// duration.
pub(crate) fn of(input: &EndReleaseInput, now: i64) -> Seconds {
    let started = input.plan.as_ref().and_then(|plan| {
        let started = DateTime::from_str(&plan.release.started_at, Format::DateTime).ok()?;
        started.to_millis().ok()
    });
    let turn = input.turn.as_ref().filter(|turn| turn.taken);
    let requested = input.target.as_ref().is_some_and(|target| target.requested);
    let (from, verified) = match requested {
        true => (input.rolled_back_at, &input.rollback),
        false => (input.updated_at, &input.health),
    };
    Seconds {
        total: between(started, Some(now)),
        until_turn: between(started, turn.map(|turn| turn.at)),
        migration: between(
            input.migration.as_ref().map(|started| started.at),
            input.migrated.as_ref().map(|ended| ended.at),
        ),
        deployment: between(from, verified.as_ref().and_then(succeeded_at)),
    }
}

fn succeeded_at(health: &Health) -> Option<i64> {
    (health.verdict == Verdict::Succeeded).then_some(health.at)
}

/// To a tenth of a second.
fn between(from: Option<i64>, to: Option<i64>) -> Option<f64> {
    let millis = to? - from?;
    Some((millis as f64 / 100.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::input;
    use serde_json::json;

    fn written(input: &EndReleaseInput) -> serde_json::Value {
        serde_json::to_value(of(input, 1_767_225_690_000)).unwrap()
    }

    #[test]
    fn every_part_that_a_release_came_to_has_its_duration() {
        let mut input = input(json!({
            "turn": {"taken": true, "at": 1_767_225_602_340_i64},
            "migration": crate::samples::migration(),
            "migrated": {"exitCode": 0, "at": 1_767_225_613_100_i64},
            "updatedAt": 1_767_225_620_000_i64,
            "health": {"verdict": "succeeded", "cause": "", "at": 1_767_225_680_060_i64}
        }));
        let all = json!({"total": 90.0, "untilTurn": 2.3, "migration": 3.1, "deployment": 60.1});
        assert_eq!(written(&input), all);

        input.health.as_mut().unwrap().verdict = Verdict::Unhealthy;
        input.migrated = None;
        assert_eq!(written(&input), json!({"total": 90.0, "untilTurn": 2.3}));
    }

    #[test]
    fn a_release_that_never_had_its_turn_only_took_its_time() {
        let turn = json!({"turn": {"taken": false, "at": 1_767_225_602_340_i64}});
        assert_eq!(written(&input(turn)), json!({"total": 90.0}));
        assert_eq!(written(&input(json!({"plan": null}))), json!({}));
    }

    #[test]
    fn the_deployment_of_a_rollback_that_was_asked_for_is_the_rollback() {
        let input = input(json!({
            "target": crate::samples::target(true),
            "rolledBackAt": 1_767_225_620_000_i64,
            "rollback": {"verdict": "succeeded", "cause": "", "at": 1_767_225_640_000_i64}
        }));
        assert_eq!(written(&input)["deployment"], 20.0);
    }
}
