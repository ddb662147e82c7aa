//! What an image in a repository says of itself.

use crate::EcrImage;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::{Image as Answered, ImageFailure as NotGot, ImageIdentifier};
use bluegreen_contract::{ImageConfig, Platform};
use bluegreen_runtime::{AwsRequestFailed, Web, failed};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// ECR answers with what it stores only if it is of a type that is accepted.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// BatchGetImage takes no more at once
/// (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html>).
const IMAGES: usize = 100;
/// No configuration of an image comes near.
const CONFIG_BYTES: usize = 4 * 1024 * 1024;
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// ECS takes no longer overrides of a task, of which the words of a command are a part
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskOverride.html>).
const ENTRY_POINT_BYTES: usize = 8192;
/// A commit or an address; a longer label is none.
const LABEL_BYTES: usize = 256;
/// Where the addresses of commits differ from the repository's, by a label of the host.
const COMMITS: [(&str, &str); 4] = [
    ("github", "commit"),
    ("gitlab", "-/commit"),
    ("bitbucket", "commits"),
    ("codeberg", "commit"),
];

/// An image that the repository has.
#[derive(Debug)]
pub struct StoredImage<'a> {
    repository: &'a str,
    /// `sha256:…`, of the index where the image is for several platforms.
    pub digest: String,
    manifest: Manifest,
}

/// A manifest of one platform's image, or an index of several
/// (<https://github.com/opencontainers/image-spec>).
#[derive(Debug, Clone, Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

/// The configuration of an image, as far as it counts here.
#[derive(Debug, Deserialize)]
struct Config {
    os: String,
    architecture: String,
    config: Option<RunConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig {
    entrypoint: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
}

/// Why an image cannot be released.
#[derive(Debug, thiserror::Error)]
pub enum ImageFailure {
    #[error("the repository {repository} has no image {image}")]
    NotFound { repository: String, image: String },
    /// `image` is `repository@digest`, the others platforms.
    #[error("{image} is built for {built_for}, not for {wanted}")]
    PlatformMismatch {
        image: String,
        built_for: String,
        wanted: String,
    },
    /// Nothing that a task could run, or not all of it. `image` is `repository@digest`.
    #[error("{image} cannot be run: {problem}")]
    Unusable { image: String, problem: String },
    #[error(transparent)]
    Request(#[from] AwsRequestFailed),
}

impl<'a> StoredImage<'a> {
    /// Asks ECR for the manifest of the image with that tag or digest.
    ///
    /// # Errors
    /// [`ImageFailure`], but no mismatch.
    pub async fn find(
        client: &Client,
        repository: &'a str,
        id: ImageIdentifier,
    ) -> Result<Self, ImageFailure> {
        let name = name_of(&id);
        let (images, failures) = batch_get(client, repository, vec![id]).await?;
        let Some(image) = images.first() else {
            return Err(match failures.first() {
                Some(failure) if !is_not_found(failure) => refused(repository, failure).into(),
                _ => ImageFailure::NotFound {
                    repository: repository.to_owned(),
                    image: name,
                },
            });
        };
        let digest = image.image_id().and_then(|id| id.image_digest());
        let digest = digest.unwrap_or_default().to_owned();
        let manifest = parsed(repository, &digest, image)?;
        Ok(Self {
            repository,
            digest,
            manifest,
        })
    }

    /// What the image says of itself for each of the platforms, `None` standing for any: what is
    /// `known` already where that is enough, or else what the repository has.
    ///
    /// # Errors
    /// [`ImageFailure`].
    pub async fn configs(
        &self,
        client: &Client,
        web: &Web,
        platforms: &BTreeSet<Option<Platform>>,
        known: &[ImageConfig],
    ) -> Result<Vec<ImageConfig>, ImageFailure> {
        let is_known =
            |platform: &Option<Platform>| of_platform(known, platform.as_ref()).is_some();
        if platforms.iter().all(is_known) {
            return Ok(known.to_vec());
        }
        let mut configs = Vec::new();
        for (digest, manifest) in self.manifests(client, platforms).await? {
            configs.push(self.config(client, web, &digest, &manifest).await?);
        }
        for platform in platforms {
            if of_platform(&configs, platform.as_ref()).is_none() {
                let built_for = configs.iter().map(|config| &config.platform);
                return Err(self.mismatch(platform.as_ref(), built_for));
            }
        }
        Ok(configs)
    }

    /// The manifests of the platforms, by their digests.
    async fn manifests(
        &self,
        client: &Client,
        platforms: &BTreeSet<Option<Platform>>,
    ) -> Result<BTreeMap<String, Manifest>, ImageFailure> {
        let Some(index) = &self.manifest.manifests else {
            let own = (self.digest.clone(), self.manifest.clone());
            return Ok(BTreeMap::from([own]));
        };
        let mut digests = BTreeSet::new();
        for platform in platforms {
            let of_platform = index.iter().find(|one| match (&one.platform, platform) {
                (Some(is), Some(wanted)) => is == wanted,
                // Attestations are for the platform unknown/unknown.
                (Some(is), None) => is.os != "unknown",
                (None, _) => false,
            });
            let built_for = index.iter().filter_map(|one| one.platform.as_ref());
            let manifest =
                of_platform.ok_or_else(|| self.mismatch(platform.as_ref(), built_for))?;
            digests.insert(manifest.digest.clone());
        }
        let ids = digests
            .iter()
            .map(|digest| ImageIdentifier::builder().image_digest(digest).build());
        let (images, failures) = batch_get(client, self.repository, ids.collect()).await?;
        if let Some(failure) = failures.iter().find(|failure| !is_not_found(failure)) {
            return Err(refused(self.repository, failure).into());
        }
        let mut found = BTreeMap::new();
        for image in images {
            let digest = image.image_id().and_then(|id| id.image_digest());
            let digest = digest.unwrap_or_default();
            found.insert(digest.to_owned(), parsed(self.repository, digest, &image)?);
        }
        match digests.iter().find(|digest| !found.contains_key(*digest)) {
            Some(missing) => Err(self.unusable(format!(
                "the repository does not have {missing}, which is the image for one of its platforms"
            ))),
            None => Ok(found),
        }
    }

    async fn config(
        &self,
        client: &Client,
        web: &Web,
        digest: &str,
        manifest: &Manifest,
    ) -> Result<ImageConfig, ImageFailure> {
        let layers = manifest.layers.as_deref().unwrap_or_default();
        let (Some(config), false) = (&manifest.config, layers.is_empty()) else {
            return Err(self.unusable(format!("{digest} has no layers that could be run")));
        };
        let bytes = self.download(client, web, &config.digest).await?;
        let config: Config = serde_json::from_slice(&bytes)
            .map_err(|error| self.unusable(format!("its configuration cannot be read: {error}")))?;
        let run = config.config.unwrap_or_default();
        let entry_point = run.entrypoint.unwrap_or_default();
        if entry_point.iter().map(String::len).sum::<usize>() > ENTRY_POINT_BYTES {
            return Err(self.unusable(format!(
                "its entry point has more than {ENTRY_POINT_BYTES} bytes"
            )));
        }
        let labels = run.labels.unwrap_or_default();
        let label = |name: &str| {
            let value = labels.get(name).map(|value| value.trim());
            let value = value.filter(|value| (1..=LABEL_BYTES).contains(&value.len()));
            let value = value.filter(|value| !value.contains(char::is_control));
            value.map(str::to_owned)
        };
        Ok(ImageConfig {
            platform: Platform {
                os: config.os,
                architecture: config.architecture,
            },
            entry_point,
            commit: label("org.opencontainers.image.revision"),
            source: label("org.opencontainers.image.source"),
            migrations: label("bluegreen.migrations"),
        })
    }

    async fn download(
        &self,
        client: &Client,
        web: &Web,
        blob: &str,
    ) -> Result<Vec<u8>, ImageFailure> {
        let action = "ecr:GetDownloadUrlForLayer";
        let answer = client
            .get_download_url_for_layer()
            .repository_name(self.repository)
            .layer_digest(blob)
            .send()
            .await
            .map_err(failed(action, self.repository));
        let url = match answer {
            Ok(answer) => answer.download_url.unwrap_or_default(),
            Err(failure) if failure.code == "LayersNotFoundException" => {
                return Err(self.unusable(format!(
                    "the repository does not have {blob}, which is its configuration"
                )));
            }
            Err(failure) => return Err(failure.into()),
        };
        let got = web.get(&url, CONFIG_BYTES, DOWNLOAD_TIMEOUT).await;
        got.map_err(|problem| {
            AwsRequestFailed {
                action,
                resource: format!("{}@{blob}", self.repository),
                code: "DownloadFailed".to_owned(),
                message: format!("what ECR gave an address of could not be got: {problem}"),
                refused: false,
            }
            .into()
        })
    }

    fn mismatch<'p>(
        &self,
        wanted: Option<&Platform>,
        built_for: impl Iterator<Item = &'p Platform>,
    ) -> ImageFailure {
        let built_for = built_for.filter(|platform| platform.os != "unknown");
        let built_for: BTreeSet<String> = built_for.map(Platform::to_string).collect();
        let built_for = match built_for.is_empty() {
            true => "no platform".to_owned(),
            false => Vec::from_iter(built_for).join(", "),
        };
        ImageFailure::PlatformMismatch {
            image: format!("{}@{}", self.repository, self.digest),
            built_for,
            wanted: wanted.map_or("any".to_owned(), Platform::to_string),
        }
    }

    fn unusable(&self, problem: String) -> ImageFailure {
        unusable(self.repository, &self.digest, problem)
    }
}

/// Those of the images that ECR does not have any more, or has put into its archive, from where nobody can
/// pull them (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive_restore_image.html>). What is
/// in no private repository of ECR is not among them.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn missing(client: &Client, images: &[String]) -> Result<Vec<String>, AwsRequestFailed> {
    let mut by_repository: BTreeMap<&str, Vec<(&String, ImageIdentifier)>> = BTreeMap::new();
    for image in images {
        if let Some(parsed) = EcrImage::parse(image) {
            let asked = by_repository.entry(parsed.repository).or_default();
            asked.push((image, id_of(&parsed)));
        }
    }
    let mut missing = Vec::new();
    for (repository, asked) in by_repository {
        for batch in asked.chunks(IMAGES) {
            let ids = batch.iter().map(|(_, id)| id.clone()).collect();
            let failures = match batch_get(client, repository, ids).await {
                Ok((_, failures)) => Some(failures),
                Err(failure) if failure.code == "RepositoryNotFoundException" => None,
                Err(failure) => return Err(failure),
            };
            let is_missing = |id: &ImageIdentifier| match &failures {
                Some(failures) => failures.iter().any(|it| is_out_of_reach(it, id)),
                None => true,
            };
            let lost = batch.iter().filter(|(_, id)| is_missing(id));
            missing.extend(lost.map(|(image, _)| (*image).clone()));
        }
    }
    Ok(missing)
}

/// What a task that starts would ask for.
fn id_of(image: &EcrImage<'_>) -> ImageIdentifier {
    let id = ImageIdentifier::builder();
    match image.digest {
        Some(digest) => id.image_digest(digest),
        None => id.image_tag(image.tag.unwrap_or("latest")),
    }
    .build()
}

/// Whether a failure says of this image that nobody can pull it.
fn is_out_of_reach(failure: &NotGot, id: &ImageIdentifier) -> bool {
    let code = failure.failure_code().map(|code| code.as_str());
    let is_lost = matches!(code, Some("ImageNotFound" | "ImageInaccessible"));
    let told = failure.image_id();
    is_lost
        && told.is_some_and(|told| match id.image_digest() {
            Some(digest) => told.image_digest() == Some(digest),
            None => told.image_tag() == id.image_tag(),
        })
}

/// The one for a platform, or for any.
pub fn of_platform<'a>(
    configs: &'a [ImageConfig],
    platform: Option<&Platform>,
) -> Option<&'a ImageConfig> {
    configs
        .iter()
        .find(|config| platform.is_none_or(|platform| *platform == config.platform))
}

/// The commit that the image was built from. All platforms of an image are built from one.
pub fn commit(configs: &[ImageConfig]) -> Option<String> {
    configs.first()?.commit.clone()
}

/// The fingerprint of the migrations in the image, which are the same for all its platforms.
pub fn migrations(configs: &[ImageConfig]) -> Option<String> {
    let first = configs.first()?.migrations.as_ref()?;
    let mut all = configs.iter().map(|config| config.migrations.as_ref());
    all.all(|other| other == Some(first))
        .then(|| first.to_owned())
}

/// Where a person reads that commit, or else the sources.
pub fn commit_url(configs: &[ImageConfig]) -> Option<String> {
    let ImageConfig { commit, source, .. } = configs.first()?;
    let source = source.as_deref()?.trim_end_matches('/');
    let source = source.trim_end_matches(".git");
    let (host, _) = source.strip_prefix("https://")?.split_once('/')?;
    let is_at = |name: &str| host.split('.').any(|label| label == name);
    let path = COMMITS.iter().find(|(forge, _)| is_at(forge));
    let hash = commit
        .as_deref()
        .filter(|commit| commit.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Some(match (path, hash) {
        (Some((_, path)), Some(hash)) => format!("{source}/{path}/{hash}"),
        _ => source.to_owned(),
    })
}

async fn batch_get(
    client: &Client,
    repository: &str,
    ids: Vec<ImageIdentifier>,
) -> Result<(Vec<Answered>, Vec<NotGot>), AwsRequestFailed> {
    let answer = client
        .batch_get_image()
        .repository_name(repository)
        .set_image_ids(Some(ids))
        .set_accepted_media_types(Some(MANIFESTS.map(str::to_owned).to_vec()))
        .send()
        .await
        .map_err(failed("ecr:BatchGetImage", repository))?;
    Ok((
        answer.images.unwrap_or_default(),
        answer.failures.unwrap_or_default(),
    ))
}

/// As a sentence calls it: its digest, or `with the tag …`.
fn name_of(id: &ImageIdentifier) -> String {
    match (id.image_digest(), id.image_tag()) {
        (Some(digest), _) => digest.to_owned(),
        (None, tag) => format!("with the tag {}", tag.unwrap_or_default()),
    }
}

fn is_not_found(failure: &NotGot) -> bool {
    failure
        .failure_code()
        .is_some_and(|code| code.as_str() == "ImageNotFound")
}

fn refused(repository: &str, failure: &NotGot) -> AwsRequestFailed {
    AwsRequestFailed {
        action: "ecr:BatchGetImage",
        resource: repository.to_owned(),
        code: failure
            .failure_code()
            .map_or("Unknown", |code| code.as_str())
            .to_owned(),
        message: failure
            .failure_reason()
            .unwrap_or("no reason given")
            .to_owned(),
        refused: true,
    }
}

fn parsed(repository: &str, digest: &str, image: &Answered) -> Result<Manifest, ImageFailure> {
    serde_json::from_str(image.image_manifest().unwrap_or_default()).map_err(|error| {
        unusable(
            repository,
            digest,
            format!("its manifest cannot be read: {error}"),
        )
    })
}

fn unusable(repository: &str, digest: &str, problem: String) -> ImageFailure {
    ImageFailure::Unusable {
        image: format!("{repository}@{digest}"),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecr::operation::batch_get_image::{BatchGetImageError, BatchGetImageOutput};
    use aws_sdk_ecr::types::ImageFailureCode;
    use aws_sdk_ecr::types::error::RepositoryNotFoundException;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    const REGISTRY: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

    fn images(names: &[&str]) -> Vec<String> {
        let images = names.iter().map(|name| format!("{REGISTRY}/{name}"));
        images.collect()
    }

    fn failure(code: ImageFailureCode, id: ImageIdentifier) -> NotGot {
        NotGot::builder().image_id(id).failure_code(code).build()
    }

    #[tokio::test]
    async fn images_that_were_deleted_or_archived_are_missing() {
        let web = mock!(Client::batch_get_image)
            .match_requests(|request| {
                request.repository_name() == Some("web") && request.image_ids().len() == 5
            })
            .then_output(|| {
                let digest = |digest| ImageIdentifier::builder().image_digest(digest).build();
                let tag = |tag| ImageIdentifier::builder().image_tag(tag).build();
                BatchGetImageOutput::builder()
                    .failures(failure(ImageFailureCode::ImageNotFound, digest("sha256:1")))
                    .failures(failure(ImageFailureCode::ImageInaccessible, tag("v2")))
                    .failures(failure(ImageFailureCode::ImageNotFound, tag("latest")))
                    .failures(failure(ImageFailureCode::KmsError, digest("sha256:3")))
                    .build()
            });
        let gone = mock!(Client::batch_get_image)
            .match_requests(|request| request.repository_name() == Some("gone"))
            .then_error(|| {
                let error = RepositoryNotFoundException::builder();
                let metadata = aws_sdk_ecr::error::ErrorMetadata::builder();
                let metadata = metadata.code("RepositoryNotFoundException").build();
                BatchGetImageError::RepositoryNotFoundException(error.meta(metadata).build())
            });
        let client = mock_client!(aws_sdk_ecr, RuleMode::MatchAny, &[&web, &gone]);
        let mut asked = images(&[
            "web:v1@sha256:1",
            "web:v2",
            "web",
            "web@sha256:3",
            "web@sha256:4",
            "gone:v1",
        ]);
        // Of another registry ECR knows nothing.
        asked.push("public.ecr.aws/nginx/nginx:1".to_owned());

        let missing = missing(&client, &asked).await.unwrap();

        assert_eq!(
            missing,
            images(&["gone:v1", "web:v1@sha256:1", "web:v2", "web"])
        );
    }

    #[tokio::test]
    async fn without_an_image_of_ecr_nobody_is_asked() {
        let client = mock_client!(aws_sdk_ecr, RuleMode::MatchAny, &[]);
        let none = missing(&client, &["nginx".to_owned()]).await.unwrap();
        assert_eq!(none, Vec::<String>::new());
    }
}
