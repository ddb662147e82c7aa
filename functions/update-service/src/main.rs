//! Gives every service of a release its new revision. See the README.

mod failure;
mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let client = bluegreen_ecs::paced_client(&bluegreen_runtime::from_env()?);
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&client, event.payload)
    }))
    .await
}
