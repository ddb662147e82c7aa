//! The local ECS: tasks are processes of this machine, services replace them by deployments.

mod error;

pub use error::ApiError;

use serde_json::Value;

use crate::clock::Clock;
use crate::images::ImageStore;
use crate::load_balancer::LoadBalancers;

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
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub secrets_manager: aws_sdk_secretsmanager::Client,
    pub ssm: aws_sdk_ssm::Client,
}

/// The ECS control plane. Clones share one state.
#[derive(Clone, Debug)]
pub struct Ecs {
    settings: Settings,
}

impl Ecs {
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Answers one request of the ECS API.
    ///
    /// `operation` is the part of `X-Amz-Target` behind the dot, `request` the JSON body. The
    /// answer is the JSON body; time stamps are seconds since the epoch, as JSON 1.1 has them.
    pub async fn call(&self, operation: &str, request: Value) -> Result<Value, ApiError> {
        let _ = (&self.settings, request);
        Err(ApiError::client(
            "InvalidAction",
            format!("The action {operation} is not valid for this endpoint."),
        ))
    }

    /// Ends every service and kills every process of every task.
    pub async fn shut_down(&self) {}
}
