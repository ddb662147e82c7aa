//! Waits until a release has the turn of its stack. See the README.

mod failure;
mod handler;

use bluegreen_release::turn::Line;
use bluegreen_runtime::{Error, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let line = Line::from_env(&bluegreen_runtime::from_env()?)?;
    serve(async |it| handler::handle(&line, it.payload, it.call.until).await).await
}
