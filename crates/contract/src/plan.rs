//! What `plan-release` decides and what `update-service` does with it.

use crate::{Command, Execution, Release, UpdatedServices};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Input of `plan-release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanReleaseInput {
    /// The execution's input as it was given, an [`ExecutionInput`](crate::ExecutionInput).
    pub request: Value,
    pub execution: Execution,
    /// Start of the execution, RFC 3339 in UTC.
    pub started_at: String,
    /// The answer of `take-turn`; `null` for the plan before it.
    pub turn: Option<TurnTaken>,
    /// The plan before it: what it knows need not be asked for again. `null` for the first.
    pub plan: Option<Box<Plan>>,
}

/// Answer of `take-turn`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TurnTaken {
    /// `false`: the release needs no turn, or another one took its place.
    pub taken: bool,
    /// ARN of the newer execution that took its place.
    #[serde(default)]
    pub superseded_by: Option<String>,
    /// When the turn was taken, milliseconds since 1970.
    pub at: i64,
    /// An earlier try of this very execution, before it was redriven, may have changed services.
    #[serde(default)]
    pub touched: bool,
}

/// Answer of `plan-release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    pub action: Action,
    /// A sentence: why there is something to do, or nothing.
    pub reason: String,
    pub release: Release,
    /// How the release ends where [`Action::End`] or [`Action::Record`] is all there is to do.
    pub ending: Option<Ending>,
    /// By repository, the name of the parameter in the Parameter Store from which the stack's
    /// template takes its image, where that is the pipeline's to write.
    pub image_parameters: BTreeMap<String, String>,
    /// The services of the stack that run images of the repository, in the order of their ARNs;
    /// for a rollback, of every repository that names the stack.
    pub services: Vec<PlannedService>,
    /// `null`: nothing to migrate.
    pub migration: Option<Command>,
    /// Those of the image, where it says which they are and the stack has a migration; `null`: nobody
    /// knows, or nobody asks.
    #[serde(default)]
    pub migrations: Option<Migrations>,
    /// What runs once the new image serves, or is found to be healthy; `null`: nothing.
    pub post_deploy: Option<Command>,
    /// What removes what only earlier releases need, once nothing goes back to them by itself any more;
    /// absent: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Command>,
    /// Names of the CloudWatch alarms in the services' deployment configurations, in order.
    pub alarms: Vec<String>,
    /// URL that has to answer with 2xx once the new image serves.
    pub health_check_url: Option<String>,
    pub limits: Limits,
    /// With [`Action::Verify`] and the turn in hand: what the services run already, as
    /// `update-service` would answer.
    pub update: Option<UpdatedServices>,
    /// Those that the services of the stack had, all of them; empty where no plan follows.
    pub revisions: Vec<Revision>,
    /// What the image says of itself, for each platform that the services run on; empty where no plan
    /// follows.
    pub image_configs: Vec<ImageConfig>,
    /// Sentences about what is no reason to refuse the release, and worth to be known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The migrations of an image, as its build tells them from those of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Migrations {
    /// The image's label `bluegreen.migrations`.
    pub fingerprint: String,
    /// Name of the execution of the release whose migration was the last to exit 0 and ran the very same:
    /// they are not run again. `null`: they are.
    pub same_as: Option<String>,
}

/// What an image says of itself for one platform. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageConfig {
    pub platform: Platform,
    /// Its `ENTRYPOINT`; empty where it has none.
    pub entry_point: Vec<String>,
    /// Its label `org.opencontainers.image.revision`.
    pub commit: Option<String>,
    /// Its label `org.opencontainers.image.source`.
    pub source: Option<String>,
    /// Its label `bluegreen.migrations`, a fingerprint of the migrations in it.
    #[serde(default)]
    pub migrations: Option<String>,
}

/// An operating system and a processor, in the words of images: `linux`, `windows`; `amd64`, `arm64`
/// (<https://github.com/opencontainers/image-spec/blob/main/image-index.md>).
///
/// Manifests say more of a platform, such as its variant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)
    }
}

/// A revision of a task definition. What it runs never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revision {
    /// Its ARN.
    pub task_definition: String,
    /// In the order of the task definition.
    pub containers: Vec<Container>,
    /// On which its tasks run; `null` where that is left to the instances.
    pub platform: Option<Platform>,
}

/// A container of a task definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    pub name: String,
    pub image: String,
    /// What stands in place of the image's entry point; empty: nothing does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry_point: Vec<String>,
}

/// What the stack allows, or else the pipeline, in seconds where nothing else is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// For the migration.
    pub migration_seconds: u32,
    /// For ECS to bring the image into service, bake time included; and for a rollback.
    pub deployment_seconds: u32,
    /// After a release, for an alarm to undo it.
    pub rollback_window_seconds: u32,
    /// Minutes, after ECS has finished, for the targets to become healthy.
    #[serde(default = "target_health_minutes")]
    pub target_health_minutes: u32,
}

/// Where nobody says another number of minutes.
pub(crate) fn target_health_minutes() -> u32 {
    10
}

/// What the state machine has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Let come to rest what a release left in progress that ended before its time; then plan anew.
    Settle,
    /// Migrate, then deploy.
    Migrate,
    Deploy,
    /// The services run the image already, but no release has found it healthy.
    Verify,
    /// Bring the services back to an earlier release.
    Rollback,
    /// Run the contract command.
    Contract,
    /// Only note that the image, which runs and is known to be healthy, was asked for again.
    Record,
    /// Nothing but to end.
    End,
}

/// An end that changes no service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "verdict")]
pub enum Ending {
    /// Every service runs the image already, and it is known to be healthy.
    NothingToDeploy,
    /// A later push to the repository was deployed before this one had its turn.
    Stale,
    /// A newer release took the place of this one; its execution's ARN.
    #[serde(rename_all = "camelCase")]
    Superseded { by: Option<String> },
    /// The alarm is no reason to go back.
    #[serde(rename_all = "camelCase")]
    NothingToRollBack { why: AlarmIsNoReason },
    /// The contract command does not run, or not yet.
    #[serde(rename_all = "camelCase")]
    NothingToContract { why: NotContracted },
}

/// Why a contract command does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NotContracted {
    /// No release serves of which the pipeline knows.
    NoRelease,
    /// The stack was rolled back since its newest release.
    RolledBack,
    /// The stack has none, or it is none of the image's.
    NoCommand,
    /// Not every service runs the release's image; a sentence says so.
    NotServing(String),
    /// It has run for this release, or may have; name of the execution that did so.
    Already { by: String },
    /// Until then, RFC 3339, an alarm would take the release back.
    BeforeItsTime { until: String },
    /// Names of alarms of the services.
    InAlarm(Vec<String>),
}

/// Why an alarm takes nothing back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AlarmIsNoReason {
    /// The pipeline does not deploy to the alarm's stack; a sentence says why not.
    NotDeployedTo(String),
    /// It guards no deployment of the services.
    GuardsNoDeployment,
    NoRelease,
    JustRolledBack,
    BeforeTheRelease,
    /// The newest release was deployed longer ago than the window.
    AfterTheWindow {
        seconds: u32,
    },
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
