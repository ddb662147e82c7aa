//! Waits until a task has stopped, and stops one that is overdue. See the README.

mod decision;
mod failure;
mod handler;

use aws_sdk_ecs::Client;
use bluegreen_callback::Waits;
use bluegreen_runtime::{Error, now, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let config = bluegreen_runtime::from_env()?;
    let waits = Waits::from_env(&config, "wait-task")?;
    let client = Client::new(&config);
    serve(async |call| handler::handle(&client, &waits, call.payload, now).await).await
}
