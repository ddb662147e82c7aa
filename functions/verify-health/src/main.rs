//! Waits for the verdict on the deployments of a release, or on its rollback. See the README.

mod circuit_breaker;
mod conclusion;
mod deployments;
mod failure;
mod handler;
mod pause;
mod rollback;
mod smoke;
mod targets;
mod verdict;

use bluegreen_callback::Waits;
use bluegreen_release::Table;
use bluegreen_runtime::{Error, Web, now, serve};
use handler::Clients;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let web = Web::new()?;
    let config = bluegreen_runtime::from_env_with(&web)?;
    let releases = bluegreen_runtime::required_variable("RELEASES_TABLE")?;
    let clients = Clients {
        table: Table::new(aws_sdk_dynamodb::Client::new(&config), releases),
        waits: Waits::from_env(&config, "verify-health")?,
        ecs: bluegreen_ecs::rate_limited_client(&config, bluegreen_ecs::PATIENCE),
        elb: aws_sdk_elasticloadbalancingv2::Client::new(&config),
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
        web,
    };
    serve(async |call| handler::handle(&clients, call.payload, now).await).await
}
