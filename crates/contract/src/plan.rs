//! What `plan-release` decides and what `update-service` does with it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Input of `plan-release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanReleaseInput {
    /// The execution's input as it was given, an [`ExecutionInput`](crate::ExecutionInput).
    pub request: Value,
    /// Those of an earlier plan of the same execution, which need not be asked for again.
    #[serde(default)]
    pub revisions: Vec<Revision>,
}

/// Answer of `plan-release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    pub action: Action,
    /// A sentence: why there is something to do, or nothing.
    pub reason: String,
    pub stack: String,
    /// Name of the ECR repository, without the registry; `null` for a rollback.
    pub repository: Option<String>,
    /// The tag that was asked for, if one was.
    pub tag: Option<String>,
    /// `sha256:…`, of the index where the image is for several platforms; `null` for a rollback.
    pub digest: Option<String>,
    /// `registry/repository@digest`, as it goes into the task definitions; `null` for a rollback.
    pub image: Option<String>,
    /// By repository, the name of the parameter in the Parameter Store from which the stack's
    /// template takes its image, where that is the pipeline's to write.
    pub image_parameters: BTreeMap<String, String>,
    /// The services of the stack that run images of the repository, in the order of their ARNs;
    /// for a rollback, of every repository that names the stack.
    pub services: Vec<PlannedService>,
    /// `null`: nothing to migrate.
    pub migration: Option<Migration>,
    /// What runs once the new image serves, or is found to be healthy; `null`: nothing.
    pub post_deploy: Option<Migration>,
    /// Names of the CloudWatch alarms in the services' deployment configurations, in order.
    pub alarms: Vec<String>,
    /// URL that has to answer with 2xx once the new image serves.
    pub health_check_url: Option<String>,
    pub limits: Limits,
    /// Those that the services of the stack had, all of them.
    pub revisions: Vec<Revision>,
}

/// A revision of a task definition. What it runs never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revision {
    /// Its ARN.
    pub task_definition: String,
    /// In the order of the task definition.
    pub containers: Vec<Container>,
}

/// A container of a task definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    pub name: String,
    pub image: String,
}

/// Seconds that the stack allows; `null`: as the pipeline does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// For the migration.
    pub migration_seconds: Option<u32>,
    /// For ECS to bring the image into service, bake time included.
    pub deployment_seconds: Option<u32>,
    /// For the command that runs after it.
    pub post_deploy_seconds: Option<u32>,
    /// After a release, for an alarm to undo it.
    pub rollback_window_seconds: Option<u32>,
}

/// Whether the state machine has anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Deploy,
    /// Every service already runs the image in a completed deployment.
    None,
    /// Bring the services back to an earlier release.
    Rollback,
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

/// A command of a release, such as its migration: which container of which service's task
/// definition runs it.
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
