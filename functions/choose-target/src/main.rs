//! Chooses the revisions that the services of a stack go back to. See the README.

mod failure;
mod handler;
mod target;

use bluegreen_release::Table;
use bluegreen_runtime::{Error, serve};
use handler::Clients;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let table = bluegreen_runtime::required_variable("RELEASES_TABLE")?;
    let config = bluegreen_runtime::from_env()?;
    let clients = Clients {
        table: Table::new(aws_sdk_dynamodb::Client::new(&config), table),
        ecr: aws_sdk_ecr::Client::new(&config),
    };
    serve(async |call| handler::handle(&clients, call.payload).await).await
}
