//! The task metadata endpoint, version 4, as far as a task and its containers can be told without
//! Docker: `${ECS_CONTAINER_METADATA_URI_V4}` and `${ECS_CONTAINER_METADATA_URI_V4}/task`.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate-response.html>

use serde_json::{Value, json};

use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::names;
use crate::ecs::model::task::{Container, Task};
use crate::ecs::model::values::{Object, put, timestamp};

impl Ecs {
    /// What the endpoint answers about the container with that runtime id.
    pub(crate) fn container_metadata(&self, runtime_id: &str) -> Option<Value> {
        self.metadata(runtime_id, |task, container| {
            task.container_metadata(container)
        })
    }

    /// What the endpoint answers that container about its task.
    pub(crate) fn task_metadata(&self, runtime_id: &str) -> Option<Value> {
        self.metadata(runtime_id, |task, _| task.metadata())
    }

    fn metadata(
        &self,
        runtime_id: &str,
        tell: impl Fn(&Task, &Container) -> Value,
    ) -> Option<Value> {
        let state = self.lock();
        state.tasks.values().find_map(|task| {
            let mut containers = task.containers.iter();
            let found = containers.find(|one| one.runtime_id.as_deref() == Some(runtime_id));
            found.map(|container| tell(task, container))
        })
    }
}

impl Task {
    fn container_metadata(&self, container: &Container) -> Value {
        let definition = self.definition.container(&container.name);
        let family = &self.definition.family;
        let revision = self.definition.revision.to_string();
        let mut answer = Object::new();
        let mut set = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        set("Name", json!(container.name));
        set("DockerName", json!(container.name));
        set("Image", json!(container.image));
        set("ContainerARN", json!(container.arn));
        set("DesiredStatus", json!(self.desired_status()));
        set("KnownStatus", json!(container.last_status.as_str()));
        set("Type", json!("NORMAL"));
        set(
            "Labels",
            json!({
                "com.amazonaws.ecs.cluster": self.cluster_arn,
                "com.amazonaws.ecs.container-name": container.name,
                "com.amazonaws.ecs.task-arn": self.arn,
                "com.amazonaws.ecs.task-definition-family": family,
                "com.amazonaws.ecs.task-definition-version": revision,
            }),
        );
        set(
            "Limits",
            json!({"CPU": definition.and_then(|one| one.cpu).unwrap_or(0)}),
        );
        set(
            "Networks",
            json!([{
                "NetworkMode": self.definition.details.network_mode,
                "IPv4Addresses": [self.address.to_string()],
            }]),
        );
        put(&mut answer, "DockerId", container.runtime_id.clone());
        put(&mut answer, "ImageID", container.image_digest.clone());
        put(&mut answer, "ExitCode", container.exit_code);
        let policy = definition.and_then(|one| one.restart_policy.as_ref());
        let restarts = policy.filter(|policy| policy.enabled);
        put(
            &mut answer,
            "RestartCount",
            restarts.map(|_| container.restarts),
        );
        let log = definition.and_then(|one| one.log_configuration.as_ref());
        put(
            &mut answer,
            "LogDriver",
            log.map(|log| log.log_driver.clone()),
        );
        put(&mut answer, "LogOptions", log.map(|log| json!(log.options)));
        Value::Object(answer)
    }

    fn metadata(&self) -> Value {
        let containers = self.containers.iter();
        let containers: Vec<Value> = containers
            .filter(|container| container.runtime_id.is_some())
            .map(|container| self.container_metadata(container))
            .collect();
        let number = |size: Option<String>| size?.parse::<f64>().ok();
        let (cpu, memory) = self.size();
        let mut answer = Object::new();
        let mut set = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        set("Cluster", json!(self.cluster_arn));
        set("TaskARN", json!(self.arn));
        set("Family", json!(self.definition.family));
        set("Revision", json!(self.definition.revision.to_string()));
        set("DesiredStatus", json!(self.desired_status()));
        set("KnownStatus", json!(self.last_status.as_str()));
        set("LaunchType", json!(self.launch_type()));
        set("Containers", json!(containers));
        set(
            "Limits",
            json!({
                "CPU": number(cpu).map(|units| units / 1024.0),
                "Memory": number(memory),
            }),
        );
        for (name, time) in [
            ("PullStartedAt", self.times.pull_started),
            ("PullStoppedAt", self.times.pull_stopped),
        ] {
            put(
                &mut answer,
                name,
                time.map(|time| timestamp(time).to_string()),
            );
        }
        let zone = names::availability_zone(&self.arn);
        put(&mut answer, "AvailabilityZone", zone);
        Value::Object(answer)
    }
}
