//! Chooses the revisions that the services of a stack go back to. See the README.

mod failure;
mod handler;
mod target;

use aws_sdk_dynamodb::Client;
use bluegreen_release::Table;
use bluegreen_runtime::{Error, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let client = Client::new(&bluegreen_runtime::from_env()?);
    let name = bluegreen_runtime::required_variable("RELEASES_TABLE")?;
    let table = Table::new(client, name);
    serve(async |call| handler::handle(&table, call.payload).await).await
}
