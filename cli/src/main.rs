//! `bluegreen up|down|releases`: what the Makefile's targets of the same names call.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use bluegreen_cli::first_image::Given;
use bluegreen_cli::names::{Application, StackName};
use bluegreen_cli::say::Say;
use bluegreen_cli::template::Setting;
use bluegreen_cli::world::World;
use bluegreen_cli::{down, releases, up};
use bluegreen_contract::printable;
use clap::{Args, Parser, Subcommand};

/// From an empty account to a running application, and back.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Use the local AWS of this project in the place of an account; start it where none runs.
    #[arg(long, global = true)]
    local: bool,
    /// How many times faster than AWS a local AWS replaces tasks and checks health.
    #[arg(long, global = true, default_value_t = 10.0)]
    speed: f64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up an application and all it needs; a second time changes only what differs.
    Up(Up),
    /// Delete an application and all it needs, after a question.
    Down {
        /// The name of the application's stack.
        #[arg(long)]
        stack: Application,
        /// Agree beforehand.
        #[arg(long)]
        yes: bool,
    },
    /// Show what was released to a stack.
    Releases {
        /// The name of the stack, whoever made it.
        #[arg(long)]
        stack: StackName,
        /// Print the whole records as JSON.
        #[arg(long)]
        json: bool,
        /// How many, the newest first.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
}

#[derive(Debug, Args)]
struct Up {
    /// The name of the application's stack; other names are made of it.
    #[arg(long)]
    stack: Application,
    /// A directory with a Dockerfile, from which Docker builds the first image.
    #[arg(long)]
    app: Option<PathBuf>,
    /// The URI of the first image, in the application's repository.
    #[arg(long)]
    image: Option<String>,
    /// The processor that the functions' zips were built for.
    #[arg(long, default_value = "arm64", value_parser = ["arm64", "x86_64"])]
    architecture: String,
    /// A parameter of a template, such as cluster.DesiredCount=4. Can be given several times.
    #[arg(long = "set", value_name = "TEMPLATE.PARAMETER=VALUE")]
    settings: Vec<Setting>,
    /// How many minutes an update of the pipeline waits for releases that run.
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    wait_for_releases: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{}", printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let say = Say::stdout();
    if !arguments.local {
        let world = World::from_environment(&root, say).await?;
        return obey(&world, arguments.command).await;
    }
    #[cfg(feature = "local")]
    return locally::run(&root, arguments, say).await;
    #[cfg(not(feature = "local"))]
    anyhow::bail!("this bluegreen was built without the local AWS: build it with --features local")
}

async fn obey(world: &World, command: Command) -> Result<()> {
    match command {
        Command::Up(asked) => {
            let options = up::Options {
                application: asked.stack,
                image: Given {
                    app: asked.app,
                    image: asked.image,
                },
                architecture: asked.architecture,
                settings: asked.settings,
                release_patience: Duration::from_secs(60 * asked.wait_for_releases),
            };
            up::run(world, &options).await
        }
        Command::Down { stack, yes } => down::run(world, &stack, yes).await,
        Command::Releases { stack, json, limit } => {
            let records = releases::read(world, &stack, limit).await?;
            let sfn = aws_sdk_sfn::Client::new(&world.config);
            let running = releases::running(&sfn, &records).await;
            if json {
                let json = releases::json(&records, &running)?;
                world.say.line(serde_json::to_string_pretty(&json)?);
            } else if records.is_empty() {
                world
                    .say
                    .line(format!("Nothing was released to {} yet.", stack.as_str()));
            } else {
                world.say.line(releases::table(&records, &running));
            }
            Ok(())
        }
    }
}

#[cfg(feature = "local")]
mod locally {
    use anyhow::ensure;
    use bluegreen_cli::local::{self, Start};
    use tokio::signal::unix::{SignalKind, signal};

    use super::*;

    /// With a local AWS that runs already, or one that then runs until somebody ends it.
    pub(super) async fn run(root: &Path, arguments: Arguments, say: Say) -> Result<()> {
        let state = root.join("target/up");
        std::fs::create_dir_all(&state)?;
        let given = std::env::var("AWS_ENDPOINT_URL").ok();
        if let Some(world) = local::running(root, &state, &say).await?
            && given
                .as_deref()
                .is_none_or(|given| world.config.endpoint_url() == Some(given))
        {
            return obey(&world, arguments.command).await;
        }
        ensure!(
            matches!(arguments.command, Command::Up(_)),
            "No make up LOCAL=1 is running, and what it made ended with it."
        );
        let start = Start {
            root: root.to_owned(),
            binary: local_aws::client::executable("local-aws")?,
            speed: arguments.speed,
            state,
        };
        say.line("Starting PostgreSQL and the local AWS");
        let (world, started) = local::start(start, given, say).await?;
        let outcome = tokio::select! {
            outcome = obey(&world, arguments.command) => outcome,
            _ = interrupted() => Err(anyhow::anyhow!("interrupted")),
        };
        if outcome.is_ok() {
            world.say.line("All of this runs until Ctrl-C.");
            interrupted().await;
        }
        outcome.and(started.end().await)
    }

    async fn interrupted() {
        let (Ok(mut terminate), Ok(mut hang_up)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        ) else {
            return;
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}
