//! What became of the deployments.

use crate::UpdatedService;
use serde::{Deserialize, Serialize};

/// Input of `verify-health`: the answer of `update-service`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyHealthInput {
    pub services: Vec<UpdatedService>,
}

/// Answer of `verify-health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// `inProgress` while any service is undecided, then the worst of all services.
    pub verdict: Verdict,
    /// For the person on call: what happened to which service and what to do.
    pub cause: String,
    pub services: Vec<ServiceHealth>,
}

/// What became of one service's deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceHealth {
    /// ARN of the service.
    pub service: String,
    pub verdict: Verdict,
    /// ECS's own word for the service deployment, e.g. `ROLLBACK_SUCCESSFUL`.
    pub status: String,
    pub reason: String,
}

/// Ordered from good to bad, so that the worst of several is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Succeeded,
    InProgress,
    /// A newer deployment of the service took over before this one was complete.
    Superseded,
    /// A person stopped the deployment.
    Stopped,
    /// ECS went back to the revision before.
    RolledBack,
    /// The deployment failed and ECS did not, or could not, go back.
    Stalled,
}
