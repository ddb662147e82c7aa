//! The AWS CLI, for what it does well: packaging, uploads, and services that are asked once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

/// The AWS CLI of the project's own Python environment.
#[derive(Clone, Debug)]
pub struct Cli {
    program: PathBuf,
    environment: Vec<(String, String)>,
    endpoint: Option<String>,
}

impl Cli {
    /// The CLI in the Python environment `venv`, with these variables beside those it inherits,
    /// and with another endpoint than AWS's if one is given: for some services it overlooks
    /// `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    /// There is none: `make setup` makes it.
    pub fn new(
        venv: &Path,
        environment: Vec<(String, String)>,
        endpoint: Option<&str>,
    ) -> Result<Self> {
        let program = venv.join("bin/aws");
        ensure!(
            program.is_file(),
            "{} is missing: run make setup",
            program.display()
        );
        Ok(Self {
            program,
            environment,
            endpoint: endpoint.map(str::to_owned),
        })
    }

    /// Runs `aws ARGUMENTS…`; answers what it printed on stdout, without the last newline.
    ///
    /// # Errors
    /// It can not be run, or exits with another code than 0: then with what it printed on stderr.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: impl AsRef<[A]>) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments.as_ref())
            .args(self.endpoint.iter().flat_map(|url| ["--endpoint-url", url]))
            .env("AWS_PAGER", "")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let command = command.as_std().get_args();
        let command: Vec<_> = command.map(|it| it.to_string_lossy()).collect();
        ensure!(
            output.status.success(),
            "aws {} failed: {}",
            command.join(" "),
            without_progress(&String::from_utf8_lossy(&output.stderr))
        );
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// The same for a command whose answer is JSON.
    ///
    /// # Errors
    /// As [`run`](Self::run), or the answer is no JSON.
    pub async fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<_> = arguments.iter().chain(&["--output", "json"]).collect();
        let text = self.run(&arguments).await?;
        serde_json::from_str(&text).context("the AWS CLI printed no JSON")
    }
}

/// What a program wrote, without the lines that it wrote over one another.
fn without_progress(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains('\r'));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_no_part_of_an_error() {
        let text = "\rUploading 13 %\rUploading 100 %\nUnable to upload\n\nForbidden\n";
        assert_eq!(without_progress(text), "Unable to upload\n\nForbidden");
    }
}
