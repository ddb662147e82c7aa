//! The service scheduler: one loop for each service, woken by whatever concerns it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::deployments::{Counts, Rollback, Rollout, Status};
use super::request::now;
use super::rolling::{self, Candidate, Condition, StopReason};
use super::service::{Service, ServiceStatus};
use super::task::{LastStatus, NewTask, Noted, Owner, StopCode, TargetHealth, Task};
use super::{Ecs, State};
use crate::clock::Clock;

/// A task without health checks counts as healthy after having run for so long.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html>
/// (`minimumHealthyPercent`, services that do not use a load balancer).
const PROVEN_WITHOUT_CHECKS: Duration = Duration::from_secs(40);

/// Cluster and name of a service.
pub(super) type ServiceKey = (String, String);

/// When to look at a service again.
enum Next {
    /// When it is woken, or after this time.
    Wait(Option<Duration>),
    /// Never: it is gone.
    Ended,
}

impl Ecs {
    /// Starts a service's loop.
    pub(super) fn schedule(&self, key: ServiceKey) {
        let ecs = self.clone();
        let killed = self.inner.killed.clone();
        self.inner.running.spawn(async move {
            killed.run_until_cancelled(ecs.keep(&key)).await;
        });
    }

    async fn keep(&self, key: &ServiceKey) {
        loop {
            let Some(wake) = self.lock().services.get(key).map(|s| s.wake.clone()) else {
                return;
            };
            match self.look_at(key) {
                Next::Ended => return,
                Next::Wait(None) => wake.notified().await,
                Next::Wait(Some(longest)) => {
                    let _ = tokio::time::timeout(longest, wake.notified()).await;
                }
            }
        }
    }

    /// Looks at a service once and does what there is to do.
    fn look_at(&self, key: &ServiceKey) -> Next {
        let mut state = self.lock();
        // Taken out while it is worked on, so that its tasks can be changed beside it.
        let Some(mut service) = state.services.remove(key) else {
            return Next::Ended;
        };
        let next = match service.status {
            ServiceStatus::Active => self.advance(&mut service, &mut state),
            ServiceStatus::Draining => end(&mut service, &mut state),
            ServiceStatus::Inactive => Next::Ended,
        };
        state.services.insert(key.clone(), service);
        next
    }

    fn advance(&self, service: &mut Service, state: &mut State) -> Next {
        let clock = self.inner.settings.clock;
        let view = View::of(service, state, clock);
        take_note(service, state, &view, clock);
        follow_requests(service, state);
        if is_broken(service) {
            fail(service, state, "tasks failed to start");
        }
        // Rolling back has changed which deployment is the primary one.
        let view = View::of(service, state, clock);
        let wait = self.start_and_stop(service, state, &view);
        conclude(service, state, &view);
        let wait = wait.into_iter().chain(view.next_change).min();
        Next::Wait(wait)
    }

    /// Starts and stops tasks as the plan says. Answers how long starting has to wait.
    fn start_and_stop(
        &self,
        service: &mut Service,
        state: &mut State,
        view: &View,
    ) -> Option<Duration> {
        let primary = service.deployments.first()?;
        let pause = primary
            .next_start
            .map(|next| next.saturating_duration_since(Instant::now()))
            .filter(|pause| !pause.is_zero());
        let rolling = primary.rollout != Rollout::Completed;
        let may_start = primary.rollout != Rollout::Failed && pause.is_none();
        let candidates: Vec<Candidate> = view.candidates.iter().map(|(_, c)| *c).collect();
        let plan = rolling::plan(service.limits(), &candidates, rolling, may_start);
        if plan.blocked {
            service.event_unless_repeated(
                "was unable to stop or start tasks during a deployment because of the service \
                 deployment configuration. Update the minimumHealthyPercent or maximumPercent \
                 value and try again.",
            );
        }
        let stop: Vec<(String, StopReason)> = plan
            .stop
            .iter()
            .map(|(position, reason)| (view.candidates[*position].0.clone(), *reason))
            .collect();
        stop_tasks(service, state, &stop, self.inner.settings.clock);
        // A failure just counted may have been one too many.
        if plan.start > 0 && !is_broken(service) {
            self.start_tasks(service, state, plan.start);
        }
        pause
    }

    fn start_tasks(&self, service: &mut Service, state: &mut State, count: usize) {
        let Some(primary) = service.deployments.first() else {
            return;
        };
        if primary.placement.needs_instances() {
            service.event_unless_repeated(
                "was unable to place a task because no container instance met all of its \
                 requirements. Reason: No Container Instances were found in your cluster. For more \
                 information, see the Troubleshooting section of the Amazon ECS Developer Guide.",
            );
            return;
        }
        let mut placement = primary.placement.clone();
        let execute_command = service.fields.get("enableExecuteCommand");
        placement.enable_execute_command = execute_command.and_then(serde_json::Value::as_bool);
        let deployment_id = primary.id.clone();
        let targets = primary.targets.clone();
        let mut ids = Vec::new();
        for _ in 0..count {
            let task = Task::new(
                &self.inner.names,
                NewTask {
                    cluster_name: service.cluster_name.clone(),
                    cluster_arn: service.cluster_arn.clone(),
                    definition: primary.definition.clone(),
                    group: format!("service:{}", service.name),
                    started_by: Some(deployment_id.clone()),
                    placement: placement.clone(),
                    overrides: super::request::Object::new(),
                    tags: service.task_tags(),
                    owner: Some(Owner {
                        service_arn: service.arn.clone(),
                        deployment_id: deployment_id.clone(),
                        wake: service.wake.clone(),
                        noted: Noted::default(),
                    }),
                },
            );
            ids.push(format!("(task {})", task.id));
            self.start_task(state, task, targets.clone());
        }
        service.steady = false;
        service.event(&format!("has started {count} tasks: {}.", ids.join(" ")));
    }
}

/// A service's wanted tasks at one moment.
struct View {
    /// Ids and what the scheduler makes of them, in the order in which they were created.
    candidates: Vec<(String, Candidate)>,
    /// When a task's condition changes by the mere passing of time.
    next_change: Option<Duration>,
    /// Tasks of earlier deployments that still run or drain.
    old_alive: usize,
}

impl View {
    fn of(service: &Service, state: &State, clock: Clock) -> Self {
        let primary = service.deployments.first().map(|primary| &primary.id);
        let mut tasks: Vec<(&Task, &Owner)> = state
            .tasks
            .values()
            .filter_map(|task| Some((task, task.owner.as_ref()?)))
            .filter(|(_, owner)| owner.service_arn == service.arn)
            .collect();
        tasks.sort_by(|(a, _), (b, _)| {
            let created = a.times.created.total_cmp(&b.times.created);
            created.then_with(|| a.id.cmp(&b.id))
        });
        let grace = Duration::from_secs_f64(service.grace_period().max(0.0));
        let mut view = Self {
            candidates: Vec::new(),
            next_change: None,
            old_alive: 0,
        };
        for (task, owner) in tasks {
            let is_primary = Some(&owner.deployment_id) == primary;
            if !is_primary && task.last_status < LastStatus::Stopping {
                view.old_alive += 1;
            }
            if !task.wanted {
                continue;
            }
            let has_targets = service
                .deployments
                .iter()
                .any(|d| d.id == owner.deployment_id && !d.targets.is_empty());
            let (condition, change) = condition(
                task,
                has_targets,
                clock.scaled(grace),
                clock.scaled(PROVEN_WITHOUT_CHECKS),
            );
            view.next_change = view.next_change.into_iter().chain(change).min();
            let candidate = Candidate {
                primary: is_primary,
                condition,
            };
            view.candidates.push((task.id.clone(), candidate));
        }
        view
    }

    fn count(&self, primary: bool, condition: Condition) -> usize {
        let wanted = Candidate { primary, condition };
        let candidates = self.candidates.iter();
        candidates.filter(|(_, one)| *one == wanted).count()
    }
}

/// What the scheduler makes of a task, and after which time it would make something else of it.
fn condition(
    task: &Task,
    has_targets: bool,
    grace: Duration,
    proven: Duration,
) -> (Condition, Option<Duration>) {
    let Some(started) = task.times.started else {
        return (Condition::Starting, None);
    };
    let ran = Duration::from_secs_f64((now() - started).max(0.0));
    let left = |period: Duration| period.checked_sub(ran).filter(|left| !left.is_zero());
    if !has_targets {
        return match left(proven) {
            Some(left) => (Condition::Unproven, Some(left)),
            None => (Condition::Healthy, None),
        };
    }
    match task.target_health {
        TargetHealth::Healthy => (Condition::Healthy, None),
        TargetHealth::None | TargetHealth::Initial => (Condition::Unproven, None),
        TargetHealth::Unhealthy => match left(grace) {
            Some(left) => (Condition::Unproven, Some(left)),
            None => (Condition::Unhealthy, None),
        },
    }
}

/// Takes note of what has happened to the service's tasks since the last look: registrations,
/// tasks that became healthy, tasks that failed.
fn take_note(service: &mut Service, state: &mut State, view: &View, clock: Clock) {
    let Some(primary) = service.deployments.first_mut() else {
        return;
    };
    let healthy = |id: &str| {
        view.candidates
            .iter()
            .any(|(one, candidate)| one == id && candidate.condition == Condition::Healthy)
    };
    let (mut registered, mut failed, mut recovered) = (0, 0, false);
    let mut digests = Vec::new();
    for task in state.tasks.values_mut() {
        let Some(owner) = &mut task.owner else {
            continue;
        };
        if owner.service_arn != service.arn || owner.deployment_id != primary.id {
            continue;
        }
        if task.target_health != TargetHealth::None && !owner.noted.registered {
            owner.noted.registered = true;
            registered += 1;
        }
        if !owner.noted.healthy && healthy(&task.id) {
            owner.noted.healthy = true;
            recovered = true;
        }
        let by_itself = matches!(
            task.stop_code,
            Some(StopCode::TaskFailedToStart | StopCode::EssentialContainerExited)
        );
        if !task.wanted && by_itself && !owner.noted.failed {
            owner.noted.failed = true;
            failed += 1;
        }
        for container in &task.containers {
            if let Some(digest) = &container.image_digest {
                digests.push((container.name.clone(), digest.clone()));
            }
        }
    }
    let revision = primary.revision_arn.clone();
    let targets = primary.targets.clone();
    if let Some(revision) = service.revisions.iter_mut().find(|r| r.arn == revision) {
        revision.digests.extend(digests);
    }
    if registered > 0 {
        for target in targets {
            service.event(&format!(
                "registered {registered} targets in (target-group {})",
                target.target_group_arn
            ));
        }
    }
    if recovered {
        forget_failures(service);
    }
    if failed > 0 {
        count_failures(service, failed, clock);
    }
}

/// A task of the primary deployment became healthy.
fn forget_failures(service: &mut Service) {
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
fn count_failures(service: &mut Service, failed: u64, clock: Clock) {
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
fn follow_requests(service: &mut Service, state: &State) {
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
            if let Some(primary) = service.deployments.first_mut() {
                let reason = format!("ECS deployment {} was stopped.", primary.id);
                primary.set_rollout(Rollout::Failed, reason);
            }
            keep_final_counts(service, state);
        }
        Status::RollbackRequested => {
            if let Some(primary) = service.deployments.first_mut() {
                let reason = format!("ECS deployment {} was stopped.", primary.id);
                primary.set_rollout(Rollout::Failed, reason);
            }
            roll_back(service, "A user requested the rollback.");
        }
        _ => {}
    }
}

/// Whether the circuit breaker has seen enough of the primary deployment's failures. Those of a
/// deployment that was rolled back do not count against the one it was rolled back to.
fn is_broken(service: &mut Service) -> bool {
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
fn fail(service: &mut Service, state: &State, problem: &str) {
    let can_roll_back = service.completed_deployment().is_some();
    let Some(primary) = service.deployments.first_mut() else {
        return;
    };
    let reason = format!("ECS deployment circuit breaker: {problem}.");
    primary.set_rollout(Rollout::Failed, reason.clone());
    let id = primary.id.clone();
    service.event(&format!("(deployment {id}) deployment failed: {problem}."));
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
        roll_back(service, &reason);
    } else {
        ongoing.status_reason = Some(format!(
            "{reason} There is no completed deployment to roll back to."
        ));
        ongoing.updated_at = now();
    }
}

/// Makes the last completed deployment the primary one again.
fn roll_back(service: &mut Service, reason: &str) {
    let Some(position) = service.completed_deployment() else {
        return;
    };
    service.make_primary(position);
    let target = &mut service.deployments[0];
    let (id, revision_arn) = (target.id.clone(), target.revision_arn.clone());
    target.failed_tasks = 0;
    target.next_start = None;
    let rollout_reason =
        format!("ECS deployment circuit breaker: rolling back to deploymentId {id}.");
    target.set_rollout(Rollout::InProgress, rollout_reason);
    service.event(&format!("rolling back to deployment {id}."));
    if let Some(ongoing) = service.ongoing() {
        ongoing.rollback = Some(Rollback {
            reason: reason.to_owned(),
            started_at: now(),
            revision_arn,
        });
        ongoing.set_status(Status::RollbackInProgress, Some(reason.to_owned()));
    }
}

/// Stops tasks and says so.
fn stop_tasks(
    service: &mut Service,
    state: &mut State,
    stop: &[(String, StopReason)],
    clock: Clock,
) {
    if stop.is_empty() {
        return;
    }
    service.steady = false;
    let mut failed = 0;
    let mut stopped = Vec::new();
    let mut draining = 0;
    let mut deregistered = BTreeMap::<String, usize>::new();
    let primary = service
        .deployments
        .first()
        .map(|primary| primary.id.clone());
    for (id, reason) in stop {
        let Some(task) = state.tasks.get_mut(id) else {
            continue;
        };
        let Some(owner) = &mut task.owner else {
            continue;
        };
        let deployment = service
            .deployments
            .iter()
            .find(|d| d.id == owner.deployment_id);
        let target = deployment.and_then(|deployment| deployment.targets.first());
        let text = match (reason, target) {
            (StopReason::Unhealthy, Some(target)) => {
                let arn = &target.target_group_arn;
                format!("Task failed ELB health checks in (target-group {arn})")
            }
            _ => format!(
                "Scaling activity initiated by (deployment {})",
                primary.as_deref().unwrap_or_default()
            ),
        };
        if *reason == StopReason::Unhealthy && Some(&owner.deployment_id) == primary.as_ref() {
            owner.noted.failed = true;
            failed += 1;
        }
        if task.target_health != TargetHealth::None {
            draining += 1;
            for target in deployment.iter().flat_map(|deployment| &deployment.targets) {
                *deregistered
                    .entry(target.target_group_arn.clone())
                    .or_default() += 1;
            }
        }
        let problem = task.target_reason.clone();
        task.request_stop(StopCode::ServiceSchedulerInitiated, &text);
        stopped.push(format!("(task {id})"));
        if *reason == StopReason::Unhealthy
            && let Some(target) = target
        {
            let message = format!(
                "(port {}) is unhealthy in (target-group {}) due to (reason {problem}).",
                target.container_port, target.target_group_arn
            );
            service.event(&message);
        }
    }
    if draining > 0 {
        service.event(&format!(
            "has begun draining connections on {draining} tasks."
        ));
    }
    let count = stopped.len();
    service.event(&format!(
        "has stopped {count} running tasks: {}.",
        stopped.join(" ")
    ));
    if failed > 0 {
        count_failures(service, failed, clock);
        // The failures are looked at in the next round.
        service.wake.notify_one();
    }
}

/// Completes the primary deployment when all its tasks serve and no other task does any more,
/// and forgets deployments that have nothing left.
fn conclude(service: &mut Service, state: &State, view: &View) {
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

/// Stops what a deleted service still has; without tasks it is gone.
fn end(service: &mut Service, state: &mut State) -> Next {
    let mut alive = false;
    for task in state.tasks.values_mut() {
        let owner = task.owner.as_ref();
        if owner.is_some_and(|owner| owner.service_arn == service.arn)
            && task.last_status != LastStatus::Stopped
        {
            alive = true;
            task.request_stop(
                StopCode::ServiceSchedulerInitiated,
                "Service deletion initiated by the user",
            );
        }
    }
    if alive {
        return Next::Wait(None);
    }
    service.status = ServiceStatus::Inactive;
    service.deployments.clear();
    service.history.clear();
    service.revisions.clear();
    Next::Ended
}
