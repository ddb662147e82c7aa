//! A function as it is configured at the moment, and its code on disk.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::types::FunctionConfiguration;

use super::InvokeError;

/// What Lambda assumes where a configuration is silent.
const DEFAULT_TIMEOUT_SECONDS: i32 = 3;
const DEFAULT_MEMORY_MB: i32 = 128;
const DEFAULT_ARCHITECTURE: &str = "x86_64";

/// One version of one function, ready to be run.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) version: String,
    pub(crate) role: Option<String>,
    pub(crate) handler: String,
    pub(crate) timeout: Duration,
    pub(crate) memory_mb: i32,
    /// The processor it is configured for, as Lambda names it: `x86_64` or `arm64`.
    pub(crate) architecture: String,
    /// How many invocations may run at once, where the function has a limit of its own.
    pub(crate) reserved_concurrency: Option<usize>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) log_group: String,
    /// `Text` or `JSON`; runtimes follow it.
    pub(crate) log_format: String,
    /// The queue or topic of `DeadLetterConfig`.
    pub(crate) dead_letter_target: Option<String>,
    /// The directory in which the zip is unpacked (`/var/task` on AWS).
    pub(crate) code: PathBuf,
    code_sha256: String,
}

impl Function {
    /// Whether an environment started for `self` may serve `other`. Lambda starts new
    /// environments after each change of code or configuration.
    pub(crate) fn runs_like(&self, other: &Self) -> bool {
        self.code_sha256 == other.code_sha256
            && self.variables == other.variables
            && self.role == other.role
            && self.handler == other.handler
            && self.memory_mb == other.memory_mb
            && self.architecture == other.architecture
            && self.log_group == other.log_group
            && self.log_format == other.log_format
    }
}

/// Reads functions' configuration and code from moto's Lambda API.
#[derive(Debug)]
pub(crate) struct Functions {
    client: aws_sdk_lambda::Client,
    http: reqwest::Client,
    directory: PathBuf,
    unpacking: tokio::sync::Mutex<()>,
}

impl Functions {
    pub(crate) fn new(
        client: aws_sdk_lambda::Client,
        http: reqwest::Client,
        directory: PathBuf,
    ) -> Self {
        Self {
            client,
            http,
            directory,
            unpacking: tokio::sync::Mutex::default(),
        }
    }

    /// The function `name` (a name, a partial or a full ARN) as it is now.
    pub(crate) async fn find(
        &self,
        name: &str,
        qualifier: Option<&str>,
    ) -> Result<Function, InvokeError> {
        let request = self.client.get_function().function_name(name);
        let answer = match request
            .set_qualifier(qualifier.map(str::to_owned))
            .send()
            .await
        {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("ResourceNotFoundException") => {
                let message = error.message().unwrap_or("Function not found").to_owned();
                return Err(InvokeError::NotFound(message));
            }
            Err(error) => {
                let cause = anyhow::Error::new(error).context("GetFunction failed");
                return Err(InvokeError::Service(format!("{cause:#}")));
            }
        };
        let configuration = answer.configuration();
        let location = answer.code().and_then(|code| code.location());
        let reserved = answer
            .concurrency()
            .and_then(|it| it.reserved_concurrent_executions());
        self.prepare(configuration, location, reserved)
            .await
            .map_err(|error| InvokeError::Service(format!("{name}: {error:#}")))
    }

    async fn prepare(
        &self,
        configuration: Option<&FunctionConfiguration>,
        location: Option<&str>,
        reserved_concurrency: Option<i32>,
    ) -> anyhow::Result<Function> {
        let configuration = configuration.context("GetFunction answered no configuration")?;
        let code_sha256 = configuration.code_sha256().context("no CodeSha256")?;
        let location = location.context("GetFunction answered no location of the code")?;
        let code = self.unpacked(code_sha256, location).await?;
        let name = configuration.function_name().context("no name")?;
        let variables = configuration
            .environment()
            .and_then(|environment| environment.variables())
            .map(|variables| variables.clone().into_iter().collect())
            .unwrap_or_default();
        let logging = configuration.logging_config();
        let log_group = logging
            .and_then(|logging| logging.log_group())
            .map_or_else(|| format!("/aws/lambda/{name}"), str::to_owned);
        Ok(Function {
            name: name.to_owned(),
            arn: configuration.function_arn().context("no ARN")?.to_owned(),
            version: configuration.version().unwrap_or("$LATEST").to_owned(),
            role: configuration.role().map(str::to_owned),
            handler: configuration.handler().unwrap_or("bootstrap").to_owned(),
            timeout: seconds(configuration.timeout().unwrap_or(DEFAULT_TIMEOUT_SECONDS)),
            memory_mb: configuration.memory_size().unwrap_or(DEFAULT_MEMORY_MB),
            architecture: configuration
                .architectures()
                .first()
                .map_or(DEFAULT_ARCHITECTURE, |architecture| architecture.as_str())
                .to_owned(),
            reserved_concurrency: reserved_concurrency
                .and_then(|reserved| usize::try_from(reserved).ok()),
            variables,
            log_group,
            log_format: logging
                .and_then(|logging| logging.log_format())
                .map_or("Text", |format| format.as_str())
                .to_owned(),
            dead_letter_target: configuration
                .dead_letter_config()
                .and_then(|dead_letters| dead_letters.target_arn())
                .map(str::to_owned),
            code,
            code_sha256: code_sha256.to_owned(),
        })
    }

    /// The directory with the code whose hash is `code_sha256`, unpacked once.
    async fn unpacked(&self, code_sha256: &str, location: &str) -> anyhow::Result<PathBuf> {
        let directory = self.directory.join(directory_name(code_sha256));
        let _one_at_a_time = self.unpacking.lock().await;
        if directory.is_dir() {
            return Ok(directory);
        }
        let answer = self.http.get(location).send().await;
        let zip = answer
            .and_then(reqwest::Response::error_for_status)
            .context("the code cannot be fetched")?
            .bytes()
            .await?;
        let target = directory.clone();
        tokio::task::spawn_blocking(move || unpack(&zip, &target)).await??;
        Ok(directory)
    }
}

/// Unpacks beside the target and renames, so that a directory is either whole or absent.
fn unpack(zip: &[u8], target: &Path) -> anyhow::Result<()> {
    let parent = target.parent().context("the target has no parent")?;
    std::fs::create_dir_all(parent)?;
    let staging = tempfile::tempdir_in(parent)?;
    zip::ZipArchive::new(Cursor::new(zip))
        .and_then(|mut archive| archive.extract(staging.path()))
        .context("the code is not a zip file")?;
    // The directory itself is made readable as `/var/task` is, whatever the umask.
    std::fs::set_permissions(staging.path(), std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(staging.keep(), target)?;
    Ok(())
}

fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// A `CodeSha256` is base64, whose `/` cannot stand in a file's name.
fn directory_name(code_sha256: &str) -> String {
    code_sha256.replace('/', "_").replace('=', "")
}
