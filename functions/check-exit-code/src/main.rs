//! Tells a migration that exited 0 in its time from every other end. See the README.

mod failure;
mod handler;
mod log;

use aws_sdk_cloudwatchlogs::Client;
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
