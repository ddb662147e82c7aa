//! Blobs of the registry: layers and configurations on their way in and out.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeFile;

use super::Registry;
use super::answers::{CONTENT_DIGEST, Refusal, parameter, unexpected};
use super::uploads::Upload;
use crate::images::hex_of_digest;

/// The number of an upload, in the answers of Docker's registry.
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

impl Registry {
    /// A blob, or the part of it that the header `Range` names.
    pub(super) async fn read_blob(
        &self,
        digest: &str,
        request: Request,
    ) -> Result<Response, Refusal> {
        if !self.images.has_blob(digest).await {
            return Err(unknown_blob(digest));
        }
        let path = self.images.path_of_blob(digest).unwrap_or_default();
        let served = ServeFile::new(path).try_call(request).await;
        let served = served.map_err(|error| unexpected(&error))?;
        Ok(([(CONTENT_DIGEST, digest.to_owned())], served).into_response())
    }

    /// Begins an upload; or ends it at once, where the blob is there to be mounted or comes with the
    /// request.
    pub(super) async fn begin_upload(
        &self,
        repository: &str,
        request: Request,
    ) -> Result<Response, Refusal> {
        let (head, body) = request.into_parts();
        let query = head.uri.query();
        if let Some(digest) = parameter(query, "mount")
            && self.can_mount(&digest, query).await
        {
            return Ok(created(repository, &digest));
        }
        let file = self.images.new_blob();
        let mut upload = Upload::new(repository, file.map_err(|error| unexpected(&error))?);
        let Some(digest) = parameter(query, "digest") else {
            let id = self.uploads.begin(upload);
            return Ok(accepted(repository, &id, 0, StatusCode::ACCEPTED));
        };
        upload.append(body).await.map_err(|error| broken(&error))?;
        self.keep(repository, upload, &digest)
    }

    /// A client may name a repository that it was once told of. Where that is not there any more, the blob
    /// has to be uploaded.
    async fn can_mount(&self, digest: &str, query: Option<&str>) -> bool {
        let from = match parameter(query, "from") {
            Some(from) => self.ensure_repository(&from).await.is_ok(),
            None => true,
        };
        from && self.images.has_blob(digest).await
    }

    pub(super) fn describe_upload(&self, repository: &str, id: &str) -> Result<Response, Refusal> {
        let size = self.uploads.size(repository, id);
        let size = size.ok_or_else(|| unknown_upload(id))?;
        Ok(accepted(repository, id, size, StatusCode::NO_CONTENT))
    }

    pub(super) async fn continue_upload(
        &self,
        repository: &str,
        id: &str,
        request: Request,
    ) -> Result<Response, Refusal> {
        let upload = self.extended(repository, id, request).await?;
        let size = upload.size();
        self.uploads.put_back(id, upload);
        Ok(accepted(repository, id, size, StatusCode::ACCEPTED))
    }

    pub(super) async fn complete_upload(
        &self,
        repository: &str,
        id: &str,
        request: Request,
    ) -> Result<Response, Refusal> {
        let digest = parameter(request.uri().query(), "digest");
        let digest = digest.ok_or_else(|| wrong_digest("The request names no digest."))?;
        let digest = digest.into_owned();
        let upload = self.extended(repository, id, request).await?;
        self.keep(repository, upload, &digest)
    }

    pub(super) fn cancel_upload(&self, repository: &str, id: &str) -> Result<Response, Refusal> {
        let upload = self.uploads.take(repository, id);
        upload.ok_or_else(|| unknown_upload(id))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// An upload with what the request adds to it. If the request breaks off, the upload is gone.
    async fn extended(
        &self,
        repository: &str,
        id: &str,
        request: Request,
    ) -> Result<Upload, Refusal> {
        let upload = self.uploads.take(repository, id);
        let mut upload = upload.ok_or_else(|| unknown_upload(id))?;
        let size = upload.size();
        if first_byte(request.headers()).is_some_and(|first| first != size) {
            self.uploads.put_back(id, upload);
            let message = format!("Upload {id} goes on at byte {size}.");
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            return Err(Refusal::new(status, "BLOB_UPLOAD_INVALID", message)
                .with(header::RANGE, range(size)));
        }
        let body = request.into_body();
        upload.append(body).await.map_err(|error| broken(&error))?;
        Ok(upload)
    }

    fn keep(&self, repository: &str, upload: Upload, digest: &str) -> Result<Response, Refusal> {
        let expected = hex_of_digest(digest).ok_or_else(|| {
            wrong_digest(&format!(
                "{digest:?} is no digest of the form sha256:<64 hexadecimal digits>."
            ))
        })?;
        let (file, hex) = upload.finish();
        if hex != expected {
            return Err(wrong_digest(&format!(
                "The content's digest is sha256:{hex}, not {digest}. Nothing of it was kept."
            )));
        }
        let kept = self.images.keep_blob(file, &hex);
        kept.map_err(|error| unexpected(&error))?;
        Ok(created(repository, digest))
    }
}

/// The first byte of a chunk, where the request says one: `Content-Range: FIRST-LAST`.
fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let range = range.trim_start_matches("bytes ");
    range.split_once('-')?.0.trim().parse().ok()
}

/// What has come of an upload. There is no way to say that nothing has.
fn range(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

fn accepted(repository: &str, id: &str, size: u64, status: StatusCode) -> Response {
    let location = format!("/v2/{repository}/blobs/uploads/{id}");
    let headers = [
        (header::LOCATION, location),
        (header::RANGE, range(size)),
        (UPLOAD_ID, id.to_owned()),
    ];
    (status, headers).into_response()
}

fn created(repository: &str, digest: &str) -> Response {
    let headers = [
        (header::LOCATION, format!("/v2/{repository}/blobs/{digest}")),
        (CONTENT_DIGEST, digest.to_owned()),
    ];
    (StatusCode::CREATED, headers).into_response()
}

fn unknown_blob(digest: &str) -> Refusal {
    let message = format!("There is no blob {digest}.");
    Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message)
}

fn unknown_upload(id: &str) -> Refusal {
    let message = format!("There is no upload {id}: it was completed, broken off or forgotten.");
    Refusal::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message)
}

fn wrong_digest(message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
}

fn broken(error: &anyhow::Error) -> Refusal {
    let message = format!("The upload broke off: {error:#}. Nothing of it was kept.");
    Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
}
