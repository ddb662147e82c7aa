//! Ends a release: verdict, words, record, turn. See the README.

mod failure;
mod handler;
#[cfg(test)]
mod samples;
mod seconds;
mod verdict;
mod words;

use bluegreen_release::millis;
use bluegreen_release::turn::Line;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use std::time::SystemTime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let line = Line::from_env(&bluegreen_runtime::from_env()?)?;
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&line, event.payload, millis(SystemTime::now()))
    }))
    .await
}
