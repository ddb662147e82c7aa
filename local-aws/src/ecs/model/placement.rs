//! Where and how a task runs.

use serde::Deserialize;
use serde_json::Value;

use super::values::Object;

/// Launch type, network and the like, as the task's description gives them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct Placement {
    pub(in crate::ecs) launch_type: Option<String>,
    pub(in crate::ecs) capacity_provider_strategy: Option<Value>,
    pub(in crate::ecs) platform_version: Option<String>,
    pub(in crate::ecs) network_configuration: Option<Value>,
    pub(in crate::ecs) enable_execute_command: Option<bool>,
}

impl Placement {
    pub(in crate::ecs) fn uses_capacity_providers(&self) -> bool {
        let strategy = self.capacity_provider_strategy.as_ref();
        strategy
            .and_then(Value::as_array)
            .is_some_and(|strategy| !strategy.is_empty())
    }

    /// Falls back on the cluster's default capacity providers, as ECS does when a request names
    /// neither launch type nor providers.
    pub(in crate::ecs) fn complete(&mut self, cluster: &Object) {
        if self.launch_type.is_none() && !self.uses_capacity_providers() {
            self.capacity_provider_strategy =
                cluster.get("defaultCapacityProviderStrategy").cloned();
        }
    }

    pub(in crate::ecs) fn capacity_provider(&self) -> Option<&str> {
        self.capacity_providers().next()
    }

    /// The names of the capacity providers in its strategy.
    pub(in crate::ecs) fn capacity_providers(&self) -> impl Iterator<Item = &str> {
        let strategy = self.capacity_provider_strategy.as_ref();
        let items = strategy.and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item["capacityProvider"].as_str())
    }

    /// Whether the task needs a container instance, which this ECS does not have.
    pub(in crate::ecs) fn needs_instances(&self) -> bool {
        match (self.launch_type.as_deref(), self.capacity_provider()) {
            (Some("FARGATE"), _) => false,
            (None, Some(provider)) => !provider.starts_with("FARGATE"),
            _ => true,
        }
    }

    /// The launch type in the descriptions of tasks and services.
    pub(in crate::ecs) fn described_launch_type(&self) -> Option<&str> {
        match &self.launch_type {
            Some(launch_type) => Some(launch_type),
            None if self.uses_capacity_providers() => None,
            None => Some("EC2"),
        }
    }

    /// `LATEST` means the newest version there is.
    pub(in crate::ecs) fn described_platform_version(&self) -> Option<&str> {
        if self.needs_instances() {
            return None;
        }
        match self.platform_version.as_deref() {
            None | Some("LATEST") => Some("1.4.0"),
            Some(version) => Some(version),
        }
    }
}
