//! Decides what a release will do, or that there is nothing to do. See the README.

mod commands;
mod failure;
mod handler;
mod image;
mod image_parameters;
mod outputs;
mod repository;
mod services;
mod stack;

use handler::Clients;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let config = bluegreen_runtime::from_env()?;
    let clients = Clients {
        cloudformation: aws_sdk_cloudformation::Client::new(&config),
        ecr: aws_sdk_ecr::Client::new(&config),
        ecs: bluegreen_ecs::paced_client(&config),
    };
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&clients, event.payload)
    }))
    .await
}
