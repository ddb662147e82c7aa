//! Deploys many services of a local AWS at once, and measures whether it bears that.
//!
//! Each service has one task behind a listener, at which a visitor keeps asking for a page. All
//! services get a new version at the same moment, by all of ECS's deployment strategies. No
//! request may fail, every deployment has to come to its end in time, and memory has to come back.

mod fleet;
mod report;
mod server;
mod visitors;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bench::memory::Processes;
use clap::{Parser, Subcommand};
use local_aws::client::{LocalAws, StartOptions};
use tempfile::TempDir;

use crate::fleet::Fleet;
use crate::report::{Measured, Update};
use crate::visitors::Visitors;

/// A page is asked for so often at each listener.
const PACE: Duration = Duration::from_millis(500);

/// Measures a local AWS that deploys many services at once
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// How many services, spread over the deployment strategies
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(4..=200))]
    services: u16,
    /// How many times faster than AWS's the delays of ECS and the load balancer pass
    #[arg(long, default_value_t = 20.0)]
    speed: f64,
    /// The Python environment with moto
    #[arg(long, default_value = "target/venv")]
    venv: PathBuf,
    /// The executable of the local AWS
    #[arg(long, default_value = "target/measuring/local-aws")]
    local_aws: PathBuf,
    /// Where the local AWS keeps its files and its log; default: a directory that is removed
    #[arg(long)]
    state: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Answer GET / with VERSION, at HOST and PORT, until SIGTERM: what the services' tasks run
    Serve,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Serve) => server::serve().await.map(|()| ExitCode::SUCCESS),
        None => run(&arguments).await,
    };
    bench::exit_code(outcome)
}

/// Success where all that must hold does.
async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let files = TempDir::with_prefix("bench-services-")?;
    let state = arguments.state.as_deref().unwrap_or(files.path());
    let options = StartOptions {
        venv: arguments.venv.clone(),
        state: state.to_owned(),
        speed: arguments.speed,
        binary: arguments.local_aws.clone(),
        record_ecs: None,
    };
    let measured = bench::on_local_aws(options, async |aws| measure(aws, arguments).await).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report::table(&measured))?;
    Ok(bench::tell(&report::verdicts(&measured), out)?)
}

async fn measure(aws: &LocalAws, arguments: &Arguments) -> Result<Measured> {
    let processes = Processes::of(aws.process_id().context("the local AWS has ended")?)?;
    let services = usize::from(arguments.services);
    eprintln!("preparing listeners for {services} services ...");
    let prepared = Instant::now();
    let fleet = Fleet::prepare(aws, services).await?;
    let preparation = prepared.elapsed();

    eprintln!("creating {services} services ...");
    let started = Instant::now();
    fleet.create().await?;
    fleet.wait_for_deployments().await?;
    let running = started.elapsed();

    let visitors = Visitors::start(&fleet.urls(), PACE);
    visitors.all_see(fleet::OLD).await?;
    // There and back: what the second time takes more memory is lost with every deployment.
    let first = update(&fleet, &visitors, &processes, fleet::NEW).await?;
    let second = update(&fleet, &visitors, &processes, fleet::OLD).await?;
    let visits = visitors.leave().await?;
    let tasks = fleet.tasks_started().await?;

    eprintln!("deleting {services} services ...");
    let started = Instant::now();
    fleet.delete().await?;
    let deleted = started.elapsed();
    let after = processes.memory()?;
    Ok(Measured {
        services,
        speed: arguments.speed,
        preparation,
        running,
        updates: [first, second],
        deleted,
        visits,
        tasks,
        after,
    })
}

/// Gives all services another version at once, and waits until every visitor sees it.
async fn update(
    fleet: &Fleet,
    visitors: &Visitors,
    processes: &Processes,
    version: &str,
) -> Result<Update> {
    eprintln!("updating all services to version {version} at once ...");
    let probe = fleet.probe();
    let started = Instant::now();
    let calls = fleet.update(version).await?;
    fleet.wait_for_deployments().await?;
    let took = started.elapsed();
    let describes = probe.end().await?;
    visitors.all_see(version).await?;
    Ok(Update {
        took,
        calls,
        describes,
        memory: processes.memory()?,
    })
}
