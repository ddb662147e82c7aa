//! What a stack's releases, services and alarms are at one moment, and how a person reads that.

mod migration_log;
mod read;
mod render;
mod versions;

pub use migration_log::MigrationLog;
pub use read::Reader;
#[cfg(test)]
pub(crate) use render::tests as sample;
pub use render::tree;
pub use versions::Versions;

use anyhow::Result;
use bluegreen_contract::RequestedAction;
use bluegreen_release::Record;
use jiff::Timestamp;
use serde::Serialize;

use crate::history::Step;
use crate::pipeline::Pipeline;
use crate::trouble::asked;

/// Hexadecimal digits of a digest that are enough for a person.
const SHORT_DIGEST: usize = 12;

/// A stack at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub stack: String,
    pub at: Timestamp,
    /// The release that has the turn, or the one that is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// The release that has its turn next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// The release that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serves: Option<Past>,
    /// The newest release that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Past>,
    /// In the order of their names.
    pub services: Vec<Service>,
    /// Those that guard the services' deployments, in order.
    pub alarms: Vec<Alarm>,
}

/// A release that runs, or has ended while it was watched.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Name of its execution.
    pub name: String,
    /// ARN of its execution.
    pub execution: String,
    pub action: RequestedAction,
    /// Its tag, or else the first digits of its digest; a rollback has none before it knows where to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    pub steps: Vec<Step>,
    /// What its deployment waits for that somebody has to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awaits: Option<String>,
    /// ARN of the task that runs its migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<String>,
    /// `None`: it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// How a release ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    pub verdict: String,
    /// What happened, what was changed and what to do.
    pub cause: String,
}

/// A release in line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Name of its execution.
    pub name: String,
    /// When that began, RFC 3339.
    pub since: String,
    /// Name of the execution that has the turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// A release that has ended, in brief.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Past {
    /// Name of its execution.
    pub name: String,
    pub action: RequestedAction,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub verdict: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl Past {
    fn of(record: &Record) -> Self {
        Self {
            name: record.name().to_owned(),
            action: record.action,
            version: version(record),
            verdict: record.verdict.clone(),
            finished_at: record.finished_at.clone(),
            cause: record.cause.clone(),
        }
    }
}

/// A service of the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    pub name: String,
    /// ECS's word, such as `ROLLING` or `BLUE_GREEN`.
    pub strategy: String,
    /// Of its deployment in progress; `None`: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// The revisions of which it has tasks, or is to have some; the newest first.
    pub revisions: Vec<Revision>,
}

/// A deployment in progress, in ECS's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    pub status: String,
    /// Where traffic is shifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle_stage: Option<String>,
}

/// A revision and its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// That of the release that brought it, or else its family and number.
    pub version: String,
    /// ARN of the task definition's revision.
    pub task_definition: String,
    pub running: i32,
    pub desired: i32,
}

/// An alarm that guards deployments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    pub name: String,
    pub in_alarm: bool,
}

/// The newest records of a stack, the newest first.
///
/// # Errors
/// DynamoDB does not answer.
pub async fn newest(pipeline: &Pipeline, stack: &str, limit: usize) -> Result<Vec<Record>> {
    let mut all = pipeline.table.records(stack).in_pages_of(limit);
    let mut records = Vec::new();
    while records.len() < limit
        && let Some(record) = all.next().await.map_err(asked)?
    {
        records.push(record);
    }
    Ok(records)
}

/// What a person calls a record's image: its tag, or else the first digits of its digest.
#[must_use]
pub fn version(record: &Record) -> Option<String> {
    let short = |digest: &String| {
        let digest = digest.trim_start_matches("sha256:");
        digest.get(..SHORT_DIGEST).unwrap_or(digest).to_owned()
    };
    match &record.restores_before {
        Some(_) => Some("before the first".to_owned()),
        None => record
            .tag
            .clone()
            .or_else(|| record.digest.as_ref().map(short)),
    }
}
