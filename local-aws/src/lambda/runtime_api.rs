//! The HTTP interface between Lambda and a function's runtime.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

/// The largest answer a function may give.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const RESPONSE_LIMIT: usize = 6 * 1024 * 1024 + 1024;

/// An invocation on its way to the runtime.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    pub(crate) deadline: SystemTime,
    pub(crate) client_context: Option<String>,
    pub(crate) trace: String,
}

/// What the runtime posted: a function's answer or its error, as JSON.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(Bytes),
    Error(Bytes),
}

/// The Runtime API of one execution environment, on a port of its own.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    authority: String,
    events: mpsc::Sender<Event>,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    function_arn: String,
    events: Mutex<mpsc::Receiver<Event>>,
    pending: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
    /// Told when the runtime asks for an event: its initialisation is over.
    asked: Notify,
    init_error: Mutex<Option<oneshot::Sender<Bytes>>>,
}

impl RuntimeApi {
    /// Serves the Runtime API; the receiver gets the body of a failed initialisation.
    pub(crate) async fn start(
        function_arn: &str,
    ) -> std::io::Result<(Self, oneshot::Receiver<Bytes>)> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let authority = listener.local_addr()?.to_string();
        let (events, receiver) = mpsc::channel(1);
        let (init_error, failed) = oneshot::channel();
        let shared = Arc::new(Shared {
            function_arn: function_arn.to_owned(),
            events: Mutex::new(receiver),
            pending: Mutex::default(),
            asked: Notify::new(),
            init_error: Mutex::new(Some(init_error)),
        });
        let router = router(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!("a Runtime API ended: {error}");
            }
        });
        let api = Self {
            authority,
            events,
            shared,
            server,
        };
        Ok((api, failed))
    }

    /// `host:port` for the variable `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Resolves once the runtime has asked for its first event.
    pub(crate) async fn initialised(&self) {
        self.shared.asked.notified().await;
    }

    /// Hands an event to the runtime; the receiver gets its outcome.
    pub(crate) async fn send(&self, event: Event) -> oneshot::Receiver<Outcome> {
        let (sender, outcome) = oneshot::channel();
        *self.shared.pending.lock().await = Some((event.request_id.clone(), sender));
        // The receiving end lives in `shared`, which `self` holds: sending cannot fail.
        self.events.send(event).await.ok();
        outcome
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let runtime = Router::new()
        .route("/invocation/next", get(next))
        .route("/invocation/{request_id}/response", post(response))
        .route("/invocation/{request_id}/error", post(error))
        .route("/init/error", post(init_error))
        .layer(DefaultBodyLimit::max(RESPONSE_LIMIT))
        .with_state(shared);
    Router::new().nest("/2018-06-01/runtime", runtime)
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    shared.asked.notify_one();
    let Some(event) = shared.events.lock().await.recv().await else {
        return status(StatusCode::GONE);
    };
    let mut response = Response::builder()
        .header("Content-Type", "application/json")
        .header("Lambda-Runtime-Aws-Request-Id", event.request_id)
        .header("Lambda-Runtime-Deadline-Ms", milliseconds(event.deadline))
        .header("Lambda-Runtime-Invoked-Function-Arn", &shared.function_arn)
        .header("Lambda-Runtime-Trace-Id", event.trace);
    if let Some(context) = event.client_context {
        response = response.header("Lambda-Runtime-Client-Context", context);
    }
    response
        .body(Body::from(event.payload))
        .unwrap_or_else(|_| status(StatusCode::INTERNAL_SERVER_ERROR))
}

async fn response(
    State(shared): State<Arc<Shared>>,
    Path(request_id): Path<String>,
    body: Bytes,
) -> Response {
    complete(&shared, &request_id, Outcome::Answer(body)).await
}

async fn error(
    State(shared): State<Arc<Shared>>,
    Path(request_id): Path<String>,
    body: Bytes,
) -> Response {
    complete(&shared, &request_id, Outcome::Error(body)).await
}

async fn init_error(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    if let Some(sender) = shared.init_error.lock().await.take() {
        // Nobody listens any more when the environment was given up meanwhile.
        sender.send(body).ok();
    }
    status(StatusCode::ACCEPTED)
}

async fn complete(shared: &Shared, request_id: &str, outcome: Outcome) -> Response {
    let mut pending = shared.pending.lock().await;
    match pending.take_if(|(expected, _)| expected == request_id) {
        Some((_, sender)) => {
            sender.send(outcome).ok();
            status(StatusCode::ACCEPTED)
        }
        None => Response::builder()
            .status(StatusCode::BAD_REQUEST)
            .body(Body::from(
                r#"{"errorType":"InvalidRequestID","errorMessage":"Invalid request ID"}"#,
            ))
            .unwrap_or_else(|_| status(StatusCode::BAD_REQUEST)),
    }
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn milliseconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis().to_string()
}
