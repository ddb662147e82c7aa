//! Lets many stacks of a local AWS deploy at once, through the pipeline as it is deployed to AWS and
//! under ECS's request limits, and counts what the pipeline's functions ask of ECS.
//!
//! Before, a few releases that wait long tell how many calls a minute of waiting takes.

mod calls;
mod fleet;
mod report;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use end_to_end::account::{Account, AccountOptions};

use crate::fleet::{Deployment, Fleet};
use crate::report::{Burst, Measured, Release};

/// `HeartbeatSeconds` while they wait: the least that the pipeline takes.
const SHORT_HEARTBEAT: u32 = 5;
/// The pipeline's default.
const HEARTBEAT: u32 = 60;
/// What they wait for, in real time. A minute after an update a look at its deployment becomes more
/// thorough, so that the deployment has to last longer than that.
const PATIENT_MIGRATION: Duration = Duration::from_secs(20);
const PATIENT_DEPLOYMENT: Duration = Duration::from_secs(100);
/// So that the search for lost events does not take those for lost that are only late because one
/// machine is all of AWS.
const RECONCILE_MINUTES: u32 = 1440;

/// Measures many stacks of a local AWS that deploy at once
#[derive(Parser)]
struct Arguments {
    /// How many stacks
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=999))]
    stacks: u16,
    /// How many releases wait long before; each asks for itself, so that few tell as much as many
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(..=20))]
    patient: u16,
    /// How many times faster than AWS's the delays of ECS pass
    #[arg(long, default_value_t = 10.0)]
    speed: f64,
    /// Minutes after which releases that have not ended count as failed
    #[arg(long, default_value_t = 60)]
    patience: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    bench::exit_code(run(&Arguments::parse()).await)
}

/// Success where all that must hold does.
async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let account = Account::open(AccountOptions {
        speed: arguments.speed,
        pipeline_parameters: vec![
            heartbeat(SHORT_HEARTBEAT),
            ("ReconcileMinutes".to_owned(), RECONCILE_MINUTES.to_string()),
        ],
        check_ecs_calls: false,
    })
    .await?;
    let measured = measure(&account, arguments).await;
    // First of all what was found: an end that fails tells less.
    let closed = account.close().await;
    let measured = measured?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report::table(&measured))?;
    let code = bench::tell(&report::verdicts(&measured), out)?;
    closed?;
    Ok(code)
}

fn heartbeat(seconds: u32) -> (String, String) {
    ("HeartbeatSeconds".to_owned(), seconds.to_string())
}

async fn measure(account: &Account, arguments: &Arguments) -> Result<Measured> {
    let patience = Duration::from_secs(60 * arguments.patience);
    let names = fleet::names("p", usize::from(arguments.patient));
    eprintln!("{} releases wait long ...", names.len());
    let baking = Deployment::baking(PATIENT_DEPLOYMENT, arguments.speed);
    let patient = Fleet::create(account, "patient", &names, &baking, PATIENT_MIGRATION).await?;
    let patient = deploy(account, &patient, SHORT_HEARTBEAT, patience).await?;

    account.update_pipeline(&[heartbeat(HEARTBEAT)]).await?;
    let names = fleet::names("s", usize::from(arguments.stacks));
    eprintln!("creating {} stacks ...", names.len());
    let rolling = Deployment::Rolling;
    let burst = Fleet::create(account, "burst", &names, &rolling, Duration::ZERO).await?;
    eprintln!("deploying {} stacks at once ...", names.len());
    let limits = account.aws().limit_requests().await?;
    let burst = deploy(account, &burst, HEARTBEAT, patience).await?;
    limits.end().await?;
    Ok(Measured {
        speed: arguments.speed,
        patient: patient.releases,
        burst,
    })
}

/// Releases another version to all stacks of a fleet.
async fn deploy(
    account: &Account,
    fleet: &Fleet<'_>,
    heartbeat: u32,
    patience: Duration,
) -> Result<Burst> {
    let collector = calls::Collector::start(account.aws().endpoint())?;
    let deployed = fleet.deploy(patience).await?;
    let collected = collector.end().await?;
    let stacks = fleet.stacks();
    let mut asked = calls::by_stack(&collected, &stacks, f64::from(heartbeat));
    let release = |stack: &String| Release {
        end: deployed.ends.get(stack).cloned().unwrap_or_default(),
        asked: asked.remove(stack).unwrap_or_default(),
    };
    Ok(Burst {
        releases: stacks.iter().map(release).collect(),
        repositories: fleet.repositories(),
        pushing: deployed.pushing,
        at_once: deployed.at_once,
        throttled: calls::throttled(&collected),
    })
}
