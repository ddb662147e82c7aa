//! The turn of a stack: who asks for it, and what the one before left.

use crate::{Execution, Plan, PlannedService, Release};
use serde::{Deserialize, Serialize};

/// Input of `take-turn` that the state machine gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TakeTurnInput {
    pub release: Release,
    pub execution: Execution,
    /// With [`crate::Action::End`] the release needs no turn.
    pub action: crate::Action,
}

/// Input of `settle-release` that the state machine gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SettleReleaseInput {
    pub plan: Plan,
    pub execution: Execution,
    /// When the turn was taken, milliseconds since 1970.
    pub since: i64,
}

/// Answer of `settle-release`: nothing of an earlier release is in progress any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SettledRelease {
    /// A deployment of the services was found in progress: what runs may not be what ran before.
    pub found_deployment: bool,
}

/// Input of `choose-target`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChooseTargetInput {
    pub plan: Plan,
    pub execution: Execution,
    /// The release failed, or was found unhealthy; otherwise the rollback is what was asked for.
    pub failed: bool,
    /// An earlier try of this very execution, before it was redriven, may have changed services.
    pub touched: bool,
}

/// Answer of `choose-target`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The rollback is what was asked for; otherwise the release failed.
    pub requested: bool,
    /// The release that the services go back to; `null`: to what ran before, whatever that is.
    pub release: Option<GoodRelease>,
    /// Where there is no earlier release: the first one, before which the services ran what they go
    /// back to. `null`: they go back to a release, or to what ran before the one that failed.
    pub first: Option<NamedRelease>,
    /// The release that is taken back; `null`: the one that failed itself, or nobody knows which.
    pub taken_back: Option<NamedRelease>,
    /// The image that serves once the services are back: that of the last good release, or what ran
    /// before the first one. `null`: nobody knows, or there are several.
    pub serving: Option<ServingImage>,
    pub services: Vec<WantedRevision>,
    /// Those that stay in the database, newest first: `TAG (task ARN)`.
    pub migrations: Vec<String>,
    /// The table could not be read: nobody vouches for what ran before.
    pub unread: bool,
}

/// What a rollback that was asked for brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal<'a> {
    Release(&'a GoodRelease),
    /// What ran before this one, which was the first.
    Before(&'a NamedRelease),
}

impl Target {
    /// What is brought back; `None`: what ran before the release that failed.
    #[must_use]
    pub fn goal(&self) -> Option<Goal<'_>> {
        let release = self.release.as_ref().map(Goal::Release);
        release.or_else(|| self.first.as_ref().map(Goal::Before))
    }
}

impl Goal<'_> {
    /// Name of the ECR repository.
    #[must_use]
    pub fn repository(&self) -> &str {
        match self {
            Self::Release(release) => &release.repository,
            Self::Before(first) => &first.repository,
        }
    }
}

/// A release by what a person calls it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedRelease {
    /// Key of its record.
    pub record: String,
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<String>,
}

/// A release that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GoodRelease {
    /// Key of its record.
    pub record: String,
    pub repository: String,
    pub tag: Option<String>,
    pub digest: String,
    pub image: String,
    /// Key of the record of the deployment that it restores, itself where it is one.
    pub restores: String,
}

/// An image that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServingImage {
    pub repository: String,
    /// `registry/repository@digest`.
    pub image: String,
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

impl From<&PlannedService> for WantedRevision {
    fn from(service: &PlannedService) -> Self {
        Self {
            cluster: service.cluster.clone(),
            service: service.service.clone(),
            task_definition: service.task_definition.clone(),
        }
    }
}
