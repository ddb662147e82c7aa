//! The life of one task, from PROVISIONING to STOPPED.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::request::now;
use super::secrets;
use super::task::{ContainerOverride, LastStatus, StopCode, TargetHealth, Task};
use super::task_definitions::{ContainerDefinition, LogConfiguration, TaskDefinition};
use super::{Ecs, State};
use crate::containers::logs::{self, LogOptions};
use crate::containers::network::free_port;
use crate::containers::process::{Process, Spec};
use crate::images::Image;
use crate::load_balancer::{Registration, TargetState};

/// What AWS needs to attach and detach a network interface; AWS promises no times.
const PROVISIONING: Duration = Duration::from_secs(5);
const DEPROVISIONING: Duration = Duration::from_secs(5);
/// `stopTimeout` where a container does not set it.
const STOP_TIMEOUT: u64 = 30;
/// A stopped task can be described for about an hour.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// A process that left its container's group can hold the output open; it is not waited for
/// longer than this.
const OUTPUT_END: Duration = Duration::from_secs(5);

/// A container's port that a target group gets as a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetBinding {
    pub(super) target_group_arn: String,
    pub(super) container_name: String,
    pub(super) container_port: u16,
}

/// Why a task cannot start.
struct StartFailure {
    stopped_reason: String,
    /// The container it is about, by its position, and the reason given there.
    container: Option<(usize, String)>,
}

impl StartFailure {
    fn resource(problem: impl std::fmt::Display) -> Self {
        Self {
            stopped_reason: format!("ResourceInitializationError: {problem}"),
            container: None,
        }
    }
}

/// What a task's containers are made from.
struct Subject {
    definition: Arc<TaskDefinition>,
    address: IpAddr,
    has_role: bool,
    overrides: Vec<ContainerOverride>,
}

/// A container that is ready to start.
struct Prepared {
    essential: bool,
    stop_timeout: Duration,
    spec: Spec,
    log: Option<LogOptions>,
}

struct Running {
    /// The container's place in the task.
    position: usize,
    essential: bool,
    stop_timeout: Duration,
    process: Process,
    exited: bool,
    output: JoinHandle<()>,
}

struct Life {
    ecs: Ecs,
    id: String,
    stop: CancellationToken,
    targets: Vec<TargetBinding>,
    running: Vec<Running>,
    registrations: Vec<Registration>,
}

impl Ecs {
    /// Puts a task among the others and lets it live.
    pub(super) fn start_task(
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
            running: Vec::new(),
            registrations: Vec::new(),
        };
        self.announce_task(&mut task);
        state.tasks.insert(task.id.clone(), task);
        let killed = self.inner.killed.clone();
        self.inner.running.spawn(async move {
            killed.run_until_cancelled(life.live()).await;
        });
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
        self.update(|task| {
            for container in &mut task.containers {
                container.last_status = LastStatus::Stopped;
            }
            task.times.execution_stopped = Some(now());
            task.set_status(LastStatus::Deprovisioning);
        });
        let clock = self.ecs.inner.settings.clock;
        clock.sleep(DEPROVISIONING).await;
        self.update(|task| {
            task.times.stopped = Some(now());
            task.set_status(LastStatus::Stopped);
        });
        clock.sleep(REMEMBERED).await;
        self.ecs.lock().forget_task(&self.id);
    }

    /// Changes what ECS knows of the task, and wakes the service it belongs to.
    fn update(&self, change: impl FnOnce(&mut Task)) {
        let mut state = self.ecs.lock();
        if let Some(task) = state.tasks.get_mut(&self.id) {
            change(task);
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
            task.set_status(LastStatus::Pending);
        });
        let Some(prepared) = self.unless_stopped(self.prepare()).await else {
            return Ok(());
        };
        let (prepared, ports) = prepared?;
        self.update(|task| task.set_status(LastStatus::Activating));
        for (position, container) in prepared.into_iter().enumerate() {
            self.start_container(position, container)?;
        }
        self.register(&ports).await;
        self.update(|task| {
            task.times.started = Some(now());
            // A task that has been asked to stop meanwhile still ran.
            task.set_status(LastStatus::Running);
        });
        Ok(())
    }

    /// Pulls images, reads secrets, creates log streams and chooses ports.
    async fn prepare(&self) -> Result<(Vec<Prepared>, Ports), StartFailure> {
        let subject = self.subject()?;
        let containers = &subject.definition.details.container_definitions;
        self.update(|task| task.times.pull_started = Some(now()));
        let mut images = Vec::new();
        for (position, container) in containers.iter().enumerate() {
            images.push(self.pull(position, &container.image).await?);
        }
        self.update(|task| task.times.pull_stopped = Some(now()));

        let mut ports = Ports::new();
        for container in containers {
            for mapping in &container.port_mappings {
                let port = free_port(subject.address).map_err(StartFailure::resource)?;
                ports.insert((container.name.clone(), mapping.container_port), port);
            }
        }
        let mut prepared = Vec::new();
        for (container, image) in containers.iter().zip(images) {
            let container = self
                .prepare_container(&subject, container, &image, &ports)
                .await?;
            prepared.push(container);
        }
        Ok((prepared, ports))
    }

    fn subject(&self) -> Result<Subject, StartFailure> {
        let state = self.ecs.lock();
        let task = state
            .tasks
            .get(&self.id)
            .ok_or_else(|| StartFailure::resource("the task is gone"))?;
        Ok(Subject {
            definition: Arc::clone(&task.definition),
            address: task.address,
            has_role: task.has_role(),
            overrides: task.container_overrides(),
        })
    }

    async fn prepare_container(
        &self,
        subject: &Subject,
        container: &ContainerDefinition,
        image: &Image,
        ports: &Ports,
    ) -> Result<Prepared, StartFailure> {
        let settings = &self.ecs.inner.settings;
        let mut overrides = subject.overrides.iter();
        let overridden = overrides
            .find(|one| one.name == container.name)
            .cloned()
            .unwrap_or_default();

        let mut environment = image.environment.clone();
        let given = container.environment.iter().chain(&overridden.environment);
        environment.extend(given.map(|pair| (pair.name.clone(), pair.value.clone())));
        for secret in &container.secrets {
            let value = secrets::resolve(&settings.secrets_manager, &settings.ssm, secret)
                .await
                .map_err(StartFailure::resource)?;
            environment.push((secret.name.clone(), value));
        }
        environment.extend(settings.environment(subject.has_role));
        environment.extend(network_environment(container, subject.address, ports));

        let log = match &container.log_configuration {
            Some(configuration) => log_options(configuration, &container.name, &self.id)
                .map_err(StartFailure::resource)?,
            None => None,
        };
        if let Some(options) = &log {
            logs::create_stream(&settings.logs, options)
                .await
                .map_err(StartFailure::resource)?;
        }
        let working_directory = container.working_directory.as_ref();
        Ok(Prepared {
            essential: container.essential,
            stop_timeout: Duration::from_secs(container.stop_timeout.unwrap_or(STOP_TIMEOUT)),
            spec: Spec {
                root: image.root.clone(),
                working_directory: working_directory
                    .unwrap_or(&image.working_directory)
                    .clone(),
                command: command(image, container, overridden.command),
                environment,
            },
            log,
        })
    }

    async fn pull(&self, position: usize, reference: &str) -> Result<Image, StartFailure> {
        match self.ecs.inner.settings.images.pull(reference).await {
            Ok(image) => {
                let digest = image.digest.clone();
                self.update(|task| task.containers[position].image_digest = Some(digest));
                Ok(image)
            }
            Err(error) => Err(StartFailure {
                stopped_reason: error.to_string(),
                container: Some((position, error.to_string())),
            }),
        }
    }

    fn start_container(
        &mut self,
        position: usize,
        container: Prepared,
    ) -> Result<(), StartFailure> {
        let (process, output) = Process::start(&container.spec).map_err(|error| StartFailure {
            stopped_reason: "Task failed to start".to_owned(),
            container: Some((position, error.to_string())),
        })?;
        self.running.push(Running {
            position,
            essential: container.essential,
            stop_timeout: container.stop_timeout,
            process,
            exited: false,
            output: self.carry_output(container.log, output),
        });
        let runtime_id = format!(
            "{}-{}",
            self.id,
            super::names::unique_number() % 10_000_000_000
        );
        self.update(|task| {
            let container = &mut task.containers[position];
            container.last_status = LastStatus::Running;
            container.runtime_id = Some(runtime_id);
        });
        Ok(())
    }

    fn carry_output(&self, log: Option<LogOptions>, output: pipe::Receiver) -> JoinHandle<()> {
        let client = self.ecs.inner.settings.logs.clone();
        let killed = self.ecs.inner.killed.clone();
        self.ecs.inner.running.spawn(async move {
            let carry = async {
                match log {
                    Some(options) => logs::ship(client, options, output).await,
                    None => logs::discard(output).await,
                }
            };
            killed.run_until_cancelled(carry).await;
        })
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
                (position, code) = first_exit(&mut self.running) => {
                    self.exited(position, code);
                }
                () = any_change(&mut self.registrations) => self.update_target_health(),
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Notes that a container has ended, which may end the task.
    fn exited(&mut self, position: usize, code: i32) {
        let Some(container) = self.running.iter_mut().find(|c| c.position == position) else {
            return;
        };
        container.exited = true;
        let ends_task = container.essential || self.running.iter().all(|c| c.exited);
        self.update(|task| {
            let container = &mut task.containers[position];
            container.exit_code = Some(code);
            container.last_status = LastStatus::Stopped;
            if ends_task {
                task.request_stop(
                    StopCode::EssentialContainerExited,
                    "Essential container in task exited",
                );
            }
        });
    }

    /// Takes the task out of its target groups and lets it answer the requests it has.
    async fn drain(&mut self) {
        if self.registrations.is_empty() {
            return;
        }
        self.update(|task| task.set_status(LastStatus::Deactivating));
        for registration in &self.registrations {
            registration.deregister();
        }
        loop {
            // Nothing is left to wait for when what answered the requests has ended.
            if self.running.iter().any(|c| c.essential && c.exited) {
                return;
            }
            let drained = join_all(self.registrations.iter().map(Registration::drained));
            tokio::select! {
                _ = drained => return,
                (position, code) = first_exit(&mut self.running) => self.exited(position, code),
            }
        }
    }

    /// SIGTERM, and SIGKILL for what has not ended within its stop timeout.
    async fn end_containers(&mut self) {
        if self.running.is_empty() {
            return;
        }
        self.update(|task| {
            task.times.stopping = Some(now());
            task.set_status(LastStatus::Stopping);
        });
        let clock = self.ecs.inner.settings.clock;
        let open = self.running.iter_mut().filter(|c| !c.exited);
        let ended = join_all(open.map(|container| async move {
            container.process.terminate();
            let patience = clock.scaled(container.stop_timeout);
            let code = match tokio::time::timeout(patience, container.process.wait()).await {
                Ok(code) => code,
                Err(_) => {
                    container.process.kill();
                    container.process.wait().await
                }
            };
            (container.position, code)
        }))
        .await;
        for (position, code) in ended {
            self.exited(position, code);
        }
        for container in self.running.drain(..) {
            let abort = container.output.abort_handle();
            if tokio::time::timeout(OUTPUT_END, container.output)
                .await
                .is_err()
            {
                abort.abort();
            }
        }
    }
}

/// The ports that stand for containers' ports, by container and container port.
type Ports = HashMap<(String, u16), u16>;

async fn first_exit(running: &mut [Running]) -> (usize, i32) {
    let open: Vec<_> = running
        .iter_mut()
        .filter(|container| !container.exited)
        .map(|container| {
            Box::pin(async move { (container.position, container.process.wait().await) })
        })
        .collect();
    if open.is_empty() {
        return pending().await;
    }
    select_all(open).await.0
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

/// Where a container listens: `HOST`, `PORT` for the first of its ports, and `PORT_<container
/// port>` for each.
fn network_environment(
    container: &ContainerDefinition,
    address: IpAddr,
    ports: &Ports,
) -> Vec<(String, String)> {
    let mut environment = vec![("HOST".to_owned(), address.to_string())];
    for (position, mapping) in container.port_mappings.iter().enumerate() {
        let container_port = mapping.container_port;
        let Some(port) = ports.get(&(container.name.clone(), container_port)) else {
            continue;
        };
        if position == 0 {
            environment.push(("PORT".to_owned(), port.to_string()));
        }
        environment.push((format!("PORT_{container_port}"), port.to_string()));
    }
    environment
}

/// What a container runs: the entry point and then the command, each from the most specific
/// place that says one. An entry point in the task definition makes the image's command void.
fn command(
    image: &Image,
    container: &ContainerDefinition,
    overridden: Option<Vec<String>>,
) -> Vec<String> {
    let (entrypoint, default) = if container.entry_point.is_empty() {
        (&image.entrypoint, image.command.clone())
    } else {
        (&container.entry_point, Vec::new())
    };
    let command = match overridden {
        Some(command) if !command.is_empty() => command,
        _ if !container.command.is_empty() => container.command.clone(),
        _ => default,
    };
    entrypoint.iter().cloned().chain(command).collect()
}

/// The options of the `awslogs` driver; `None` for any other driver, whose output is dropped.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html>
fn log_options(
    configuration: &LogConfiguration,
    container: &str,
    task_id: &str,
) -> Result<Option<LogOptions>, String> {
    if configuration.log_driver != "awslogs" {
        return Ok(None);
    }
    let option = |name: &str| configuration.options.get(name);
    let group = option("awslogs-group").ok_or(
        "failed to validate logger args: must specify a value for log opt 'awslogs-group' : exit status 1",
    )?;
    let stream = match option("awslogs-stream-prefix") {
        Some(prefix) => format!("{prefix}/{container}/{task_id}"),
        None => format!("{container}/{task_id}"),
    };
    Ok(Some(LogOptions {
        group: group.clone(),
        stream,
        create_group: option("awslogs-create-group").is_some_and(|value| value == "true"),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|item| (*item).to_owned()).collect()
    }

    fn run(container: serde_json::Value, overridden: Option<&[&str]>) -> Vec<String> {
        let image = Image {
            digest: String::new(),
            root: "/".into(),
            environment: Vec::new(),
            entrypoint: strings(&["/entry"]),
            command: strings(&["default"]),
            working_directory: String::new(),
        };
        let container: ContainerDefinition = serde_json::from_value(container).unwrap();
        command(&image, &container, overridden.map(strings))
    }

    #[test]
    fn the_most_specific_command_is_run() {
        assert_eq!(run(json!({}), None), ["/entry", "default"]);
        assert_eq!(
            run(json!({"command": ["serve"]}), None),
            ["/entry", "serve"]
        );
        assert_eq!(
            run(json!({"command": ["serve"]}), Some(&["migrate"])),
            ["/entry", "migrate"]
        );
        assert_eq!(run(json!({"entryPoint": ["/other"]}), None), ["/other"]);
    }

    #[test]
    fn a_log_stream_is_named_after_prefix_container_and_task() {
        let configuration: LogConfiguration = serde_json::from_value(json!({
            "logDriver": "awslogs",
            "options": {"awslogs-group": "/demo", "awslogs-stream-prefix": "web"},
        }))
        .unwrap();
        assert_eq!(
            log_options(&configuration, "app", "1234").unwrap(),
            Some(LogOptions {
                group: "/demo".to_owned(),
                stream: "web/app/1234".to_owned(),
                create_group: false,
            })
        );
        let no_group = LogConfiguration {
            options: HashMap::new(),
            ..configuration
        };
        assert!(log_options(&no_group, "app", "1234").is_err());
    }
}
