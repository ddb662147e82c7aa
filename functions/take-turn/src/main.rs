//! Waits until a release has the turn of its stack. See the README.

mod failure;
mod handler;

use bluegreen_release::millis;
use bluegreen_release::turn::Line;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let line = Line::from_env(&bluegreen_runtime::from_env()?)?;
    run(service_fn(|event: LambdaEvent<Value>| {
        let deadline = millis(event.context.deadline());
        handler::handle(&line, event.payload, deadline)
    }))
    .await
}
