//! Says why a deployment failed. See the README.

mod failure;
mod handler;
mod tasks;

use bluegreen_runtime::{Error, serve};
use handler::Clients;

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
