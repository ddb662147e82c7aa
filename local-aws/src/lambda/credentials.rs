//! Temporary credentials of functions' roles.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

use super::InvokeError;
use super::function::Function;

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
    /// Which function has which access key.
    functions: Mutex<HashMap<String, String>>,
}

impl Roles {
    pub(crate) fn new(client: aws_sdk_sts::Client) -> Self {
        Self {
            client,
            functions: Mutex::default(),
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

    /// The name of the function that has this access key.
    pub(crate) fn function_with(&self, access_key_id: &str) -> Option<String> {
        let functions = self.functions.lock();
        let functions = functions.unwrap_or_else(PoisonError::into_inner);
        functions.get(access_key_id).cloned()
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
        self.functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(credentials.access_key_id().to_owned(), name.to_owned());
        Ok(Credentials {
            access_key_id: credentials.access_key_id().to_owned(),
            secret_access_key: credentials.secret_access_key().to_owned(),
            session_token: credentials.session_token().to_owned(),
        })
    }
}
