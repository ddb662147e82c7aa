//! The services of a stack and their tasks.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{DesiredStatus, Service, Task, TaskField};
use bluegreen_ecs::describe_services;

use crate::names::StackName;
use crate::trouble::{asked, failed};
use crate::world::World;

/// DescribeTasks takes no more at once
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html>).
const BATCH: usize = 100;

/// ARNs of a stack's services, each with its cluster's, in order.
///
/// # Errors
/// There is no such stack, or CloudFormation does not answer.
pub async fn services_of(world: &World, stack: &StackName) -> Result<Vec<(String, String)>> {
    let stacks = world.stacks();
    let name = stack.as_str();
    if stacks.find(name).await?.is_none() {
        bail!("There is no stack {name} in region {}.", world.region());
    }
    let mut services = stacks.resources(name, "AWS::ECS::Service").await?;
    services.sort();
    let with_cluster = |service: String| Some((cluster_of(&service)?, service));
    Ok(services.into_iter().filter_map(with_cluster).collect())
}

/// The same, as ECS describes them, by their ARNs.
///
/// # Errors
/// ECS does not answer.
pub async fn described(
    ecs: &Client,
    services: &[(String, String)],
) -> Result<BTreeMap<String, Service>> {
    let pairs = services.iter();
    let pairs = pairs.map(|(cluster, service)| (cluster.as_str(), service.as_str()));
    let found = describe_services(ecs, pairs).await.map_err(asked)?;
    Ok(found.into_iter().collect())
}

/// `arn:…:cluster/CLUSTER` of `arn:…:service/CLUSTER/NAME`; of an old ARN, which does not name its cluster,
/// nothing is known.
fn cluster_of(service: &str) -> Option<String> {
    let (prefix, name) = service.split_once(":service/")?;
    let (cluster, _) = name.split_once('/')?;
    Some(format!("{prefix}:cluster/{cluster}"))
}

/// The name at the end of an ARN.
#[must_use]
pub fn name_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// ARNs of a service's tasks.
///
/// # Errors
/// ECS does not answer.
pub async fn tasks_of(
    ecs: &Client,
    cluster: &str,
    service: &str,
    status: DesiredStatus,
) -> Result<Vec<String>> {
    let mut pages = ecs
        .list_tasks()
        .cluster(cluster)
        .service_name(name_of(service))
        .desired_status(status)
        .into_paginator()
        .items()
        .send();
    let mut tasks = Vec::new();
    while let Some(task) = pages.next().await {
        tasks.push(task.map_err(|error| failed(error, "ECS does not tell of the tasks"))?);
    }
    Ok(tasks)
}

/// Tasks of a cluster, given by their ARNs or ids. One that ECS has forgotten is left out.
///
/// # Errors
/// ECS does not answer.
pub async fn describe_tasks(ecs: &Client, cluster: &str, tasks: &[String]) -> Result<Vec<Task>> {
    let mut found = Vec::new();
    for batch in tasks.chunks(BATCH) {
        let answer = ecs
            .describe_tasks()
            .cluster(cluster)
            .set_tasks(Some(batch.to_vec()))
            .include(TaskField::Tags)
            .send()
            .await
            .map_err(|error| failed(error, "ECS does not tell of the tasks"))?;
        found.extend(answer.tasks.unwrap_or_default());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_of_a_service_stands_in_its_arn() {
        let service = "arn:aws:ecs:eu-central-1:123456789012:service/shop/web";
        let cluster = "arn:aws:ecs:eu-central-1:123456789012:cluster/shop";
        assert_eq!(cluster_of(service).as_deref(), Some(cluster));
        assert_eq!(cluster_of("arn:aws:ecs:eu-central-1:1:service/web"), None);
    }
}
