//! Answers requests: one file for each family of operations.

mod capacity;
mod clusters;
mod deployments;
mod hooks;
mod load_balancers;
mod metadata;
mod request;
mod run_task;
mod services;
mod tags;
mod task_definitions;
mod tasks;

use serde_json::Value;

use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::error::ApiError;

impl Ecs {
    /// Answers one request of the ECS API.
    ///
    /// `operation` is the part of `X-Amz-Target` behind the dot, `request` the JSON body. The
    /// answer is the JSON body; time stamps are seconds since the epoch, as JSON 1.1 has them.
    pub async fn call(&self, operation: &str, request: Value) -> Result<Value, ApiError> {
        match operation {
            "ContinueServiceDeployment" => self.continue_service_deployment(request),
            "CreateCluster" => self.create_cluster(request),
            "CreateService" => self.create_service(request).await,
            "DeleteCluster" => self.delete_cluster(request),
            "DeleteService" => self.delete_service(request),
            "DeregisterTaskDefinition" => self.deregister_task_definition(request),
            "DescribeClusters" => self.describe_clusters(request),
            "DescribeServiceDeployments" => self.describe_service_deployments(request),
            "DescribeServiceRevisions" => self.describe_service_revisions(request),
            "DescribeServices" => self.describe_services(request),
            "DescribeTaskDefinition" => self.describe_task_definition(request),
            "DescribeTasks" => self.describe_tasks(request),
            "ListClusters" => self.list_clusters(request),
            "ListServiceDeployments" => self.list_service_deployments(request),
            "ListServices" => self.list_services(request),
            "ListTagsForResource" => self.list_tags_for_resource(request),
            "ListTaskDefinitions" => self.list_task_definitions(request),
            "ListTasks" => self.list_tasks(request),
            "PutClusterCapacityProviders" => self.put_cluster_capacity_providers(request),
            "RegisterTaskDefinition" => self.register_task_definition(request),
            "RunTask" => self.run_task(request),
            "StopServiceDeployment" => self.stop_service_deployment(request),
            "StopTask" => self.stop_task(request),
            "TagResource" => self.tag_resource(request),
            "UntagResource" => self.untag_resource(request),
            "UpdateService" => self.update_service(request).await,
            _ => Err(ApiError::client(
                "UnknownOperationException",
                format!("The local ECS does not know the operation {operation}."),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::ecs::in_process;

    /// The API reference of each operation names its limit.
    #[tokio::test]
    async fn so_many_things_are_described_at_once_and_no_more() {
        let ecs = in_process::ecs(1.0).await;
        let of_a_kind = |kind: &str| format!("arn:aws:ecs:us-east-1:123456789012:{kind}/tests/x");
        for (operation, list, kind, limit) in [
            ("DescribeTasks", "tasks", "task", 100),
            ("DescribeServices", "services", "service", 10),
            (
                "DescribeServiceDeployments",
                "serviceDeploymentArns",
                "service-deployment",
                20,
            ),
            (
                "DescribeServiceRevisions",
                "serviceRevisionArns",
                "service-revision",
                20,
            ),
        ] {
            let describe = |count: usize| {
                let arns = vec![of_a_kind(kind); count];
                ecs.call(
                    operation,
                    json!({"cluster": in_process::CLUSTER, (list): arns}),
                )
            };
            let answer = describe(limit).await.unwrap();
            assert_eq!(answer["failures"].as_array().unwrap().len(), limit);
            let refused = describe(limit + 1).await.unwrap_err();
            assert_eq!(refused.name, "InvalidParameterException", "{operation}");
        }
    }
}
