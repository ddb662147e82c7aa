//! The service deployment that a service's update has begun, and what it runs.

use crate::verdict::Tasks;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{
    CreatedAt, DeploymentRolloutState, Service, ServiceDeployment, ServiceDeploymentBrief,
    ServiceDeploymentStatus,
};
use bluegreen_contract::{UpdatedService, UpdatedServices};
use bluegreen_ecs::{DEPLOYMENTS_BATCH, Seen, is_enough, primary, rollout_state};
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::collections::HashMap;

/// The most that a page of ListServiceDeployments holds.
const PAGE: i32 = 100;

/// Milliseconds in which ECS tells of every deployment that was begun: its API is eventually
/// consistent
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html>).
const UNTOLD: i64 = 60_000;

/// Milliseconds before the end of an update, as long as an update may have been tried again: its
/// deployments have begun since. ECS remembers a service's deployments for 90 days, and to ask for all
/// of them takes a busy service many calls.
const RECENT: i64 = 24 * 60 * 60 * 1000;

/// Whether the update is so young that ECS may not tell of it yet.
pub(crate) fn may_be_untold(update: &UpdatedServices, now: i64) -> bool {
    now < update.at + UNTOLD
}

/// The tasks of the deployment that has or will have all traffic.
pub(crate) fn tasks(service: &Service) -> Option<Tasks> {
    let primary = primary(service)?;
    let (running, desired) = (primary.running_count(), primary.desired_count());
    Some(Tasks {
        task_definition: primary.task_definition()?.to_owned(),
        running,
        desired,
        are_enough: is_enough(service, running, desired),
    })
}

/// Whether ECS is replacing the service's tasks by those of the wanted revision, as the service
/// itself tells, and none of these has failed.
pub(crate) fn is_moving(service: &Service, wanted: &UpdatedService) -> bool {
    let has_failed = primary(service).is_some_and(|primary| primary.failed_tasks() > 0);
    service.current_service_deployment().is_some()
        && !has_failed
        && has_rollout(service, wanted, &DeploymentRolloutState::InProgress)
}

/// Whether the service tells that its tasks are those of the wanted revision. Only its deployment
/// tells whether that is success.
pub(crate) fn has_moved(service: &Service, wanted: &UpdatedService) -> bool {
    has_rollout(service, wanted, &DeploymentRolloutState::Completed)
}

fn has_rollout(service: &Service, wanted: &UpdatedService, state: &DeploymentRolloutState) -> bool {
    primary(service).is_some_and(|primary| {
        primary.task_definition() == Some(&wanted.task_definition)
            && rollout_state(primary) == *state
    })
}

/// A service deployment and the one that came after it.
pub(crate) struct Found {
    pub(crate) deployment: ServiceDeployment,
    /// ARN of the service's newest deployment, where that is a later one.
    pub(crate) newer: Option<String>,
}

/// For each service the newest deployment whose target is the revision of the release, which was
/// updated by `updated_at`. Only where that is not the one in progress does the service's history have
/// to be asked for.
pub(crate) async fn find(
    client: &Client,
    wanted: &[&UpdatedService],
    seen: &Seen,
    updated_at: i64,
) -> Result<Vec<Option<Found>>, AwsRequestFailed> {
    let mut histories = Vec::new();
    for service in wanted {
        if current(seen, service).is_none() {
            histories.push(History::since(client, service, Some(updated_at - RECENT)).await?);
        }
    }
    let past = find_in_histories(client, histories, seen).await?;
    let untold = past.values().filter(|past| !past.is_successful());
    let untold = untold.filter_map(|past| past.brief.service_deployment_arn());
    let mut details = bluegreen_ecs::describe_deployments(client, untold).await?;
    let found = wanted.iter().map(|service| {
        if let Some(current) = current(seen, service) {
            return Some(Found {
                deployment: current.clone(),
                newer: None,
            });
        }
        let past = past.get(service.service.as_str())?;
        let arn = past.brief.service_deployment_arn()?;
        let deployment = match past.is_successful() {
            true => successful(&past.brief),
            false => details.remove(arn)?,
        };
        Some(Found {
            deployment,
            newer: past.newer.clone(),
        })
    });
    Ok(found.collect())
}

/// The deployment in progress, where it brings the revision of the release.
fn current<'a>(seen: &'a Seen, service: &UpdatedService) -> Option<&'a ServiceDeployment> {
    let deployment = seen.deployment(&service.service)?;
    (seen.target(deployment) == Some(&service.task_definition)).then_some(deployment)
}

/// The deployment that brought a service the revision, as its history tells.
struct Past {
    brief: ServiceDeploymentBrief,
    newer: Option<String>,
}

impl Past {
    /// There is nothing more that its details could tell.
    fn is_successful(&self) -> bool {
        self.brief.status() == Some(&ServiceDeploymentStatus::Successful)
    }
}

fn successful(brief: &ServiceDeploymentBrief) -> ServiceDeployment {
    ServiceDeployment::builder()
        .set_service_deployment_arn(brief.service_deployment_arn.clone())
        .set_status(brief.status.clone())
        .set_finished_at(brief.finished_at)
        .build()
}

/// What ECS remembers of a service's deployments.
struct History<'a> {
    service: &'a UpdatedService,
    newest_first: Vec<ServiceDeploymentBrief>,
    /// How many of them are known to bring another revision.
    looked_at: usize,
    /// Not only the recent ones.
    is_whole: bool,
}

impl<'a> History<'a> {
    async fn since(
        client: &Client,
        service: &'a UpdatedService,
        since: Option<i64>,
    ) -> Result<Self, AwsRequestFailed> {
        Ok(Self {
            service,
            newest_first: newest_first(client, service, since).await?,
            looked_at: 0,
            is_whole: since.is_none(),
        })
    }

    fn is_exhausted(&self) -> bool {
        self.looked_at >= self.newest_first.len()
    }

    /// The next so many of which the revision is not known yet.
    fn next(&self, count: usize) -> &[ServiceDeploymentBrief] {
        let end = self.newest_first.len().min(self.looked_at + count);
        &self.newest_first[self.looked_at..end]
    }
}

/// By the service's ARN. Mostly the newest deployment is the one, and the service tells what it runs;
/// otherwise each call asks for the revisions of as many deployments as it may, so that
/// many services need as few as one with a long history.
async fn find_in_histories<'a>(
    client: &Client,
    mut histories: Vec<History<'a>>,
    seen: &Seen,
) -> Result<HashMap<&'a str, Past>, AwsRequestFailed> {
    let mut found = HashMap::new();
    histories.retain(|history| {
        let newest = history.newest_first.first().filter(|newest| {
            let target = newest.target_service_revision_arn();
            let task_definition = target.and_then(|target| seen.task_definition(target));
            task_definition == Some(&history.service.task_definition)
        });
        let Some(brief) = newest.cloned() else {
            return true;
        };
        let newer = None;
        found.insert(history.service.service.as_str(), Past { brief, newer });
        false
    });
    loop {
        for history in &mut histories {
            // A release may wait for a deployment that it found, and that began before.
            if history.is_exhausted() && !history.is_whole {
                *history = History::since(client, history.service, None).await?;
            }
        }
        histories.retain(|history| !history.is_exhausted());
        if histories.is_empty() {
            return Ok(found);
        }
        let count = (DEPLOYMENTS_BATCH / histories.len()).max(1);
        let targets = histories
            .iter()
            .flat_map(|history| history.next(count))
            .filter_map(ServiceDeploymentBrief::target_service_revision_arn);
        let task_definitions = bluegreen_ecs::task_definitions(client, targets).await?;
        histories.retain_mut(|history| {
            let wanted = &history.service.task_definition;
            let brief = history.next(count).iter().find(|brief| {
                brief
                    .target_service_revision_arn()
                    .and_then(|revision| task_definitions.get(revision))
                    == Some(wanted)
            });
            let Some(brief) = brief.cloned() else {
                history.looked_at += count;
                return true;
            };
            let newest = history.newest_first.first();
            let newest = newest.and_then(ServiceDeploymentBrief::service_deployment_arn);
            let newer = newest.filter(|newest| Some(*newest) != brief.service_deployment_arn());
            let newer = newer.map(str::to_owned);
            found.insert(history.service.service.as_str(), Past { brief, newer });
            false
        });
    }
}

/// The last deployment of each service and the ARN of the task definition that was its target, by
/// the service's ARN. The services were updated by `updated_at`, if at all.
pub(crate) async fn newest<'a>(
    client: &Client,
    services: &[&'a UpdatedService],
    updated_at: i64,
) -> Result<HashMap<&'a str, (ServiceDeployment, Option<String>)>, AwsRequestFailed> {
    let mut newest = HashMap::new();
    for service in services {
        let mut history = newest_first(client, service, Some(updated_at - RECENT)).await?;
        if history.is_empty() {
            history = newest_first(client, service, None).await?;
        }
        let last = history.into_iter().next();
        if let Some(arn) = last.and_then(|brief| brief.service_deployment_arn) {
            newest.insert(service.service.as_str(), arn);
        }
    }
    let arns = newest.values().map(String::as_str);
    let mut details = bluegreen_ecs::describe_deployments(client, arns).await?;
    let targets = details.values().filter_map(bluegreen_ecs::target);
    let task_definitions = bluegreen_ecs::task_definitions(client, targets).await?;
    let described = newest.into_iter().filter_map(|(service, arn)| {
        let deployment = details.remove(&arn)?;
        let target = bluegreen_ecs::target(&deployment);
        let task_definition = target
            .and_then(|target| task_definitions.get(target))
            .cloned();
        Some((service, (deployment, task_definition)))
    });
    Ok(described.collect())
}

/// The deployments that began after `since`, in milliseconds since 1970, or all. The order of ECS's
/// answer is not documented.
async fn newest_first(
    client: &Client,
    service: &UpdatedService,
    since: Option<i64>,
) -> Result<Vec<ServiceDeploymentBrief>, AwsRequestFailed> {
    let since = since.map(DateTime::from_millis);
    let since = since.map(|since| CreatedAt::builder().after(since).build());
    let mut history = Vec::new();
    let mut next_token = None;
    loop {
        let page = client
            .list_service_deployments()
            .cluster(&service.cluster)
            .service(&service.service)
            .set_created_at(since.clone())
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
