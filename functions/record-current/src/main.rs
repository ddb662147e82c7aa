//! Writes what serves now into the table and into the stack's image parameter. See the README.

mod failure;
mod handler;
mod parameter;
#[cfg(test)]
mod samples;
mod serving;

use bluegreen_release::Table;
use bluegreen_runtime::{Error, now, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let config = bluegreen_runtime::from_env()?;
    let name = bluegreen_runtime::required_variable("RELEASES_TABLE")?;
    let table = Table::new(aws_sdk_dynamodb::Client::new(&config), name);
    let ssm = aws_sdk_ssm::Client::new(&config);
    serve(async |it| handler::handle(&table, &ssm, it.payload, &it.call, now()).await).await
}
