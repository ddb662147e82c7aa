//! Ends a release: verdict, words, record, turn. See the README.

mod failure;
mod handler;
#[cfg(test)]
mod samples;
mod seconds;
mod verdict;
mod words;

use bluegreen_release::turn::Line;
use bluegreen_runtime::{Error, now, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let line = Line::from_env(&bluegreen_runtime::from_env()?)?;
    serve(async |call| handler::handle(&line, call.payload, now()).await).await
}
