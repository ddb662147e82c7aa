//! Many services of one cluster: how they are made, updated all at once, and deleted.

mod balancers;
mod image;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_ecs::types::{
    AdvancedConfiguration, AwsVpcConfiguration, CanaryConfiguration, Compatibility,
    ContainerDefinition, DeploymentCircuitBreaker, DeploymentConfiguration, DeploymentStrategy,
    DesiredStatus, KeyValuePair, LaunchType, LinearConfiguration, LoadBalancer, LogConfiguration,
    LogDriver, NetworkConfiguration, NetworkMode, PortMapping, Service, ServiceDeployment,
    ServiceDeploymentStatus,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use local_aws::client::LocalAws;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use balancers::{Balancers, Entrance};

/// What the pages say at first, and after the first update.
pub(crate) const OLD: &str = "1";
pub(crate) const NEW: &str = "2";

const CLUSTER: &str = "fleet";
const CONTAINER: &str = "web";
const CONTAINER_PORT: i32 = 8080;
const LOG_GROUP: &str = "/fleet";
const ROLE: &str = "arn:aws:iam::123456789012:role/fleet";
/// In AWS's seconds: the tasks do not start faster because the clock is fast.
const GRACE_PERIOD: i32 = 600;
/// No step of all services together takes longer unless something is stuck.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Calls at a time where they need not all be made at once.
const AT_A_TIME: usize = 64;
/// What ECS lets one call describe.
const SERVICES_A_CALL: usize = 10;
const DEPLOYMENTS_A_CALL: usize = 20;

/// The order in which services take them in turn.
const STRATEGIES: [DeploymentStrategy; 4] = [
    DeploymentStrategy::Rolling,
    DeploymentStrategy::BlueGreen,
    DeploymentStrategy::Canary,
    DeploymentStrategy::Linear,
];

/// Services that are there or will be, each with an entrance of its own.
pub(crate) struct Fleet {
    ecs: aws_sdk_ecs::Client,
    members: Vec<Member>,
    /// The task definitions' ARNs, by what their tasks' pages say.
    definitions: BTreeMap<&'static str, String>,
}

struct Member {
    name: String,
    strategy: DeploymentStrategy,
    entrance: Entrance,
}

impl Fleet {
    /// Makes all that the services need: a cluster, an image, two task definitions, listeners and
    /// target groups.
    pub(crate) async fn prepare(aws: &LocalAws, services: usize) -> Result<Self> {
        let config = aws.sdk_config();
        let ecs = aws_sdk_ecs::Client::new(&config);
        ecs.create_cluster().cluster_name(CLUSTER).send().await?;
        let image = image::push(aws).await?;
        let mut definitions = BTreeMap::new();
        for version in [OLD, NEW] {
            definitions.insert(version, define(&ecs, &image, version).await?);
        }
        let balancers = Balancers::create(aws, &STRATEGIES).await?;
        let balancers = &balancers;
        let members = (0..services).map(|number| async move {
            let strategy = STRATEGIES[number % STRATEGIES.len()].clone();
            let name = format!("service-{number:03}");
            let entrance = balancers.entrance(&name, &strategy).await?;
            Ok::<_, anyhow::Error>(Member {
                name,
                strategy,
                entrance,
            })
        });
        let members = at_a_time(members).await?;
        Ok(Self {
            ecs,
            members,
            definitions,
        })
    }

    /// The pages of all services.
    pub(crate) fn urls(&self) -> Vec<String> {
        let members = self.members.iter();
        members.map(|member| member.entrance.url.clone()).collect()
    }

    pub(crate) async fn create(&self) -> Result<()> {
        at_a_time(self.members.iter().map(|member| self.create_one(member))).await?;
        Ok(())
    }

    async fn create_one(&self, member: &Member) -> Result<()> {
        let create = self
            .ecs
            .create_service()
            .cluster(CLUSTER)
            .service_name(&member.name)
            .task_definition(self.definition(OLD)?)
            .desired_count(1)
            .launch_type(LaunchType::Fargate)
            .network_configuration(network()?)
            .health_check_grace_period_seconds(GRACE_PERIOD)
            .deployment_configuration(configuration(&member.strategy))
            .load_balancers(load_balancer(&member.entrance));
        let created = create.send().await;
        created.with_context(|| format!("cannot create {}", member.name))?;
        Ok(())
    }

    fn definition(&self, version: &str) -> Result<&str> {
        let definition = self.definitions.get(version).map(String::as_str);
        definition.with_context(|| format!("there is no version {version}"))
    }

    /// Gives all services a version at once; answers how long each call took.
    pub(crate) async fn update(&self, version: &str) -> Result<Vec<Duration>> {
        let definition = self.definition(version)?;
        let updates = self.members.iter().map(|member| async move {
            let update = self.ecs.update_service().cluster(CLUSTER);
            let update = update.service(&member.name).task_definition(definition);
            let started = Instant::now();
            let updated = update.send().await;
            updated.with_context(|| format!("cannot update {}", member.name))?;
            Ok(started.elapsed())
        });
        futures_util::future::try_join_all(updates).await
    }

    /// Waits until the newest deployment of every service was successful.
    ///
    /// # Errors
    /// One came to another end, or to none in time; then in which state they are.
    pub(crate) async fn wait_for_deployments(&self) -> Result<()> {
        let newest = self.members.iter().map(|member| self.newest(member));
        let mut open = at_a_time(newest).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let deployments = self.deployments(&open).await?;
            let failed: Vec<_> = deployments.iter().filter(|one| has_failed(one)).collect();
            if !failed.is_empty() {
                bail!("deployments failed: {}", states(&failed));
            }
            let unfinished: Vec<_> = deployments
                .iter()
                .filter(|one| one.status() != Some(&ServiceDeploymentStatus::Successful))
                .collect();
            if unfinished.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "deployments do not end within {PATIENCE:?}: {}",
                states(&unfinished)
            );
            let arns = unfinished
                .iter()
                .filter_map(|one| one.service_deployment_arn());
            open = arns.map(str::to_owned).collect();
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The ARN of a service's newest deployment.
    async fn newest(&self, member: &Member) -> Result<String> {
        let list = self.ecs.list_service_deployments().cluster(CLUSTER);
        let list = list.service(&member.name).send().await?;
        let newest = list.service_deployments().first();
        let arn = newest.and_then(|newest| newest.service_deployment_arn());
        let arn = arn.with_context(|| format!("{} has no deployment", member.name))?;
        Ok(arn.to_owned())
    }

    async fn deployments(&self, arns: &[String]) -> Result<Vec<ServiceDeployment>> {
        let calls = arns.chunks(DEPLOYMENTS_A_CALL).map(|arns| async move {
            let describe = self.ecs.describe_service_deployments();
            let describe = describe.set_service_deployment_arns(Some(arns.to_vec()));
            let answer = describe.send().await?;
            Ok(answer.service_deployments.unwrap_or_default())
        });
        Ok(at_a_time(calls).await?.concat())
    }

    /// Somebody who looks at services all the time.
    pub(crate) fn probe(&self) -> Probe {
        let names: Vec<String> = self.members.iter().map(|one| one.name.clone()).collect();
        Probe::start(self.ecs.clone(), names)
    }

    /// How many tasks were started in the last hour of AWS.
    pub(crate) async fn tasks_started(&self) -> Result<usize> {
        let mut tasks = 0;
        for status in [DesiredStatus::Running, DesiredStatus::Stopped] {
            let list = self
                .ecs
                .list_tasks()
                .cluster(CLUSTER)
                .desired_status(status);
            let arns = list.into_paginator().items().send();
            tasks += arns.collect::<Result<Vec<_>, _>>().await?.len();
        }
        Ok(tasks)
    }

    /// Deletes all services at once and waits for the end of their last task.
    ///
    /// # Errors
    /// Some do not end in time; then in which state they are.
    pub(crate) async fn delete(&self) -> Result<()> {
        let deletions = self.members.iter().map(|member| async move {
            let delete = self.ecs.delete_service().cluster(CLUSTER).force(true);
            let deleted = delete.service(&member.name).send().await;
            deleted.with_context(|| format!("cannot delete {}", member.name))
        });
        futures_util::future::try_join_all(deletions).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let services = self.services().await?;
            let left: Vec<_> = services
                .iter()
                .filter(|service| service.status() != Some("INACTIVE"))
                .collect();
            if left.is_empty() {
                return Ok(());
            }
            let states = left.iter().map(|service| {
                let status = service.status().unwrap_or_default();
                format!("{status} with {} tasks", service.running_count())
            });
            ensure!(
                Instant::now() < deadline,
                "services do not end within {PATIENCE:?}: {}",
                tally(states)
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn services(&self) -> Result<Vec<Service>> {
        let calls = self.members.chunks(SERVICES_A_CALL).map(|members| {
            let names = members.iter().map(|member| member.name.clone()).collect();
            describe(&self.ecs, names)
        });
        Ok(at_a_time(calls).await?.concat())
    }
}

/// Keeps calling DescribeServices, as a console does.
pub(crate) struct Probe {
    end: watch::Sender<bool>,
    calls: JoinHandle<Result<Vec<Duration>>>,
}

impl Probe {
    const PAUSE: Duration = Duration::from_millis(50);

    fn start(ecs: aws_sdk_ecs::Client, names: Vec<String>) -> Self {
        let end = watch::Sender::new(false);
        let mut ended = end.subscribe();
        let calls = tokio::spawn(async move {
            let mut took = Vec::new();
            for names in names.chunks(SERVICES_A_CALL).cycle() {
                let started = Instant::now();
                describe(&ecs, names.to_vec()).await?;
                took.push(started.elapsed());
                let ended = ended.wait_for(|ended| *ended);
                if tokio::time::timeout(Self::PAUSE, ended).await.is_ok() {
                    break;
                }
            }
            Ok(took)
        });
        Self { end, calls }
    }

    /// How long each call took.
    pub(crate) async fn end(self) -> Result<Vec<Duration>> {
        self.end.send_replace(true);
        self.calls.await?
    }
}

async fn describe(ecs: &aws_sdk_ecs::Client, names: Vec<String>) -> Result<Vec<Service>> {
    let describe = ecs.describe_services().cluster(CLUSTER);
    let answer = describe.set_services(Some(names)).send().await?;
    Ok(answer.services.unwrap_or_default())
}

/// Runs some of the works at a time; answers in their order.
async fn at_a_time<T, W: Future<Output = Result<T>>>(
    works: impl IntoIterator<Item = W>,
) -> Result<Vec<T>> {
    let results = stream::iter(works).buffered(AT_A_TIME);
    results.try_collect().await
}

async fn define(ecs: &aws_sdk_ecs::Client, image: &str, version: &str) -> Result<String> {
    let logs = LogConfiguration::builder()
        .log_driver(LogDriver::Awslogs)
        .options("awslogs-group", LOG_GROUP)
        .options("awslogs-region", local_aws::client::REGION)
        .options("awslogs-stream-prefix", CONTAINER)
        .options("awslogs-create-group", "true")
        .build()?;
    let version = KeyValuePair::builder()
        .name("VERSION")
        .value(version)
        .build();
    let port = PortMapping::builder()
        .container_port(CONTAINER_PORT)
        .build();
    let container = ContainerDefinition::builder()
        .name(CONTAINER)
        .image(image)
        .environment(version)
        .port_mappings(port)
        .log_configuration(logs)
        .build();
    let answer = ecs
        .register_task_definition()
        .family(CLUSTER)
        .requires_compatibilities(Compatibility::Fargate)
        .network_mode(NetworkMode::Awsvpc)
        .cpu("256")
        .memory("512")
        .execution_role_arn(ROLE)
        .container_definitions(container)
        .send()
        .await?;
    let definition = answer.task_definition();
    let arn = definition.and_then(|definition| definition.task_definition_arn());
    Ok(arn.context("a task definition has no ARN")?.to_owned())
}

fn network() -> Result<NetworkConfiguration> {
    let vpc = AwsVpcConfiguration::builder()
        .subnets("subnet-12345678")
        .build()?;
    Ok(NetworkConfiguration::builder()
        .awsvpc_configuration(vpc)
        .build())
}

/// A minute for every bake time: three of its kind are what CANARY and LINEAR take at least.
fn configuration(strategy: &DeploymentStrategy) -> DeploymentConfiguration {
    let breaker = DeploymentCircuitBreaker::builder()
        .enable(true)
        .rollback(true);
    let configuration = DeploymentConfiguration::builder()
        .strategy(strategy.clone())
        .deployment_circuit_breaker(breaker.build());
    let configuration = match strategy {
        DeploymentStrategy::Rolling => return configuration.build(),
        DeploymentStrategy::Canary => configuration.canary_configuration(
            CanaryConfiguration::builder()
                .canary_percent(10.0)
                .canary_bake_time_in_minutes(1)
                .build(),
        ),
        DeploymentStrategy::Linear => configuration.linear_configuration(
            LinearConfiguration::builder()
                .step_percent(25.0)
                .step_bake_time_in_minutes(1)
                .build(),
        ),
        _ => configuration,
    };
    configuration.bake_time_in_minutes(1).build()
}

fn load_balancer(entrance: &Entrance) -> LoadBalancer {
    let advanced = entrance.shift.as_ref().map(|shift| {
        AdvancedConfiguration::builder()
            .alternate_target_group_arn(&shift.alternate_target_group)
            .production_listener_rule(&shift.rule)
            .role_arn(ROLE)
            .build()
    });
    LoadBalancer::builder()
        .target_group_arn(&entrance.target_group)
        .container_name(CONTAINER)
        .container_port(CONTAINER_PORT)
        .set_advanced_configuration(advanced)
        .build()
}

fn has_failed(deployment: &ServiceDeployment) -> bool {
    use ServiceDeploymentStatus as Status;
    let open = [Status::Pending, Status::InProgress, Status::Successful];
    deployment
        .status()
        .is_none_or(|status| !open.contains(status))
}

/// In which state deployments are, and one of them as an example.
fn states(deployments: &[&ServiceDeployment]) -> String {
    let state = |deployment: &&ServiceDeployment| {
        let configuration = deployment.deployment_configuration();
        let strategy = configuration.and_then(|configuration| configuration.strategy());
        let strategy = strategy.map_or("?", |strategy| strategy.as_str());
        let status = deployment.status().map_or("?", |status| status.as_str());
        let stage = deployment.lifecycle_stage();
        let stage = stage.map_or("no stage", |stage| stage.as_str());
        format!("{strategy} {status} at {stage}")
    };
    format!(
        "{}; one of them: {:?}",
        tally(deployments.iter().map(state)),
        deployments.first()
    )
}

/// How often there is each.
fn tally(items: impl Iterator<Item = String>) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let counts = counts.iter().map(|(item, count)| format!("{count} {item}"));
    counts.collect::<Vec<_>>().join(", ")
}
