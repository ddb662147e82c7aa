//! Whether services are back at their revisions.
//!
//! A deployment of the revision that was completed long ago says nothing: what counts is that the
//! service is at rest with it.

use crate::deployments;
use crate::failure::Failure;
use crate::verdict::{self, Observation, ServiceHealth};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{Deployment, DeploymentRolloutState, Service, ServiceDeployment};
use bluegreen_contract::{UpdatedService, UpdatedServices, Verdict};
use bluegreen_ecs::{Seen, is_enough, primary, status};

/// What became of the services. While one is known to be in progress, nobody is asked about those
/// that are neither in progress nor back: nothing is decided before all are.
///
/// # Errors
/// `DeploymentNotFound` where a service is at rest with another revision and ECS does not tell of
/// a rollback that failed, and has had the time to.
pub(crate) async fn verify(
    client: &Client,
    update: &UpdatedServices,
    seen: &Seen,
    deadline: i64,
    now: i64,
) -> Result<Vec<ServiceHealth>, Failure> {
    let mut services = Vec::with_capacity(update.services.len());
    let mut elsewhere = Vec::new();
    for wanted in &update.services {
        match told_by_now(seen, wanted) {
            Some(health) => services.push(health),
            None => elsewhere.push(wanted),
        }
    }
    let is_undecided = |service: &ServiceHealth| service.verdict == Verdict::InProgress;
    if now <= deadline && services.iter().any(is_undecided) {
        return Ok(services);
    }
    let newest = deployments::newest(client, &elsewhere, update.at).await?;
    for wanted in elsewhere {
        services.push(match newest.get(wanted.service.as_str()) {
            Some((deployment, target)) if is_rollback(deployment, target.as_deref(), wanted) => {
                of_deployment(deployment, wanted)
            }
            _ if deployments::may_be_untold(update, now) => verdict::not_told_yet(wanted),
            _ => return Err(Failure::not_found(wanted)),
        });
    }
    Ok(services)
}

/// What a service tells that moves, or is at rest with its revision.
fn told_by_now(seen: &Seen, wanted: &UpdatedService) -> Option<ServiceHealth> {
    match seen.deployment(&wanted.service) {
        Some(deployment) => Some(of_deployment(deployment, wanted)),
        None => at_rest(seen.service(&wanted.service)?, wanted),
    }
}

fn is_rollback(
    deployment: &ServiceDeployment,
    target: Option<&str>,
    wanted: &UpdatedService,
) -> bool {
    target == Some(&wanted.task_definition) || status(deployment) == "ROLLBACK_FAILED"
}

/// The verdict on the rollback, judged by the service's newest deployment. Its success is told by
/// the service alone: what ECS tells of that may be a moment older.
fn of_deployment(deployment: &ServiceDeployment, wanted: &UpdatedService) -> ServiceHealth {
    let health = verdict::of_service(
        wanted,
        &Observation {
            deployment,
            task_definition: &wanted.task_definition,
            newer: None,
            tasks: None,
            failures: None,
        },
    );
    ServiceHealth {
        reason: format!("During the rollback: {}", health.reason),
        ..health
    }
}

/// `None` for a service that has another revision.
fn at_rest(service: &Service, wanted: &UpdatedService) -> Option<ServiceHealth> {
    let revision = &wanted.task_definition;
    if service.task_definition() != Some(revision.as_str()) {
        return None;
    }
    let rollout = bluegreen_ecs::rollout(service);
    let state = rollout
        .as_ref()
        .map_or("IN_PROGRESS", DeploymentRolloutState::as_str);
    let (running, desired) = (running(service), service.desired_count());
    let (verdict, reason) = match &rollout {
        Some(DeploymentRolloutState::Completed) if running == desired => (
            Verdict::Succeeded,
            format!("All {running} tasks run {revision} again."),
        ),
        Some(DeploymentRolloutState::Completed) if is_enough(service, running, desired) => (
            Verdict::Succeeded,
            format!(
                "{running} of {desired} tasks run {revision} again, which is enough by its early success criteria."
            ),
        ),
        Some(DeploymentRolloutState::Failed) => (
            Verdict::Stalled,
            format!(
                "The deployment of {revision} failed and is not in progress any more: {running} of {desired} tasks are running."
            ),
        ),
        _ => (
            Verdict::InProgress,
            format!(
                "The rollback to {revision} is {state} with {running} of {desired} tasks running."
            ),
        ),
    };
    Some(ServiceHealth {
        service: wanted.service.clone(),
        verdict,
        reason,
        alarms: vec![],
        is_over: false,
        finished_at: None,
    })
}

/// Tasks of the revision that the service has. Others may run beside them where their clean-up is
/// deferred.
fn running(service: &Service) -> i32 {
    match service.deployments() {
        [_, _, ..] => primary(service).map_or(0, Deployment::running_count),
        _ => service.running_count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::{
        DeploymentConfiguration, DeploymentEarlySuccessCriteria, ServiceRevisionCleanup,
    };

    fn wanted() -> UpdatedService {
        UpdatedService {
            cluster: "c".to_owned(),
            service: "s".to_owned(),
            task_definition: "web:7".to_owned(),
            previous_task_definition: "web:8".to_owned(),
            replaces_tasks: false,
        }
    }

    fn judge(rollouts: &[DeploymentRolloutState], running: i32) -> Option<Verdict> {
        let deployments = rollouts
            .iter()
            .map(|state| Deployment::builder().rollout_state(state.clone()).build());
        let service = Service::builder()
            .task_definition("web:7")
            .running_count(running)
            .desired_count(2)
            .set_deployments(Some(deployments.collect()))
            .build();
        at_rest(&service, &wanted()).map(|health| health.verdict)
    }

    #[test]
    fn a_service_is_back_when_all_tasks_run_the_revision_and_nothing_else_is_left() {
        use DeploymentRolloutState::{Completed, Failed, InProgress};
        assert_eq!(judge(&[Completed], 2), Some(Verdict::Succeeded));
        assert_eq!(judge(&[Completed], 1), Some(Verdict::InProgress));
        assert_eq!(judge(&[InProgress], 2), Some(Verdict::InProgress));
        assert_eq!(
            judge(&[Completed, InProgress], 2),
            Some(Verdict::InProgress)
        );
        assert_eq!(judge(&[Failed], 1), Some(Verdict::Stalled));
    }

    /// Three tasks are wanted, two run the revision again, and those of the other one may run for
    /// two weeks (<https://github.com/kayac/ecspresso/issues/1083>).
    #[test]
    fn a_service_is_back_when_as_many_tasks_run_the_revision_as_its_criteria_want() {
        use DeploymentRolloutState::{Completed, InProgress};
        let judge = |state: DeploymentRolloutState, running| {
            let criteria = DeploymentEarlySuccessCriteria::builder()
                .enable(true)
                .healthy_percent(50)
                .source_service_revision_cleanup(ServiceRevisionCleanup::Deferred);
            let configuration =
                DeploymentConfiguration::builder().early_success_criteria(criteria.build());
            let deployment = |status: &str, state, running| {
                let deployment = Deployment::builder().status(status).rollout_state(state);
                deployment.running_count(running).build()
            };
            let service = Service::builder()
                .task_definition("web:7")
                .deployment_configuration(configuration.build())
                .running_count(running + 3)
                .desired_count(3)
                .deployments(deployment("PRIMARY", state, running))
                .deployments(deployment("ACTIVE", Completed, 3))
                .build();
            at_rest(&service, &wanted()).map(|health| health.verdict)
        };
        assert_eq!(judge(Completed, 2), Some(Verdict::Succeeded));
        assert_eq!(judge(Completed, 3), Some(Verdict::Succeeded));
        assert_eq!(judge(Completed, 1), Some(Verdict::InProgress));
        assert_eq!(judge(InProgress, 3), Some(Verdict::InProgress));
    }

    #[test]
    fn a_service_with_another_revision_is_not_back() {
        let service = Service::builder().task_definition("web:8").build();
        assert_eq!(at_rest(&service, &wanted()), None);
    }
}
