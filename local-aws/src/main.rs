//! An AWS on this machine: `local-aws --venv target/venv --state DIRECTORY [--speed N]
//! [--record-ecs FILE] [--request-limits]`.
//!
//! Prints what to set and, as its last line, `ready http://127.0.0.1:PORT` when it serves requests.
//! Ends itself and everything it started when its standard input closes, on SIGTERM or SIGINT, or when asked to.

use std::process::ExitCode;

use clap::Parser;
use local_aws::containers::own_root;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // While this process has no other threads.
    if arguments.next().is_some_and(|it| it == own_root::ARGUMENT) {
        return own_root::run(arguments);
    }
    serve()
}

#[tokio::main]
async fn serve() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match local_aws::server::run(local_aws::server::Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("local-aws: {error:#}");
            ExitCode::FAILURE
        }
    }
}
