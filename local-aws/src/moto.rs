//! The moto process: most of AWS, with the Python glue of `local-aws/moto`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin};

use crate::clock::Clock;
use crate::processes;

/// Where the Python glue lives; it is part of the source tree, like the templates it serves.
const GLUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/moto");

/// Importing moto's services takes seconds on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running moto server.
#[derive(Debug)]
pub(crate) struct Moto {
    authority: String,
    process: Child,
    // moto ends when its standard input does. Waiting for a child closes what it still holds of
    // it, so this is held apart.
    _stdin: Option<ChildStdin>,
}

impl Moto {
    /// Starts moto from the virtual environment `venv`, on a free port of its own.
    ///
    /// `gateway_port` is what moto is told to call: its Step Functions interpreter and the
    /// glue reach every other service, ours included, through the gateway. The glue's own delays
    /// (periods of alarms, schedules, retries) pass at the pace of `clock`.
    pub(crate) async fn start(
        venv: &Path,
        state: &Path,
        gateway_port: u16,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let python = interpreter(venv)?;
        let mut process = processes::command(python)
            .arg("-m")
            .arg("glue.server")
            .current_dir(state)
            .env("PATH", processes::search_path())
            .env("PYTHONPATH", GLUE)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("MOTO_PORT", gateway_port.to_string())
            .env("LOCAL_AWS_SPEED", clock.speed().to_string())
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("moto could not be started")?;
        let stdout = process.stdout.take().context("moto has no stdout")?;
        let announced = tokio::time::timeout(START_LIMIT, announced_port(stdout));
        let port = announced.await.context("moto did not start in time")??;
        Ok(Self {
            authority: format!("127.0.0.1:{port}"),
            _stdin: process.stdin.take(),
            process,
        })
    }

    /// `host:port` of moto itself.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Resolves when the process has ended by itself, which it should not.
    pub(crate) async fn ended(&mut self) -> String {
        match self.process.wait().await {
            Ok(status) => format!("moto ended: {status}"),
            Err(error) => format!("moto cannot be watched: {error}"),
        }
    }

    /// Ends the process.
    pub(crate) async fn shut_down(&mut self) {
        if let Err(error) = self.process.kill().await {
            tracing::warn!("moto could not be ended: {error}");
        }
    }
}

fn interpreter(venv: &Path) -> anyhow::Result<PathBuf> {
    let python = venv.join("bin/python");
    if !python.exists() {
        bail!(
            "there is no Python environment at {}: run `make setup`",
            venv.display()
        );
    }
    // The path is made absolute without following links: `bin/python` is one, and following
    // it would leave the virtual environment.
    std::path::absolute(python).context("the path of the Python environment is not usable")
}

/// The glue prints one line, `listening PORT`, when it serves.
async fn announced_port(stdout: tokio::process::ChildStdout) -> anyhow::Result<u16> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(port) = line.strip_prefix("listening ") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return port.parse().context("moto announced a port that is none");
        }
    }
    bail!("moto ended before it served a request; its own words stand above")
}
