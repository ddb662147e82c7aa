//! The operations on services.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{includes, page};
use super::tags;
use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::deployments::{Counts, Deployment, RevisionState, ServiceRevision, Status};
use crate::ecs::model::error::ApiError;
use crate::ecs::model::names;
use crate::ecs::model::placement::Placement;
use crate::ecs::model::service::{NewService, REVISION_FIELDS, Service, ServiceStatus};
use crate::ecs::model::state::{ServiceKey, State};
use crate::ecs::model::task::Tasks;
use crate::ecs::model::task_definitions::TaskDefinition;
use crate::ecs::model::values::{Object, Tag, parse, put, tags_to_json};
use crate::ecs::rules::deploy;
use crate::ecs::rules::placement::validate_providers;
use crate::ecs::rules::services::{complete, validate};
use crate::ecs::rules::strategy::{self, Strategy};

/// Fields of requests that are not kept as they are.
const REQUEST_FIELDS: [&str; 9] = [
    "clientToken",
    "cluster",
    "desiredCount",
    "forceNewDeployment",
    "role",
    "service",
    "serviceName",
    "tags",
    "taskDefinition",
];

/// What ECS tells of a service's deployments and not of the service itself.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html>
const DEPLOYMENT_FIELDS: [&str; 3] = [
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
];

/// What ECS tells of service revisions only.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceRevision.html>
const ONLY_REVISION_FIELDS: [&str; 2] = ["gatewayConnectors", "monitoring"];

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
    fn service_key(&self, cluster_name: &str, service: &str) -> Option<ServiceKey> {
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

impl Deployment {
    fn to_json(
        &self,
        revision: Option<&ServiceRevision>,
        primary: bool,
        desired: usize,
        counts: Counts,
    ) -> Value {
        let mut answer = Object::new();
        for name in DEPLOYMENT_FIELDS {
            let value = revision.and_then(|revision| revision.fields.get(name));
            put(&mut answer, name, value.cloned());
        }
        let mut set = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        set("id", json!(self.id));
        set("status", json!(if primary { "PRIMARY" } else { "ACTIVE" }));
        set("taskDefinition", json!(self.definition.arn));
        set("desiredCount", json!(desired));
        set("pendingCount", json!(counts.pending));
        set("runningCount", json!(counts.running));
        set("failedTasks", json!(self.failed_tasks));
        set("createdAt", json!(self.created_at));
        set("updatedAt", json!(self.updated_at));
        set("rolloutState", json!(self.rollout.as_str()));
        set("rolloutStateReason", json!(self.rollout_reason));
        put(
            &mut answer,
            "launchType",
            self.placement.described_launch_type(),
        );
        put(
            &mut answer,
            "capacityProviderStrategy",
            self.placement.capacity_provider_strategy.clone(),
        );
        let platform = self.placement.described_platform_version();
        put(&mut answer, "platformVersion", platform);
        put(&mut answer, "platformFamily", platform.map(|_| "Linux"));
        put(
            &mut answer,
            "networkConfiguration",
            self.placement.network_configuration.clone(),
        );
        Value::Object(answer)
    }
}

impl Service {
    fn to_json(&self, tasks: &Tasks, with_tags: bool) -> Value {
        let mut totals = Counts::default();
        let (mut deployments, mut revisions) = (Vec::new(), Vec::new());
        for (position, deployment) in self.deployments.iter().enumerate() {
            let RevisionState {
                requested: desired,
                counts,
                ..
            } = self.deployment_state(position, tasks);
            totals.running += counts.running;
            totals.pending += counts.pending;
            let revision = self.revision(&deployment.revision_arn);
            deployments.push(deployment.to_json(revision, position == 0, desired, counts));
            revisions.push(json!({
                "arn": deployment.revision_arn,
                "requestedTaskCount": desired,
                "runningTaskCount": counts.running,
                "pendingTaskCount": counts.pending,
            }));
        }
        let primary = self.deployments.first();
        let mut answer = self.fields.clone();
        for name in DEPLOYMENT_FIELDS.iter().chain(&ONLY_REVISION_FIELDS) {
            answer.remove(*name);
        }
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

impl Ecs {
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
        self.validate_load_balancers(&fields).await?;

        let mut state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?;
        let (cluster_name, cluster_arn) = (cluster.name.clone(), cluster.arn.clone());
        let mut placement: Placement = parse(&Value::Object(fields.clone()))?;
        placement.complete(&cluster.settings);
        validate_providers(&placement, &cluster.settings)?;
        put(
            &mut fields,
            "capacityProviderStrategy",
            placement.capacity_provider_strategy,
        );
        let definition = state.active_task_definition(&parsed.task_definition)?;
        validate(&fields, &definition)?;
        tags::check_characters(&parsed.tags)?;
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
                    return Ok(json!({"service": known.to_json(&state.tasks, true)}));
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
        let mut service = Service::new(
            &self.inner.names,
            NewService {
                name: parsed.service_name,
                cluster_name,
                cluster_arn,
                desired_count,
                fields,
                tags: parsed.tags,
                client_token: parsed.client_token,
            },
        );
        self.deploy(&mut service, definition);
        let answer = service.to_json(&state.tasks, true);
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
        self.validate_load_balancers(&changes).await?;

        let mut state = self.lock();
        let cluster = state.cluster(parsed.cluster.as_deref())?;
        validate_providers(&parse(&Value::Object(changes.clone()))?, &cluster.settings)?;
        let cluster = cluster.name.clone();
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
                    strategy::change(known, change);
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
        let before = service.desired_count;
        if let Some(desired) = parsed.desired_count {
            service.steady &= before == desired;
            service.desired_count = desired;
        }
        if changed || parsed.force_new_deployment {
            self.deploy(service, definition);
            deploy::keep_serving_as_before(service, before);
        }
        service.wake.notify_one();
        let service = state.service(&cluster, &parsed.service)?;
        Ok(json!({"service": service.to_json(&state.tasks, true)}))
    }

    /// Starts a deployment of what the service is now. The circuit breaker does not act in all of
    /// them, in the mode that says so.
    fn deploy(&self, service: &mut Service, definition: Arc<TaskDefinition>) {
        deploy::deploy(service, &self.inner.names, definition);
        let only_rolling = self.modes().circuit_breaker_of_rolling_updates_only;
        if let Some(begun) = service.ongoing()
            && only_rolling
            && Strategy::of(&begun.configuration).is_side_by_side()
        {
            begun.breaker.enable = false;
        }
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
        Ok(json!({"service": service.to_json(&state.tasks, true)}))
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
                Ok(service) => services.push(service.to_json(&state.tasks, with_tags)),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ecs::in_process;
    use crate::modes::Modes;

    /// Deploys a version of which no task runs, and waits until its deployment is told of as wanted.
    async fn crashes(ecs: &Ecs, wanted: impl Fn(&Value) -> bool) -> Value {
        in_process::register(ecs, "web").await;
        let breaker = json!({"enable": true, "rollback": true});
        let configuration = json!({
            "strategy": "BLUE_GREEN",
            "bakeTimeInMinutes": 0,
            "deploymentCircuitBreaker": breaker,
        });
        let service = json!({"desiredCount": 0, "deploymentConfiguration": configuration});
        in_process::create_service(ecs, &service).await;
        let newest = async |wanted: &dyn Fn(&Value) -> bool| loop {
            let newest = in_process::newest_deployment(ecs).await;
            if wanted(&newest) {
                return newest;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        newest(&|newest| newest["status"] == "SUCCESSFUL").await;
        let update = json!({
            "cluster": in_process::CLUSTER,
            "service": "web",
            "desiredCount": 1,
            "forceNewDeployment": true,
        });
        ecs.call("UpdateService", update).await.unwrap();
        newest(&wanted).await
    }

    #[tokio::test]
    async fn the_circuit_breaker_acts_where_traffic_is_shifted_but_for_the_mode_that_says_otherwise()
     {
        let ecs = in_process::ecs(1000.0).await;
        let taken_back = crashes(&ecs, |newest| newest["status"] == "ROLLBACK_SUCCESSFUL").await;
        let breaker = &taken_back["deploymentCircuitBreaker"];
        assert_eq!(breaker["status"], "TRIGGERED");

        let ecs = in_process::ecs(1000.0).await;
        ecs.set_modes(Modes {
            circuit_breaker_of_rolling_updates_only: true,
            ..Modes::default()
        });
        let failed = |newest: &Value| {
            let breaker = &newest["deploymentCircuitBreaker"];
            breaker["failureCount"].as_u64() > Some(3)
        };
        let goes_on = crashes(&ecs, failed).await;
        assert_eq!(goes_on["status"], "IN_PROGRESS");
        assert_eq!(goes_on["deploymentCircuitBreaker"]["status"], "DISABLED");
        let request = json!({"cluster": in_process::CLUSTER, "services": ["web"]});
        let told = ecs.call("DescribeServices", request).await.unwrap();
        let primary = &told["services"][0]["deployments"][0];
        assert!(primary["failedTasks"].as_u64() > Some(3), "{primary}");
    }

    #[tokio::test]
    async fn what_belongs_to_a_revision_is_told_of_the_deployments_that_have_it() {
        let ecs = in_process::ecs(1.0).await;
        in_process::register(&ecs, "web").await;
        let connect = json!({"enabled": true, "namespace": "shop"});
        let service = json!({"desiredCount": 0, "serviceConnectConfiguration": connect});
        in_process::create_service(&ecs, &service).await;
        let disabled = json!({"enabled": false});
        let update = json!({
            "cluster": in_process::CLUSTER,
            "service": "web",
            "serviceConnectConfiguration": disabled,
            "monitoring": {},
        });
        let answer = ecs.call("UpdateService", update).await.unwrap();
        let service = &answer["service"];
        for member in ["serviceConnectConfiguration", "monitoring"] {
            assert_eq!(service[member], Value::Null, "{member}");
        }
        let told =
            |position: usize| &service["deployments"][position]["serviceConnectConfiguration"];
        assert_eq!((told(0), told(1)), (&disabled, &connect));
    }
}
