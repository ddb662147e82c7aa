//! The one endpoint: every request of every service arrives here and is sent to whom it is for.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header, response};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::api_call::ApiCall;
use crate::connections::ConnectionClosed;
use crate::control;
use crate::ecs::{ApiError, Ecs};
use crate::faults::{Answer, Faults, Strike};
use crate::images::ImageStore;
use crate::lambda::{self, Completion, InvokeError, LambdaService};
use crate::load_balancer::LoadBalancers;
use crate::permissions::{Asked, Caller, Roles};
use crate::protocol::{ERROR_TYPE, REQUEST_ID, TRACE_ID};
use crate::recorder::{Call, Recorder};
use crate::registry::{self, Registry};
use crate::request_limits::RequestLimits;
use crate::stale_reads::StaleReads;
use crate::target_health;

/// No request of Elastic Load Balancing is larger.
const API_BODY_LIMIT: usize = 8 * 1024 * 1024;

/// Everything that answers requests.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Its own address.
    pub(crate) endpoint: String,
    pub(crate) ecs: Ecs,
    pub(crate) lambda: Arc<LambdaService>,
    pub(crate) load_balancers: LoadBalancers,
    pub(crate) images: ImageStore,
    pub(crate) registry: Registry,
    pub(crate) moto: Proxy,
    pub(crate) recorder: Recorder,
    pub(crate) asked: Asked,
    pub(crate) roles: Roles,
    pub(crate) faults: Arc<Faults>,
    pub(crate) request_limits: RequestLimits,
    pub(crate) stale_reads: StaleReads,
    /// Cancelled when a client asked the local AWS to end.
    pub(crate) shutdown: CancellationToken,
}

/// Passes requests on to moto as they are, streaming both ways.
#[derive(Debug)]
pub(crate) struct Proxy {
    authority: String,
    client: Client<HttpConnector, Body>,
}

/// All routes of the gateway.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .nest("/_local", control::router())
        .merge(registry::router())
        .fallback(any(take))
        .with_state(gateway)
}

/// Takes a request of any AWS API: refuses it if it is made in a role that does not allow it, strikes
/// it with a fault that waits for it, or answers it; and remembers it.
async fn take(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let time = seconds_since_the_epoch();
    let (call, request) = match ApiCall::read(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let function = gateway.lambda.caller_with(&call.access_key);
    let machine = || Caller::state_machine(&call);
    let refusal = match function.clone().or_else(machine) {
        Some(caller) => refusal(&gateway, &call, &caller).await,
        None => None,
    };
    let caller = function.map(|function| function.name);
    let response = match refusal {
        Some(refusal) => refusal,
        None => match gateway.faults.strike_call(&call, caller.as_deref()) {
            Some(strike) => struck(&gateway, &strike, &call, request).await,
            None => answer(&gateway, &call, request).await,
        },
    };
    let closed = response.extensions().get::<ConnectionClosed>().is_some();
    // Invoke is answered with the trace of the invocation.
    let trace = text(response.headers(), TRACE_ID.as_str()).unwrap_or(call.trace);
    gateway.recorder.remember(Call {
        time,
        caller,
        trace,
        status: (!closed).then(|| response.status().as_u16()),
        service: call.service,
        operation: call.operation,
        user_agent: call.user_agent,
        request: call.parameters.unwrap_or_default(),
    });
    response
}

/// The answer to a call that the caller's role does not allow.
async fn refusal(gateway: &Gateway, call: &ApiCall, caller: &Caller) -> Option<Response> {
    let needs = gateway.asked.note(call, caller, &gateway.ecs).await;
    match gateway.roles.refuse(caller, &needs).await {
        Ok(refusal) => {
            let refusal = refusal?;
            let answer = refusal.answer(call);
            gateway.asked.note_refusal(caller, refusal.need);
            Some(answer)
        }
        Err(error) => Some(bad_gateway(&error.to_string())),
    }
}

/// Answers a call that a fault strikes.
async fn struck(
    gateway: &Arc<Gateway>,
    strike: &Strike,
    call: &ApiCall,
    request: Request,
) -> Response {
    let Strike { id, fault } = strike;
    tracing::info!(
        service = call.service,
        operation = call.operation,
        "a fault strikes"
    );
    if fault.is_held_before_its_effect() {
        gateway.faults.lifted(id).await;
    }
    let own = if let Some(delay) = fault.time_after_its_answer() {
        let (gateway, call) = (Arc::clone(gateway), call.clone());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            answer(&gateway, &call, request).await;
        });
        None
    } else if fault.lets_the_call_happen() {
        Some(answer(gateway, call, request).await)
    } else {
        None
    };
    if fault.is_held_after_its_effect() {
        gateway.faults.lifted(id).await;
    }
    tokio::time::sleep(fault.delay()).await;
    match (fault.answer(), own) {
        (Answer::Own, Some(own)) => own,
        (
            Answer::Error {
                name,
                message,
                status,
                members,
            },
            _,
        ) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
            call.protocol.error_with(status, name, message, members)
        }
        (Answer::ConnectionClosed | Answer::Own, _) => ConnectionClosed::response(),
    }
}

/// Answers a call as whoever it is for does.
async fn answer(gateway: &Arc<Gateway>, call: &ApiCall, request: Request) -> Response {
    match (call.service.as_str(), call.operation.as_str()) {
        ("ecs", _) => call_ecs(gateway, call).await,
        ("ecr", "GetDownloadUrlForLayer") => download_url(gateway, call).await,
        ("elasticloadbalancing", _) => call_load_balancing(gateway, request).await,
        ("lambda", "Invoke") => invoke_function(gateway, call, request).await,
        ("iam", _) => {
            let answer = gateway.moto.forward(request).await;
            gateway.roles.follow(call);
            answer
        }
        _ => gateway.moto.forward(request).await,
    }
}

fn seconds_since_the_epoch() -> f64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.unwrap_or_default().as_secs_f64()
}

async fn call_ecs(gateway: &Gateway, call: &ApiCall) -> Response {
    let answer = answer_ecs(gateway, call).await;
    let recorded = gateway.recorder.write_ecs(|| full_record(call, &answer));
    // A call that cannot be recorded fails: it would not be checked.
    let recorded = recorded
        .await
        .map_err(|error| ApiError::server(format!("The call was not recorded: {error}")));
    match recorded.and(answer) {
        Ok(body) => amz_json(StatusCode::OK, &body),
        Err(error) => ecs_error(&error),
    }
}

/// An exception with all its members: some have more than a name and a message.
fn ecs_error(error: &ApiError) -> Response {
    let mut response = amz_json(error.status, &error.to_json());
    let name = header::HeaderValue::from_static(error.name);
    response.headers_mut().insert(ERROR_TYPE, name);
    response
}

async fn answer_ecs(gateway: &Gateway, call: &ApiCall) -> Result<Value, ApiError> {
    if call.operation.is_empty() {
        return Err(ApiError::client(
            "UnknownOperationException",
            "The request names no operation in X-Amz-Target",
        ));
    }
    if !gateway
        .request_limits
        .allow(&call.operation, Instant::now())
    {
        return Err(ApiError::client("ThrottlingException", "Rate exceeded"));
    }
    match &call.parameters {
        Ok(parameters) => {
            let modes = gateway.ecs.modes();
            if let Some(refusal) = modes.refusal(&call.operation, parameters) {
                return Err(refusal);
            }
            let (reads, ecs) = (&gateway.stale_reads, &gateway.ecs);
            let answer = reads.call(ecs, &call.operation, parameters.clone()).await?;
            Ok(modes.apply(answer))
        }
        Err(error) => Err(ApiError::client("SerializationException", error.clone())),
    }
}

fn full_record(call: &ApiCall, answer: &Result<Value, ApiError>) -> Value {
    let (status, response) = match answer {
        Ok(body) => (StatusCode::OK, body.clone()),
        Err(error) => (error.status, error.to_json()),
    };
    json!({
        "operation": call.operation,
        "request": call.parameters.as_ref().ok(),
        "userAgent": call.user_agent,
        "status": status.as_u16(),
        "response": response,
    })
}

fn amz_json(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            "application/x-amz-json-1.1".to_owned(),
        ),
        (REQUEST_ID, uuid::Uuid::new_v4().to_string()),
    ];
    (status, headers, body.to_string()).into_response()
}

/// Manifests are moto's, what they list is kept here. The address needs no credentials, as ECR's.
///
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetDownloadUrlForLayer.html>
async fn download_url(gateway: &Gateway, call: &ApiCall) -> Response {
    let digest = call.parameters.as_ref().ok();
    let digest = digest.and_then(|parameters| parameters["layerDigest"].as_str());
    let digest = digest.unwrap_or_default();
    if !gateway.images.has_blob(digest).await {
        let problem = "The specified layers could not be found, or the specified layer is not valid for this repository.";
        return call.error(StatusCode::BAD_REQUEST, "LayersNotFoundException", problem);
    }
    let url = format!("{}/_local/blobs/{digest}", gateway.endpoint);
    amz_json(
        StatusCode::OK,
        &json!({"downloadUrl": url, "layerDigest": digest}),
    )
}

/// Target health is known to our load balancers; all else of Elastic Load Balancing is moto's,
/// and what changes there is followed here.
async fn call_load_balancing(gateway: &Gateway, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, API_BODY_LIMIT).await {
        Ok(body) => body,
        Err(error) => return bad_gateway(&error.to_string()),
    };
    let action = target_health::action(&body);
    if action.as_deref() == Some("DescribeTargetHealth") {
        return target_health::describe(&gateway.load_balancers, &body).await;
    }
    let action = action.unwrap_or_default();
    if let Some(refused) = target_health::refuse_port(&gateway.load_balancers, &action, &body) {
        return refused;
    }
    let form = body.clone();
    let response = gateway
        .moto
        .forward(Request::from_parts(parts, Body::from(body)))
        .await;
    if action.starts_with("Describe") || !response.status().is_success() {
        return response;
    }
    if let Err(error) = gateway.load_balancers.sync().await {
        tracing::warn!("the load balancers do not follow moto: {error:#}");
    }
    target_health::follow(&gateway.load_balancers, &action, &form).await;
    response
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
async fn invoke_function(gateway: &Gateway, call: &ApiCall, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let payload = match to_bytes(body, lambda::PAYLOAD_LIMIT).await {
        Ok(body) => lambda::payload(body),
        Err(error) => Err(error.to_string()),
    };
    let payload = match payload {
        Ok(payload) => payload,
        Err(message) => {
            let name = "InvalidRequestContentException";
            return call.error(StatusCode::BAD_REQUEST, name, &message);
        }
    };
    let name = call.parameters.as_ref().ok();
    let name = name.and_then(|parameters| parameters["FunctionName"].as_str());
    let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let qualifier = query
        .into_iter()
        .find_map(|(name, value)| (name == "Qualifier").then_some(value));
    let found = gateway
        .lambda
        .find(name.unwrap_or_default(), qualifier.as_deref());
    let function = match found.await {
        Ok(function) => function,
        Err(error) => return invoke_error(call, &error),
    };
    let headers = parts.headers;
    let request = lambda::Request {
        client_context: text(&headers, "x-amz-client-context"),
        ..lambda::Request::new(payload)
    };
    match text(&headers, "x-amz-invocation-type").as_deref() {
        Some("DryRun") => StatusCode::NO_CONTENT.into_response(),
        Some("Event") => {
            let told = [
                (REQUEST_ID, request.id.clone()),
                (TRACE_ID, request.trace.clone()),
            ];
            gateway.lambda.invoke_later(function, request);
            (StatusCode::ACCEPTED, told).into_response()
        }
        _ => {
            let version = &function.version;
            let with_log = text(&headers, "x-amz-log-type").as_deref() == Some("Tail");
            let response = Response::builder()
                .header(header::CONTENT_TYPE, "application/json")
                .header(REQUEST_ID, &request.id)
                .header(TRACE_ID, &request.trace)
                .header("X-Amz-Executed-Version", version);
            match gateway.lambda.invoke(function, request).await {
                Ok(completion) => completed(response, completion, with_log),
                Err(error) => invoke_error(call, &error),
            }
        }
    }
}

fn completed(mut response: response::Builder, completion: Completion, with_log: bool) -> Response {
    let log = with_log.then(|| lambda::log_tail(&completion.log));
    if completion.failed {
        response = response.header("X-Amz-Function-Error", "Unhandled");
    }
    if let Some(log) = log {
        response = response.header("X-Amz-Log-Result", log);
    }
    response
        .body(Body::from(completion.payload))
        .unwrap_or_else(|error| bad_gateway(&error.to_string()))
}

fn invoke_error(call: &ApiCall, error: &InvokeError) -> Response {
    let (status, name) = match error {
        InvokeError::NotFound(_) => (StatusCode::NOT_FOUND, "ResourceNotFoundException"),
        InvokeError::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException"),
        InvokeError::Service(_) | InvokeError::Ending => {
            (StatusCode::INTERNAL_SERVER_ERROR, "ServiceException")
        }
    };
    call.error(status, name, &error.to_string())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

fn bad_gateway(message: &str) -> Response {
    tracing::warn!("a request could not be passed on: {message}");
    (StatusCode::BAD_GATEWAY, message.to_owned()).into_response()
}

impl Proxy {
    pub(crate) fn new(authority: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Sends the request to moto. Its `Host` header stays, since moto makes addresses of it.
    pub(crate) async fn forward(&self, mut request: Request) -> Response {
        let path = request.uri().path_and_query();
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.authority.as_str())
            .path_and_query(path.map_or("/", |path| path.as_str()))
            .build();
        match uri {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return bad_gateway(&error.to_string()),
        }
        // These are between a client and the gateway only.
        request.headers_mut().remove(header::EXPECT);
        request.headers_mut().remove(header::CONNECTION);
        match self.client.request(request).await {
            Ok(response) => {
                let mut response = response.map(Body::new);
                response.headers_mut().remove(header::CONNECTION);
                response
            }
            Err(error) => {
                let cause = anyhow::Error::new(error).context("moto did not answer");
                bad_gateway(&format!("{cause:#}"))
            }
        }
    }
}

/// A body small enough to be held in memory.
pub(crate) async fn small_body(body: Body, limit: usize) -> Result<Bytes, Response> {
    to_bytes(body, limit)
        .await
        .map_err(|error| (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()).into_response())
}
