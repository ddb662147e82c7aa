//! The events of ECS for EventBridge.
//!
//! They are found by comparison: whoever has changed a task or a service lets it be announced,
//! and what differs from what was announced last becomes events. Only a deployment keeps its
//! changes until then, for it can be rolled back to and be completed again between two looks.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html>

use std::collections::HashMap;

use serde_json::{Value, json};

use super::control_plane::Ecs;
use crate::ecs::model::capacity;
use crate::ecs::model::deployments::{Rollout, RolloutChange};
use crate::ecs::model::hooks::HookStatus;
use crate::ecs::model::service::Service;
use crate::ecs::model::state::State;
use crate::ecs::model::task::{AnnouncedTask, Task, TaskState};
use crate::ecs::model::values::{Object, now, timestamp};
use crate::event_bus::Event;

const TASK_STATE_CHANGE: &str = "ECS Task State Change";
const DEPLOYMENT_STATE_CHANGE: &str = "ECS Deployment State Change";
const SERVICE_ACTION: &str = "ECS Service Action";
const HOOK_STATE_CHANGE: &str = "ECS Hook State Change";

impl Ecs {
    /// Announces a task state change, if there is one.
    pub(in crate::ecs) fn announce_task(&self, task: &mut Task) {
        let state = TaskState::of(task);
        if task.announced.state.as_ref() == Some(&state) {
            return;
        }
        // Consumers take events with a version that they have seen for duplicates.
        task.version = task.version.max(task.announced.version + 1);
        task.announced = AnnouncedTask {
            state: Some(state),
            version: task.version,
        };
        let detail = task_detail(task.to_json(false), now());
        self.emit(TASK_STATE_CHANGE, &task.arn, Value::Object(detail));
    }

    /// Announces what has happened to a service and its tasks.
    pub(super) fn announce_service(&self, service: &mut Service, state: &mut State) {
        let tasks = state.tasks.values_mut().filter(|task| {
            let owner = task.owner.as_ref();
            owner.is_some_and(|owner| owner.service_arn == service.arn)
        });
        tasks.for_each(|task| self.announce_task(task));
        self.announce_deployments(service);
        self.announce_hooks(service);
        self.announce_actions(service);
    }

    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html>
    ///
    /// The page tells of these events alone, whatever the deployment's strategy. A rollback is
    /// an `SERVICE_DEPLOYMENT_IN_PROGRESS` of the deployment that is returned to.
    pub(super) fn announce_deployments(&self, service: &mut Service) {
        let has_breaker = service
            .history
            .back()
            .is_some_and(|newest| newest.breaker.enable);
        // The oldest deployment first: one that failed before the one that it is rolled back to.
        let mut changes: Vec<(String, RolloutChange)> = Vec::new();
        for deployment in service.deployments.iter_mut().rev() {
            let id = &deployment.id;
            let new = deployment.unannounced.drain(..);
            changes.extend(new.map(|change| (id.clone(), change)));
        }
        changes.sort_by(|(_, a), (_, b)| a.moment.total_cmp(&b.moment));
        for (id, change) in changes {
            let (event_type, event_name) = match change.rollout {
                Rollout::InProgress => ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS"),
                Rollout::Completed => ("INFO", "SERVICE_DEPLOYMENT_COMPLETED"),
                // "This event is sent for services with deployment circuit breaker logic turned
                // on."
                Rollout::Failed if has_breaker => ("ERROR", "SERVICE_DEPLOYMENT_FAILED"),
                Rollout::Failed => continue,
            };
            let detail = json!({
                "eventType": event_type,
                "eventName": event_name,
                "deploymentId": id,
                "updatedAt": second(change.moment),
                "reason": change.reason,
            });
            self.emit(DEPLOYMENT_STATE_CHANGE, &service.arn, detail);
        }
    }

    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_hook_state_change_events.html>
    ///
    /// The documented example has the type INFO; that failures have ERROR is by analogy with the
    /// other events of ECS.
    pub(super) fn announce_hooks(&self, service: &mut Service) {
        let Some(deployment) = service.history.back() else {
            return;
        };
        let mut hooks = HashMap::new();
        for hook in &deployment.hooks {
            hooks.insert(hook.hook_id.clone(), hook.status);
            if service.announced.hooks.get(&hook.hook_id) == Some(&hook.status) {
                continue;
            }
            let event_type = match hook.status {
                HookStatus::AwaitingAction | HookStatus::InProgress | HookStatus::Succeeded => {
                    "INFO"
                }
                HookStatus::Failed | HookStatus::TimedOut => "ERROR",
            };
            let detail = json!({
                "eventType": event_type,
                "eventName": format!("HOOK_{}", hook.status.as_str()),
                "hookId": hook.hook_id,
                "hookType": hook.target_type,
                "expiresAt": second(hook.expires_at),
                "lifecycleStage": hook.stage.as_str(),
                "clusterArn": service.cluster_arn,
                "serviceArn": service.arn,
                "serviceDeploymentArn": deployment.arn,
                "updatedAt": millisecond(now()),
            });
            self.emit(HOOK_STATE_CHANGE, &deployment.arn, detail);
        }
        service.announced.hooks = hooks;
    }

    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_events.html>
    fn announce_actions(&self, service: &mut Service) {
        let announced = service.announced.newest_event.as_deref();
        // They are kept with the newest first.
        let new: Vec<&Value> = service
            .events
            .iter()
            .take_while(|event| event["id"].as_str() != announced)
            .collect();
        for event in new.iter().rev() {
            if let Some(detail) = self.action(service, event) {
                self.emit(SERVICE_ACTION, &service.arn, detail);
            }
        }
        let newest = new.first().and_then(|event| event["id"].as_str());
        if let Some(newest) = newest.map(str::to_owned) {
            service.announced.newest_event = Some(newest);
        }
    }

    /// The service action that one of a service's own events tells of.
    fn action(&self, service: &Service, event: &Value) -> Option<Value> {
        let message = event["message"].as_str()?;
        let (_, event_type, event_name) = ACTIONS
            .into_iter()
            .find(|(words, ..)| message.contains(words))?;
        let mut detail = json!({
            "eventType": event_type,
            "eventName": event_name,
            "clusterArn": service.cluster_arn,
            "createdAt": millisecond(event["createdAt"].as_f64()?),
        });
        if event_name == PLACEMENT_FAILURE {
            detail["reason"] = json!(placement_reason(message));
            let placement = service.deployments.first().map(|first| &first.placement);
            let provider = placement.and_then(|placement| placement.capacity_provider());
            if let Some(provider) = provider {
                let arn = self.inner.names.capacity_provider(provider);
                detail["capacityProviderArns"] = json!([arn]);
            }
        }
        Some(detail)
    }

    fn emit(&self, detail_type: &'static str, resource: &str, detail: Value) {
        let settings = &self.inner.settings;
        settings.event_bus.put(Event {
            account: settings.account_id.clone(),
            region: settings.region.clone(),
            source: "aws.ecs",
            detail_type,
            resources: vec![resource.to_owned()],
            detail,
            moment: now(),
        });
    }
}

const PLACEMENT_FAILURE: &str = "SERVICE_TASK_PLACEMENT_FAILURE";

/// Words of a service's own events, and the service action they are: its type and its name.
const ACTIONS: [(&str, &str, &str); 5] = [
    ("has reached a steady state", "INFO", "SERVICE_STEADY_STATE"),
    (" running tasks: ", "INFO", "TASKS_STOPPED"),
    (
        "deployment completed",
        "INFO",
        "SERVICE_DEPLOYMENT_COMPLETED",
    ),
    (
        "is unable to consistently start tasks successfully",
        "WARN",
        "SERVICE_TASK_START_IMPAIRED",
    ),
    ("was unable to place a task", "ERROR", PLACEMENT_FAILURE),
];

/// `RESOURCE:FARGATE` is the reason of the documented example, where Fargate has no capacity;
/// for other reasons there is none, and the message's own is given.
fn placement_reason(message: &str) -> &str {
    if message.contains(capacity::UNAVAILABLE) {
        return "RESOURCE:FARGATE";
    }
    let reason = message.split_once("Reason: ").map(|(_, reason)| reason);
    let sentence = reason.and_then(|reason| reason.split('.').next());
    sentence.unwrap_or(message)
}

/// A task's description as its event has it: times are texts, tags are left out, the attachment
/// of a network interface has the type `eni`, and every container has overrides, if empty ones.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html>
fn task_detail(description: Value, updated_at: f64) -> Object {
    let Value::Object(mut detail) = description else {
        return Object::new();
    };
    for name in ["inferenceAccelerators", "tags"] {
        detail.remove(name);
    }
    for (name, value) in &mut detail {
        if name.ends_with("At")
            && let Some(moment) = value.as_f64()
        {
            *value = json!(millisecond(moment));
        }
    }
    detail.insert("updatedAt".to_owned(), json!(millisecond(updated_at)));
    for attachment in elements(detail.get_mut("attachments")) {
        if attachment["type"] == "ElasticNetworkInterface" {
            attachment["type"] = json!("eni");
        }
    }
    let names: Vec<Value> = elements(detail.get_mut("containers"))
        .iter()
        .map(|container| container["name"].clone())
        .collect();
    if let Some(overrides) = detail.get_mut("overrides").and_then(Value::as_object_mut) {
        overrides.remove("inferenceAcceleratorOverrides");
        let containers = overrides
            .entry("containerOverrides")
            .or_insert_with(|| json!([]));
        if let Some(containers) = containers.as_array_mut() {
            let missing = names
                .into_iter()
                .filter(|name| !containers.iter().any(|one| one["name"] == *name))
                .map(|name| json!({"name": name}));
            containers.extend(missing.collect::<Vec<_>>());
        }
    }
    detail
}

fn elements(list: Option<&mut Value>) -> &mut [Value] {
    list.and_then(Value::as_array_mut)
        .map(Vec::as_mut_slice)
        .unwrap_or_default()
}

/// `2020-01-23T17:57:34.402Z`
fn millisecond(moment: f64) -> String {
    timestamp(moment)
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

/// `2020-05-23T11:11:11Z`
fn second(moment: f64) -> String {
    timestamp(moment).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecs::in_process::{CLUSTER, ecs_with_events, network, register, run_task};
    use crate::event_bus::tests::Put;

    async fn create_service(ecs: &Ecs, more: &Value) {
        let mut request = json!({
            "cluster": CLUSTER,
            "serviceName": "web",
            "taskDefinition": "web",
            "desiredCount": 1,
            "networkConfiguration": network(),
        });
        for (name, value) in more.as_object().unwrap() {
            request[name] = value.clone();
        }
        ecs.call("CreateService", request).await.unwrap();
    }

    fn breaker(enable: bool) -> Value {
        json!({
            "launchType": "FARGATE",
            "deploymentConfiguration": {
                "deploymentCircuitBreaker": {"enable": enable, "rollback": false},
            },
        })
    }

    /// The next event of a detail type.
    async fn next(events: &mut Put, detail_type: &str) -> Event {
        loop {
            let event = events.next().await;
            if event.detail_type == detail_type {
                return event;
            }
        }
    }

    #[tokio::test]
    async fn every_state_of_a_task_is_an_event_with_a_version_of_its_own() {
        let (ecs, mut events) = ecs_with_events(1000.0).await;
        register(&ecs, "web").await;
        let answer = ecs.call("RunTask", run_task("web", &json!({}))).await;
        let task = answer.unwrap()["tasks"][0].clone();
        let (mut states, mut version) = (Vec::new(), 0);
        while states.last() != Some(&("STOPPED".to_owned(), "STOPPED".to_owned())) {
            let event = next(&mut events, TASK_STATE_CHANGE).await;
            assert_eq!(json!(event.resources), json!([task["taskArn"]]));
            let detail = event.detail;
            assert!(detail["version"].as_u64().unwrap() > version, "{detail}");
            version = detail["version"].as_u64().unwrap();
            let text = |name: &str| detail[name].as_str().unwrap().to_owned();
            states.push((text("lastStatus"), text("desiredStatus")));
        }
        let states: Vec<(&str, &str)> = states
            .iter()
            .map(|(last, desired)| (last.as_str(), desired.as_str()))
            .collect();
        assert_eq!(states[0], ("PROVISIONING", "RUNNING"));
        assert_eq!(states[1], ("PENDING", "RUNNING"));
        assert_eq!(states[2], ("ACTIVATING", "RUNNING"));
        // The image cannot be pulled.
        assert_eq!(states[3], ("ACTIVATING", "STOPPED"));
        assert!(
            states.contains(&("DEPROVISIONING", "STOPPED")),
            "{states:?}"
        );
    }

    #[tokio::test]
    async fn a_task_that_is_asked_to_stop_is_an_event_before_it_does() {
        let (ecs, mut events) = ecs_with_events(1.0).await;
        register(&ecs, "web").await;
        let answer = ecs.call("RunTask", run_task("web", &json!({}))).await;
        let task = answer.unwrap()["tasks"][0]["taskArn"].clone();
        let request = json!({"cluster": CLUSTER, "task": task, "reason": "enough"});
        let stopped = ecs.call("StopTask", request).await.unwrap();
        next(&mut events, TASK_STATE_CHANGE).await;
        let detail = next(&mut events, TASK_STATE_CHANGE).await.detail;
        assert_eq!(detail["lastStatus"], "PROVISIONING");
        assert_eq!(detail["desiredStatus"], "STOPPED");
        assert_eq!(detail["stopCode"], "UserInitiated");
        assert_eq!(detail["stoppedReason"], "enough");
        assert_eq!(detail["version"], stopped["task"]["version"]);
    }

    #[test]
    fn a_task_is_told_as_the_documentation_has_it() {
        let description = json!({
            "createdAt": 1579802254.402,
            "tags": [],
            "inferenceAccelerators": [],
            "attachments": [{"type": "ElasticNetworkInterface"}],
            "containers": [{"name": "log"}, {"name": "web"}],
            "overrides": {
                "containerOverrides": [{"name": "web", "command": ["a"]}],
                "inferenceAcceleratorOverrides": [],
                "cpu": "512",
            },
        });
        assert_eq!(
            Value::Object(task_detail(description, 1579802278.0)),
            json!({
                "createdAt": "2020-01-23T17:57:34.402Z",
                "updatedAt": "2020-01-23T17:57:58.000Z",
                "attachments": [{"type": "eni"}],
                "containers": [{"name": "log"}, {"name": "web"}],
                "overrides": {
                    "containerOverrides": [{"name": "web", "command": ["a"]}, {"name": "log"}],
                    "cpu": "512",
                },
            })
        );
    }

    #[tokio::test]
    async fn a_deployment_whose_circuit_breaker_trips_fails() {
        let (ecs, mut events) = ecs_with_events(1000.0).await;
        register(&ecs, "web").await;
        create_service(&ecs, &breaker(true)).await;
        let started = next(&mut events, DEPLOYMENT_STATE_CHANGE).await;
        assert_eq!(
            started.detail["eventName"],
            "SERVICE_DEPLOYMENT_IN_PROGRESS"
        );
        let id = started.detail["deploymentId"].as_str().unwrap();
        assert!(id.starts_with("ecs-svc/"), "{id}");
        let reason = format!("ECS deployment {id} in progress.");
        assert_eq!(started.detail["reason"], reason);
        let failed = next(&mut events, DEPLOYMENT_STATE_CHANGE).await;
        assert_eq!(failed.resources, started.resources);
        assert!(failed.resources[0].ends_with(":service/tests/web"));
        assert_eq!(failed.detail["eventType"], "ERROR");
        assert_eq!(failed.detail["eventName"], "SERVICE_DEPLOYMENT_FAILED");
        assert_eq!(failed.detail["deploymentId"], id);
    }

    #[tokio::test]
    async fn a_stopped_deployment_without_circuit_breaker_does_not_say_that_it_failed() {
        let (ecs, mut events) = ecs_with_events(1.0).await;
        register(&ecs, "web").await;
        create_service(&ecs, &breaker(false)).await;
        next(&mut events, DEPLOYMENT_STATE_CHANGE).await;
        let list = json!({"cluster": CLUSTER, "service": "web"});
        let list = ecs.call("ListServiceDeployments", list).await.unwrap();
        let arn = list["serviceDeployments"][0]["serviceDeploymentArn"].clone();
        let stop = json!({"serviceDeploymentArn": arn, "stopType": "ABORT"});
        ecs.call("StopServiceDeployment", stop).await.unwrap();
        // A newer deployment, so that there is a next event.
        let update = json!({"cluster": CLUSTER, "service": "web", "forceNewDeployment": true});
        ecs.call("UpdateService", update).await.unwrap();
        let event = next(&mut events, DEPLOYMENT_STATE_CHANGE).await;
        assert_eq!(event.detail["eventName"], "SERVICE_DEPLOYMENT_IN_PROGRESS");
    }

    #[tokio::test]
    async fn a_service_whose_tasks_fail_again_and_again_is_impaired() {
        let (ecs, mut events) = ecs_with_events(1000.0).await;
        register(&ecs, "web").await;
        create_service(&ecs, &breaker(false)).await;
        let event = next(&mut events, SERVICE_ACTION).await;
        assert!(event.resources[0].ends_with(":service/tests/web"));
        assert_eq!(event.detail["eventType"], "WARN");
        assert_eq!(event.detail["eventName"], "SERVICE_TASK_START_IMPAIRED");
        let cluster = event.detail["clusterArn"].as_str().unwrap();
        assert!(cluster.ends_with(":cluster/tests"), "{cluster}");
    }

    #[tokio::test]
    async fn a_service_that_finds_no_capacity_tells_of_the_placement_failure() {
        let (ecs, mut events) = ecs_with_events(1.0).await;
        register(&ecs, "web").await;
        ecs.lack_capacity(CLUSTER, 1);
        let spot = json!({
            "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
        });
        create_service(&ecs, &spot).await;
        let detail = next(&mut events, SERVICE_ACTION).await.detail;
        assert_eq!(detail["eventType"], "ERROR");
        assert_eq!(detail["eventName"], "SERVICE_TASK_PLACEMENT_FAILURE");
        assert_eq!(detail["reason"], "RESOURCE:FARGATE");
        let providers = detail["capacityProviderArns"].as_array().unwrap();
        let arn = "arn:aws:ecs:us-east-1:123456789012:capacity-provider/FARGATE_SPOT";
        assert_eq!(*providers, [json!(arn)]);
    }

    #[tokio::test]
    async fn a_pause_tells_that_it_awaits_action_and_that_it_was_continued() {
        let (ecs, mut events) = ecs_with_events(1.0).await;
        register(&ecs, "web").await;
        let pausing = json!({
            "launchType": "FARGATE",
            "deploymentConfiguration": {
                "strategy": "BLUE_GREEN",
                "bakeTimeInMinutes": 1,
                "lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"]}],
            },
        });
        create_service(&ecs, &pausing).await;
        let waiting = next(&mut events, HOOK_STATE_CHANGE).await;
        let detail = waiting.detail;
        let mut fields: Vec<&str> = detail
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        fields.sort_unstable();
        // https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_hook_state_change_events.html
        let documented = [
            "clusterArn",
            "eventName",
            "eventType",
            "expiresAt",
            "hookId",
            "hookType",
            "lifecycleStage",
            "serviceArn",
            "serviceDeploymentArn",
            "updatedAt",
        ];
        assert_eq!(fields, documented);
        assert_eq!(
            json!(waiting.resources),
            json!([detail["serviceDeploymentArn"]])
        );
        assert_eq!(detail["eventName"], "HOOK_AWAITING_ACTION");
        assert_eq!(detail["eventType"], "INFO");
        assert_eq!(detail["hookType"], "PAUSE");
        assert_eq!(detail["lifecycleStage"], "PRE_SCALE_UP");
        let go_on = json!({
            "serviceDeploymentArn": detail["serviceDeploymentArn"],
            "hookId": detail["hookId"],
        });
        ecs.call("ContinueServiceDeployment", go_on).await.unwrap();
        let done = next(&mut events, HOOK_STATE_CHANGE).await.detail;
        assert_eq!(done["eventName"], "HOOK_SUCCEEDED");
        assert_eq!(done["hookId"], detail["hookId"]);
    }
}
