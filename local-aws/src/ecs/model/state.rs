//! All that ECS knows.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::clusters::Cluster;
use super::service::Service;
use super::task::Tasks;
use super::task_definitions::TaskDefinition;

/// Cluster and name of a service.
pub(in crate::ecs) type ServiceKey = (String, String);

#[derive(Clone, Debug, Default)]
pub(in crate::ecs) struct State {
    /// By name.
    pub(in crate::ecs) clusters: HashMap<String, Cluster>,
    /// The revisions of each family, the oldest first.
    pub(in crate::ecs) families: HashMap<String, Vec<Arc<TaskDefinition>>>,
    pub(in crate::ecs) tasks: Tasks,
    /// Client tokens of RunTask, by cluster and token.
    pub(in crate::ecs) tokens: HashMap<(String, String), StartedTasks>,
    pub(in crate::ecs) services: HashMap<ServiceKey, Service>,
    /// How many tasks of a cluster, by its name, will find no capacity.
    pub(in crate::ecs) lacking: HashMap<String, usize>,
}

/// The tasks that a client token has started already.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct StartedTasks {
    pub(in crate::ecs) request: Value,
    pub(in crate::ecs) tasks: Vec<String>,
    pub(in crate::ecs) started_at: Instant,
}

impl State {
    /// Removes a task that stopped long ago, and with the last of its tasks a client token.
    pub(in crate::ecs) fn forget_task(&mut self, id: &str) {
        self.tasks.remove(id);
        let tasks = &self.tasks;
        self.tokens
            .retain(|_, started| started.tasks.iter().any(|task| tasks.contains_key(task)));
    }
}
