//! Whether a container that has ended is started again.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-restart-policy.html>

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::clock::Clock;
use crate::ecs::model::restarts::RestartPolicy;

/// What ECS takes as `restartAttemptPeriod`, in seconds.
const PERIODS: RangeInclusive<u64> = 60..=1800;
const MAX_IGNORED_EXIT_CODES: usize = 50;

/// Whether a container starts again that `ran` for so long and ended with `code`.
pub(in crate::ecs) fn restarts(
    policy: Option<&RestartPolicy>,
    code: i32,
    ran: Duration,
    clock: Clock,
) -> bool {
    policy.is_some_and(|policy| {
        policy.enabled
            && !policy.ignored_exit_codes.contains(&code)
            && ran >= clock.scaled(policy.period())
    })
}

/// What RegisterTaskDefinition refuses of `restartPolicy`; the text says what is wrong.
pub(super) fn validate(policy: &RestartPolicy, container: &str) -> Result<(), String> {
    if policy
        .restart_attempt_period
        .is_some_and(|period| !PERIODS.contains(&period))
    {
        return Err(format!(
            "The restartAttemptPeriod of container '{container}' must be between {} and {} seconds.",
            PERIODS.start(),
            PERIODS.end()
        ));
    }
    if policy.ignored_exit_codes.len() > MAX_IGNORED_EXIT_CODES {
        return Err(format!(
            "The restart policy of container '{container}' can ignore at most \
             {MAX_IGNORED_EXIT_CODES} exit codes."
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(more: Value) -> RestartPolicy {
        let mut policy = json!({"enabled": true});
        let more = more.as_object().unwrap().clone();
        policy.as_object_mut().unwrap().extend(more);
        serde_json::from_value(policy).unwrap()
    }

    #[test]
    fn what_ran_for_its_period_starts_again_whatever_its_exit_code_is_that_is_not_ignored() {
        let default = policy(json!({}));
        let minute = policy(json!({"restartAttemptPeriod": 60}));
        let ignoring = policy(json!({"ignoredExitCodes": [0, 7]}));
        let disabled = policy(json!({"enabled": false}));
        for (policy, code, seconds, expected) in [
            (None, 0, 9000, false),
            (Some(&disabled), 0, 9000, false),
            (Some(&default), 0, 300, true),
            (Some(&default), 1, 300, true),
            (Some(&default), 1, 299, false),
            (Some(&minute), 1, 60, true),
            (Some(&minute), 1, 59, false),
            (Some(&ignoring), 7, 300, false),
            (Some(&ignoring), 1, 300, true),
        ] {
            let ran = Duration::from_secs(seconds);
            let found = restarts(policy, code, ran, Clock::new(1.0));
            assert_eq!(found, expected, "{policy:?}, {code}, {seconds}");
        }
        // The local clock is the one that counts.
        let ran = Duration::from_secs(30);
        assert!(restarts(Some(&default), 1, ran, Clock::new(10.0)));
    }

    #[test]
    fn a_policy_has_a_period_within_its_limits_and_ignores_not_too_much() {
        for period in [60, 1800] {
            let valid = policy(json!({"restartAttemptPeriod": period}));
            assert_eq!(validate(&valid, "web"), Ok(()));
        }
        for period in [59, 1801] {
            let refused = validate(&policy(json!({"restartAttemptPeriod": period})), "web");
            assert!(refused.unwrap_err().contains("container 'web'"));
        }
        let codes: Vec<i32> = (0..51).collect();
        assert!(validate(&policy(json!({"ignoredExitCodes": codes[..50]})), "web").is_ok());
        assert!(validate(&policy(json!({"ignoredExitCodes": codes})), "web").is_err());
    }
}
