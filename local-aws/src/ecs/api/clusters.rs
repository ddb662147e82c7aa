//! The operations on clusters.

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{includes, page};
use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::clusters::Cluster;
use crate::ecs::model::error::ApiError;
use crate::ecs::model::names;
use crate::ecs::model::placement::Placement;
use crate::ecs::model::state::State;
use crate::ecs::model::task::LastStatus;
use crate::ecs::model::values::{Object, Tag, parse, put, tags_to_json};
use crate::ecs::rules::placement::{validate_cluster, validate_providers};

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PutClusterCapacityProviders {
    cluster: String,
    capacity_providers: Vec<String>,
    default_capacity_provider_strategy: Vec<Value>,
}

/// All that DescribeClusters can be asked to include.
const EVERYTHING: [&str; 5] = [
    "ATTACHMENTS",
    "CONFIGURATIONS",
    "SETTINGS",
    "STATISTICS",
    "TAGS",
];

impl State {
    /// The active cluster with that name or ARN.
    pub(super) fn cluster(&self, cluster: Option<&str>) -> Result<&Cluster, ApiError> {
        let name = names::cluster_name(cluster)?;
        self.clusters
            .get(&name)
            .filter(|cluster| cluster.active)
            .ok_or_else(ApiError::cluster_not_found)
    }

    /// Where the tasks of a cluster run or shall run.
    fn placements(&self, cluster: &str) -> impl Iterator<Item = &Placement> {
        let tasks = self.tasks.values().filter(move |task| {
            task.cluster_name == cluster && task.last_status != LastStatus::Stopped
        });
        let services = self
            .services
            .values()
            .filter(move |service| service.cluster_name == cluster && service.is_active());
        let deployments = services.flat_map(|service| &service.deployments);
        tasks
            .map(|task| &task.placement)
            .chain(deployments.map(|deployment| &deployment.placement))
    }

    fn describe_everything(&self, cluster: &str) -> Result<Value, ApiError> {
        let cluster = self.cluster(Some(cluster))?;
        let include = EVERYTHING.map(ToOwned::to_owned);
        Ok(json!({"cluster": self.describe_cluster(cluster, &include)}))
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
        let mut state = self.lock();
        // Creating a cluster that exists answers the one that is there.
        if !state.clusters.get(&name).is_some_and(|known| known.active) {
            let mut settings = match request {
                Value::Object(settings) => settings,
                _ => Object::new(),
            };
            settings.remove("clusterName");
            settings.remove("tags");
            validate_cluster(&settings)?;
            let cluster = Cluster {
                arn: self.inner.names.cluster(&name),
                name: name.clone(),
                active: true,
                tags: parsed.tags,
                settings,
            };
            state.clusters.insert(name.clone(), cluster);
        }
        state.describe_everything(&name)
    }

    pub(super) fn put_cluster_capacity_providers(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: PutClusterCapacityProviders = parse(&request)?;
        let mut state = self.lock();
        let name = state.cluster(Some(&parsed.cluster))?.name.clone();
        let mut providers = Object::new();
        let mut set = |name: &str, value: Value| providers.insert(name.to_owned(), value);
        set("capacityProviders", json!(parsed.capacity_providers));
        set(
            "defaultCapacityProviderStrategy",
            json!(parsed.default_capacity_provider_strategy),
        );
        validate_cluster(&providers)?;
        let mut placements = state.placements(&name);
        if placements.any(|placement| validate_providers(placement, &providers).is_err()) {
            return Err(ApiError::client(
                "ResourceInUseException",
                "The specified capacity provider is in use and cannot be removed.",
            ));
        }
        drop(placements);
        if let Some(cluster) = state.clusters.get_mut(&name) {
            cluster.settings.append(&mut providers);
        }
        state.describe_everything(&name)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecs::in_process::{CLUSTER, create_service, ecs, register, run_task};

    fn put(providers: &[&str], default: &[&str]) -> Value {
        let default: Vec<Value> = default
            .iter()
            .map(|name| json!({"capacityProvider": name, "weight": 1}))
            .collect();
        json!({
            "cluster": CLUSTER,
            "capacityProviders": providers,
            "defaultCapacityProviderStrategy": default,
        })
    }

    fn strategy(provider: &str) -> Value {
        json!([{"capacityProvider": provider, "weight": 1}])
    }

    #[tokio::test]
    async fn a_cluster_has_the_capacity_providers_that_it_was_given_last() {
        let ecs = ecs(1.0).await;
        let request = put(&["FARGATE_SPOT"], &["FARGATE_SPOT"]);
        let answer = ecs.call("PutClusterCapacityProviders", request).await;
        assert_eq!(
            answer.unwrap()["cluster"]["capacityProviders"],
            json!(["FARGATE_SPOT"])
        );
        let request = json!({"clusters": [CLUSTER]});
        let answer = ecs.call("DescribeClusters", request).await.unwrap();
        let cluster = &answer["clusters"][0];
        assert_eq!(cluster["capacityProviders"], json!(["FARGATE_SPOT"]));
        assert_eq!(
            cluster["defaultCapacityProviderStrategy"],
            strategy("FARGATE_SPOT")
        );
        // Whoever says nothing gets the default.
        register(&ecs, "web").await;
        let mut request = run_task("web", &json!({}));
        request.as_object_mut().unwrap().remove("launchType");
        let answer = ecs.call("RunTask", request).await.unwrap();
        assert_eq!(answer["tasks"][0]["capacityProviderName"], "FARGATE_SPOT");
    }

    #[tokio::test]
    async fn a_cluster_gets_no_capacity_provider_that_there_is_not_and_no_default_that_it_lacks() {
        let ecs = ecs(1.0).await;
        for (providers, default, problem) in [
            (vec!["spot"], vec![], "'spot' was not found"),
            (vec!["FARGATE"], vec!["FARGATE_SPOT"], "not associated"),
        ] {
            let request = put(&providers, &default);
            let refused = ecs
                .call("PutClusterCapacityProviders", request.clone())
                .await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.name, "InvalidParameterException");
            assert!(refused.message.contains(problem), "{refused}");
            let mut request = request;
            request["clusterName"] = json!("other");
            let refused = ecs.call("CreateCluster", request).await.unwrap_err();
            assert!(refused.message.contains(problem), "{refused}");
        }
    }

    #[tokio::test]
    async fn nothing_runs_on_a_capacity_provider_that_its_cluster_lacks() {
        let ecs = ecs(1.0).await;
        register(&ecs, "web").await;
        create_service(&ecs, &json!({"desiredCount": 0})).await;
        let request = put(&["FARGATE"], &[]);
        ecs.call("PutClusterCapacityProviders", request)
            .await
            .unwrap();
        let spot = json!({"capacityProviderStrategy": strategy("FARGATE_SPOT")});
        let mut run = run_task("web", &spot);
        run.as_object_mut().unwrap().remove("launchType");
        let mut create = run.clone();
        create["serviceName"] = json!("spot");
        create["desiredCount"] = json!(0);
        let mut update = spot.clone();
        update["cluster"] = json!(CLUSTER);
        update["service"] = json!("web");
        for (operation, request) in [
            ("RunTask", run),
            ("CreateService", create),
            ("UpdateService", update),
        ] {
            let refused = ecs.call(operation, request.clone()).await.unwrap_err();
            assert_eq!(refused.name, "InvalidParameterException", "{operation}");
            assert!(refused.message.contains("not associated"), "{refused}");
            let mut request = request;
            request["capacityProviderStrategy"] = strategy("FARGATE");
            let answer = ecs.call(operation, request).await;
            assert!(answer.is_ok(), "{operation}: {answer:?}");
        }
        let refused = ecs.call("PutClusterCapacityProviders", put(&[], &[])).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.name, "ResourceInUseException");
    }
}
