//! Temporary credentials of functions' roles.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

use super::InvokeError;
use super::function::Function;
use crate::permissions::Caller;

/// The longest a role session may last: environments live no longer than a test or a demo.
const SESSION_SECONDS: i32 = 43_200;

/// Credentials as environment variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
}

impl Credentials {
    pub(crate) fn variables(&self) -> [(&'static str, &str); 3] {
        [
            ("AWS_ACCESS_KEY_ID", &self.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_access_key),
            ("AWS_SESSION_TOKEN", &self.session_token),
        ]
    }
}

/// Assumes functions' roles at moto's STS, so that what a function does is done by its role.
#[derive(Debug)]
pub(crate) struct Roles {
    client: aws_sdk_sts::Client,
    /// By access keys, which function calls in which role.
    callers: Mutex<HashMap<String, Caller>>,
}

impl Roles {
    pub(crate) fn new(client: aws_sdk_sts::Client) -> Self {
        Self {
            client,
            callers: Mutex::default(),
        }
    }

    pub(crate) async fn assume(&self, function: &Function) -> Result<Credentials, InvokeError> {
        let role = function.role.as_deref().ok_or_else(|| {
            InvokeError::Service(format!("The function {} has no role", function.name))
        })?;
        self.session(role, &function.name).await.map_err(|error| {
            InvokeError::Service(format!(
                "The role defined for the function cannot be assumed by Lambda: {error:#}"
            ))
        })
    }

    /// The function that has this access key.
    pub(crate) fn caller_with(&self, access_key_id: &str) -> Option<Caller> {
        let callers = self.callers.lock();
        let callers = callers.unwrap_or_else(PoisonError::into_inner);
        callers.get(access_key_id).cloned()
    }

    async fn session(&self, role: &str, name: &str) -> anyhow::Result<Credentials> {
        let request = self.client.assume_role().role_arn(role);
        let answer = request
            .role_session_name(name)
            .duration_seconds(SESSION_SECONDS)
            .send()
            .await?;
        let credentials = answer
            .credentials()
            .context("AssumeRole gave no credentials")?;
        let caller = Caller {
            name: name.to_owned(),
            role: role.to_owned(),
            session: name.to_owned(),
        };
        self.callers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(credentials.access_key_id().to_owned(), caller);
        Ok(Credentials {
            access_key_id: credentials.access_key_id().to_owned(),
            secret_access_key: credentials.secret_access_key().to_owned(),
            session_token: credentials.session_token().to_owned(),
        })
    }
}
