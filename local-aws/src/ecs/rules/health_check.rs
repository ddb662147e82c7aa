//! What a health check of a container can be, and what its probes come to. An image's own
//! HEALTHCHECK is none of ECS's business.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html>

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::ecs::model::health_check::{HealthCheck, HealthStatus, INTERVAL, RETRIES, TIMEOUT};
use crate::ecs::model::values::Object;

/// What RegisterTaskDefinition refuses; the text says what is wrong.
pub(super) fn validate(check: &HealthCheck, container: &str) -> Result<(), String> {
    let place = format!("the health check of container '{container}'");
    match check.command.split_first() {
        Some((kind, rest)) if is_kind(kind) && !rest.is_empty() => {}
        _ => {
            return Err(format!(
                "The command of {place} must start with CMD or CMD-SHELL and go on with what \
                 to run."
            ));
        }
    }
    let ranges: [(&str, Option<i64>, RangeInclusive<i64>); 4] = [
        ("interval", check.interval, 5..=300),
        ("timeout", check.timeout, 2..=60),
        ("retries", check.retries, 1..=10),
        ("startPeriod", check.start_period, 0..=300),
    ];
    for (name, value, range) in ranges {
        if value.is_some_and(|value| !range.contains(&value)) {
            return Err(format!(
                "The {name} of {place} must be between {} and {}.",
                range.start(),
                range.end()
            ));
        }
    }
    Ok(())
}

fn is_kind(word: &str) -> bool {
    word == "CMD" || word == "CMD-SHELL"
}

/// Adds the values that a registered health check gets by default.
pub(super) fn complete(check: &mut Object) {
    for (name, value) in [
        ("interval", INTERVAL),
        ("timeout", TIMEOUT),
        ("retries", RETRIES),
    ] {
        let known = check.entry(name).or_insert(Value::Null);
        if known.is_null() {
            *known = json!(value);
        }
    }
}

/// What the probes so far come to.
#[derive(Debug)]
pub(in crate::ecs) struct Verdict {
    retries: i64,
    /// Failures since the last success.
    failures: i64,
    pub(in crate::ecs) status: HealthStatus,
}

impl Verdict {
    pub(in crate::ecs) fn new(retries: i64) -> Self {
        Self {
            retries,
            failures: 0,
            status: HealthStatus::Unknown,
        }
    }

    /// Takes a probe's result. In the start period failures do not count, unless a probe has
    /// passed already.
    pub(in crate::ecs) fn note(&mut self, passed: bool, in_start_period: bool) {
        if passed {
            self.failures = 0;
            self.status = HealthStatus::Healthy;
        } else if !in_start_period || self.status != HealthStatus::Unknown {
            self.failures += 1;
            if self.failures >= self.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HealthStatus::{Healthy, Unhealthy, Unknown};
    use super::*;

    fn check(check: Value) -> HealthCheck {
        serde_json::from_value(check).unwrap()
    }

    #[test]
    fn a_command_starts_with_cmd_or_cmd_shell() {
        let program = |command: Value| {
            let check = check(json!({"command": command}));
            validate(&check, "web").map(|()| check.program())
        };
        assert_eq!(
            program(json!(["CMD", "/check", "1"])).unwrap(),
            ["/check", "1"]
        );
        assert_eq!(
            program(json!(["CMD-SHELL", "true || exit 1"])).unwrap(),
            ["/bin/sh", "-c", "true || exit 1"]
        );
        for command in [json!([]), json!(["/check"]), json!(["CMD"])] {
            assert!(program(command.clone()).is_err(), "{command}");
        }
    }

    #[test]
    fn numbers_outside_their_ranges_are_refused() {
        let with = |name: &str, value: i64| {
            let mut definition = json!({"command": ["CMD", "/check"]});
            definition[name] = json!(value);
            validate(&check(definition), "web").is_ok()
        };
        for (name, smallest, largest) in [
            ("interval", 5, 300),
            ("timeout", 2, 60),
            ("retries", 1, 10),
            ("startPeriod", 0, 300),
        ] {
            assert!(with(name, smallest) && with(name, largest), "{name}");
            assert!(
                !with(name, smallest - 1) && !with(name, largest + 1),
                "{name}"
            );
        }
    }

    #[test]
    fn a_registered_health_check_has_its_defaults() {
        let mut given = Object::new();
        given.insert("retries".to_owned(), json!(7));
        complete(&mut given);
        assert_eq!(
            Value::Object(given),
            json!({"interval": 30, "timeout": 5, "retries": 7})
        );
    }

    #[test]
    fn a_container_is_unhealthy_after_as_many_failures_in_a_row_as_it_has_retries() {
        let mut verdict = Verdict::new(2);
        let mut seen = Vec::new();
        for passed in [false, true, false, true, false, false, true] {
            verdict.note(passed, false);
            seen.push(verdict.status);
        }
        assert_eq!(
            seen,
            [
                Unknown, Healthy, Healthy, Healthy, Healthy, Unhealthy, Healthy
            ]
        );
    }

    #[test]
    fn failures_in_the_start_period_count_only_after_a_success() {
        let mut verdict = Verdict::new(1);
        verdict.note(false, true);
        assert_eq!(verdict.status, Unknown);
        verdict.note(true, true);
        assert_eq!(verdict.status, Healthy);
        verdict.note(false, true);
        assert_eq!(verdict.status, Unhealthy);
    }
}
