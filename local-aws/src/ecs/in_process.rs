//! An ECS without the rest of AWS, for tests of what moto has no part in.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ecs, Settings};
use crate::client::{ACCOUNT, REGION, sdk_config};
use crate::clock::Clock;
use crate::event_bus::tests::Put;
use crate::images::ImageStore;
use crate::lambda::LambdaService;
use crate::load_balancer::LoadBalancers;

pub(super) const CLUSTER: &str = "tests";

/// An ECS with one cluster, [`CLUSTER`]. Whatever it asks of another service fails.
pub(crate) async fn ecs(speed: f64) -> Ecs {
    ecs_with_events(speed).await.0
}

/// The same, and the events that it emits.
pub(super) async fn ecs_with_events(speed: f64) -> (Ecs, Put) {
    let (event_bus, events) = Put::bus();
    let endpoint = "http://127.0.0.1:9";
    let config = sdk_config(endpoint);
    let clock = Clock::new(speed);
    let ecs = Ecs::new(Settings {
        account_id: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        endpoint_url: endpoint.to_owned(),
        clock,
        images: ImageStore::new(std::env::temp_dir(), aws_sdk_ecr::Client::new(&config)),
        load_balancers: LoadBalancers::new(
            clock,
            aws_sdk_elasticloadbalancingv2::Client::new(&config),
        ),
        logs: aws_sdk_cloudwatchlogs::Client::new(&config),
        secrets_manager: aws_sdk_secretsmanager::Client::new(&config),
        ssm: aws_sdk_ssm::Client::new(&config),
        event_bus,
        lambda: Arc::new(LambdaService::new(
            &config,
            endpoint,
            &std::env::temp_dir(),
            clock,
            Arc::default(),
        )),
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
    });
    let cluster = json!({
        "clusterName": CLUSTER, "capacityProviders": ["FARGATE", "FARGATE_SPOT"]
    });
    let created = ecs.call("CreateCluster", cluster);
    created.await.unwrap();
    (ecs, events)
}

/// A task definition of one container whose image nobody can pull; `more` adds to the container.
pub(super) fn definition(family: &str, more: &Value) -> Value {
    let mut container = json!({"name": "web", "image": "no reference"});
    merge(&mut container, more);
    json!({
        "family": family,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [container],
    })
}

/// Registers such a task definition.
pub(super) async fn register(ecs: &Ecs, family: &str) {
    let definition = definition(family, &json!({}));
    ecs.call("RegisterTaskDefinition", definition)
        .await
        .unwrap();
}

/// A request for tasks of a family; `more` adds to it.
pub(super) fn run_task(family: &str, more: &Value) -> Value {
    let mut request = json!({
        "cluster": CLUSTER,
        "taskDefinition": family,
        "launchType": "FARGATE",
        "networkConfiguration": network(),
    });
    merge(&mut request, more);
    request
}

/// Creates the service `web` of the family `web`; `more` adds to the request.
pub(super) async fn create_service(ecs: &Ecs, more: &Value) {
    let mut request = json!({
        "cluster": CLUSTER,
        "serviceName": "web",
        "taskDefinition": "web",
        "desiredCount": 1,
        "launchType": "FARGATE",
        "networkConfiguration": network(),
    });
    merge(&mut request, more);
    ecs.call("CreateService", request).await.unwrap();
}

/// The newest deployment of that service, as it is described.
pub(super) async fn newest_deployment(ecs: &Ecs) -> Value {
    let request = json!({"cluster": CLUSTER, "service": "web"});
    let listed = ecs.call("ListServiceDeployments", request).await.unwrap();
    let arn = &listed["serviceDeployments"][0]["serviceDeploymentArn"];
    let request = json!({"serviceDeploymentArns": [arn]});
    let answer = ecs.call("DescribeServiceDeployments", request).await;
    answer.unwrap()["serviceDeployments"][0].take()
}

fn merge(object: &mut Value, more: &Value) {
    let (Value::Object(object), Value::Object(more)) = (object, more) else {
        panic!("two objects are merged");
    };
    let given = more.iter().filter(|(_, value)| !value.is_null());
    object.extend(given.map(|(name, value)| (name.clone(), value.clone())));
}

pub(super) fn network() -> Value {
    json!({"awsvpcConfiguration": {"subnets": ["subnet-12345678"]}})
}
