//! A small web service with a database: what a pipeline deploys when it is tested.
//!
//! `websvc migrate` brings the database to the version of this image, `websvc serve` answers
//! requests. Exit codes: 0 done, 1 failed, 2 wrong command line or environment.

mod migrate;
mod page;
mod serve;

use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;

const WRONG_USAGE: u8 = 2;

#[derive(Parser)]
#[command(
    name = "websvc",
    version,
    about = "A small web service with a database"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply the migrations in ./migrations that the database has not seen
    Migrate,
    /// Serve GET /posts and GET /health
    Serve(serve::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    start_log();
    let command = Arguments::parse().command;
    let (url, host) = (std::env::var("DATABASE_URL"), std::env::var("PGHOST"));
    let database = match database_options(url.ok().as_deref(), host.is_ok()) {
        Ok(database) => database,
        Err(error) => return fail(&error, ExitCode::from(WRONG_USAGE)),
    };
    let outcome = match command {
        Command::Migrate => migrate::run(&database).await,
        Command::Serve(options) => serve::run(database, options).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

/// To stderr; `RUST_LOG` says what. PostgreSQL's notices, such as that a table which is made if it
/// is missing is there, tell an operator nothing.
fn start_log() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx::postgres::notice=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}

/// The database is an environment variable only, never an argument: a password in the list of
/// processes is no secret. For the same reason no error repeats the URL. Without a URL the
/// database is where PGHOST and the other variables of libpq say.
fn database_options(url: Option<&str>, has_host: bool) -> anyhow::Result<PgConnectOptions> {
    let options = match url.filter(|url| !url.is_empty()) {
        Some(url) => PgConnectOptions::from_str(url)
            .context("DATABASE_URL is no URL of a PostgreSQL database")?,
        None if has_host => PgConnectOptions::new_without_pgpass(),
        None => bail!(
            "DATABASE_URL is not set: it names the database, as in \
             postgres://user:password@host:5432/name; nor is PGHOST"
        ),
    };
    Ok(options.application_name("websvc"))
}

/// Says what went wrong, with every cause, in one line on stderr.
fn fail(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    // Nothing is left to do when stderr itself is closed.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_empty_database_url_is_said_by_name() {
        for url in [None, Some("")] {
            let error = database_options(url, false).unwrap_err().to_string();
            assert!(error.starts_with("DATABASE_URL is not set"), "{error}");
        }
    }

    #[test]
    fn a_wrong_database_url_is_not_repeated() {
        let error =
            database_options(Some("postgres://user:secret@host:port/name"), false).unwrap_err();
        let line = format!("{error:#}");
        assert!(line.contains("DATABASE_URL"), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }

    #[test]
    fn without_a_url_the_variables_of_libpq_are_enough() {
        for url in [None, Some("")] {
            let options = database_options(url, true).unwrap();
            assert_eq!(options.get_application_name(), Some("websvc"));
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
