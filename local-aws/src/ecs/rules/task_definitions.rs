//! What a task definition can be, and what ECS fills in.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::{dependencies, health_check, restarts, size};
use crate::ecs::model::error::ApiError;
use crate::ecs::model::names;
use crate::ecs::model::task_definitions::{ContainerDefinition, Details, EnvironmentFile};

const MAX_ENVIRONMENT_FILES: usize = 10;
/// What Fargate takes as `startTimeout` and `stopTimeout`, in seconds.
const FARGATE_TIMEOUTS: RangeInclusive<u64> = 2..=120;
const FARGATE_LOG_DRIVERS: [&str; 3] = ["awsfirelens", "awslogs", "splunk"];

/// What RegisterTaskDefinition refuses.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>
pub(in crate::ecs) fn validate(family: &str, details: &Details) -> Result<(), ApiError> {
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
        health_check::validate(check, name)?;
    }
    if let Some(policy) = &container.restart_policy {
        restarts::validate(policy, name)?;
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
    if let Some(file) = files.iter().find(|file| !is_valid(file)) {
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
pub(in crate::ecs) fn complete_container(container: &mut Value, awsvpc: bool) {
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

fn is_valid(file: &EnvironmentFile) -> bool {
    file.r#type == "s3" && file.value.starts_with("arn:") && file.value.ends_with(".env")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecs::model::values::parse;

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
