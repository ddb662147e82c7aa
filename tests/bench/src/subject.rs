//! A function as a process: how it is started, and what one run of it measures.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::agreement;
use crate::runtime_api::{Invocation, Record, RuntimeApi};

/// For one process, from its start to its last outcome.
const PATIENCE: Duration = Duration::from_secs(120);
/// After the last answer.
const IDLE: Duration = Duration::from_millis(300);

/// What every process is given, as Lambda would.
pub(crate) struct Environment {
    /// `127.0.0.1:PORT` of the Runtime API.
    pub(crate) runtime_api: String,
    /// URL of every AWS service.
    pub(crate) aws: String,
    /// Where a process's output goes.
    pub(crate) log: PathBuf,
}

/// A way to run a function.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) directory: PathBuf,
    /// Root certificates that replace its own, PEM.
    pub(crate) roots: Option<PathBuf>,
    /// A program with its arguments, before the function's own.
    pub(crate) under: Vec<OsString>,
}

/// What one process gets.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    /// The function's name.
    pub(crate) name: &'a str,
    pub(crate) event: &'a Bytes,
    /// How often it gets the event.
    pub(crate) times: usize,
    /// Before every event but the first.
    pub(crate) pause: Duration,
}

/// One process measured.
#[derive(Debug)]
pub(crate) struct Sample {
    /// From the start of the process to its first request for an event.
    pub(crate) init: Duration,
    /// From the first event to its outcome.
    pub(crate) first: Duration,
    /// The events after the first.
    pub(crate) warm: Vec<Duration>,
    /// The most memory it ever had resident, in bytes; `None` where the system does not tell.
    pub(crate) memory: Option<u64>,
    /// Of all invocations the first, which stands for all.
    pub(crate) invocation: Invocation,
}

impl Subject {
    /// Starts the function, gives it its events, and ends it.
    ///
    /// # Errors
    /// It did not start, did not give every event an outcome in time, or not the same one.
    pub(crate) async fn measure(
        &self,
        run: Run<'_>,
        api: &RuntimeApi,
        environment: &Environment,
    ) -> Result<Sample> {
        api.begin(run.event.clone(), run.times, run.pause);
        let mut command = self.command(run.name, environment)?;
        let started = Instant::now();
        let mut child = self.spawn(&mut command)?;
        let ended = until(api.finished(), &mut child).await;
        let memory = child.id().and_then(resident);
        end(&mut child).await?;
        ended
            .and_then(|()| sample(started, api.take_record(), memory))
            .with_context(|| said(run.name, environment))
    }

    /// Starts the function, gives it its events until `enough`, and asks it to end.
    ///
    /// # Errors
    /// It did not start, or `enough` was not in time.
    pub(crate) async fn run(
        &self,
        run: Run<'_>,
        api: &RuntimeApi,
        environment: &Environment,
        enough: impl Future<Output = ()>,
    ) -> Result<()> {
        api.begin(run.event.clone(), run.times, run.pause);
        let mut child = self.spawn(&mut self.command(run.name, environment)?)?;
        let ran = until(enough, &mut child).await;
        // What the last answer led to is done by then, and nothing else is to do.
        tokio::time::sleep(IDLE).await;
        if let Some(process) = child.id().and_then(|id| i32::try_from(id).ok()) {
            kill(Pid::from_raw(process), Signal::SIGTERM)?;
        }
        child.wait().await?;
        let record = api.take_record();
        ran.and_then(|()| match record.init_error {
            Some(error) => bail!("it could not start: {error}"),
            None => Ok(()),
        })
        .with_context(|| said(run.name, environment))
    }

    fn spawn(&self, command: &mut Command) -> Result<Child> {
        let spawned = command.spawn();
        spawned.with_context(|| format!("cannot run {}", self.program.display()))
    }

    fn command(&self, name: &str, environment: &Environment) -> Result<Command> {
        let log = File::create(&environment.log)?;
        let mut words = self.under.iter().map(OsString::as_os_str);
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.env_clear();
        if let Some(roots) = &self.roots {
            // The two languages call it differently.
            command
                .env("SSL_CERT_FILE", roots)
                .env("AWS_CA_BUNDLE", roots);
        }
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "en_US.UTF-8")
            .env("TZ", ":UTC")
            .env("AWS_LAMBDA_RUNTIME_API", &environment.runtime_api)
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "benchmark")
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("LAMBDA_TASK_ROOT", &self.directory)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env(
                "AWS_SECRET_ACCESS_KEY",
                "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            )
            .env("AWS_SESSION_TOKEN", "token")
            .env("AWS_ENDPOINT_URL", &environment.aws)
            .env(
                "STATE_MACHINE_ARN",
                "arn:aws:states:us-east-1:123456789012:stateMachine:bluegreen",
            )
            .env("RELEASES_TABLE", "bluegreen-releases")
            .env("WAITS_TABLE", "bluegreen-waits")
            .env("RECORD_RETENTION_DAYS", "365")
            .env("MIGRATION_TIMEOUT_SECONDS", "1800")
            .env("DEPLOYMENT_TIMEOUT_SECONDS", "3600")
            .env("ROLLBACK_WINDOW_SECONDS", "600")
            .env("TARGET_HEALTH_MINUTES", "10")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        Ok(command)
    }
}

fn sample(started: Instant, record: Record, memory: Option<u64>) -> Result<Sample> {
    if let Some(error) = record.init_error {
        bail!("it could not start: {error}");
    }
    let ready = record.ready.context("it asked for no event")?;
    let (first, later) = record
        .invocations
        .split_first()
        .context("it gave no outcome")?;
    for (number, invocation) in later.iter().enumerate() {
        ensure!(
            agreement::repeats(invocation, first),
            "its outcome {} differs from its first:\n{invocation:?}\n{first:?}",
            number + 2
        );
    }
    Ok(Sample {
        init: ready.duration_since(started),
        first: first.took,
        warm: later.iter().map(|invocation| invocation.took).collect(),
        memory,
        invocation: first.clone(),
    })
}

/// Waits for `enough`, while the process runs.
async fn until(enough: impl Future<Output = ()>, child: &mut Child) -> Result<()> {
    tokio::select! {
        () = enough => Ok(()),
        status = child.wait() => Err(anyhow!("it ended: {}", describe(status))),
        () = tokio::time::sleep(PATIENCE) => Err(anyhow!("it was not done within {PATIENCE:?}")),
    }
}

fn said(name: &str, environment: &Environment) -> String {
    format!("{name}, its output:\n{}", tail(&environment.log))
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

async fn end(child: &mut Child) -> Result<()> {
    child.start_kill().or_else(|error| match child.try_wait() {
        // It has ended by itself.
        Ok(Some(_)) => Ok(()),
        _ => Err(error),
    })?;
    child.wait().await?;
    Ok(())
}

/// The kernel's high-water mark of resident memory, in bytes.
fn resident(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    high_water_mark(&status)
}

fn high_water_mark(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn tail(log: &Path) -> String {
    const LINES: usize = 30;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_in_bytes() {
        let status = "Name:\tbootstrap\nVmPeak:\t    9000 kB\nVmHWM:\t    5812 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(high_water_mark(status), Some(5812 * 1024));
        assert_eq!(high_water_mark("Name:\tzombie\n"), None);
    }
}
