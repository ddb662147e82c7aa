//! Runs a command of a stack once, with the new image: its migration, or what it wants run after a
//! deployment. See the README.

mod failure;
mod handler;
mod stack;
mod task;

use aws_sdk_dynamodb::Client as DynamoDb;
use bluegreen_release::Table;
use bluegreen_runtime::{Error, now, serve};
use handler::Clients;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let config = bluegreen_runtime::from_env()?;
    let name = bluegreen_runtime::required_variable("RELEASES_TABLE")?;
    let table = Table::new(DynamoDb::new(&config), name);
    let clients = Clients {
        cloudformation: aws_sdk_cloudformation::Client::new(&config),
        ecs: bluegreen_ecs::rate_limited_client(&config, bluegreen_ecs::PATIENCE_TO_REGISTER),
    };
    serve(async |it| handler::handle(&clients, &table, it.payload, &it.call, now).await).await
}
