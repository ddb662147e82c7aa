//! Waits until a task has stopped, and stops one that is overdue. See the README.

mod decision;
mod failure;
mod handler;

use aws_sdk_ecs::Client;
use bluegreen_callback::Waits;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let config = bluegreen_runtime::from_env()?;
    let waits = Waits::from_env(&config, "wait-task")?;
    let client = Client::new(&config);
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&client, &waits, event.payload, now)
    }))
    .await
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map(|since| since.as_millis()).unwrap_or_default();
    i64::try_from(millis).unwrap_or_default()
}
