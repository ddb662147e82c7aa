//! The life of one task, from PROVISIONING to STOPPED.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html>

use std::future::{Future, pending};
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::control_plane::Ecs;
use super::health_check;
use super::preparation::{Ports, Prepared, StartFailure, Subject};
use crate::containers::logs::{self, LogOptions};
use crate::containers::process::Process;
use crate::ecs::model::deployments::ServiceRevision;
use crate::ecs::model::health_check::HealthStatus;
use crate::ecs::model::state::State;
use crate::ecs::model::task::{LastStatus, StopCode, TargetHealth, Task};
use crate::ecs::model::traffic::TargetBinding;
use crate::ecs::model::values::now;
use crate::ecs::rules::dependencies::{self, Progress, Readiness};
use crate::ecs::rules::restarts;
use crate::images::Image;
use crate::load_balancer::{Registration, TargetState};

/// What AWS needs to attach and detach a network interface; AWS promises no times.
const PROVISIONING: Duration = Duration::from_secs(5);
const DEPROVISIONING: Duration = Duration::from_secs(5);
/// A stopped task can be described for about an hour.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// A process that left its container's group can hold the output open; it is not waited for
/// longer than this.
const OUTPUT_END: Duration = Duration::from_secs(5);

/// A container that has been started.
struct Running {
    made_of: Prepared,
    /// When those that depend on it give up.
    start_deadline: Option<Instant>,
    process: Process,
    /// When the process was started.
    since: Instant,
    exit_code: Option<i32>,
    ending: Ending,
    health: Option<Health>,
    /// Of its processes, one after the other.
    outputs: Vec<JoinHandle<()>>,
}

/// How far the end of a container has come that shall stop.
#[derive(Clone, Copy)]
enum Ending {
    NotAsked,
    /// Has got SIGTERM, and gets SIGKILL then.
    Asked(Instant),
    Killed,
}

/// The health that a container's health check reports, for as long as the container runs.
struct Health {
    status: watch::Receiver<HealthStatus>,
    /// Ends the checks when it is dropped.
    _checks: DropGuard,
}

impl Running {
    fn has_exited(&self) -> bool {
        self.exit_code.is_some()
    }

    fn progress(&self, now: Instant) -> Progress {
        match self.exit_code {
            Some(code) => Progress::Exited(code),
            None => Progress::Running {
                healthy: self.health_status() == Some(HealthStatus::Healthy),
                overdue: self.start_deadline.is_some_and(|deadline| deadline <= now),
            },
        }
    }

    fn health_status(&self) -> Option<HealthStatus> {
        self.health.as_ref().map(|health| *health.status.borrow())
    }

    /// Starts the container again, if its restart policy says so of this end.
    fn starts_again(&mut self, ecs: &Ecs, code: i32) -> bool {
        let policy = self.made_of.restart_policy.as_ref();
        let clock = ecs.inner.settings.clock;
        if !restarts::restarts(policy, code, self.since.elapsed(), clock) {
            return false;
        }
        match Process::start(&self.made_of.spec) {
            Ok((process, output)) => {
                self.process = process;
                self.since = Instant::now();
                self.health = watch_health(ecs, &self.made_of);
                let output = carry_output(ecs, self.made_of.log.clone(), output);
                self.outputs.push(output);
                true
            }
            Err(error) => {
                tracing::warn!(container = self.made_of.name, %error, "is not started again");
                false
            }
        }
    }
}

/// Lets a container's health check run, if it has one.
fn watch_health(ecs: &Ecs, container: &Prepared) -> Option<Health> {
    let check = container.health_check.clone()?;
    let (sender, status) = watch::channel(HealthStatus::Unknown);
    let end = CancellationToken::new();
    let guard = end.clone().drop_guard();
    let clock = ecs.inner.settings.clock;
    let checks = health_check::watch(check, container.spec.clone(), clock, sender);
    ecs.spawn(async move {
        end.run_until_cancelled(checks).await;
    });
    Some(Health {
        status,
        _checks: guard,
    })
}

fn carry_output(ecs: &Ecs, log: Option<LogOptions>, output: pipe::Receiver) -> JoinHandle<()> {
    let client = ecs.inner.settings.logs.clone();
    ecs.spawn(async move {
        match log {
            Some(options) => logs::ship(&client, options, output).await,
            None => logs::discard(output).await,
        }
    })
}

struct Life {
    ecs: Ecs,
    id: String,
    stop: CancellationToken,
    targets: Vec<TargetBinding>,
    /// Containers that have not been started yet.
    waiting: Vec<Prepared>,
    running: Vec<Running>,
    registrations: Vec<Registration>,
}

impl Ecs {
    /// Puts a task among the others and lets it live.
    pub(in crate::ecs) fn start_task(
        &self,
        state: &mut State,
        mut task: Task,
        targets: Vec<TargetBinding>,
    ) {
        let life = Life {
            ecs: self.clone(),
            id: task.id.clone(),
            stop: task.stop.clone(),
            targets,
            waiting: Vec::new(),
            running: Vec::new(),
            registrations: Vec::new(),
        };
        self.announce_task(&mut task);
        state.tasks.insert(task.id.clone(), task);
        self.spawn(life.live());
    }

    /// Runs something until it is done or the local ECS ends.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let killed = self.inner.killed.clone();
        self.inner.running.spawn(async move {
            killed.run_until_cancelled(work).await;
        })
    }
}

impl Life {
    async fn live(mut self) {
        if let Err(failure) = self.start().await {
            self.update(|task| {
                task.request_stop(StopCode::TaskFailedToStart, &failure.stopped_reason);
                if let Some((position, reason)) = failure.container {
                    task.containers[position].reason = Some(reason);
                }
            });
        }
        self.serve().await;
        self.drain().await;
        self.end_containers().await;
        let clock = self.ecs.inner.settings.clock;
        clock.sleep(DEPROVISIONING).await;
        self.update(|task| {
            task.times.stopped = Some(now());
            task.last_status = LastStatus::Stopped;
        });
        let ecs = self.ecs.clone();
        // In a future of its own, so that what the task has worked with is not kept for so long.
        self.ecs.spawn(async move {
            clock.sleep(REMEMBERED).await;
            ecs.lock().forget_task(&self.id);
        });
    }

    /// Changes what ECS knows of the task, and wakes the service it belongs to.
    fn update(&self, change: impl FnOnce(&mut Task)) {
        let mut state = self.ecs.lock();
        if let Some(task) = state.tasks.get_mut(&self.id) {
            task.change(change);
            self.ecs.announce_task(task);
            if let Some(owner) = &task.owner {
                owner.wake.notify_one();
            }
        }
    }

    /// Lets a step run unless the task has to stop; `None` when it has.
    async fn unless_stopped<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(step).await
    }

    /// Brings the task to RUNNING, or as far as it gets until it is asked to stop.
    async fn start(&mut self) -> Result<(), StartFailure> {
        let clock = self.ecs.inner.settings.clock;
        if self
            .unless_stopped(clock.sleep(PROVISIONING))
            .await
            .is_none()
        {
            return Ok(());
        }
        self.update(|task| {
            task.times.connectivity = Some(now());
            task.last_status = LastStatus::Pending;
        });
        let Some(prepared) = self.unless_stopped(self.prepare()).await else {
            return Ok(());
        };
        let (prepared, ports) = prepared?;
        self.waiting = prepared;
        self.start_containers().await?;
        if !self.waiting.is_empty() {
            // Asked to stop before all of it had started.
            return Ok(());
        }
        self.register(&ports).await;
        self.update(|task| {
            task.times.started = Some(now());
            // A task that has been asked to stop meanwhile still ran.
            task.last_status = LastStatus::Running;
        });
        Ok(())
    }

    /// Reads secrets, pulls images, chooses ports and creates log streams.
    async fn prepare(&self) -> Result<(Vec<Prepared>, Ports), StartFailure> {
        let settings = &self.ecs.inner.settings;
        let subject = self.subject()?;
        let mut variables = Vec::new();
        for container in subject.containers() {
            variables.push(subject.variables(settings, container).await?);
        }
        self.update(|task| {
            task.times.pull_started = Some(now());
            task.last_status = LastStatus::Activating;
        });
        let images = self.pull_all(&subject).await;
        self.update(|task| task.times.pull_stopped = Some(now()));
        let ports = subject.choose_ports()?;
        let mut prepared = Vec::new();
        for (position, (image, variables)) in images?.iter().zip(variables).enumerate() {
            let container = subject.prepare(settings, position, image, variables, &ports);
            prepared.push(container.await?);
        }
        Ok((prepared, ports))
    }

    fn subject(&self) -> Result<Subject, StartFailure> {
        let state = self.ecs.lock();
        let task = state
            .tasks
            .get(&self.id)
            .ok_or_else(|| StartFailure::resource("the task is gone"))?;
        Ok(Subject::of(task))
    }

    async fn pull_all(&self, subject: &Subject) -> Result<Vec<Image>, StartFailure> {
        let mut images = Vec::new();
        for (position, container) in subject.containers().iter().enumerate() {
            let reference = self.in_revision(|revision| revision.image(container));
            let reference = reference.unwrap_or_else(|| container.image.clone());
            let pulled = self.ecs.inner.settings.images.pull(&reference).await;
            let image = pulled.map_err(|error| StartFailure {
                stopped_reason: error.to_string(),
                container: Some((position, error.to_string())),
            })?;
            self.in_revision(|revision| revision.establish(container, &image.digest));
            let digest = image.digest.clone();
            self.update(|task| task.containers[position].image_digest = Some(digest));
            images.push(image);
        }
        Ok(images)
    }

    /// Looks at the revision of the service that the task belongs to, if it does.
    fn in_revision<T>(&self, look: impl FnOnce(&mut ServiceRevision) -> T) -> Option<T> {
        let mut state = self.ecs.lock();
        let owner = state.tasks.get(&self.id)?.owner.clone()?;
        let mut services = state.services.values_mut();
        let service = services.find(|service| service.arn == owner.service_arn)?;
        let position = service.position(&owner.deployment_id)?;
        let arn = service.deployments[position].revision_arn.clone();
        let mut revisions = service.revisions.iter_mut();
        revisions.find(|revision| revision.arn == arn).map(look)
    }

    /// Starts each container when what it depends on has come far enough, until all have been
    /// started or the task is asked to stop.
    async fn start_containers(&mut self) -> Result<(), StartFailure> {
        while !self.stop.is_cancelled() && !self.waiting.is_empty() {
            if let Some(ready) = self.next_ready()? {
                let container = self.waiting.remove(ready);
                self.start_container(container)?;
                continue;
            }
            let now = Instant::now();
            let deadlines = self.running.iter().filter_map(|one| one.start_deadline);
            let deadline = deadlines.filter(|deadline| *deadline > now).min();
            tokio::select! {
                (position, event) = next_event(&mut self.running) => self.note(position, event),
                () = reached(deadline) => {}
                () = self.stop.cancelled() => {}
            }
        }
        Ok(())
    }

    /// The place among the waiting containers of one that can start.
    fn next_ready(&self) -> Result<Option<usize>, StartFailure> {
        let now = Instant::now();
        let progress = |name: &str| {
            let mut running = self.running.iter();
            let found = running.find(|one| one.made_of.name == name);
            found.map_or(Progress::NotStarted, |one| one.progress(now))
        };
        for (place, container) in self.waiting.iter().enumerate() {
            match dependencies::readiness(&container.depends_on, progress) {
                Readiness::Ready => return Ok(Some(place)),
                Readiness::Waiting => {}
                Readiness::Never(why) => {
                    let reason = format!("CannotStartContainerError: {why}");
                    return Err(StartFailure::container(container.position, reason));
                }
            }
        }
        Ok(None)
    }

    fn start_container(&mut self, container: Prepared) -> Result<(), StartFailure> {
        let position = container.position;
        let (process, output) = Process::start(&container.spec)
            .map_err(|error| StartFailure::container(position, error.to_string()))?;
        let clock = self.ecs.inner.settings.clock;
        let start_timeout = container.start_timeout.map(|timeout| clock.scaled(timeout));
        let runtime_id = container.runtime_id.clone();
        let since = Instant::now();
        self.running.push(Running {
            start_deadline: start_timeout.map(|timeout| since + timeout),
            process,
            since,
            exit_code: None,
            ending: Ending::NotAsked,
            health: watch_health(&self.ecs, &container),
            outputs: vec![carry_output(&self.ecs, container.log.clone(), output)],
            made_of: container,
        });
        self.update(|task| {
            let known = &mut task.containers[position];
            known.last_status = LastStatus::Running;
            known.runtime_id = Some(runtime_id);
        });
        Ok(())
    }

    async fn register(&mut self, ports: &Ports) {
        let address = {
            let state = self.ecs.lock();
            state.tasks.get(&self.id).map(|task| task.address)
        };
        let Some(address) = address else { return };
        for target in &self.targets {
            let key = (target.container_name.clone(), target.container_port);
            let Some(port) = ports.get(&key) else {
                continue;
            };
            let balancers = &self.ecs.inner.settings.load_balancers;
            match balancers
                .register(&target.target_group_arn, address, *port)
                .await
            {
                Ok(registration) => self.registrations.push(registration),
                Err(error) => {
                    tracing::warn!(arn = target.target_group_arn, %error, "cannot register a target");
                }
            }
        }
        self.update_target_health();
    }

    fn update_target_health(&self) {
        let (health, reason) = overall_health(&self.registrations);
        self.update(|task| {
            task.target_health = health;
            task.target_reason = reason;
        });
    }

    /// Lets the containers run until one of them or somebody else ends the task.
    async fn serve(&mut self) {
        while !self.stop.is_cancelled() {
            tokio::select! {
                (position, event) = next_event(&mut self.running) => self.note(position, event),
                () = any_change(&mut self.registrations) => self.update_target_health(),
                () = self.stop.cancelled() => {}
            }
        }
    }

    fn note(&mut self, position: usize, event: Event) {
        match event {
            Event::Exited(code) => self.exited(position, code),
            Event::Health(status) => {
                self.update(|task| task.containers[position].health = Some(status));
            }
        }
    }

    /// Notes that a container has ended, which may end the task.
    fn exited(&mut self, position: usize, code: i32) {
        let mut running = self.running.iter_mut();
        let Some(container) = running.find(|one| one.made_of.position == position) else {
            return;
        };
        if !self.stop.is_cancelled() && container.starts_again(&self.ecs, code) {
            self.update(|task| {
                let known = &mut task.containers[position];
                known.restarts += 1;
                known.health = None;
            });
            return;
        }
        container.exit_code = Some(code);
        container.health = None;
        let essential = container.made_of.essential;
        let nothing_left = self.waiting.is_empty() && self.running.iter().all(Running::has_exited);
        self.update(|task| {
            let container = &mut task.containers[position];
            container.exit_code = Some(code);
            container.last_status = LastStatus::Stopped;
            if essential || nothing_left {
                task.request_stop(
                    StopCode::EssentialContainerExited,
                    "Essential container in task exited",
                );
            }
        });
    }

    /// Takes the task out of its target groups and lets it answer the requests it has.
    async fn drain(&mut self) {
        self.update(|task| {
            if task.last_status == LastStatus::Running {
                task.last_status = LastStatus::Deactivating;
            }
        });
        for registration in &self.registrations {
            registration.deregister();
        }
        while !self.registrations.is_empty() {
            // Nothing is left to wait for when what answered the requests has ended.
            if self
                .running
                .iter()
                .any(|one| one.made_of.essential && one.has_exited())
            {
                return;
            }
            let drained = join_all(self.registrations.iter().map(Registration::drained));
            tokio::select! {
                _ = drained => return,
                (position, event) = next_event(&mut self.running) => self.note(position, event),
            }
        }
    }

    /// SIGTERM, and SIGKILL for what has not ended within its stop timeout. A container is
    /// stopped after those that depend on it.
    async fn end_containers(&mut self) {
        self.update(|task| {
            task.times.stopping = Some(now());
            task.last_status = LastStatus::Stopping;
        });
        while !self.running.iter().all(Running::has_exited) {
            self.ask_to_end();
            let deadlines = self.running.iter().filter(|one| !one.has_exited());
            let deadline = deadlines.filter_map(|one| match one.ending {
                Ending::Asked(deadline) => Some(deadline),
                Ending::NotAsked | Ending::Killed => None,
            });
            let deadline = deadline.min();
            tokio::select! {
                (position, event) = next_event(&mut self.running) => self.note(position, event),
                () = reached(deadline) => {}
            }
        }
        for container in self.running.drain(..) {
            let aborts: Vec<_> = container
                .outputs
                .iter()
                .map(JoinHandle::abort_handle)
                .collect();
            let outputs = join_all(container.outputs);
            if tokio::time::timeout(OUTPUT_END, outputs).await.is_err() {
                aborts.iter().for_each(AbortHandle::abort);
            }
        }
        self.update(|task| {
            for container in &mut task.containers {
                container.last_status = LastStatus::Stopped;
            }
            task.times.execution_stopped = Some(now());
            task.last_status = LastStatus::Deprovisioning;
        });
    }

    /// Sends the signals that are due.
    fn ask_to_end(&mut self) {
        let now = Instant::now();
        let clock = self.ecs.inner.settings.clock;
        let open = self.running.iter().filter(|one| !one.has_exited());
        let depended_on: Vec<String> = open
            .clone()
            .filter(|one| {
                let others = open
                    .clone()
                    .map(|other| other.made_of.depends_on.as_slice());
                !dependencies::may_stop(&one.made_of.name, others)
            })
            .map(|one| one.made_of.name.clone())
            .collect();
        for container in self.running.iter_mut().filter(|one| !one.has_exited()) {
            match container.ending {
                Ending::NotAsked if !depended_on.contains(&container.made_of.name) => {
                    container.process.terminate();
                    container.ending =
                        Ending::Asked(now + clock.scaled(container.made_of.stop_timeout));
                }
                Ending::Asked(deadline) if deadline <= now => {
                    container.process.kill();
                    container.ending = Ending::Killed;
                }
                Ending::NotAsked | Ending::Asked(_) | Ending::Killed => {}
            }
        }
    }
}

/// What happens to a container that runs.
enum Event {
    Exited(i32),
    Health(HealthStatus),
}

/// The next thing that happens to a container, and the container's place in the task.
async fn next_event(running: &mut [Running]) -> (usize, Event) {
    let open: Vec<_> = running
        .iter_mut()
        .filter(|container| !container.has_exited())
        .map(|container| {
            Box::pin(async move {
                let event = tokio::select! {
                    code = container.process.wait() => Event::Exited(code),
                    status = next_health(container.health.as_mut()) => Event::Health(status),
                };
                (container.made_of.position, event)
            })
        })
        .collect();
    if open.is_empty() {
        return pending().await;
    }
    select_all(open).await.0
}

async fn next_health(health: Option<&mut Health>) -> HealthStatus {
    let Some(health) = health else {
        return pending().await;
    };
    match health.status.changed().await {
        Ok(()) => *health.status.borrow_and_update(),
        Err(_) => pending().await,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

async fn any_change(registrations: &mut [Registration]) {
    if registrations.is_empty() {
        return pending().await;
    }
    select_all(registrations.iter_mut().map(|r| Box::pin(r.changed()))).await;
}

/// A task is healthy when all its target groups find it healthy, and unhealthy when one does.
fn overall_health(registrations: &[Registration]) -> (TargetHealth, String) {
    if registrations.is_empty() {
        return (TargetHealth::None, String::new());
    }
    let unhealthy = |r: &&Registration| r.state() == TargetState::Unhealthy;
    if let Some(registration) = registrations.iter().find(unhealthy) {
        return (TargetHealth::Unhealthy, registration.reason());
    }
    let healthy = |r: &Registration| r.state() == TargetState::Healthy;
    let health = if registrations.iter().all(healthy) {
        TargetHealth::Healthy
    } else {
        TargetHealth::Initial
    };
    (health, String::new())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ecs::in_process::{CLUSTER, ecs, register, run_task};

    /// What DescribeTasks says of a task; `None` when it knows it no more.
    async fn described(ecs: &Ecs, arn: &Value) -> Option<Value> {
        let request = json!({"cluster": CLUSTER, "tasks": [arn]});
        let answer = ecs.call("DescribeTasks", request).await.unwrap();
        match answer["failures"].as_array().unwrap().first() {
            Some(failure) => {
                assert_eq!(failure["reason"], "MISSING");
                assert_eq!(failure["arn"], *arn);
                None
            }
            None => Some(answer["tasks"][0].clone()),
        }
    }

    async fn run(ecs: &Ecs, request: Value) -> Value {
        let answer = ecs.call("RunTask", request).await.unwrap();
        answer["tasks"][0]["taskArn"].clone()
    }

    /// Waits until a task is missing.
    async fn forgotten(ecs: &Ecs, arn: &Value) {
        while described(ecs, arn).await.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_stopped_task_is_described_for_an_hour_and_then_missing() {
        // An hour is a second.
        let ecs = ecs(3600.0).await;
        register(&ecs, "web").await;
        let started = Instant::now();
        let arn = run(&ecs, run_task("web", &json!({}))).await;
        assert!(described(&ecs, &arn).await.is_some());
        forgotten(&ecs, &arn).await;
        assert!(started.elapsed() >= Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_client_token_lives_as_long_as_its_tasks_can_be_described() {
        let ecs = ecs(1200.0).await;
        register(&ecs, "web").await;
        let request = run_task("web", &json!({"clientToken": "once"}));
        let first = run(&ecs, request.clone()).await;
        assert_eq!(run(&ecs, request.clone()).await, first);
        forgotten(&ecs, &first).await;
        assert_ne!(run(&ecs, request).await, first);
    }
}
