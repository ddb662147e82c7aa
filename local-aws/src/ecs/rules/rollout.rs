//! What becomes of a service's deployments: failures, rollbacks, completion.

use std::time::Duration;

use tokio::time::Instant;

use super::strategy::{self, EarlySuccess, Strategy};
use super::view::View;
use super::{circuit_breaker, rolling, route};
use crate::clock::Clock;
use crate::ecs::model::alarms::AlarmMonitor;
use crate::ecs::model::deployments::{
    Deployment, RevisionState, Rollback, Rollout, Scale, ServiceDeployment, Status, Throttle,
};
use crate::ecs::model::hooks;
use crate::ecs::model::service::Service;
use crate::ecs::model::stages::Stage;
use crate::ecs::model::state::State;
use crate::ecs::model::task::LastStatus;
use crate::ecs::model::values::now;

/// Why a deployment failed.
pub(in crate::ecs) enum Cause {
    CircuitBreaker,
    /// These CloudWatch alarms went off.
    Alarms(Vec<String>),
    /// A life-cycle hook failed, and how.
    Hook(String),
    /// A stage lasted too long.
    Overdue(Stage),
    /// Listener rules could not be changed.
    Traffic(String),
}

impl Cause {
    /// Who found it.
    fn finder(&self) -> &'static str {
        match self {
            Self::CircuitBreaker => "ECS deployment circuit breaker",
            Self::Alarms(_) => "ECS deployment alarms",
            Self::Hook(_) => "ECS deployment lifecycle hook",
            Self::Overdue(_) | Self::Traffic(_) => "ECS deployment",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::CircuitBreaker => "tasks failed to start.".to_owned(),
            Self::Alarms(names) => format!("alarm detected: {}.", names.join(", ")),
            Self::Hook(reason) => reason.clone(),
            Self::Overdue(stage) => {
                format!("the stage {} did not end within 24 hours.", stage.as_str())
            }
            Self::Traffic(problem) => format!("traffic could not be shifted: {problem}."),
        }
    }

    /// Whether the service is to return to what it was. A failed hook always rolls back
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html>),
    /// and so does a stage that does not end.
    fn rolls_back(&self, ongoing: &ServiceDeployment) -> bool {
        match self {
            Self::CircuitBreaker => ongoing.breaker.rollback,
            Self::Alarms(_) => {
                let alarms = ongoing.alarms.as_ref();
                alarms.is_some_and(AlarmMonitor::rolls_back)
            }
            Self::Hook(_) | Self::Overdue(_) | Self::Traffic(_) => true,
        }
    }
}

/// A task of a deployment became healthy.
pub(in crate::ecs) fn forget_failures(service: &mut Service, position: usize) {
    let resets = service
        .ongoing()
        .is_none_or(|deployment| circuit_breaker::resets(&deployment.breaker));
    if !resets {
        return;
    }
    if let Some(deployment) = service.deployments.get_mut(position) {
        deployment.failed_tasks = 0;
    }
    note_failures(service, position, 0);
}

/// A task of a deployment runs: the next ones need not wait.
pub(in crate::ecs) fn stop_throttling(service: &mut Service, position: usize) {
    if let Some(deployment) = service.deployments.get_mut(position) {
        deployment.throttle = Throttle::default();
    }
}

/// What the service deployment says of its failures, which are those of the primary deployment;
/// those that tripped the circuit breaker stay.
fn note_failures(service: &mut Service, position: usize, failures: u64) {
    if let Some(ongoing) = service
        .ongoing()
        .filter(|ongoing| position == 0 && !ongoing.breaker_triggered)
    {
        ongoing.failures = failures;
    }
}

/// Tasks of a deployment failed.
pub(in crate::ecs) fn count_failures(service: &mut Service, position: usize, failed: u64) {
    let Some(deployment) = service.deployments.get_mut(position) else {
        return;
    };
    deployment.failed_tasks += failed;
    let failures = deployment.failed_tasks;
    service.steady = false;
    note_failures(service, position, failures);
}

/// Tasks of a deployment stopped, or could not be placed, without having run: the next ones are
/// started ever later. A task that ran counts neither when its health checks nor when its
/// command failed.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html>
pub(in crate::ecs) fn throttle(
    service: &mut Service,
    position: usize,
    never_ran: u64,
    clock: Clock,
) {
    let Some(deployment) = service.deployments.get_mut(position) else {
        return;
    };
    let throttle = &mut deployment.throttle;
    let before = rolling::retry_delay(throttle.never_ran);
    throttle.never_ran += never_ran;
    let delay = rolling::retry_delay(throttle.never_ran);
    throttle.next_start = Some(Instant::now() + clock.scaled(delay));
    if delay > Duration::ZERO && before == Duration::ZERO {
        service.event(
            "is unable to consistently start tasks successfully. For more information, see the \
             Troubleshooting section of the Amazon ECS Developer Guide.",
        );
    }
}

/// Moves the service deployment that is going on by what users have asked for.
/// Answers whether it has just started.
pub(in crate::ecs) fn follow_requests(service: &mut Service, state: &State) -> bool {
    let Some(ongoing) = service.ongoing() else {
        return false;
    };
    match ongoing.status {
        Status::Pending => {
            ongoing.started_at = Some(now());
            ongoing.set_status(Status::InProgress, None);
            return true;
        }
        Status::StopRequested => {
            hooks::abandon(&mut ongoing.hooks);
            let reason = ongoing.status_reason.clone().unwrap_or_default();
            give_up(service);
            end(service, state, Status::Stopped, reason);
        }
        Status::RollbackRequested => {
            give_up(service);
            roll_back(service, "ECS deployment stopped by a user", None);
        }
        _ => {}
    }
    false
}

/// The primary deployment starts no more tasks, because a user has stopped it.
fn give_up(service: &mut Service) {
    if let Some(primary) = service.deployments.first_mut() {
        let reason = format!("ECS deployment {} was stopped.", primary.id);
        primary.set_rollout(Rollout::Failed, reason);
    }
}

/// Why the deployment that is going on has failed, if it has: the circuit breaker has seen
/// enough failures of the primary deployment, or an alarm has gone off. Failures of a deployment
/// that was rolled back do not count against the one it was rolled back to, and neither do the
/// alarms.
pub(in crate::ecs) fn failure(service: &mut Service) -> Option<Cause> {
    let desired = service.desired_count;
    let primary = service.deployments.first()?;
    let (rollout, failures) = (primary.rollout, primary.failed_tasks);
    let ongoing = service.ongoing()?;
    if rollout != Rollout::InProgress {
        return None;
    }
    if ongoing.breaker.enable && failures >= circuit_breaker::threshold(&ongoing.breaker, desired) {
        return Some(Cause::CircuitBreaker);
    }
    let alarms = ongoing
        .alarms
        .as_ref()
        .map_or(&[][..], AlarmMonitor::triggered);
    let counts = ongoing.status != Status::RollbackInProgress && !alarms.is_empty();
    counts.then(|| Cause::Alarms(alarms.to_vec()))
}

/// The primary deployment has failed: it starts no more tasks, and where it can and shall, the
/// service returns to the last completed deployment.
///
/// The circuit breaker counts for every strategy. The API's reference says that it is for rolling
/// deployments only; the guide has it for "rolling update deployment and blue/green deployment
/// types" (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-failure-detection.html>),
/// and the announcement of blue/green deployments names it among what they work with
/// (<https://aws.amazon.com/blogs/aws/accelerate-safe-software-releases-with-new-built-in-blue-green-deployments-in-amazon-ecs/>).
///
/// Without a completed deployment to return to, "the circuit breaker does not launch new tasks
/// and the deployment is stalled"
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>).
/// What DescribeServiceDeployments says then is not documented. Here the service deployment
/// stays IN_PROGRESS, for it has neither stopped nor rolled back, with its circuit breaker
/// TRIGGERED. Where something else made the deployment fail, nothing goes on, and the rollback
/// has failed. Where no rollback is asked for it is STOPPED, as the documentation of `stoppedAt`
/// says.
pub(in crate::ecs) fn fail(service: &mut Service, state: &State, cause: &Cause) {
    let can_roll_back = service.rollback_target().is_some();
    let Some(primary) = service.deployments.first_mut() else {
        return;
    };
    let text = cause.text();
    let reason = format!("{}: {text}", cause.finder());
    primary.set_rollout(Rollout::Failed, reason.clone());
    let id = primary.id.clone();
    service.event(&format!("(deployment {id}) deployment failed: {text}"));
    let Some(ongoing) = service.ongoing() else {
        return;
    };
    let by_breaker = matches!(cause, Cause::CircuitBreaker);
    ongoing.breaker_triggered |= by_breaker;
    hooks::abandon(&mut ongoing.hooks);
    if ongoing.status == Status::RollbackInProgress {
        end(
            service,
            state,
            Status::RollbackFailed,
            format!("The rollback failed. {reason}"),
        );
    } else if !cause.rolls_back(ongoing) {
        end(service, state, Status::Stopped, reason);
    } else if can_roll_back {
        roll_back(service, cause.finder(), Some(&text));
    } else if by_breaker {
        ongoing.end_walk();
        ongoing.status_reason = Some(format!(
            "{reason} There is no completed deployment to roll back to."
        ));
        ongoing.updated_at = now();
    } else {
        end(
            service,
            state,
            Status::RollbackFailed,
            format!("{reason} There is no completed deployment to roll back to."),
        );
    }
}

/// The service deployment ends here; what runs goes on running.
fn end(service: &mut Service, state: &State, status: Status, reason: String) {
    keep_final_states(service, state);
    if let Some(ongoing) = service.ongoing() {
        ongoing.set_status(status, Some(reason));
    }
}

/// Makes the deployment that served before the primary one again. What the service deployment
/// says of it ends with what has failed, if something has.
fn roll_back(service: &mut Service, cause: &str, failure: Option<&str>) {
    let Some(position) = service.rollback_target() else {
        return;
    };
    service.make_primary(position);
    for deployment in &mut service.deployments {
        // What was about to be cleaned up serves again.
        if deployment.scale == Scale::CleanUp {
            deployment.scale = Scale::Rolling;
        }
    }
    let target = &mut service.deployments[0];
    let (id, revision_arn) = (target.id.clone(), target.revision_arn.clone());
    target.failed_tasks = 0;
    target.replaced = 0;
    target.throttle = Throttle::default();
    let reason = format!("{cause}: rolling back to deploymentId {id}.");
    target.set_rollout(Rollout::InProgress, reason.clone());
    let reason = failure.map_or_else(|| reason.clone(), |failure| format!("{reason} {failure}"));
    service.event(&format!("rolling back to deployment {id}."));
    if let Some(ongoing) = service.ongoing() {
        hooks::abandon(&mut ongoing.hooks);
        match &mut ongoing.walk {
            Some(walk) if walk.has_begun_to_roll() => ongoing.end_walk(),
            Some(walk) => route::turn_back(walk),
            None => {}
        }
        ongoing.rollback = Some(Rollback {
            reason: reason.clone(),
            started_at: now(),
            revision_arn,
        });
        ongoing.set_status(Status::RollbackInProgress, Some(reason));
    }
}

/// From now on the tasks of the primary deployment replace all others. Deployments that have
/// given way to the one that serves are gone.
pub(in crate::ecs) fn begin_to_roll(service: &mut Service) {
    let given_way = |deployment: &Deployment| {
        deployment.scale == Scale::Nothing && deployment.rollout != Rollout::InProgress
    };
    service.deployments.retain(|one| !given_way(one));
    service.deployments.iter_mut().for_each(Deployment::roll);
    service.wake.notify_one();
}

/// A deployment has come to the end of its route, and is complete; but a rolling one, unless it
/// goes back, may still have to bake.
pub(in crate::ecs) fn arrive(service: &mut Service, state: &State) {
    let Some(ongoing) = service.ongoing() else {
        return;
    };
    let rolls = !Strategy::of(&ongoing.configuration).is_side_by_side();
    if !rolls || ongoing.status == Status::RollbackInProgress {
        complete(service, state);
    }
    service.deployments.iter_mut().for_each(Deployment::roll);
    service.wake.notify_one();
}

/// The primary deployment is all there is from now on.
fn complete(service: &mut Service, state: &State) {
    keep_final_states(service, state);
    service.deployments.truncate(1);
    succeed(service);
}

/// A rolling deployment has as many healthy tasks as its early success criteria want, and has
/// baked: what is left of the others is cleaned up, before it is complete or afterwards.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/early-success-criteria.html>
fn complete_early(service: &mut Service, state: &State, early: EarlySuccess, others_alive: usize) {
    let others = service.deployments.iter_mut().skip(1);
    for deployment in others.filter(|one| one.scale != Scale::CleanUp) {
        deployment.scale = Scale::CleanUp;
        service.wake.notify_one();
    }
    if early.is_clean_up_deferred {
        keep_final_states(service, state);
        succeed(service);
    } else if others_alive == 0 {
        complete(service, state);
    }
}

/// The primary deployment is complete.
fn succeed(service: &mut Service) {
    let Some(primary) = service.deployments.first_mut() else {
        return;
    };
    let id = primary.id.clone();
    primary.set_rollout(
        Rollout::Completed,
        format!("ECS deployment {id} completed."),
    );
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
}

/// Completes a rolling deployment when all its tasks serve, no other task does any more, and it
/// has baked; forgets deployments that have nothing left. Answers how long it still bakes.
pub(in crate::ecs) fn conclude(
    service: &mut Service,
    state: &State,
    view: &View,
    clock: Clock,
) -> Option<Duration> {
    let primary = service.deployments.first()?;
    let serving = view.healthy_in(&primary.id);
    let desired = service.desired_count;
    let settled =
        serving == desired && view.wanted() == serving && view.alive_beside(&primary.id) == 0;
    let rollout = primary.rollout;
    let others_alive = view.alive_beside(&primary.id);
    let is_on_its_way = service.ongoing().is_some_and(|one| one.walk.is_some());
    let early = early_success(service).filter(|early| serving >= early.enough(desired));
    let mut bakes = None;
    if is_on_its_way || service.is_side_by_side() {
        // Whether it is complete is a question of its way through the stages.
    } else if let Some(early) = early.filter(|_| rollout == Rollout::InProgress) {
        bakes = still_bakes(service, clock);
        if bakes.is_none() {
            complete_early(service, state, early, others_alive);
        }
    } else if settled && rollout == Rollout::InProgress {
        bakes = still_bakes(service, clock);
        if bakes.is_none() {
            complete(service, state);
        }
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
    bakes
}

/// How long a rolling deployment whose tasks all serve still bakes; `None` when it has. Its alarms
/// say how long that is, or its own bake time where that is longer.
fn still_bakes(service: &mut Service, clock: Clock) -> Option<Duration> {
    let ongoing = service.ongoing()?;
    if ongoing.status == Status::RollbackInProgress {
        return None;
    }
    let alarms = ongoing.alarms.as_ref();
    let Some(of_alarms) = alarms.map_or(Some(Duration::ZERO), AlarmMonitor::bake_time) else {
        // It is looked at again as soon as the alarms have been.
        return Some(Duration::MAX);
    };
    let bake = of_alarms.max(strategy::bake_time(&ongoing.configuration));
    let bake = clock.scaled(bake);
    let until = *ongoing
        .bakes_until
        .get_or_insert_with(|| Instant::now() + bake);
    let left = until.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

/// The criteria by which the rolling deployment that goes on is complete before all its tasks are
/// there. A rollback has none: that it has is not documented.
fn early_success(service: &mut Service) -> Option<EarlySuccess> {
    let ongoing = service.ongoing()?;
    let is_rollback = ongoing.status == Status::RollbackInProgress;
    EarlySuccess::of(&ongoing.configuration).filter(|_| !is_rollback)
}

/// A deployment that is neither the primary one nor one to roll back to goes with its last task.
fn forget_finished_deployments(service: &mut Service, state: &State) {
    let finished: Vec<String> = service
        .deployments
        .iter()
        .skip(1)
        .filter(|deployment| {
            (deployment.rollout != Rollout::Completed || deployment.scale == Scale::CleanUp)
                && service
                    .tasks_of(deployment, &state.tasks)
                    .all(|task| task.last_status == LastStatus::Stopped)
        })
        .map(|deployment| deployment.id.clone())
        .collect();
    service
        .deployments
        .retain(|deployment| !finished.contains(&deployment.id));
}

/// Notes how each revision was when the service deployment finished.
fn keep_final_states(service: &mut Service, state: &State) {
    let states: Vec<(String, RevisionState)> = service
        .deployments
        .iter()
        .map(|deployment| {
            let revision = &deployment.revision_arn;
            (
                revision.clone(),
                service.revision_state(revision, &state.tasks),
            )
        })
        .collect();
    if let Some(newest) = service.history.back_mut() {
        newest.final_states.extend(states);
    }
}
