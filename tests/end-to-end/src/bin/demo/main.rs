//! `make demo`: a person watches a pushed image go live, or be refused.
//!
//! Everything is real except AWS itself: the templates deployed by the AWS CLI, the functions'
//! zips, the state machine, the application's processes, its database, the requests.

mod scenario;
mod summary;
mod view;

use std::process::ExitCode;

use anyhow::{Result, bail};
use bluegreen_contract::printable;
use clap::Parser;
use end_to_end::account::{Account, AccountOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::scenario::Scenario;
use crate::view::View;

/// Pushes an image to the local AWS and shows what becomes of it.
#[derive(Parser)]
struct Arguments {
    /// What is to happen.
    #[arg(value_enum, default_value = "happy")]
    scenario: Scenario,
    /// How many times faster than AWS the local AWS replaces tasks and checks health.
    #[arg(long, default_value_t = 4.0)]
    speed: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut view = View::new();
    let outcome = tokio::select! {
        outcome = show(&arguments, &mut view) => outcome,
        interrupted = asked_to_end() => interrupted,
    };
    view.end();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {}", printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Fails on Ctrl-C, when the terminal is closed, and on a request to terminate: what was started is
/// then ended in order.
async fn asked_to_end() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}

async fn show(arguments: &Arguments, view: &mut View) -> Result<()> {
    view.say("Starting PostgreSQL and the local AWS, deploying the pipeline (infra/pipeline.yml)");
    let account = Account::open(AccountOptions {
        speed: arguments.speed,
        pipeline_parameters: Vec::new(),
        check_ecs_calls: false,
    })
    .await?;
    let told = arguments.scenario.play(&account, view).await;
    view.end();
    // Ended in good order also when the scenario failed; the scenario's error says more.
    let closed = account.close().await;
    let surprises = told?.print();
    closed?;
    if !surprises.is_empty() {
        bail!("not as it should be:\n- {}", surprises.join("\n- "));
    }
    Ok(())
}
