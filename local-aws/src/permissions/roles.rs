//! The roles that calls are made in, and whether they allow them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::Need;
use super::conditions::{Request, Unclear};
use super::policies::{Denial, RolePolicies};
use crate::api_call::ApiCall;
use crate::client::ACCOUNT;
use crate::protocol::{Protocol, QUERY_ERROR};

/// Who calls in a role: a function or a state machine. Whoever else calls is a person, or AWS itself.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The function's name, or [`STATE_MACHINES`](super::STATE_MACHINES).
    pub(crate) name: String,
    /// The role's ARN.
    pub(crate) role: String,
    /// The name of the session.
    pub(crate) session: String,
}

impl Caller {
    /// The ARN that errors name: that of the session, which has no path.
    fn arn(&self) -> String {
        let name = self.role.rsplit('/').next().unwrap_or_default();
        format!(
            "arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{}",
            self.session
        )
    }
}

/// A need that IAM does not meet.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) need: Need,
    /// AWS's sentence.
    message: String,
}

/// The policies of moto's roles, each asked for once until somebody changes what IAM has.
#[derive(Debug)]
pub(crate) struct Roles {
    http: reqwest::Client,
    url: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// How often IAM was changed.
    changes: u64,
    /// By their ARNs; where the policies are no such, what is wrong with them.
    roles: HashMap<String, Arc<Result<RolePolicies, String>>>,
}

impl Roles {
    /// Those of the moto at `authority`, which is `host:port`.
    pub(crate) fn of_moto(authority: &str) -> reqwest::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            url: format!("http://{authority}/_glue/role"),
            known: Mutex::default(),
        })
    }

    /// Forgets what is known of roles where a call of IAM, which is over, may have changed it.
    /// CloudFormation changes roles by such calls, too.
    pub(crate) fn follow(&self, call: &ApiCall) {
        let reads = ["Get", "List"];
        if !reads.iter().any(|it| call.operation.starts_with(it)) {
            let mut known = self.known();
            known.changes += 1;
            known.roles.clear();
        }
    }

    /// The first of the needs that the caller's role does not meet.
    ///
    /// # Errors
    /// moto does not tell the role's policies.
    pub(crate) async fn refuse(
        &self,
        caller: &Caller,
        needs: &[Need],
    ) -> reqwest::Result<Option<Refusal>> {
        if needs.is_empty() {
            return Ok(None);
        }
        let policies = self.policies(&caller.role).await?;
        let mut needs = needs.iter();
        Ok(needs.find_map(|need| refused(&policies, caller, need)))
    }

    async fn policies(&self, role: &str) -> reqwest::Result<Arc<Result<RolePolicies, String>>> {
        let changes = {
            let known = self.known();
            if let Some(policies) = known.roles.get(role) {
                return Ok(Arc::clone(policies));
            }
            known.changes
        };
        let asked = self.http.post(&self.url).json(&json!({ "arn": role }));
        let answer = asked.send().await?.error_for_status()?.bytes().await?;
        let policies = serde_json::from_slice(&answer).map_err(|error| error.to_string());
        let policies = Arc::new(policies);
        let mut known = self.known();
        // What was changed meanwhile may not be in the answer.
        if known.changes == changes {
            known.roles.insert(role.to_owned(), Arc::clone(&policies));
        }
        Ok(policies)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(
    policies: &Result<RolePolicies, String>,
    caller: &Caller,
    need: &Need,
) -> Option<Refusal> {
    let role = caller.role.as_str();
    let (denial, unclear) = match policies {
        Ok(policies) => policies.judge(&Request { need, role }).err()?,
        Err(error) => (Denial::NoPolicyAllows, vec![Unclear(error.clone())]),
    };
    let Need {
        action, resource, ..
    } = need;
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} {}",
        caller.arn(),
        denial.words(action)
    );
    tracing::info!(context = ?need.context, "IAM refuses: {message}");
    for Unclear(what) in unclear {
        tracing::warn!("of the policies of {role} something is not evaluated: {what}");
    }
    Some(Refusal {
        need: need.clone(),
        message,
    })
}

impl Refusal {
    /// The answer to a call that IAM refuses, as the service of the call words it.
    ///
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>;
    /// of EC2 <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>, of SNS
    /// <https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html>
    pub(crate) fn answer(&self, call: &ApiCall) -> Response {
        let message = self.message.as_str();
        let error = |status, name, message: &str| call.error(status, name, message);
        match (call.service.as_str(), &call.protocol) {
            // They had the query protocol before, and their errors have its names still:
            // https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#aws-protocols-awsquerycompatible-trait
            ("monitoring" | "sqs", Protocol::Json(_) | Protocol::Cbor) => {
                let name = "AccessDeniedException";
                let mut response = error(StatusCode::FORBIDDEN, name, message);
                let code = HeaderValue::from_static("AccessDenied;Sender");
                response.headers_mut().insert(QUERY_ERROR, code);
                response
            }
            (_, Protocol::Json(_) | Protocol::Cbor) => {
                error(StatusCode::BAD_REQUEST, "AccessDeniedException", message)
            }
            (_, Protocol::RestJson) => {
                error(StatusCode::FORBIDDEN, "AccessDeniedException", message)
            }
            (_, Protocol::Ec2Query) => {
                let message =
                    format!("You are not authorized to perform this operation. {message}");
                error(StatusCode::FORBIDDEN, "UnauthorizedOperation", &message)
            }
            ("sns", _) => error(StatusCode::FORBIDDEN, "AuthorizationError", message),
            (_, Protocol::Query | Protocol::RestXml) => {
                error(StatusCode::FORBIDDEN, "AccessDenied", message)
            }
        }
    }
}
