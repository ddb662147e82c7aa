//! From a revision of a task definition to the next one, with the image of a release pinned.
//!
//! A release changes one thing in a task definition: the image of the containers that come from its
//! repository. Everything else that the SDK knows of a task definition goes into the new revision
//! as it was.

use crate::tag;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionOutput;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionInput;
use aws_sdk_ecs::operation::register_task_definition::builders::RegisterTaskDefinitionInputBuilder;
use aws_sdk_ecs::types::{Tag, TaskDefinition, TaskDefinitionField};
use bluegreen_ecr::EcrImage;
use bluegreen_runtime::{AwsRequestFailed, failed};

/// Tag of a revision: the stack that it was registered for.
pub const STACK_TAG: &str = "bluegreen:stack";
/// Tag of a revision: the ARN of the execution that registered it.
pub const EXECUTION_TAG: &str = "bluegreen:execution";

/// Who registers a revision; it goes into the revision's tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks<'a> {
    pub stack: &'a str,
    /// ARN of the execution.
    pub execution: Option<&'a str>,
}

/// Why there is no new revision.
#[derive(Debug, thiserror::Error)]
pub enum RegisterFailure {
    #[error("no container of {task_definition} has an image of the repository of {image}")]
    NothingToPin {
        task_definition: String,
        image: String,
    },
    #[error(transparent)]
    Request(#[from] AwsRequestFailed),
}

/// A revision and its tags, as ECS describes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    pub task_definition: TaskDefinition,
    pub tags: Vec<Tag>,
}

/// Asks ECS for a revision, or for the latest active one where `task_definition` is a family.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn describe_task_definition(
    client: &Client,
    task_definition: &str,
) -> Result<Described, AwsRequestFailed> {
    let DescribeTaskDefinitionOutput {
        task_definition: described,
        tags,
        ..
    } = client
        .describe_task_definition()
        .task_definition(task_definition)
        .include(TaskDefinitionField::Tags)
        .send()
        .await
        .map_err(failed("ecs:DescribeTaskDefinition", task_definition))?;
    Ok(Described {
        task_definition: described
            .ok_or_else(|| without_answer("ecs:DescribeTaskDefinition", task_definition))?,
        tags: tags.unwrap_or_default(),
    })
}

/// A revision, and what its family has come to since.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub revision: Described,
    /// The latest active revision, where that is another one.
    latest: Option<Described>,
}

impl Described {
    /// ARN of the revision.
    pub fn arn(&self) -> &str {
        self.task_definition
            .task_definition_arn()
            .unwrap_or_default()
    }

    /// Whether its containers are [`pinned_to`] the image.
    pub fn is_pinned_to(&self, image: &str) -> bool {
        pinned_to(image, self.images())
    }

    fn images(&self) -> impl Iterator<Item = &str> {
        let containers = self.task_definition.container_definitions().iter();
        containers.filter_map(|container| container.image())
    }

    /// The request that registers this revision with the image pinned.
    fn pinned(&self, image: &str, marks: Marks<'_>) -> RegisterTaskDefinitionInputBuilder {
        let repository = EcrImage::parse(image);
        let mut next = self.clone();
        for container in next
            .task_definition
            .container_definitions
            .iter_mut()
            .flatten()
        {
            if container
                .image()
                .is_some_and(|candidate| comes_from(candidate, repository))
            {
                container.image = Some(image.to_owned());
            }
        }
        next.tags = marked(next.tags, marks);
        next.registration()
    }

    /// The request that registers this very revision once more.
    ///
    /// What ECS adds when it registers (ARN, revision, status, the attributes it requires,
    /// who and when) is not part of a request.
    #[expect(
        deprecated,
        reason = "old revisions may still have inference accelerators"
    )]
    fn registration(&self) -> RegisterTaskDefinitionInputBuilder {
        let TaskDefinition {
            family,
            task_role_arn,
            execution_role_arn,
            network_mode,
            container_definitions,
            volumes,
            placement_constraints,
            requires_compatibilities,
            cpu,
            memory,
            pid_mode,
            ipc_mode,
            proxy_configuration,
            inference_accelerators,
            ephemeral_storage,
            runtime_platform,
            enable_fault_injection,
            ..
        } = self.task_definition.clone();
        let mut tags: Vec<Tag> = self
            .tags
            .iter()
            .filter(|tag| !tag.key().is_some_and(is_reserved))
            .cloned()
            .collect();
        tags.sort_by(|a, b| a.key().cmp(&b.key()));
        RegisterTaskDefinitionInput::builder()
            .set_family(family)
            .set_task_role_arn(task_role_arn)
            .set_execution_role_arn(execution_role_arn)
            .set_network_mode(network_mode)
            .set_container_definitions(container_definitions)
            .set_volumes(volumes)
            .set_placement_constraints(placement_constraints)
            .set_requires_compatibilities(requires_compatibilities)
            .set_cpu(cpu)
            .set_memory(memory)
            .set_pid_mode(pid_mode)
            .set_ipc_mode(ipc_mode)
            .set_proxy_configuration(proxy_configuration)
            .set_inference_accelerators(inference_accelerators)
            .set_ephemeral_storage(ephemeral_storage)
            .set_runtime_platform(runtime_platform)
            .set_enable_fault_injection(enable_fault_injection)
            // ECS refuses an empty list of tags.
            .set_tags((!tags.is_empty()).then_some(tags))
    }
}

impl Family {
    /// Asks ECS for a revision by its ARN, and for the latest of its family: mostly they are the
    /// same, and then it is one call.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn of(client: &Client, revision: &str) -> Result<Self, AwsRequestFailed> {
        match latest(client, family_of(revision)).await? {
            Some(latest) if latest.arn() == revision => Ok(Self {
                revision: latest,
                latest: None,
            }),
            latest => Ok(Self {
                revision: describe_task_definition(client, revision).await?,
                latest,
            }),
        }
    }

    /// Registers the revision that differs from this one in the image and in the marks alone, and
    /// returns its ARN.
    ///
    /// A retried call must not leave a revision at each try: where the family's latest revision is
    /// the very one that this execution would register, that is the answer. Without an execution
    /// in `marks` every call registers.
    ///
    /// # Errors
    /// [`RegisterFailure`].
    pub async fn register_pinned(
        &self,
        client: &Client,
        image: &str,
        marks: Marks<'_>,
    ) -> Result<String, RegisterFailure> {
        let Self { revision, latest } = self;
        if of_repository(image, revision.images()).next().is_none() {
            return Err(RegisterFailure::NothingToPin {
                task_definition: revision.arn().to_owned(),
                image: image.to_owned(),
            });
        }
        let wanted = revision.pinned(image, marks);
        if marks.execution.is_some()
            && let Some(latest) = latest
            && latest.registration() == wanted
        {
            return Ok(latest.arn().to_owned());
        }
        let family = revision.task_definition.family().unwrap_or_default();
        let registered = wanted
            .send_with(client)
            .await
            .map_err(failed("ecs:RegisterTaskDefinition", family))?;
        registered
            .task_definition()
            .and_then(TaskDefinition::task_definition_arn)
            .map(str::to_owned)
            .ok_or_else(|| without_answer("ecs:RegisterTaskDefinition", family).into())
    }
}

/// The family in a revision's ARN, `arn:…:task-definition/family:7`.
fn family_of(revision: &str) -> &str {
    let name = revision.rsplit('/').next().unwrap_or_default();
    name.rsplit_once(':').map_or(name, |(family, _)| family)
}

/// Whether every one of the images that is of this one's repository is this one, and there is one.
pub fn pinned_to<'a>(image: &'a str, images: impl Iterator<Item = &'a str>) -> bool {
    let mut images = of_repository(image, images).peekable();
    images.peek().is_some() && images.all(|pinned| pinned == image)
}

fn of_repository<'a>(
    image: &'a str,
    images: impl Iterator<Item = &'a str>,
) -> impl Iterator<Item = &'a str> {
    let repository = EcrImage::parse(image);
    images.filter(move |candidate| comes_from(candidate, repository))
}

fn comes_from(candidate: &str, repository: Option<EcrImage<'_>>) -> bool {
    match (EcrImage::parse(candidate), repository) {
        (Some(candidate), Some(repository)) => candidate.is_same_repository(&repository),
        _ => false,
    }
}

/// The family's latest active revision; `None` where all are deregistered.
async fn latest(client: &Client, family: &str) -> Result<Option<Described>, AwsRequestFailed> {
    match describe_task_definition(client, family).await {
        Ok(latest) => Ok(Some(latest)),
        Err(failure) if failure.code == "ClientException" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The tags of a revision with its marks in place of those of the revision before.
fn marked(mut tags: Vec<Tag>, marks: Marks<'_>) -> Vec<Tag> {
    tags.retain(|tag| !matches!(tag.key(), Some(STACK_TAG | EXECUTION_TAG)));
    tags.push(tag(STACK_TAG, marks.stack));
    tags.extend(marks.execution.map(|arn| tag(EXECUTION_TAG, arn)));
    tags
}

/// CloudFormation tags what it makes with `aws:…`; no request may carry such a tag
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Tag.html>).
fn is_reserved(key: &str) -> bool {
    key.get(..4)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"))
}

fn without_answer(action: &'static str, resource: &str) -> AwsRequestFailed {
    AwsRequestFailed {
        action,
        resource: resource.to_owned(),
        code: "InvalidResponse".to_owned(),
        message: "the answer holds no task definition".to_owned(),
        refused: false,
    }
}

#[cfg(test)]
#[expect(
    deprecated,
    reason = "a complete task definition has inference accelerators"
)]
#[path = "task_definition_tests.rs"]
mod tests;
