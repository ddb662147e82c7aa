//! Manifests and tags of the registry: moto's, as `PutImage` and `BatchGetImage` have them.

use aws_sdk_ecr::types::{Image, ImageIdentifier, ListImagesFilter, TagStatus};
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::Registry;
use super::answers::{CONTENT_DIGEST, Refusal, parameter, unexpected};
use crate::images::{hex_of_digest, sha256_hex};

/// Registries have to take manifests of this size, and ECR's API takes no larger ones.
///
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html>
const MANIFEST_LIMIT: usize = 4_194_304;
const TAG_LIMIT: usize = 300;
/// The type that a manifest has which does not say one.
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What a manifest says of itself and refers to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    /// Where a layer is that no registry may pass on.
    #[serde(default)]
    urls: Vec<String>,
}

impl Registry {
    pub(super) async fn read_manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Response, Refusal> {
        let image = self.image(repository, &identifier(reference)).await?;
        let Some(image) = image else {
            let message = format!("{repository} has no image {reference}.");
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                message,
            ));
        };
        let manifest = image.image_manifest().unwrap_or_default().to_owned();
        let media_type = image.image_manifest_media_type();
        let digest = image.image_id().and_then(|id| id.image_digest());
        let headers = [
            (
                header::CONTENT_TYPE,
                media_type.unwrap_or(DOCKER_MANIFEST).to_owned(),
            ),
            (CONTENT_DIGEST, digest.unwrap_or_default().to_owned()),
        ];
        Ok((headers, manifest).into_response())
    }

    /// Ends a push: from now on the image is there, and everybody hears of it.
    pub(super) async fn write_manifest(
        &self,
        repository: &str,
        reference: &str,
        request: Request,
    ) -> Result<Response, Refusal> {
        let given_type = request.headers().get(header::CONTENT_TYPE);
        let given_type = given_type.and_then(|given| given.to_str().ok());
        let given_type = given_type.map(ToOwned::to_owned);
        let body = to_bytes(request.into_body(), MANIFEST_LIMIT).await;
        let text = body.map_err(|error| invalid(&error))?;
        let text = String::from_utf8(text.into()).map_err(|error| invalid(&error))?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| invalid(&error))?;
        let digest = format!("sha256:{}", sha256_hex(text.as_bytes()));
        let tag = tag(reference, &digest)?;
        self.check_references(repository, &manifest).await?;
        if !self.is_pushed(repository, &digest, tag).await? {
            let media_type = manifest.media_type.or(given_type);
            let media_type = media_type.as_deref().unwrap_or(DOCKER_MANIFEST);
            self.put_image(repository, text, media_type, &digest, tag)
                .await?;
        }
        let headers = [
            (
                header::LOCATION,
                format!("/v2/{repository}/manifests/{digest}"),
            ),
            (CONTENT_DIGEST, digest),
        ];
        Ok((StatusCode::CREATED, headers).into_response())
    }

    /// A manifest is taken when all it refers to is there.
    async fn check_references(&self, repository: &str, manifest: &Manifest) -> Result<(), Refusal> {
        for blob in manifest.config.iter().chain(&manifest.layers) {
            if blob.urls.is_empty() && !self.images.has_blob(&blob.digest).await {
                return Err(missing(&blob.digest));
            }
        }
        for image in &manifest.manifests {
            let id = identifier(&image.digest);
            if self.image(repository, &id).await?.is_none() {
                return Err(missing(&image.digest));
            }
        }
        Ok(())
    }

    /// Whether the repository has the image already, with this tag if there is one. To push it again
    /// changes nothing.
    async fn is_pushed(
        &self,
        repository: &str,
        digest: &str,
        tag: Option<&str>,
    ) -> Result<bool, Refusal> {
        let image = self
            .image(repository, &identifier(tag.unwrap_or(digest)))
            .await?;
        let known = image.as_ref().and_then(|image| image.image_id());
        Ok(known.and_then(|id| id.image_digest()) == Some(digest))
    }

    async fn put_image(
        &self,
        repository: &str,
        manifest: String,
        media_type: &str,
        digest: &str,
        tag: Option<&str>,
    ) -> Result<(), Refusal> {
        let put = self
            .ecr
            .put_image()
            .repository_name(repository)
            .image_manifest(manifest)
            .image_manifest_media_type(media_type)
            .image_digest(digest)
            .set_image_tag(tag.map(ToOwned::to_owned));
        let Err(error) = put.send().await else {
            return Ok(());
        };
        let error = error.into_service_error();
        let is_taken = error.is_image_already_exists_exception()
            || error.is_image_tag_already_exists_exception();
        match tag {
            Some(tag) if is_taken => Err(immutable(repository, tag)),
            _ => Err(unexpected(&error)),
        }
    }

    /// The tags, in order: all, or so many (`n`) after one of them (`last`).
    pub(super) async fn list_tags(&self, repository: &str, uri: &Uri) -> Result<Response, Refusal> {
        let tagged = ListImagesFilter::builder().tag_status(TagStatus::Tagged);
        let listed = self
            .ecr
            .list_images()
            .repository_name(repository)
            .filter(tagged.build())
            .send()
            .await
            .map_err(|error| unexpected(&error.into_service_error()))?;
        let ids = listed.image_ids().iter();
        let mut tags: Vec<&str> = ids.filter_map(|id| id.image_tag()).collect();
        tags.sort_unstable();
        if let Some(last) = parameter(uri.query(), "last") {
            tags.retain(|tag| *tag > &*last);
        }
        let count = parameter(uri.query(), "n").and_then(|n| n.parse().ok());
        let count = count.unwrap_or(tags.len());
        let is_rest = count >= tags.len();
        tags.truncate(count);
        let mut response = axum::Json(json!({"name": repository, "tags": tags})).into_response();
        if let Some(last) = tags.last().filter(|_| !is_rest) {
            let next = format!("</v2/{repository}/tags/list?n={count}&last={last}>; rel=\"next\"");
            let next = next
                .parse()
                .map_err(|error: header::InvalidHeaderValue| unexpected(&error))?;
            response.headers_mut().insert(header::LINK, next);
        }
        Ok(response)
    }

    async fn image(
        &self,
        repository: &str,
        id: &ImageIdentifier,
    ) -> Result<Option<Image>, Refusal> {
        let answer = self
            .ecr
            .batch_get_image()
            .repository_name(repository)
            .image_ids(id.clone())
            .send()
            .await
            .map_err(|error| unexpected(&error.into_service_error()))?;
        Ok(answer.images.unwrap_or_default().into_iter().next())
    }
}

fn identifier(reference: &str) -> ImageIdentifier {
    let id = ImageIdentifier::builder();
    match hex_of_digest(reference) {
        Some(_) => id.image_digest(reference).build(),
        None => id.image_tag(reference).build(),
    }
}

/// The tag that a manifest is pushed by; `None` if by its digest, which has to be right.
fn tag<'a>(reference: &'a str, digest: &str) -> Result<Option<&'a str>, Refusal> {
    if reference == digest {
        return Ok(None);
    }
    if reference.contains(':') {
        let message = format!("The manifest's digest is {digest}, not {reference}.");
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            message,
        ));
    }
    if is_tag(reference) {
        return Ok(Some(reference));
    }
    let message = format!(
        "{reference:?} is no tag: it may have letters, digits, `_`, `.` and `-`, and begins with neither `.` nor `-`."
    );
    Err(Refusal::new(
        StatusCode::BAD_REQUEST,
        "TAG_INVALID",
        message,
    ))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageIdentifier.html>
fn is_tag(text: &str) -> bool {
    let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    text.len() <= TAG_LIMIT
        && text.starts_with(is_word)
        && text.chars().all(|it| is_word(it) || it == '.' || it == '-')
}

/// The words of ECR (moby/buildkit#3776, osscontainertools/kaniko#204).
fn immutable(repository: &str, tag: &str) -> Refusal {
    let message = format!(
        "The image tag '{tag}' already exists in the '{repository}' repository and cannot be \
         overwritten because the tag is immutable."
    );
    Refusal::new(StatusCode::BAD_REQUEST, "TAG_INVALID", message)
}

fn missing(digest: &str) -> Refusal {
    let message = format!("The manifest refers to {digest}, which is not there: push it first.");
    Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", message)
}

fn invalid(error: &impl std::fmt::Display) -> Refusal {
    let message = format!("The manifest cannot be read: {error}.");
    Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_pushed_by_a_tag_or_by_the_digest_that_it_has() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let other = format!("sha256:{}", "b".repeat(64));
        assert_eq!(tag(&digest, &digest), Ok(None));
        for good in ["v1", "_x", "1.2-rc.3", &"a".repeat(TAG_LIMIT)] {
            assert_eq!(tag(good, &digest), Ok(Some(good)));
        }
        let code = |reference: &str| tag(reference, &digest).unwrap_err().code;
        assert_eq!(code(&other), "DIGEST_INVALID");
        assert_eq!(code("sha512:0"), "DIGEST_INVALID");
        for bad in [".x", "-x", "a b", "", &"a".repeat(TAG_LIMIT + 1)] {
            assert_eq!(code(bad), "TAG_INVALID", "{bad}");
        }
    }
}
