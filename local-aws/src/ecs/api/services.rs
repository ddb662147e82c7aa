//! The operations on services.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::ecs::ApiError;
use crate::ecs::Ecs;
use crate::ecs::State;
use crate::ecs::life::hooks::Hook;
use crate::ecs::model::alarms::AlarmMonitor;
use crate::ecs::model::deployments::Status;
use crate::ecs::model::names;
use crate::ecs::model::service::{
    NewService, REQUEST_FIELDS, REVISION_FIELDS, Service, ServiceStatus,
};
use crate::ecs::model::task::Placement;
use crate::ecs::model::values::{Object, Tag, includes, page, parse, put};
use crate::ecs::rules::rolling::CircuitBreaker;
use crate::ecs::rules::strategy::{self, Strategy};
use crate::ecs::rules::task_definitions::TaskDefinition;
use crate::ecs::rules::traffic::{self, load_balancers};

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
        strategy::complete(configuration);
    }
}

pub(in crate::ecs) fn unsupported(feature: &str) -> ApiError {
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
    if configuration["earlySuccessCriteria"]["enable"] == json!(true) {
        return Err(unsupported("earlySuccessCriteria"));
    }
    strategy::validate(configuration)?;
    traffic::validate(fields, Strategy::of(configuration))?;
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
    AlarmMonitor::parse(configuration)?;
    Hook::parse_all(configuration)?;
    let placement: Placement = parse(&Value::Object(fields.clone()))?;
    placement.validate(definition)?;
    let balancers = load_balancers(fields)?;
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
    pub(in crate::ecs) fn service(
        &self,
        cluster_name: &str,
        service: &str,
    ) -> Result<&Service, ApiError> {
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
    pub(in crate::ecs) async fn create_service(&self, request: Value) -> Result<Value, ApiError> {
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
        service.deploy(&self.inner.names, definition);
        let answer = service.to_json(&state, true);
        state.services.insert(key.clone(), service);
        drop(state);
        self.schedule(key);
        Ok(json!({"service": answer}))
    }

    pub(in crate::ecs) async fn update_service(&self, request: Value) -> Result<Value, ApiError> {
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
            service.deploy(&self.inner.names, definition);
            service.keep_serving_as_before(before);
        }
        service.wake.notify_one();
        let service = state.service(&cluster, &parsed.service)?;
        Ok(json!({"service": service.to_json(&state, true)}))
    }

    pub(in crate::ecs) fn delete_service(&self, request: Value) -> Result<Value, ApiError> {
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

    pub(in crate::ecs) fn describe_services(&self, request: Value) -> Result<Value, ApiError> {
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

    pub(in crate::ecs) fn list_services(&self, request: Value) -> Result<Value, ApiError> {
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
