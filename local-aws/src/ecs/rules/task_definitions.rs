//! Task definitions: families and their revisions.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::ecs::ApiError;
use crate::ecs::Ecs;
use crate::ecs::State;
use crate::ecs::model::names::{self, TaskDefinitionName};
use crate::ecs::model::values::{
    KeyValue, Object, Tag, includes, now, page, parse, put, tags_to_json,
};
use crate::ecs::rules::dependencies::{self, Dependency};
use crate::ecs::rules::health_check::{self, HealthCheck};
use crate::ecs::rules::size::{self, EphemeralStorage};

const MAX_ENVIRONMENT_FILES: usize = 10;
/// What Fargate takes as `startTimeout` and `stopTimeout`, in seconds.
const FARGATE_TIMEOUTS: RangeInclusive<u64> = 2..=120;
const FARGATE_LOG_DRIVERS: [&str; 3] = ["awsfirelens", "awslogs", "splunk"];

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
    deregistered_at: Option<f64>,
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
    r#type: String,
}

impl EnvironmentFile {
    fn is_valid(&self) -> bool {
        self.r#type == "s3" && self.value.starts_with("arn:") && self.value.ends_with(".env")
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct PortMapping {
    pub(in crate::ecs) container_port: u16,
    host_port: Option<u16>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct LogConfiguration {
    pub(in crate::ecs) log_driver: String,
    #[serde(default)]
    pub(in crate::ecs) options: HashMap<String, String>,
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

    fn to_json(&self) -> Value {
        let mut answer = self.document.clone();
        let status = if self.active { "ACTIVE" } else { "INACTIVE" };
        answer.insert("status".to_owned(), json!(status));
        put(&mut answer, "deregisteredAt", self.deregistered_at);
        Value::Object(answer)
    }
}

#[derive(Deserialize)]
struct Register {
    #[serde(default)]
    family: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    task_definition: String,
    #[serde(default)]
    include: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    family_prefix: Option<String>,
    status: Option<String>,
    sort: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

/// What RegisterTaskDefinition refuses.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>
fn validate(family: &str, details: &Details) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::client_exception(message));
    if family.is_empty() {
        return refuse("Family cannot be null or empty.".to_owned());
    }
    if !names::is_name(family) {
        return refuse(format!(
            "Invalid family {family:?}: use up to 255 letters, numbers, underscores and hyphens."
        ));
    }
    let containers = &details.container_definitions;
    if containers.is_empty() {
        return refuse("Container list cannot be empty.".to_owned());
    }
    for (position, container) in containers.iter().enumerate() {
        if container.name.is_empty() {
            return refuse("Container.name should not be null or empty.".to_owned());
        }
        if container.image.is_empty() {
            return refuse("Container.image should not be null or empty.".to_owned());
        }
        if containers[..position]
            .iter()
            .any(|other| other.name == container.name)
        {
            return refuse(format!(
                "Container names must be unique: {} is used twice.",
                container.name
            ));
        }
    }
    if !containers.iter().any(|container| container.essential) {
        return refuse("A task definition must have at least one essential container.".to_owned());
    }
    for container in containers {
        validate_container(container, details).map_err(ApiError::client_exception)?;
    }
    dependencies::validate(containers).map_err(ApiError::client_exception)?;
    if details.is_for_fargate() {
        return validate_for_fargate(details);
    }
    for container in containers {
        if details.memory.is_none()
            && container.memory.is_none()
            && container.memory_reservation.is_none()
        {
            return refuse(format!(
                "Invalid setting for container '{}'. At least one of 'memory' or \
                 'memoryReservation' must be specified.",
                container.name
            ));
        }
    }
    Ok(())
}

fn validate_container(container: &ContainerDefinition, details: &Details) -> Result<(), String> {
    let name = &container.name;
    if let Some(check) = &container.health_check {
        check.validate(name)?;
    }
    for secret in &container.secrets {
        let environment = container.environment.iter().map(|pair| &pair.name);
        let secrets = container.secrets.iter().map(|secret| &secret.name);
        if environment
            .chain(secrets)
            .filter(|name| **name == secret.name)
            .count()
            > 1
        {
            return Err(shared_secret(&secret.name));
        }
    }
    let files = &container.environment_files;
    if files.len() > MAX_ENVIRONMENT_FILES {
        return Err(format!(
            "Container '{name}' can have at most {MAX_ENVIRONMENT_FILES} environment files."
        ));
    }
    if let Some(file) = files.iter().find(|file| !file.is_valid()) {
        return Err(format!(
            "Environment file {:?} of container '{name}' must be of type s3 and be named by the \
             ARN of an object that ends in .env.",
            file.value
        ));
    }
    let awsvpc = details.network_mode.as_deref() == Some("awsvpc");
    let mut mappings = container.port_mappings.iter();
    if awsvpc
        && mappings.any(|mapping| {
            mapping
                .host_port
                .is_some_and(|port| port != mapping.container_port)
        })
    {
        return Err(
            "When networkMode=awsvpc, the host ports and container ports in port mappings must \
             match."
                .to_owned(),
        );
    }
    Ok(())
}

/// What ECS says of a secret that has the name of another variable of its container.
pub(in crate::ecs) fn shared_secret(name: &str) -> String {
    format!(
        "The secret name must be unique and not shared with any new or existing environment \
         variables set on the container, such as '{name}'."
    )
}

fn validate_container_for_fargate(container: &ContainerDefinition) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::client_exception(message));
    for (field, seconds) in [
        ("startTimeout", container.start_timeout),
        ("stopTimeout", container.stop_timeout),
    ] {
        if seconds.is_some_and(|seconds| !FARGATE_TIMEOUTS.contains(&seconds)) {
            return refuse(format!(
                "The {field} of container '{}' must be between {} and {} seconds on Fargate.",
                container.name,
                FARGATE_TIMEOUTS.start(),
                FARGATE_TIMEOUTS.end()
            ));
        }
    }
    match &container.log_configuration {
        Some(log) if !FARGATE_LOG_DRIVERS.contains(&log.log_driver.as_str()) => refuse(format!(
            "Fargate does not support the log driver {}; it supports {}.",
            log.log_driver,
            FARGATE_LOG_DRIVERS.join(", ")
        )),
        _ => Ok(()),
    }
}

fn validate_for_fargate(details: &Details) -> Result<(), ApiError> {
    let refuse = |message: &str| Err(ApiError::client_exception(message));
    if details.network_mode.as_deref() != Some("awsvpc") {
        return refuse("Fargate only supports network mode 'awsvpc'.");
    }
    if details.cpu.is_none() {
        return refuse("Fargate requires that 'cpu' be defined at the task level.");
    }
    if details.memory.is_none() {
        return refuse("Fargate requires that 'memory' be defined at the task level.");
    }
    if !size::is_fargate(details.cpu.as_deref(), details.memory.as_deref()) {
        let (cpu, memory) = (details.cpu.as_deref(), details.memory.as_deref());
        return refuse(&size::no_configuration(cpu, memory));
    }
    size::validate_storage(details.ephemeral_storage.as_ref())?;
    for container in &details.container_definitions {
        validate_container_for_fargate(container)?;
    }
    if details.execution_role_arn.is_some() {
        return Ok(());
    }
    for container in &details.container_definitions {
        if container.image.contains(".dkr.ecr.") {
            return refuse(
                "Fargate requires task definition to have execution role ARN to support ECR images.",
            );
        }
        if !container.secrets.is_empty() {
            return refuse(
                "Fargate requires task definition to have execution role ARN to support secrets.",
            );
        }
        let driver = container.log_configuration.as_ref();
        if driver.is_some_and(|driver| driver.log_driver == "awslogs") {
            return refuse(
                "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
            );
        }
    }
    Ok(())
}

/// Adds the values that ECS fills in to a container definition.
fn complete_container(container: &mut Value, awsvpc: bool) {
    let Value::Object(container) = container else {
        return;
    };
    let mut default = |name: &str, value: Value| {
        container.entry(name).or_insert(value);
    };
    default("cpu", json!(0));
    default("essential", json!(true));
    for list in [
        "environment",
        "mountPoints",
        "portMappings",
        "systemControls",
        "volumesFrom",
    ] {
        default(list, json!([]));
    }
    if let Some(Value::Object(check)) = container.get_mut("healthCheck") {
        health_check::complete(check);
    }
    let mappings = container
        .get_mut("portMappings")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut);
    for mapping in mappings {
        mapping.entry("protocol").or_insert(json!("tcp"));
        if awsvpc && let Some(port) = mapping.get("containerPort").cloned() {
            mapping.entry("hostPort").or_insert(port);
        }
    }
}

impl State {
    /// The task definition a request means: with a revision that one, else the latest active.
    pub(in crate::ecs) fn task_definition(&self, text: &str) -> Option<&Arc<TaskDefinition>> {
        let name = TaskDefinitionName::parse(text)?;
        let revisions = self.families.get(&name.family)?;
        match name.revision {
            Some(revision) => revisions.iter().find(|one| one.revision == revision),
            None => revisions.iter().rev().find(|one| one.active),
        }
    }

    /// The same, for starting tasks of it: it has to be active.
    pub(in crate::ecs) fn active_task_definition(
        &self,
        text: &str,
    ) -> Result<Arc<TaskDefinition>, ApiError> {
        if text.is_empty() {
            return Err(ApiError::invalid_parameter(
                "TaskDefinition can not be blank.",
            ));
        }
        let found = self
            .task_definition(text)
            .ok_or_else(|| ApiError::client_exception("TaskDefinition not found."))?;
        if found.active {
            Ok(Arc::clone(found))
        } else {
            Err(ApiError::client_exception("TaskDefinition is inactive"))
        }
    }
}

impl Ecs {
    pub(in crate::ecs) fn register_task_definition(
        &self,
        request: Value,
    ) -> Result<Value, ApiError> {
        let parsed: Register = parse(&request)?;
        let Value::Object(mut document) = request else {
            return Err(ApiError::invalid_parameter("The request is no object."));
        };
        if !document.contains_key("containerDefinitions") {
            document.insert("containerDefinitions".to_owned(), json!([]));
        }
        size::normalize(&mut document);
        let details: Details = parse(&Value::Object(document.clone()))?;
        validate(&parsed.family, &details)?;
        document.remove("tags");
        let awsvpc = details.network_mode.as_deref() == Some("awsvpc");
        if let Some(containers) = document["containerDefinitions"].as_array_mut() {
            for container in containers {
                complete_container(container, awsvpc);
            }
        }
        for list in ["volumes", "placementConstraints"] {
            document.entry(list).or_insert(json!([]));
        }
        let fits = size::is_fargate(details.cpu.as_deref(), details.memory.as_deref());
        let compatibilities = if awsvpc && fits {
            json!(["EC2", "FARGATE"])
        } else {
            json!(["EC2"])
        };
        document.insert("compatibilities".to_owned(), compatibilities);
        document.insert("registeredAt".to_owned(), json!(now()));
        let registered_by = format!("arn:aws:iam::{}:root", self.inner.names.account_id);
        document.insert("registeredBy".to_owned(), json!(registered_by));

        let mut state = self.lock();
        let revisions = state.families.entry(parsed.family.clone()).or_default();
        let revision = revisions.last().map_or(1, |last| last.revision + 1);
        let arn = self.inner.names.task_definition(&parsed.family, revision);
        document.insert("taskDefinitionArn".to_owned(), json!(arn));
        document.insert("revision".to_owned(), json!(revision));
        let definition = TaskDefinition {
            arn,
            family: parsed.family,
            revision,
            active: true,
            tags: parsed.tags,
            document,
            details,
            deregistered_at: None,
        };
        let answer = json!({
            "taskDefinition": definition.to_json(),
            "tags": tags_to_json(&definition.tags),
        });
        revisions.push(Arc::new(definition));
        Ok(answer)
    }

    pub(in crate::ecs) fn describe_task_definition(
        &self,
        request: Value,
    ) -> Result<Value, ApiError> {
        let parsed: Named = parse(&request)?;
        let state = self.lock();
        let definition = state
            .task_definition(&parsed.task_definition)
            .ok_or_else(|| ApiError::client_exception("Unable to describe task definition."))?;
        let mut answer = json!({"taskDefinition": definition.to_json()});
        if includes(&parsed.include, "TAGS") {
            answer["tags"] = tags_to_json(&definition.tags);
        }
        Ok(answer)
    }

    pub(in crate::ecs) fn deregister_task_definition(
        &self,
        request: Value,
    ) -> Result<Value, ApiError> {
        let parsed: Named = parse(&request)?;
        let name = TaskDefinitionName::parse(&parsed.task_definition);
        let Some((name, revision)) = name.and_then(|name| {
            let revision = name.revision?;
            Some((name, revision))
        }) else {
            return Err(ApiError::invalid_parameter(
                "The specified task definition must name a revision: family:revision.",
            ));
        };
        let mut state = self.lock();
        let definition = state
            .families
            .get_mut(&name.family)
            .and_then(|revisions| revisions.iter_mut().find(|one| one.revision == revision))
            .ok_or_else(|| {
                ApiError::client_exception("The specified task definition does not exist.")
            })?;
        if !definition.active {
            return Err(ApiError::client_exception(
                "The specified task definition is inactive.",
            ));
        }
        // Tasks and services that use the revision go on with it.
        let definition = Arc::make_mut(definition);
        definition.active = false;
        definition.deregistered_at = Some(now());
        Ok(json!({"taskDefinition": definition.to_json()}))
    }

    pub(in crate::ecs) fn list_task_definitions(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: List = parse(&request)?;
        let active = match parsed.status.as_deref() {
            None | Some("ACTIVE") => true,
            Some("INACTIVE") => false,
            Some(_) => {
                return Err(ApiError::invalid_parameter(
                    "Invalid task definition status.",
                ));
            }
        };
        let state = self.lock();
        // `familyPrefix` is the whole family's name.
        let mut found: Vec<&TaskDefinition> = state
            .families
            .iter()
            .filter(|(family, _)| {
                let wanted = parsed.family_prefix.as_ref();
                wanted.is_none_or(|wanted| wanted == *family)
            })
            .flat_map(|(_, revisions)| revisions.iter().map(Arc::as_ref))
            .filter(|definition| definition.active == active)
            .collect();
        found.sort_by_key(|definition| (&definition.family, definition.revision));
        if parsed.sort.as_deref() == Some("DESC") {
            found.reverse();
        }
        let arns: Vec<&str> = found.iter().map(|found| found.arn.as_str()).collect();
        let (arns, next) = page(arns, parsed.max_results, parsed.next_token.as_deref(), 100)?;
        let mut answer = Object::new();
        answer.insert("taskDefinitionArns".to_owned(), json!(arns));
        put(&mut answer, "nextToken", next);
        Ok(Value::Object(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecs::in_process;

    fn fargate(change: impl FnOnce(&mut Value)) -> Result<(), String> {
        let mut request = json!({
            "family": "web",
            "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc",
            "cpu": "256",
            "memory": "512",
            "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
            "containerDefinitions": [{
                "name": "web",
                "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/web:1",
            }],
        });
        change(&mut request);
        let details: Details = parse(&request).unwrap();
        validate("web", &details).map_err(|error| error.message)
    }

    #[test]
    fn fargate_asks_for_network_mode_size_and_execution_role() {
        assert_eq!(fargate(|_| {}), Ok(()));
        for (field, problem) in [
            ("networkMode", "awsvpc"),
            ("cpu", "'cpu'"),
            ("memory", "'memory'"),
            ("executionRoleArn", "ECR images"),
        ] {
            let refused = fargate(|request| {
                request.as_object_mut().unwrap().remove(field);
            });
            let message = refused.unwrap_err();
            assert!(message.contains(problem), "{message}");
        }
    }

    #[test]
    fn containers_need_unique_names_and_one_of_them_is_essential() {
        let twice = fargate(|request| {
            let container = request["containerDefinitions"][0].clone();
            request["containerDefinitions"]
                .as_array_mut()
                .unwrap()
                .push(container);
        });
        assert!(twice.unwrap_err().contains("unique"));
        let none = fargate(|request| {
            request["containerDefinitions"][0]["essential"] = json!(false);
        });
        assert!(none.unwrap_err().contains("essential"));
        let empty = fargate(|request| request["containerDefinitions"] = json!([]));
        assert!(empty.unwrap_err().contains("empty"));
    }

    /// What is said of a container with these fields.
    fn with_container(more: Value) -> Result<(), String> {
        fargate(|request| {
            let container = request["containerDefinitions"][0].as_object_mut().unwrap();
            container.extend(more.as_object().cloned().unwrap());
        })
    }

    #[test]
    fn what_a_container_cannot_have_is_refused() {
        let secret = json!({"name": "KEY", "valueFrom": "/key"});
        let variable = json!({"name": "KEY", "value": "1"});
        let file = |file: &str| json!([{"type": "s3", "value": file}]);
        let ports = json!([{"containerPort": 3000, "hostPort": 80}]);
        for (more, problem) in [
            (json!({"startTimeout": 1}), "startTimeout"),
            (json!({"startTimeout": 121}), "startTimeout"),
            (json!({"stopTimeout": 121}), "stopTimeout"),
            (
                json!({"logConfiguration": {"logDriver": "json-file"}}),
                "json-file",
            ),
            (
                json!({"secrets": [secret], "environment": [variable]}),
                "'KEY'",
            ),
            (json!({"secrets": [secret, secret]}), "'KEY'"),
            (
                json!({"environmentFiles": file("arn:aws:s3:::files/web.txt")}),
                ".env",
            ),
            (json!({"environmentFiles": file("files/web.env")}), "ARN"),
            (json!({"portMappings": ports}), "must match"),
            (
                json!({"healthCheck": {"command": ["CMD", "/a"], "interval": 4}}),
                "interval",
            ),
        ] {
            let message = with_container(more.clone()).unwrap_err();
            assert!(message.contains(problem), "{more}: {message}");
        }
        for more in [
            json!({"startTimeout": 2, "stopTimeout": 120}),
            json!({"secrets": [secret], "environment": [{"name": "OTHER"}]}),
            json!({"environmentFiles": file("arn:aws:s3:::files/web.env")}),
            json!({"healthCheck": {"command": ["CMD", "/a"], "interval": 5}}),
        ] {
            assert_eq!(with_container(more), Ok(()));
        }
    }

    #[test]
    fn fargate_has_certain_sizes_only() {
        for (field, value, problem) in [
            ("memory", json!("513"), "No Fargate configuration exists"),
            (
                "ephemeralStorage",
                json!({"sizeInGiB": 201}),
                "ephemeralStorage",
            ),
        ] {
            let refused = fargate(|request| request[field] = value);
            let message = refused.unwrap_err();
            assert!(message.contains(problem), "{message}");
        }
    }

    #[tokio::test]
    async fn a_family_without_a_revision_is_its_latest_active_one() {
        let ecs = in_process::ecs(1.0).await;
        for _ in 0..3 {
            in_process::register(&ecs, "web").await;
        }
        for (deregistered, latest) in [("web:1", 3), ("web:3", 2)] {
            let request = json!({"taskDefinition": deregistered});
            ecs.call("DeregisterTaskDefinition", request).await.unwrap();
            let described = ecs.call("DescribeTaskDefinition", json!({"taskDefinition": "web"}));
            let described = described.await.unwrap();
            assert_eq!(described["taskDefinition"]["revision"], latest);
            let run = ecs.call("RunTask", in_process::run_task("web", &json!({})));
            let started = run.await.unwrap()["tasks"][0]["taskDefinitionArn"].to_string();
            assert!(started.contains(&format!("/web:{latest}")), "{started}");
        }
    }

    #[test]
    fn a_container_keeps_its_fields_and_gets_the_defaults() {
        let mut container = json!({
            "name": "web",
            "image": "web:1",
            "restartPolicy": {"enabled": true},
            "portMappings": [{"containerPort": 3000, "name": "http"}],
        });
        complete_container(&mut container, true);
        assert_eq!(container["restartPolicy"], json!({"enabled": true}));
        assert_eq!(container["essential"], json!(true));
        assert_eq!(
            container["portMappings"],
            json!([{"containerPort": 3000, "name": "http", "hostPort": 3000, "protocol": "tcp"}])
        );
    }
}
