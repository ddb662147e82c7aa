//! When a container is started again rather than its task ended.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerRestartPolicy.html>

use std::time::Duration;

use serde::Deserialize;

/// `restartAttemptPeriod` where a policy does not set it, in seconds.
const DEFAULT_PERIOD: u64 = 300;

/// A container's `restartPolicy`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct RestartPolicy {
    pub(in crate::ecs) enabled: bool,
    #[serde(default)]
    pub(in crate::ecs) ignored_exit_codes: Vec<i32>,
    /// In seconds.
    pub(in crate::ecs) restart_attempt_period: Option<u64>,
}

impl RestartPolicy {
    /// How long a container has to have run since it was started, or started again.
    pub(in crate::ecs) fn period(&self) -> Duration {
        Duration::from_secs(self.restart_attempt_period.unwrap_or(DEFAULT_PERIOD))
    }
}
