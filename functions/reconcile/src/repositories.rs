//! The repositories that name stacks.

use aws_sdk_resourcegroupstagging::Client;
use aws_sdk_resourcegroupstagging::types::{ResourceTagMapping, TagFilter};
use bluegreen_contract::{STACKS_TAG, stacks_named_by};
use bluegreen_runtime::{AwsRequestFailed, failed};

/// As many as one answer may have
/// (<https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>).
const PAGE: i32 = 100;

/// A repository and the stacks that its tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    pub(crate) name: String,
    pub(crate) stacks: Vec<String>,
}

/// All repositories with the tag, in the order of their names. The others of the account, of which there may
/// be thousands, are not asked for it one by one.
pub(crate) async fn linked(client: &Client) -> Result<Vec<Repository>, AwsRequestFailed> {
    let tag = TagFilter::builder().key(STACKS_TAG).build();
    let mut pages = client
        .get_resources()
        .resource_type_filters("ecr:repository")
        .tag_filters(tag)
        .resources_per_page(PAGE)
        .into_paginator()
        .send();
    let mut linked = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed("tag:GetResources", "all repositories"))?;
        linked.extend(page.resource_tag_mapping_list().iter().filter_map(read));
    }
    linked.sort_by(|one: &Repository, other| one.name.cmp(&other.name));
    Ok(linked)
}

/// `None` where it names no stack.
fn read(resource: &ResourceTagMapping) -> Option<Repository> {
    let (_, name) = resource.resource_arn()?.split_once(":repository/")?;
    let tags = resource.tags().iter();
    let stacks: Vec<String> = tags
        .filter(|tag| tag.key() == STACKS_TAG)
        .flat_map(|tag| stacks_named_by(tag.value()))
        .map(str::to_owned)
        .collect();
    (!stacks.is_empty()).then(|| Repository {
        name: name.to_owned(),
        stacks,
    })
}
