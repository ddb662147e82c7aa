//! The control API under `/_local`: what AWS has no API for.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /ready` | | 200 once requests are served |
//! | `POST /ports` | | `{"port": N}`: a port of 127.0.0.1 that stays bound until a listener has it |
//! | `PUT /blobs/{digest}` | a blob of an image | 201 |
//! | `GET`, `HEAD /blobs/{digest}` | | the blob; 404 where it is not there |
//! | `POST /shutdown` | | 202; everything ends |
//! | `POST /faults` | a [`Fault`] | its report: `id`, `fault`, `struck`, `open`, `lifted` |
//! | `GET /faults` | | the reports of all faults, the oldest first |
//! | `GET /faults/{id}` | | its report |
//! | `DELETE /faults/{id}` | | ends the fault; its report |
//! | `PUT /stale-reads` | `{"milliseconds": N}` or `{"reads": N}` | `{"stale": 0, "open": true}`: ECS's reads are behind its newest write for so long after each, or until so many reads have been stale |
//! | `GET /stale-reads` | | the same, with the number of reads that were stale |
//! | `DELETE /stale-reads` | | ends it; the same |
//! | `PUT`, `GET`, `DELETE /dynamodb/stale-reads` | | the same for reads of DynamoDB's tables that do not ask for `ConsistentRead`, each table with its own newest write |
//! | `PUT /request-limits` | | 204; ECS's request limits hold, with full buckets |
//! | `DELETE /request-limits` | | 204; they do not hold any more |
//! | `PUT /modes` | [`Modes`] | 204; ECS does from now on what they say |
//! | `POST /missing-capacity` | `{"cluster": NAME, "tasks": N}` | 204; the next N tasks of the cluster find no capacity |
//! | `GET /missing-capacity/{cluster}` | | `{"tasks": N}`: how many still will |
//! | `POST /interruptions` | `{"taskArn": ARN, "stopCode": CODE, "reason": TEXT}` | 204; AWS ends the task, by the stop code of an [`Interruption`]; 404 where it does not run |
//! | `/events/faults`, `/events/faults/lift` | | deliveries of events that go wrong: [`event_faults`](crate::event_faults) |
//! | `GET /v4/{container}`, `GET /v4/{container}/task` | | ECS's task metadata, for the container that asks |
//! | `GET /calls?since=SECONDS` | | the newest calls of all AWS APIs, since then, the oldest first: [`Call`](crate::recorder::Call) |
//! | `GET /asked` | | what each function, by its name, and the state machines have ever asked IAM for: [`permissions`](crate::permissions) |
//! | `POST /refused` | | of that what their roles did not allow, since the last such request |
//!
//! What cannot be done is answered with status 400, 404 or 500 and `{"message": …}`, a body that is not
//! understood with status 422 and a sentence. All of it, typed, is
//! [`LocalAws`](crate::client::LocalAws).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ecs::Interruption;
use crate::faults::{Fault, FaultReport};
use crate::gateway::{Gateway, small_body};
use crate::images::PutBlobError;
use crate::modes::Modes;
use crate::permissions::Need;
use crate::recorder::Call;
use crate::stale_reads::{Lag, StaleReadsReport};

/// Layers hold a debug build of an application at most.
const BLOB_LIMIT: usize = 1024 * 1024 * 1024;

pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/ready", get(async || StatusCode::OK))
        .route("/ports", post(reserve_port))
        .route("/blobs/{digest}", put(put_blob).get(blob).head(has_blob))
        .route("/events/faults", any(ask_moto))
        .route("/events/faults/lift", any(ask_moto))
        .route("/dynamodb/stale-reads", any(ask_moto))
        .route("/v4/{container}", get(container_metadata))
        .route("/v4/{container}/task", get(task_metadata))
        .route("/shutdown", post(shut_down))
        .route("/faults", post(add_fault).get(all_faults))
        .route("/faults/{id}", get(one_fault).delete(lift_fault))
        .route(
            "/stale-reads",
            put(begin_stale_reads)
                .get(stale_reads)
                .delete(end_stale_reads),
        )
        .route(
            "/request-limits",
            put(limit_requests).delete(do_not_limit_requests),
        )
        .route("/modes", put(set_modes))
        .route("/missing-capacity", post(lack_capacity))
        .route("/missing-capacity/{cluster}", get(missing_capacity))
        .route("/interruptions", post(interrupt))
        .route("/calls", get(calls))
        .route("/asked", get(asked))
        .route("/refused", post(refused))
}

async fn reserve_port(State(gateway): State<Arc<Gateway>>) -> Response {
    match gateway.load_balancers.reserve_port().await {
        Ok(port) => Json(json!({ "port": port })).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

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

async fn blob(State(gateway): State<Arc<Gateway>>, Path(digest): Path<String>) -> Response {
    match gateway.images.blob(&digest).await {
        Some(bytes) => bytes.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn has_blob(State(gateway): State<Arc<Gateway>>, Path(digest): Path<String>) -> StatusCode {
    match gateway.images.has_blob(&digest).await {
        true => StatusCode::OK,
        false => StatusCode::NOT_FOUND,
    }
}

/// Passes on what is done in moto's process, at the same path below `/_glue`: the faults of
/// [`event_faults`](crate::event_faults), and reads of tables that are behind.
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

async fn add_fault(State(gateway): State<Arc<Gateway>>, Json(fault): Json<Fault>) -> Response {
    match gateway.faults.add(fault) {
        Ok(report) => Json(report).into_response(),
        Err(message) => failure(StatusCode::BAD_REQUEST, message),
    }
}

async fn all_faults(State(gateway): State<Arc<Gateway>>) -> Json<Vec<FaultReport>> {
    Json(gateway.faults.all())
}

async fn one_fault(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    report(&id, gateway.faults.get(&id))
}

async fn lift_fault(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    report(&id, gateway.faults.lift(&id))
}

fn report(id: &str, report: Option<FaultReport>) -> Response {
    match report {
        Some(report) => Json(report).into_response(),
        None => failure(StatusCode::NOT_FOUND, &format!("There is no fault {id}.")),
    }
}

async fn begin_stale_reads(
    State(gateway): State<Arc<Gateway>>,
    Json(lag): Json<Lag>,
) -> Json<StaleReadsReport> {
    Json(gateway.stale_reads.begin(lag))
}

async fn stale_reads(State(gateway): State<Arc<Gateway>>) -> Json<StaleReadsReport> {
    Json(gateway.stale_reads.report())
}

async fn end_stale_reads(State(gateway): State<Arc<Gateway>>) -> Json<StaleReadsReport> {
    Json(gateway.stale_reads.end())
}

async fn limit_requests(State(gateway): State<Arc<Gateway>>) -> StatusCode {
    gateway.request_limits.switch(true);
    StatusCode::NO_CONTENT
}

async fn do_not_limit_requests(State(gateway): State<Arc<Gateway>>) -> StatusCode {
    gateway.request_limits.switch(false);
    StatusCode::NO_CONTENT
}

async fn set_modes(State(gateway): State<Arc<Gateway>>, Json(modes): Json<Modes>) -> StatusCode {
    gateway.ecs.set_modes(modes);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MissingCapacity {
    pub(crate) cluster: String,
    pub(crate) tasks: usize,
}

async fn lack_capacity(
    State(gateway): State<Arc<Gateway>>,
    Json(missing): Json<MissingCapacity>,
) -> StatusCode {
    gateway.ecs.lack_capacity(&missing.cluster, missing.tasks);
    StatusCode::NO_CONTENT
}

async fn missing_capacity(
    State(gateway): State<Arc<Gateway>>,
    Path(cluster): Path<String>,
) -> Response {
    let tasks = gateway.ecs.lacking_capacity(&cluster);
    Json(json!({ "tasks": tasks })).into_response()
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct InterruptedTask {
    pub(crate) task_arn: String,
    pub(crate) stop_code: Interruption,
    pub(crate) reason: String,
}

async fn interrupt(
    State(gateway): State<Arc<Gateway>>,
    Json(task): Json<InterruptedTask>,
) -> Response {
    let ecs = &gateway.ecs;
    match ecs.interrupt(&task.task_arn, task.stop_code, &task.reason) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => failure(StatusCode::NOT_FOUND, "No such task runs."),
    }
}

#[derive(Deserialize)]
struct CallsQuery {
    #[serde(default)]
    since: f64,
}

async fn calls(
    State(gateway): State<Arc<Gateway>>,
    Query(query): Query<CallsQuery>,
) -> Json<Vec<Call>> {
    Json(gateway.recorder.calls_since(query.since))
}

async fn asked(State(gateway): State<Arc<Gateway>>) -> Json<BTreeMap<String, BTreeSet<Need>>> {
    Json(gateway.asked.all())
}

async fn refused(State(gateway): State<Arc<Gateway>>) -> Json<BTreeMap<String, BTreeSet<Need>>> {
    Json(gateway.asked.take_refused())
}

fn failure(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
