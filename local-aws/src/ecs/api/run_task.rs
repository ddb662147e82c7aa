//! RunTask.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::tags;
use crate::clock::Clock;
use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::capacity;
use crate::ecs::model::error::ApiError;
use crate::ecs::model::placement::Placement;
use crate::ecs::model::state::{StartedTasks, State};
use crate::ecs::model::task::{NewTask, Overrides, Task};
use crate::ecs::model::task_definitions::TaskDefinition;
use crate::ecs::model::values::{Object, Tag, parse};
use crate::ecs::rules::placement::validate_providers;
use crate::ecs::rules::task_definitions::shared_secret;
use crate::ecs::rules::volumes::{self, VolumeConfiguration};
use crate::ecs::rules::{placement, size};

/// Overrides may be at most this long, as JSON.
const MAX_OVERRIDES: usize = 8192;
/// A client token lives no longer than this, and no longer than its tasks can be described.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html>
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunTask {
    cluster: Option<String>,
    #[serde(default)]
    task_definition: String,
    count: Option<i64>,
    group: Option<String>,
    started_by: Option<String>,
    #[serde(default)]
    overrides: Object,
    #[serde(default)]
    tags: Vec<Tag>,
    propagate_tags: Option<String>,
    client_token: Option<String>,
    #[serde(default, rename = "enableECSManagedTags")]
    enable_ecs_managed_tags: bool,
    #[serde(default)]
    placement_constraints: Vec<Value>,
    #[serde(default)]
    placement_strategy: Vec<Value>,
    #[serde(default)]
    volume_configurations: Vec<VolumeConfiguration>,
}

impl RunTask {
    fn validate(&self, placement: &Placement, definition: &TaskDefinition) -> Result<(), ApiError> {
        self.validate_fields()
            .map_err(ApiError::invalid_parameter)?;
        tags::validate(&self.tags)?;
        self.validate_overrides(placement, definition)?;
        placement::validate(placement, definition)?;
        let roles = [
            self.overrides.get("taskRoleArn").and_then(Value::as_str),
            definition.details.task_role_arn.as_deref(),
        ];
        if placement.enable_execute_command == Some(true) && roles.iter().all(Option::is_none) {
            return Err(ApiError::invalid_parameter(
                "enableExecuteCommand needs a task role: give the task definition one, or \
                 override it.",
            ));
        }
        let placed = self
            .placement_constraints
            .iter()
            .chain(&self.placement_strategy);
        if !placement.needs_instances() && placed.count() > 0 {
            return Err(ApiError::invalid_parameter(
                "Placement constraints and strategies are not supported with FARGATE launch type.",
            ));
        }
        volumes::validate(&self.volume_configurations, definition)
    }

    fn validate_fields(&self) -> Result<(), String> {
        let refuse = |message: &str| Err(message.to_owned());
        if !(1..=10).contains(&self.count()) {
            return refuse("Tasks count must be between 1 and 10.");
        }
        if let Some(token) = &self.client_token
            && (token.len() > 64 || !token.bytes().all(|b| (33..=126).contains(&b)))
        {
            return refuse("clientToken must have at most 64 ASCII characters between 33 and 126.");
        }
        if let Some(started_by) = &self.started_by
            && !is_started_by(started_by)
        {
            return refuse(
                "startedBy must have at most 128 letters, numbers, hyphens, slashes and \
                 underscores.",
            );
        }
        match self.propagate_tags.as_deref() {
            None | Some("NONE" | "TASK_DEFINITION") => Ok(()),
            Some("SERVICE") => refuse("A task that RunTask starts has no service's tags."),
            Some(_) => refuse("propagateTags must be TASK_DEFINITION or NONE."),
        }
    }

    fn validate_overrides(
        &self,
        placement: &Placement,
        definition: &TaskDefinition,
    ) -> Result<(), ApiError> {
        let document = Value::Object(self.overrides.clone());
        if document.to_string().len() > MAX_OVERRIDES {
            return Err(ApiError::invalid_parameter(format!(
                "Overrides length must be at most {MAX_OVERRIDES}."
            )));
        }
        let overrides: Overrides = parse(&document)?;
        for role in [&overrides.execution_role_arn, &overrides.task_role_arn] {
            if role.as_ref().is_some_and(String::is_empty) {
                return Err(ApiError::client_exception("A role override is empty."));
            }
        }
        for one in &overrides.container_overrides {
            let Some(container) = definition.container(&one.name) else {
                return Err(ApiError::invalid_parameter(format!(
                    "Override for container named {} is not a container in the TaskDefinition.",
                    one.name
                )));
            };
            let mut secrets = container.secrets.iter();
            let shared = secrets.find(|secret| one.sets(&secret.name));
            if let Some(secret) = shared {
                return Err(ApiError::client_exception(shared_secret(&secret.name)));
            }
        }
        let details = &definition.details;
        let cpu = overrides.cpu.as_deref().or(details.cpu.as_deref());
        let memory = overrides.memory.as_deref().or(details.memory.as_deref());
        let resized = overrides.cpu.is_some() || overrides.memory.is_some();
        if resized && !placement.needs_instances() && !size::is_fargate(cpu, memory) {
            return Err(ApiError::client_exception(size::no_configuration(
                cpu, memory,
            )));
        }
        size::validate_storage(overrides.ephemeral_storage.as_ref())
    }

    fn count(&self) -> i64 {
        self.count.unwrap_or(1)
    }

    /// The new task's tags. What the request says goes before the task definition's.
    fn task_tags(&self, definition: &TaskDefinition, cluster_name: &str) -> Vec<Tag> {
        let mut tags = self.tags.clone();
        if self.propagate_tags.as_deref() == Some("TASK_DEFINITION") {
            let inherited = definition.tags.iter();
            let missing = inherited.filter(|tag| !self.tags.iter().any(|own| own.key == tag.key));
            tags.extend(missing.cloned());
        }
        if self.enable_ecs_managed_tags {
            tags.push(Tag::managed("aws:ecs:clusterName", cluster_name));
        }
        tags
    }
}

fn is_started_by(text: &str) -> bool {
    text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'_'))
}

impl State {
    /// What RunTask answers where its client token has been used before.
    fn started_before(
        &mut self,
        token: &(String, String),
        request: &Value,
        clock: Clock,
    ) -> Option<Result<Value, ApiError>> {
        let started = self.tokens.get(token)?;
        if started.started_at.elapsed() >= clock.scaled(TOKEN_LIFETIME) {
            self.tokens.remove(token);
            return None;
        }
        let tasks = started.tasks.iter().filter_map(|id| self.tasks.get(id));
        if started.request == *request {
            let tasks: Vec<Value> = tasks.map(|task| task.to_json(true)).collect();
            return Some(Ok(json!({"tasks": tasks, "failures": []})));
        }
        let arns = tasks.map(|task| task.arn.clone()).collect();
        Some(Err(ApiError::conflict(
            "The client token was used with other parameters. Use another token, or the same \
             parameters.",
            arns,
        )))
    }
}

impl Ecs {
    pub(super) fn run_task(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: RunTask = parse(&request)?;
        let mut placement: Placement = parse(&request)?;
        let mut state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?;
        let (cluster_name, cluster_arn) = (cluster.name.clone(), cluster.arn.clone());
        placement.complete(&cluster.settings);
        validate_providers(&placement, &cluster.settings)?;
        let token = parsed.client_token.clone();
        let token = token.map(|token| (cluster_name.clone(), token));
        if let Some(token) = &token
            && let Some(answer) = state.started_before(token, &request, self.inner.settings.clock)
        {
            return answer;
        }
        let definition = state.active_task_definition(&parsed.task_definition)?;
        parsed.validate(&placement, &definition)?;
        if placement.needs_instances() {
            return Err(ApiError::invalid_parameter(
                "No Container Instances were found in your cluster.",
            ));
        }
        let tags = parsed.task_tags(&definition, &cluster_name);
        let family_group = || format!("family:{}", definition.family);
        let group = parsed.group.clone().unwrap_or_else(family_group);
        let (mut ids, mut tasks, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..parsed.count() {
            if !state.take_capacity(&cluster_name) {
                // It is about no resource, so that there is no ARN.
                failures.push(json!({"reason": capacity::UNAVAILABLE}));
                continue;
            }
            let task = Task::new(
                &self.inner.names,
                NewTask {
                    cluster_name: cluster_name.clone(),
                    cluster_arn: cluster_arn.clone(),
                    definition: Arc::clone(&definition),
                    group: group.clone(),
                    started_by: parsed.started_by.clone(),
                    placement: placement.clone(),
                    overrides: parsed.overrides.clone(),
                    tags: tags.clone(),
                    owner: None,
                },
            );
            ids.push(task.id.clone());
            tasks.push(task.to_json(true));
            self.start_task(&mut state, task, Vec::new());
        }
        // A token that has started nothing can be used again.
        if let Some(token) = token.filter(|_| !ids.is_empty()) {
            let started = StartedTasks {
                request,
                tasks: ids,
                started_at: Instant::now(),
            };
            state.tokens.insert(token, started);
        }
        Ok(json!({"tasks": tasks, "failures": failures}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecs::in_process::{CLUSTER, definition, ecs, network, register, run_task};

    const ROLE: &str = "arn:aws:iam::123456789012:role/tests";

    /// An ECS with the task definitions that the requests name.
    async fn ecs_with_definitions() -> Ecs {
        let ecs = ecs(1.0).await;
        let mut plain = definition("plain", &json!({}));
        plain["executionRoleArn"] = json!(ROLE);
        let secret = json!({"name": "KEY", "valueFrom": "/key"});
        plain["containerDefinitions"][0]["secrets"] = json!([secret]);
        let mut with_volume = definition("volume", &json!({}));
        with_volume["volumes"] = json!([{"name": "data", "configuredAtLaunch": true}]);
        let mut for_instances = definition("instances", &json!({"memory": 512}));
        for_instances["requiresCompatibilities"] = json!(["EC2"]);
        for_instances["networkMode"] = json!("bridge");
        for definition in [plain, with_volume, for_instances] {
            let registered = ecs.call("RegisterTaskDefinition", definition);
            registered.await.unwrap();
        }
        ecs
    }

    fn volume(more: Value) -> Value {
        json!({"volumeConfigurations": [{"name": "data", "managedEBSVolume": more}]})
    }

    #[tokio::test]
    async fn a_client_token_is_forgotten_after_24_hours() {
        // An hour is four seconds, for which the task is described.
        let ecs = ecs(900.0).await;
        register(&ecs, "web").await;
        let request = run_task("web", &json!({"clientToken": "once"}));
        let run = async || {
            let answer = ecs.call("RunTask", request.clone()).await.unwrap();
            answer["tasks"][0]["taskArn"].clone()
        };
        let was_used = |hours: u64| {
            let hours = Duration::from_secs(hours * 3600).div_f64(900.0);
            let mut state = ecs.lock();
            for started in state.tokens.values_mut() {
                started.started_at = Instant::now() - hours;
            }
        };
        let first = run().await;
        was_used(23);
        assert_eq!(run().await, first);
        was_used(24);
        assert_ne!(run().await, first);
    }

    #[tokio::test]
    async fn what_ecs_refuses_is_refused_with_its_exception() {
        let ecs = ecs_with_definitions().await;
        let tag = json!({"key": "Team", "value": "a"});
        let own = |overrides: Value| json!({"overrides": {"containerOverrides": [{"name": "web", "environment": overrides}]}});
        for (family, more, exception, text) in [
            ("none", json!({}), "ClientException", "not found"),
            (
                "plain",
                json!({"count": 0}),
                "InvalidParameterException",
                "count",
            ),
            (
                "plain",
                json!({"count": 11}),
                "InvalidParameterException",
                "count",
            ),
            (
                "plain",
                json!({"clientToken": "a b"}),
                "InvalidParameterException",
                "clientToken",
            ),
            (
                "plain",
                json!({"startedBy": "a:b"}),
                "InvalidParameterException",
                "startedBy",
            ),
            (
                "plain",
                json!({"propagateTags": "SERVICE"}),
                "InvalidParameterException",
                "service",
            ),
            (
                "plain",
                json!({"tags": [tag, tag]}),
                "InvalidParameterException",
                "Duplicate tag keys",
            ),
            (
                "plain",
                json!({"tags": [{"key": "aws:a", "value": "b"}]}),
                "InvalidParameterException",
                "reserved",
            ),
            (
                "plain",
                json!({"enableExecuteCommand": true}),
                "InvalidParameterException",
                "task role",
            ),
            (
                "plain",
                json!({"placementStrategy": [{"type": "random"}]}),
                "InvalidParameterException",
                "FARGATE launch type",
            ),
            (
                "plain",
                json!({"overrides": {"cpu": "512", "memory": "512"}}),
                "ClientException",
                "No Fargate configuration exists for given values",
            ),
            (
                "plain",
                json!({"overrides": {"ephemeralStorage": {"sizeInGiB": 20}}}),
                "InvalidParameterException",
                "ephemeralStorage",
            ),
            (
                "plain",
                own(json!([{"name": "KEY", "value": "1"}])),
                "ClientException",
                "secret name must be unique",
            ),
            (
                "plain",
                own(json!([{"name": "LONG", "value": "x".repeat(MAX_OVERRIDES)}])),
                "InvalidParameterException",
                "8192",
            ),
            (
                "plain",
                json!({"platformVersion": "9.9.9"}),
                "PlatformUnknownException",
                "platform version",
            ),
            (
                "plain",
                json!({"launchType": "EC2", "platformVersion": "1.4.0"}),
                "InvalidParameterException",
                "must be null",
            ),
            (
                "plain",
                json!({"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}),
                "InvalidParameterException",
                "both a launch type and capacity provider strategy",
            ),
            (
                "plain",
                json!({"networkConfiguration": {"awsvpcConfiguration": {"subnets": []}}}),
                "InvalidParameterException",
                "subnets",
            ),
            (
                "instances",
                json!({}),
                "InvalidParameterException",
                "not valid for the given networkMode",
            ),
            (
                "volume",
                json!({}),
                "InvalidParameterException",
                "must configure the volume data",
            ),
            (
                "volume",
                volume(json!({"roleArn": ROLE})),
                "InvalidParameterException",
                "sizeInGiB or a snapshotId",
            ),
            (
                "plain",
                volume(json!({"roleArn": ROLE, "sizeInGiB": 1})),
                "InvalidParameterException",
                "not configured at launch",
            ),
        ] {
            let request = run_task(family, &more);
            let error = ecs.call("RunTask", request).await.unwrap_err();
            assert_eq!(error.name, exception, "{more}: {error}");
            assert!(error.message.contains(text), "{more}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_at_the_limits_is_not_refused() {
        let ecs = ecs_with_definitions().await;
        for (family, more) in [
            ("plain", json!({"count": 10})),
            (
                "plain",
                json!({"startedBy": "a/b-c_1", "clientToken": "~!"}),
            ),
            (
                "plain",
                json!({"overrides": {"cpu": "512", "memory": "1024"}}),
            ),
            ("plain", json!({"platformVersion": "1.3.0"})),
            (
                "plain",
                json!({"enableExecuteCommand": true, "overrides": {"taskRoleArn": ROLE}}),
            ),
            ("volume", volume(json!({"roleArn": ROLE, "sizeInGiB": 1}))),
        ] {
            let answer = ecs.call("RunTask", run_task(family, &more)).await;
            assert!(answer.is_ok(), "{more}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_task_definition_for_instances_does_not_run_on_fargate() {
        let ecs = ecs_with_definitions().await;
        let mut request = run_task("instances", &json!({}));
        request["networkConfiguration"].take();
        let error = ecs.call("RunTask", request).await.unwrap_err();
        assert_eq!(error.name, "InvalidParameterException");
        assert!(
            error
                .message
                .contains("does not support launch_type FARGATE")
        );
    }

    #[tokio::test]
    async fn awsvpc_needs_a_network_configuration() {
        let ecs = ecs_with_definitions().await;
        let request =
            json!({"cluster": CLUSTER, "taskDefinition": "plain", "launchType": "FARGATE"});
        let error = ecs.call("RunTask", request.clone()).await.unwrap_err();
        assert_eq!(error.name, "InvalidParameterException");
        assert!(error.message.contains("must be provided"), "{error}");
        let mut request = request;
        request["networkConfiguration"] = network();
        assert!(ecs.call("RunTask", request).await.is_ok());
    }
}
