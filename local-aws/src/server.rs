//! Starts all parts of the local AWS, keeps them together, and ends them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::client::{ACCOUNT, ENVIRONMENT, REGION, sdk_config};
use crate::clock::Clock;
use crate::connections;
use crate::containers::own_root;
use crate::ecs::{Ecs, Settings};
use crate::event_bus::EventBus;
use crate::faults::Faults;
use crate::gateway::{self, Gateway, Proxy};
use crate::images::ImageStore;
use crate::lambda::LambdaService;
use crate::load_balancer::LoadBalancers;
use crate::moto::Moto;
use crate::permissions::{Asked, Roles};
use crate::recorder::Recorder;
use crate::registry::Registry;
use crate::request_limits::RequestLimits;
use crate::stale_reads::StaleReads;
use crate::state_directory::StateDirectory;

/// An AWS on this machine, for tests and demonstrations.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// The Python environment in which moto is installed
    #[arg(long, value_name = "DIRECTORY")]
    venv: PathBuf,
    /// Where images and functions are unpacked, for this local AWS alone; made if missing
    #[arg(long, value_name = "DIRECTORY")]
    state: PathBuf,
    /// How many times faster than AWS's the delays of ECS and the load balancer pass
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    speed: f64,
    /// Where every call of ECS is recorded, a JSON object a line
    #[arg(long, value_name = "FILE")]
    record_ecs: Option<PathBuf>,
    /// Throttle requests of ECS as AWS does an account
    #[arg(long)]
    request_limits: bool,
}

/// Runs the local AWS until it is told to end.
///
/// # Errors
/// When a part cannot be started, or moto ends by itself.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    // Watched from the start, so that no signal between two steps is missed.
    let asked_to_end = CancellationToken::new();
    watch_for_the_end(asked_to_end.clone())?;
    let state = StateDirectory::take(&arguments.state)?;
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("no port of 127.0.0.1 can be listened on")?;
    let recorder = match &arguments.record_ecs {
        Some(path) => Recorder::with_file(path).await?,
        None => Recorder::default(),
    };
    let port = listener.local_addr()?.port();
    let endpoint = format!("http://127.0.0.1:{port}");

    own_root::enable(std::env::current_exe()?).await;
    let clock = Clock::new(arguments.speed);
    let mut moto = tokio::select! {
        moto = Moto::start(&arguments.venv, state.path(), port, clock) => moto?,
        () = asked_to_end.cancelled() => return Ok(()),
    };
    let gateway = Arc::new(assemble(
        &moto,
        &endpoint,
        state.path(),
        clock,
        recorder,
        RequestLimits::new(arguments.request_limits),
        asked_to_end.clone(),
    )?);
    let router = gateway::router(Arc::clone(&gateway));
    let server = tokio::spawn(connections::serve(listener, router));
    announce(&endpoint)?;

    let failure = tokio::select! {
        () = asked_to_end.cancelled() => None,
        how = moto.ended() => Some(how),
    };
    // Tasks and functions first: while they end they may still talk to the gateway.
    gateway.ecs.shut_down().await;
    gateway.lambda.shut_down();
    gateway.load_balancers.shut_down().await;
    server.abort();
    moto.shut_down().await;
    match failure {
        Some(how) => Err(anyhow::anyhow!(how)),
        None => Ok(()),
    }
}

fn assemble(
    moto: &Moto,
    endpoint: &str,
    state: &Path,
    clock: Clock,
    recorder: Recorder,
    request_limits: RequestLimits,
    shutdown: CancellationToken,
) -> anyhow::Result<Gateway> {
    // Our own parts ask moto directly: one hop less, and no way to ask themselves.
    let config = sdk_config(&format!("http://{}", moto.authority()));
    let ecr = aws_sdk_ecr::Client::new(&config);
    let images = ImageStore::new(state, ecr.clone());
    let load_balancers =
        LoadBalancers::new(clock, aws_sdk_elasticloadbalancingv2::Client::new(&config));
    load_balancers.publish_metrics(aws_sdk_cloudwatch::Client::new(&config));
    let faults = Arc::<Faults>::default();
    let lambda = LambdaService::new(&config, endpoint, state, clock, Arc::clone(&faults));
    let lambda = Arc::new(lambda);
    let ecs = Ecs::new(Settings {
        account_id: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        endpoint_url: endpoint.to_owned(),
        clock,
        images: images.clone(),
        load_balancers: load_balancers.clone(),
        lambda: Arc::clone(&lambda),
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
        logs: aws_sdk_cloudwatchlogs::Client::new(&config),
        secrets_manager: aws_sdk_secretsmanager::Client::new(&config),
        ssm: aws_sdk_ssm::Client::new(&config),
        event_bus: EventBus::of_moto(moto.authority())?,
    });
    Ok(Gateway {
        endpoint: endpoint.to_owned(),
        ecs,
        lambda,
        load_balancers,
        registry: Registry::new(endpoint, images.clone(), ecr),
        images,
        moto: Proxy::new(moto.authority()),
        recorder,
        asked: Asked::default(),
        roles: Roles::of_moto(moto.authority())?,
        faults,
        request_limits,
        stale_reads: StaleReads::default(),
        shutdown,
    })
}

/// What a person has to know, and the line that a program waits for. All at once: a program that has
/// found its line may read no further.
fn announce(endpoint: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    let told = format!("{}\nready {endpoint}\n", told(endpoint));
    stdout.write_all(told.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

fn told(endpoint: &str) -> String {
    let variables: Vec<String> = ENVIRONMENT
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let registry = endpoint.trim_start_matches("http://");
    format!(
        "A local AWS runs. Whatever shall talk to it needs this in its environment:

  export AWS_ENDPOINT_URL={endpoint}
  export {}

It runs ECS's tasks and Lambda's functions as processes of this machine, behind load balancers that
listen here. docker push brings images to {registry}/REPOSITORY. CloudFormation, Step Functions,
EventBridge, CloudWatch and others are there too; docs/local-aws.md says what is and what is not.
Ctrl-C ends all of it, and nothing is kept.
",
        variables.join(" ")
    )
}

/// Cancels `end` when standard input closes or a signal asks this process to end.
fn watch_for_the_end(end: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let closed = end.clone();
    // A thread of its own: a read of standard input cannot be interrupted, and the runtime
    // would wait for one of its threads before the process can end.
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        closed.cancel();
    });
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
        end.cancel();
    });
    Ok(())
}
