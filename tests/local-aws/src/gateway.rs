//! The one endpoint: every request of every service arrives here and is sent to whom it is for.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::control;
use crate::ecs::{ApiError, Ecs};
use crate::images::ImageStore;
use crate::lambda::{self, Completion, InvokeError, LambdaService};
use crate::load_balancer::LoadBalancers;
use crate::recorder::Recorder;
use crate::target_health;

/// No request of the APIs answered here is larger.
const API_BODY_LIMIT: usize = 8 * 1024 * 1024;

/// Everything that answers requests.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) ecs: Ecs,
    /// Where its calls are recorded, if they are.
    pub(crate) ecs_calls: Option<Recorder>,
    pub(crate) lambda: Arc<LambdaService>,
    pub(crate) load_balancers: LoadBalancers,
    pub(crate) images: ImageStore,
    pub(crate) moto: Proxy,
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
        .route(
            "/2015-03-31/functions/{function}/invocations",
            post(invoke_function),
        )
        .fallback(any(dispatch))
        .with_state(gateway)
}

async fn dispatch(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    match signing_name(request.headers()) {
        Some("ecs") => call_ecs(&gateway, request).await,
        Some("elasticloadbalancing") => call_load_balancing(&gateway, request).await,
        _ => gateway.moto.forward(request).await,
    }
}

/// The service in the credential scope of a SigV4 signature,
/// `Credential=KEY/DATE/REGION/SERVICE/aws4_request`.
fn signing_name(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = authorization.split_once("Credential=")?;
    let scope = credential.split([',', ' ']).next()?;
    scope.split('/').rev().nth(1)
}

async fn call_ecs(gateway: &Gateway, request: Request) -> Response {
    let user_agent = text(request.headers(), "user-agent");
    let operation = ecs_operation(request.headers());
    let parameters = ecs_parameters(request.into_body()).await;
    let call = json!({
        "operation": operation.as_ref().ok(),
        "request": parameters.as_ref().ok(),
        "userAgent": user_agent,
    });
    let answer = match (operation, parameters) {
        (Ok(operation), Ok(parameters)) => gateway.ecs.call(&operation, parameters).await,
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    let recorded = match &gateway.ecs_calls {
        Some(recorder) => record(recorder, call, &answer).await,
        None => Ok(()),
    };
    match recorded.and(answer) {
        Ok(body) => amz_json(StatusCode::OK, &body),
        Err(error) => ecs_error(&error),
    }
}

/// Records a call with its answer. A call that cannot be recorded fails: it would not be checked.
async fn record(
    recorder: &Recorder,
    mut call: Value,
    answer: &Result<Value, ApiError>,
) -> Result<(), ApiError> {
    let (status, response) = match answer {
        Ok(body) => (StatusCode::OK, body.clone()),
        Err(error) => (error.status, error.to_json()),
    };
    call["status"] = json!(status.as_u16());
    call["response"] = response;
    recorder
        .record(&call)
        .await
        .map_err(|error| ApiError::server(format!("The call was not recorded: {error}")))
}

/// Errors of the JSON 1.1 protocol name their type in the body and in a header.
fn ecs_error(error: &ApiError) -> Response {
    let mut response = amz_json(error.status, &error.to_json());
    if let Ok(name) = error.name.parse() {
        response.headers_mut().insert(ERROR_TYPE, name);
    }
    response
}

/// The part of `X-Amz-Target` behind the dot.
fn ecs_operation(headers: &HeaderMap) -> Result<String, ApiError> {
    let target = text(headers, "x-amz-target").unwrap_or_default();
    match target.split_once('.') {
        Some((_, operation)) => Ok(operation.to_owned()),
        None => Err(ApiError::client(
            "UnknownOperationException",
            "The request names no operation in X-Amz-Target",
        )),
    }
}

async fn ecs_parameters(body: Body) -> Result<Value, ApiError> {
    let body = to_bytes(body, API_BODY_LIMIT)
        .await
        .map_err(|error| ApiError::client_exception(error.to_string()))?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::client("SerializationException", error.to_string()))
}

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

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
    let response = gateway
        .moto
        .forward(Request::from_parts(parts, Body::from(body)))
        .await;
    let reads = action.is_some_and(|action| action.starts_with("Describe"));
    if !reads
        && response.status().is_success()
        && let Err(error) = gateway.load_balancers.sync().await
    {
        tracing::warn!("the load balancers do not follow moto: {error:#}");
    }
    response
}

#[derive(Debug, Deserialize)]
struct InvokeQuery {
    #[serde(rename = "Qualifier")]
    qualifier: Option<String>,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
async fn invoke_function(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Query(query): Query<InvokeQuery>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(body) = to_bytes(body, lambda::PAYLOAD_LIMIT).await else {
        return lambda_error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestTooLargeException",
            &format!(
                "Request must be smaller than {} bytes",
                lambda::PAYLOAD_LIMIT
            ),
        );
    };
    let payload = match lambda::payload(body) {
        Ok(payload) => payload,
        Err(message) => {
            let name = "InvalidRequestContentException";
            return lambda_error(StatusCode::BAD_REQUEST, name, &message);
        }
    };
    let function = match gateway.lambda.find(&name, query.qualifier.as_deref()).await {
        Ok(function) => function,
        Err(error) => return invoke_error(&error),
    };
    let request = lambda::Request {
        id: uuid::Uuid::new_v4().to_string(),
        payload,
        client_context: text(&headers, "x-amz-client-context"),
    };
    match text(&headers, "x-amz-invocation-type").as_deref() {
        Some("DryRun") => StatusCode::NO_CONTENT.into_response(),
        Some("Event") => {
            let id = [(REQUEST_ID, request.id.clone())];
            gateway.lambda.invoke_later(function, request);
            (StatusCode::ACCEPTED, id).into_response()
        }
        _ => {
            let version = function.version.clone();
            let with_log = text(&headers, "x-amz-log-type").as_deref() == Some("Tail");
            let id = request.id.clone();
            match gateway.lambda.invoke(function, request).await {
                Ok(completion) => completed(&id, &version, completion, with_log),
                Err(error) => invoke_error(&error),
            }
        }
    }
}

fn completed(id: &str, version: &str, completion: Completion, with_log: bool) -> Response {
    let log = with_log.then(|| lambda::log_tail(&completion.log));
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .header(REQUEST_ID, id)
        .header("X-Amz-Executed-Version", version);
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

fn invoke_error(error: &InvokeError) -> Response {
    let (status, name) = match error {
        InvokeError::NotFound(_) => (StatusCode::NOT_FOUND, "ResourceNotFoundException"),
        InvokeError::Service(_) | InvokeError::Ending => {
            (StatusCode::INTERNAL_SERVER_ERROR, "ServiceException")
        }
    };
    lambda_error(status, name, &error.to_string())
}

fn lambda_error(status: StatusCode, name: &'static str, message: &str) -> Response {
    let body = json!({ "Type": "User", "Message": message });
    let mut response = amz_json(status, &body);
    response
        .headers_mut()
        .insert(ERROR_TYPE, header::HeaderValue::from_static(name));
    response
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_read_from_the_signature() {
        let mut headers = HeaderMap::new();
        let value = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ecs/aws4_request, \
                     SignedHeaders=host, Signature=0";
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        assert_eq!(signing_name(&headers), Some("ecs"));
    }

    #[test]
    fn an_unsigned_request_names_no_service() {
        assert_eq!(signing_name(&HeaderMap::new()), None);
    }
}
