//! Where and how a task can run.

use serde_json::Value;

use crate::ecs::model::error::ApiError;
use crate::ecs::model::placement::Placement;
use crate::ecs::model::task_definitions::TaskDefinition;
use crate::ecs::model::values::Object;

/// Those that need no instances. Whoever has an account has them; a cluster has those that it names.
const FARGATE: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

/// Checks the capacity providers that a request gives a cluster.
pub(in crate::ecs) fn validate_cluster(settings: &Object) -> Result<(), ApiError> {
    let providers = providers_of(settings);
    if let Some(unknown) = providers.iter().find(|name| !FARGATE.contains(name)) {
        return Err(ApiError::invalid_parameter(format!(
            "The specified capacity provider '{unknown}' was not found. Specify a valid name or \
             ARN and try again."
        )));
    }
    let default = Placement {
        capacity_provider_strategy: settings.get("defaultCapacityProviderStrategy").cloned(),
        ..Placement::default()
    };
    validate_providers(&default, settings)
}

/// Checks that a cluster has what a strategy names.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html>
/// (`capacityProviderStrategy`)
pub(in crate::ecs) fn validate_providers(
    placement: &Placement,
    cluster: &Object,
) -> Result<(), ApiError> {
    let known = providers_of(cluster);
    if placement
        .capacity_providers()
        .all(|name| known.contains(&name))
    {
        return Ok(());
    }
    Err(ApiError::invalid_parameter(
        "The specified capacity provider strategy cannot contain a capacity provider that is not \
         associated with the cluster. Associate the capacity provider with the cluster or specify \
         a valid capacity provider and try again.",
    ))
}

fn providers_of(cluster: &Object) -> Vec<&str> {
    let providers = cluster.get("capacityProviders").and_then(Value::as_array);
    let names = providers.into_iter().flatten().filter_map(Value::as_str);
    names.collect()
}

/// Checks what does not depend on a cluster's instances, of which there are none here.
pub(in crate::ecs) fn validate(
    placement: &Placement,
    definition: &TaskDefinition,
) -> Result<(), ApiError> {
    if placement.launch_type.is_some() && placement.uses_capacity_providers() {
        return Err(ApiError::invalid_parameter(
            "Specifying both a launch type and capacity provider strategy is not supported. \
             Remove one and try again.",
        ));
    }
    validate_network(placement, definition)?;
    validate_platform(placement, definition)
}

fn validate_network(placement: &Placement, definition: &TaskDefinition) -> Result<(), ApiError> {
    let refuse = |message: &str| Err(ApiError::invalid_parameter(message));
    let Some(network) = &placement.network_configuration else {
        return if definition.uses_awsvpc() {
            refuse("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
        } else {
            Ok(())
        };
    };
    if !definition.uses_awsvpc() {
        return refuse(
            "Network Configuration is not valid for the given networkMode of this task \
             definition.",
        );
    }
    let length = |name: &str| {
        let list = network["awsvpcConfiguration"][name].as_array();
        list.map_or(0, Vec::len)
    };
    match (length("subnets"), length("securityGroups")) {
        (0, _) => refuse("subnets can not be empty."),
        (17.., _) => refuse("subnets can have at most 16 elements."),
        (_, 6..) => refuse("securityGroups can have at most 5 elements."),
        _ => Ok(()),
    }
}

fn validate_platform(placement: &Placement, definition: &TaskDefinition) -> Result<(), ApiError> {
    let version = placement.platform_version.as_deref();
    if placement.needs_instances() {
        return match version {
            Some(_) => Err(ApiError::invalid_parameter(
                "The platform version must be null when specifying an EC2 launch type.",
            )),
            None => Ok(()),
        };
    }
    if !definition.is_fargate_compatible() {
        return Err(ApiError::invalid_parameter(
            "Task definition does not support launch_type FARGATE.",
        ));
    }
    match version {
        None | Some("LATEST" | "1.4.0") => Ok(()),
        Some("1.3.0") if definition.details.ephemeral_storage.is_none() => Ok(()),
        Some("1.3.0") => Err(ApiError::client(
            "PlatformTaskDefinitionIncompatibilityException",
            "The task definition's ephemeralStorage needs platform version 1.4.0 or later.",
        )),
        Some(_) => Err(ApiError::client(
            "PlatformUnknownException",
            "The specified platform version does not exist.",
        )),
    }
}
