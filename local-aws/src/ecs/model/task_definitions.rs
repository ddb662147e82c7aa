//! Revisions of task definitions, and the parts of them that ECS acts on.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::health_check::HealthCheck;
use super::restarts::RestartPolicy;
use super::values::{KeyValue, Object, Tag};

/// What Fargate gives without being asked, in GiB.
const DEFAULT_STORAGE: i64 = 20;

/// One revision.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct TaskDefinition {
    pub(in crate::ecs) arn: String,
    pub(in crate::ecs) family: String,
    pub(in crate::ecs) revision: u32,
    pub(in crate::ecs) active: bool,
    pub(in crate::ecs) tags: Vec<Tag>,
    /// The request and what ECS adds to it, all but the status.
    pub(in crate::ecs) document: Object,
    pub(in crate::ecs) details: Details,
    pub(in crate::ecs) deregistered_at: Option<f64>,
}

impl TaskDefinition {
    pub(in crate::ecs) fn uses_awsvpc(&self) -> bool {
        self.details.network_mode.as_deref() == Some("awsvpc")
    }

    pub(in crate::ecs) fn is_fargate_compatible(&self) -> bool {
        let compatibilities = self.document.get("compatibilities");
        let mut compatibilities = compatibilities
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        compatibilities.any(|compatibility| compatibility == "FARGATE")
    }

    pub(in crate::ecs) fn container(&self, name: &str) -> Option<&ContainerDefinition> {
        let mut containers = self.details.container_definitions.iter();
        containers.find(|container| container.name == name)
    }
}

/// The parts of a task definition that ECS acts on.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct Details {
    pub(in crate::ecs) container_definitions: Vec<ContainerDefinition>,
    pub(in crate::ecs) network_mode: Option<String>,
    #[serde(default)]
    pub(in crate::ecs) requires_compatibilities: Vec<String>,
    pub(in crate::ecs) cpu: Option<String>,
    pub(in crate::ecs) memory: Option<String>,
    pub(in crate::ecs) execution_role_arn: Option<String>,
    pub(in crate::ecs) task_role_arn: Option<String>,
    #[serde(default)]
    pub(in crate::ecs) volumes: Vec<Volume>,
    pub(in crate::ecs) ephemeral_storage: Option<EphemeralStorage>,
}

impl Details {
    pub(in crate::ecs) fn is_for_fargate(&self) -> bool {
        let mut compatibilities = self.requires_compatibilities.iter();
        compatibilities.any(|compatibility| compatibility == "FARGATE")
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct Volume {
    #[serde(default)]
    pub(in crate::ecs) name: String,
    /// Whether RunTask and services say what it is.
    #[serde(default)]
    pub(in crate::ecs) configured_at_launch: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct ContainerDefinition {
    #[serde(default)]
    pub(in crate::ecs) name: String,
    #[serde(default)]
    pub(in crate::ecs) image: String,
    #[serde(default = "yes")]
    pub(in crate::ecs) essential: bool,
    #[serde(default)]
    pub(in crate::ecs) entry_point: Vec<String>,
    #[serde(default)]
    pub(in crate::ecs) command: Vec<String>,
    #[serde(default)]
    pub(in crate::ecs) environment: Vec<KeyValue>,
    #[serde(default)]
    pub(in crate::ecs) secrets: Vec<Secret>,
    pub(in crate::ecs) working_directory: Option<String>,
    #[serde(default)]
    pub(in crate::ecs) port_mappings: Vec<PortMapping>,
    #[serde(default)]
    pub(in crate::ecs) environment_files: Vec<EnvironmentFile>,
    #[serde(default)]
    pub(in crate::ecs) depends_on: Vec<Dependency>,
    pub(in crate::ecs) health_check: Option<HealthCheck>,
    pub(in crate::ecs) restart_policy: Option<RestartPolicy>,
    /// Seconds that other containers wait for this one to be complete, successful or healthy.
    pub(in crate::ecs) start_timeout: Option<u64>,
    /// Seconds between SIGTERM and SIGKILL.
    pub(in crate::ecs) stop_timeout: Option<u64>,
    pub(in crate::ecs) log_configuration: Option<LogConfiguration>,
    pub(in crate::ecs) cpu: Option<i64>,
    pub(in crate::ecs) memory: Option<i64>,
    pub(in crate::ecs) memory_reservation: Option<i64>,
    version_consistency: Option<String>,
}

impl ContainerDefinition {
    /// Whether all tasks of a service revision have the same image of it.
    pub(in crate::ecs) fn is_version_consistent(&self) -> bool {
        self.version_consistency.as_deref() != Some("disabled")
    }
}

fn yes() -> bool {
    true
}

/// What a container waits for before it starts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct Dependency {
    pub(in crate::ecs) container_name: String,
    pub(in crate::ecs) condition: Condition,
}

/// What has to have become of the other container.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::ecs) enum Condition {
    /// It has been started.
    Start,
    /// It has exited.
    Complete,
    /// It has exited with 0.
    Success,
    /// Its health check has passed.
    Healthy,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct Secret {
    pub(in crate::ecs) name: String,
    pub(in crate::ecs) value_from: String,
}

/// A file of environment variables, an object in S3 by its ARN.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::ecs) struct EnvironmentFile {
    pub(in crate::ecs) value: String,
    pub(in crate::ecs) r#type: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct PortMapping {
    pub(in crate::ecs) container_port: u16,
    pub(in crate::ecs) host_port: Option<u16>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct LogConfiguration {
    pub(in crate::ecs) log_driver: String,
    #[serde(default)]
    pub(in crate::ecs) options: HashMap<String, String>,
}

/// An `ephemeralStorage` as requests have it.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::ecs) struct EphemeralStorage {
    #[serde(rename = "sizeInGiB")]
    pub(in crate::ecs) size: i64,
}

impl EphemeralStorage {
    /// What a task on Fargate has, where it asks for `asked`.
    pub(in crate::ecs) fn on_fargate(asked: Option<&Self>) -> Value {
        json!({"sizeInGiB": asked.map_or(DEFAULT_STORAGE, |storage| storage.size)})
    }
}
