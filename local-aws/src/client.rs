//! The local AWS as tests and the demo see it: a child process with an endpoint.

mod control;

pub use control::{LimitedRequests, OpenFault, StaleReads};

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_types::SdkConfig;
use aws_types::region::Region;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::event_faults::Events;
use crate::state_directory;

/// The account in which everything exists.
pub const ACCOUNT: &str = "123456789012";

/// The region in which everything exists.
pub const REGION: &str = "us-east-1";

const ACCESS_KEY_ID: &str = "test";
const SECRET_ACCESS_KEY: &str = "test";

/// Where everything exists and who asks, as the environment of any SDK says it. Older programs have
/// only the second name of the region.
pub(crate) const ENVIRONMENT: [(&str, &str); 4] = [
    ("AWS_REGION", REGION),
    ("AWS_DEFAULT_REGION", REGION),
    ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
    ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
];
const START_LIMIT: Duration = Duration::from_secs(150);
const END_LIMIT: Duration = Duration::from_secs(20);

/// The path of a program that is built beside this one: Cargo puts the executables of a profile into
/// one directory, and those of tests into one below.
///
/// # Errors
/// It is not built.
pub fn executable(name: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    this.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not built: run cargo build --package {name}"))
}

/// What [`LocalAws::start`] needs to know.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// The Python environment with moto (`make setup` makes `target/venv`).
    pub venv: PathBuf,
    /// A directory for images, functions and the log; made if missing.
    pub state: PathBuf,
    /// How many times faster ECS's and the load balancer's delays pass; 1 is AWS's own pace.
    pub speed: f64,
    /// The executable `local-aws`.
    pub binary: PathBuf,
    /// A file for every call of ECS, which
    /// [`check_ecs_calls`](crate::conformance::check_ecs_calls) reads.
    pub record_ecs: Option<PathBuf>,
}

/// A running local AWS. One that was started here ends with this value, or with the process that
/// holds it.
#[derive(Debug)]
pub struct LocalAws {
    endpoint: String,
    http: reqwest::Client,
    // None of one that somebody else has started.
    process: Option<Child>,
    // The local AWS ends when its standard input does, so this is held for as long as it runs.
    stdin: Option<ChildStdin>,
}

impl LocalAws {
    /// Starts the local AWS as a child process and waits until it serves requests.
    ///
    /// Its log goes to `local-aws.log` in the state directory. No other local AWS may have that.
    ///
    /// # Errors
    /// When it does not start; the message then ends with the last lines of that log.
    pub async fn start(options: StartOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.state)
            .with_context(|| format!("{} cannot be made", options.state.display()))?;
        let log = options.state.join(state_directory::LOG);
        // Another local AWS may have the directory, and goes on to write there.
        let mut log_file = std::fs::File::options();
        let log_file = log_file
            .append(true)
            .create(true)
            .open(&log)
            .with_context(|| format!("{} cannot be written", log.display()))?;
        let mut command = Command::new(&options.binary);
        if let Some(calls) = &options.record_ecs {
            command.arg("--record-ecs").arg(calls);
        }
        let mut process = command
            .arg("--venv")
            .arg(&options.venv)
            .arg("--state")
            .arg(&options.state)
            .args(["--speed", &options.speed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            // An interrupt from the terminal is for this process, which ends its local AWS in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", options.binary.display()))?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().context("the child has no stdout")?;
        let ready = tokio::time::timeout(START_LIMIT, ready_line(stdout)).await;
        let Ok(Some(endpoint)) = ready else {
            process.kill().await.ok();
            bail!("the local AWS did not start:\n{}", last_lines(&log, 8));
        };
        Ok(Self {
            process: Some(process),
            stdin,
            ..Self::attach(endpoint)?
        })
    }

    /// A local AWS that somebody else has started, by its endpoint. It goes on without this value.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn attach(endpoint: impl Into<String>) -> anyhow::Result<Self> {
        Ok(Self {
            endpoint: endpoint.into(),
            http: reqwest::Client::builder()
                .no_proxy()
                // Each test has a runtime of its own, and a connection ends with the one it was
                // opened in.
                .pool_max_idle_per_host(0)
                .build()?,
            process: None,
            stdin: None,
        })
    }

    /// The endpoint of every service, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The id of its process; `None` once it has ended, or where somebody else has started it.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }

    /// A configuration from which any SDK client can be built.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(&self.endpoint)
    }

    /// The environment variables with which the AWS CLI, or any SDK, talks to this local AWS
    /// and to nothing else.
    pub fn environment(&self) -> Vec<(String, String)> {
        let nothing_else = [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_PAGER", ""),
            ("NO_PROXY", "127.0.0.1,localhost"),
        ];
        let all = ENVIRONMENT.into_iter().chain(nothing_else);
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Lets events be delivered twice, late, out of order or not at all.
    pub fn events(&self) -> Events<'_> {
        Events::new(&self.http, &self.endpoint)
    }

    /// Ends the local AWS and everything that runs in it: tasks, functions, moto. One that somebody
    /// else has started is left alone.
    ///
    /// # Errors
    /// It did not end well; or a [fault](Self::fail) never struck, so that a test has not tested
    /// what it says.
    pub async fn shut_down(mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let unharmed = match process.try_wait()? {
            None => self.check_that_faults_struck().await,
            // It has ended already, and cannot be asked.
            Some(_) => Ok(()),
        };
        self.end(process).await.and(unharmed)
    }

    async fn end(&mut self, mut process: Child) -> anyhow::Result<()> {
        drop(self.stdin.take());
        match tokio::time::timeout(END_LIMIT, process.wait()).await {
            Ok(status) => {
                let status = status?;
                if !status.success() {
                    bail!("the local AWS ended with {status}");
                }
                Ok(())
            }
            Err(_) => {
                process.kill().await?;
                bail!("the local AWS did not end in {END_LIMIT:?} and was killed")
            }
        }
    }
}

/// A configuration for SDK clients that talk plain HTTP to `endpoint` with made-up credentials.
pub fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "local-aws");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .build()
}

async fn ready_line(stdout: tokio::process::ChildStdout) -> Option<String> {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(endpoint) = line.strip_prefix("ready ") {
            return Some(endpoint.to_owned());
        }
    }
    None
}

fn last_lines(log: &std::path::Path, count: usize) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
