//! Starts releases for pushes whose event was lost. See the README.

mod budget;
mod failure;
mod handler;
mod images;
mod known;
mod repositories;
mod retags;
mod unfinished;

use bluegreen_release::Table;
use bluegreen_runtime::{Error, now, serve};
use bluegreen_trigger::StateMachine;
use handler::Context;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let state_machine = bluegreen_runtime::required_variable("STATE_MACHINE_ARN")?;
    let releases_table = bluegreen_runtime::required_variable("RELEASES_TABLE")?;
    let config = bluegreen_runtime::from_env()?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let context = Context {
        cloudformation: aws_sdk_cloudformation::Client::new(&config),
        ecr: aws_sdk_ecr::Client::new(&config),
        sfn: aws_sdk_sfn::Client::new(&config),
        tagging: aws_sdk_resourcegroupstagging::Client::new(&config),
        state_machine: StateMachine::parse(&state_machine)?,
        releases: Table::new(dynamodb, releases_table),
    };
    serve(async |invocation| handler::handle(&context, invocation.call.until, &now).await).await
}
