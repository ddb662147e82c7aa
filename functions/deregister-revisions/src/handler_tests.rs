use super::*;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecs::operation::deregister_task_definition::DeregisterTaskDefinitionOutput;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionOutput;
use aws_sdk_ecs::types::{Deployment, Service, Tag, TaskDefinition};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::{Diagnostic, diagnostic};
use serde_json::json;

const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";
const SERVICE: &str = "arn:aws:ecs:us-east-1:123456789012:service/demo/web";
const EXECUTION: &str = "arn:aws:states:us-east-1:123456789012:execution:deploy:demo-v2-1";

fn event() -> Value {
    json!({
        "release": {
            "stack": "demo", "action": "deploy", "repository": "demo", "record": "release#t#demo-v2-1",
            "order": "o", "startedAt": "2026-01-31T12:00:00.000Z", "startedBy": "a person",
            "force": false, "ignoreAlarms": false
        },
        "execution": {"id": EXECUTION, "redrives": 0},
        "services": [{
            "cluster": CLUSTER, "service": SERVICE, "taskDefinition": "web:7", "containers": ["web"]
        }]
    })
}

fn call() -> LambdaCall {
    LambdaCall {
        id: "this call".to_owned(),
        until: 4_000_000_000_000,
    }
}

fn table(holder: &'static str) -> Table {
    let turn = mock!(aws_sdk_dynamodb::Client::get_item).then_output(move || {
        GetItemOutput::builder()
            .item("holder", AttributeValue::S(holder.to_owned()))
            .item("heldRedrives", AttributeValue::N("0".to_owned()))
            .build()
    });
    let written = mock!(aws_sdk_dynamodb::Client::transact_write_items)
        .then_output(|| TransactWriteItemsOutput::builder().build());
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, &[&turn, &written]);
    Table::new(client, "releases".to_owned())
}

/// A service with one revision and a deployment that moves to another.
fn service_is(revision: &'static str, moving_to: &'static str) -> Rule {
    mock!(Client::describe_services).then_output(move || {
        let deployment = Deployment::builder().task_definition(moving_to);
        let service = Service::builder()
            .service_arn(SERVICE)
            .task_definition(revision)
            .deployments(deployment.build());
        DescribeServicesOutput::builder()
            .services(service.build())
            .build()
    })
}

/// A revision of the family `web` that a release of the stack registered.
fn described(number: u32) -> DescribeTaskDefinitionOutput {
    let mark = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    DescribeTaskDefinitionOutput::builder()
        .task_definition(
            TaskDefinition::builder()
                .task_definition_arn(format!("web:{number}"))
                .family("web")
                .build(),
        )
        .tags(mark("bluegreen:stack", "demo"))
        .tags(mark("bluegreen:execution", EXECUTION))
        .build()
}

async fn handle_with(
    ecs: &[&Rule],
    holder: &'static str,
) -> Result<DeregisteredRevisions, Failure> {
    let clients = Clients {
        table: table(holder),
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, ecs),
    };
    handle(&clients, event(), &call()).await
}

#[tokio::test]
async fn a_revision_that_did_not_come_into_service_is_deregistered() {
    let service = service_is("web:7", "web:7");
    let deregisters = mock!(Client::deregister_task_definition)
        .match_requests(|request| request.task_definition() == Some("web:8"))
        .then_output(|| DeregisterTaskDefinitionOutput::builder().build());
    // ECS may still describe it as active for a moment.
    let latest = mock!(Client::describe_task_definition)
        .match_requests(|request| request.task_definition() == Some("web"))
        .then_output(|| described(8));
    let in_service = mock!(Client::describe_task_definition).then_output(|| described(7));
    let rules = [&service, &deregisters, &latest, &in_service];

    let answer = handle_with(&rules, EXECUTION).await.unwrap();

    assert_eq!(answer.task_definitions, ["web:8"]);
    assert_eq!(deregisters.num_calls(), 1);
}

#[tokio::test]
async fn a_revision_to_which_a_deployment_still_moves_is_in_service() {
    let service = service_is("web:7", "web:8");
    let known = mock!(Client::describe_task_definition).then_output(|| described(8));
    let answer = handle_with(&[&service, &known], EXECUTION).await.unwrap();
    assert!(answer.task_definitions.is_empty());
}

#[tokio::test]
async fn a_service_that_is_gone_has_no_family() {
    let gone =
        mock!(Client::describe_services).then_output(|| DescribeServicesOutput::builder().build());
    let answer = handle_with(&[&gone], EXECUTION).await.unwrap();
    assert!(answer.task_definitions.is_empty());
}

fn told(answer: Result<DeregisteredRevisions, Failure>) -> Diagnostic {
    diagnostic(answer.unwrap_err())
}

#[tokio::test]
async fn without_the_turn_ecs_is_asked_nothing() {
    let failure = told(handle_with(&[], "arn:execution:other").await);
    assert_eq!(failure.error_type, "ExecutionRedriven");
}

#[tokio::test]
async fn a_refused_request_is_aws_request_failed() {
    let refuses = mock!(Client::describe_services).then_error(|| {
        aws_sdk_ecs::operation::describe_services::DescribeServicesError::generic(
            aws_sdk_ecs::error::ErrorMetadata::builder()
                .code("AccessDeniedException")
                .build(),
        )
    });
    let failure = told(handle_with(&[&refuses], EXECUTION).await);
    assert_eq!(failure.error_type, "AwsRequestFailed");
}

#[tokio::test]
async fn bad_input_is_named() {
    let clients = Clients {
        table: table(EXECUTION),
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[]),
    };
    let mut event = event();
    event["services"] = json!("web");
    let failure = told(handle(&clients, event, &call()).await);
    assert_eq!(failure.error_type, "InvalidInput");
    assert!(failure.error_message.contains("`services`"), "{failure:?}");
}
