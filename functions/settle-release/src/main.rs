//! Waits until a stack is at rest that a dead release left in progress. See the README.

mod failure;
mod handler;
mod left;

use bluegreen_callback::Waits;
use bluegreen_release::Table;
use bluegreen_runtime::{Error, now, required_variable, serve};
use handler::Clients;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let config = bluegreen_runtime::from_env()?;
    let clients = Clients {
        table: Table::new(
            aws_sdk_dynamodb::Client::new(&config),
            required_variable("RELEASES_TABLE")?,
        ),
        waits: Waits::from_env(&config, "settle-release")?,
        ecs: bluegreen_ecs::rate_limited_client(&config, bluegreen_ecs::PATIENCE),
    };
    serve(async |it| handler::handle(&clients, it.payload, it.call.until, now).await).await
}
