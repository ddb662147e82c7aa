//! The images of a repository.

use crate::budget::Budget;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageDetail, TagStatus};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bluegreen_ecr::{is_other_artifact, is_referrer};
use bluegreen_runtime::{AwsRequestFailed, failed};

/// As many as one answer may have; ECR gives a hundred otherwise
/// (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>).
const PAGE: i32 = 1000;

/// A tagged image as it came into the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) digest: String,
    pub(crate) tags: Vec<String>,
    /// RFC 3339 in UTC, to the second. Of a tag that was given to the image later it is the time after
    /// which that was.
    pub(crate) pushed_at: String,
}

/// The images of a repository that have a tag, the newest first; `None` where there was no time to read all
/// of them: ECR gives them in no order, so that the newest may be the last.
pub(crate) async fn tagged(
    client: &Client,
    repository: &str,
    budget: &Budget<'_>,
) -> Result<Option<Vec<Image>>, AwsRequestFailed> {
    let tagged = DescribeImagesFilter::builder()
        .tag_status(TagStatus::Tagged)
        .build();
    let mut pages = client
        .describe_images()
        .repository_name(repository)
        .filter(tagged)
        .max_results(PAGE)
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed("ecr:DescribeImages", repository))?;
        found.extend(page.image_details().iter().filter_map(read));
        if page.next_token().is_some() && budget.is_over() {
            return Ok(None);
        }
    }
    sort(&mut found);
    Ok(Some(found))
}

/// The newest first.
pub(crate) fn sort(images: &mut [Image]) {
    images.sort_by(|one, other| other.pushed_at.cmp(&one.pushed_at));
}

fn read(detail: &ImageDetail) -> Option<Image> {
    let pushed = detail.image_pushed_at()?;
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
    let image = Image {
        digest: detail.image_digest()?.to_owned(),
        pushed_at: whole_seconds(pushed.secs())?,
        tags,
    };
    (!image.tags.is_empty()).then_some(image)
}

/// So many seconds before a time, RFC 3339.
pub(crate) fn before(time: &str, seconds: i64) -> String {
    let time = DateTime::from_str(time, Format::DateTime).map(|time| time.secs() - seconds);
    time.ok().and_then(whole_seconds).unwrap_or_default()
}

/// A time in seconds since 1970 as RFC 3339 in UTC.
pub(crate) fn whole_seconds(seconds: i64) -> Option<String> {
    let time = DateTime::from_secs(seconds);
    time.fmt(Format::DateTime).ok()
}
