//! The AWS CLI, for what it does well: packaging, uploads, and services that are asked once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use serde_json::Value;
use tokio::process::Command;

/// The AWS CLI of the project's own Python environment.
#[derive(Clone, Debug)]
pub struct Cli {
    program: PathBuf,
    environment: Vec<(String, String)>,
    endpoint: Option<String>,
    credentials: Option<SharedCredentialsProvider>,
}

impl Cli {
    /// The CLI in the Python environment `venv`, with these variables beside those it inherits,
    /// and with another endpoint than AWS's if one is given: for some services it overlooks
    /// `AWS_ENDPOINT_URL`.
    ///
    #[must_use]
    pub fn new(venv: &Path, environment: Vec<(String, String)>, endpoint: Option<&str>) -> Self {
        Self {
            program: venv.join("bin/aws"),
            environment,
            endpoint: endpoint.map(str::to_owned),
            credentials: None,
        }
    }

    /// Gives the CLI what the SDK finds. The SDK knows kinds of credentials that this CLI does not, which is
    /// of the first version: those of `aws login` and of some ways of single sign-on.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Option<SharedCredentialsProvider>) -> Self {
        self.credentials = credentials;
        self
    }

    /// Asked for at each run: they may be valid for minutes only.
    async fn credentials(&self) -> Result<Vec<(&'static str, String)>> {
        let Some(provider) = &self.credentials else {
            return Ok(Vec::new());
        };
        let found = provider.provide_credentials().await;
        let found = found.context("There are no valid credentials")?;
        let key = [
            ("AWS_ACCESS_KEY_ID", found.access_key_id()),
            ("AWS_SECRET_ACCESS_KEY", found.secret_access_key()),
        ];
        let token = found.session_token().map(|it| ("AWS_SESSION_TOKEN", it));
        let all = key.into_iter().chain(token);
        Ok(all.map(|(name, value)| (name, value.to_owned())).collect())
    }

    /// Runs `aws ARGUMENTS…`; answers what it printed on stdout, without the last newline.
    ///
    /// # Errors
    /// It is missing, can not be run, or exits with another code than 0: then with what it printed on stderr.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: impl AsRef<[A]>) -> Result<String> {
        ensure!(
            self.program.is_file(),
            "{} is missing: run make setup",
            self.program.display()
        );
        let credentials = self.credentials().await?;
        let mut command = Command::new(&self.program);
        if !credentials.is_empty() {
            // It would be another key's.
            command.env_remove("AWS_SESSION_TOKEN");
        }
        command
            .args(arguments.as_ref())
            .args(self.endpoint.iter().flat_map(|url| ["--endpoint-url", url]))
            .env("AWS_PAGER", "")
            .envs(self.environment.iter().cloned())
            .envs(credentials)
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
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use aws_credential_types::Credentials;

    use super::*;

    /// botocore: a profile with `login_session` needs `botocore[crt]`, which this CLI lacks.
    #[tokio::test]
    async fn the_cli_has_the_credentials_that_the_sdk_finds() {
        let venv = tempfile::tempdir().unwrap();
        let program = venv.path().join("bin/aws");
        std::fs::create_dir(venv.path().join("bin")).unwrap();
        let script =
            "#!/bin/sh\necho $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $AWS_SESSION_TOKEN\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let other = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let other = other.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let cli = Cli::new(venv.path(), other.to_vec(), None);
        for (token, expected) in [(None, "key secret"), (Some("token"), "key secret token")] {
            let token = token.map(str::to_owned);
            let found = Credentials::new("key", "secret", token, None, "a test");
            let found = SharedCredentialsProvider::new(found);
            let cli = cli.clone().with_credentials(Some(found));
            assert_eq!(cli.run(["sts"]).await.unwrap(), expected);
        }
        assert!(cli.run(["sts"]).await.unwrap().starts_with("a b"));
    }

    #[test]
    fn progress_is_no_part_of_an_error() {
        let text = "\rUploading 13 %\rUploading 100 %\nUnable to upload\n\nForbidden\n";
        assert_eq!(without_progress(text), "Unable to upload\n\nForbidden");
    }
}
