//! Back from a release: to the revisions before it, and to rest.

use crate::PlannedService;
use serde::{Deserialize, Serialize};

/// Input of `roll-back`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollBackInput {
    pub stack: String,
    /// ARN of the execution, for the log.
    pub execution_id: String,
    pub services: Vec<WantedRevision>,
}

/// A service and the revision that it is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedRevision {
    /// ARN of the cluster.
    pub cluster: String,
    /// ARN of the service.
    pub service: String,
    /// ARN of the task definition's revision.
    pub task_definition: String,
}

/// Input of `settle-release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SettleReleaseInput {
    pub stack: String,
    /// The services of the stack, as `plan-release` tells them.
    pub services: Vec<PlannedService>,
    /// What of it is stopped.
    pub stop: Stop,
}

/// What `settle-release` stops of what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stop {
    /// It only looks.
    Nothing,
    /// Deployments go back; a migration may come to its end.
    Deployments,
    All,
}

/// Answer of `settle-release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SettledRelease {
    /// Nothing of an earlier release is at work in the stack.
    pub settled: bool,
    /// For the person on call: what is at work, or that nothing is.
    pub cause: String,
    /// ARNs of the pipeline's tasks for this stack that have not stopped.
    pub tasks: Vec<String>,
    /// ARNs of the service deployments of its services that are in progress.
    pub deployments: Vec<String>,
}
