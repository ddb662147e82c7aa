//! The service scheduler: one loop for each service, woken by whatever concerns it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::control_plane::Ecs;
use super::walk;
use crate::clock::Clock;
use crate::ecs::model::capacity;
use crate::ecs::model::health_check::HealthStatus;
use crate::ecs::model::service::{Service, ServiceStatus};
use crate::ecs::model::state::{ServiceKey, State};
use crate::ecs::model::task::{LastStatus, NewTask, Noted, Owner, StopCode, TargetHealth, Task};
use crate::ecs::model::traffic::Forward;
use crate::ecs::model::values::Object;
use crate::ecs::rules::crews::crews;
use crate::ecs::rules::rolling::{self, Candidate, StopReason};
use crate::ecs::rules::rollout;
use crate::ecs::rules::view::{Seen, View};

/// When to look at a service again.
enum Next {
    /// When it is woken, or after this time.
    Wait(Option<Duration>),
    /// When these listener rules have been changed.
    Shift(Vec<Forward>),
    /// Never: it is gone.
    Ended,
}

impl Ecs {
    /// Starts a service's loop.
    pub(in crate::ecs) fn schedule(&self, key: ServiceKey) {
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
                Next::Shift(forwards) => self.shift_for(key, &forwards).await,
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
            ServiceStatus::Active => self.advance(key, &mut service, &mut state),
            ServiceStatus::Draining => end(&mut service, &mut state),
            ServiceStatus::Inactive => Next::Ended,
        };
        self.announce_service(&mut service, &mut state);
        state.services.insert(key.clone(), service);
        next
    }

    fn advance(&self, key: &ServiceKey, service: &mut Service, state: &mut State) -> Next {
        let clock = self.inner.settings.clock;
        let view = View::of(service, &state.tasks, clock);
        take_note(service, state, &view, clock);
        if rollout::follow_requests(service, state)
            && let Some(started) = service.ongoing()
        {
            self.watch_alarms(key, started);
        }
        if let Some(cause) = rollout::failure(service) {
            rollout::fail(service, state, &cause);
        }
        // Now and below, because what comes next may forget a deployment that has just changed.
        self.announce_deployments(service);
        let onward = walk::advance(service, state, &view, clock);
        if let Some(hooks) = onward.hooks {
            self.run_hooks(key, hooks);
        }
        let wait = self.start_and_stop(service, state, &view);
        self.announce_deployments(service);
        let bakes = rollout::conclude(service, state, &view, clock);
        if let Some(forwards) = onward.shift {
            return Next::Shift(forwards);
        }
        let waits = [wait, bakes, onward.wait, view.next_change];
        Next::Wait(waits.into_iter().flatten().min())
    }

    /// Starts and stops tasks as the plans say. Answers how long starting has to wait.
    fn start_and_stop(
        &self,
        service: &mut Service,
        state: &mut State,
        view: &View,
    ) -> Option<Duration> {
        let mut longest = None;
        for crew in crews(service) {
            let members: Vec<&Seen> = view
                .tasks
                .iter()
                .filter(|task| crew.has(&task.deployment_id))
                .collect();
            let candidates: Vec<Candidate> = members
                .iter()
                .map(|task| Candidate {
                    part: crew.part(&task.deployment_id),
                    condition: task.condition,
                })
                .collect();
            let plan = rolling::plan(crew.limits, &candidates, crew.progress());
            if plan.blocked {
                service.event_unless_repeated(
                    "was unable to stop or start tasks during a deployment because of the \
                     service deployment configuration. Update the minimumHealthyPercent or \
                     maximumPercent value and try again.",
                );
            }
            let stop: Vec<(String, StopReason)> = plan
                .stop
                .iter()
                .map(|(position, reason)| (members[*position].id.clone(), *reason))
                .collect();
            stop_tasks(service, state, &stop);
            if let Some(serving) = &crew.serving {
                if let Some(position) = service.position(&serving.id) {
                    service.deployments[position].replaced = plan.replaced;
                }
                if plan.restart > 0 {
                    self.start_tasks(service, state, &serving.id, plan.restart);
                }
                longest = longest.into_iter().chain(serving.pause).min();
            }
            // A failure just counted may have been one too many.
            if plan.start > 0 && rollout::failure(service).is_none() {
                self.start_tasks(service, state, &crew.id, plan.start);
            }
            longest = longest.into_iter().chain(crew.pause).min();
        }
        longest
    }

    fn start_tasks(
        &self,
        service: &mut Service,
        state: &mut State,
        deployment_id: &str,
        count: usize,
    ) {
        let Some(position) = service.position(deployment_id) else {
            return;
        };
        let deployment = &service.deployments[position];
        if deployment.placement.needs_instances() {
            service.event_unless_repeated(
                "was unable to place a task because no container instance met all of its \
                 requirements. Reason: No Container Instances were found in your cluster. For more \
                 information, see the Troubleshooting section of the Amazon ECS Developer Guide.",
            );
            return;
        }
        let mut placement = deployment.placement.clone();
        let execute_command = service.fields.get("enableExecuteCommand");
        placement.enable_execute_command = execute_command.and_then(serde_json::Value::as_bool);
        let definition = Arc::clone(&deployment.definition);
        let targets = deployment.targets.clone();
        let (mut ids, mut unplaced) = (Vec::new(), 0);
        for _ in 0..count {
            if !state.take_capacity(&service.cluster_name) {
                unplaced += 1;
                continue;
            }
            let task = Task::new(
                &self.inner.names,
                NewTask {
                    cluster_name: service.cluster_name.clone(),
                    cluster_arn: service.cluster_arn.clone(),
                    definition: Arc::clone(&definition),
                    group: format!("service:{}", service.name),
                    started_by: Some(deployment_id.to_owned()),
                    placement: placement.clone(),
                    overrides: Object::new(),
                    tags: service.task_tags(),
                    owner: Some(Owner {
                        service_arn: service.arn.clone(),
                        deployment_id: deployment_id.to_owned(),
                        wake: service.wake.clone(),
                        noted: Noted::default(),
                    }),
                },
            );
            ids.push(format!("(task {})", task.id));
            self.start_task(state, task, targets.clone());
        }
        if !ids.is_empty() {
            service.steady = false;
            service.event(&format!(
                "has started {} tasks: {}.",
                ids.len(),
                ids.join(" ")
            ));
        }
        if unplaced > 0 {
            self.note_lack_of_capacity(service, position, unplaced);
        }
    }

    /// Says that tasks could not be placed and lets the service try again. A task that the
    /// scheduler cannot launch counts as failed.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html>
    /// (`failedTasks`)
    fn note_lack_of_capacity(&self, service: &mut Service, position: usize, unplaced: u64) {
        service.event_unless_repeated(&format!(
            "was unable to place a task. Reason: {}. For more information, see the \
             Troubleshooting section of the Amazon ECS Developer Guide.",
            capacity::UNAVAILABLE
        ));
        rollout::count_failures(service, position, unplaced);
        rollout::throttle(service, position, unplaced, self.inner.settings.clock);
        service.wake.notify_one();
    }
}

/// Takes note of what has happened to the service's tasks since the last look: registrations,
/// tasks that became healthy, tasks that failed.
fn take_note(service: &mut Service, state: &mut State, view: &View, clock: Clock) {
    for position in 0..service.deployments.len() {
        let news = News::of(service, position, state, view);
        let deployment = &service.deployments[position];
        let targets = deployment.targets.clone();
        if news.registered > 0 {
            for target in targets {
                service.event(&format!(
                    "registered {} targets in (target-group {})",
                    news.registered, target.target_group_arn
                ));
            }
        }
        if news.ran {
            rollout::stop_throttling(service, position);
        }
        if news.recovered {
            rollout::forget_failures(service, position);
        }
        if news.failed > 0 {
            rollout::count_failures(service, position, news.failed);
        }
        if news.never_ran > 0 {
            rollout::throttle(service, position, news.never_ran, clock);
        }
    }
}

/// What has happened to a deployment's tasks.
#[derive(Default)]
struct News {
    registered: usize,
    failed: u64,
    /// Those among the failed ones that stopped without having run.
    never_ran: u64,
    /// Whether one has begun to run.
    ran: bool,
    recovered: bool,
}

impl News {
    /// What has not been noted yet; it is then.
    fn of(service: &Service, position: usize, state: &mut State, view: &View) -> Self {
        let deployment = &service.deployments[position];
        let mut news = Self::default();
        for task in state.tasks.values_mut() {
            let Some(owner) = &mut task.owner else {
                continue;
            };
            if owner.service_arn != service.arn || owner.deployment_id != deployment.id {
                continue;
            }
            if task.target_health != TargetHealth::None && !owner.noted.registered {
                owner.noted.registered = true;
                news.registered += 1;
            }
            let runs = task.times.started.is_some();
            if runs && !owner.noted.ran {
                owner.noted.ran = true;
                news.ran = true;
            }
            if !owner.noted.healthy && view.is_healthy(&task.id) {
                owner.noted.healthy = true;
                news.recovered = true;
            }
            let by_itself = matches!(
                task.stop_code,
                Some(StopCode::TaskFailedToStart | StopCode::EssentialContainerExited)
            );
            if !task.wanted && by_itself && !owner.noted.failed {
                owner.noted.failed = true;
                news.failed += 1;
                news.never_ran += u64::from(!runs);
            }
        }
        news
    }
}

/// Stops tasks and says so.
fn stop_tasks(service: &mut Service, state: &mut State, stop: &[(String, StopReason)]) {
    if stop.is_empty() {
        return;
    }
    service.steady = false;
    let mut failed = BTreeMap::<usize, u64>::new();
    let mut draining = 0;
    let mut deregistered = BTreeMap::<String, usize>::new();
    for (id, reason) in stop {
        let Some(stopped) = state
            .tasks
            .get_mut(id)
            .and_then(|task| stop_task(service, task, *reason))
        else {
            continue;
        };
        if let Some(position) = stopped.failed {
            *failed.entry(position).or_default() += 1;
        }
        draining += usize::from(!stopped.target_groups.is_empty());
        for arn in stopped.target_groups {
            *deregistered.entry(arn).or_default() += 1;
        }
    }
    if draining > 0 {
        service.event(&format!(
            "has begun draining connections on {draining} tasks."
        ));
    }
    for (arn, count) in deregistered {
        service.event(&format!(
            "deregistered {count} targets in (target-group {arn})"
        ));
    }
    let ids: Vec<String> = stop.iter().map(|(id, _)| format!("(task {id})")).collect();
    service.event(&format!(
        "has stopped {} running tasks: {}.",
        ids.len(),
        ids.join(" ")
    ));
    for (position, count) in failed {
        rollout::count_failures(service, position, count);
        // The failures are looked at in the next round.
        service.wake.notify_one();
    }
}

/// What stopping a task means for the service.
struct Stopped {
    /// The position of the deployment whose failure it is.
    failed: Option<usize>,
    /// The groups it is a target of.
    target_groups: Vec<String>,
}

fn stop_task(service: &mut Service, task: &mut Task, reason: StopReason) -> Option<Stopped> {
    let owner = task.owner.as_mut()?;
    let primary = service.deployments.first()?.id.clone();
    let position = service.position(&owner.deployment_id);
    let targets = position.map_or_else(Vec::new, |position| {
        service.deployments[position].targets.clone()
    });
    let failed = position.filter(|_| reason == StopReason::Unhealthy);
    owner.noted.failed |= failed.is_some();
    let unhealthy = task.checked_health() == Some(HealthStatus::Unhealthy);
    let text = match (reason, targets.first()) {
        (StopReason::Unhealthy, _) if unhealthy => {
            service.event(&format!(
                "(task {}) failed container health checks.",
                task.id
            ));
            "Task failed container health checks".to_owned()
        }
        (StopReason::Unhealthy, Some(target)) => {
            let arn = &target.target_group_arn;
            service.event(&format!(
                "(port {}) is unhealthy in (target-group {arn}) due to (reason {}).",
                target.container_port, task.target_reason
            ));
            format!("Task failed ELB health checks in (target-group {arn})")
        }
        _ => format!("Scaling activity initiated by (deployment {primary})"),
    };
    task.request_stop(StopCode::ServiceSchedulerInitiated, &text);
    let registered = task.target_health != TargetHealth::None;
    let arns = targets.into_iter().map(|target| target.target_group_arn);
    Some(Stopped {
        failed,
        target_groups: arns.filter(|_| registered).collect(),
    })
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
    // What a deleted service has run last is told of it for as long as it is described.
    if let Some(primary) = service.deployments.first() {
        let definition = primary.definition.arn.clone();
        let fields = &mut service.fields;
        fields.insert("taskDefinition".to_owned(), definition.into());
    }
    service.deployments.clear();
    service.history.clear();
    service.revisions.clear();
    Next::Ended
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::ecs::in_process;
    use crate::ecs::model::deployments::Throttle;
    use crate::ecs::model::values::now;

    const LONG_AGO: f64 = 100.0;

    /// A service of two tasks that have a health check, and its key.
    async fn service() -> (Ecs, ServiceKey) {
        service_with(&json!({})).await
    }

    /// The same; `more` adds to what it is.
    async fn service_with(more: &serde_json::Value) -> (Ecs, ServiceKey) {
        let ecs = in_process::ecs(1.0).await;
        let check = json!({"healthCheck": {"command": ["CMD", "/check"]}});
        let definition = in_process::definition("web", &check);
        ecs.call("RegisterTaskDefinition", definition)
            .await
            .unwrap();
        let mut request = json!({"desiredCount": 2});
        let more = more.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(more);
        in_process::create_service(&ecs, &request).await;
        let key = (in_process::CLUSTER.to_owned(), "web".to_owned());
        ecs.look_at(&key);
        (ecs, key)
    }

    /// Changes each task that the service wants, and lets it look at them. Answers how many
    /// tasks have failed, and how the starting of others is slowed down.
    fn after(ecs: &Ecs, key: &ServiceKey, change: impl Fn(&mut Task)) -> (u64, Throttle) {
        let mut state = ecs.lock();
        state
            .tasks
            .values_mut()
            .filter(|task| task.wanted)
            .for_each(change);
        drop(state);
        ecs.look_at(key);
        let deployment = &ecs.lock().services[key].deployments[0];
        (deployment.failed_tasks, deployment.throttle)
    }

    fn end(task: &mut Task, code: StopCode) {
        task.request_stop(code, "it ended");
        task.last_status = LastStatus::Stopped;
    }

    #[tokio::test]
    async fn tasks_that_are_desired_with_another_version_are_of_that_version_only() {
        let ecs = in_process::ecs(1.0).await;
        in_process::register(&ecs, "web").await;
        in_process::create_service(&ecs, &json!({"desiredCount": 0})).await;
        let key = (in_process::CLUSTER.to_owned(), "web".to_owned());
        let update = async |change: serde_json::Value| {
            let mut request = json!({"cluster": in_process::CLUSTER, "service": "web"});
            let change = change.as_object().unwrap().clone();
            request.as_object_mut().unwrap().extend(change);
            ecs.call("UpdateService", request).await.unwrap();
            ecs.look_at(&key);
            let state = ecs.lock();
            let service = &state.services[&key];
            let deployments = service.deployments.iter();
            let counts = deployments.map(|one| service.tasks_of(one, &state.tasks).count());
            counts.collect::<Vec<_>>()
        };
        ecs.look_at(&key);
        let deployed = json!({"desiredCount": 2, "forceNewDeployment": true});
        assert_eq!(update(deployed).await, [2, 0]);
        assert_eq!(update(json!({"desiredCount": 3})).await, [3, 1]);
    }

    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/early-success-criteria.html>
    #[tokio::test]
    async fn a_part_of_the_tasks_completes_a_deployment_where_its_criteria_say_so() {
        let criteria = |percent: u32| {
            json!({"deploymentConfiguration": {
                "minimumHealthyPercent": 50,
                "earlySuccessCriteria": {
                    "enable": true,
                    "healthyPercent": percent,
                    "sourceServiceRevisionCleanup": "BLOCKING",
                },
            }})
        };
        for (percent, status) in [(50, "SUCCESSFUL"), (51, "IN_PROGRESS")] {
            let (ecs, key) = service_with(&criteria(percent)).await;
            let mut healthy = 0;
            for task in ecs.lock().tasks.values_mut().take(1) {
                task.last_status = LastStatus::Running;
                task.times.started = Some(now() - LONG_AGO);
                task.containers[0].health = Some(HealthStatus::Healthy);
                healthy += 1;
            }
            assert_eq!(healthy, 1);
            ecs.look_at(&key);
            let newest = in_process::newest_deployment(&ecs).await;
            assert_eq!(newest["status"], status);
            let target = &newest["targetServiceRevision"];
            assert_eq!(target["requestedTaskCount"], 2);
        }
    }

    #[tokio::test]
    async fn tasks_that_never_ran_slow_the_next_ones_down() {
        let (ecs, key) = service().await;
        let never_ran = |task: &mut Task| end(task, StopCode::TaskFailedToStart);
        let (failed, throttle) = after(&ecs, &key, never_ran);
        assert_eq!((failed, throttle.never_ran), (2, 2));
        assert!(throttle.next_start.unwrap() <= Instant::now(), "at once");
        let (failed, throttle) = after(&ecs, &key, never_ran);
        assert_eq!((failed, throttle.never_ran), (4, 4));
        assert!(throttle.next_start.unwrap() > Instant::now(), "later");
        assert!(!ecs.lock().tasks.values().any(|task| task.wanted));
    }

    #[tokio::test]
    async fn tasks_that_ran_and_failed_do_not_slow_the_next_ones_down() {
        let (ecs, key) = service().await;
        for round in 1..=5 {
            let (failed, throttle) = after(&ecs, &key, |task| {
                task.times.started = Some(now());
                end(task, StopCode::EssentialContainerExited);
            });
            assert_eq!((failed, throttle.never_ran), (2 * round, 0));
            assert!(throttle.next_start.is_none());
        }
    }

    #[tokio::test]
    async fn failed_health_checks_do_not_slow_the_next_tasks_down() {
        let (ecs, key) = service().await;
        for round in 1..=5 {
            let (failed, throttle) = after(&ecs, &key, |task| {
                task.times.started = Some(now() - LONG_AGO);
                task.containers[0].health = Some(HealthStatus::Unhealthy);
            });
            // Those that are stopped for it are replaced in the next look.
            ecs.look_at(&key);
            assert_eq!((failed, throttle.never_ran), (2 * round, 0));
        }
    }

    #[tokio::test]
    async fn a_task_that_runs_ends_the_slowing_down() {
        let (ecs, key) = service().await;
        let (_, throttle) = after(&ecs, &key, |task| end(task, StopCode::TaskFailedToStart));
        assert_eq!(throttle.never_ran, 2);
        let (_, throttle) = after(&ecs, &key, |task| task.times.started = Some(now()));
        assert_eq!((throttle.never_ran, throttle.next_start), (0, None));
    }
}
