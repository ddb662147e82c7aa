//! Tells a migration that exited 0 in its time from every other end. See the README.

mod failure;
mod handler;

use aws_sdk_cloudwatchlogs::Client;
use bluegreen_runtime::{Error, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let client = Client::new(&bluegreen_runtime::from_env()?);
    serve(async |call| handler::handle(&client, call.payload).await).await
}
