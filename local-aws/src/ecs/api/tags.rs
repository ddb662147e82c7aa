//! Tags of clusters, task definitions, tasks and services.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::error::ApiError;
use crate::ecs::model::names::TaskDefinitionName;
use crate::ecs::model::state::State;
use crate::ecs::model::values::{Tag, parse, tags_to_json};

/// A resource has at most so many tags.
const MAX_TAGS: usize = 50;

/// Refuses tags that a new resource cannot have.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Tag.html>
pub(super) fn validate(tags: &[Tag]) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::invalid_parameter(message));
    if tags.len() > MAX_TAGS {
        return refuse(format!("A resource can have at most {MAX_TAGS} tags."));
    }
    for (position, tag) in tags.iter().enumerate() {
        let key = &tag.key;
        if !(1..=128).contains(&key.chars().count()) || tag.value.chars().count() > 256 {
            return refuse(format!(
                "The tag {key:?} is too long: a key has 1 to 128 characters, a value at most 256."
            ));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return refuse(format!(
                "The tag {key:?} is reserved for AWS: it starts with aws:."
            ));
        }
        if tags[..position].iter().any(|other| other.key == *key) {
            return refuse(format!("Duplicate tag keys found: {key} is given twice."));
        }
    }
    check_characters(tags)
}

/// Refuses tags with characters that no tag has.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html#tag-restrictions>
pub(super) fn check_characters(tags: &[Tag]) -> Result<(), ApiError> {
    let is_valid = |tag: &Tag| tag.key.chars().chain(tag.value.chars()).all(is_allowed);
    if tags.iter().all(is_valid) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter(
        "Some tags contain invalid characters. Valid characters: UTF-8 letters, spaces, numbers and \
         _ . / = + - : @.",
    ))
}

fn is_allowed(character: char) -> bool {
    character.is_alphanumeric() || " _.:/=+-@".contains(character)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TagResource {
    resource_arn: String,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntagResource {
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListTagsForResource {
    resource_arn: String,
}

impl State {
    fn tags_mut(&mut self, arn: &str) -> Option<&mut Vec<Tag>> {
        if arn.contains(":task-definition/") {
            let name = TaskDefinitionName::parse(arn)?;
            let revisions = self.families.get_mut(&name.family)?;
            let mut revisions = revisions.iter_mut();
            let found = revisions.find(|one| one.arn == arn)?;
            return Some(&mut Arc::make_mut(found).tags);
        }
        let clusters = self.clusters.values_mut();
        let services = self.services.values_mut();
        let tasks = self.tasks.values_mut();
        clusters
            .map(|cluster| (&cluster.arn, &mut cluster.tags))
            .chain(services.map(|service| (&service.arn, &mut service.tags)))
            .chain(tasks.map(|task| (&task.arn, &mut task.tags)))
            .find_map(|(known, tags)| (known == arn).then_some(tags))
    }

    fn taggable(&mut self, arn: &str) -> Result<&mut Vec<Tag>, ApiError> {
        if !arn.starts_with("arn:") {
            return Err(ApiError::invalid_parameter(format!(
                "{arn:?} is no ARN of a resource."
            )));
        }
        self.tags_mut(arn).ok_or_else(|| {
            ApiError::invalid_parameter(
                "The specified resource could not be found. Specify a valid resource and try again.",
            )
        })
    }
}

impl Ecs {
    pub(super) fn tag_resource(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: TagResource = parse(&request)?;
        let mut state = self.lock();
        let tags = state.taggable(&parsed.resource_arn)?;
        let mut changed = tags.clone();
        for tag in parsed.tags {
            match changed.iter_mut().find(|known| known.key == tag.key) {
                Some(known) => known.value = tag.value,
                None => changed.push(tag),
            }
        }
        check_characters(&changed)?;
        if changed.len() > MAX_TAGS {
            return Err(ApiError::invalid_parameter(format!(
                "A resource can have at most {MAX_TAGS} tags."
            )));
        }
        *tags = changed;
        Ok(json!({}))
    }

    pub(super) fn untag_resource(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: UntagResource = parse(&request)?;
        let mut state = self.lock();
        let tags = state.taggable(&parsed.resource_arn)?;
        tags.retain(|tag| !parsed.tag_keys.contains(&tag.key));
        Ok(json!({}))
    }

    pub(super) fn list_tags_for_resource(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: ListTagsForResource = parse(&request)?;
        let mut state = self.lock();
        let tags = state.taggable(&parsed.resource_arn)?;
        Ok(json!({"tags": tags_to_json(tags)}))
    }
}
