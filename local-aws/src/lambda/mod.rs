//! A Lambda service that runs functions' real zips.
//!
//! Functions, their configuration and their code are moto's; this module runs them: each zip
//! is unpacked once, its `bootstrap` is started as a process with the environment Lambda
//! gives, and is fed through the Runtime API.

mod asynchronous;
mod bootstrap;
mod credentials;
mod environment;
mod function;
mod logs;
mod output;
mod runtime_api;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_types::SdkConfig;
use axum::body::Bytes;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::faults::{Faults, InvocationEnd};
use crate::permissions::Caller;
use crate::state_directory::FUNCTIONS;

pub(crate) use credentials::Credentials;
pub(crate) use environment::{Completion, Request};

use credentials::Roles;
use environment::{Environment, Surroundings, error_payload};
use function::{Function, Functions};

/// How many invocations of all functions without a reserved concurrency may run at once.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html>
const UNRESERVED_CONCURRENCY: usize = 1_000;

/// Why a function was not run at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvokeError {
    #[error("{0}")]
    NotFound(String),
    /// Too many invocations are running.
    #[error("Rate Exceeded. ({0})")]
    Throttled(&'static str),
    #[error("{0}")]
    Service(String),
    #[error("the local AWS is ending")]
    Ending,
}

/// The Lambda service's part that moto does not have: Invoke.
#[derive(Debug)]
pub(crate) struct LambdaService {
    functions: Functions,
    roles: Roles,
    surroundings: Surroundings,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
    asynchronous: asynchronous::Configuration,
    unreserved: Arc<AtomicUsize>,
    faults: Arc<Faults>,
    ending: CancellationToken,
}

/// The environments of one function.
#[derive(Debug)]
struct Pool {
    idle: Mutex<Vec<Environment>>,
    running: Arc<AtomicUsize>,
}

/// One running invocation, as concurrency counts it.
#[derive(Debug)]
struct Running(Arc<AtomicUsize>);

impl Running {
    /// Counts one more, unless there are `limit` already.
    fn below(limit: usize, running: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |running| (running < limit).then_some(running + 1);
        running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Self(Arc::clone(running)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LambdaService {
    /// `moto` is the configuration of clients that ask moto; `endpoint` is what functions get
    /// as their AWS endpoint; code is unpacked under `state`.
    pub(crate) fn new(
        moto: &SdkConfig,
        endpoint: &str,
        state: &Path,
        clock: Clock,
        faults: Arc<Faults>,
    ) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap_or_default();
        let lambda = aws_sdk_lambda::Client::new(moto);
        Self {
            functions: Functions::new(lambda.clone(), http, state.join(FUNCTIONS)),
            roles: Roles::new(aws_sdk_sts::Client::new(moto)),
            surroundings: Surroundings {
                endpoint: endpoint.to_owned(),
                logs: aws_sdk_cloudwatchlogs::Client::new(moto),
            },
            pools: Mutex::default(),
            asynchronous: asynchronous::Configuration::new(
                lambda,
                aws_sdk_sqs::Client::new(moto),
                clock,
            ),
            unreserved: Arc::default(),
            faults,
            ending: CancellationToken::new(),
        }
    }

    /// The function that this access key was given to.
    pub(crate) fn caller_with(&self, access_key: &str) -> Option<Caller> {
        self.roles.caller_with(access_key)
    }

    /// The function as it is configured at this moment.
    pub(crate) async fn find(
        &self,
        name: &str,
        qualifier: Option<&str>,
    ) -> Result<Function, InvokeError> {
        self.functions.find(name, qualifier).await
    }

    /// Runs `function` once and waits for its answer. The function runs on when the caller loses
    /// patience, as it does on AWS.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        function: Function,
        request: Request,
    ) -> Result<Completion, InvokeError> {
        let service = Arc::clone(self);
        let invocation = tokio::spawn(async move {
            tokio::select! {
                completion = service.run(&function, &request) => completion,
                () = service.ending.cancelled() => Err(InvokeError::Ending),
            }
        });
        match invocation.await {
            Ok(completion) => completion,
            Err(error) => Err(InvokeError::Service(error.to_string())),
        }
    }

    /// Queues `request`; it is retried and, in the end, sent to the function's dead-letter
    /// queue or failure destination, as asynchronous invocations are.
    pub(crate) fn invoke_later(self: &Arc<Self>, function: Function, request: Request) {
        let service = Arc::clone(self);
        tokio::spawn(async move {
            let ending = service.ending.clone();
            tokio::select! {
                () = asynchronous::run(&service, function, request) => {}
                () = ending.cancelled() => {}
            }
        });
    }

    /// Ends every environment; invocations that run are given up.
    pub(crate) fn shut_down(&self) {
        self.ending.cancel();
        self.pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    async fn run(&self, function: &Function, request: &Request) -> Result<Completion, InvokeError> {
        let pool = self.pool(&function.arn);
        let _running = self.admit(function, &pool)?;
        let end = self
            .faults
            .strike_invocation(&function.name, &request.payload);
        if end == Some(InvocationEnd::Throttle) {
            return Err(InvokeError::Throttled("A fault that was asked for"));
        }
        let environment = match pool.take_idle(function) {
            Some(environment) => Ok(environment),
            None => self.start_environment(function).await?,
        };
        let mut environment = match environment {
            Ok(environment) => environment,
            Err(message) => return Ok(invalid_entrypoint(&request.id, &message)),
        };
        let completion = environment.invoke(request, function.timeout, end).await;
        if environment.serves(function) {
            pool.give_back(environment);
        }
        Ok(completion)
    }

    /// Counts an invocation that is about to run.
    /// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors>
    fn admit(&self, function: &Function, pool: &Pool) -> Result<Running, InvokeError> {
        match function.reserved_concurrency {
            Some(reserved) => Running::below(reserved, &pool.running).ok_or(
                InvokeError::Throttled("ReservedFunctionConcurrentInvocationLimitExceeded"),
            ),
            None => Running::below(UNRESERVED_CONCURRENCY, &self.unreserved)
                .ok_or(InvokeError::Throttled("ConcurrentInvocationLimitExceeded")),
        }
    }

    async fn start_environment(
        &self,
        function: &Function,
    ) -> Result<Result<Environment, String>, InvokeError> {
        let credentials = self.roles.assume(function).await?;
        Ok(Environment::start(function, &credentials, &self.surroundings).await)
    }

    fn pool(&self, function_arn: &str) -> Arc<Pool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.entry(function_arn.to_owned()).or_insert_with(|| {
            Arc::new(Pool {
                idle: Mutex::default(),
                running: Arc::default(),
            })
        });
        Arc::clone(pool)
    }
}

impl Pool {
    /// An idle environment that may serve `function`; those of earlier code or configuration
    /// end here.
    fn take_idle(&self, function: &Function) -> Option<Environment> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|environment| environment.serves(function));
        idle.pop()
    }

    fn give_back(&self, environment: Environment) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(environment);
    }
}

fn invalid_entrypoint(request_id: &str, message: &str) -> Completion {
    let message = format!("RequestId: {request_id} Error: {message}");
    Completion {
        payload: error_payload("Runtime.InvalidEntrypoint", &message),
        failed: true,
        log: vec![message],
    }
}

/// The last 4 KB of an invocation's log in base64, as `X-Amz-Log-Result` carries it.
pub(crate) fn log_tail(lines: &[String]) -> String {
    let text = lines.join("\n") + "\n";
    let tail = &text.as_bytes()[text.len().saturating_sub(4 * 1024)..];
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tail)
}

/// The largest payload of a synchronous invocation, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(crate) const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024;

/// An event as Lambda hands it to a runtime: no payload at all is `{}`.
///
/// # Errors
/// A sentence when the payload is not JSON.
pub(crate) fn payload(body: Bytes) -> Result<Bytes, String> {
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(&body) {
        Ok(_) => Ok(body),
        Err(error) => Err(format!("Could not parse request body into json: {error}")),
    }
}
