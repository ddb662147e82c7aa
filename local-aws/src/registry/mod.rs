//! ECR's registry below `/v2`: how `docker push`, `skopeo copy` and their kin bring images and fetch them.
//!
//! The distribution API (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md>) as ECR
//! has it: the name is `AWS`, the password that of `aws ecr get-login-password`
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>). Manifests and tags are
//! moto's, so that a push is ECR's event as any other; blobs are the image store's. No other API that is
//! used here has addresses below `/v2`.
//!
//! Blobs belong to the registry and not to a repository: as if blob mounting were enabled
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html>), and a blob is found
//! without being mounted. Images are deleted by ECR's own API.

mod answers;
mod blobs;
mod manifests;
mod target;
mod uploads;

use std::sync::Arc;

use aws_sdk_ecr::Client;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::json;

use self::answers::{Refusal, VERSION, unexpected};
use self::target::Target;
use self::uploads::Uploads;
use crate::client::ACCOUNT;
use crate::gateway::Gateway;
use crate::images::ImageStore;

/// The registry of the account.
#[derive(Debug)]
pub(crate) struct Registry {
    endpoint: String,
    images: ImageStore,
    ecr: Client,
    uploads: Uploads,
}

pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/v2", any(version))
        .route("/v2/", any(version))
        .route("/v2/{*path}", any(serve))
}

/// By this address a client learns how it has to log in.
async fn version(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    match gateway.registry.admit(&headers).await {
        Ok(()) => (VERSION, axum::Json(json!({}))).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn serve(
    State(gateway): State<Arc<Gateway>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    match gateway.registry.answer(&path, request).await {
        Ok(response) => (VERSION, response).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

impl Registry {
    pub(crate) fn new(endpoint: &str, images: ImageStore, ecr: Client) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            images,
            ecr,
            uploads: Uploads::default(),
        }
    }

    async fn answer(&self, path: &str, request: Request) -> Result<Response, Refusal> {
        self.admit(request.headers()).await?;
        let (repository, target) = target::parse(path).ok_or_else(|| {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "NAME_INVALID",
                format!("There is nothing at /v2/{path}."),
            )
        })?;
        self.ensure_repository(&repository).await?;
        let method = request.method().clone();
        match (target, &method) {
            (Target::Blob(digest), &Method::GET | &Method::HEAD) => {
                self.read_blob(&digest, request).await
            }
            (Target::Uploads, &Method::POST) => self.begin_upload(&repository, request).await,
            (Target::Upload(id), &Method::GET) => self.describe_upload(&repository, &id),
            (Target::Upload(id), &Method::PATCH) => {
                self.continue_upload(&repository, &id, request).await
            }
            (Target::Upload(id), &Method::PUT) => {
                self.complete_upload(&repository, &id, request).await
            }
            (Target::Upload(id), &Method::DELETE) => self.cancel_upload(&repository, &id),
            (Target::Manifest(reference), &Method::GET | &Method::HEAD) => {
                self.read_manifest(&repository, &reference).await
            }
            (Target::Manifest(reference), &Method::PUT) => {
                self.write_manifest(&repository, &reference, request).await
            }
            (Target::Tags, &Method::GET) => self.list_tags(&repository, request.uri()).await,
            _ => Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNSUPPORTED",
                format!(
                    "{method} is not supported at /v2/{path}. Images are deleted with aws ecr batch-delete-image."
                ),
            )),
        }
    }

    /// Admits whoever has the token that `get-login-password` gives. Name and token, in the header of
    /// basic authentication, are the `authorizationToken`.
    ///
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html#registry_auth_http>
    async fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let answer = self.ecr.get_authorization_token().send().await;
        let answer = answer.map_err(|error| unexpected(&error.into_service_error()))?;
        let data = answer.authorization_data().first();
        let token = data.and_then(|data| data.authorization_token());
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|given| given.to_str().ok());
        let given = given.and_then(|given| given.split_once(' '));
        let is_token = given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("basic") && Some(given.trim()) == token
        });
        if is_token {
            return Ok(());
        }
        Err(Refusal::unauthorized(&self.endpoint))
    }

    async fn ensure_repository(&self, name: &str) -> Result<(), Refusal> {
        let describe = self.ecr.describe_repositories().repository_names(name);
        let Err(error) = describe.send().await else {
            return Ok(());
        };
        let error = error.into_service_error();
        if !error.is_repository_not_found_exception() {
            return Err(unexpected(&error));
        }
        Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            format!(
                "The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"
            ),
        ))
    }
}
