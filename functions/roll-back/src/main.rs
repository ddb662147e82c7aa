//! Begins the rollback of the services of a stack to the revisions they are to run. See the README.

mod decision;
mod failure;
mod handler;

use bluegreen_release::{Table, millis};
use bluegreen_runtime::required_variable;
use handler::Clients;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use std::time::SystemTime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let config = bluegreen_runtime::from_env()?;
    let clients = Clients {
        table: Table::new(
            aws_sdk_dynamodb::Client::new(&config),
            required_variable("RELEASES_TABLE")?,
        ),
        ecs: bluegreen_ecs::rate_limited_client(&config),
    };
    run(service_fn(|event: LambdaEvent<Value>| {
        let until = millis(event.context.deadline());
        handler::handle(&clients, event.payload, until, || millis(SystemTime::now()))
    }))
    .await
}
