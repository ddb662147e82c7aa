//! What the local ECS works with.

use std::sync::Arc;

use crate::clock::Clock;
use crate::event_bus::EventBus;
use crate::images::ImageStore;
use crate::lambda::LambdaService;
use crate::load_balancer::LoadBalancers;

/// Where the gateway serves the task metadata endpoint.
const METADATA_PATH: &str = "/_local/v4";

/// What the local ECS works with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub account_id: String,
    pub region: String,
    /// The gateway's URL; containers find it in `AWS_ENDPOINT_URL`.
    pub endpoint_url: String,
    pub clock: Clock,
    pub images: ImageStore,
    pub load_balancers: LoadBalancers,
    /// Runs the functions of life-cycle hooks.
    pub(crate) lambda: Arc<LambdaService>,
    /// Knows the deployment alarms.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub secrets_manager: aws_sdk_secretsmanager::Client,
    pub ssm: aws_sdk_ssm::Client,
    /// Takes the events of ECS.
    pub event_bus: EventBus,
}

impl Settings {
    /// What a container's environment says about AWS. Credentials are those of the task's role:
    /// without a role there are none.
    pub(super) fn environment(&self, has_role: bool) -> Vec<(String, String)> {
        let mut all = vec![
            ("AWS_REGION", self.region.as_str()),
            ("AWS_DEFAULT_REGION", self.region.as_str()),
            ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE"),
            ("AWS_ENDPOINT_URL", self.endpoint_url.as_str()),
        ];
        if has_role {
            all.push(("AWS_ACCESS_KEY_ID", "local"));
            all.push(("AWS_SECRET_ACCESS_KEY", "local"));
        }
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The value of `ECS_CONTAINER_METADATA_URI_V4`.
    pub(super) fn metadata_uri(&self, runtime_id: &str) -> String {
        format!("{}{METADATA_PATH}/{runtime_id}", self.endpoint_url)
    }
}
