//! Health checks of containers: the `healthCheck` of a container definition. An image's own
//! HEALTHCHECK is none of ECS's business.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html>

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::clock::Clock;
use crate::containers::logs;
use crate::containers::process::{Process, Spec};
use crate::ecs::model::values::Object;

const INTERVAL: i64 = 30;
const TIMEOUT: i64 = 5;
const RETRIES: i64 = 3;

/// What a container's or a task's `healthStatus` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum HealthStatus {
    /// Not checked, or not known yet.
    Unknown,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    pub(in crate::ecs) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
        }
    }

    /// What several containers' health comes to: UNHEALTHY goes before UNKNOWN, and UNKNOWN
    /// before HEALTHY. `None` where there is no container.
    pub(in crate::ecs) fn combined(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|one, other| match (one, other) {
            (Self::Unhealthy, _) | (_, Self::Unhealthy) => Self::Unhealthy,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Healthy, Self::Healthy) => Self::Healthy,
        })
    }
}

/// Times are in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct HealthCheck {
    #[serde(default)]
    command: Vec<String>,
    interval: Option<i64>,
    timeout: Option<i64>,
    retries: Option<i64>,
    start_period: Option<i64>,
}

impl HealthCheck {
    /// What RegisterTaskDefinition refuses; the text says what is wrong.
    pub(in crate::ecs) fn validate(&self, container: &str) -> Result<(), String> {
        let place = format!("the health check of container '{container}'");
        match self.command.split_first() {
            Some((kind, rest)) if is_kind(kind) && !rest.is_empty() => {}
            _ => {
                return Err(format!(
                    "The command of {place} must start with CMD or CMD-SHELL and go on with what \
                     to run."
                ));
            }
        }
        let ranges: [(&str, Option<i64>, RangeInclusive<i64>); 4] = [
            ("interval", self.interval, 5..=300),
            ("timeout", self.timeout, 2..=60),
            ("retries", self.retries, 1..=10),
            ("startPeriod", self.start_period, 0..=300),
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

    /// The program to run in the container. CMD-SHELL is the container's own `/bin/sh`.
    fn program(&self) -> Vec<String> {
        let Some((kind, rest)) = self.command.split_first() else {
            return Vec::new();
        };
        if kind == "CMD-SHELL" {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")]
        } else {
            rest.to_vec()
        }
    }

    fn interval(&self) -> Duration {
        seconds(self.interval.unwrap_or(INTERVAL))
    }

    fn timeout(&self) -> Duration {
        seconds(self.timeout.unwrap_or(TIMEOUT))
    }

    fn start_period(&self) -> Duration {
        seconds(self.start_period.unwrap_or(0))
    }
}

fn is_kind(word: &str) -> bool {
    word == "CMD" || word == "CMD-SHELL"
}

fn seconds(value: i64) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0))
}

/// Adds the values that a registered health check gets by default.
pub(in crate::ecs) fn complete(check: &mut Object) {
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
struct Verdict {
    retries: i64,
    /// Failures since the last success.
    failures: i64,
    status: HealthStatus,
}

impl Verdict {
    fn new(retries: i64) -> Self {
        Self {
            retries,
            failures: 0,
            status: HealthStatus::Unknown,
        }
    }

    /// Takes a probe's result. In the start period failures do not count, unless a probe has
    /// passed already.
    fn note(&mut self, passed: bool, in_start_period: bool) {
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

/// Probes a container for as long as it is asked to, and reports each change. `container` is
/// what the container itself runs: a probe has its files and its environment.
pub(in crate::ecs) async fn watch(
    check: HealthCheck,
    container: Spec,
    clock: Clock,
    health: watch::Sender<HealthStatus>,
) {
    let probe = Spec {
        command: check.program(),
        ..container
    };
    let mut verdict = Verdict::new(check.retries.unwrap_or(RETRIES));
    let start_period_ends = Instant::now() + clock.scaled(check.start_period());
    loop {
        clock.sleep(check.interval()).await;
        let in_start_period = Instant::now() < start_period_ends;
        // A probe is this machine's own work, which is not faster because the clock is.
        let passed = timeout(check.timeout(), passes(&probe)).await;
        verdict.note(passed.unwrap_or(false), in_start_period);
        health.send_if_modified(|known| {
            let changes = *known != verdict.status;
            *known = verdict.status;
            changes
        });
    }
}

/// Runs the probe once; exit code 0 is success. What is still running when this is dropped is
/// killed.
async fn passes(probe: &Spec) -> bool {
    let Ok((mut process, output)) = Process::start(probe) else {
        return false;
    };
    let (code, ()) = tokio::join!(process.wait(), logs::discard(output));
    code == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::HealthStatus::{Healthy, Unhealthy, Unknown};
    use super::*;

    fn check(check: Value) -> HealthCheck {
        serde_json::from_value(check).unwrap()
    }

    #[test]
    fn a_command_starts_with_cmd_or_cmd_shell() {
        let program = |command: Value| {
            let check = check(json!({"command": command}));
            check.validate("web").map(|()| check.program())
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
            check(definition).validate("web").is_ok()
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

    #[test]
    fn the_worst_health_is_that_of_all() {
        // The documentation's examples.
        for (containers, task) in [
            (vec![Unhealthy, Unknown], Unhealthy),
            (vec![Unhealthy, Healthy], Unhealthy),
            (vec![Healthy, Unknown], Unknown),
            (vec![Healthy, Healthy], Healthy),
            (vec![Unhealthy, Unknown, Healthy], Unhealthy),
            (vec![Healthy, Unknown, Healthy], Unknown),
            (vec![Healthy, Unknown, Unknown], Unknown),
            (vec![Healthy, Healthy, Healthy], Healthy),
        ] {
            assert_eq!(HealthStatus::combined(containers), Some(task));
        }
        assert_eq!(HealthStatus::combined([]), None);
    }

    /// A program of an image.
    fn program(root: &Path, path: &str, script: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The first health that a check reports of a container with these files.
    async fn reported(root: &Path, command: Value) -> HealthStatus {
        let check = check(json!({"command": command, "retries": 1, "timeout": 2}));
        let container = Spec {
            root: root.to_owned(),
            working_directory: "/app".to_owned(),
            command: vec!["/app/serve".to_owned()],
            environment: vec![("ANSWER".to_owned(), "42".to_owned())],
        };
        let (sender, mut health) = watch::channel(Unknown);
        let checks = watch(check, container, Clock::new(10_000.0), sender);
        tokio::select! {
            () = checks => Unknown,
            _ = health.changed() => *health.borrow(),
        }
    }

    #[tokio::test]
    async fn a_probe_has_the_files_and_the_environment_of_its_container() {
        let root = tempfile::tempdir().unwrap();
        let script = "[ \"$ANSWER\" = 42 ] && [ -x check ] && [ \"$1\" = now ]";
        program(root.path(), "app/check", script);
        let health = reported(root.path(), json!(["CMD", "/app/check", "now"])).await;
        assert_eq!(health, Healthy);
        let health = reported(root.path(), json!(["CMD", "/app/check", "later"])).await;
        assert_eq!(health, Unhealthy);
    }

    #[tokio::test]
    async fn a_shell_command_needs_a_shell_in_the_image() {
        let root = tempfile::tempdir().unwrap();
        program(root.path(), "app/serve", "exit 0");
        let command = json!(["CMD-SHELL", "[ -x serve ] || exit 1"]);
        assert_eq!(reported(root.path(), command.clone()).await, Unhealthy);
        program(root.path(), "bin/sh", "exec /bin/sh \"$@\"");
        assert_eq!(reported(root.path(), command).await, Healthy);
    }

    #[tokio::test]
    async fn a_probe_that_takes_too_long_has_failed_and_is_killed() {
        let root = tempfile::tempdir().unwrap();
        program(root.path(), "app/check", "echo $$ > pid; exec sleep 600");
        let health = reported(root.path(), json!(["CMD", "/app/check"])).await;
        assert_eq!(health, Unhealthy);
        let pid = std::fs::read_to_string(root.path().join("app/pid")).unwrap();
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        while nix::sys::signal::kill(pid, None).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
