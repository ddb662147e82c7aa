//! A one-off task of a release, such as its migration, from its start to its exit code.

use crate::{Execution, PlannedService, Release};
use serde::{Deserialize, Serialize};

/// A command of a release: which container of which service's task definition runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Command {
    pub purpose: Purpose,
    /// ARN of the cluster.
    pub cluster: String,
    /// ARN of the service whose network, capacity and task definition the task takes.
    pub service: String,
    /// ARN of the task definition's revision that the service had.
    pub task_definition: String,
    /// Name of the container that runs the command.
    pub container: String,
    /// Words that take the place of the container's command.
    pub command: Vec<String>,
    /// All words that run: the container's entry point, which stays, and `command`.
    pub line: Vec<String>,
    /// Of its task.
    #[serde(default)]
    pub size: TaskSize,
    /// How long it may run.
    pub timeout_seconds: u32,
}

/// How large a task is; `null`: as large as the service's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskSize {
    /// CPU units, 1024 for each vCPU.
    pub cpu: Option<u32>,
    /// MiB.
    pub memory: Option<u32>,
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// It gates the deployment.
    Migration,
    /// It runs once the new image serves.
    PostDeploy,
    /// It removes what only earlier releases need, when nothing goes back to them by itself any more.
    Contract,
}

impl Purpose {
    /// The stack's output that says which command it is.
    #[must_use]
    pub fn output(self) -> &'static str {
        match self {
            Purpose::Migration => "MigrationCommand",
            Purpose::PostDeploy => "PostDeployCommand",
            Purpose::Contract => "ContractCommand",
        }
    }

    /// As a sentence calls it: `the migration`, `the post-deploy command`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Migration => "migration",
            Purpose::PostDeploy => "post-deploy command",
            Purpose::Contract => "contract command",
        }
    }
}

/// Input of `run-migration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunMigrationInput {
    pub release: Release,
    pub execution: Execution,
    pub command: Command,
    /// How often this very call was made before.
    pub retries: u32,
    /// Its own answer, where that task never started for a reason that passes.
    pub earlier: Option<StartedTask>,
    /// What the services were before this release, for its record.
    pub before: Vec<PlannedService>,
}

/// Answer of `run-migration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartedTask {
    pub purpose: Purpose,
    pub stack: String,
    /// `registry/repository@digest`.
    pub image: String,
    /// ARN of the cluster.
    pub cluster: String,
    /// ARN of the service whose revision it is.
    pub service: String,
    pub task_arn: String,
    /// ARN of the revision with the image pinned.
    pub task_definition: String,
    /// Name of the container whose exit code decides.
    pub container: String,
    /// Where the container's output goes; `null` where it does not go to CloudWatch Logs.
    pub log: Option<LogLocation>,
    /// When ECS was asked for it, milliseconds since 1970.
    pub at: i64,
    pub timeout_seconds: u32,
    /// How many tasks before it never started.
    #[serde(default)]
    pub attempt: u32,
}

/// A stream of CloudWatch Logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogLocation {
    pub group: String,
    pub stream: String,
    pub region: String,
}

/// Input of `wait-task` that the state machine gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitTaskInput {
    pub task: StartedTask,
    pub execution: Execution,
}

/// Answer of `wait-task`: the task has stopped, or does not stop though it was told to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndedTask {
    /// ECS's own word: `STOPPED`, or what a task is that does not stop.
    pub last_status: String,
    /// It ran longer than it may and was told to stop by `wait-task`.
    pub overdue: bool,
    /// When that was seen, milliseconds since 1970.
    pub at: i64,
    /// `null` where it has not stopped. ECS forgets a stopped task after about an hour, so
    /// everything that a verdict or a cause needs is kept here.
    pub stopped: Option<StoppedTask>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoppedTask {
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
    pub task: StartedTask,
    pub ended: EndedTask,
}

/// Answer of `check-exit-code`: the command has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExitCode {
    /// Always 0: every other outcome is an error.
    pub exit_code: i32,
    /// When that was seen, milliseconds since 1970.
    pub at: i64,
}
