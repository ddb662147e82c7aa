//! Which release a function works for.

use crate::RequestedAction;
use serde::{Deserialize, Serialize};

/// The execution that calls, as Step Functions tells of it at the moment of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Execution {
    /// Its ARN.
    pub id: String,
    /// How often it was redriven.
    pub redrives: u32,
}

impl Execution {
    /// The execution's own name, the last part of its ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        name_of(&self.id)
    }
}

/// The name at the end of an execution's ARN.
#[must_use]
pub fn name_of(execution: &str) -> &str {
    execution.rsplit(':').next().unwrap_or(execution)
}

/// The name of a release's execution, which stands in the key of its record.
#[must_use]
pub fn name_in(record: &str) -> &str {
    record.splitn(3, '#').nth(2).unwrap_or(record)
}

/// A release: what an execution brings into a stack, and its place among the others. The first plan
/// settles all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// Name of the CloudFormation stack.
    pub stack: String,
    pub action: RequestedAction,
    /// Name of the ECR repository, without the registry; `null` for a rollback.
    pub repository: Option<String>,
    /// The tag that was asked for, if one was; of a contract command that of the release whose it is.
    pub tag: Option<String>,
    /// `sha256:…`, of the index where the image is for several platforms; `null` for a rollback.
    pub digest: Option<String>,
    /// `registry/repository@digest`, as it goes into the task definitions; `null` for a rollback.
    pub image: Option<String>,
    /// The images of the repository that the services ran when the release was planned, each once, as their
    /// revisions name them; for a rollback, of every repository that names the stack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images_before: Vec<String>,
    /// The commit that the image was built from, as its label `org.opencontainers.image.revision` says.
    pub commit: Option<String>,
    /// Address of the commit, or else of the sources, as the label `org.opencontainers.image.source`
    /// says.
    pub commit_url: Option<String>,
    /// Key of its record in the table: `release#START#NAME`, START being the execution's start.
    pub record: String,
    /// Releases of a stack are ordered by it: the time of the push to the second (any other
    /// release's is its start, and none is later than that), `#`, the execution's start.
    pub order: String,
    /// Start of the execution, RFC 3339 in UTC with milliseconds.
    pub started_at: String,
    /// When the image was pushed, RFC 3339 in UTC; `null` where no push began the release.
    pub pushed_at: Option<String>,
    /// Who or what asked for it.
    pub started_by: String,
    /// The release to go back to, by the name of its execution; `null`: the last good one.
    pub to: Option<String>,
    /// Key of the record of the release whose contract command is to run; `null`: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contracts: Option<String>,
    /// The alarm that asks for a rollback.
    pub alarm: Option<crate::FiredAlarm>,
    /// See [`ExecutionInput::force`](crate::ExecutionInput::force).
    pub force: bool,
    /// Deploy, or contract, although alarms of the services are in ALARM.
    pub ignore_alarms: bool,
}

impl Release {
    /// Whether this release and another one of the stack, for `waits_for`, take each other's place:
    /// both are of one repository, or one is a rollback, which concerns all.
    #[must_use]
    pub fn waits_for(&self) -> &str {
        match (self.action, &self.repository) {
            (RequestedAction::Deploy | RequestedAction::Contract, Some(repository)) => repository,
            _ => EVERY_REPOSITORY,
        }
    }

    /// Who or what asked for it, as a sentence calls that.
    #[must_use]
    pub fn asked_by(&self) -> String {
        match &self.alarm {
            Some(alarm) => format!("the alarm {}", alarm.name),
            None => self.started_by.clone(),
        }
    }
}

/// What a rollback waits for: its place is before that of every repository's releases.
pub const EVERY_REPOSITORY: &str = "*";
