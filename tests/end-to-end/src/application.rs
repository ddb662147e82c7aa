//! The sample application in an [`Account`]: its two stacks, its database, its state.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::DesiredStatus;

use crate::account::{Account, output, root};
use crate::execution::Execution;
use crate::image::{self, Image};
use crate::visitor::Visitor;

/// The tag of the image that an application's stack is created with.
pub const FIRST_TAG: &str = "v1";

/// An application: stack, repository and database of one name.
#[derive(Debug)]
pub struct Application<'a> {
    account: &'a Account,
    name: String,
    cluster: String,
    service: String,
    url: String,
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
    /// The rollout state of the PRIMARY deployment.
    pub rollout: String,
    /// Running tasks.
    pub running: i32,
    /// Wanted tasks.
    pub desired: i32,
}

impl<'a> Application<'a> {
    pub(crate) async fn create(
        account: &'a Account,
        name: &str,
        image: &Image,
        further: &[(&str, &str)],
    ) -> Result<Self> {
        let repository_stack = format!("{name}-repository");
        let repository = [("RepositoryName", name), ("Stacks", name)];
        let infra = root().join("infra");
        account
            .deploy(
                &repository_stack,
                &infra.join("image-repository.yml"),
                &owned(&repository),
            )
            .await?;
        let repository_uri = output(&account.outputs(&repository_stack).await?, "RepositoryUri")?;
        image::push(
            account.aws(),
            account.config(),
            name,
            Some(FIRST_TAG),
            image,
        )
        .await?;

        let image_parameter = format!("/bluegreen/{name}/image");
        let first_image = format!("{repository_uri}:{FIRST_TAG}");
        account
            .put_parameter(&image_parameter, &first_image)
            .await?;
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
        ]);
        parameters.extend(owned(further));
        account
            .deploy(name, &infra.join("cluster.yml"), &parameters)
            .await?;
        let outputs = account.outputs(name).await?;
        Ok(Self {
            account,
            name: name.to_owned(),
            cluster: output(&outputs, "ClusterName")?,
            service: output(&outputs, "ServiceName")?,
            url: output(&outputs, "LoadBalancerUrl")?,
        })
    }

    /// Brings the database to the first image's version: CloudFormation starts services, but
    /// runs no migration. As by hand from the console.
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

    /// Pushes an image under a tag; answers its digest.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn push(&self, tag: &str, image: &Image) -> Result<String> {
        let (aws, config) = (self.account.aws(), self.account.config());
        image::push(aws, config, &self.name, Some(tag), image).await
    }

    /// Pushes an image under a tag and waits for the execution that this starts.
    ///
    /// # Errors
    /// It was not taken, or started no execution.
    pub async fn push_and_notice(&self, tag: &str, image: &Image) -> Result<Execution> {
        let digest = self.push(tag, image).await?;
        self.account.execution_of_push(&self.name, &digest).await
    }

    /// What ECS says of the service now.
    ///
    /// # Errors
    /// ECS does not know it.
    pub async fn service_state(&self) -> Result<ServiceState> {
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let service = self.describe_service(&ecs).await?;
        let primary = service
            .deployments()
            .iter()
            .find(|deployment| deployment.status() == Some("PRIMARY"))
            .context("the service has no primary deployment")?;
        let task_definition = service.task_definition().context("no task definition")?;
        Ok(ServiceState {
            image: image_of(&ecs, task_definition).await?,
            running_images: self.running_images(&ecs).await?,
            deployments: service.deployments().len(),
            rollout: primary
                .rollout_state()
                .map(|state| state.as_str().to_owned())
                .unwrap_or_default(),
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
        let service = self.describe_service(&ecs).await?;
        let task_definition = service.task_definition().context("no task definition")?;
        Ok(task_definition.to_owned())
    }

    async fn describe_service(
        &self,
        ecs: &aws_sdk_ecs::Client,
    ) -> Result<aws_sdk_ecs::types::Service> {
        let answer = ecs
            .describe_services()
            .cluster(&self.cluster)
            .services(&self.service)
            .send()
            .await?;
        answer
            .services
            .unwrap_or_default()
            .pop()
            .context("no such service")
    }

    async fn running_images(&self, ecs: &aws_sdk_ecs::Client) -> Result<Vec<String>> {
        let arns = ecs
            .list_tasks()
            .cluster(&self.cluster)
            .service_name(&self.service)
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

    /// The tasks of the cluster that run and are no part of the service: migrations.
    ///
    /// # Errors
    /// ECS does not answer.
    pub async fn running_migrations(&self) -> Result<usize> {
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let all = ecs.list_tasks().cluster(&self.cluster).send().await?;
        let of_service = ecs
            .list_tasks()
            .cluster(&self.cluster)
            .service_name(&self.service)
            .send()
            .await?;
        // The service may have started tasks between the two answers.
        let of_service = of_service.task_arns();
        let others = all.task_arns().iter();
        Ok(others.filter(|task| !of_service.contains(task)).count())
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
            let revision = ecs
                .describe_service_revisions()
                .set_service_revision_arns(
                    deployment
                        .target_service_revision_arn()
                        .map(|arn| vec![arn.to_owned()]),
                )
                .send()
                .await?;
            let deployed = revision
                .service_revisions()
                .first()
                .and_then(|revision| revision.task_definition());
            if deployed == Some(task_definition) {
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
                &database_of(&self.name),
                "SELECT version::text FROM _sqlx_migrations WHERE success ORDER BY version",
            )
            .await?;
        Ok(rows.into_iter().flatten().flatten().collect())
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

    /// The name of stack, repository and database.
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
