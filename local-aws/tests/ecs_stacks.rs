//! `AWS::ECS::*` in stacks: made by the local ECS, awaited, rolled back and deleted.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{Parameter, Stack};
use serde_json::{Value, json};
use support::{eventually, push, settled, shared};

fn template() -> Value {
    json!({
        "Parameters": {"Image": {"Type": "String"}},
        "Resources": {
            "Cluster": {"Type": "AWS::ECS::Cluster"},
            "TaskDefinition": {
                "Type": "AWS::ECS::TaskDefinition",
                "Properties": {
                    "RequiresCompatibilities": ["FARGATE"],
                    "NetworkMode": "awsvpc",
                    "Cpu": 256,
                    "Memory": 512,
                    "ExecutionRoleArn": support::ROLE,
                    "ContainerDefinitions": [{
                        "Name": "web",
                        "Image": {"Ref": "Image"},
                        "DockerLabels": {"Some.Label": "kept"},
                        "Environment": [{"Name": "PORT", "Value": 3000}],
                    }],
                },
            },
            "Service": {
                "Type": "AWS::ECS::Service",
                "Properties": {
                    "Cluster": {"Ref": "Cluster"},
                    "LaunchType": "FARGATE",
                    "TaskDefinition": {"Ref": "TaskDefinition"},
                    "DesiredCount": "1",
                    "DeploymentConfiguration": {
                        "DeploymentCircuitBreaker": {"Enable": true, "Rollback": true},
                    },
                    "NetworkConfiguration": {
                        "AwsvpcConfiguration": {"Subnets": ["subnet-1"]},
                    },
                },
            },
        },
        "Outputs": {
            "Cluster": {"Value": {"Ref": "Cluster"}},
            "Service": {"Value": {"Ref": "Service"}},
            "Name": {"Value": {"Fn::GetAtt": ["Service", "Name"]}},
            "TaskDefinition": {"Value": {"Ref": "TaskDefinition"}},
        },
    })
}

fn image(uri: &str) -> Parameter {
    let parameter = Parameter::builder().parameter_key("Image");
    parameter.parameter_value(uri).build()
}

fn output<'a>(stack: &'a Stack, key: &str) -> &'a str {
    let mut outputs = stack.outputs().iter();
    let found = outputs.find(|output| output.output_key() == Some(key));
    found.unwrap().output_value().unwrap()
}

#[tokio::test]
async fn a_service_is_created_updated_rolled_back_and_deleted_with_its_stack() {
    let aws = support::start().await;
    let config = aws.sdk_config();
    let (client, ecs) = (Client::new(&config), aws_sdk_ecs::Client::new(&config));
    let good = push(&aws, "app", "v1", "exec sleep 1000").await;
    let better = push(&aws, "app", "v2", "exec sleep 1001").await;
    let bad = push(&aws, "app", "v3", "exit 1").await;

    let request = client.create_stack().stack_name("app");
    let request = request.template_body(template().to_string());
    request.parameters(image(&good)).send().await.unwrap();
    let stack = settled(&client, "app").await;
    assert_eq!(stack.stack_status().unwrap().as_str(), "CREATE_COMPLETE");
    let (cluster, service) = (output(&stack, "Cluster"), output(&stack, "Service"));
    let (cluster, service) = (cluster.to_owned(), service.to_owned());
    assert!(service.ends_with(output(&stack, "Name")), "{service}");
    let describe = async || {
        let request = ecs.describe_services().cluster(&cluster);
        let answer = request.services(&service).send().await.unwrap();
        answer.services()[0].clone()
    };
    assert_eq!(describe().await.running_count(), 1);
    let definition = ecs.describe_task_definition();
    let definition = definition.task_definition(output(&stack, "TaskDefinition"));
    let definition = definition.send().await.unwrap();
    let container = &definition
        .task_definition()
        .unwrap()
        .container_definitions()[0];
    assert_eq!(container.docker_labels().unwrap()["Some.Label"], "kept");
    assert_eq!(container.environment()[0].value(), Some("3000"));

    let update = async |uri: &str| {
        let request = client.update_stack().stack_name("app");
        let request = request.template_body(template().to_string());
        request.parameters(image(uri)).send().await.unwrap();
        settled(&client, "app").await
    };
    let stack = update(&better).await;
    assert_eq!(stack.stack_status().unwrap().as_str(), "UPDATE_COMPLETE");
    let definition = output(&stack, "TaskDefinition").to_owned();
    assert_eq!(
        describe().await.task_definition(),
        Some(definition.as_str())
    );

    let stack = update(&bad).await;
    let status = stack.stack_status().unwrap().as_str();
    assert_eq!(status, "UPDATE_ROLLBACK_COMPLETE");
    assert_eq!(output(&stack, "TaskDefinition"), definition);
    let described = describe().await;
    assert_eq!(described.task_definition(), Some(definition.as_str()));
    assert_eq!(described.running_count(), 1);
    let events = client.describe_stack_events().stack_name("app");
    let events = events.send().await.unwrap();
    let reasons: Vec<_> = events
        .stack_events()
        .iter()
        .filter_map(|event| event.resource_status_reason())
        .collect();
    let circuit_breaker = reasons.iter().any(|it| it.contains("Circuit Breaker"));
    assert!(circuit_breaker, "{reasons:?}");

    client
        .delete_stack()
        .stack_name("app")
        .send()
        .await
        .unwrap();
    eventually(async || {
        let stacks = client.describe_stacks().send().await.unwrap();
        stacks.stacks().is_empty().then_some(())
    })
    .await;
    let clusters = ecs.list_clusters().send().await.unwrap();
    assert_eq!(clusters.cluster_arns(), [] as [String; 0]);
    aws.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_service_that_never_becomes_steady_fails_its_stack() {
    let aws = shared().await;
    let client = Client::new(&aws.sdk_config());
    let bad = push(aws, "broken", "v1", "exit 1").await;
    let request = client.create_stack().stack_name("broken");
    let request = request.template_body(template().to_string());
    request.parameters(image(&bad)).send().await.unwrap();
    let stack = settled(&client, "broken").await;
    let status = stack.stack_status().unwrap().as_str();
    assert_eq!(status, "ROLLBACK_COMPLETE");
}

#[tokio::test]
async fn a_stack_waits_until_a_blue_green_deployment_has_baked_and_fails_when_it_is_rolled_back() {
    let aws = shared().await;
    let config = aws.sdk_config();
    let (client, ecs) = (Client::new(&config), aws_sdk_ecs::Client::new(&config));
    let mut template = template();
    template["Resources"]["Service"]["Properties"]["DeploymentConfiguration"] = json!({
        "Strategy": "BLUE_GREEN",
        "BakeTimeInMinutes": 1,
        "DeploymentCircuitBreaker": {"Enable": true, "Rollback": true},
    });
    let template = template.to_string();
    let good = push(aws, "blue-green", "v1", "exec sleep 1000").await;
    let better = push(aws, "blue-green", "v2", "exec sleep 1001").await;
    let bad = push(aws, "blue-green", "v3", "exit 1").await;
    let request = client.create_stack().stack_name("blue-green");
    let request = request.template_body(&template);
    request.parameters(image(&good)).send().await.unwrap();
    let stack = settled(&client, "blue-green").await;
    assert_eq!(stack.stack_status().unwrap().as_str(), "CREATE_COMPLETE");
    let (cluster, service) = (output(&stack, "Cluster"), output(&stack, "Service"));
    let newest = async || {
        let request = ecs.list_service_deployments().cluster(cluster);
        let answer = request.service(service).send().await.unwrap();
        let newest = &answer.service_deployments()[0];
        newest.status().unwrap().as_str().to_owned()
    };
    let update = async |uri: &str| {
        let request = client.update_stack().stack_name("blue-green");
        let request = request.template_body(&template);
        request.parameters(image(uri)).send().await.unwrap();
        let stack = settled(&client, "blue-green").await;
        stack.stack_status().unwrap().as_str().to_owned()
    };
    assert_eq!(update(&better).await, "UPDATE_COMPLETE");
    assert_eq!(newest().await, "SUCCESSFUL");
    assert_eq!(update(&bad).await, "UPDATE_ROLLBACK_COMPLETE");
    let described = ecs.describe_services().cluster(cluster).services(service);
    let described = described.send().await.unwrap();
    let service = &described.services()[0];
    assert_eq!(
        (service.deployments().len(), service.running_count()),
        (1, 1)
    );
}
