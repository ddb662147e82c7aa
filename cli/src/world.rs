//! The account in which everything is done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityOutput;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_types::SdkConfig;

use crate::artifacts::Place;
use crate::cli::Cli;
use crate::say::Say;
use crate::stacks::Stacks;
use crate::trouble::failed;

/// How often AWS is asked for news: CloudFormation's requests are limited, and a person reads along.
const POLL: Duration = Duration::from_secs(3);

/// An account and a region, by whatever credentials the person has.
#[derive(Clone, Debug)]
pub struct World {
    /// For SDK clients.
    pub config: SdkConfig,
    /// The AWS CLI with the same credentials.
    pub cli: Cli,
    /// What the person reads.
    pub say: Say,
    /// The root of this repository.
    pub root: PathBuf,
    /// How often AWS is asked for news.
    pub poll: Duration,
    /// What stands in for AWS, if anything does.
    pub local: Option<crate::local::Local>,
}

impl World {
    /// The account that the environment, the profile or single sign-on leads to.
    ///
    /// # Errors
    /// No region is set.
    pub async fn from_environment(root: &Path, say: Say) -> Result<Self> {
        let tls = Provider::Rustls(CryptoMode::Ring);
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls)
            .build_https();
        let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .http_client(http)
            .load()
            .await;
        let region = config.region().context(
            "No region is set: set AWS_REGION, or the region of your profile (aws configure)",
        )?;
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let variables = variables.map(|name| (name.to_owned(), region.to_string()));
        let venv = root.join("target/venv");
        let cli = Cli::new(&venv, variables.to_vec(), config.endpoint_url())
            .with_credentials(config.credentials_provider());
        Ok(Self {
            config,
            cli,
            say,
            root: root.to_owned(),
            poll: POLL,
            local: None,
        })
    }

    /// The stacks.
    #[must_use]
    pub fn stacks(&self) -> Stacks {
        let client = aws_sdk_cloudformation::Client::new(&self.config);
        Stacks::new(client, self.say.clone(), self.poll)
    }

    /// Where the templates are.
    #[must_use]
    pub fn infra(&self) -> PathBuf {
        self.root.join("infra")
    }

    /// The region's name.
    #[must_use]
    pub fn region(&self) -> &str {
        self.config.region().map_or("", |region| region.as_ref())
    }

    /// Where S3 is.
    #[must_use]
    pub fn s3(&self) -> Place<'_> {
        match self.config.endpoint_url() {
            Some(endpoint) => Place::Endpoint(endpoint),
            None => Place::Region(self.region()),
        }
    }

    /// The account's number.
    ///
    /// # Errors
    /// The credentials are missing or not valid.
    pub async fn account(&self) -> Result<String> {
        let identity = self.caller().await?;
        Ok(identity.account().unwrap_or_default().to_owned())
    }

    /// The ARN of whoever has the credentials.
    ///
    /// # Errors
    /// They are missing or not valid.
    pub async fn identity(&self) -> Result<String> {
        let identity = self.caller().await?;
        Ok(identity.arn().unwrap_or_default().to_owned())
    }

    async fn caller(&self) -> Result<GetCallerIdentityOutput> {
        let sts = aws_sdk_sts::Client::new(&self.config);
        let identity = sts.get_caller_identity().send().await;
        identity.map_err(|error| failed(error, "AWS does not know who you are"))
    }
}
