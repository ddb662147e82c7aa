//! From a revision of a task definition to the next one, with the image of a release pinned.
//!
//! A release changes one thing in a task definition: the image of the containers that come from its
//! repository. Everything else goes into the new revision as it was, whether the SDK knows it or not.
//!
//! Whoever names a family alone runs its latest active revision. What has not migrated yet, and what was
//! not deployed after all, is therefore never that: a one-off task has a family of its own, and revisions
//! of a release that failed or was rolled back are deregistered.

use crate::registration::{AsItCame, Registration};
use crate::tag;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionOutput;
use aws_sdk_ecs::types::{NetworkMode, Tag, TaskDefinition, TaskDefinitionField};
use bluegreen_contract::{Purpose, TaskSize};
use bluegreen_ecr::EcrImage;
use bluegreen_runtime::{AwsRequestFailed, failed};
use serde_json::Value;
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
    /// The same as it came, with what the SDK does not know.
    answer: Vec<u8>,
}

/// Asks ECS for a revision, or for the latest active one where `task_definition` is a family.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn describe_task_definition(
    client: &Client,
    task_definition: &str,
) -> Result<Described, AwsRequestFailed> {
    let answer = AsItCame::default();
    let DescribeTaskDefinitionOutput {
        task_definition: described,
        tags,
        ..
    } = client
        .describe_task_definition()
        .task_definition(task_definition)
        .include(TaskDefinitionField::Tags)
        .customize()
        .interceptor(answer.clone())
        .send()
        .await
        .map_err(failed("ecs:DescribeTaskDefinition", task_definition))?;
    Ok(Described {
        task_definition: described
            .ok_or_else(|| without_answer("ecs:DescribeTaskDefinition", task_definition))?,
        tags: tags.unwrap_or_default(),
        answer: answer.take(),
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
    fn pinned(&self, image: &str, marks: Marks<'_>) -> Result<Registration, AwsRequestFailed> {
        let repository = EcrImage::parse(image);
        let mut next = self.registration(marked(self.tags.clone(), marks))?;
        for container in next.containers() {
            let candidate = container.get("image").and_then(Value::as_str);
            if candidate.is_some_and(|candidate| comes_from(candidate, repository)) {
                container.insert("image".to_owned(), image.into());
            }
        }
        Ok(next)
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
    ) -> Result<Registration, AwsRequestFailed> {
        let mut next = self.pinned(image, marks)?;
        let has_own_network = self.task_definition.network_mode() == Some(&NetworkMode::Awsvpc);
        for container in next.containers() {
            // The ports of the instances are the service's, and nobody asks the one-off task for anything: it
            // would find no instance with room for it (<https://github.com/aws/containers-roadmap/issues/1081>).
            if !has_own_network {
                container.remove("portMappings");
            }
            let name = container.get("name").and_then(Value::as_str);
            let is_it = name == Some(one_off.container);
            container.insert("essential".to_owned(), is_it.into());
            if is_it {
                container.remove("restartPolicy");
                // What the task has is the container's: a share of its own would keep it to the service's.
                if one_off.size.cpu.is_some() {
                    container.insert("cpu".to_owned(), 0.into());
                }
                if one_off.size.memory.is_some() {
                    container.remove("memory");
                    container.remove("memoryReservation");
                }
            }
        }
        if let Some(units) = one_off.size.cpu {
            next.set("cpu", units.to_string());
        }
        if let Some(mib) = one_off.size.memory {
            next.set("memory", mib.to_string());
        }
        next.set("family", one_off_family(self.family(), one_off.purpose));
        Ok(next)
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

    /// The request that registers this very revision once more, with these tags of it.
    fn registration(&self, mut tags: Vec<Tag>) -> Result<Registration, AwsRequestFailed> {
        tags.retain(|tag| !is_reserved(tag.key().unwrap_or_default()));
        tags.sort_by(|a, b| a.key().cmp(&b.key()));
        Registration::of(&self.answer, &tags)
            .ok_or_else(|| without_answer("ecs:DescribeTaskDefinition", self.arn()))
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
        let arn = register(client, revision.pinned(image, marks)?, latest).await?;
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
        let tags = marked(self.revision.tags.clone(), marks);
        let again = self.revision.registration(tags)?;
        register(client, again, self.latest.as_ref()).await
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
        let wanted = self.one_off(one_off, image, marks)?;
        let arn = register(client, wanted, latest.as_ref()).await?;
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
        Purpose::Contract => "-bluegreen-contract",
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
        for purpose in [Purpose::Migration, Purpose::PostDeploy, Purpose::Contract] {
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
    wanted: Registration,
    latest: Option<&Described>,
) -> Result<String, AwsRequestFailed> {
    if let Some(latest) = latest
        && latest.registration(latest.tags.clone())? == wanted
    {
        return Ok(latest.arn().to_owned());
    }
    let family = wanted.family().to_owned();
    let registered = client
        .register_task_definition()
        .family(&family)
        .customize()
        .interceptor(wanted)
        .send()
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
#[path = "task_definition_tests.rs"]
mod tests;
