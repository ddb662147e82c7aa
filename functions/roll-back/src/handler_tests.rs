use super::*;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecs::config::http::HttpResponse;
use aws_sdk_ecs::operation::describe_service_deployments::DescribeServiceDeploymentsOutput;
use aws_sdk_ecs::operation::describe_service_revisions::DescribeServiceRevisionsOutput;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionOutput;
use aws_sdk_ecs::operation::stop_service_deployment::{
    StopServiceDeploymentError, StopServiceDeploymentOutput,
};
use aws_sdk_ecs::operation::update_service::{UpdateServiceError, UpdateServiceOutput};
use aws_sdk_ecs::types::{
    Deployment, DeploymentRolloutState, Service, ServiceDeployment, ServiceDeploymentStatus,
    ServiceRevision, ServiceRevisionSummary, StopServiceDeploymentStopType, TaskDefinition,
};
use aws_smithy_mocks::{MockResponse, Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::{Diagnostic, diagnostic};
use serde_json::json;

const EXECUTION: &str = "arn:aws:states:us-east-1:123456789012:execution:deploy:1";
const NOW: i64 = 1_000_000;
const UNTIL: i64 = NOW + 300_000;
const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";

fn call() -> LambdaCall {
    LambdaCall {
        id: "this call".to_owned(),
        until: UNTIL,
    }
}

fn arn(name: &str) -> String {
    format!("arn:aws:ecs:us-east-1:123456789012:service/demo/{name}")
}

fn event(services: &[(&str, &str)]) -> Value {
    let services: Vec<Value> = services
        .iter()
        .map(|(name, revision)| {
            json!({"cluster": CLUSTER, "service": arn(name), "taskDefinition": revision})
        })
        .collect();
    json!({
        "release": {
            "stack": "demo", "action": "deploy", "repository": "demo", "tag": "v2",
            "digest": "sha256:2222", "image": "demo@sha256:2222",
            "record": "release#2026-01-31T12:00:00.000Z#1", "order": "o",
            "startedAt": "2026-01-31T12:00:00.000Z", "pushedAt": null, "startedBy": "a person",
            "to": null, "alarm": null, "force": false, "ignoreAlarms": false
        },
        "execution": {"id": EXECUTION, "redrives": 1},
        "target": {
            "requested": false, "release": null, "serving": null, "services": services,
            "migrations": [], "unread": false
        },
        "before": [], "earlier": null, "deploymentSeconds": 600
    })
}

/// A release that was good, as a target names it.
fn good_release() -> Value {
    json!({
        "record": "release#2026-01-30T12:00:00.000Z#0", "repository": "demo", "tag": "v1",
        "digest": "sha256:1111", "image": "demo@sha256:1111",
        "restores": "release#2026-01-30T12:00:00.000Z#0"
    })
}

/// The turn is that of this try of the execution.
fn turn(redrives: &'static str) -> Rule {
    mock!(aws_sdk_dynamodb::Client::get_item).then_output(move || {
        GetItemOutput::builder()
            .item("item", AttributeValue::S("turn".to_owned()))
            .item("holder", AttributeValue::S(EXECUTION.to_owned()))
            .item("heldRedrives", AttributeValue::N(redrives.to_owned()))
            .build()
    })
}

/// The table is told of what is about to be changed, in a text that holds these.
fn writes(parts: &'static [&'static str]) -> Rule {
    mock!(aws_sdk_dynamodb::Client::transact_write_items)
        .match_requests(move |request| {
            let sent = format!("{:?}", request.transact_items());
            parts.iter().all(|part| sent.contains(part))
        })
        .then_output(|| TransactWriteItemsOutput::builder().build())
}

/// This call is noted to be over.
fn finishes() -> Rule {
    mock!(aws_sdk_dynamodb::Client::transact_write_items)
        .match_requests(|request| {
            let [item] = request.transact_items() else {
                return false;
            };
            let update = item.update().unwrap();
            let values = update.expression_attribute_values().unwrap();
            update.update_expression().starts_with("REMOVE")
                && values
                    .values()
                    .eq([&AttributeValue::S("this call".to_owned())])
        })
        .then_output(|| TransactWriteItemsOutput::builder().build())
}

fn with(dynamodb: &[&Rule], ecs: &[&Rule]) -> Clients {
    Clients {
        table: Table::new(
            mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, dynamodb),
            "releases".to_owned(),
        ),
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, ecs),
    }
}

/// A service with revision `revision`, at rest.
fn resting(name: &str, revision: &str) -> Service {
    Service::builder()
        .service_arn(arn(name))
        .status("ACTIVE")
        .task_definition(revision)
        .deployments(
            Deployment::builder()
                .rollout_state(DeploymentRolloutState::Completed)
                .build(),
        )
        .build()
}

/// A service that moves from service revision `web:7` to `web:8`, which run the task definitions of
/// the same name.
fn moving(name: &str) -> Service {
    let mut service = resting(name, "web:8");
    service.current_service_deployment = Some("d8".to_owned());
    service
}

fn services(services: fn() -> Vec<Service>) -> Rule {
    mock!(Client::describe_services).then_output(move || {
        DescribeServicesOutput::builder()
            .set_services(Some(services()))
            .build()
    })
}

fn deployment() -> Rule {
    mock!(Client::describe_service_deployments)
        .match_requests(|request| request.service_deployment_arns() == ["d8".to_owned()])
        .then_output(|| {
            let revision = |arn: &str| ServiceRevisionSummary::builder().arn(arn).build();
            DescribeServiceDeploymentsOutput::builder()
                .service_deployments(
                    ServiceDeployment::builder()
                        .service_deployment_arn("d8")
                        .status(ServiceDeploymentStatus::InProgress)
                        .source_service_revisions(revision("web:7"))
                        .target_service_revision(revision("web:8"))
                        .build(),
                )
                .build()
        })
}

fn revisions() -> Rule {
    mock!(Client::describe_service_revisions).then_compute_output(|request| {
        let revisions = request.service_revision_arns().iter().map(|arn| {
            ServiceRevision::builder()
                .service_revision_arn(arn)
                .task_definition(arn)
                .build()
        });
        DescribeServiceRevisionsOutput::builder()
            .set_service_revisions(Some(revisions.collect()))
            .build()
    })
}

fn stops() -> Rule {
    mock!(Client::stop_service_deployment)
        .match_requests(|request| {
            request.service_deployment_arn() == Some("d8")
                && request.stop_type() == Some(&StopServiceDeploymentStopType::Rollback)
        })
        .then_output(|| StopServiceDeploymentOutput::builder().build())
}

fn cannot_stop(code: &'static str) -> Rule {
    mock!(Client::stop_service_deployment).then_error(move || {
        StopServiceDeploymentError::generic(
            aws_sdk_ecs::error::ErrorMetadata::builder()
                .code(code)
                .message("no")
                .build(),
        )
    })
}

fn updates(name: &'static str, revision: &'static str) -> Rule {
    mock!(Client::update_service)
        .match_requests(move |request| {
            request.cluster() == Some(CLUSTER)
                && request.service() == Some(&arn(name))
                && request.task_definition() == Some(revision)
                && request.force_new_deployment().is_none()
                && request.desired_count().is_none()
        })
        .then_output(|| UpdateServiceOutput::builder().build())
}

fn refuses(name: &'static str, code: &'static str) -> Rule {
    mock!(Client::update_service)
        .match_requests(move |request| request.service() == Some(&arn(name)))
        .then_error(move || {
            UpdateServiceError::generic(
                aws_sdk_ecs::error::ErrorMetadata::builder()
                    .code(code)
                    .message("no")
                    .build(),
            )
        })
}

/// The release has the turn.
async fn back(ecs: &[&Rule], event: Value) -> Result<UpdatedServices, Failure> {
    let clients = with(&[&turn("1"), &writes(&["rollback"]), &finishes()], ecs);
    handle(&clients, event, &call(), || NOW).await
}

async fn failure(ecs: &[&Rule], event: Value) -> Diagnostic {
    diagnostic(back(ecs, event).await.unwrap_err())
}

#[tokio::test]
async fn a_deployment_in_progress_is_rolled_back_and_a_finished_one_is_undone() {
    let (services, deployment, revisions, stops, updates) = (
        services(|| vec![moving("web"), resting("worker", "worker:3")]),
        deployment(),
        revisions(),
        stops(),
        updates("worker", "worker:2"),
    );
    let rules = &[&services, &deployment, &revisions, &stops, &updates];
    let event = event(&[("web", "web:7"), ("worker", "worker:2")]);

    let answer = back(rules, event).await.unwrap();

    assert_eq!((stops.num_calls(), updates.num_calls()), (1, 1));
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({
            "services": [
                {"cluster": CLUSTER, "service": arn("web"), "taskDefinition": "web:7", "previousTaskDefinition": "web:8", "replacesTasks": false},
                {"cluster": CLUSTER, "service": arn("worker"), "taskDefinition": "worker:2", "previousTaskDefinition": "worker:3", "replacesTasks": false}
            ],
            "at": NOW, "deadline": NOW + 600_000, "tries": 1
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_runs_the_revision_is_left() {
    let services = services(|| vec![resting("web", "web:7")]);
    let answer = back(&[&services], event(&[("web", "web:7")]))
        .await
        .unwrap();
    assert_eq!(answer.services[0].task_definition, "web:7");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_ecs_does_not_tell_yet_is_not_missed() {
    let looks = mock!(Client::describe_services)
        .sequence()
        .output(|| {
            DescribeServicesOutput::builder()
                .services(resting("web", "web:7"))
                .build()
        })
        .output(|| {
            DescribeServicesOutput::builder()
                .services(moving("web"))
                .build()
        })
        .build();
    let (deployment, revisions, stops) = (deployment(), revisions(), stops());
    let rules = &[&looks, &deployment, &revisions, &stops];

    back(rules, event(&[("web", "web:7")])).await.unwrap();

    assert_eq!(stops.num_calls(), 1);
}

#[tokio::test]
async fn a_deployment_that_ended_before_it_could_be_stopped_is_undone_by_an_update() {
    for code in ["ConflictException", "ServiceDeploymentNotFoundException"] {
        let (services, deployment, revisions, stop, updates) = (
            services(|| vec![moving("web")]),
            deployment(),
            revisions(),
            cannot_stop(code),
            updates("web", "web:7"),
        );
        let rules = &[&services, &deployment, &revisions, &stop, &updates];

        back(rules, event(&[("web", "web:7")])).await.unwrap();

        assert_eq!(updates.num_calls(), 1, "{code}");
    }
}

/// aws/aws-cdk#24372: CloudFormation deregisters the revision that it replaces.
#[tokio::test]
async fn a_revision_that_was_deregistered_is_registered_once_more() {
    let inactive = mock!(Client::update_service)
        .match_requests(|request| request.task_definition() == Some("web:7"))
        .then_error(|| {
            UpdateServiceError::generic(
                aws_sdk_ecs::error::ErrorMetadata::builder()
                    .code("ClientException")
                    .message("TaskDefinition is inactive")
                    .build(),
            )
        });
    let known = mock!(Client::describe_task_definition).then_compute_response(|request| {
        // What is registered is told by its family, the one thing of it that a rule sees.
        let (arn, family) = match request.task_definition().unwrap() {
            "web" => ("web:8", "another"),
            asked => (asked, "web"),
        };
        let answer = json!({"taskDefinition": {"taskDefinitionArn": arn, "family": family}});
        let answer = answer.to_string();
        MockResponse::Http(HttpResponse::new(200.try_into().unwrap(), answer.into()))
    });
    let registers = mock!(Client::register_task_definition)
        .match_requests(|request| request.family() == Some("web"))
        .then_output(|| {
            let registered = TaskDefinition::builder().task_definition_arn("web:9");
            RegisterTaskDefinitionOutput::builder()
                .task_definition(registered.build())
                .build()
        });
    let (services, updates) = (
        services(|| vec![resting("web", "web:8")]),
        updates("web", "web:9"),
    );
    let rules = &[&services, &inactive, &known, &registers, &updates];

    let answer = back(rules, event(&[("web", "web:7")])).await.unwrap();

    assert_eq!((registers.num_calls(), updates.num_calls()), (1, 1));
    let [web] = answer.services.as_slice() else {
        panic!("{answer:?}");
    };
    assert_eq!(web.task_definition, "web:9");
    assert_eq!(web.previous_task_definition, "web:8");
}

#[tokio::test]
async fn one_services_refusal_keeps_no_other_from_being_rolled_back() {
    let rules = [
        services(|| {
            vec![
                resting("a", "a:2"),
                resting("b", "b:2"),
                resting("c", "c:2"),
            ]
        }),
        refuses("b", "ServiceNotActiveException"),
        updates("a", "a:1"),
        updates("c", "c:1"),
    ];
    let all: Vec<&Rule> = rules.iter().collect();
    let event = event(&[("a", "a:1"), ("b", "b:1"), ("c", "c:1"), ("gone", "d:1")]);

    let failure = failure(&all, event).await;

    assert_eq!(failure.error_type, "RollbackRefused");
    for part in [
        "ServiceNotActiveException".to_owned(),
        format!(
            "Services that were rolled back: {}, {}.",
            arn("a"),
            arn("c")
        ),
        format!("Services that were not: {}, {}.", arn("b"), arn("gone")),
    ] {
        assert!(failure.error_message.contains(&part), "{failure:?}");
    }
}

#[tokio::test]
async fn what_may_pass_is_aws_request_failed_so_that_the_call_is_made_again() {
    let rules = [
        services(|| {
            vec![
                resting("a", "a:2"),
                resting("b", "b:2"),
                resting("c", "c:2"),
            ]
        }),
        refuses("a", "ServiceNotActiveException"),
        refuses("b", "ThrottlingException"),
        updates("c", "c:1"),
    ];
    let all: Vec<&Rule> = rules.iter().collect();

    let failure = failure(&all, event(&[("a", "a:1"), ("b", "b:1"), ("c", "c:1")])).await;

    assert_eq!(failure.error_type, "AwsRequestFailed");
    for part in [
        "ThrottlingException".to_owned(),
        format!("services that were rolled back: {}.", arn("c")),
    ] {
        assert!(failure.error_message.contains(&part), "{failure:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_being_deleted_is_refused() {
    let services = services(|| {
        let mut service = resting("web", "web:8");
        service.status = Some("DRAINING".to_owned());
        vec![service]
    });
    let failure = failure(&[&services], event(&[("web", "web:7")])).await;
    assert_eq!(failure.error_type, "RollbackRefused");
}

#[tokio::test]
async fn bad_input_is_invalid_input_and_nothing_is_asked_of_aws() {
    let mut extra = event(&[("web", "web:7")]);
    extra["force"] = json!(true);
    for (event, named) in [
        (event(&[]), "`target.services`"),
        (event(&[("web", "")]), "`target.services[0].taskDefinition`"),
        (extra, "`force`"),
    ] {
        let clients = with(&[], &[]);
        let failure = handle(&clients, event, &call(), || NOW).await.unwrap_err();
        let failure = diagnostic(failure);
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }
}

#[tokio::test]
async fn without_the_turn_nothing_is_changed() {
    let clients = with(&[&turn("2")], &[]);
    let event = event(&[("web", "web:7")]);
    let failure = handle(&clients, event, &call(), || NOW).await.unwrap_err();
    assert_eq!(diagnostic(failure).error_type, "ExecutionRedriven");
}

#[tokio::test]
async fn an_earlier_call_that_may_still_change_something_is_not_overtaken() {
    let other = mock!(aws_sdk_dynamodb::Client::get_item).then_output(|| {
        GetItemOutput::builder()
            .item("holder", AttributeValue::S(EXECUTION.to_owned()))
            .item("heldRedrives", AttributeValue::N("1".to_owned()))
            .item(
                "changingUntil",
                AttributeValue::N("4000000000000".to_owned()),
            )
            .item(
                "changingBy",
                AttributeValue::S("an earlier call".to_owned()),
            )
            .build()
    });
    let clients = with(&[&other], &[]);
    let event = event(&[("web", "web:7")]);
    let failure = handle(&clients, event, &call(), || NOW).await.unwrap_err();
    assert_eq!(diagnostic(failure).error_type, "CallInProgress");
}

#[tokio::test]
async fn a_call_that_could_roll_nothing_back_is_noted_to_be_over() {
    let services = services(|| vec![resting("web", "web:8")]);
    let refuses = refuses("web", "AccessDeniedException");
    let (begins, finishes) = (writes(&["rollback"]), finishes());
    let clients = with(&[&turn("1"), &begins, &finishes], &[&services, &refuses]);
    let event = event(&[("web", "web:7")]);
    assert!(handle(&clients, event, &call(), || NOW).await.is_err());
    assert_eq!((begins.num_calls(), finishes.num_calls()), (1, 1));
}

#[tokio::test]
async fn the_record_says_at_once_which_revisions_come_back_and_of_a_requested_rollback_the_release()
{
    for (requested, written) in [
        (false, writes(&["rollback", "worker:2"])),
        (true, writes(&["rollback", "worker:2", "sha256:1111"])),
    ] {
        let (services, updates) = (
            services(|| vec![resting("worker", "worker:3")]),
            updates("worker", "worker:2"),
        );
        let finishes = finishes();
        let rules = [&turn("1"), &written, &finishes];
        let clients = with(&rules, &[&services, &updates]);
        let mut event = event(&[("worker", "worker:2")]);
        event["target"]["requested"] = json!(requested);
        event["target"]["release"] = good_release();
        handle(&clients, event, &call(), || NOW).await.unwrap();
        assert_eq!((written.num_calls(), finishes.num_calls()), (1, 1));
    }
}

#[tokio::test]
async fn a_rollback_that_is_begun_again_keeps_what_ran_before_the_first_one() {
    let (services, updates) = (
        services(|| vec![resting("worker", "worker:5")]),
        updates("worker", "worker:2"),
    );
    let mut event = event(&[("worker", "worker:2")]);
    event["earlier"] = json!({
        "services": [{
            "cluster": CLUSTER, "service": arn("worker"), "taskDefinition": "worker:2",
            "previousTaskDefinition": "worker:3"
        }],
        "at": 1, "deadline": 2, "tries": 2
    });
    let answer = back(&[&services, &updates], event).await.unwrap();
    assert_eq!(answer.services[0].previous_task_definition, "worker:3");
    assert_eq!(
        (answer.at, answer.deadline, answer.tries),
        (NOW, NOW + 600_000, 3)
    );
}
