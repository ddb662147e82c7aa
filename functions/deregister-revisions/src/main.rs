//! Deregisters the revisions that a release registered and that did not come into service, or were taken
//! out of it. See the README.

mod failure;
mod handler;

use bluegreen_release::Table;
use bluegreen_runtime::{Error, required_variable, serve};
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
        ecs: bluegreen_ecs::rate_limited_client(&config, bluegreen_ecs::PATIENCE),
    };
    serve(async |it| handler::handle(&clients, it.payload, &it.call).await).await
}
