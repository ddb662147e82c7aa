//! The repositories of the account and their images.

use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageDetail, TagStatus};
use aws_smithy_types::date_time::Format;
use bluegreen_ecr::{is_other_artifact, is_referrer};
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An event may take as long; until then an image is not looked for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A tagged image as it was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) digest: String,
    pub(crate) tags: Vec<String>,
    /// RFC 3339 in UTC, to the second.
    pub(crate) pushed_at: String,
}

/// Names of all repositories.
pub(crate) async fn repositories(client: &Client) -> Result<Vec<String>, AwsRequestFailed> {
    let mut names = Vec::new();
    let mut pages = client.describe_repositories().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed("ecr:DescribeRepositories", "all repositories"))?;
        let repositories = page.repositories().iter();
        names.extend(repositories.filter_map(|one| one.repository_name().map(str::to_owned)));
    }
    Ok(names)
}

/// The images of a repository that have a tag and are old enough that their event should have led
/// to a release by `now`, the newest first.
pub(crate) async fn tagged(
    client: &Client,
    repository: &str,
    now: SystemTime,
) -> Result<Vec<Image>, AwsRequestFailed> {
    let tagged = DescribeImagesFilter::builder()
        .tag_status(TagStatus::Tagged)
        .build();
    let mut pages = client
        .describe_images()
        .repository_name(repository)
        .filter(tagged)
        .into_paginator()
        .send();
    let due = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .saturating_sub(PATIENCE);
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed("ecr:DescribeImages", repository))?;
        found.extend(page.image_details().iter().filter_map(|one| read(one, due)));
    }
    found.sort_by_key(|(pushed, _): &(i64, Image)| std::cmp::Reverse(*pushed));
    Ok(found.into_iter().map(|(_, image)| image).collect())
}

fn read(detail: &ImageDetail, due: Duration) -> Option<(i64, Image)> {
    let pushed = detail.image_pushed_at()?;
    if pushed.secs() > i64::try_from(due.as_secs()).unwrap_or(i64::MAX) {
        return None;
    }
    if let (Some(manifest), Some(artifact)) = (
        detail.image_manifest_media_type(),
        detail.artifact_media_type(),
    ) && is_other_artifact(manifest, artifact)
    {
        return None;
    }
    let tags: Vec<String> = detail
        .image_tags()
        .iter()
        .filter(|tag| !is_referrer(tag))
        .cloned()
        .collect();
    let whole_seconds = aws_smithy_types::DateTime::from_secs(pushed.secs());
    let image = Image {
        digest: detail.image_digest()?.to_owned(),
        pushed_at: whole_seconds.fmt(Format::DateTime).ok()?,
        tags,
    };
    (!image.tags.is_empty()).then_some((pushed.secs(), image))
}
