//! Services: what ECS knows of each, and the operations on them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use super::deployments::{Counts, Deployment, Rollout, ServiceDeployment, ServiceRevision, Status};
use super::lifecycle::TargetBinding;
use super::names::{self, unique_number};
use super::request::{Object, Tag, includes, now, page, parse, put, tags_to_json};
use super::rolling::{CircuitBreaker, Limits};
use super::task_definitions::TaskDefinition;
use super::tasks::{Placement, Task};
use super::{ApiError, Ecs, State};

/// A service keeps its last 100 events.
const MAX_EVENTS: usize = 100;
/// Service deployments are kept for 90 days; a machine that runs for so long would still have to
/// forget some.
const MAX_HISTORY: usize = 500;

/// The fields that make a service revision; a change of one of them starts a deployment.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-revision.html>
const REVISION_FIELDS: [&str; 9] = [
    "capacityProviderStrategy",
    "launchType",
    "loadBalancers",
    "networkConfiguration",
    "platformVersion",
    "serviceConnectConfiguration",
    "serviceRegistries",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
];

/// Fields of requests that are not kept as they are.
const REQUEST_FIELDS: [&str; 8] = [
    "clientToken",
    "cluster",
    "desiredCount",
    "forceNewDeployment",
    "service",
    "serviceName",
    "tags",
    "taskDefinition",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceStatus {
    Active,
    /// Deleted, but tasks are still stopping.
    Draining,
    Inactive,
}

#[derive(Debug)]
pub(super) struct Service {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) cluster_name: String,
    pub(super) cluster_arn: String,
    pub(super) status: ServiceStatus,
    pub(super) desired_count: usize,
    /// The fields of the requests that made it what it is.
    pub(super) fields: Object,
    /// The first is the primary one.
    pub(super) deployments: Vec<Deployment>,
    /// Service deployments, the oldest first.
    pub(super) history: VecDeque<ServiceDeployment>,
    pub(super) revisions: VecDeque<ServiceRevision>,
    events: VecDeque<Value>,
    /// What the service is, without its deployments, has been said in an event.
    pub(super) steady: bool,
    pub(super) tags: Vec<Tag>,
    created_at: f64,
    client_token: Option<String>,
    /// Wakes the service's scheduler.
    pub(super) wake: Arc<Notify>,
}

impl Service {
    pub(super) fn is_active(&self) -> bool {
        self.status == ServiceStatus::Active
    }

    pub(super) fn limits(&self) -> Limits {
        let configuration = &self.fields["deploymentConfiguration"];
        let percent = |name: &str| {
            let value = configuration[name].as_u64().unwrap_or_default();
            usize::try_from(value).unwrap_or(usize::MAX)
        };
        Limits::new(
            self.desired_count,
            percent("minimumHealthyPercent"),
            percent("maximumPercent"),
        )
    }

    pub(super) fn grace_period(&self) -> f64 {
        self.fields
            .get("healthCheckGracePeriodSeconds")
            .and_then(Value::as_f64)
            .unwrap_or(0.0)
    }

    pub(super) fn propagated_tags(&self) -> Vec<Tag> {
        let source = self.fields.get("propagateTags").and_then(Value::as_str);
        match (source, self.deployments.first()) {
            (Some("SERVICE"), _) => self.tags.clone(),
            (Some("TASK_DEFINITION"), Some(primary)) => primary.definition.tags.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn event(&mut self, message: &str) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_back();
        }
        let message = format!("(service {}) {message}", self.name);
        tracing::info!(message);
        self.events.push_front(json!({
            "id": Uuid::new_v4().to_string(),
            "createdAt": now(),
            "message": message,
        }));
    }

    /// An event that is said once, however often the same is found again.
    pub(super) fn event_unless_repeated(&mut self, message: &str) {
        let last = self.events.front();
        let last = last.and_then(|event| event["message"].as_str());
        if !last.is_some_and(|last| last.ends_with(message)) {
            self.event(message);
        }
    }

    /// The deployment a rollback returns to: the last completed one. It stays among the
    /// deployments until a newer one is completed.
    pub(super) fn completed_deployment(&self) -> Option<usize> {
        self.deployments
            .iter()
            .position(|deployment| deployment.rollout == Rollout::Completed)
    }

    pub(super) fn revision(&self, arn: &str) -> Option<&ServiceRevision> {
        self.revisions.iter().find(|revision| revision.arn == arn)
    }

    /// The service deployment that is going on.
    pub(super) fn ongoing(&mut self) -> Option<&mut ServiceDeployment> {
        self.history
            .back_mut()
            .filter(|newest| !newest.status.is_final())
    }

    /// Makes a deployment the primary one; the service is then described as that revision.
    pub(super) fn make_primary(&mut self, position: usize) {
        let deployment = self.deployments.remove(position);
        let fields = self
            .revision(&deployment.revision_arn)
            .map(|revision| revision.fields.clone())
            .unwrap_or_default();
        for name in REVISION_FIELDS {
            match fields.get(name) {
                Some(value) => self.fields.insert(name.to_owned(), value.clone()),
                None => self.fields.remove(name),
            };
        }
        self.deployments.insert(0, deployment);
        self.steady = false;
    }

    /// Starts a deployment of what the service is now, which ends one that is going on.
    fn deploy(&mut self, names: &names::Names, definition: Arc<TaskDefinition>) {
        if let Some(superseded) = self.ongoing() {
            superseded.set_status(
                Status::Stopped,
                Some("The service deployment was superseded by a newer one.".to_owned()),
            );
        }
        let fields: Object = REVISION_FIELDS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.fields.get(*name)?.clone())))
            .collect();
        let placement = serde_json::from_value(Value::Object(fields.clone())).unwrap_or_default();
        let configuration = self.fields["deploymentConfiguration"].clone();
        let revision = ServiceRevision {
            arn: names.service_revision(&self.cluster_name, &self.name),
            definition: Arc::clone(&definition),
            fields,
            digests: HashMap::new(),
            created_at: now(),
        };
        let id = format!("ecs-svc/{}", unique_number());
        let sources = self
            .deployments
            .iter()
            .map(|deployment| deployment.revision_arn.clone())
            .collect();
        self.deployments.insert(
            0,
            Deployment {
                rollout_reason: format!("ECS deployment {id} in progress."),
                id,
                revision_arn: revision.arn.clone(),
                definition,
                placement,
                targets: target_bindings(&self.fields),
                rollout: Rollout::InProgress,
                failed_tasks: 0,
                next_start: None,
                created_at: now(),
                updated_at: now(),
            },
        );
        if self.history.len() == MAX_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(ServiceDeployment {
            arn: names.service_deployment(&self.cluster_name, &self.name),
            target: revision.arn.clone(),
            sources,
            status: Status::Pending,
            status_reason: None,
            breaker: circuit_breaker(&configuration),
            configuration,
            breaker_triggered: false,
            failures: 0,
            rollback: None,
            created_at: now(),
            started_at: None,
            finished_at: None,
            stopped_at: None,
            updated_at: now(),
            final_counts: HashMap::new(),
        });
        self.forget_old_revisions();
        self.revisions.push_back(revision);
        self.steady = false;
    }

    fn forget_old_revisions(&mut self) {
        while self.revisions.len() >= MAX_HISTORY {
            let in_use = |arn: &str| self.deployments.iter().any(|d| d.revision_arn == arn);
            let oldest = self.revisions.iter().position(|r| !in_use(&r.arn));
            let Some(position) = oldest else { return };
            self.revisions.remove(position);
        }
    }

    /// The tasks of one of the deployments.
    pub(super) fn tasks_of<'a>(
        &'a self,
        deployment: &'a Deployment,
        state: &'a State,
    ) -> impl Iterator<Item = &'a Task> {
        state.tasks.values().filter(move |task| {
            task.owner.as_ref().is_some_and(|owner| {
                owner.service_arn == self.arn && owner.deployment_id == deployment.id
            })
        })
    }

    /// How many tasks a deployment wants, and how many it has.
    fn deployment_counts(&self, position: usize, state: &State) -> (usize, Counts) {
        let deployment = &self.deployments[position];
        let counts = Counts::of(self.tasks_of(deployment, state));
        let desired = if position == 0 {
            self.desired_count
        } else {
            let tasks = self.tasks_of(deployment, state);
            tasks.filter(|task| task.wanted).count()
        };
        (desired, counts)
    }

    /// The same for a service revision.
    pub(super) fn revision_counts(&self, revision: &str, state: &State) -> (usize, Counts) {
        let position = self
            .deployments
            .iter()
            .position(|deployment| deployment.revision_arn == revision);
        position.map_or_else(Default::default, |position| {
            self.deployment_counts(position, state)
        })
    }

    fn to_json(&self, state: &State, with_tags: bool) -> Value {
        let mut totals = Counts::default();
        let (mut deployments, mut revisions) = (Vec::new(), Vec::new());
        for (position, deployment) in self.deployments.iter().enumerate() {
            let (desired, counts) = self.deployment_counts(position, state);
            totals.running += counts.running;
            totals.pending += counts.pending;
            deployments.push(deployment.to_json(position == 0, desired, counts));
            revisions.push(json!({
                "arn": deployment.revision_arn,
                "requestedTaskCount": desired,
                "runningTaskCount": counts.running,
                "pendingTaskCount": counts.pending,
            }));
        }
        let primary = self.deployments.first();
        let mut answer = self.fields.clone();
        let mut set = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        set("serviceArn", json!(self.arn));
        set("serviceName", json!(self.name));
        set("clusterArn", json!(self.cluster_arn));
        let status = match self.status {
            ServiceStatus::Active => "ACTIVE",
            ServiceStatus::Draining => "DRAINING",
            ServiceStatus::Inactive => "INACTIVE",
        };
        set("status", json!(status));
        set("desiredCount", json!(self.desired_count));
        set("runningCount", json!(totals.running));
        set("pendingCount", json!(totals.pending));
        set("deployments", json!(deployments));
        set("currentServiceRevisions", json!(revisions));
        set("events", json!(self.events));
        set("createdAt", json!(self.created_at));
        let tags = if with_tags { self.tags.as_slice() } else { &[] };
        set("tags", tags_to_json(tags));
        let definition = primary.map(|primary| primary.definition.arn.clone());
        put(&mut answer, "taskDefinition", definition);
        if let Some(primary) = primary {
            let launch_type = primary.placement.described_launch_type();
            put(&mut answer, "launchType", launch_type);
            let platform = primary.placement.described_platform_version();
            put(&mut answer, "platformVersion", platform);
            put(&mut answer, "platformFamily", platform.map(|_| "Linux"));
        }
        let current = self
            .history
            .back()
            .filter(|newest| !newest.status.is_final());
        let current = current.map(|current| current.arn.clone());
        put(&mut answer, "currentServiceDeployment", current);
        Value::Object(answer)
    }
}

/// What `loadBalancers` says about targets.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadBalancer {
    target_group_arn: Option<String>,
    #[serde(default)]
    container_name: String,
    #[serde(default)]
    container_port: u16,
}

fn load_balancers(fields: &Object) -> Result<Vec<LoadBalancer>, ApiError> {
    fields
        .get("loadBalancers")
        .map_or_else(|| Ok(Vec::new()), parse)
}

fn target_bindings(fields: &Object) -> Vec<TargetBinding> {
    let balancers = load_balancers(fields).unwrap_or_default();
    let bindings = balancers.into_iter().filter_map(|balancer| {
        Some(TargetBinding {
            target_group_arn: balancer.target_group_arn?,
            container_name: balancer.container_name,
            container_port: balancer.container_port,
        })
    });
    bindings.collect()
}

fn circuit_breaker(configuration: &Value) -> CircuitBreaker {
    CircuitBreaker::deserialize(&configuration["deploymentCircuitBreaker"]).unwrap_or_default()
}

/// Adds the values that ECS fills in to the fields of a service.
fn complete(fields: &mut Object) {
    let mut default = |name: &str, value: Value| {
        fields.entry(name).or_insert(value);
    };
    default("deploymentConfiguration", json!({}));
    default("deploymentController", json!({"type": "ECS"}));
    default("schedulingStrategy", json!("REPLICA"));
    default("enableECSManagedTags", json!(false));
    default("enableExecuteCommand", json!(false));
    default("propagateTags", json!("NONE"));
    for list in [
        "loadBalancers",
        "placementConstraints",
        "placementStrategy",
        "serviceRegistries",
    ] {
        default(list, json!([]));
    }
    if let Some(configuration) = fields["deploymentConfiguration"].as_object_mut() {
        let mut default = |name: &str, value: Value| {
            configuration.entry(name).or_insert(value);
        };
        default("maximumPercent", json!(200));
        default("minimumHealthyPercent", json!(100));
        default("strategy", json!("ROLLING"));
        default(
            "deploymentCircuitBreaker",
            json!({"enable": false, "rollback": false}),
        );
    }
}

fn unsupported(feature: &str) -> ApiError {
    ApiError::client(
        "UnsupportedFeatureException",
        format!("The local ECS does not support {feature}."),
    )
}

/// What CreateService and UpdateService refuse, whatever the load balancers are.
fn validate(fields: &Object, definition: &TaskDefinition) -> Result<(), ApiError> {
    let controller = fields["deploymentController"]["type"].as_str();
    if controller != Some("ECS") {
        return Err(unsupported("deployment controllers other than ECS"));
    }
    if fields["schedulingStrategy"].as_str() != Some("REPLICA") {
        return Err(unsupported("scheduling strategies other than REPLICA"));
    }
    let configuration = &fields["deploymentConfiguration"];
    if configuration["strategy"].as_str() != Some("ROLLING") {
        return Err(unsupported("deployment strategies other than ROLLING"));
    }
    for percent in ["maximumPercent", "minimumHealthyPercent"] {
        if configuration[percent].as_u64().is_none() {
            return Err(ApiError::invalid_parameter(format!(
                "{percent} must not be negative."
            )));
        }
    }
    if configuration["maximumPercent"].as_u64() < configuration["minimumHealthyPercent"].as_u64() {
        return Err(ApiError::invalid_parameter(
            "maximumPercent must not be less than minimumHealthyPercent.",
        ));
    }
    CircuitBreaker::deserialize(&configuration["deploymentCircuitBreaker"]).map_err(|error| {
        ApiError::invalid_parameter(format!("deploymentCircuitBreaker: {error}"))
    })?;
    let placement: Placement = parse(&Value::Object(fields.clone()))?;
    placement.validate(definition)?;
    let balancers = load_balancers(fields)?;
    if balancers.is_empty() && fields.contains_key("healthCheckGracePeriodSeconds") {
        return Err(ApiError::invalid_parameter(
            "Health check grace period is only valid for services configured to use load balancers",
        ));
    }
    for balancer in &balancers {
        let name = &balancer.container_name;
        let container = definition.container(name).ok_or_else(|| {
            ApiError::invalid_parameter(format!(
                "The container {name} does not exist in the task definition."
            ))
        })?;
        let port = balancer.container_port;
        let mut mappings = container.port_mappings.iter();
        if !mappings.any(|mapping| mapping.container_port == port) {
            return Err(ApiError::invalid_parameter(format!(
                "The container {name} did not have a container port {port} defined."
            )));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateService {
    cluster: Option<String>,
    #[serde(default)]
    service_name: String,
    #[serde(default)]
    task_definition: String,
    desired_count: Option<usize>,
    #[serde(default)]
    tags: Vec<Tag>,
    client_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateService {
    cluster: Option<String>,
    service: String,
    task_definition: Option<String>,
    desired_count: Option<usize>,
    #[serde(default)]
    force_new_deployment: bool,
}

#[derive(Deserialize)]
struct DeleteService {
    cluster: Option<String>,
    service: String,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
struct DescribeServices {
    cluster: Option<String>,
    services: Vec<String>,
    #[serde(default)]
    include: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListServices {
    cluster: Option<String>,
    launch_type: Option<String>,
    scheduling_strategy: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl State {
    fn service_key(&self, cluster_name: &str, service: &str) -> Option<(String, String)> {
        let name = names::service_name(service)?;
        let key = (cluster_name.to_owned(), name.to_owned());
        let found = self.services.get(&key)?;
        (service == found.name
            || names::cluster_of_service(service).is_none_or(|c| c == cluster_name))
        .then_some(key)
    }

    /// The service with that name or ARN, deleted or not.
    pub(super) fn service(&self, cluster_name: &str, service: &str) -> Result<&Service, ApiError> {
        self.service_key(cluster_name, service)
            .and_then(|key| self.services.get(&key))
            .ok_or_else(ApiError::service_not_found)
    }

    /// The service with that name or ARN, to change it.
    fn active_service(
        &mut self,
        cluster_name: &str,
        service: &str,
    ) -> Result<&mut Service, ApiError> {
        let service = self
            .service_key(cluster_name, service)
            .and_then(|key| self.services.get_mut(&key))
            .ok_or_else(ApiError::service_not_found)?;
        if service.is_active() {
            Ok(service)
        } else {
            Err(ApiError::service_not_active())
        }
    }
}

impl Ecs {
    /// Checks that the service's target groups exist and belong to a load balancer.
    async fn validate_target_groups(&self, fields: &Object) -> Result<(), ApiError> {
        for balancer in load_balancers(fields)? {
            let Some(arn) = balancer.target_group_arn else {
                return Err(unsupported("load balancers without target groups"));
            };
            let balancers = &self.inner.settings.load_balancers;
            match balancers.is_target_group_in_use(&arn).await {
                Ok(true) => {}
                Ok(false) => {
                    return Err(ApiError::invalid_parameter(format!(
                        "The target group with targetGroupArn {arn} does not have an associated load balancer."
                    )));
                }
                Err(_) => {
                    return Err(ApiError::invalid_parameter(format!(
                        "Unable to describe target group {arn}: the target group does not exist."
                    )));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn create_service(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: CreateService = parse(&request)?;
        let Value::Object(mut fields) = request else {
            return Err(ApiError::invalid_parameter("The request is no object."));
        };
        if !names::is_name(&parsed.service_name) {
            return Err(ApiError::invalid_parameter(
                "Invalid service name: use up to 255 letters, numbers, hyphens and underscores.",
            ));
        }
        for name in REQUEST_FIELDS {
            fields.remove(name);
        }
        complete(&mut fields);
        self.validate_target_groups(&fields).await?;

        let mut state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?;
        let (cluster_name, cluster_arn) = (cluster.name.clone(), cluster.arn.clone());
        let mut placement: Placement = parse(&Value::Object(fields.clone()))?;
        placement.complete(&cluster.settings);
        put(
            &mut fields,
            "capacityProviderStrategy",
            placement.capacity_provider_strategy,
        );
        let definition = state.active_task_definition(&parsed.task_definition)?;
        validate(&fields, &definition)?;
        let desired_count = parsed.desired_count.ok_or_else(|| {
            ApiError::invalid_parameter("desiredCount is required for the REPLICA strategy.")
        })?;
        let key = (cluster_name.clone(), parsed.service_name.clone());
        if let Some(known) = state.services.get(&key) {
            match known.status {
                ServiceStatus::Active
                    if known.client_token.is_some()
                        && known.client_token == parsed.client_token =>
                {
                    return Ok(json!({"service": known.to_json(&state, true)}));
                }
                ServiceStatus::Active => {
                    return Err(ApiError::invalid_parameter(
                        "Creation of service was not idempotent.",
                    ));
                }
                ServiceStatus::Draining => {
                    return Err(ApiError::invalid_parameter(
                        "Unable to Start a service that is still Draining.",
                    ));
                }
                ServiceStatus::Inactive => {}
            }
        }
        let mut service = Service {
            arn: self
                .inner
                .names
                .service(&cluster_name, &parsed.service_name),
            name: parsed.service_name,
            cluster_name,
            cluster_arn,
            status: ServiceStatus::Active,
            desired_count,
            fields,
            deployments: Vec::new(),
            history: VecDeque::new(),
            revisions: VecDeque::new(),
            events: VecDeque::new(),
            steady: false,
            tags: parsed.tags,
            created_at: now(),
            client_token: parsed.client_token,
            wake: Arc::new(Notify::new()),
        };
        service.deploy(&self.inner.names, definition);
        let answer = service.to_json(&state, true);
        state.services.insert(key.clone(), service);
        drop(state);
        self.schedule(key);
        Ok(json!({"service": answer}))
    }

    pub(super) async fn update_service(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: UpdateService = parse(&request)?;
        let Value::Object(mut changes) = request else {
            return Err(ApiError::invalid_parameter("The request is no object."));
        };
        for name in REQUEST_FIELDS {
            changes.remove(name);
        }
        // The service may change while its target groups are looked at; what is not there then
        // is refused all the same.
        self.validate_target_groups(&changes).await?;

        let mut state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?.name.clone();
        let definition = match &parsed.task_definition {
            Some(text) => Some(state.active_task_definition(text)?),
            None => None,
        };
        let service = state.active_service(&cluster, &parsed.service)?;
        let Some(primary) = service.deployments.first() else {
            return Err(ApiError::server("The service has no deployment."));
        };
        let current = Arc::clone(&primary.definition);
        let definition = definition.unwrap_or_else(|| Arc::clone(&current));
        let mut fields = service.fields.clone();
        if changes.contains_key("capacityProviderStrategy") {
            fields.remove("launchType");
        }
        for (name, value) in changes {
            match (fields.get_mut(&name), value) {
                // A part of the configuration that is not given stays as it is.
                (Some(Value::Object(known)), Value::Object(change))
                    if name == "deploymentConfiguration" =>
                {
                    known.extend(change);
                }
                (_, value) => {
                    fields.insert(name, value);
                }
            }
        }
        validate(&fields, &definition)?;
        let changed = definition.arn != current.arn
            || REVISION_FIELDS
                .iter()
                .any(|name| fields.get(*name) != service.fields.get(*name));
        service.fields = fields;
        if let Some(desired) = parsed.desired_count {
            service.steady &= service.desired_count == desired;
            service.desired_count = desired;
        }
        if changed || parsed.force_new_deployment {
            service.deploy(&self.inner.names, definition);
        }
        service.wake.notify_one();
        let service = state.service(&cluster, &parsed.service)?;
        Ok(json!({"service": service.to_json(&state, true)}))
    }

    pub(super) fn delete_service(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: DeleteService = parse(&request)?;
        let mut state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?.name.clone();
        let service = state.active_service(&cluster, &parsed.service)?;
        if service.desired_count > 0 && !parsed.force {
            return Err(ApiError::invalid_parameter(
                "The service cannot be stopped while it is scaled above 0.",
            ));
        }
        service.status = ServiceStatus::Draining;
        service.desired_count = 0;
        if let Some(ongoing) = service.ongoing() {
            let reason = "The service was deleted.".to_owned();
            ongoing.set_status(Status::Stopped, Some(reason));
        }
        service.wake.notify_one();
        let service = state.service(&cluster, &parsed.service)?;
        Ok(json!({"service": service.to_json(&state, true)}))
    }

    pub(super) fn describe_services(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: DescribeServices = parse(&request)?;
        if parsed.services.is_empty() || parsed.services.len() > 10 {
            return Err(ApiError::invalid_parameter(
                "Between 1 and 10 services can be described at once.",
            ));
        }
        let state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?.name.clone();
        let with_tags = includes(&parsed.include, "TAGS");
        let (mut services, mut failures) = (Vec::new(), Vec::new());
        for text in &parsed.services {
            match state.service(&cluster, text) {
                Ok(service) => services.push(service.to_json(&state, with_tags)),
                Err(_) => {
                    let arn = if text.starts_with("arn:") {
                        text.clone()
                    } else {
                        self.inner.names.service(&cluster, text)
                    };
                    failures.push(json!({"arn": arn, "reason": "MISSING"}));
                }
            }
        }
        Ok(json!({"services": services, "failures": failures}))
    }

    pub(super) fn list_services(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: ListServices = parse(&request)?;
        let state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?.name.clone();
        let mut arns: Vec<&str> = state
            .services
            .values()
            .filter(|service| {
                let launch_type = service
                    .deployments
                    .first()
                    .and_then(|primary| primary.placement.described_launch_type());
                let strategy = service.fields["schedulingStrategy"].as_str();
                service.cluster_name == cluster
                    && service.status != ServiceStatus::Inactive
                    && (parsed.launch_type.is_none()
                        || parsed.launch_type.as_deref() == launch_type)
                    && (parsed.scheduling_strategy.is_none()
                        || parsed.scheduling_strategy.as_deref() == strategy)
            })
            .map(|service| service.arn.as_str())
            .collect();
        arns.sort_unstable();
        // A page has 10 services unless the request asks for more.
        let size = parsed.max_results.or(Some(10));
        let (arns, next) = page(arns, size, parsed.next_token.as_deref(), 100)?;
        let mut answer = Object::new();
        answer.insert("serviceArns".to_owned(), json!(arns));
        put(&mut answer, "nextToken", next);
        Ok(Value::Object(answer))
    }
}
