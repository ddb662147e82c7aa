//! The control API under `/_local`: what AWS has no API for.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::gateway::{Gateway, small_body};
use crate::images::PutBlobError;

/// Layers hold a debug build of an application at most.
const BLOB_LIMIT: usize = 1024 * 1024 * 1024;

pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/ready", get(async || StatusCode::OK))
        .route("/ports", post(reserve_port))
        .route("/blobs/{digest}", put(put_blob))
        .route("/events/faults", any(ask_moto))
        .route("/events/faults/lift", any(ask_moto))
        .route("/v4/{container}", get(container_metadata))
        .route("/v4/{container}/task", get(task_metadata))
        .route("/shutdown", post(shut_down))
}

/// Answers `{"port": N}`: a port of 127.0.0.1 that stays bound until a listener has it.
async fn reserve_port(State(gateway): State<Arc<Gateway>>) -> Response {
    match gateway.load_balancers.reserve_port().await {
        Ok(port) => Json(json!({ "port": port })).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Stores the body under its digest, `sha256:…`.
async fn put_blob(
    State(gateway): State<Arc<Gateway>>,
    Path(digest): Path<String>,
    body: Body,
) -> Response {
    let blob = match small_body(body, BLOB_LIMIT).await {
        Ok(blob) => blob,
        Err(response) => return response,
    };
    match gateway.images.put_blob(&digest, blob).await {
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(PutBlobError::Io(error)) => {
            failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
        Err(error) => failure(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

/// Passes on what is done in moto's process, at the same path below `/_glue`: the faults of
/// [`event_faults`](crate::event_faults).
async fn ask_moto(State(gateway): State<Arc<Gateway>>, mut request: Request) -> Response {
    match format!("/_glue{}", request.uri().path()).parse::<Uri>() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &error.to_string()),
    }
    gateway.moto.forward(request).await
}

/// ECS's task metadata endpoint, about the container that asks.
async fn container_metadata(
    State(gateway): State<Arc<Gateway>>,
    Path(container): Path<String>,
) -> Response {
    found(gateway.ecs.container_metadata(&container))
}

/// The same, about the container's task.
async fn task_metadata(
    State(gateway): State<Arc<Gateway>>,
    Path(container): Path<String>,
) -> Response {
    found(gateway.ecs.task_metadata(&container))
}

fn found(document: Option<Value>) -> Response {
    match document {
        Some(document) => Json(document).into_response(),
        None => failure(StatusCode::NOT_FOUND, "There is no such container."),
    }
}

async fn shut_down(State(gateway): State<Arc<Gateway>>) -> StatusCode {
    gateway.shutdown.cancel();
    StatusCode::ACCEPTED
}

fn failure(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
