//! Container images: blobs uploaded here, manifests kept by ECR.

pub(crate) mod root;
mod unpack;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_sdk_ecr::types::ImageIdentifier;
use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use thiserror::Error;
use tokio::sync::Mutex;

use self::unpack::{Compression, unpack_layer};
use crate::state_directory::IMAGES;

/// Holds the blobs of all images and unpacks each image once. Clones share one store.
#[derive(Clone, Debug)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    ecr: aws_sdk_ecr::Client,
    /// Images that are unpacked, by the digest of the manifest that lists the layers. Held while
    /// unpacking, so that two tasks never unpack the same image at once.
    unpacked: Mutex<HashMap<String, Image>>,
}

/// An image ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `sha256:…` of the manifest (of the index, for an image of several platforms).
    pub digest: String,
    /// The directory that stands for the container's file system.
    pub root: PathBuf,
    /// `config.Env` as pairs.
    pub environment: Vec<(String, String)>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    /// As in the image, absolute inside the container; empty means `/`.
    pub working_directory: String,
}

/// Why a blob was not taken.
#[derive(Debug, Error)]
pub enum PutBlobError {
    #[error("{0:?} is no digest of the form sha256:<64 hexadecimal digits>")]
    InvalidDigest(String),
    #[error("the content's digest is {actual}, not {expected}")]
    DigestMismatch { expected: String, actual: String },
    #[error("cannot store the blob: {0}")]
    Io(#[from] io::Error),
}

/// Why an image cannot be run; the text is what ECS puts into a task's reasons.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_cannot_pull_image.html>
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("CannotPullContainerError: {0}")]
pub struct PullError(pub String);

#[derive(Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    platform: Option<Platform>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Default, Deserialize)]
struct ImageConfig {
    #[serde(default)]
    config: RunConfig,
}

/// The `config` member of an OCI image configuration; its lists may be `null`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunConfig {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
}

impl ImageStore {
    /// Keeps its files below `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>, ecr: aws_sdk_ecr::Client) -> Self {
        Self {
            inner: Arc::new(Inner {
                directory: state_dir.into().join(IMAGES),
                ecr,
                unpacked: Mutex::default(),
            }),
        }
    }

    /// Stores a blob under its digest, after having checked that it is its digest.
    pub async fn put_blob(&self, digest: &str, bytes: Bytes) -> Result<(), PutBlobError> {
        let hex = hex_of_digest(digest)
            .ok_or_else(|| PutBlobError::InvalidDigest(digest.to_owned()))?
            .to_owned();
        let store = self.clone();
        tokio::task::spawn_blocking(move || {
            let actual = sha256_hex(&bytes);
            if actual != hex {
                return Err(PutBlobError::DigestMismatch {
                    expected: format!("sha256:{hex}"),
                    actual: format!("sha256:{actual}"),
                });
            }
            let mut file = store.new_blob()?;
            io::Write::write_all(&mut file, &bytes)?;
            store.keep_blob(file, &hex)?;
            Ok(())
        })
        .await
        .map_err(io::Error::other)?
    }

    /// A file for a blob that is still to come. It is gone when it is dropped before it is kept.
    pub(crate) fn new_blob(&self) -> io::Result<NamedTempFile> {
        let directory = self.inner.directory.join("uploads");
        fs::create_dir_all(&directory)?;
        NamedTempFile::new_in(directory)
    }

    /// Keeps a blob, whole and checked, under the digits of its digest.
    pub(crate) fn keep_blob(&self, file: NamedTempFile, hex: &str) -> io::Result<()> {
        let directory = self.inner.directory.join("blobs");
        fs::create_dir_all(&directory)?;
        file.persist(directory.join(hex)).map_err(|e| e.error)?;
        Ok(())
    }

    /// The blob of this digest, if it is there.
    pub async fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        tokio::fs::read(self.path_of_blob(digest)?).await.ok()
    }

    /// Whether there is a blob of this digest.
    pub async fn has_blob(&self, digest: &str) -> bool {
        match self.path_of_blob(digest) {
            Some(path) => tokio::fs::try_exists(path).await.unwrap_or(false),
            None => false,
        }
    }

    /// Where a blob is, or would be; `None` where that is no digest.
    pub(crate) fn path_of_blob(&self, digest: &str) -> Option<PathBuf> {
        Some(
            self.inner
                .directory
                .join("blobs")
                .join(hex_of_digest(digest)?),
        )
    }

    /// Resolves `registry/repository@sha256:…` or `registry/repository:tag` with ECR and unpacks
    /// the image unless that has been done before.
    pub async fn pull(&self, image_reference: &str) -> Result<Image, PullError> {
        let reference = Reference::parse(image_reference).ok_or_else(|| {
            PullError(format!(
                "failed to parse image reference {image_reference:?}: invalid reference format"
            ))
        })?;
        let (digest, manifest) = self.manifest(&reference, image_reference).await?;
        let (platform_digest, manifest) = if manifest.manifests.is_empty() {
            (digest.clone(), manifest)
        } else {
            let chosen = choose_platform(&manifest.manifests).ok_or_else(|| {
                PullError(format!(
                    "image Manifest does not contain descriptor matching platform 'linux/{}'",
                    oci_architecture()
                ))
            })?;
            let reference = Reference {
                tag: None,
                digest: Some(chosen.digest.clone()),
                ..reference
            };
            self.manifest(&reference, image_reference).await?
        };
        let mut unpacked = self.inner.unpacked.lock().await;
        if let Some(image) = unpacked.get(&platform_digest) {
            return Ok(Image {
                digest,
                ..image.clone()
            });
        }
        let directory = self.inner.directory.clone();
        let name = platform_digest.clone();
        let image = tokio::task::spawn_blocking(move || unpack(&directory, &name, &manifest))
            .await
            .map_err(|e| PullError(e.to_string()))?
            .map_err(|problem| {
                PullError(format!(
                    "ref pull has been retried 1 time(s): failed to copy: {problem}"
                ))
            })?;
        unpacked.insert(platform_digest, image.clone());
        Ok(Image { digest, ..image })
    }

    /// Asks ECR for the manifest; answers its digest as well.
    async fn manifest(
        &self,
        reference: &Reference,
        image_reference: &str,
    ) -> Result<(String, Manifest), PullError> {
        let unresolved = |problem: &str| {
            PullError(format!(
                "pull image manifest has been retried 1 time(s): failed to resolve ref \
                 {image_reference}: {problem}"
            ))
        };
        let answer = self
            .inner
            .ecr
            .batch_get_image()
            .repository_name(&reference.repository)
            .image_ids(
                ImageIdentifier::builder()
                    .set_image_tag(reference.tag.clone())
                    .set_image_digest(reference.digest.clone())
                    .build(),
            )
            .send()
            .await
            .map_err(|error| {
                let error = error.into_service_error();
                unresolved(&format!(
                    "{}: {}",
                    error.meta().code().unwrap_or("unexpected status"),
                    error.meta().message().unwrap_or("no answer from ECR")
                ))
            })?;
        let image = answer
            .images()
            .first()
            .ok_or_else(|| unresolved(&format!("{image_reference}: not found")))?;
        let text = image.image_manifest().unwrap_or_default();
        let manifest = serde_json::from_str(text)
            .map_err(|error| unresolved(&format!("invalid manifest: {error}")))?;
        let digest = image
            .image_id()
            .and_then(|id| id.image_digest())
            .map_or_else(
                || format!("sha256:{}", sha256_hex(text.as_bytes())),
                ToOwned::to_owned,
            );
        Ok((digest, manifest))
    }
}

/// An image reference, without its registry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// `None` where the text is no reference. Without tag and digest the tag is `latest`.
    fn parse(text: &str) -> Option<Self> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                hex_of_digest(digest)?;
                (name, Some(digest.to_owned()))
            }
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (name, None),
        };
        let repository = match path.split_once('/') {
            Some((registry, rest)) if registry.contains(['.', ':']) => rest,
            _ => path,
        };
        if repository.is_empty() || tag.as_deref() == Some("") {
            return None;
        }
        let tag = match (&digest, tag) {
            // ECR refuses an identifier whose tag and digest disagree; the digest decides.
            (Some(_), _) => None,
            (None, tag) => Some(tag.unwrap_or_else(|| "latest".to_owned())),
        };
        Some(Self {
            repository: repository.to_owned(),
            tag,
            digest,
        })
    }
}

/// The digits of a digest, `sha256:…`; `None` where it is none.
pub(crate) fn hex_of_digest(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    let valid = hex.len() == 64
        && hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    valid.then_some(hex)
}

pub(crate) fn sha256_hex(content: &[u8]) -> String {
    format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(content)))
}

fn oci_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn choose_platform(manifests: &[Descriptor]) -> Option<&Descriptor> {
    manifests.iter().find(|descriptor| {
        descriptor
            .platform
            .as_ref()
            .is_none_or(|p| p.os == "linux" && p.architecture == oci_architecture())
    })
}

fn unpack(directory: &Path, digest: &str, manifest: &Manifest) -> Result<Image, String> {
    let blob = |digest: &str| -> Result<PathBuf, String> {
        let hex = hex_of_digest(digest).ok_or_else(|| format!("invalid digest {digest:?}"))?;
        let path = directory.join("blobs").join(hex);
        if path.is_file() {
            Ok(path)
        } else {
            Err(format!("blob {digest}: not found"))
        }
    };
    let config = manifest
        .config
        .as_ref()
        .ok_or("the manifest names no configuration")?;
    let config = fs::read(blob(&config.digest)?).map_err(|e| e.to_string())?;
    let config: ImageConfig =
        serde_json::from_slice(&config).map_err(|e| format!("invalid image configuration: {e}"))?;
    let config = config.config;

    let roots = directory.join("roots");
    fs::create_dir_all(&roots).map_err(|e| e.to_string())?;
    let root = roots.join(hex_of_digest(digest).ok_or("invalid digest")?);
    if !root.is_dir() {
        let partial = tempfile::TempDir::new_in(&roots).map_err(|e| e.to_string())?;
        for layer in &manifest.layers {
            let compression = Compression::of(&layer.media_type)?;
            let path = blob(&layer.digest)?;
            unpack_layer(&path, compression, partial.path())
                .map_err(|e| format!("failed to extract layer {}: {e}", layer.digest))?;
        }
        fs::rename(partial.keep(), &root).map_err(|e| e.to_string())?;
    }
    let environment = config.env.unwrap_or_default();
    Ok(Image {
        digest: digest.to_owned(),
        root,
        environment: environment
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        working_directory: config.working_dir.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(repository: &str, tag: Option<&str>, digest: Option<&str>) -> Option<Reference> {
        Some(Reference {
            repository: repository.to_owned(),
            tag: tag.map(ToOwned::to_owned),
            digest: digest.map(ToOwned::to_owned),
        })
    }

    #[test]
    fn a_reference_names_a_repository_and_a_tag_or_a_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
        assert_eq!(
            Reference::parse(&format!("{registry}/team/demo:v2")),
            reference("team/demo", Some("v2"), None)
        );
        assert_eq!(
            Reference::parse(&format!("{registry}/demo@{digest}")),
            reference("demo", None, Some(&digest))
        );
        assert_eq!(
            Reference::parse(&format!("{registry}/demo:v1@{digest}")),
            reference("demo", None, Some(&digest))
        );
        assert_eq!(
            Reference::parse("localhost:5000/demo"),
            reference("demo", Some("latest"), None)
        );
        assert_eq!(
            Reference::parse("demo"),
            reference("demo", Some("latest"), None)
        );
    }

    #[test]
    fn a_text_that_is_no_reference_is_refused() {
        for text in ["", "demo@sha256:abc", "demo:", "registry.example/"] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }
}
