//! Answers whether a task has stopped, and if so how. See the README.

mod failure;
mod handler;

use aws_sdk_ecs::Client;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let client = Client::new(&bluegreen_runtime::from_env()?);
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&client, event.payload)
    }))
    .await
}
