//! The service deployment that a service's update has begun, and what it runs.

use crate::verdict::Tasks;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{
    Service, ServiceDeployment, ServiceDeploymentBrief, ServiceRevisionSummary,
};
use bluegreen_contract::UpdatedService;
use bluegreen_runtime::{AwsRequestFailed, failed};
use bluegreen_ecs::DEPLOYMENTS_BATCH;
use std::collections::HashMap;

/// The most that a page of ListServiceDeployments holds.
const PAGE: i32 = 100;

/// What ECS tells of all services in a few calls, however many there are.
pub(crate) struct Seen {
    pub(crate) services: HashMap<String, Service>,
    /// Deployments in progress, by the service's ARN.
    in_progress: HashMap<String, ServiceDeployment>,
    /// ARN of the target service revision of each with the ARN of its task definition.
    task_definitions: HashMap<String, String>,
}

impl Seen {
    pub(crate) async fn look(
        client: &Client,
        wanted: &[UpdatedService],
    ) -> Result<Self, AwsRequestFailed> {
        let asked = wanted
            .iter()
            .map(|service| (service.cluster.as_str(), service.service.as_str()));
        let services = bluegreen_ecs::describe_services(client, asked).await?;
        let in_progress = bluegreen_ecs::in_progress(client, services.values()).await?;
        let targets = in_progress.values().filter_map(target);
        let task_definitions = bluegreen_ecs::task_definitions(client, targets).await?;
        Ok(Seen {
            services,
            in_progress,
            task_definitions,
        })
    }

    /// The service's deployment, where one is in progress.
    pub(crate) fn in_progress(&self, service: &UpdatedService) -> Option<&ServiceDeployment> {
        self.in_progress.get(&service.service)
    }

    /// The tasks of the deployment that has or will have all traffic.
    pub(crate) fn tasks(&self, service: &UpdatedService) -> Option<Tasks> {
        let described = self.services.get(&service.service)?;
        let primary = described
            .deployments()
            .iter()
            .find(|deployment| deployment.status() == Some("PRIMARY"))?;
        Some(Tasks {
            task_definition: primary.task_definition()?.to_owned(),
            running: primary.running_count(),
            desired: primary.desired_count(),
        })
    }

    /// The deployment in progress, where it brings the revision of the release.
    fn current(&self, service: &UpdatedService) -> Option<&ServiceDeployment> {
        let deployment = self.in_progress(service)?;
        let task_definition = self.task_definitions.get(target(deployment)?)?;
        (*task_definition == service.task_definition).then_some(deployment)
    }
}

/// A service deployment and the one that came after it.
pub(crate) struct Found {
    pub(crate) deployment: ServiceDeployment,
    /// ARN of the service's newest deployment, where that is a later one.
    pub(crate) newer: Option<String>,
}

/// For each service the newest deployment whose target is the revision of the release. Only where
/// that is not the one in progress does the service's history have to be asked for.
pub(crate) async fn find(
    client: &Client,
    wanted: &[UpdatedService],
    seen: &Seen,
) -> Result<Vec<Option<Found>>, AwsRequestFailed> {
    let mut past = HashMap::new();
    for service in wanted {
        if seen.current(service).is_none()
            && let Some(found) = find_in_history(client, service).await?
        {
            past.insert(service.service.as_str(), found);
        }
    }
    let arns = past.values().map(|found| found.deployment.as_str());
    let details = bluegreen_ecs::describe_deployments(client, arns).await?;
    let found = wanted.iter().map(|service| match seen.current(service) {
        Some(current) => Some(Found {
            deployment: current.clone(),
            newer: None,
        }),
        None => past.remove(service.service.as_str()).and_then(|past| {
            Some(Found {
                deployment: details.get(&past.deployment)?.clone(),
                newer: past.newer,
            })
        }),
    });
    Ok(found.collect())
}

struct Past {
    /// ARN of the service deployment.
    deployment: String,
    newer: Option<String>,
}

async fn find_in_history(
    client: &Client,
    service: &UpdatedService,
) -> Result<Option<Past>, AwsRequestFailed> {
    let history = newest_first(client, service).await?;
    for batch in history.chunks(DEPLOYMENTS_BATCH) {
        let targets = batch
            .iter()
            .filter_map(ServiceDeploymentBrief::target_service_revision_arn);
        let task_definitions = bluegreen_ecs::task_definitions(client, targets).await?;
        let found = batch.iter().find(|brief| {
            brief
                .target_service_revision_arn()
                .and_then(|revision| task_definitions.get(revision))
                .is_some_and(|task_definition| *task_definition == service.task_definition)
        });
        if let Some(deployment) = found.and_then(|brief| brief.service_deployment_arn()) {
            let newest = history[0].service_deployment_arn();
            return Ok(Some(Past {
                deployment: deployment.to_owned(),
                newer: newest
                    .filter(|newest| *newest != deployment)
                    .map(str::to_owned),
            }));
        }
    }
    Ok(None)
}

/// The last deployment of a service, and the ARN of the task definition that was its target.
pub(crate) async fn newest(
    client: &Client,
    service: &UpdatedService,
) -> Result<Option<(ServiceDeployment, Option<String>)>, AwsRequestFailed> {
    let history = newest_first(client, service).await?;
    let Some(arn) = history
        .first()
        .and_then(ServiceDeploymentBrief::service_deployment_arn)
    else {
        return Ok(None);
    };
    let mut details = bluegreen_ecs::describe_deployments(client, [arn]).await?;
    let Some(deployment) = details.remove(arn) else {
        return Ok(None);
    };
    let mut task_definitions =
        bluegreen_ecs::task_definitions(client, target(&deployment)).await?;
    let task_definition = target(&deployment).and_then(|target| task_definitions.remove(target));
    Ok(Some((deployment, task_definition)))
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

fn target(deployment: &ServiceDeployment) -> Option<&str> {
    deployment
        .target_service_revision()
        .and_then(ServiceRevisionSummary::arn)
}
