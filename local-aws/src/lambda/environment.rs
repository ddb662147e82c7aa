//! An execution environment: one process that answers one invocation at a time.

use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use serde_json::json;
use tokio::process::Child;
use tokio::sync::oneshot;

use super::function::Function;
use super::logs::LogStream;
use super::output::Output;
use super::runtime_api::{Event, Outcome, RuntimeApi};
use super::{Credentials, bootstrap};
use crate::client::REGION;
use crate::faults::{InvocationEnd, Moment};
use crate::processes;
use crate::protocol::trace_root;

/// How long a runtime may take until it asks for its first event.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// What is the same for every environment.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// `http://127.0.0.1:PORT`, where functions find AWS.
    pub(crate) endpoint: String,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
}

/// One request to run a function.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) payload: Bytes,
    pub(crate) client_context: Option<String>,
    /// X-Ray's trace, which the function's own calls of AWS name too.
    pub(crate) trace: String,
}

impl Request {
    pub(crate) fn new(payload: Bytes) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            payload,
            client_context: None,
            trace: format!("{};Sampled=0", trace_root()),
        }
    }
}

/// How an invocation ended.
#[derive(Clone, Debug)]
pub(crate) struct Completion {
    pub(crate) payload: Bytes,
    /// Whether `payload` is an error (`X-Amz-Function-Error: Unhandled`).
    pub(crate) failed: bool,
    /// The lines logged meanwhile.
    pub(crate) log: Vec<String>,
}

/// A process that serves a function's invocations.
#[derive(Debug)]
pub(crate) struct Environment {
    function: Function,
    process: Child,
    api: RuntimeApi,
    init_error: oneshot::Receiver<Bytes>,
    output: Output,
    log: LogStream,
    initialised: bool,
    usable: bool,
}

/// Why an invocation did not get the runtime's own answer.
enum Fault {
    TimedOut(Duration),
    Exited(String),
    Init(Bytes),
}

impl Environment {
    /// Starts the function's `bootstrap`.
    ///
    /// # Errors
    /// A sentence for the `errorMessage` of a `Runtime.InvalidEntrypoint`.
    pub(crate) async fn start(
        function: &Function,
        credentials: &Credentials,
        surroundings: &Surroundings,
    ) -> Result<Self, String> {
        bootstrap::check(&function.code, &function.architecture)?;
        let failed = |error: std::io::Error| format!("the environment cannot be made: {error}");
        let (api, init_error) = RuntimeApi::start(&function.arn).await.map_err(failed)?;
        let (output, stdout, stderr) = Output::new().map_err(failed)?;
        let log = LogStream::open(
            surroundings.logs.clone(),
            function.log_group.clone(),
            &function.version,
        );
        let mut command = processes::command(function.code.join("bootstrap"));
        command
            .current_dir(&function.code)
            .stdin(std::process::Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .envs(&function.variables)
            .envs(credentials.variables())
            .env("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin")
            .env("LANG", "en_US.UTF-8")
            .env("TZ", ":UTC")
            .env("AWS_ENDPOINT_URL", &surroundings.endpoint)
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023")
            .env("AWS_LAMBDA_RUNTIME_API", api.authority())
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_LAMBDA_FUNCTION_NAME", &function.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", &function.version)
            .env(
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                function.memory_mb.to_string(),
            )
            .env("AWS_LAMBDA_LOG_GROUP_NAME", &function.log_group)
            .env("AWS_LAMBDA_LOG_STREAM_NAME", log.name())
            .env("AWS_LAMBDA_LOG_FORMAT", &function.log_format)
            .env("LAMBDA_TASK_ROOT", &function.code)
            .env("_HANDLER", &function.handler);
        let process = command
            .spawn()
            .map_err(|error| format!("fork/exec /var/task/bootstrap: {error}"))?;
        Ok(Self {
            function: function.clone(),
            process,
            api,
            init_error,
            output,
            log,
            initialised: false,
            usable: true,
        })
    }

    /// Whether this environment may serve another invocation of `function`.
    pub(crate) fn serves(&self, function: &Function) -> bool {
        self.usable && self.function.runs_like(function)
    }

    /// Runs one invocation. `timeout` is the function's, which may change while it runs; `end` is
    /// how the invocation shall go wrong.
    pub(crate) async fn invoke(
        &mut self,
        request: &Request,
        timeout: Duration,
        end: Option<InvocationEnd>,
    ) -> Completion {
        let started = Instant::now();
        let mut log = vec![format!(
            "START RequestId: {} Version: {}",
            request.id, self.function.version
        )];
        let outcome = self.run(request, timeout, end, &mut log).await;
        log.extend(self.output.drain());
        let (payload, failed) = match outcome {
            Ok(Outcome::Answer(payload)) => (payload, false),
            Ok(Outcome::Error(payload)) => (payload, true),
            Err(fault) => {
                self.usable = false;
                self.process.start_kill().ok();
                let payload = fault.payload(&request.id);
                log.push(String::from_utf8_lossy(&payload).into_owned());
                (payload, true)
            }
        };
        log.push(format!("END RequestId: {}", request.id));
        log.push(self.report(&request.id, started.elapsed()));
        self.log.append(&log);
        Completion {
            payload,
            failed,
            log,
        }
    }

    async fn run(
        &mut self,
        request: &Request,
        timeout: Duration,
        end: Option<InvocationEnd>,
        log: &mut Vec<String>,
    ) -> Result<Outcome, Fault> {
        if !self.initialised {
            self.initialise(log).await?;
        }
        if let Some(fault) = self.meet(end, Moment::BeforeItsWork, timeout).await {
            return Err(fault);
        }
        let outcome = self.work(request, timeout, log).await?;
        match self.meet(end, Moment::AfterItsWork, timeout).await {
            Some(fault) => Err(fault),
            None => Ok(outcome),
        }
    }

    /// Ends the invocation at this moment, if it shall end then.
    async fn meet(
        &mut self,
        end: Option<InvocationEnd>,
        now: Moment,
        timeout: Duration,
    ) -> Option<Fault> {
        match end? {
            InvocationEnd::Crash(moment) if moment == now => {
                self.process.start_kill().ok();
                Some(exited(self.process.wait().await))
            }
            InvocationEnd::TimeOut(moment) if moment == now => Some(Fault::TimedOut(timeout)),
            _ => None,
        }
    }

    async fn work(
        &mut self,
        request: &Request,
        timeout: Duration,
        log: &mut Vec<String>,
    ) -> Result<Outcome, Fault> {
        let event = Event {
            request_id: request.id.clone(),
            payload: request.payload.clone(),
            deadline: SystemTime::now() + timeout,
            client_context: request.client_context.clone(),
            trace: request.trace.clone(),
        };
        let mut outcome = self.api.send(event).await;
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                Ok(outcome) = &mut outcome => return Ok(outcome),
                status = self.process.wait() => return Err(exited(status)),
                () = &mut deadline => return Err(Fault::TimedOut(timeout)),
                lines = self.output.lines() => log.extend(lines),
            }
        }
    }

    async fn initialise(&mut self, log: &mut Vec<String>) -> Result<(), Fault> {
        let deadline = tokio::time::sleep(INIT_LIMIT);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                Ok(body) = &mut self.init_error => return Err(Fault::Init(body)),
                () = self.api.initialised() => break,
                status = self.process.wait() => return Err(exited(status)),
                () = &mut deadline => return Err(Fault::TimedOut(INIT_LIMIT)),
                lines = self.output.lines() => log.extend(lines),
            }
        }
        self.initialised = true;
        Ok(())
    }

    fn report(&self, request_id: &str, duration: Duration) -> String {
        let milliseconds = duration.as_secs_f64() * 1_000.0;
        format!(
            "REPORT RequestId: {request_id}\tDuration: {milliseconds:.2} ms\t\
             Billed Duration: {:.0} ms\tMemory Size: {} MB",
            milliseconds.ceil(),
            self.function.memory_mb
        )
    }
}

impl Fault {
    fn payload(self, request_id: &str) -> Bytes {
        let (error_type, message) = match self {
            Self::Init(body) => return body,
            Self::TimedOut(limit) => (
                "Sandbox.Timedout",
                format!("Task timed out after {:.2} seconds", limit.as_secs_f64()),
            ),
            Self::Exited(how) => ("Runtime.ExitError", how),
        };
        error_payload(
            error_type,
            &format!("RequestId: {request_id} Error: {message}"),
        )
    }
}

/// The JSON of an error that Lambda itself reports.
pub(crate) fn error_payload(error_type: &str, message: &str) -> Bytes {
    let body = json!({ "errorType": error_type, "errorMessage": message });
    Bytes::from(body.to_string())
}

/// A runtime is not to exit at all: with status 0, too, it did not answer.
fn exited(status: std::io::Result<std::process::ExitStatus>) -> Fault {
    Fault::Exited(match status {
        Ok(status) if status.success() => "Runtime exited without providing a reason".to_owned(),
        Ok(status) => format!("Runtime exited with error: {}", how_it_ended(status)),
        Err(error) => format!("Runtime exited with error: {error}"),
    })
}

/// In the words of Go's `os/exec`, which Lambda's own messages use.
fn how_it_ended(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(9)) => "signal: killed".to_owned(),
        (None, Some(11)) => "signal: segmentation fault".to_owned(),
        (None, Some(6)) => "signal: aborted".to_owned(),
        (None, signal) => format!("signal: {}", signal.unwrap_or_default()),
    }
}
