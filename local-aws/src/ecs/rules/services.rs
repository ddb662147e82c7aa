//! What a service can be, and what ECS fills in.

use serde::Deserialize;
use serde_json::{Value, json};

use super::strategy::{self, Strategy};
use super::traffic::{self, load_balancers};
use super::{hooks, placement};
use crate::ecs::model::alarms::AlarmMonitor;
use crate::ecs::model::deployments::CircuitBreaker;
use crate::ecs::model::error::ApiError;
use crate::ecs::model::placement::Placement;
use crate::ecs::model::task_definitions::TaskDefinition;
use crate::ecs::model::values::{Object, parse};

/// Adds the values that ECS fills in to the fields of a service.
pub(in crate::ecs) fn complete(fields: &mut Object) {
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

/// What CreateService and UpdateService refuse, whatever the load balancers are.
pub(in crate::ecs) fn validate(
    fields: &Object,
    definition: &TaskDefinition,
) -> Result<(), ApiError> {
    let controller = fields["deploymentController"]["type"].as_str();
    if controller != Some("ECS") {
        return Err(ApiError::unsupported(
            "deployment controllers other than ECS",
        ));
    }
    if fields["schedulingStrategy"].as_str() != Some("REPLICA") {
        return Err(ApiError::unsupported(
            "scheduling strategies other than REPLICA",
        ));
    }
    let configuration = &fields["deploymentConfiguration"];
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
    hooks::parse_all(configuration)?;
    let placement: Placement = parse(&Value::Object(fields.clone()))?;
    placement::validate(&placement, definition)?;
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
