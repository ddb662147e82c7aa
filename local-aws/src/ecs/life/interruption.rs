//! Tasks that AWS ends on demand: nothing takes this machine away from them by itself.

use super::control_plane::Ecs;
use crate::ecs::model::task::{Interruption, LastStatus, StopCode};

impl Ecs {
    /// Ends a task as AWS does: it gets SIGTERM, and a service replaces it without counting it as
    /// failed. False where no task of that ARN runs.
    pub fn interrupt(&self, task_arn: &str, interruption: Interruption, reason: &str) -> bool {
        let mut state = self.lock();
        let mut tasks = state.tasks.values_mut();
        let Some(task) = tasks.find(|task| task.arn == task_arn) else {
            return false;
        };
        if task.last_status == LastStatus::Stopped {
            return false;
        }
        task.request_stop(StopCode::Interrupted(interruption), reason);
        self.announce_task(task);
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ecs::in_process;

    /// The service's only task that ECS wants to run, once there is one.
    async fn wanted(ecs: &Ecs) -> String {
        loop {
            let request = json!({"cluster": in_process::CLUSTER, "serviceName": "web"});
            let answer = ecs.call("ListTasks", request).await.unwrap();
            if let Some(arn) = answer["taskArns"][0].as_str() {
                return arn.to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn described(ecs: &Ecs, operation: &str, list: &str, name: &str) -> Value {
        let request = json!({"cluster": in_process::CLUSTER, (list): [name]});
        ecs.call(operation, request).await.unwrap()[list][0].take()
    }

    #[tokio::test]
    async fn a_service_replaces_an_interrupted_task_and_does_not_count_it_as_failed() {
        let ecs = in_process::ecs(1.0).await;
        in_process::register(&ecs, "web").await;
        in_process::create_service(&ecs, &json!({})).await;
        for interruption in [
            Interruption::SpotInterruption,
            Interruption::TerminationNotice,
            Interruption::InfrastructureHealth,
        ] {
            let arn = wanted(&ecs).await;
            assert!(ecs.interrupt(&arn, interruption, "AWS says so"));
            let task = described(&ecs, "DescribeTasks", "tasks", &arn).await;
            assert_eq!(task["desiredStatus"], "STOPPED");
            assert_eq!(task["stopCode"], interruption.as_str());
            assert_eq!(task["stoppedReason"], "AWS says so");
            assert_ne!(wanted(&ecs).await, arn);
        }
        let service = described(&ecs, "DescribeServices", "services", "web").await;
        assert_eq!(service["deployments"][0]["failedTasks"], 0);
    }
}
