//! From a revision of a task definition to the next one, with the image of a release pinned.
//!
//! A release changes one thing in a task definition: the image of the containers that come from its
//! repository. Everything else that the SDK knows of a task definition goes into the new revision
//! as it was.
//!
//! Whoever names a family alone runs its latest active revision. What has not migrated yet, and what was
//! not deployed after all, is therefore never that: a one-off task has a family of its own, and revisions
//! of a release that failed or was rolled back are deregistered.

use crate::tag;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionOutput;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionInput;
use aws_sdk_ecs::operation::register_task_definition::builders::RegisterTaskDefinitionInputBuilder;
use aws_sdk_ecs::types::{Tag, TaskDefinition, TaskDefinitionField};
use bluegreen_contract::{Purpose, TaskSize};
use bluegreen_ecr::EcrImage;
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::collections::{BTreeMap, BTreeSet};

/// Tag of a revision: the stack that it was registered for.
pub const STACK_TAG: &str = "bluegreen:stack";
/// Tag of a revision: the ARN of the execution that registered it.
pub const EXECUTION_TAG: &str = "bluegreen:execution";

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html>
const LONGEST_FAMILY: usize = 255;

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

    /// The request that registers what a one-off task runs: this revision in a family of its own, with
    /// the image pinned.
    ///
    /// The task ends when its container has ended, and not before, and what ended is not run again: that
    /// container alone is essential, and it is never restarted, whatever it is in the service
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerRestartPolicy.html>).
    /// Another one that ended first would have it told to end, and many a program exits 0 then.
    fn one_off(
        &self,
        one_off: OneOff<'_>,
        image: &str,
        marks: Marks<'_>,
    ) -> RegisterTaskDefinitionInputBuilder {
        let mut next = self.clone();
        let containers = next.task_definition.container_definitions.iter_mut();
        for container in containers.flatten() {
            let is_it = container.name() == Some(one_off.container);
            container.essential = Some(is_it);
            if is_it {
                container.restart_policy = None;
                // What the task has is the container's: a share of its own would keep it to the service's.
                if one_off.size.cpu.is_some() {
                    container.cpu = 0;
                }
                if one_off.size.memory.is_some() {
                    (container.memory, container.memory_reservation) = (None, None);
                }
            }
        }
        let task = &mut next.task_definition;
        task.cpu = one_off
            .size
            .cpu
            .map(|units| units.to_string())
            .or(task.cpu.take());
        task.memory = one_off
            .size
            .memory
            .map(|mib| mib.to_string())
            .or(task.memory.take());
        let family = one_off_family(self.family(), one_off.purpose);
        next.pinned(image, marks).family(family)
    }

    fn family(&self) -> &str {
        self.task_definition.family().unwrap_or_default()
    }

    /// Whether a release of the stack registered it.
    fn is_of(&self, stack: &str) -> bool {
        let value = |key: &str| self.tags.iter().find(|tag| tag.key() == Some(key));
        let of_stack = value(STACK_TAG).and_then(Tag::value);
        of_stack == tag(STACK_TAG, stack).value() && value(EXECUTION_TAG).is_some()
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
        revision.check_pinnable(image)?;
        let latest = latest.as_ref().filter(|_| marks.execution.is_some());
        let arn = register(client, revision.pinned(image, marks), latest).await?;
        Ok(arn)
    }

    /// Registers once more what the revision runs, since no service can be given one that was deregistered,
    /// and returns its ARN. A retried call finds the revision of its first try.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn register_again(
        &self,
        client: &Client,
        marks: Marks<'_>,
    ) -> Result<String, AwsRequestFailed> {
        let mut again = self.revision.clone();
        again.tags = marked(again.tags, marks);
        register(client, again.registration(), self.latest.as_ref()).await
    }
}

/// Whether ECS refused a revision because it was deregistered, as CloudFormation does with each that it
/// replaces (<https://github.com/aws/aws-cdk/issues/24372>).
#[must_use]
pub fn is_deregistered(failure: &AwsRequestFailed) -> bool {
    failure.code == "ClientException" && failure.message.contains("inactive")
}

impl Described {
    /// Registers what a one-off task runs, and returns its ARN. A call that is made `again` looks for the
    /// revision of its first try.
    ///
    /// # Errors
    /// [`RegisterFailure`].
    pub async fn register_one_off(
        &self,
        client: &Client,
        one_off: OneOff<'_>,
        image: &str,
        marks: Marks<'_>,
        again: bool,
    ) -> Result<String, RegisterFailure> {
        self.check_pinnable(image)?;
        let latest = match again {
            true => latest(client, &one_off_family(self.family(), one_off.purpose)).await?,
            false => None,
        };
        let arn = register(client, self.one_off(one_off, image, marks), latest.as_ref()).await?;
        Ok(arn)
    }

    fn check_pinnable(&self, image: &str) -> Result<(), RegisterFailure> {
        match of_repository(image, self.images()).next() {
            Some(_) => Ok(()),
            None => Err(RegisterFailure::NothingToPin {
                task_definition: self.arn().to_owned(),
                image: image.to_owned(),
            }),
        }
    }
}

/// A container that runs once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneOff<'a> {
    pub purpose: Purpose,
    /// Its name.
    pub container: &'a str,
    /// Of the task, where it is another one than the service's tasks have.
    pub size: TaskSize,
}

/// The family of a purpose's revisions beside a service's family.
fn one_off_family(family: &str, purpose: Purpose) -> String {
    let suffix = match purpose {
        Purpose::Migration => "-bluegreen-migration",
        Purpose::PostDeploy => "-bluegreen-post-deploy",
    };
    let length = family.len().min(LONGEST_FAMILY - suffix.len());
    format!("{}{suffix}", &family[..length])
}

/// Deregisters what releases of the stack have registered beyond what may run: of the families of these
/// services and of their one-off tasks the latest revisions, down to one that is `in_service` or runs an
/// image that is, or that no release registered. Returns their ARNs.
///
/// Tasks that run a revision go on when it is deregistered
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deregister-task-definition-v2.html>).
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn deregister_unserved(
    client: &Client,
    stack: &str,
    in_service: &BTreeSet<String>,
) -> Result<Vec<String>, AwsRequestFailed> {
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for revision in in_service {
        let described = describe_task_definition(client, revision).await?;
        let images = described.images().map(str::to_owned);
        let family = described.family().to_owned();
        families.entry(family).or_default().extend(images);
    }
    let mut gone = Vec::new();
    for (family, images) in &families {
        let serves = |latest: &Described| in_service.contains(latest.arn());
        deregister_down_to(client, stack, family, serves, &mut gone).await?;
        for purpose in [Purpose::Migration, Purpose::PostDeploy] {
            let serves = |latest: &Described| latest.images().all(|image| images.contains(image));
            let family = one_off_family(family, purpose);
            deregister_down_to(client, stack, &family, serves, &mut gone).await?;
        }
    }
    Ok(gone)
}

async fn deregister_down_to(
    client: &Client,
    stack: &str,
    family: &str,
    serves: impl Fn(&Described) -> bool,
    gone: &mut Vec<String>,
) -> Result<(), AwsRequestFailed> {
    while let Some(latest) = latest(client, family).await? {
        // What was deregistered may be described as active for a moment.
        if serves(&latest) || !latest.is_of(stack) || gone.iter().any(|arn| arn == latest.arn()) {
            break;
        }
        client
            .deregister_task_definition()
            .task_definition(latest.arn())
            .send()
            .await
            .map_err(failed("ecs:DeregisterTaskDefinition", latest.arn()))?;
        tracing::info!(revision = latest.arn(), "the revision is deregistered");
        gone.push(latest.arn().to_owned());
    }
    Ok(())
}

/// Registers what is `wanted` unless `latest` is the very same; returns its ARN.
async fn register(
    client: &Client,
    wanted: RegisterTaskDefinitionInputBuilder,
    latest: Option<&Described>,
) -> Result<String, AwsRequestFailed> {
    if let Some(latest) = latest.filter(|latest| latest.registration() == wanted) {
        return Ok(latest.arn().to_owned());
    }
    let family = wanted.get_family().clone().unwrap_or_default();
    let registered = wanted
        .send_with(client)
        .await
        .map_err(failed("ecs:RegisterTaskDefinition", &family))?;
    registered
        .task_definition()
        .and_then(TaskDefinition::task_definition_arn)
        .map(str::to_owned)
        .ok_or_else(|| without_answer("ecs:RegisterTaskDefinition", &family))
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
