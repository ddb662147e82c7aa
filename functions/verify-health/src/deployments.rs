//! The service deployment that a service's update has begun, and what it runs.

use crate::verdict::Tasks;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{Service, ServiceDeployment, ServiceDeploymentBrief};
use bluegreen_contract::UpdatedService;
use bluegreen_sdk_config::{AwsRequestFailed, failed};
use std::collections::HashMap;

/// DescribeServiceDeployments and DescribeServiceRevisions take no more at once
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html>).
const BATCH: usize = 20;
/// The most that a page of ListServiceDeployments holds.
const PAGE: i32 = 100;

/// A service deployment and the one that came after it.
pub(crate) struct Found {
    /// ARN of the service deployment.
    pub(crate) deployment: String,
    /// ARN of the service's newest deployment, where that is a later one.
    pub(crate) newer: Option<String>,
}

/// The newest deployment of the service whose target is the revision of the release.
pub(crate) async fn find(
    client: &Client,
    service: &UpdatedService,
) -> Result<Option<Found>, AwsRequestFailed> {
    let history = newest_first(client, service).await?;
    for batch in history.chunks(BATCH) {
        let task_definitions = task_definitions(client, batch).await?;
        let found = batch.iter().find(|brief| {
            brief
                .target_service_revision_arn()
                .and_then(|revision| task_definitions.get(revision))
                .is_some_and(|task_definition| *task_definition == service.task_definition)
        });
        if let Some(deployment) = found.and_then(|brief| brief.service_deployment_arn()) {
            let newest = history[0].service_deployment_arn();
            return Ok(Some(Found {
                deployment: deployment.to_owned(),
                newer: newest
                    .filter(|newest| *newest != deployment)
                    .map(str::to_owned),
            }));
        }
    }
    Ok(None)
}

/// All that ECS remembers of the service's deployments. The order of its answer is not documented.
async fn newest_first(
    client: &Client,
    service: &UpdatedService,
) -> Result<Vec<ServiceDeploymentBrief>, AwsRequestFailed> {
    let mut history = Vec::new();
    let mut next_token = None;
    loop {
        let page = client
            .list_service_deployments()
            .cluster(&service.cluster)
            .service(&service.service)
            .max_results(PAGE)
            .set_next_token(next_token)
            .send()
            .await
            .map_err(failed("ecs:ListServiceDeployments", &service.service))?;
        history.extend(page.service_deployments.unwrap_or_default());
        next_token = page.next_token.filter(|token| !token.is_empty());
        if next_token.is_none() {
            break;
        }
    }
    history.sort_by(|a, b| b.created_at().cmp(&a.created_at()));
    Ok(history)
}

/// ARN of each target service revision with the ARN of its task definition.
async fn task_definitions(
    client: &Client,
    deployments: &[ServiceDeploymentBrief],
) -> Result<HashMap<String, String>, AwsRequestFailed> {
    let mut revisions: Vec<String> = deployments
        .iter()
        .filter_map(|brief| brief.target_service_revision_arn())
        .map(str::to_owned)
        .collect();
    revisions.sort();
    revisions.dedup();
    if revisions.is_empty() {
        return Ok(HashMap::new());
    }
    let asked = revisions.join(", ");
    let answer = client
        .describe_service_revisions()
        .set_service_revision_arns(Some(revisions))
        .send()
        .await
        .map_err(failed("ecs:DescribeServiceRevisions", asked))?;
    Ok(answer
        .service_revisions()
        .iter()
        .filter_map(|revision| {
            Some((
                revision.service_revision_arn()?.to_owned(),
                revision.task_definition()?.to_owned(),
            ))
        })
        .collect())
}

/// The deployments by their ARN. One that ECS does not know is left out.
pub(crate) async fn describe(
    client: &Client,
    found: &[Found],
) -> Result<HashMap<String, ServiceDeployment>, AwsRequestFailed> {
    let mut details = HashMap::new();
    for batch in found.chunks(BATCH) {
        let arns: Vec<String> = batch.iter().map(|found| found.deployment.clone()).collect();
        let asked = arns.join(", ");
        let answer = client
            .describe_service_deployments()
            .set_service_deployment_arns(Some(arns))
            .send()
            .await
            .map_err(failed("ecs:DescribeServiceDeployments", asked))?;
        for deployment in answer.service_deployments.unwrap_or_default() {
            if let Some(arn) = deployment.service_deployment_arn() {
                details.insert(arn.to_owned(), deployment);
            }
        }
    }
    Ok(details)
}

/// What each service runs at this moment, by the service's ARN.
pub(crate) async fn tasks(
    client: &Client,
    services: &[&UpdatedService],
) -> Result<HashMap<String, Tasks>, AwsRequestFailed> {
    let asked = services
        .iter()
        .map(|service| (service.cluster.as_str(), service.service.as_str()));
    let described = bluegreen_services::describe(client, asked).await?;
    Ok(described
        .into_iter()
        .filter_map(|(arn, service)| Some((arn, primary(&service)?)))
        .collect())
}

/// The tasks of the deployment that has or will have all traffic.
fn primary(service: &Service) -> Option<Tasks> {
    let primary = service
        .deployments()
        .iter()
        .find(|deployment| deployment.status() == Some("PRIMARY"))?;
    Some(Tasks {
        task_definition: primary.task_definition()?.to_owned(),
        running: primary.running_count(),
        desired: primary.desired_count(),
    })
}
