//! What became of the deployments.

use crate::UpdatedService;
use serde::{Deserialize, Serialize};

/// Input of `verify-health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyHealthInput {
    /// The answer of `update-service`, or of `roll-back`.
    pub services: Vec<UpdatedService>,
    /// The services go back to their revisions: what counts is that they run them.
    #[serde(default)]
    pub rollback: bool,
    /// An `http` or `https` URL that has to answer with a status of 2xx.
    #[serde(default)]
    pub health_check_url: Option<String>,
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

/// Answer of `verify-health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// `inProgress` while any service is undecided, then the worst of all services.
    pub verdict: Verdict,
    /// For the person on call: what happened to which service and what to do.
    pub cause: String,
    pub services: Vec<ServiceHealth>,
}

/// What became of one service's deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceHealth {
    /// ARN of the service.
    pub service: String,
    pub verdict: Verdict,
    /// ECS's own word for the service deployment, e.g. `ROLLBACK_SUCCESSFUL`.
    pub status: String,
    pub reason: String,
    /// Names of the CloudWatch alarms by which ECS ended the deployment.
    pub alarms: Vec<String>,
}

/// Ordered from good to bad, so that the worst of several is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Succeeded,
    InProgress,
    /// A newer deployment of the service took over before this one was complete.
    Superseded,
    /// A person stopped the deployment.
    Stopped,
    /// ECS finished the deployment, but the application is not well: an alarm, or its own health
    /// check. Nobody has brought it back yet.
    Unhealthy,
    /// ECS went back to the revision before.
    RolledBack,
    /// The deployment failed and ECS did not, or could not, go back.
    Stalled,
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
