//! Waits for the verdict on the deployments of a release, or on its rollback. See the README.

mod conclusion;
mod deployments;
mod failure;
mod handler;
mod rollback;
mod smoke;
mod targets;
mod verdict;

use bluegreen_callback::Waits;
use bluegreen_runtime::Web;
use handler::Clients;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let web = Web::new()?;
    let config = bluegreen_runtime::from_env_with(&web)?;
    let clients = Clients {
        waits: Waits::from_env(&config, "verify-health")?,
        ecs: bluegreen_ecs::rate_limited_client(&config),
        elb: aws_sdk_elasticloadbalancingv2::Client::new(&config),
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
        web,
    };
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&clients, event.payload, now)
    }))
    .await
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map(|since| since.as_millis()).unwrap_or_default();
    i64::try_from(millis).unwrap_or_default()
}
