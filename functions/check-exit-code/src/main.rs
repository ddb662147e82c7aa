//! Tells a migration that exited 0 in its time from every other end. See the README.

mod failure;
mod handler;
mod log;

use bluegreen_runtime::{Error, serve};
use log::Clients;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let config = bluegreen_runtime::from_env()?;
    let clients = Clients {
        ecs: bluegreen_ecs::rate_limited_client(&config, bluegreen_ecs::PATIENCE),
        logs: aws_sdk_cloudwatchlogs::Client::new(&config),
    };
    serve(async |call| handler::handle(&clients, call.payload).await).await
}
