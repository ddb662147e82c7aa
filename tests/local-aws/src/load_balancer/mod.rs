//! The data plane of Elastic Load Balancing: listeners, health checks, draining.

use std::io;

use thiserror::Error;

use crate::clock::Clock;

/// All load balancers of the account. Clones share one state.
///
/// Load balancers, listeners, rules and target groups are created in moto's ELBv2; `sync` makes
/// this side agree with them. Targets are registered here.
#[derive(Clone, Debug)]
pub struct LoadBalancers {
    clock: Clock,
    elbv2: aws_sdk_elasticloadbalancingv2::Client,
}

/// One target of a target group: an address (an `ip` target's Id) and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub id: String,
    pub port: u16,
}

/// A target's state as `DescribeTargetHealth` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Draining,
    Unused,
    Unavailable,
}

impl TargetState {
    /// The value in the API's answers, such as `healthy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Unused => "unused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// One member of `TargetHealthDescriptions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealthDescription {
    pub target: Target,
    pub health_check_port: String,
    pub state: TargetState,
    /// Absent while healthy, else a code such as `Target.ResponseCodeMismatch`.
    pub reason: Option<&'static str>,
    pub description: Option<String>,
}

/// moto has no such target group.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("One or more target groups not found")]
pub struct TargetGroupNotFound;

impl LoadBalancers {
    pub fn new(clock: Clock, elbv2: aws_sdk_elasticloadbalancingv2::Client) -> Self {
        Self { clock, elbv2 }
    }

    /// Reserves a free port of 127.0.0.1; it stays bound until a listener with that port exists.
    pub async fn reserve_port(&self) -> io::Result<u16> {
        let _ = (&self.clock, &self.elbv2);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads load balancers, listeners, rules and target groups from moto and opens and closes
    /// listeners accordingly. To be called after every request that may have changed them.
    pub async fn sync(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// The health of a target group's targets; `only` limits the answer to those targets (a
    /// target that is not registered is then described as unused), empty means all.
    pub async fn describe_target_health(
        &self,
        target_group_arn: &str,
        only: &[(String, Option<u16>)],
    ) -> Result<Vec<TargetHealthDescription>, TargetGroupNotFound> {
        let _ = (target_group_arn, only);
        Err(TargetGroupNotFound)
    }

    /// Closes every listener and ends every health check.
    pub async fn shut_down(&self) {}
}
