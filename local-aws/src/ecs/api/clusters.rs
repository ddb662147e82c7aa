//! The operations on clusters.

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{includes, page};
use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::clusters::Cluster;
use crate::ecs::model::error::ApiError;
use crate::ecs::model::names;
use crate::ecs::model::state::State;
use crate::ecs::model::task::LastStatus;
use crate::ecs::model::values::{Object, Tag, parse, put, tags_to_json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateCluster {
    cluster_name: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct DescribeClusters {
    #[serde(default)]
    clusters: Vec<String>,
    #[serde(default)]
    include: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListClusters {
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct DeleteCluster {
    cluster: String,
}

impl State {
    /// The active cluster with that name or ARN.
    pub(super) fn cluster(&self, cluster: Option<&str>) -> Result<&Cluster, ApiError> {
        let name = names::cluster_name(cluster)?;
        self.clusters
            .get(&name)
            .filter(|cluster| cluster.active)
            .ok_or_else(ApiError::cluster_not_found)
    }

    fn describe_cluster(&self, cluster: &Cluster, include: &[String]) -> Value {
        let tasks = self
            .tasks
            .values()
            .filter(|task| task.cluster_name == cluster.name);
        let (mut running, mut pending) = (0, 0);
        for task in tasks {
            match task.last_status {
                LastStatus::Running => running += 1,
                LastStatus::Provisioning | LastStatus::Pending | LastStatus::Activating => {
                    pending += 1;
                }
                _ => {}
            }
        }
        let services = self
            .services
            .values()
            .filter(|service| service.cluster_name == cluster.name && service.is_active())
            .count();
        let mut answer = Object::new();
        answer.insert("clusterArn".to_owned(), json!(cluster.arn));
        answer.insert("clusterName".to_owned(), json!(cluster.name));
        let status = if cluster.active { "ACTIVE" } else { "INACTIVE" };
        answer.insert("status".to_owned(), json!(status));
        answer.insert("registeredContainerInstancesCount".to_owned(), json!(0));
        answer.insert("runningTasksCount".to_owned(), json!(running));
        answer.insert("pendingTasksCount".to_owned(), json!(pending));
        answer.insert("activeServicesCount".to_owned(), json!(services));
        answer.insert("statistics".to_owned(), json!([]));
        let tags = includes(include, "TAGS").then_some(&cluster.tags);
        answer.insert(
            "tags".to_owned(),
            tags_to_json(tags.map_or(&[], Vec::as_slice)),
        );
        for (field, part) in [
            ("settings", "SETTINGS"),
            ("configuration", "CONFIGURATIONS"),
        ] {
            if includes(include, part) {
                put(&mut answer, field, cluster.settings.get(field).cloned());
            }
        }
        for field in ["capacityProviders", "defaultCapacityProviderStrategy"] {
            let value = cluster.settings.get(field).cloned();
            answer.insert(field.to_owned(), value.unwrap_or_else(|| json!([])));
        }
        let connect = cluster.settings.get("serviceConnectDefaults").cloned();
        put(&mut answer, "serviceConnectDefaults", connect);
        Value::Object(answer)
    }
}

impl Ecs {
    pub(super) fn create_cluster(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: CreateCluster = parse(&request)?;
        let name = parsed.cluster_name.unwrap_or_else(|| "default".to_owned());
        if !names::is_name(&name) {
            return Err(ApiError::invalid_parameter(
                "Invalid cluster name: use up to 255 letters, numbers, hyphens and underscores.",
            ));
        }
        let everything = [
            "ATTACHMENTS",
            "CONFIGURATIONS",
            "SETTINGS",
            "STATISTICS",
            "TAGS",
        ]
        .map(ToOwned::to_owned);
        let mut state = self.lock();
        // Creating a cluster that exists answers the one that is there.
        if !state.clusters.get(&name).is_some_and(|known| known.active) {
            let mut settings = match request {
                Value::Object(settings) => settings,
                _ => Object::new(),
            };
            settings.remove("clusterName");
            settings.remove("tags");
            let cluster = Cluster {
                arn: self.inner.names.cluster(&name),
                name: name.clone(),
                active: true,
                tags: parsed.tags,
                settings,
            };
            state.clusters.insert(name.clone(), cluster);
        }
        let cluster = state.cluster(Some(&name))?;
        Ok(json!({"cluster": state.describe_cluster(cluster, &everything)}))
    }

    pub(super) fn describe_clusters(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: DescribeClusters = parse(&request)?;
        if parsed.clusters.len() > 100 {
            return Err(ApiError::invalid_parameter(
                "Clusters can not have more than 100 elements.",
            ));
        }
        let wanted = if parsed.clusters.is_empty() {
            vec!["default".to_owned()]
        } else {
            parsed.clusters
        };
        let state = self.lock();
        let (mut clusters, mut failures) = (Vec::new(), Vec::new());
        for cluster in &wanted {
            let name = names::cluster_name(Some(cluster))?;
            match state.clusters.get(&name) {
                Some(found) => clusters.push(state.describe_cluster(found, &parsed.include)),
                None => failures.push(json!({
                    "arn": self.inner.names.cluster(&name),
                    "reason": "MISSING",
                })),
            }
        }
        Ok(json!({"clusters": clusters, "failures": failures}))
    }

    pub(super) fn list_clusters(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: ListClusters = parse(&request)?;
        let state = self.lock();
        let mut arns: Vec<&str> = state
            .clusters
            .values()
            .filter(|cluster| cluster.active)
            .map(|cluster| cluster.arn.as_str())
            .collect();
        arns.sort_unstable();
        let (arns, next) = page(arns, parsed.max_results, parsed.next_token.as_deref(), 100)?;
        let mut answer = Object::new();
        answer.insert("clusterArns".to_owned(), json!(arns));
        put(&mut answer, "nextToken", next);
        Ok(Value::Object(answer))
    }

    pub(super) fn delete_cluster(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: DeleteCluster = parse(&request)?;
        let mut state = self.lock();
        let name = state.cluster(Some(&parsed.cluster))?.name.clone();
        if state
            .services
            .values()
            .any(|service| service.cluster_name == name && service.is_active())
        {
            return Err(ApiError::client(
                "ClusterContainsServicesException",
                "The Cluster cannot be deleted while Services are active.",
            ));
        }
        if state
            .tasks
            .values()
            .any(|task| task.cluster_name == name && task.last_status != LastStatus::Stopped)
        {
            return Err(ApiError::client(
                "ClusterContainsTasksException",
                "The Cluster cannot be deleted while Tasks are active.",
            ));
        }
        if let Some(cluster) = state.clusters.get_mut(&name) {
            cluster.active = false;
        }
        let cluster = state
            .clusters
            .get(&name)
            .ok_or_else(ApiError::cluster_not_found)?;
        Ok(json!({"cluster": state.describe_cluster(cluster, &[])}))
    }
}
