//! Describing, listing and stopping tasks.

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{includes, page};
use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::error::ApiError;
use crate::ecs::model::names;
use crate::ecs::model::state::State;
use crate::ecs::model::task::{LastStatus, StopCode, Task};
use crate::ecs::model::values::{Object, parse, put};

#[derive(Deserialize)]
struct DescribeTasks {
    cluster: Option<String>,
    #[serde(default)]
    tasks: Vec<String>,
    #[serde(default)]
    include: Vec<String>,
}

#[derive(Deserialize)]
struct StopTask {
    cluster: Option<String>,
    #[serde(default)]
    task: String,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListTasks {
    cluster: Option<String>,
    family: Option<String>,
    service_name: Option<String>,
    started_by: Option<String>,
    desired_status: Option<String>,
    launch_type: Option<String>,
    container_instance: Option<String>,
    daemon_name: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl State {
    fn task(&self, cluster_name: &str, task: &str) -> Option<&Task> {
        let id = names::task_id(task)?;
        let found = self.tasks.get(id)?;
        let same_cluster = found.cluster_name == cluster_name;
        (same_cluster && (task == id || task == found.arn)).then_some(found)
    }
}

impl Ecs {
    pub(super) fn describe_tasks(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: DescribeTasks = parse(&request)?;
        if parsed.tasks.is_empty() {
            return Err(ApiError::invalid_parameter("Tasks cannot be empty."));
        }
        if parsed.tasks.len() > 100 {
            return Err(ApiError::invalid_parameter(
                "Tasks can not have more than 100 elements.",
            ));
        }
        let state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?.name.clone();
        let with_tags = includes(&parsed.include, "TAGS");
        let (mut tasks, mut failures) = (Vec::new(), Vec::new());
        for task in &parsed.tasks {
            match state.task(&cluster, task) {
                Some(found) => tasks.push(found.to_json(with_tags)),
                None => {
                    let id = names::task_id(task).unwrap_or(task);
                    let arn = if task.starts_with("arn:") {
                        task.clone()
                    } else {
                        self.inner.names.task(&cluster, id)
                    };
                    failures.push(json!({"arn": arn, "reason": "MISSING"}));
                }
            }
        }
        Ok(json!({"tasks": tasks, "failures": failures}))
    }

    pub(super) fn stop_task(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: StopTask = parse(&request)?;
        let mut state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?.name.clone();
        let id = state
            .task(&cluster, &parsed.task)
            .map(|task| task.id.clone());
        let task = id
            .and_then(|id| state.tasks.get_mut(&id))
            .ok_or_else(|| ApiError::invalid_parameter("The referenced task was not found."))?;
        let reason = parsed.reason.as_deref();
        if task.last_status != LastStatus::Stopped {
            // "Any tags associated with the task will be deleted."
            // https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html
            task.tags.clear();
            task.request_stop(
                StopCode::UserInitiated,
                reason.unwrap_or("Task stopped by user"),
            );
            self.announce_task(task);
        }
        Ok(json!({"task": task.to_json(true)}))
    }

    pub(super) fn list_tasks(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: ListTasks = parse(&request)?;
        // The documentation wants startedBy to be the only filter; clients that are in use combine it
        // with a desired status. ECS lets them, unless its mode is the other one.
        let other_filter = [&parsed.family, &parsed.service_name, &parsed.launch_type]
            .into_iter()
            .any(Option::is_some);
        if parsed.started_by.is_some() && other_filter {
            return Err(ApiError::invalid_parameter(
                "startedBy cannot be used together with another filter.",
            ));
        }
        if parsed.container_instance.is_some() || parsed.daemon_name.is_some() {
            return Err(ApiError::invalid_parameter(
                "There are no container instances and no daemons in the cluster.",
            ));
        }
        let wanted = match parsed.desired_status.as_deref() {
            None | Some("RUNNING") => true,
            Some("STOPPED") => false,
            // The documentation has this value too, and says that it matches nothing.
            Some("PENDING") => return Ok(json!({"taskArns": []})),
            Some(_) => {
                return Err(ApiError::invalid_parameter("Invalid desiredStatus."));
            }
        };
        let state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?.name.clone();
        let service = parsed.service_name.as_deref();
        if let Some(service) = service {
            state.service(&cluster, service)?;
        }
        let group = service
            .and_then(names::service_name)
            .map(|name| format!("service:{name}"));
        let mut found: Vec<&Task> = state
            .tasks
            .values()
            .filter(|task| {
                let equal = |filter: &Option<String>, value: &str| {
                    filter.as_ref().is_none_or(|filter| filter == value)
                };
                task.cluster_name == cluster
                    && task.wanted == wanted
                    && equal(&parsed.family, &task.definition.family)
                    && equal(&parsed.launch_type, task.launch_type())
                    && (parsed.started_by.is_none() || parsed.started_by == task.started_by)
                    && equal(&group, &task.group)
            })
            .collect();
        found.sort_by(|a, b| {
            a.times
                .created
                .total_cmp(&b.times.created)
                .then(a.id.cmp(&b.id))
        });
        let arns: Vec<&str> = found.iter().map(|task| task.arn.as_str()).collect();
        let (arns, next) = page(arns, parsed.max_results, parsed.next_token.as_deref(), 100)?;
        let mut answer = Object::new();
        answer.insert("taskArns".to_owned(), json!(arns));
        put(&mut answer, "nextToken", next);
        Ok(Value::Object(answer))
    }
}
