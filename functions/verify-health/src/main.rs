//! Says what became of the deployments of a release. See the README.

mod deployments;
mod failure;
mod handler;
mod rollback;
mod smoke;
mod targets;
mod verdict;

use bluegreen_runtime::Web;
use handler::Clients;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let web = Web::new()?;
    let config = bluegreen_runtime::from_env_with(&web)?;
    let clients = Clients {
        ecs: bluegreen_ecs::paced_client(&config),
        elb: aws_sdk_elasticloadbalancingv2::Client::new(&config),
        web,
    };
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&clients, event.payload)
    }))
    .await
}
