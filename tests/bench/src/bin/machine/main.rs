//! Plays releases on the local AWS and measures the state machine: the states that a release enters,
//! and how soon the next one is entered when what a state waits for has ended.

mod report;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use aws_sdk_ecs::types::ServiceDeploymentStatus;
use clap::Parser;
use end_to_end::account::{Account, AccountOptions};
use end_to_end::application::Application;
use end_to_end::execution::{Execution, Stay};
use jiff::Timestamp;
use sample::image::VersionSpec;

use crate::report::Release;

const STACK: &str = "measured";

/// Measures the state machine on the local AWS
#[derive(Parser)]
struct Arguments {
    /// Releases that are measured
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    releases: u32,
    /// How many times faster than AWS's the delays of ECS and the load balancer pass
    #[arg(long, default_value_t = 10.0)]
    speed: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    bench::exit_code(run(&Arguments::parse()).await)
}

/// Success where all that must hold does.
async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let account = Account::open(AccountOptions {
        speed: arguments.speed,
        pipeline_parameters: Vec::new(),
        check_ecs_calls: false,
    })
    .await?;
    let measured = measure(&account, arguments).await;
    // First of all what was found: an end that fails tells less.
    let closed = account.close().await;
    let releases = measured?;
    closed?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report::table(&releases))?;
    Ok(bench::tell(&report::verdicts(&releases), out)?)
}

async fn measure(account: &Account, arguments: &Arguments) -> Result<Vec<Release>> {
    let first = VersionSpec::posts().build(account.websvc())?;
    let application = account.create_application(STACK, &first).await?;
    let mut releases = Vec::new();
    for number in 1..=arguments.releases {
        let tag = format!("v{number}");
        eprintln!("release {tag} of {} ...", arguments.releases);
        let image = VersionSpec::meow().title(&format!("Meow {number}"));
        let image = image.build(account.websvc())?;
        let since = Timestamp::now();
        let execution = application.push_and_notice(&tag, &image).await?;
        let end = execution.end().await?;
        ensure!(end.output["verdict"] == "succeeded", "{tag}: {end:?}");
        let deployed = deployment_end(account, &application).await?;
        let ecs_calls = calls_of_ecs(account, since).await?;
        releases.push(release(&execution, deployed, ecs_calls).await?);
    }
    Ok(releases)
}

/// Those of the pipeline's functions.
async fn calls_of_ecs(account: &Account, since: Timestamp) -> Result<usize> {
    let since = since.as_millisecond() as f64 / 1e3;
    let calls = account.aws().calls_since(since).await?;
    let of_functions = calls.only(|call| call.service == "ecs" && call.caller.is_some());
    Ok(of_functions.len())
}

async fn release(execution: &Execution, deployed: Timestamp, ecs_calls: usize) -> Result<Release> {
    let stays = execution.stays().await?;
    let waited = at(&stays, "WaitTask")?;
    let migrated = stays[waited].output["stopped"]["stoppedAt"].as_str();
    let migrated: Timestamp = migrated.context("its migration has an end")?.parse()?;
    let verified = at(&stays, "VerifyHealth")?;
    let left = stays.last().and_then(|stay| stay.left);
    let began = stays.first().context("it has begun")?.entered;
    Ok(Release {
        states: stays.len(),
        ecs_calls,
        transitions: stays.iter().map(|stay| stay.tries.max(1)).sum(),
        seconds: seconds(began, left.context("it has ended")?),
        after_migration: seconds(migrated, after(&stays, waited)?),
        after_deployment: seconds(deployed, after(&stays, verified)?),
    })
}

fn at(stays: &[Stay], state: &str) -> Result<usize> {
    let found = stays.iter().position(|stay| stay.state == state);
    found.with_context(|| format!("it never came to {state}"))
}

/// When the state after it was entered.
fn after(stays: &[Stay], stay: usize) -> Result<Timestamp> {
    let next = stays.get(stay + 1).context("no state follows")?;
    Ok(next.entered)
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// When ECS completed the service's newest deployment.
async fn deployment_end(account: &Account, application: &Application<'_>) -> Result<Timestamp> {
    let answer = aws_sdk_ecs::Client::new(account.config())
        .list_service_deployments()
        .cluster(application.cluster())
        .service(application.service())
        .send()
        .await?;
    let ended = answer.service_deployments().iter().filter_map(|one| {
        let successful = one.status() == Some(&ServiceDeploymentStatus::Successful);
        one.finished_at().filter(|_| successful)
    });
    let newest = ended.max().context("no deployment has ended")?;
    Ok(Timestamp::from_millisecond(newest.to_millis()?)?)
}
