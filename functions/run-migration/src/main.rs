//! Runs a command of a stack once, with the new image: its migration, or what it wants run after a
//! deployment. See the README.

mod failure;
mod handler;
mod log;
mod task;

use aws_sdk_dynamodb::Client as DynamoDb;
use bluegreen_release::{Table, millis};
use handler::Call;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use std::time::SystemTime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let config = bluegreen_runtime::from_env()?;
    let name = bluegreen_runtime::required_variable("RELEASES_TABLE")?;
    let table = Table::new(DynamoDb::new(&config), name);
    let ecs = bluegreen_ecs::rate_limited_client(&config);
    run(service_fn(|event: LambdaEvent<Value>| {
        let call = Call {
            now: millis(SystemTime::now()),
            until: millis(event.context.deadline()),
        };
        handler::handle(&ecs, &table, event.payload, call)
    }))
    .await
}
