//! The health of containers and tasks, and how a container is asked for it.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html>

use std::time::Duration;

use serde::Deserialize;

// What a health check has where it does not say so itself.
pub(in crate::ecs) const INTERVAL: i64 = 30;
pub(in crate::ecs) const TIMEOUT: i64 = 5;
pub(in crate::ecs) const RETRIES: i64 = 3;

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
    pub(in crate::ecs) command: Vec<String>,
    pub(in crate::ecs) interval: Option<i64>,
    pub(in crate::ecs) timeout: Option<i64>,
    pub(in crate::ecs) retries: Option<i64>,
    pub(in crate::ecs) start_period: Option<i64>,
}

impl HealthCheck {
    /// The program to run in the container. CMD-SHELL is the container's own `/bin/sh`.
    pub(in crate::ecs) fn program(&self) -> Vec<String> {
        let Some((kind, rest)) = self.command.split_first() else {
            return Vec::new();
        };
        if kind == "CMD-SHELL" {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")]
        } else {
            rest.to_vec()
        }
    }

    pub(in crate::ecs) fn interval(&self) -> Duration {
        seconds(self.interval.unwrap_or(INTERVAL))
    }

    pub(in crate::ecs) fn timeout(&self) -> Duration {
        seconds(self.timeout.unwrap_or(TIMEOUT))
    }

    pub(in crate::ecs) fn start_period(&self) -> Duration {
        seconds(self.start_period.unwrap_or(0))
    }

    pub(in crate::ecs) fn retries(&self) -> i64 {
        self.retries.unwrap_or(RETRIES)
    }
}

fn seconds(value: i64) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::HealthStatus::{Healthy, Unhealthy, Unknown};
    use super::*;

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
}
