//! Many stacks with one small service each: how they are made, how all of them get another version at
//! once, and how their releases end.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_sdk_cloudformation::client::Waiters;
use aws_sdk_ecr::types::Tag;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use end_to_end::account::Account;
use end_to_end::execution::Execution;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use local_aws::client::{ACCOUNT, REGION};
use sample::image::{self, Image};
use serde_json::{Value, json};

use crate::report::End;

/// What a tag of an ECR repository can hold:
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html>.
const TAG_LENGTH: usize = 256;
const STACKS_TAG: &str = "bluegreen:stacks";
/// Stacks are made so many at a time, and executions described.
const AT_A_TIME: usize = 16;
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const TELL_AGAIN: Duration = Duration::from_secs(20);
/// While nothing runs a release may still begin so much later: Lambda repeats what failed.
const QUIET: Duration = Duration::from_secs(120);
const STACK_PATIENCE: Duration = Duration::from_secs(300);
/// What the tasks of a service run: next to nothing, for longer than anybody looks.
const FOR_EVER: &str = "1000000";

/// How ECS replaces the task of a stack's service.
pub(crate) enum Deployment {
    Rolling,
    /// With a bake time in minutes of AWS.
    BlueGreen(u32),
}

impl Deployment {
    /// One that bakes for at least so much real time.
    pub(crate) fn baking(time: Duration, speed: f64) -> Self {
        Self::BlueGreen((time.as_secs_f64() * speed / 60.0).ceil() as u32)
    }

    fn configuration(&self) -> Value {
        match self {
            Self::Rolling => json!({"Strategy": "ROLLING"}),
            Self::BlueGreen(minutes) => {
                json!({"Strategy": "BLUE_GREEN", "BakeTimeInMinutes": minutes})
            }
        }
    }
}

/// So many names that are words, of which none is in another.
pub(crate) fn names(prefix: &str, count: usize) -> Vec<String> {
    let numbers = 1..=count;
    numbers
        .map(|number| format!("{prefix}{number:03}"))
        .collect()
}

/// Stacks that exist.
pub(crate) struct Fleet<'a> {
    account: &'a Account,
    repositories: Vec<Repository>,
}

struct Repository {
    name: String,
    stacks: Vec<String>,
}

impl<'a> Fleet<'a> {
    /// Makes the stacks, and as many repositories as it takes to name them all. The migration of each
    /// stack lasts so long.
    ///
    /// # Errors
    /// Something could not be created.
    pub(crate) async fn create(
        account: &'a Account,
        name: &str,
        stacks: Vec<String>,
        deployment: &Deployment,
        migration: Duration,
    ) -> Result<Self> {
        let repositories: Vec<_> = in_tags(stacks)
            .into_iter()
            .enumerate()
            .map(|(number, stacks)| Repository {
                name: format!("{name}-{number}"),
                stacks,
            })
            .collect();
        let first = version(1)?;
        for repository in &repositories {
            repository.create(account, &first).await?;
        }
        let stacks = repositories.iter().flat_map(|repository| {
            let template = template(&repository.name, deployment, migration).to_string();
            let stacks = repository.stacks.iter();
            stacks.map(move |stack| create_stack(account, stack, template.clone()))
        });
        at_a_time(stacks).await?;
        Ok(Self {
            account,
            repositories,
        })
    }

    /// The names of all stacks.
    pub(crate) fn stacks(&self) -> Vec<String> {
        let repositories = self.repositories.iter();
        repositories.flat_map(|it| it.stacks.clone()).collect()
    }

    pub(crate) fn repositories(&self) -> usize {
        self.repositories.len()
    }

    /// Pushes another version to all repositories at the same moment, and answers the moment.
    pub(crate) async fn push(&self) -> Result<Timestamp> {
        let image = version(2)?;
        image::upload(self.account.aws(), &image).await?;
        let pushed = Timestamp::now();
        let pushes = self.repositories.iter().map(|repository| {
            image::push_manifest(self.account.config(), &repository.name, Some("v2"), &image)
        });
        futures_util::future::try_join_all(pushes).await?;
        Ok(pushed)
    }

    /// Waits until a release of every stack that began since then has ended, and answers the ends by
    /// stack: after `patience` those that there are, and a while after the last one where some never
    /// begin.
    pub(crate) async fn ends(
        &self,
        since: Timestamp,
        patience: Duration,
    ) -> Result<BTreeMap<String, End>> {
        let stacks = self.repositories.iter().map(|it| it.stacks.len()).sum();
        let began = Instant::now();
        let mut tell = TELL_AGAIN;
        let mut quiet_since = None;
        loop {
            let all = self.executions(since).await?;
            let running = |one: &&ExecutionListItem| *one.status() == ExecutionStatus::Running;
            let running = all.iter().filter(running).count();
            let (ended, took) = (all.len() - running, began.elapsed());
            if took >= tell {
                eprintln!("{ended} of {stacks} have ended, {running} run");
                tell += TELL_AGAIN;
            }
            let quiet = (running == 0).then(|| quiet_since.unwrap_or(took));
            let is_quiet = quiet.is_some_and(|quiet| took - quiet > QUIET);
            if ended >= stacks || is_quiet || took > patience {
                return self.described(&all, since).await;
            }
            quiet_since = quiet;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn executions(&self, since: Timestamp) -> Result<Vec<ExecutionListItem>> {
        let since = since.as_millisecond() as f64 / 1e3;
        let executions = aws_sdk_sfn::Client::new(self.account.config())
            .list_executions()
            .state_machine_arn(self.account.state_machine())
            .into_paginator()
            .items()
            .send();
        let mut executions: Vec<_> = executions.try_collect().await?;
        executions.retain(|one| one.start_date().as_secs_f64() >= since);
        Ok(executions)
    }

    async fn described(
        &self,
        executions: &[ExecutionListItem],
        since: Timestamp,
    ) -> Result<BTreeMap<String, End>> {
        let described = executions.iter().map(|one| async move {
            let execution = Execution::new(self.account.config(), one.execution_arn());
            let input = execution.input().await?;
            let stack = input["stack"].as_str().context("an input names no stack")?;
            let end = match execution.ended().await? {
                None => End::Running,
                Some(end) if end.output["verdict"] == "succeeded" => End::Succeeded {
                    seconds: end.at.duration_since(since).as_secs_f64(),
                },
                Some(end) => End::Failed(format!("{end:?}")),
            };
            Ok((stack.to_owned(), end))
        });
        Ok(at_a_time(described).await?.into_iter().collect())
    }
}

impl Repository {
    async fn create(&self, account: &Account, first: &Image) -> Result<()> {
        let stacks = Tag::builder()
            .key(STACKS_TAG)
            .value(self.stacks.join(" "))
            .build()?;
        aws_sdk_ecr::Client::new(account.config())
            .create_repository()
            .repository_name(&self.name)
            .tags(stacks)
            .send()
            .await?;
        image::push(
            account.aws(),
            account.config(),
            &self.name,
            Some("v1"),
            first,
        )
        .await?;
        Ok(())
    }
}

/// The names, in order, in as many parts as there have to be for a tag to hold each.
fn in_tags(names: Vec<String>) -> Vec<Vec<String>> {
    let mut parts: Vec<Vec<String>> = Vec::new();
    let mut length = TAG_LENGTH;
    for name in names {
        // With a space before it.
        length += 1 + name.len();
        match parts.last_mut() {
            Some(part) if length <= TAG_LENGTH => part.push(name),
            _ => {
                length = name.len();
                parts.push(vec![name]);
            }
        }
    }
    parts
}

async fn create_stack(account: &Account, stack: &str, template: String) -> Result<()> {
    let cloudformation = aws_sdk_cloudformation::Client::new(account.config());
    let create = cloudformation.create_stack().stack_name(stack);
    create.template_body(template).send().await?;
    let created = cloudformation.wait_until_stack_create_complete();
    let created = created.stack_name(stack).wait(STACK_PATIENCE).await;
    created.with_context(|| format!("stack {stack} was not created"))?;
    Ok(())
}

/// A cluster and a service with one task, both of the stack's own name, so that every request to ECS
/// tells the stack.
fn template(repository: &str, deployment: &Deployment, migration: Duration) -> Value {
    let stack = json!({"Ref": "AWS::StackName"});
    let image = format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{repository}:v1");
    let migration = json!([migration.as_secs().to_string()]).to_string();
    json!({
        "Resources": {
            "Cluster": {
                "Type": "AWS::ECS::Cluster",
                "Properties": {"ClusterName": stack},
            },
            "TaskDefinition": {
                "Type": "AWS::ECS::TaskDefinition",
                "Properties": {
                    "Family": stack,
                    "RequiresCompatibilities": ["FARGATE"],
                    "NetworkMode": "awsvpc",
                    "Cpu": "256",
                    "Memory": "512",
                    "ExecutionRoleArn": format!("arn:aws:iam::{ACCOUNT}:role/bluegreen/stacks"),
                    "ContainerDefinitions": [{"Name": "task", "Image": image}],
                },
            },
            "Service": {
                "Type": "AWS::ECS::Service",
                "Properties": {
                    "ServiceName": stack,
                    "Cluster": {"Ref": "Cluster"},
                    "TaskDefinition": {"Ref": "TaskDefinition"},
                    "DesiredCount": 1,
                    "LaunchType": "FARGATE",
                    "NetworkConfiguration": {
                        "AwsvpcConfiguration": {"Subnets": ["subnet-12345678"]},
                    },
                    "DeploymentConfiguration": deployment.configuration(),
                },
            },
        },
        "Outputs": {"MigrationCommand": {"Value": migration}},
    })
}

/// An image whose program ends well after so many seconds as it is told: for ever as a service, and
/// soon as a migration.
fn version(number: u32) -> Result<Image> {
    let program = format!("#!/bin/sh\n# Version {number}.\nexec sleep \"$1\"\n");
    Image::of_program(program.as_bytes(), &[FOR_EVER])
}

/// Runs some of the works at a time; answers in their order.
async fn at_a_time<T, W: Future<Output = Result<T>>>(
    works: impl IntoIterator<Item = W>,
) -> Result<Vec<T>> {
    let results = stream::iter(works).buffered(AT_A_TIME);
    results.try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_as_many_stacks_as_it_can_hold() {
        let parts = in_tags(names("s", 500));
        assert_eq!(parts.len(), 10);
        assert_eq!(parts[0].len(), 51);
        assert!(parts.iter().all(|part| part.join(" ").len() <= TAG_LENGTH));
        assert_eq!(parts.concat(), names("s", 500));
        assert_eq!(in_tags(Vec::new()), Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_deployment_bakes_for_so_much_real_time() {
        let baking = Deployment::baking(Duration::from_secs(100), 10.0);
        assert_eq!(baking.configuration()["BakeTimeInMinutes"], 17);
    }
}
