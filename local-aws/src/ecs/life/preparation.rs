//! What a task's containers need before they can start: images, secrets, files of environment
//! variables, ports, log streams.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::environment_files::{self, Environment};
use super::secrets;
use super::settings::Settings;
use crate::containers::logs::{self, LogOptions};
use crate::containers::network::free_port;
use crate::containers::process::Spec;
use crate::ecs::model::health_check::HealthCheck;
use crate::ecs::model::names;
use crate::ecs::model::restarts::RestartPolicy;
use crate::ecs::model::task::{ContainerOverride, Task};
use crate::ecs::model::task_definitions::{
    ContainerDefinition, Dependency, LogConfiguration, TaskDefinition,
};
use crate::ecs::model::values::KeyValue;
use crate::images::Image;

/// `stopTimeout` where a container does not set it, in seconds.
const STOP_TIMEOUT: u64 = 30;

/// The ports that stand for containers' ports, by container and container port.
pub(super) type Ports = HashMap<(String, u16), u16>;

/// Why a task cannot start.
pub(super) struct StartFailure {
    pub(super) stopped_reason: String,
    /// The container it is about, by its position, and the reason given there.
    pub(super) container: Option<(usize, String)>,
}

impl StartFailure {
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/resource-initialization-error.html>
    pub(super) fn resource(problem: impl std::fmt::Display) -> Self {
        Self {
            stopped_reason: format!("ResourceInitializationError: {problem}"),
            container: None,
        }
    }

    /// A container that does not start; its own reason says why.
    pub(super) fn container(position: usize, reason: String) -> Self {
        Self {
            stopped_reason: "Task failed to start".to_owned(),
            container: Some((position, reason)),
        }
    }
}

/// What a task's containers are made from.
pub(super) struct Subject {
    pub(super) task_id: String,
    pub(super) definition: Arc<TaskDefinition>,
    pub(super) address: IpAddr,
    pub(super) has_role: bool,
    pub(super) overrides: Vec<ContainerOverride>,
}

/// A container that is ready to start.
pub(super) struct Prepared {
    /// The container's place in the task.
    pub(super) position: usize,
    pub(super) name: String,
    pub(super) essential: bool,
    pub(super) depends_on: Vec<Dependency>,
    pub(super) start_timeout: Option<Duration>,
    pub(super) stop_timeout: Duration,
    pub(super) health_check: Option<HealthCheck>,
    pub(super) restart_policy: Option<RestartPolicy>,
    pub(super) runtime_id: String,
    pub(super) spec: Spec,
    pub(super) log: Option<LogOptions>,
}

impl Subject {
    pub(super) fn of(task: &Task) -> Self {
        Self {
            task_id: task.id.clone(),
            definition: Arc::clone(&task.definition),
            address: task.address,
            has_role: task.has_role(),
            overrides: task.read_overrides().container_overrides,
        }
    }

    pub(super) fn containers(&self) -> &[ContainerDefinition] {
        &self.definition.details.container_definitions
    }

    fn overridden(&self, container: &ContainerDefinition) -> ContainerOverride {
        let mut overrides = self.overrides.iter();
        let found = overrides.find(|one| one.name == container.name);
        found.cloned().unwrap_or_default()
    }

    /// The variables that task definition and overrides give a container, the weakest first:
    /// files, `environment`, secrets, the overrides' `environment`.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/use-environment-file.html>
    pub(super) async fn variables(
        &self,
        settings: &Settings,
        container: &ContainerDefinition,
    ) -> Result<Environment, StartFailure> {
        let overridden = self.overridden(container);
        let mut variables = Environment::new();
        let files = overridden.environment_files.as_ref();
        for file in files.unwrap_or(&container.environment_files) {
            let content = environment_files::read(settings, &file.value)
                .await
                .map_err(StartFailure::resource)?;
            variables.extend(content);
        }
        let pair = |pair: &KeyValue| (pair.name.clone(), pair.value.clone());
        variables.extend(container.environment.iter().map(pair));
        for secret in &container.secrets {
            let value = secrets::resolve(&settings.secrets_manager, &settings.ssm, secret)
                .await
                .map_err(StartFailure::resource)?;
            variables.push((secret.name.clone(), value));
        }
        variables.extend(overridden.environment.iter().map(pair));
        Ok(variables)
    }

    /// A free port for each of the containers' ports.
    pub(super) fn choose_ports(&self) -> Result<Ports, StartFailure> {
        let mut ports = Ports::new();
        for container in self.containers() {
            for mapping in &container.port_mappings {
                let port = free_port(self.address).map_err(StartFailure::resource)?;
                ports.insert((container.name.clone(), mapping.container_port), port);
            }
        }
        Ok(ports)
    }

    pub(super) async fn prepare(
        &self,
        settings: &Settings,
        position: usize,
        image: &Image,
        variables: Environment,
        ports: &Ports,
    ) -> Result<Prepared, StartFailure> {
        let container = &self.containers()[position];
        let number = names::unique_number() % 10_000_000_000;
        let runtime_id = format!("{}-{number}", self.task_id);
        let mut environment = image.environment.clone();
        environment.extend(variables);
        environment.extend(settings.environment(self.has_role));
        environment.extend(network_environment(container, self.address, ports));

        let metadata = settings.metadata_uri(&runtime_id);
        environment.push(("ECS_CONTAINER_METADATA_URI_V4".to_owned(), metadata));

        let log = match &container.log_configuration {
            Some(configuration) => {
                log_options(configuration, &container.name, &self.task_id, &runtime_id)
                    .map_err(StartFailure::resource)?
            }
            None => None,
        };
        if let Some(options) = &log {
            logs::create_stream(&settings.logs, options)
                .await
                .map_err(StartFailure::resource)?;
        }
        let working_directory = container.working_directory.as_ref();
        Ok(Prepared {
            position,
            name: container.name.clone(),
            essential: container.essential,
            depends_on: container.depends_on.clone(),
            start_timeout: container.start_timeout.map(Duration::from_secs),
            stop_timeout: Duration::from_secs(container.stop_timeout.unwrap_or(STOP_TIMEOUT)),
            health_check: container.health_check.clone(),
            restart_policy: container.restart_policy.clone(),
            runtime_id,
            spec: Spec {
                root: image.root.clone(),
                working_directory: working_directory
                    .unwrap_or(&image.working_directory)
                    .clone(),
                command: command(image, container, self.overridden(container).command),
                environment,
            },
            log,
        })
    }
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
/// Without a prefix the stream has the container's own id as its name.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html>
fn log_options(
    configuration: &LogConfiguration,
    container: &str,
    task_id: &str,
    runtime_id: &str,
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
        None => runtime_id.to_owned(),
    };
    Ok(Some(LogOptions {
        group: group.clone(),
        stream,
        region: option("awslogs-region").cloned(),
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
        let stream = |configuration: &_| log_options(configuration, "app", "1234", "1234-5");
        let mut configuration: LogConfiguration = serde_json::from_value(json!({
            "logDriver": "awslogs",
            "options": {"awslogs-group": "/demo", "awslogs-stream-prefix": "web"},
        }))
        .unwrap();
        assert_eq!(
            stream(&configuration).unwrap(),
            Some(LogOptions {
                group: "/demo".to_owned(),
                stream: "web/app/1234".to_owned(),
                region: None,
                create_group: false,
            })
        );
        configuration.options.remove("awslogs-stream-prefix");
        let options = stream(&configuration).unwrap().unwrap();
        assert_eq!(options.stream, "1234-5");
        configuration.options.remove("awslogs-group");
        assert!(stream(&configuration).is_err());
    }
}
