//! Whether a service is back at its revision.
//!
//! A deployment of the revision that was completed long ago says nothing: what counts is that the
//! service is at rest with it.

use crate::deployments::{self, Seen};
use crate::failure::Failure;
use crate::verdict::{self, Observation};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{DeploymentRolloutState, Service, ServiceDeployment};
use bluegreen_contract::{ServiceHealth, UpdatedService, Verdict};
use bluegreen_ecs::status;

/// # Errors
/// `DeploymentNotFound` where the service is at rest with another revision and ECS does not tell of
/// a way back that failed: it may not tell of the way back yet.
pub(crate) async fn verify(
    client: &Client,
    wanted: &UpdatedService,
    seen: &Seen,
) -> Result<ServiceHealth, Failure> {
    if let Some(deployment) = seen.in_progress(wanted) {
        return Ok(of_deployment(deployment, wanted));
    }
    let service = seen.services.get(&wanted.service);
    if let Some(health) = service.and_then(|service| at_rest(service, wanted)) {
        return Ok(health);
    }
    let not_found = || Failure::not_found(wanted);
    let (deployment, target) = deployments::newest(client, wanted)
        .await?
        .ok_or_else(not_found)?;
    let is_way_back = target.as_ref() == Some(&wanted.task_definition);
    if !is_way_back && status(&deployment) != "ROLLBACK_FAILED" {
        return Err(not_found());
    }
    Ok(of_deployment(&deployment, wanted))
}

/// The verdict on the way back, judged by the service's newest deployment. Its success is told by
/// the service alone: what ECS tells of that may be a moment older.
fn of_deployment(deployment: &ServiceDeployment, wanted: &UpdatedService) -> ServiceHealth {
    let (verdict, reason) = verdict::of_deployment(&Observation {
        deployment,
        task_definition: &wanted.task_definition,
        newer: None,
        tasks: None,
    });
    let reason = format!("On the way back: {reason}");
    verdict::told(wanted, deployment, (verdict, reason))
}

/// `None` for a service that has another revision.
fn at_rest(service: &Service, wanted: &UpdatedService) -> Option<ServiceHealth> {
    let revision = &wanted.task_definition;
    if service.task_definition() != Some(revision.as_str()) {
        return None;
    }
    let rollout = match service.deployments() {
        [only] => only.rollout_state(),
        _ => None,
    };
    let state = rollout.map_or("IN_PROGRESS", DeploymentRolloutState::as_str);
    let (running, desired) = (service.running_count(), service.desired_count());
    let (verdict, reason) = match rollout {
        Some(DeploymentRolloutState::Completed) if running == desired => (
            Verdict::Succeeded,
            format!("All {running} tasks run {revision} again."),
        ),
        Some(DeploymentRolloutState::Failed) => (
            Verdict::Stalled,
            format!(
                "The deployment of {revision} failed and ECS is not at work on it any more: {running} of {desired} tasks are running."
            ),
        ),
        _ => (
            Verdict::InProgress,
            format!(
                "The way back to {revision} is {state} with {running} of {desired} tasks running."
            ),
        ),
    };
    Some(ServiceHealth {
        service: wanted.service.clone(),
        verdict,
        status: state.to_owned(),
        reason,
        alarms: vec![],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::Deployment;

    fn wanted() -> UpdatedService {
        UpdatedService {
            cluster: "c".to_owned(),
            service: "s".to_owned(),
            task_definition: "web:7".to_owned(),
            previous_task_definition: "web:8".to_owned(),
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

    #[test]
    fn a_service_with_another_revision_is_not_back() {
        let service = Service::builder().task_definition("web:8").build();
        assert_eq!(at_rest(&service, &wanted()), None);
    }
}
