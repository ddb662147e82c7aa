//! Services on their way from one revision to another, and what became of that.

use crate::{Command, Execution, Migrations, PlannedService, Release, Target};
use serde::{Deserialize, Serialize};

/// Input of `update-service`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateServiceInput {
    pub release: Release,
    pub execution: Execution,
    pub services: Vec<PlannedService>,
    /// Names of the alarms that must be quiet.
    pub alarms: Vec<String>,
    /// Seconds that the deployment may take.
    pub deployment_seconds: u32,
    /// What has exited 0 before the services are updated; `null`: nothing was run.
    pub migration: Option<Command>,
    /// Those of the image, if it says which they are.
    pub migrations: Option<Migrations>,
}

/// Answer of `update-service` and of `roll-back`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdatedServices {
    pub services: Vec<UpdatedService>,
    /// When ECS was asked for it, milliseconds since 1970.
    pub at: i64,
    /// Until when it has to be done, milliseconds since 1970.
    pub deadline: i64,
    /// How often a rollback was begun; 1 for an update.
    pub tries: u32,
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
    /// The call began a deployment that replaces tasks, which takes its time.
    #[serde(default)]
    pub replaces_tasks: bool,
}

/// Input of `roll-back`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollBackInput {
    pub release: Release,
    pub execution: Execution,
    pub target: Target,
    /// What the services were before this release, for its record.
    pub before: Vec<PlannedService>,
    /// Its own answer to an earlier call of this execution, where ECS took that rollback back.
    pub earlier: Option<UpdatedServices>,
    /// Seconds that the rollback may take.
    pub deployment_seconds: u32,
}

/// Input of `explain-failure`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExplainFailureInput {
    /// The answer of `update-service`.
    pub update: UpdatedServices,
    /// The answer of `verify-health`.
    pub health: Health,
}

/// Input of `deregister-revisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeregisterRevisionsInput {
    pub release: Release,
    pub execution: Execution,
    pub services: Vec<PlannedService>,
}

/// Answer of `deregister-revisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeregisteredRevisions {
    /// ARNs of the revisions that this call deregistered.
    pub task_definitions: Vec<String>,
}

/// Input of `verify-health` that the state machine gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyHealthInput {
    /// Name of the CloudFormation stack.
    pub stack: String,
    /// Key of the release's record; absent in executions that are older than this field.
    #[serde(default)]
    pub record: Option<String>,
    pub execution: Execution,
    /// The answer of `update-service`, or of `roll-back`.
    pub update: UpdatedServices,
    /// The services go back to their revisions: what counts is that they run them.
    pub rollback: bool,
    /// Names of the alarms that must be quiet once ECS is done.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// An `http` or `https` URL that has to answer with a status of 2xx.
    #[serde(default)]
    pub health_check_url: Option<String>,
    /// Minutes, after ECS has finished, for the targets to become healthy.
    #[serde(default = "crate::plan::target_health_minutes")]
    pub target_health_minutes: u32,
}

/// Answer of `verify-health` and of `explain-failure`: always a final verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// The worst of all services.
    pub verdict: Verdict,
    /// For the person on call: what happened to which service.
    pub cause: String,
    /// When that was seen, milliseconds since 1970.
    pub at: i64,
}

/// Ordered from good to bad, so that the worst of several is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Succeeded,
    /// Never the final verdict.
    InProgress,
    /// A newer deployment of the service took over before this one was complete.
    Superseded,
    /// A person stopped the deployment.
    Stopped,
    /// ECS finished the deployment, but the application is not well: an alarm, or its own health
    /// check. Nobody has brought it back yet.
    Unhealthy,
    /// An alarm made ECS take a rollback back: it is to be begun again.
    Again,
    /// ECS went back to the revision before.
    RolledBack,
    /// The deployment failed and ECS did not, or could not, go back.
    Stalled,
}

/// Checks that a URL is one that can be asked for its health.
///
/// # Errors
/// A text that says what is wrong with it.
pub fn check_health_check_url(url: &str) -> Result<(), String> {
    let refuse = |problem: &str| Err(format!("`{url}` {problem}"));
    let Ok(uri) = url.parse::<http::Uri>() else {
        return refuse("is not a URL");
    };
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) if authority.host().is_empty() => {
            refuse("names no host")
        }
        // It would stand in the record of every release, and is not sent.
        (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
            refuse("holds a user name")
        }
        (Some("http" | "https"), Some(_)) => Ok(()),
        _ => refuse("does not start with http:// or https://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_has_a_url_of_http_with_a_host() {
        for url in [
            "http://demo.example.com",
            "https://demo.example.com/health?deep=1",
            "http://127.0.0.1:8080/health",
            "http://[::1]/",
        ] {
            assert_eq!(check_health_check_url(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "/health",
            "demo.example.com/health",
            "ftp://demo.example.com",
            "http://",
            "http:///health",
            "https://user:secret@demo.example.com",
            "http://demo.example.com/a b",
        ] {
            let problem = check_health_check_url(url).unwrap_err();
            assert!(problem.contains(url), "{problem}");
        }
    }

    #[test]
    fn an_application_that_is_not_well_is_worse_than_a_stop_and_better_than_a_rollback() {
        assert!(Verdict::Stopped < Verdict::Unhealthy);
        assert!(Verdict::Unhealthy < Verdict::RolledBack);
    }
}
