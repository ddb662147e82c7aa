//! Letting capacity be missing, and asking how much still is.

use crate::ecs::life::control_plane::Ecs;

impl Ecs {
    /// Lets the next `tasks` tasks of a cluster (named without its ARN) find no capacity, be they
    /// RunTask's or a service's. Adds to what is missing already.
    ///
    /// RunTask answers such a task as a failure; a service says so in its events, counts it as a
    /// failed task, and tries again.
    pub fn lack_capacity(&self, cluster: &str, tasks: usize) {
        let mut state = self.lock();
        *state.lacking.entry(cluster.to_owned()).or_default() += tasks;
    }

    /// How many tasks of a cluster will still find no capacity.
    pub fn lacking_capacity(&self, cluster: &str) -> usize {
        self.lock().lacking.get(cluster).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::ecs::in_process::{CLUSTER, ecs, network, register, run_task};
    use crate::ecs::model::capacity::UNAVAILABLE;

    #[tokio::test]
    async fn run_task_answers_what_finds_no_capacity_as_failures() {
        let ecs = ecs(1.0).await;
        register(&ecs, "web").await;
        ecs.lack_capacity(CLUSTER, 2);
        let request = run_task("web", &json!({"count": 3, "clientToken": "again"}));
        let answer = ecs.call("RunTask", request).await.unwrap();
        assert_eq!(answer["tasks"].as_array().unwrap().len(), 1);
        let failure = json!({"reason": UNAVAILABLE});
        assert_eq!(answer["failures"], json!([failure, failure]));
        assert_eq!(ecs.lacking_capacity(CLUSTER), 0);
    }

    #[tokio::test]
    async fn a_client_token_that_started_nothing_can_be_used_again() {
        let ecs = ecs(1.0).await;
        register(&ecs, "web").await;
        ecs.lack_capacity(CLUSTER, 1);
        let request = run_task("web", &json!({"clientToken": "again"}));
        let first = ecs.call("RunTask", request.clone()).await.unwrap();
        assert_eq!(first["tasks"], json!([]));
        let second = ecs.call("RunTask", request).await.unwrap();
        assert_eq!(second["tasks"].as_array().unwrap().len(), 1);
        assert_eq!(second["failures"], json!([]));
    }

    #[tokio::test]
    async fn another_cluster_has_capacity() {
        let ecs = ecs(1.0).await;
        register(&ecs, "web").await;
        ecs.lack_capacity("elsewhere", 1);
        let request = run_task("web", &json!({}));
        let answer = ecs.call("RunTask", request).await.unwrap();
        assert_eq!(answer["failures"], json!([]));
        assert_eq!(ecs.lacking_capacity("elsewhere"), 1);
    }

    #[tokio::test]
    async fn a_service_that_finds_no_capacity_says_so_and_tries_again() {
        let ecs = ecs(1.0).await;
        register(&ecs, "web").await;
        ecs.lack_capacity(CLUSTER, 2);
        let request = json!({
            "cluster": CLUSTER,
            "serviceName": "web",
            "taskDefinition": "web",
            "desiredCount": 2,
            "launchType": "FARGATE",
            "networkConfiguration": network(),
        });
        ecs.call("CreateService", request).await.unwrap();
        let describe = json!({"cluster": CLUSTER, "services": ["web"]});
        let service = loop {
            let answer = ecs.call("DescribeServices", describe.clone());
            let service = answer.await.unwrap()["services"][0].clone();
            if service["pendingCount"] == json!(2) {
                break service;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        let events: Vec<&str> = service["events"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|event: &Value| event["message"].as_str())
            .collect();
        let unable = format!("(service web) was unable to place a task. Reason: {UNAVAILABLE}.");
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(events[0].starts_with("(service web) has started 2 tasks"));
        assert!(events[1].starts_with(&unable), "{}", events[1]);
        assert_eq!(service["deployments"][0]["failedTasks"], json!(2));
    }
}
