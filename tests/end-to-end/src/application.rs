//! The sample application in an [`Account`]: its two stacks, its database, its state.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_ecs::client::Waiters;
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{DeploymentConfiguration, DesiredStatus};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::account::{Account, output, root};
use crate::alarm::Alarm;
use crate::execution::{End, Execution};
use crate::visitor::Visitor;
use sample::image::{self, Image};

/// The tag of the image that an application's stack is created with.
pub const FIRST_TAG: &str = "v1";
/// Creating one is mostly the AWS CLI's work.
const STACKS_AT_ONCE: usize = 4;

/// How long a service may take that a person has updated.
const STABLE_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// An application: stack and database of one name, and a repository.
#[derive(Debug)]
pub struct Application<'a> {
    account: &'a Account,
    name: String,
    repository: String,
    cluster: String,
    service: String,
    worker: Option<String>,
    url: String,
}

/// Lets the alarms of an application's stack guard the deployments of its services, as they do by
/// default. A rolling deployment then goes on for the minutes that they take to judge it, so that
/// only what is about alarms has them.
pub const WATCHED: (&str, &str) = ("DeploymentAlarms", "true");

/// How an application's stack differs from the usual one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings<'a> {
    /// Parameters of `infra/cluster.yml`.
    pub parameters: &'a [(&'a str, &'a str)],
    /// Outputs that the template does not have, as somebody adds them to a copy of it.
    pub outputs: &'a [(&'a str, &'a str)],
    /// A property that the template's task definitions do not have, in one line of YAML.
    pub of_task_definitions: &'a str,
    /// The path of its tasks' roles in place of the template's.
    pub role_path: &'a str,
}

/// What ECS says of a service when nothing is in motion.
#[derive(Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// The image of the service's task definition, `repository@sha256:…` after a release.
    pub image: String,
    /// The images that the running tasks run, each once.
    pub running_images: Vec<String>,
    /// Deployments that are not over: 1 when nothing is in motion.
    pub deployments: usize,
    /// The rollout state of the PRIMARY deployment; where ECS may leave it out, what its tasks
    /// tell.
    pub rollout: String,
    /// Running tasks.
    pub running: i32,
    /// Wanted tasks.
    pub desired: i32,
}

impl ServiceState {
    /// Whether one deployment is complete and no task is missing or too many.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.deployments == 1 && self.rollout == "COMPLETED" && self.running == self.desired
    }
}

impl<'a> Application<'a> {
    pub(crate) async fn create(
        account: &'a Account,
        name: &str,
        image: &Image,
        settings: Settings<'_>,
    ) -> Result<Self> {
        let first_image = create_repository(account, name, name, image).await?;
        Self::create_stack(account, name, name, &first_image, settings).await
    }

    pub(crate) async fn create_all(
        account: &'a Account,
        repository: &str,
        names: &[String],
        image: &Image,
        settings: Settings<'_>,
    ) -> Result<Vec<Self>> {
        let stacks = names.join(" ");
        let first_image = create_repository(account, repository, &stacks, image).await?;
        let created = names
            .iter()
            .map(|name| Self::create_stack(account, name, repository, &first_image, settings));
        stream::iter(created)
            .buffered(STACKS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn create_stack(
        account: &'a Account,
        name: &str,
        repository: &str,
        first_image: &str,
        settings: Settings<'_>,
    ) -> Result<Self> {
        let image_parameter = format!("/bluegreen/{name}/image");
        account.put_parameter(&image_parameter, first_image).await?;
        let database = database_of(name);
        let database = account.postgres().create_database(&database).await?;
        let port = account.aws().reserve_port().await?.to_string();
        let (vpc, subnets) = account.network();
        let mut parameters = owned(&[
            ("ImageParameter", &image_parameter),
            ("MigrationCommand", r#"["websvc","migrate"]"#),
            ("DatabaseUrl", &database),
            ("VpcId", vpc),
            ("SubnetIds", subnets),
            ("ListenerPort", &port),
            ("CpuArchitecture", image::cpu_architecture()),
        ]);
        let (alarms, _) = WATCHED;
        if settings.parameters.iter().all(|(name, _)| *name != alarms) {
            parameters.extend(owned(&[(alarms, "false")]));
        }
        parameters.extend(owned(settings.parameters));
        let template = template_with(account, name, settings)?;
        account.deploy(name, &template, &parameters).await?;
        Self::find(account, name, repository).await
    }

    pub(crate) async fn find(account: &'a Account, name: &str, repository: &str) -> Result<Self> {
        let outputs = account.outputs(name).await?;
        Ok(Self {
            account,
            name: name.to_owned(),
            repository: repository.to_owned(),
            cluster: output(&outputs, "ClusterName")?,
            service: output(&outputs, "ServiceName")?,
            worker: outputs.get("WorkerServiceName").cloned(),
            url: output(&outputs, "LoadBalancerUrl")?,
        })
    }

    /// Brings the database to the first image's version: CloudFormation runs no migration. As by
    /// hand from the console.
    ///
    /// # Errors
    /// The execution did not succeed.
    pub async fn migrate_first_image(&self) -> Result<()> {
        let execution = self
            .account
            .start_execution(serde_json::json!({
                "stack": self.name, "tag": FIRST_TAG, "migrate": true
            }))
            .await?;
        let end = execution.end().await?;
        ensure!(
            end.status == "SUCCEEDED",
            "the first release failed: {end:?}"
        );
        Ok(())
    }

    /// Updates the application's stack with other parameters, as a person does: what is not named
    /// stays as it is.
    ///
    /// # Errors
    /// The stack was not updated.
    pub async fn update_stack(&self, parameters: &[(&str, &str)]) -> Result<()> {
        let template = root().join("infra/cluster.yml");
        let parameters = owned(parameters);
        self.account
            .deploy(&self.name, &template, &parameters)
            .await
    }

    /// Changes how ECS deploys the service, without a deployment, which an update of the stack would be.
    ///
    /// # Errors
    /// ECS refuses it.
    pub async fn configure_deployments(&self, wanted: DeploymentConfiguration) -> Result<()> {
        aws_sdk_ecs::Client::new(self.account.config())
            .update_service()
            .cluster(&self.cluster)
            .service(&self.service)
            .deployment_configuration(wanted)
            .send()
            .await?;
        Ok(())
    }

    /// Lets the workers run an image of a repository of their own, as somebody does who takes a part
    /// of an application out of it.
    ///
    /// # Errors
    /// There are no workers, or they do not run it.
    pub async fn give_workers_a_repository(&self, repository: &str, image: &Image) -> Result<()> {
        let uri = deploy_repository(self.account, repository, &self.name).await?;
        let (aws, config) = (self.account.aws(), self.account.config());
        let digest = image::push(aws, config, repository, None, image).await?;
        let ecs = aws_sdk_ecs::Client::new(config);
        let service = self.describe_service(&ecs, self.worker()?).await?;
        let described = ecs
            .describe_task_definition()
            .set_task_definition(service.task_definition)
            .send()
            .await?;
        let mut worker = described.task_definition.context("no task definition")?;
        for container in worker.container_definitions.iter_mut().flatten() {
            container.image = Some(format!("{uri}@{digest}"));
        }
        let registered = ecs
            .register_task_definition()
            .set_family(worker.family)
            .set_container_definitions(worker.container_definitions)
            .set_execution_role_arn(worker.execution_role_arn)
            .set_task_role_arn(worker.task_role_arn)
            .set_network_mode(worker.network_mode)
            .set_requires_compatibilities(worker.requires_compatibilities)
            .set_runtime_platform(worker.runtime_platform)
            .set_cpu(worker.cpu)
            .set_memory(worker.memory)
            .send()
            .await?;
        let revision = registered.task_definition.context("no task definition")?;
        ecs.update_service()
            .cluster(&self.cluster)
            .service(self.worker()?)
            .set_task_definition(revision.task_definition_arn)
            .send()
            .await?;
        ecs.wait_until_services_stable()
            .cluster(&self.cluster)
            .services(self.worker()?)
            .wait(STABLE_WITHIN)
            .await?;
        Ok(())
    }

    /// Pushes an image under a tag; answers its digest.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn push(&self, tag: &str, image: &Image) -> Result<String> {
        let (aws, config) = (self.account.aws(), self.account.config());
        image::push(aws, config, &self.repository, Some(tag), image).await
    }

    /// Pushes an image under a tag and waits for the execution that this starts.
    ///
    /// # Errors
    /// It was not taken, or started no execution.
    pub async fn push_and_notice(&self, tag: &str, image: &Image) -> Result<Execution> {
        let digest = self.push(tag, image).await?;
        self.account.execution_of_push(&self.name, &digest).await
    }

    /// Pushes an image under a tag and waits for the end of the execution that this starts.
    ///
    /// # Errors
    /// It was not taken, started no execution, or that does not end.
    pub async fn release(&self, tag: &str, image: &Image) -> Result<End> {
        self.push_and_notice(tag, image).await?.end().await
    }

    /// What ECS says of the service now.
    ///
    /// # Errors
    /// ECS does not know it.
    pub async fn service_state(&self) -> Result<ServiceState> {
        self.state_of(&self.service).await
    }

    /// What ECS says of the workers now.
    ///
    /// # Errors
    /// The application has none.
    pub async fn worker_state(&self) -> Result<ServiceState> {
        self.state_of(self.worker()?).await
    }

    /// The names of all its ECS services, the one behind the load balancer first.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.service.as_str()).chain(self.worker.as_deref())
    }

    /// What ECS says of each of its services now, in the order of [`services`](Self::services).
    ///
    /// # Errors
    /// ECS does not know one of them.
    pub async fn service_states(&self) -> Result<Vec<ServiceState>> {
        let mut states = Vec::new();
        for service in self.services() {
            states.push(self.state_of(service).await?);
        }
        Ok(states)
    }

    async fn state_of(&self, name: &str) -> Result<ServiceState> {
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let service = self.describe_service(&ecs, name).await?;
        let primary = service
            .deployments()
            .iter()
            .find(|deployment| deployment.status() == Some("PRIMARY"))
            .context("the service has no primary deployment")?;
        let task_definition = service.task_definition().context("no task definition")?;
        Ok(ServiceState {
            image: image_of(&ecs, task_definition).await?,
            running_images: self.running_images(&ecs, name).await?,
            deployments: service.deployments().len(),
            rollout: match primary.rollout_state() {
                Some(state) => state.as_str(),
                None if self.account.tells_all_rollouts => "",
                None if primary.running_count() == primary.desired_count() => "COMPLETED",
                None => "IN_PROGRESS",
            }
            .to_owned(),
            running: service.running_count(),
            desired: service.desired_count(),
        })
    }

    /// The ARN of the service's task definition.
    ///
    /// # Errors
    /// ECS does not know the service.
    pub async fn task_definition(&self) -> Result<String> {
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let service = self.describe_service(&ecs, &self.service).await?;
        let task_definition = service.task_definition().context("no task definition")?;
        Ok(task_definition.to_owned())
    }

    /// ARN of what runs whoever names the family of the service's task definition alone.
    ///
    /// # Errors
    /// ECS does not answer.
    pub async fn latest_of_its_family(&self) -> Result<String> {
        let current = self.task_definition().await?;
        let family = current.rsplit('/').next().unwrap_or_default();
        let (family, _) = family.rsplit_once(':').context("no revision")?;
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let latest = ecs.describe_task_definition().task_definition(family);
        let latest = latest.send().await?;
        let latest = latest.task_definition().context("no task definition")?;
        let arn = latest.task_definition_arn().context("no ARN")?;
        Ok(arn.to_owned())
    }

    /// A revision, or a family's latest one, as ECS describes it. The SDK would leave out what it does
    /// not know of it.
    ///
    /// # Errors
    /// ECS does not know it.
    pub async fn described(&self, task_definition: &str) -> Result<serde_json::Value> {
        let api = "AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition";
        let body = serde_json::json!({"taskDefinition": task_definition});
        let answer = reqwest::Client::new()
            .post(self.account.aws().endpoint())
            .header("X-Amz-Target", api)
            .header("Content-Type", "application/x-amz-json-1.1")
            // The local AWS wants no more of a signature than the service that it is for.
            .header(
                "Authorization",
                "Credential=test/20260101/us-east-1/ecs/aws4_request",
            )
            .body(body.to_string())
            .send()
            .await?
            .error_for_status()?;
        let mut answer: serde_json::Value = answer.json().await?;
        Ok(answer["taskDefinition"].take())
    }

    async fn describe_service(
        &self,
        ecs: &aws_sdk_ecs::Client,
        name: &str,
    ) -> Result<aws_sdk_ecs::types::Service> {
        let answer = ecs
            .describe_services()
            .cluster(&self.cluster)
            .services(name)
            .send()
            .await?;
        answer
            .services
            .unwrap_or_default()
            .pop()
            .context("no such service")
    }

    async fn running_images(
        &self,
        ecs: &aws_sdk_ecs::Client,
        service: &str,
    ) -> Result<Vec<String>> {
        let arns = ecs
            .list_tasks()
            .cluster(&self.cluster)
            .service_name(service)
            .send()
            .await?;
        if arns.task_arns().is_empty() {
            return Ok(Vec::new());
        }
        let tasks = ecs
            .describe_tasks()
            .cluster(&self.cluster)
            .set_tasks(Some(arns.task_arns().to_vec()))
            .send()
            .await?;
        let mut images: Vec<_> = tasks
            .tasks()
            .iter()
            .filter(|task| task.last_status() == Some("RUNNING"))
            .flat_map(|task| task.containers())
            .filter_map(|container| container.image().map(str::to_owned))
            .collect();
        images.sort();
        images.dedup();
        Ok(images)
    }

    /// Every task that the service has started in the last hour, those that have stopped included,
    /// with the image of its first container.
    ///
    /// # Errors
    /// ECS does not answer.
    pub async fn started_tasks(&self) -> Result<BTreeMap<String, String>> {
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let mut started = BTreeMap::new();
        for status in [DesiredStatus::Running, DesiredStatus::Stopped] {
            let mut pages = ecs
                .list_tasks()
                .cluster(&self.cluster)
                .service_name(&self.service)
                .desired_status(status)
                .into_paginator()
                .send();
            while let Some(page) = pages.try_next().await? {
                if page.task_arns().is_empty() {
                    continue;
                }
                let described = ecs
                    .describe_tasks()
                    .cluster(&self.cluster)
                    .set_tasks(page.task_arns)
                    .send()
                    .await?;
                for task in described.tasks() {
                    let image = task.containers().first().and_then(|it| it.image());
                    let (arn, image) = task
                        .task_arn()
                        .zip(image)
                        .context("a task without an image")?;
                    started.insert(arn.to_owned(), image.to_owned());
                }
            }
        }
        Ok(started)
    }

    /// Waits until the service has started a task with this image.
    ///
    /// # Errors
    /// It does not within a minute.
    pub async fn starts_a_task_of(&self, digest: &str) -> Result<()> {
        let deadline = Instant::now() + STABLE_WITHIN;
        loop {
            let started = self.started_tasks().await?;
            if started.values().any(|image| image.ends_with(digest)) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it has started {started:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// The tasks of the cluster that run and are no part of a service: migrations.
    ///
    /// # Errors
    /// ECS does not answer.
    pub async fn running_migrations(&self) -> Result<usize> {
        let running = self.tasks_outside_of_services(DesiredStatus::Running);
        Ok(running.await?.len())
    }

    /// The same of tasks that have stopped in the last hour.
    ///
    /// # Errors
    /// ECS does not answer.
    pub async fn stopped_migrations(&self) -> Result<usize> {
        let stopped = self.tasks_outside_of_services(DesiredStatus::Stopped);
        Ok(stopped.await?.len())
    }

    /// Why the tasks of the cluster have stopped that did in the last hour and were no part of a
    /// service, as ECS says it.
    ///
    /// # Errors
    /// ECS does not answer.
    pub async fn reasons_of_stopped_migrations(&self) -> Result<Vec<String>> {
        let tasks = self
            .tasks_outside_of_services(DesiredStatus::Stopped)
            .await?;
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let described = aws_sdk_ecs::Client::new(self.account.config())
            .describe_tasks()
            .cluster(&self.cluster)
            .set_tasks(Some(tasks))
            .send()
            .await?;
        let reasons = described.tasks().iter();
        Ok(reasons
            .map(|task| task.stopped_reason().unwrap_or_default().to_owned())
            .collect())
    }

    async fn tasks_outside_of_services(&self, status: DesiredStatus) -> Result<Vec<String>> {
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let of_cluster = ecs
            .list_tasks()
            .cluster(&self.cluster)
            .desired_status(status);
        let mut others = of_cluster
            .clone()
            .send()
            .await?
            .task_arns
            .unwrap_or_default();
        // A service may have started tasks between the two answers.
        for service in self.services() {
            let of_service = of_cluster.clone().service_name(service).send().await?;
            others.retain(|task| !of_service.task_arns().contains(task));
        }
        Ok(others)
    }

    /// How long a stopped task existed, in seconds.
    ///
    /// # Errors
    /// ECS does not know it, or it has not stopped.
    pub async fn task_seconds(&self, task: &str) -> Result<f64> {
        let answer = aws_sdk_ecs::Client::new(self.account.config())
            .describe_tasks()
            .cluster(&self.cluster)
            .tasks(task)
            .send()
            .await?;
        let task = answer.tasks().first().context("no such task")?;
        seconds_between(task.created_at(), task.stopped_at())
    }

    /// How long ECS took to deploy this task definition, in seconds.
    ///
    /// # Errors
    /// It never did, or has not come to an end.
    pub async fn deployment_seconds(&self, task_definition: &str) -> Result<f64> {
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let deployments = ecs
            .list_service_deployments()
            .cluster(&self.cluster)
            .service(&self.service)
            .send()
            .await?;
        for deployment in deployments.service_deployments() {
            let revision = deployment.target_service_revision_arn();
            let deployed = task_definition_of(&ecs, revision).await?;
            if deployed == task_definition {
                return seconds_between(deployment.created_at(), deployment.finished_at());
            }
        }
        bail!("{task_definition} was never deployed")
    }

    /// The migrations that the database has seen succeed, by version.
    ///
    /// # Errors
    /// PostgreSQL does not answer, or nothing was ever migrated.
    pub async fn applied_migrations(&self) -> Result<Vec<String>> {
        let rows = self
            .account
            .postgres()
            .query(
                &self.database(),
                "SELECT version::text FROM _sqlx_migrations WHERE success ORDER BY version",
            )
            .await?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    /// The name of its database.
    #[must_use]
    pub fn database(&self) -> String {
        database_of(&self.name)
    }

    /// Somebody who reads `/posts` without a pause.
    #[must_use]
    pub fn visitor(&self) -> Visitor {
        Visitor::start(&format!("{}/posts", self.url))
    }

    /// The heading that `/posts` has at the load balancer now.
    ///
    /// # Errors
    /// The answer is not a page with a heading.
    pub async fn heading(&self) -> Result<String> {
        crate::visitor::heading(&reqwest::Client::new(), &format!("{}/posts", self.url)).await
    }

    /// Where the load balancer answers, `http://HOST:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name of the ECS service of the workers.
    ///
    /// # Errors
    /// The application has none.
    pub fn worker(&self) -> Result<&str> {
        self.worker.as_deref().context("there are no workers")
    }

    /// The alarm that is this resource of `infra/cluster.yml`.
    ///
    /// # Errors
    /// The stack has no such resource.
    pub async fn alarm(&self, resource: &str) -> Result<Alarm> {
        self.account.alarm(&self.name, resource).await
    }

    /// The images that the service was given one after the other, its first included.
    ///
    /// # Errors
    /// ECS does not answer.
    pub async fn deployed_images(&self) -> Result<Vec<String>> {
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let deployments = ecs
            .list_service_deployments()
            .cluster(&self.cluster)
            .service(&self.service)
            .send()
            .await?;
        let mut images = Vec::new();
        // The newest comes first.
        for deployment in deployments.service_deployments().iter().rev() {
            let revision = deployment.target_service_revision_arn();
            let task_definition = task_definition_of(&ecs, revision).await?;
            images.push(image_of(&ecs, &task_definition).await?);
        }
        Ok(images)
    }

    /// The name of stack and database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the ECS cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The name of the ECS service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }
}

/// Creates the stack of a repository that names these stacks, pushes the first image, and answers the
/// image's URI.
async fn create_repository(
    account: &Account,
    repository: &str,
    stacks: &str,
    image: &Image,
) -> Result<String> {
    let uri = deploy_repository(account, repository, stacks).await?;
    let (aws, config) = (account.aws(), account.config());
    image::push(aws, config, repository, Some(FIRST_TAG), image).await?;
    Ok(format!("{uri}:{FIRST_TAG}"))
}

/// Creates the stack of a repository that names these stacks, and answers the repository's URI.
async fn deploy_repository(account: &Account, repository: &str, stacks: &str) -> Result<String> {
    let stack = format!("{repository}-repository");
    let template = root().join("infra/image-repository.yml");
    let parameters = owned(&[("RepositoryName", repository), ("Stacks", stacks)]);
    account.deploy(&stack, &template, &parameters).await?;
    output(&account.outputs(&stack).await?, "RepositoryUri")
}

/// The template of an application's stack, or a copy of it with the outputs at its end and with the
/// property in its task definitions.
fn template_with(account: &Account, name: &str, settings: Settings<'_>) -> Result<PathBuf> {
    let template = root().join("infra/cluster.yml");
    let (property, role_path) = (settings.of_task_definitions, settings.role_path);
    if settings.outputs.is_empty() && property.is_empty() && role_path.is_empty() {
        return Ok(template);
    }
    let mut text = std::fs::read_to_string(&template)?;
    if !property.is_empty() {
        let first = "      NetworkMode: awsvpc\n";
        ensure!(
            text.contains(first),
            "no task definition has the network mode"
        );
        text = text.replace(first, &format!("{first}      {property}\n"));
    }
    if !role_path.is_empty() {
        let usual = "      Path: /bluegreen/\n";
        ensure!(text.contains(usual), "no role has the usual path");
        text = text.replace(usual, &format!("      Path: {role_path}\n"));
    }
    for (output, value) in settings.outputs {
        text.push_str(&format!("  {output}:\n    Value: '{value}'\n"));
    }
    let copy = account.scratch(&format!("{name}.yml"));
    std::fs::write(&copy, text)?;
    Ok(copy)
}

/// What a service revision runs.
async fn task_definition_of(ecs: &aws_sdk_ecs::Client, revision: Option<&str>) -> Result<String> {
    let answer = ecs
        .describe_service_revisions()
        .set_service_revision_arns(revision.map(|arn| vec![arn.to_owned()]))
        .send()
        .await?;
    let revision = answer.service_revisions().first();
    let task_definition = revision.and_then(|revision| revision.task_definition());
    Ok(task_definition.context("no such revision")?.to_owned())
}

async fn image_of(ecs: &aws_sdk_ecs::Client, task_definition: &str) -> Result<String> {
    let answer = ecs
        .describe_task_definition()
        .task_definition(task_definition)
        .send()
        .await?;
    let image = answer
        .task_definition()
        .and_then(|definition| definition.container_definitions().first())
        .and_then(|container| container.image())
        .context("the task definition has no image")?;
    Ok(image.to_owned())
}

/// A name for PostgreSQL, which knows no hyphens in names without quotes.
fn database_of(application: &str) -> String {
    application.replace('-', "_")
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn seconds_between(start: Option<&DateTime>, end: Option<&DateTime>) -> Result<f64> {
    let (start, end) = start.zip(end).context("it has no start or no end yet")?;
    Ok(end.as_secs_f64() - start.as_secs_f64())
}
