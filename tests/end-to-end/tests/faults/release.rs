//! An execution of the state machine that is over, with all that is known of it.

use anyhow::{Context, Result};
use end_to_end::account::Account;
use end_to_end::execution::{End, Execution, Stay};
use jiff::Timestamp;
use serde_json::Value;

use crate::stand::Stand;

/// Errors of an execution whose release is healthy and stays.
const AFTER_A_RELEASE: [&str; 2] = ["PostDeployFailed", "ImageParameterNotWritten"];

pub(crate) struct Release {
    pub(crate) execution: Execution,
    pub(crate) input: Value,
    pub(crate) end: End,
    pub(crate) stays: Vec<Stay>,
    pub(crate) record: Option<Value>,
}

/// The releases of a stack that were begun since then, the newest first.
///
/// # Errors
/// One is not over.
pub(crate) async fn releases(
    account: &Account,
    stand: &Stand,
    since: Timestamp,
    records: &[Value],
) -> Result<Vec<Release>> {
    let mut releases = Vec::new();
    for execution in stand.executions_since(account, since).await? {
        let end = execution.ended().await?;
        let of = |record: &&Value| record["execution"] == execution.arn();
        releases.push(Release {
            input: execution.input().await?,
            stays: execution.stays().await?,
            record: records.iter().find(of).cloned(),
            end: end.context("an execution still runs")?,
            execution,
        });
    }
    Ok(releases)
}

impl Release {
    pub(crate) fn came_to(&self, state: &str) -> bool {
        self.stays.iter().any(|stay| stay.state == state)
    }

    pub(crate) fn is_rollback(&self) -> bool {
        self.input["action"] == "rollback"
    }

    /// It runs a contract command, and changes no service.
    pub(crate) fn is_contract(&self) -> bool {
        self.input["action"] == "contract"
    }

    /// How it ended.
    pub(crate) fn ending(&self) -> &str {
        ending(&self.end)
    }

    /// Whether it says that what it brought is in service and healthy.
    pub(crate) fn is_healthy(&self) -> bool {
        self.end.output["verdict"] == "succeeded" || AFTER_A_RELEASE.contains(&&*self.end.error)
    }

    /// The digest that it brings, as far as it is known.
    pub(crate) fn digest(&self) -> Option<&str> {
        let recorded = self.recorded("digest");
        self.input["digest"].as_str().or(recorded)
    }

    /// A text of its record.
    pub(crate) fn recorded(&self, attribute: &str) -> Option<&str> {
        self.record.as_ref()?[attribute].as_str()
    }

    /// Its place in the order of pushes, as the state machine has it.
    pub(crate) fn order(&self) -> Result<String> {
        let began = self
            .stays
            .first()
            .context("it has not begun")?
            .entered
            .to_string();
        let pushed = self.input["pushedAt"].as_str().unwrap_or(&began);
        Ok(format!("{}#{began}", &pushed[..19]))
    }

    /// When it had the stack's turn for sure: from the moment it knew until it gave it back, or was
    /// no longer the try that had taken it.
    pub(crate) fn turns(&self) -> Vec<(Timestamp, Timestamp)> {
        let mut turns = Vec::new();
        let mut since = None;
        for stay in &self.stays {
            let over = ["EndRelease", "TakeTurn"].contains(&stay.state.as_str());
            if over && let Some(from) = since.take() {
                turns.push((from, stay.entered));
            }
            if stay.state == "TakeTurn" && stay.output["taken"] == true {
                since = stay.left;
            }
        }
        if let Some(from) = since {
            turns.push((from, self.end.at));
        }
        turns
    }
}

/// The verdict of an execution, or its error, or where it has neither its status.
pub(crate) fn ending(end: &End) -> &str {
    let verdict = end.output["verdict"].as_str();
    verdict.unwrap_or(match end.error.as_str() {
        "" => &end.status,
        error => error,
    })
}
