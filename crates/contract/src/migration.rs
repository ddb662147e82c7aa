//! The migration's task, from its start to its exit code.

use crate::Migration;
use serde::{Deserialize, Serialize};

/// Input of `run-migration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunMigrationInput {
    pub migration: Migration,
    /// `registry/repository@digest`.
    pub image: String,
    pub repository: String,
    pub stack: String,
    /// ARN of the execution: with `attempt` it makes the task's idempotency token.
    pub execution_id: String,
    /// Counts from 0. Another number is another task.
    pub attempt: u32,
}

/// Answer of `run-migration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartedMigration {
    /// ARN of the cluster.
    pub cluster: String,
    pub task_arn: String,
    /// ARN of the revision with the image pinned.
    pub task_definition: String,
    /// Name of the container whose exit code decides.
    pub container: String,
    /// Where the container's output goes; `null` where it does not go to CloudWatch Logs.
    pub log: Option<LogLocation>,
}

/// A stream of CloudWatch Logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogLocation {
    pub group: String,
    pub stream: String,
    pub region: String,
}

/// Input of `wait-task`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitTaskInput {
    /// ARN of the cluster.
    pub cluster: String,
    pub task_arn: String,
}

/// Answer of `wait-task`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskStatus {
    pub stopped: bool,
    /// ECS's own word, e.g. `PROVISIONING`, `RUNNING`, `STOPPED`.
    pub last_status: String,
    /// Present once the task has stopped. ECS forgets a stopped task after about an hour, so
    /// everything that a verdict or a cause needs is kept here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<StoppedTask>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoppedTask {
    pub task_arn: String,
    /// ECS's own word, e.g. `EssentialContainerExited`, `TaskFailedToStart`.
    pub stop_code: Option<String>,
    pub stopped_reason: Option<String>,
    /// RFC 3339, UTC. Absent where no container ever ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<String>,
    pub containers: Vec<ContainerStatus>,
}

/// How a container of the task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerStatus {
    pub name: String,
    /// `null`: the container never ran.
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
}

/// Input of `check-exit-code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckExitCodeInput {
    /// Name of the container whose exit code decides.
    pub container: String,
    pub task: StoppedTask,
    pub log: Option<LogLocation>,
}

/// Answer of `check-exit-code`: the migration has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExitCode {
    /// Always 0: every other outcome is an error.
    pub exit_code: i32,
}
