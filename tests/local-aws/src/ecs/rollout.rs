//! What becomes of a service's deployments: failures, rollbacks, completion.

use std::time::Duration;

use tokio::time::Instant;

use super::State;
use super::deployments::{Counts, Rollback, Rollout, Status};
use super::request::now;
use super::rolling::{self, Condition};
use super::scheduler::View;
use super::service::Service;
use super::task::LastStatus;
use crate::clock::Clock;

/// How reasons begin that the circuit breaker gives.
const CIRCUIT_BREAKER: &str = "ECS deployment circuit breaker";

/// A task of the primary deployment became healthy.
pub(super) fn forget_failures(service: &mut Service) {
    let resets = service
        .ongoing()
        .is_none_or(|deployment| deployment.breaker.resets());
    if !resets {
        return;
    }
    if let Some(primary) = service.deployments.first_mut() {
        primary.failed_tasks = 0;
        primary.next_start = None;
    }
    note_failures(service, 0);
}

/// What the service deployment says of its failures; those that tripped the circuit breaker stay.
fn note_failures(service: &mut Service, failures: u64) {
    if let Some(ongoing) = service
        .ongoing()
        .filter(|ongoing| !ongoing.breaker_triggered)
    {
        ongoing.failures = failures;
    }
}

/// Tasks of the primary deployment failed.
pub(super) fn count_failures(service: &mut Service, failed: u64, clock: Clock) {
    let Some(primary) = service.deployments.first_mut() else {
        return;
    };
    let before = rolling::retry_delay(primary.failed_tasks);
    primary.failed_tasks += failed;
    let failures = primary.failed_tasks;
    let delay = rolling::retry_delay(failures);
    primary.next_start = Some(Instant::now() + clock.scaled(delay));
    service.steady = false;
    note_failures(service, failures);
    if delay > Duration::ZERO && before == Duration::ZERO {
        service.event(
            "is unable to consistently start tasks successfully. For more information, see the \
             Troubleshooting section of the Amazon ECS Developer Guide.",
        );
    }
}

/// Moves the service deployment that is going on by what users have asked for.
pub(super) fn follow_requests(service: &mut Service, state: &State) {
    let Some(ongoing) = service.ongoing() else {
        return;
    };
    match ongoing.status {
        Status::Pending => {
            ongoing.started_at = Some(now());
            ongoing.set_status(Status::InProgress, None);
        }
        Status::StopRequested => {
            let reason = ongoing.status_reason.clone();
            ongoing.set_status(Status::Stopped, reason);
            give_up(service);
            keep_final_counts(service, state);
        }
        Status::RollbackRequested => {
            give_up(service);
            roll_back(service, "ECS deployment stopped by a user");
        }
        _ => {}
    }
}

/// The primary deployment starts no more tasks, because a user has stopped it.
fn give_up(service: &mut Service) {
    if let Some(primary) = service.deployments.first_mut() {
        let reason = format!("ECS deployment {} was stopped.", primary.id);
        primary.set_rollout(Rollout::Failed, reason);
    }
}

/// Whether the circuit breaker has seen enough of the primary deployment's failures. Those of a
/// deployment that was rolled back do not count against the one it was rolled back to.
pub(super) fn is_broken(service: &mut Service) -> bool {
    let desired = service.desired_count;
    let Some(primary) = service.deployments.first() else {
        return false;
    };
    let (rollout, failures) = (primary.rollout, primary.failed_tasks);
    service.ongoing().is_some_and(|ongoing| {
        rollout == Rollout::InProgress
            && ongoing.breaker.enable
            && failures >= ongoing.breaker.threshold(desired)
    })
}

/// The primary deployment has failed: it starts no more tasks, and where it can and shall, the
/// service returns to the last completed deployment.
///
/// Without a completed deployment to return to, "the circuit breaker does not launch new tasks
/// and the deployment is stalled"
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>).
/// What DescribeServiceDeployments says then is not documented. Here the service deployment
/// stays IN_PROGRESS, for it has neither stopped nor rolled back, with its circuit breaker
/// TRIGGERED. Where no rollback is asked for it is STOPPED, as the documentation of `stoppedAt`
/// says.
pub(super) fn fail(service: &mut Service, state: &State) {
    let can_roll_back = service.completed_deployment().is_some();
    let Some(primary) = service.deployments.first_mut() else {
        return;
    };
    let reason = format!("{CIRCUIT_BREAKER}: tasks failed to start.");
    primary.set_rollout(Rollout::Failed, reason.clone());
    let id = primary.id.clone();
    service.event(&format!(
        "(deployment {id}) deployment failed: tasks failed to start."
    ));
    let Some(ongoing) = service.ongoing() else {
        return;
    };
    ongoing.breaker_triggered = true;
    let rolling_back = ongoing.status == Status::RollbackInProgress;
    let rollback = ongoing.breaker.rollback;
    if rolling_back {
        let reason = format!("The rollback failed. {reason}");
        ongoing.set_status(Status::RollbackFailed, Some(reason));
        keep_final_counts(service, state);
    } else if !rollback {
        ongoing.set_status(Status::Stopped, Some(reason));
        keep_final_counts(service, state);
    } else if can_roll_back {
        roll_back(service, CIRCUIT_BREAKER);
    } else {
        ongoing.status_reason = Some(format!(
            "{reason} There is no completed deployment to roll back to."
        ));
        ongoing.updated_at = now();
    }
}

/// Makes the last completed deployment the primary one again.
fn roll_back(service: &mut Service, cause: &str) {
    let Some(position) = service.completed_deployment() else {
        return;
    };
    service.make_primary(position);
    let target = &mut service.deployments[0];
    let (id, revision_arn) = (target.id.clone(), target.revision_arn.clone());
    target.failed_tasks = 0;
    target.next_start = None;
    let reason = format!("{cause}: rolling back to deploymentId {id}.");
    target.set_rollout(Rollout::InProgress, reason.clone());
    service.event(&format!("rolling back to deployment {id}."));
    if let Some(ongoing) = service.ongoing() {
        ongoing.rollback = Some(Rollback {
            reason: reason.clone(),
            started_at: now(),
            revision_arn,
        });
        ongoing.set_status(Status::RollbackInProgress, Some(reason));
    }
}

/// Completes the primary deployment when all its tasks serve and no other task does any more,
/// and forgets deployments that have nothing left.
pub(super) fn conclude(service: &mut Service, state: &State, view: &View) {
    let serving = view.count(true, Condition::Healthy);
    let others = view.candidates.len() - serving;
    let settled = serving == service.desired_count && others == 0 && view.old_alive == 0;
    let Some(primary) = service.deployments.first_mut() else {
        return;
    };
    let id = primary.id.clone();
    let completes = settled && primary.rollout == Rollout::InProgress;
    if completes {
        primary.set_rollout(
            Rollout::Completed,
            format!("ECS deployment {id} completed."),
        );
        keep_final_counts(service, state);
        service.deployments.truncate(1);
        if let Some(ongoing) = service.ongoing() {
            let rolled_back = ongoing.status == Status::RollbackInProgress;
            let reason = ongoing.status_reason.clone();
            if rolled_back {
                ongoing.set_status(Status::RollbackSuccessful, reason);
            } else {
                ongoing.set_status(Status::Successful, None);
            }
        }
        service.event(&format!("(deployment {id}) deployment completed."));
    } else {
        forget_finished_deployments(service, state);
    }
    let completed = service
        .deployments
        .first()
        .is_some_and(|primary| primary.rollout == Rollout::Completed);
    if settled && completed && !service.steady {
        service.steady = true;
        service.event("has reached a steady state.");
    }
}

/// A deployment that is neither the primary one nor one to roll back to goes with its last task.
fn forget_finished_deployments(service: &mut Service, state: &State) {
    let finished: Vec<String> = service
        .deployments
        .iter()
        .skip(1)
        .filter(|deployment| {
            deployment.rollout != Rollout::Completed
                && service
                    .tasks_of(deployment, state)
                    .all(|task| task.last_status == LastStatus::Stopped)
        })
        .map(|deployment| deployment.id.clone())
        .collect();
    service
        .deployments
        .retain(|deployment| !finished.contains(&deployment.id));
}

/// Notes how many tasks each revision had when the service deployment finished.
fn keep_final_counts(service: &mut Service, state: &State) {
    let counts: Vec<(String, (usize, Counts))> = service
        .deployments
        .iter()
        .map(|deployment| {
            let revision = &deployment.revision_arn;
            (revision.clone(), service.revision_counts(revision, state))
        })
        .collect();
    if let Some(newest) = service.history.back_mut() {
        newest.final_counts.extend(counts);
    }
}
