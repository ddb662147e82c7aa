//! Gives every service of a release its new revision. See the README.

mod failure;
mod handler;

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
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
        ecs: bluegreen_ecs::rate_limited_client(&config, bluegreen_ecs::PATIENCE_TO_REGISTER),
    };
    serve(async |it| handler::handle(&clients, it.payload, &it.call, now).await).await
}
