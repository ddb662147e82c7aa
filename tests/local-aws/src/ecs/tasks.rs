//! The operations on tasks.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::capacity;
use super::names;
use super::request::{Object, Tag, includes, page, parse, put};
use super::task::{LastStatus, NewTask, Overrides, Placement, StopCode, Task};
use super::task_definitions::TaskDefinition;
use super::{ApiError, Ecs, State};

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
}

/// The tasks that a client token has started already.
#[derive(Debug)]
pub(super) struct StartedTasks {
    request: Value,
    pub(super) tasks: Vec<String>,
}

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
    max_results: Option<i64>,
    next_token: Option<String>,
}

/// Overrides may be at most this long, as JSON.
const MAX_OVERRIDES: usize = 8192;

fn validate_run_task(request: &RunTask, definition: &TaskDefinition) -> Result<i64, ApiError> {
    let count = request.count.unwrap_or(1);
    if !(1..=10).contains(&count) {
        return Err(ApiError::invalid_parameter(
            "Tasks count must be between 1 and 10.",
        ));
    }
    if let Some(token) = &request.client_token
        && (token.len() > 64 || !token.bytes().all(|b| (33..=126).contains(&b)))
    {
        return Err(ApiError::invalid_parameter(
            "clientToken must have at most 64 ASCII characters between 33 and 126.",
        ));
    }
    if request
        .started_by
        .as_ref()
        .is_some_and(|started_by| started_by.len() > 128)
    {
        return Err(ApiError::invalid_parameter(
            "startedBy must have at most 128 characters.",
        ));
    }
    if Value::Object(request.overrides.clone()).to_string().len() > MAX_OVERRIDES {
        return Err(ApiError::invalid_parameter(format!(
            "Overrides length must be at most {MAX_OVERRIDES}."
        )));
    }
    let overrides: Overrides = parse(&Value::Object(request.overrides.clone()))?;
    for role in [&overrides.execution_role_arn, &overrides.task_role_arn] {
        if role.as_ref().is_some_and(String::is_empty) {
            return Err(ApiError::client_exception("A role override is empty."));
        }
    }
    for one in &overrides.container_overrides {
        if definition.container(&one.name).is_none() {
            return Err(ApiError::invalid_parameter(format!(
                "Override for container named {} is not a container in the TaskDefinition.",
                one.name
            )));
        }
    }
    Ok(count)
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
    pub(super) fn run_task(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: RunTask = parse(&request)?;
        let mut placement: Placement = parse(&request)?;
        let mut state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?;
        let (cluster_name, cluster_arn) = (cluster.name.clone(), cluster.arn.clone());
        placement.complete(&cluster.settings);
        let definition = state.active_task_definition(&parsed.task_definition)?;
        let count = validate_run_task(&parsed, &definition)?;
        placement.validate(&definition)?;
        let token = parsed
            .client_token
            .clone()
            .map(|token| (cluster_name.clone(), token));
        if let Some(started) = token.as_ref().and_then(|token| state.tokens.get(token)) {
            if started.request != request {
                return Err(ApiError::client(
                    "ConflictException",
                    format!(
                        "The client token was used with other parameters; it started {}.",
                        started.tasks.join(", ")
                    ),
                ));
            }
            let tasks: Vec<Value> = started
                .tasks
                .iter()
                .filter_map(|id| state.tasks.get(id))
                .map(|task| task.to_json(true))
                .collect();
            return Ok(json!({"tasks": tasks, "failures": []}));
        }
        if placement.needs_instances() {
            return Err(ApiError::invalid_parameter(
                "No Container Instances were found in your cluster.",
            ));
        }
        let mut tags = parsed.tags;
        if parsed.propagate_tags.as_deref() == Some("TASK_DEFINITION") {
            let inherited = definition.tags.iter();
            let missing: Vec<Tag> = inherited
                .filter(|tag| !tags.iter().any(|own| own.key == tag.key))
                .cloned()
                .collect();
            tags.extend(missing);
        }
        if parsed.enable_ecs_managed_tags {
            tags.push(Tag::managed("aws:ecs:clusterName", &cluster_name));
        }
        let group = parsed
            .group
            .unwrap_or_else(|| format!("family:{}", definition.family));
        let (mut ids, mut tasks, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
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
            };
            state.tokens.insert(token, started);
        }
        Ok(json!({"tasks": tasks, "failures": failures}))
    }

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
        let other_filter = parsed.family.is_some() || parsed.service_name.is_some();
        if parsed.started_by.is_some() && other_filter {
            return Err(ApiError::invalid_parameter(
                "startedBy cannot be used together with another filter.",
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
