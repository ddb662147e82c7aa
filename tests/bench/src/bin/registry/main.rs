//! Pushes large images to the registry of a local AWS, beside the same images copied into a directory by
//! the same program, and measures how much longer that takes and how much memory it needs.

mod image;
mod report;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::memory::Processes;
use clap::Parser;
use local_aws::client::{LocalAws, StartOptions};
use tempfile::TempDir;
use tokio::process::Command;

use crate::report::{Measured, Round};

/// Measures pushes to the registry of a local AWS
#[derive(Parser)]
struct Arguments {
    /// How many images are pushed, each of its own layers
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Layers of an image
    #[arg(long, default_value_t = 10)]
    layers: usize,
    /// Megabytes of a layer
    #[arg(long, default_value_t = 30)]
    megabytes: usize,
    /// The Python environment with moto
    #[arg(long, default_value = "target/venv")]
    venv: PathBuf,
    /// The executable of the local AWS
    #[arg(long, default_value = "target/measuring/local-aws")]
    local_aws: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    bench::exit_code(run(&Arguments::parse()).await)
}

/// Success where all that must hold does.
async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let files = TempDir::with_prefix("bench-registry-")?;
    let options = StartOptions {
        venv: arguments.venv.clone(),
        state: files.path().join("local-aws"),
        speed: 1.0,
        binary: arguments.local_aws.clone(),
        record_ecs: None,
    };
    let measured = async |aws: &LocalAws| measure(aws, arguments, files.path()).await;
    let measured = bench::on_local_aws(options, measured).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report::table(&measured))?;
    Ok(bench::tell(&report::verdicts(&measured), out)?)
}

async fn measure(aws: &LocalAws, arguments: &Arguments, files: &Path) -> Result<Measured> {
    let processes = Processes::of(aws.process_id().context("the local AWS has ended")?)?;
    let registry = aws.endpoint().trim_start_matches("http://").to_owned();
    let client = aws_sdk_ecr::Client::new(&aws.sdk_config());
    let token = client.get_authorization_token().send().await?;
    let token = token.authorization_data().first();
    let token = token.and_then(|data| data.authorization_token());
    let token = token.context("ECR gives no token")?.to_owned();
    let login = files.join("login.json");
    let logins = serde_json::json!({"auths": {&registry: {"auth": token}}});
    std::fs::write(&login, logins.to_string())?;

    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        eprintln!("image {round} of {} ...", arguments.rounds);
        let repository = format!("load-{round}");
        let created = client.create_repository().repository_name(&repository);
        created.send().await?;
        let layout = TempDir::with_prefix_in("image-", files)?;
        image::write(layout.path(), arguments.layers, arguments.megabytes << 20)?;
        let source = format!("oci:{}", layout.path().display());
        let copy = TempDir::with_prefix_in("copy-", files)?;
        let directory = format!("dir:{}", copy.path().display());
        let copied = copy_to(&source, &directory, &login).await?;
        let image = format!("docker://{registry}/{repository}:v1");
        let pushed = copy_to(&source, &image, &login).await?;
        rounds.push(Round { copied, pushed });
    }
    Ok(Measured {
        layers: arguments.layers,
        megabytes: arguments.megabytes,
        rounds,
        memory: processes.memory()?,
    })
}

/// Lets skopeo copy an image.
async fn copy_to(source: &str, target: &str, login: &Path) -> Result<Duration> {
    let began = Instant::now();
    let copied = Command::new("skopeo")
        .args(["copy", "--quiet", "--dest-tls-verify=false", "--authfile"])
        .arg(login)
        .args([source, target])
        .env("NO_PROXY", "127.0.0.1")
        .kill_on_drop(true)
        .output()
        .await
        .context("skopeo cannot be run: make setup installs it on Debian")?;
    let took = began.elapsed();
    ensure!(
        copied.status.success(),
        "skopeo copy to {target}: {}",
        String::from_utf8_lossy(&copied.stderr)
    );
    Ok(took)
}
