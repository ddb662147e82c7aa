//! What `plan-release` decides and what `update-service` does with it.

use serde::{Deserialize, Serialize};

/// Answer of `plan-release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    pub action: Action,
    /// A sentence: why there is something to deploy, or nothing.
    pub reason: String,
    pub stack: String,
    /// Name of the ECR repository, without the registry.
    pub repository: String,
    /// The tag that was asked for, if one was.
    pub tag: Option<String>,
    /// `sha256:…`, of the index where the image is for several platforms.
    pub digest: String,
    /// `registry/repository@digest`, as it goes into the task definitions.
    pub image: String,
    /// The services of the stack that run images of the repository, in the order of their ARNs.
    pub services: Vec<PlannedService>,
    /// `null`: nothing to migrate.
    pub migration: Option<Migration>,
}

/// Whether the state machine has anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Deploy,
    /// Every service already runs the image in a completed deployment.
    None,
}

/// A service of the unit, as it was when the release was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedService {
    /// ARN of the cluster.
    pub cluster: String,
    /// ARN of the service.
    pub service: String,
    /// ARN of the task definition's revision that the service had.
    pub task_definition: String,
    /// Names of the containers whose image is the repository's.
    pub containers: Vec<String>,
}

/// The migration: which container of which service's task definition runs which command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Migration {
    /// ARN of the cluster.
    pub cluster: String,
    /// ARN of the service whose network, capacity and task definition the task takes.
    pub service: String,
    /// ARN of the task definition's revision that the service had.
    pub task_definition: String,
    /// Name of the container that runs the command.
    pub container: String,
    pub command: Vec<String>,
}

/// Input of `update-service`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateServiceInput {
    pub services: Vec<PlannedService>,
    /// `registry/repository@digest`.
    pub image: String,
    pub repository: String,
    pub stack: String,
    /// The service whose task definition was already registered for the migration.
    pub migrated: Option<MigratedService>,
    /// ARN of the execution. With it a retried call finds the revisions of its first try.
    #[serde(default)]
    pub execution_id: Option<String>,
}

/// The revision that the migration ran with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MigratedService {
    /// ARN of the service.
    pub service: String,
    /// ARN of the revision with the image pinned.
    pub task_definition: String,
}

/// Answer of `update-service`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdatedServices {
    pub services: Vec<UpdatedService>,
}

/// A service and the two revisions between which it moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdatedService {
    /// ARN of the cluster.
    pub cluster: String,
    /// ARN of the service.
    pub service: String,
    /// ARN of the revision that is being deployed.
    pub task_definition: String,
    /// ARN of the revision that the service had when the release was planned.
    pub previous_task_definition: String,
}
