//! Starts a rollback when an alarm of an application's stack fires. See the README.

mod event;
mod failure;
mod handler;

use bluegreen_runtime::{Error, serve};
use bluegreen_trigger::StateMachine;
use handler::Context;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let state_machine = bluegreen_runtime::required_variable("STATE_MACHINE_ARN")?;
    let config = bluegreen_runtime::from_env()?;
    let context = Context {
        cloudformation: aws_sdk_cloudformation::Client::new(&config),
        sfn: aws_sdk_sfn::Client::new(&config),
        state_machine: StateMachine::parse(&state_machine)?,
    };
    serve(async |call| handler::handle(&context, call.payload).await).await
}
