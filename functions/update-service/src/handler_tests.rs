use super::*;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionOutput;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionOutput;
use aws_sdk_ecs::operation::update_service::{UpdateServiceError, UpdateServiceOutput};
use aws_sdk_ecs::types::{ContainerDefinition, Service, TaskDefinition};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use lambda_runtime::Diagnostic;
use serde_json::json;

const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";
const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo@sha256:2222";
const OLD_IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo:v1";

fn service(name: &str) -> String {
    format!("arn:aws:ecs:us-east-1:123456789012:service/demo/{name}")
}

fn planned(name: &str, task_definition: &str) -> Value {
    json!({
        "cluster": CLUSTER, "service": service(name), "taskDefinition": task_definition,
        "containers": ["app"]
    })
}

fn event(services: &[Value], migrated: Value) -> Value {
    json!({
        "services": services, "image": IMAGE, "repository": "demo", "stack": "demo",
        "migrated": migrated, "executionId": "arn:execution:1"
    })
}

/// ECS's answer to DescribeServices, each service with its revision.
fn running(services: &'static [(&'static str, &'static str)]) -> Rule {
    mock!(Client::describe_services)
        .match_requests(|request| request.cluster() == Some(CLUSTER))
        .then_output(move || {
            services
                .iter()
                .fold(
                    DescribeServicesOutput::builder(),
                    |output, (name, revision)| {
                        output.services(
                            Service::builder()
                                .service_arn(service(name))
                                .task_definition(*revision)
                                .build(),
                        )
                    },
                )
                .build()
        })
}

/// The latest revision of its family.
fn latest(arn: &'static str, image: &'static str) -> Rule {
    mock!(Client::describe_task_definition)
        .match_requests(move |request| request.task_definition() == arn.split(':').next())
        .then_output(move || {
            DescribeTaskDefinitionOutput::builder()
                .task_definition(
                    TaskDefinition::builder()
                        .task_definition_arn(arn)
                        .family(arn.split(':').next().unwrap())
                        .container_definitions(
                            ContainerDefinition::builder()
                                .name("app")
                                .image(image)
                                .build(),
                        )
                        .build(),
                )
                .build()
        })
}

fn registers(family: &'static str, arn: &'static str) -> Rule {
    mock!(Client::register_task_definition)
        .match_requests(move |request| {
            request.family() == Some(family)
                && request.container_definitions()[0].image() == Some(IMAGE)
        })
        .then_output(move || {
            RegisterTaskDefinitionOutput::builder()
                .task_definition(TaskDefinition::builder().task_definition_arn(arn).build())
                .build()
        })
}

fn updates(name: &'static str, revision: &'static str) -> Rule {
    mock!(Client::update_service)
        .match_requests(move |request| {
            request.cluster() == Some(CLUSTER)
                && request.service() == Some(&service(name))
                && request.task_definition() == Some(revision)
                && request.desired_count().is_none()
                && request.force_new_deployment().is_none()
        })
        .then_output(|| UpdateServiceOutput::builder().build())
}

fn refuses(name: &'static str, code: &'static str) -> Rule {
    mock!(Client::update_service)
        .match_requests(move |request| request.service() == Some(&service(name)))
        .then_error(move || {
            UpdateServiceError::generic(
                aws_sdk_ecs::error::ErrorMetadata::builder()
                    .code(code)
                    .message("no")
                    .build(),
            )
        })
}

fn client(rules: &[&Rule]) -> Client {
    mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules)
}

#[tokio::test]
async fn every_service_gets_a_revision_of_its_own_task_definition() {
    let rules = [
        running(&[("web", "web:7"), ("worker", "worker:3")]),
        latest("web:7", OLD_IMAGE),
        latest("worker:3", OLD_IMAGE),
        registers("web", "web:8"),
        registers("worker", "worker:4"),
    ];
    let (web, worker) = (updates("web", "web:8"), updates("worker", "worker:4"));
    let mut all: Vec<&Rule> = rules.iter().collect();
    all.extend([&web, &worker]);
    let event = event(
        &[planned("web", "web:7"), planned("worker", "worker:3")],
        Value::Null,
    );

    let answer = handle(&client(&all), event).await.unwrap();

    assert_eq!((web.num_calls(), worker.num_calls()), (1, 1));
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({"services": [
            {"cluster": CLUSTER, "service": service("web"), "taskDefinition": "web:8", "previousTaskDefinition": "web:7"},
            {"cluster": CLUSTER, "service": service("worker"), "taskDefinition": "worker:4", "previousTaskDefinition": "worker:3"}
        ]})
    );
}

#[tokio::test]
async fn the_migrated_service_gets_the_revision_the_migration_ran_with() {
    let running = running(&[("web", "web:7")]);
    let update = updates("web", "web:8");
    let migrated = json!({"service": service("web"), "taskDefinition": "web:8"});
    let event = event(&[planned("web", "web:7")], migrated);

    let answer = handle(&client(&[&running, &update]), event).await.unwrap();

    assert_eq!(answer.services[0].task_definition, "web:8");
    assert_eq!(update.num_calls(), 1);
}

#[tokio::test]
async fn a_second_try_updates_only_what_the_first_one_did_not() {
    let rules = [
        running(&[("web", "web:8"), ("worker", "worker:3")]),
        latest("web:8", IMAGE),
        latest("worker:3", OLD_IMAGE),
        registers("worker", "worker:4"),
    ];
    let worker = updates("worker", "worker:4");
    let mut all: Vec<&Rule> = rules.iter().collect();
    all.push(&worker);
    let migrated = json!({"service": service("web"), "taskDefinition": "web:8"});
    let event = event(
        &[planned("web", "web:7"), planned("worker", "worker:3")],
        migrated,
    );

    let answer = handle(&client(&all), event).await.unwrap();

    assert_eq!(worker.num_calls(), 1);
    assert_eq!(answer.services[0].task_definition, "web:8");
    assert_eq!(answer.services[0].previous_task_definition, "web:7");
}

#[tokio::test]
async fn a_change_made_meanwhile_survives() {
    let rules = [
        running(&[("web", "web:9")]),
        latest("web:9", OLD_IMAGE),
        registers("web", "web:10"),
    ];
    let update = updates("web", "web:10");
    let mut all: Vec<&Rule> = rules.iter().collect();
    all.push(&update);
    let migrated = json!({"service": service("web"), "taskDefinition": "web:8"});

    handle(&client(&all), event(&[planned("web", "web:7")], migrated))
        .await
        .unwrap();

    assert_eq!(update.num_calls(), 1);
}

#[tokio::test]
async fn a_service_that_stalled_with_the_image_is_deployed_again() {
    let rules = [
        running(&[("web", "web:8")]),
        latest("web:8", IMAGE),
        registers("web", "web:9"),
    ];
    let update = updates("web", "web:9");
    let mut all: Vec<&Rule> = rules.iter().collect();
    all.push(&update);

    handle(
        &client(&all),
        event(&[planned("web", "web:8")], Value::Null),
    )
    .await
    .unwrap();

    assert_eq!(update.num_calls(), 1);
}

#[tokio::test]
async fn a_refusal_says_which_services_have_their_revision_and_which_do_not() {
    let rules = [
        running(&[("a", "a:1"), ("b", "b:1"), ("c", "c:1")]),
        latest("a:1", OLD_IMAGE),
        latest("b:1", OLD_IMAGE),
        latest("c:1", OLD_IMAGE),
        registers("a", "a:2"),
        registers("b", "b:2"),
        registers("c", "c:2"),
        updates("a", "a:2"),
        refuses("b", "ServiceNotActiveException"),
    ];
    let all: Vec<&Rule> = rules.iter().collect();
    let event = event(
        &[
            planned("a", "a:1"),
            planned("b", "b:1"),
            planned("c", "c:1"),
        ],
        Value::Null,
    );

    let failure: Diagnostic = handle(&client(&all), event).await.unwrap_err().into();

    assert_eq!(failure.error_type, "ServiceUpdateRefused");
    for part in [
        "ServiceNotActiveException".to_owned(),
        format!("Services that have theirs: {}.", service("a")),
        format!("Services that do not: {}, {}.", service("b"), service("c")),
    ] {
        assert!(failure.error_message.contains(&part), "{failure:?}");
    }
}

#[tokio::test]
async fn throttling_is_aws_request_failed_so_that_it_is_tried_again() {
    let rules = [
        running(&[("a", "a:2"), ("web", "web:7")]),
        latest("a:2", IMAGE),
        refuses("web", "ThrottlingException"),
    ];
    let all: Vec<&Rule> = rules.iter().collect();
    let migrated = json!({"service": service("web"), "taskDefinition": "web:8"});
    let event = event(&[planned("a", "a:1"), planned("web", "web:7")], migrated);

    let failure: Diagnostic = handle(&client(&all), event).await.unwrap_err().into();

    assert_eq!(failure.error_type, "AwsRequestFailed");
    let done = format!("services that have their new revision: {}.", service("a"));
    assert!(failure.error_message.contains(&done), "{failure:?}");
}

#[tokio::test]
async fn nothing_is_updated_when_one_service_cannot_be() {
    let rules = [
        running(&[("a", "a:1"), ("b", "b:1")]),
        latest("a:1", OLD_IMAGE),
        latest("b:1", "nginx:1"),
        registers("a", "a:2"),
    ];
    let all: Vec<&Rule> = rules.iter().collect();

    let failure: Diagnostic = handle(
        &client(&all),
        event(&[planned("a", "a:1"), planned("b", "b:1")], Value::Null),
    )
    .await
    .unwrap_err()
    .into();

    assert_eq!(failure.error_type, "ServiceUpdateRefused");
    assert!(
        failure.error_message.contains("have theirs: none."),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_service_that_is_gone_is_refused() {
    let failure: Diagnostic = handle(
        &client(&[&running(&[])]),
        event(&[planned("web", "web:7")], Value::Null),
    )
    .await
    .unwrap_err()
    .into();
    assert_eq!(failure.error_type, "ServiceUpdateRefused");
}

#[tokio::test]
async fn bad_input_is_invalid_input_and_nothing_is_asked_of_aws() {
    let good = event(&[planned("web", "web:7")], Value::Null);
    let cases = [
        ("services", json!([]), "`services`"),
        ("image", json!(OLD_IMAGE), "digest"),
        ("repository", json!("other"), "`image`"),
        ("extra", json!(1), "`extra`"),
    ];
    for (key, value, named) in cases {
        let mut event = good.clone();
        event[key] = value;
        let failure: Diagnostic = handle(&client(&[]), event).await.unwrap_err().into();
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }
}
