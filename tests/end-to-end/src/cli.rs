//! The real AWS CLI, pointed at the local AWS.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use local_aws::client::LocalAws;
use tokio::process::Command;

/// The AWS CLI of the project's own Python environment.
#[derive(Clone, Debug)]
pub struct Cli {
    program: PathBuf,
    environment: Vec<(String, String)>,
}

impl Cli {
    /// The CLI in the Python environment `venv`, talking to `aws` and to nothing else.
    #[must_use]
    pub fn new(venv: &Path, aws: &LocalAws) -> Self {
        Self {
            program: venv.join("bin/aws"),
            environment: aws.environment(),
        }
    }

    /// Runs `aws ARGUMENTS…` and answers what it printed on stdout, without the last newline.
    ///
    /// # Errors
    /// It can not be run, or exits with another code than 0: then with what it printed on stderr.
    pub async fn run<I, S>(&self, arguments: I) -> Result<String>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        ensure!(
            output.status.success(),
            "{:?} ended with {}:\n{}{}",
            command.as_std(),
            output.status,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }
}
