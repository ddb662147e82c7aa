//! The end of a release: what serves, and what is told of it.

use crate::{
    Command, EndedTask, Execution, ExitCode, Health, Plan, ServingImage, SettledRelease,
    StartedTask, Target, TurnTaken, UpdatedServices,
};
use serde::{Deserialize, Serialize};

/// Input of `record-current`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordCurrentInput {
    pub plan: Plan,
    pub execution: Execution,
    /// The answer of `update-service`; `null` where this release updated nothing.
    pub update: Option<UpdatedServices>,
    /// Where the services have gone back to; `null` where they have not.
    pub target: Option<Target>,
    /// The answer of `roll-back`.
    pub rolled_back: Option<UpdatedServices>,
}

/// Answer of `record-current`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Current {
    /// What runs now that the image serves; `null`: nothing.
    pub post_deploy: Option<Command>,
    /// The image parameter that could not be written.
    pub unwritten: Option<UnwrittenImage>,
}

/// A parameter that may hold an earlier image than the one that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnwrittenImage {
    pub parameter: String,
    pub serving: ServingImage,
    /// Why, in a sentence.
    pub reason: String,
}

/// A failure of a state, as a Catch hands it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStep {
    /// Name of the state.
    pub step: String,
    #[serde(rename = "Error", default)]
    pub error: String,
    /// Of a function that failed: its JSON text with `errorMessage`.
    #[serde(rename = "Cause", default)]
    pub cause: String,
    /// The failure that came before it and made a rollback necessary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Box<FailedStep>>,
}

/// Input of `end-release`: all that is known; `null` what the release did not come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndReleaseInput {
    pub execution: Execution,
    /// How often this state was tried already: a verdict is told also where it cannot be written.
    pub retries: u32,
    pub plan: Option<Plan>,
    pub turn: Option<TurnTaken>,
    pub settled: Option<SettledRelease>,
    pub migration: Option<StartedTask>,
    pub migration_ended: Option<EndedTask>,
    pub migrated: Option<ExitCode>,
    /// When the services were updated, milliseconds since 1970.
    pub updated_at: Option<i64>,
    pub health: Option<Health>,
    pub target: Option<Target>,
    /// When the last rollback was begun, milliseconds since 1970.
    pub rolled_back_at: Option<i64>,
    pub rollback: Option<Health>,
    pub current: Option<Current>,
    pub post_deploy: Option<StartedTask>,
    pub failure: Option<FailedStep>,
}

/// Answer of `end-release`, and output of the execution. With an error the execution fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outcome {
    /// How the release ended, as its record says.
    pub verdict: String,
    /// What happened, what was changed and what to do.
    pub reason: String,
    /// The error's stable name, of less than 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What the services run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceRevision>,
}

/// A service and the revision that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceRevision {
    /// ARN of the service.
    pub service: String,
    /// ARN of the task definition's revision.
    pub task_definition: String,
}
