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

const STACKS_TAG: &str = "bluegreen:stacks";
/// A push starts an execution for one stack after the other, in the half minute that the function has.
/// A tag of 256 characters could name more than twice as many, which takes AWS seconds; this machine,
/// which is all of AWS, would take longer.
const STACKS_A_REPOSITORY: usize = 20;
/// Stacks are made so many at a time, and executions described.
const AT_A_TIME: usize = 16;
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const TELL_AGAIN: Duration = Duration::from_secs(20);
/// How long the executions of a push may take to begin.
const START_PATIENCE: Duration = Duration::from_secs(180);
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
        stacks: &[String],
        deployment: &Deployment,
        migration: Duration,
    ) -> Result<Self> {
        let parts = stacks.chunks(STACKS_A_REPOSITORY).enumerate();
        let repository = |(number, stacks): (usize, &[String])| Repository {
            name: format!("{name}-{number}"),
            stacks: stacks.to_vec(),
        };
        let repositories: Vec<_> = parts.map(repository).collect();
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

    /// Releases another version to all stacks, and waits for the ends: `patience` long, and where some
    /// never begin, a while after the last one has ended.
    ///
    /// The next repository gets its push as soon as all executions of the one before have begun, so that
    /// none is lost by a machine that is too slow for all of them at the same moment.
    pub(crate) async fn deploy(&self, patience: Duration) -> Result<Deployed> {
        let image = version(2)?;
        image::upload(self.account.aws(), &image).await?;
        let mut watch = Watch {
            fleet: self,
            since: Timestamp::now(),
            began: Instant::now(),
            told: Duration::ZERO,
            at_once: 0,
        };
        let mut stacks = 0;
        for Repository { name, stacks: of } in &self.repositories {
            image::push_manifest(self.account.config(), name, Some("v2"), &image).await?;
            stacks += of.len();
            watch
                .until(START_PATIENCE, |seen| seen.begun >= stacks)
                .await?;
        }
        let pushing = watch.began.elapsed().as_secs_f64();
        let executions = watch.until(patience, |seen| seen.ended >= stacks).await?;
        Ok(Deployed {
            ends: self.described(&executions, watch.since).await?,
            pushing,
            at_once: watch.at_once,
        })
    }

    async fn executions(&self, since: Timestamp) -> Result<Vec<ExecutionListItem>> {
        let executions = aws_sdk_sfn::Client::new(self.account.config())
            .list_executions()
            .state_machine_arn(self.account.state_machine())
            .into_paginator()
            .items()
            .send();
        let mut executions: Vec<_> = executions.try_collect().await?;
        executions.retain(|one| one.start_date().as_secs_f64() >= seconds_of(since));
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
                Some(end) if end.output["verdict"] == "succeeded" => {
                    let at = end.at.duration_since(since).as_secs_f64();
                    let began = one.start_date().as_secs_f64() - seconds_of(since);
                    let seconds = at - began;
                    End::Succeeded { seconds, at }
                }
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

/// What there is to say of releases that went to all stacks.
pub(crate) struct Deployed {
    /// By stack.
    pub(crate) ends: BTreeMap<String, End>,
    /// From the first push until the executions of the last one had begun, in seconds.
    pub(crate) pushing: f64,
    /// The most executions that were seen to run at a time.
    pub(crate) at_once: usize,
}

/// Looks at the executions that began since a moment.
struct Watch<'a> {
    fleet: &'a Fleet<'a>,
    since: Timestamp,
    began: Instant,
    /// When somebody was told of them last, after `began`.
    told: Duration,
    at_once: usize,
}

struct Seen {
    begun: usize,
    ended: usize,
}

impl Watch<'_> {
    /// Looks until `is_enough`, but not longer than `patience`, and a while only once none runs any
    /// more. Answers the executions.
    async fn until(
        &mut self,
        patience: Duration,
        is_enough: impl Fn(Seen) -> bool,
    ) -> Result<Vec<ExecutionListItem>> {
        let began = Instant::now();
        let mut quiet_since = None;
        loop {
            let executions = self.fleet.executions(self.since).await?;
            let running = executions.iter();
            let running = running.filter(|one| *one.status() == ExecutionStatus::Running);
            let running = running.count();
            self.at_once = self.at_once.max(running);
            let begun = executions.len();
            let ended = begun - running;
            if self.began.elapsed() > self.told + TELL_AGAIN {
                self.told = self.began.elapsed();
                eprintln!("after {:.0?}: {running} run, {ended} have ended", self.told);
            }
            let quiet_since = match running {
                0 => *quiet_since.get_or_insert_with(Instant::now),
                _ => {
                    quiet_since = None;
                    Instant::now()
                }
            };
            let is_over = quiet_since.elapsed() > QUIET || began.elapsed() > patience;
            if is_over || is_enough(Seen { begun, ended }) {
                return Ok(executions);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

fn seconds_of(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
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
                    "RuntimePlatform": {
                        "CpuArchitecture": image::cpu_architecture(),
                        "OperatingSystemFamily": "LINUX",
                    },
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
    fn a_deployment_bakes_for_so_much_real_time() {
        let baking = Deployment::baking(Duration::from_secs(100), 10.0);
        assert_eq!(baking.configuration()["BakeTimeInMinutes"], 17);
    }
}
