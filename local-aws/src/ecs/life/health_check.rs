//! Probing containers for their health.

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::clock::Clock;
use crate::containers::logs;
use crate::containers::process::{Process, Spec};
use crate::ecs::model::health_check::{HealthCheck, HealthStatus};
use crate::ecs::rules::health_check::Verdict;

/// Probes a container for as long as it is asked to, and reports each change. `container` is
/// what the container itself runs: a probe has its files and its environment.
pub(super) async fn watch(
    check: HealthCheck,
    container: Spec,
    clock: Clock,
    health: watch::Sender<HealthStatus>,
) {
    let probe = Spec {
        command: check.program(),
        ..container
    };
    let mut verdict = Verdict::new(check.retries());
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
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::HealthStatus::{Healthy, Unhealthy, Unknown};
    use super::*;

    /// A program of an image.
    fn program(root: &Path, path: &str, script: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The first health that a check reports of a container with these files.
    async fn reported(root: &Path, command: Value) -> HealthStatus {
        let check = json!({"command": command, "retries": 1, "timeout": 2});
        let check = serde_json::from_value(check).unwrap();
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
