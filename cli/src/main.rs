//! `bluegreen`: everything that a person does with an application and its releases.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use bluegreen_cli::arguments::{Arguments, Verb};
use bluegreen_cli::exit::Exit;
use bluegreen_cli::say::Say;
use bluegreen_cli::verbs::{
    contract, deploy, down, logs, man, plan, releases, rollback, show, stats, status, tasks, up,
    wait,
};
use bluegreen_cli::world::World;
use bluegreen_contract::printable;
use clap::{CommandFactory, Parser};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("\n{}", printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<Exit> {
    match &arguments.verb {
        Verb::Completions(asked) => {
            let command = Arguments::command();
            man::completions(command, asked.shell, &mut std::io::stdout());
            return Ok(Exit::Done);
        }
        Verb::Man(asked) => {
            man::man(Arguments::command(), &asked.directory)?;
            return Ok(Exit::Done);
        }
        _ => {}
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let say = Say::stdout();
    if !arguments.local {
        let world = World::from_environment(&root, say).await?;
        return obey(&world, arguments.verb).await;
    }
    #[cfg(feature = "local")]
    return locally::run(&root, arguments, say).await;
    #[cfg(not(feature = "local"))]
    anyhow::bail!("this bluegreen was built without the local AWS: build it with --features local")
}

async fn obey(world: &World, verb: Verb) -> Result<Exit> {
    match verb {
        Verb::Up(asked) => up::run(world, &asked.into()).await.map(|()| Exit::Done),
        Verb::Down(asked) => down::run(world, &asked.stack, asked.yes)
            .await
            .map(|()| Exit::Done),
        Verb::Deploy(asked) => deploy::run(world, &asked).await,
        Verb::Rollback(asked) => rollback::run(world, &asked).await,
        Verb::Contract(asked) => contract::run(world, &asked).await,
        Verb::Plan(asked) => plan::run(world, &asked).await,
        Verb::Status(asked) => status::run(world, &asked).await,
        Verb::Releases(asked) => releases::run(world, &asked).await,
        Verb::Show(asked) => show::run(world, &asked).await,
        Verb::Wait(asked) => wait::run(world, &asked).await,
        Verb::Logs(asked) => logs::run(world, &asked).await,
        Verb::Tasks(asked) => tasks::run(world, &asked).await,
        Verb::Stats(asked) => stats::run(world, &asked).await,
        Verb::Completions(_) | Verb::Man(_) => Ok(Exit::Done),
    }
}

#[cfg(feature = "local")]
mod locally {
    use anyhow::ensure;
    use bluegreen_cli::local::{self, Start};
    use tokio::signal::unix::{SignalKind, signal};

    use super::*;

    /// With a local AWS that runs already, or one that then runs until somebody ends it.
    pub(super) async fn run(root: &Path, arguments: Arguments, say: Say) -> Result<Exit> {
        let state = root.join("target/up");
        std::fs::create_dir_all(&state)?;
        let given = std::env::var("AWS_ENDPOINT_URL").ok();
        if let Some(world) = local::running(root, &state, &say).await?
            && given
                .as_deref()
                .is_none_or(|given| world.config.endpoint_url() == Some(given))
        {
            return obey(&world, arguments.verb).await;
        }
        ensure!(
            matches!(arguments.verb, Verb::Up(_)),
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
            outcome = obey(&world, arguments.verb) => outcome,
            _ = interrupted() => Err(anyhow::anyhow!("interrupted")),
        };
        if outcome.is_ok() {
            world.say.line("All of this runs until Ctrl-C.");
            interrupted().await;
        }
        let ended = started.end().await;
        let exit = outcome?;
        ended?;
        Ok(exit)
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
