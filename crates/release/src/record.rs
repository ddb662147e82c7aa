//! What the table says of one release.

use crate::Item;
use crate::attributes::{number, text};
use bluegreen_contract::{PlannedService, RequestedAction, WantedRevision, name_in};
use serde::{Deserialize, Serialize};

/// How a release ended. Others are verdicts of `verify-health` and of `end-release`.
pub mod verdict {
    /// It has not ended.
    pub const IN_PROGRESS: &str = "inProgress";
    pub const SUCCEEDED: &str = "succeeded";
    /// It was taken back, by itself or by a later release.
    pub const ROLLED_BACK: &str = "rolledBack";
    /// Its execution ended before its verdict was known.
    pub const ABANDONED: &str = "abandoned";
    /// Every service had its image already.
    pub const NOTHING_TO_DEPLOY: &str = "nothingToDeploy";
    /// An alarm that was no reason to go back: its release leaves no record.
    pub const NOTHING_TO_ROLL_BACK: &str = "nothingToRollBack";
    /// A contract command that did not run, or not yet: that leaves no record either.
    pub const NOTHING_TO_CONTRACT: &str = "nothingToContract";
}

/// How the keys of records begin.
pub(crate) const RELEASES: &str = "release#";

/// The record of a release. Its key begins with its execution's start: in the order of their keys
/// the newest is the last. Its JSON has the table's names, and what are JSON texts there unfolded.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// `release#START#NAME`.
    #[serde(rename = "item")]
    pub key: String,
    /// See [`verdict`].
    pub verdict: String,
    pub action: RequestedAction,
    pub repository: Option<String>,
    pub tag: Option<String>,
    pub digest: Option<String>,
    /// The commit that the image was built from, as the image says.
    pub commit: Option<String>,
    /// Where a person reads it.
    pub commit_url: Option<String>,
    /// `registry/repository@digest`; absent where the release changed nothing and was not about to.
    pub image: Option<String>,
    /// ARN of its execution.
    pub execution: Option<String>,
    pub started_by: Option<String>,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// RFC 3339.
    pub finished_at: Option<String>,
    /// RFC 3339.
    pub pushed_at: Option<String>,
    /// What the services were before it.
    pub before: Vec<PlannedService>,
    /// The images that the services ran before it, each once.
    pub images_before: Vec<String>,
    /// What it brought into the services, or was about to.
    pub services: Vec<WantedRevision>,
    /// Of a rollback: key of the record of the deployment that it restores.
    pub restores: Option<String>,
    /// Of a rollback to what ran before the first release: key of the record of that release.
    pub restores_before: Option<String>,
    /// Of a contract command: key of the record of the release whose it was.
    pub contracts: Option<String>,
    /// ARN of the task that ran its migration.
    pub migration: Option<String>,
    /// The words that ran in its container.
    pub migration_command: Vec<String>,
    /// The fingerprint of its image's migrations, where its migration has exited 0 or was left out because
    /// that of another release with the same ones had.
    pub migrations: Option<String>,
    /// Name of that other release's execution.
    pub migrations_of: Option<String>,
    /// What its deployment waits for that somebody has to do, in sentences.
    pub awaits: Option<String>,
    /// When its deployment was first seen to go on after that, milliseconds since 1970.
    pub resumed_at: Option<i64>,
    pub cause: Option<String>,
    pub error: Option<String>,
    pub seconds: Option<Seconds>,
    /// Key of the record of the rollback that took it back.
    pub rolled_back_by: Option<String>,
    /// How often its execution had been redriven when it was about to change services for the first
    /// time; absent where it never was.
    pub touched: Option<u32>,
}

/// How long the parts of a release took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seconds {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_turn: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<f64>,
}

impl Record {
    /// Reads an item; `None` where it is no release's, or says nothing of how it ended.
    #[must_use]
    pub fn from_item(item: &Item) -> Option<Self> {
        let key = text(item, "item").filter(|key| key.starts_with(RELEASES))?;
        let parsed = |name| text(item, name).unwrap_or_default();
        Some(Self {
            key,
            verdict: text(item, "verdict")?,
            action: RequestedAction::of(text(item, "action").as_deref()),
            repository: text(item, "repository"),
            tag: text(item, "tag"),
            digest: text(item, "digest"),
            commit: text(item, "commit"),
            commit_url: text(item, "commitUrl"),
            image: text(item, "image"),
            execution: text(item, "execution"),
            started_by: text(item, "startedBy"),
            started_at: text(item, "startedAt"),
            finished_at: text(item, "finishedAt"),
            pushed_at: text(item, "pushedAt"),
            before: serde_json::from_str(&parsed("before")).unwrap_or_default(),
            images_before: serde_json::from_str(&parsed("imagesBefore")).unwrap_or_default(),
            services: serde_json::from_str::<Vec<Revision>>(&parsed("services"))
                .unwrap_or_default()
                .into_iter()
                .map(WantedRevision::from)
                .collect(),
            restores: text(item, "restores"),
            restores_before: text(item, "restoresBefore"),
            contracts: text(item, "contracts"),
            migration: text(item, "migration"),
            migration_command: serde_json::from_str(&parsed("migrationCommand"))
                .unwrap_or_default(),
            migrations: text(item, "migrations"),
            migrations_of: text(item, "migrationsOf"),
            awaits: text(item, "awaits"),
            resumed_at: number(item, "resumedAt"),
            cause: text(item, "cause"),
            error: text(item, "error"),
            seconds: serde_json::from_str(&parsed("seconds")).ok(),
            rolled_back_by: text(item, "rolledBackBy"),
            touched: number(item, "touched").and_then(|redrives| redrives.try_into().ok()),
        })
    }

    /// Whether its verdict is known.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.verdict != verdict::IN_PROGRESS
    }

    /// Name of its execution, by which a person calls the release.
    #[must_use]
    pub fn name(&self) -> &str {
        name_in(&self.key)
    }
}

/// A service in the text of a record, which may say more of it than a reader wants.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Revision {
    cluster: String,
    service: String,
    task_definition: String,
}

impl From<Revision> for WantedRevision {
    fn from(revision: Revision) -> Self {
        Self {
            cluster: revision.cluster,
            service: revision.service,
            task_definition: revision.task_definition,
        }
    }
}
