use super::*;
use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
use aws_sdk_cloudwatch::types::MetricAlarm;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::config::http::HttpResponse;
use aws_sdk_ecs::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_ecs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecs::error::BoxError;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionOutput;
use aws_sdk_ecs::operation::update_service::{UpdateServiceError, UpdateServiceOutput};
use aws_sdk_ecs::types::{Service, TaskDefinition};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::{Diagnostic, diagnostic};
use serde_json::json;

const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";
const EXECUTION: &str = "arn:aws:states:us-east-1:123456789012:execution:deploy:1";
const RECORD: &str = "release#2026-01-31T12:00:00.000Z#1";
const NOW: i64 = 1_000_000;
const UNTIL: i64 = NOW + 300_000;
const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo@sha256:2222";
const OLD_IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo:v1";

fn call() -> LambdaCall {
    LambdaCall {
        id: "this call".to_owned(),
        until: UNTIL,
    }
}

fn service(name: &str) -> String {
    format!("arn:aws:ecs:us-east-1:123456789012:service/demo/{name}")
}

fn planned(name: &str, task_definition: &str) -> Value {
    json!({
        "cluster": CLUSTER, "service": service(name), "taskDefinition": task_definition,
        "containers": ["app"]
    })
}

fn event(services: &[Value]) -> Value {
    json!({
        "release": {
            "stack": "demo", "action": "deploy", "repository": "demo", "tag": "v2",
            "digest": "sha256:2222", "image": IMAGE, "record": RECORD, "order": "o",
            "startedAt": "2026-01-31T12:00:00.000Z", "pushedAt": null, "startedBy": "a person",
            "to": null, "alarm": null, "force": false, "ignoreAlarms": false
        },
        "execution": {"id": EXECUTION, "redrives": 1},
        "services": services, "alarms": [], "deploymentSeconds": 600
    })
}

fn turn(holder: &str, redrives: &str) -> GetItemOutput {
    GetItemOutput::builder()
        .item("item", AttributeValue::S("turn".to_owned()))
        .item("holder", AttributeValue::S(holder.to_owned()))
        .item("heldRedrives", AttributeValue::N(redrives.to_owned()))
        .build()
}

/// The try that has the turn.
fn holds() -> Rule {
    mock!(aws_sdk_dynamodb::Client::get_item)
        .match_requests(|request| {
            request.key().unwrap()["item"] == AttributeValue::S("turn".to_owned())
        })
        .then_output(|| turn(EXECUTION, "1"))
}

/// The record of a release that was about to change services in its try so and so.
fn record(touched: Option<&'static str>) -> Rule {
    mock!(aws_sdk_dynamodb::Client::get_item)
        .match_requests(|request| {
            request.key().unwrap()["item"] == AttributeValue::S(RECORD.to_owned())
        })
        .then_output(move || {
            let output = GetItemOutput::builder()
                .item("item", AttributeValue::S(RECORD.to_owned()))
                .item("verdict", AttributeValue::S("inProgress".to_owned()));
            match touched {
                Some(touched) => output.item("touched", AttributeValue::N(touched.to_owned())),
                None => output,
            }
            .build()
        })
}

fn writes() -> Rule {
    mock!(aws_sdk_dynamodb::Client::transact_write_items)
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

fn alarms(in_alarm: &'static [&'static str]) -> aws_sdk_cloudwatch::Client {
    let rule = mock!(aws_sdk_cloudwatch::Client::describe_alarms).then_output(move || {
        let alarms = in_alarm
            .iter()
            .map(|name| MetricAlarm::builder().alarm_name(*name).build());
        DescribeAlarmsOutput::builder()
            .set_metric_alarms(Some(alarms.collect()))
            .build()
    });
    mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &[&rule])
}

fn with(dynamodb: &[&Rule], in_alarm: &'static [&'static str], ecs: &[&Rule]) -> Clients {
    Clients {
        table: Table::new(
            mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, dynamodb),
            "releases".to_owned(),
        ),
        cloudwatch: alarms(in_alarm),
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, ecs, |config| config
            .interceptor(RegistersTheImage)),
    }
}

/// The release has the turn and no alarm is in ALARM.
async fn update(ecs: &[&Rule], event: Value) -> Result<UpdatedServices, Failure> {
    let clients = with(&[&holds(), &writes()], &[], ecs);
    handle(&clients, event, &call(), || NOW).await
}

async fn failure(ecs: &[&Rule], event: Value) -> Diagnostic {
    diagnostic(update(ecs, event).await.unwrap_err())
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
        .then_http_response(move || {
            let answer = json!({"taskDefinition": {
                "taskDefinitionArn": arn, "family": arn.split(':').next(),
                "containerDefinitions": [{"name": "app", "image": image}]
            }});
            HttpResponse::new(200.try_into().unwrap(), answer.to_string().into())
        })
}

/// Every revision that is registered has the image pinned. What is sent is more than the SDK's request
/// has, which rules see.
#[derive(Debug)]
struct RegistersTheImage;

impl Intercept for RegistersTheImage {
    fn name(&self) -> &'static str {
        "RegistersTheImage"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let api = request.headers().get("x-amz-target").unwrap();
        if api.ends_with(".RegisterTaskDefinition") {
            let sent: Value = serde_json::from_slice(request.body().bytes().unwrap())?;
            assert_eq!(sent["containerDefinitions"][0]["image"], IMAGE);
        }
        Ok(())
    }
}

fn registers(family: &'static str, arn: &'static str) -> Rule {
    mock!(Client::register_task_definition)
        .match_requests(move |request| request.family() == Some(family))
        .then_output(move || {
            RegisterTaskDefinitionOutput::builder()
                .task_definition(TaskDefinition::builder().task_definition_arn(arn).build())
                .build()
        })
}

/// What ECS is asked for until `web:8` is registered in place of `web:7`.
fn web_gets_its_next_revision() -> [Rule; 3] {
    [
        running(&[("web", "web:7")]),
        latest("web:7", OLD_IMAGE),
        registers("web", "web:8"),
    ]
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
    let event = event(&[planned("web", "web:7"), planned("worker", "worker:3")]);

    let answer = update(&all, event).await.unwrap();

    assert_eq!((web.num_calls(), worker.num_calls()), (1, 1));
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({
            "services": [
                {"cluster": CLUSTER, "service": service("web"), "taskDefinition": "web:8", "previousTaskDefinition": "web:7", "replacesTasks": false},
                {"cluster": CLUSTER, "service": service("worker"), "taskDefinition": "worker:4", "previousTaskDefinition": "worker:3", "replacesTasks": false}
            ],
            "at": NOW, "deadline": NOW + 600_000, "tries": 1
        })
    );
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
    let event = event(&[planned("web", "web:7"), planned("worker", "worker:3")]);

    let answer = update(&all, event).await.unwrap();

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
    let updates = updates("web", "web:10");
    let mut all: Vec<&Rule> = rules.iter().collect();
    all.push(&updates);

    update(&all, event(&[planned("web", "web:7")]))
        .await
        .unwrap();

    assert_eq!(updates.num_calls(), 1);
}

#[tokio::test]
async fn a_service_that_stalled_with_the_image_is_deployed_again() {
    let rules = [
        running(&[("web", "web:8")]),
        latest("web:8", IMAGE),
        registers("web", "web:9"),
    ];
    let updates = updates("web", "web:9");
    let mut all: Vec<&Rule> = rules.iter().collect();
    all.push(&updates);

    update(&all, event(&[planned("web", "web:8")]))
        .await
        .unwrap();

    assert_eq!(updates.num_calls(), 1);
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
    let event = event(&[
        planned("a", "a:1"),
        planned("b", "b:1"),
        planned("c", "c:1"),
    ]);

    let failure = failure(&all, event).await;

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
        latest("web:7", OLD_IMAGE),
        registers("web", "web:8"),
        refuses("web", "ThrottlingException"),
    ];
    let all: Vec<&Rule> = rules.iter().collect();
    let event = event(&[planned("a", "a:1"), planned("web", "web:7")]);

    let failure = failure(&all, event).await;

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

    let event = event(&[planned("a", "a:1"), planned("b", "b:1")]);
    let failure = failure(&all, event).await;

    assert_eq!(failure.error_type, "ServiceUpdateRefused");
    assert!(
        failure.error_message.contains("have theirs: none."),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_service_that_is_gone_is_refused() {
    let event = event(&[planned("web", "web:7")]);
    let failure = failure(&[&running(&[])], event).await;
    assert_eq!(failure.error_type, "ServiceUpdateRefused");
}

#[tokio::test]
async fn bad_input_is_invalid_input_and_nothing_is_asked_of_aws() {
    let good = event(&[planned("web", "web:7")]);
    let cases = [
        ("/services", json!([]), "`services`"),
        ("/release/image", json!(OLD_IMAGE), "digest"),
        ("/release/repository", json!("other"), "`release.image`"),
        ("/release/image", Value::Null, "`release`"),
        ("/deploymentSeconds", json!("soon"), "`deploymentSeconds`"),
    ];
    for (at, value, named) in cases {
        let mut event = good.clone();
        *event.pointer_mut(at).unwrap() = value;
        let clients = with(&[], &[], &[]);
        let failure = handle(&clients, event, &call(), || NOW).await.unwrap_err();
        let failure = diagnostic(failure);
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }
}

fn guarded() -> Value {
    let mut event = event(&[planned("web", "web:7")]);
    event["alarms"] = json!(["5xx"]);
    event
}

#[tokio::test]
async fn a_stack_in_alarm_is_not_deployed_to_and_nothing_is_written() {
    for touched in [None, Some("0")] {
        let clients = with(&[&record(touched)], &["5xx"], &[]);
        let failure = handle(&clients, guarded(), &call(), || NOW).await;
        let failure = diagnostic(failure.unwrap_err());
        assert_eq!(failure.error_type, "AlarmsInAlarm");
        assert!(
            failure
                .error_message
                .starts_with("Before the deployment these alarms of stack demo are in ALARM: 5xx."),
            "{failure:?}"
        );
    }
}

fn migrated(same_as: Option<&str>) -> Value {
    let command = json!({
        "purpose": "migration", "cluster": CLUSTER, "service": service("web"),
        "taskDefinition": "web:7", "container": "app", "command": ["migrate"],
        "line": ["tini", "migrate"], "timeoutSeconds": 60
    });
    let mut event = guarded();
    event["migrations"] = json!({"fingerprint": "0a1b", "sameAs": same_as});
    event["migration"] = match same_as {
        Some(_) => json!(null),
        None => command,
    };
    event
}

/// A migration with this fingerprint is noted for the stack, and this in the release's record.
fn notes(of_record: &'static str) -> Rule {
    mock!(aws_sdk_dynamodb::Client::transact_write_items)
        .match_requests(move |request| {
            let [turn, record] = request.transact_items() else {
                return false;
            };
            let sets = |item: &TransactWriteItem, name: &str, text: &str| {
                let update = item.update().unwrap();
                let names = update.expression_attribute_names().unwrap();
                let values = update.expression_attribute_values().unwrap();
                let mut values = values.values().filter_map(|value| value.as_s().ok());
                names.values().any(|known| known == name) && values.any(|it| it.contains(text))
            };
            sets(turn, "migrated", "0a1b")
                && sets(record, "migrations", "0a1b")
                && sets(record, of_record, "")
        })
        .then_output(|| TransactWriteItemsOutput::builder().build())
}

/// An alarm may go off during the migration: what that has done stays in the database.
#[tokio::test]
async fn that_a_migration_exited_0_is_noted_even_where_an_alarm_refuses_the_deployment() {
    let notes = notes("migrations");
    let clients = with(&[&holds(), &record(None), &notes], &["5xx"], &[]);
    let failure = handle(&clients, migrated(None), &call(), || NOW).await;
    let failure = diagnostic(failure.unwrap_err());
    assert_eq!(failure.error_type, "AlarmsInAlarm");
    assert_eq!(notes.num_calls(), 1);
}

#[tokio::test]
async fn that_a_migration_was_left_out_is_noted_in_the_record() {
    let notes = notes("migrationsOf");
    let known = mock!(aws_sdk_dynamodb::Client::get_item)
        .match_requests(|request| {
            request.key().unwrap()["item"] == AttributeValue::S("turn".to_owned())
        })
        .then_output(|| {
            let migrated = json!({
                "release": "demo-v1", "repository": "demo", "fingerprint": "0a1b",
                "service": service("web"), "container": "app", "line": ["tini", "migrate"]
            });
            let mut turn = turn(EXECUTION, "1");
            let item = turn.item.as_mut().unwrap();
            let migrated = AttributeValue::S(migrated.to_string());
            item.insert("migrated".to_owned(), migrated);
            turn
        });
    let clients = with(&[&known, &record(None), &notes], &["5xx"], &[]);
    let event = migrated(Some("demo-v1"));
    assert!(handle(&clients, event, &call(), || NOW).await.is_err());
    assert_eq!(notes.num_calls(), 1);
}

#[tokio::test]
async fn an_alarm_that_the_deployment_itself_may_have_raised_does_not_refuse_the_second_try() {
    let (holds, record, writes) = (holds(), record(Some("1")), writes());
    let ([running, latest, registers], updates) =
        (web_gets_its_next_revision(), updates("web", "web:8"));
    let ecs = [&running, &latest, &registers, &updates];
    let clients = with(&[&holds, &record, &writes], &["5xx"], &ecs);
    handle(&clients, guarded(), &call(), || NOW).await.unwrap();
    assert_eq!(updates.num_calls(), 1);
}

#[tokio::test]
async fn an_alarm_that_guards_nothing_is_not_asked_about() {
    let ([running, latest, registers], updates) =
        (web_gets_its_next_revision(), updates("web", "web:8"));
    let (holds, writes) = (holds(), writes());
    let ecs = [&running, &latest, &registers, &updates];
    let clients = with(&[&holds, &writes], &["5xx"], &ecs);
    let event = event(&[planned("web", "web:7")]);
    assert!(handle(&clients, event, &call(), || NOW).await.is_ok());
}

#[tokio::test]
async fn without_the_turn_nothing_is_changed() {
    for (holder, redrives) in [(EXECUTION, "2"), ("arn:execution:other", "1")] {
        let other =
            mock!(aws_sdk_dynamodb::Client::get_item).then_output(move || turn(holder, redrives));
        let clients = with(&[&other], &[], &[]);
        let event = event(&[planned("web", "web:7")]);
        let failure = handle(&clients, event, &call(), || NOW).await.unwrap_err();
        assert_eq!(diagnostic(failure).error_type, "ExecutionRedriven");
    }
}

#[tokio::test]
async fn the_turn_is_proved_before_a_revision_is_registered_and_again_before_a_service_is_updated()
{
    let asks = mock!(aws_sdk_dynamodb::Client::get_item)
        .sequence()
        .output(|| turn(EXECUTION, "1"))
        .output(|| turn(EXECUTION, "2"))
        .build();
    let (writes, [running, latest, registers]) = (writes(), web_gets_its_next_revision());
    let clients = with(&[&asks, &writes], &[], &[&running, &latest, &registers]);
    let event = event(&[planned("web", "web:7")]);
    let failure = handle(&clients, event, &call(), || NOW).await.unwrap_err();
    assert_eq!(diagnostic(failure).error_type, "ExecutionRedriven");
    // What was begun is over.
    assert_eq!((writes.num_calls(), registers.num_calls()), (2, 1));
}

#[tokio::test]
async fn an_earlier_call_that_may_still_change_something_is_not_overtaken() {
    let other = mock!(aws_sdk_dynamodb::Client::get_item).then_output(|| {
        let mut turn = turn(EXECUTION, "1");
        let item = turn.item.as_mut().unwrap();
        let until = AttributeValue::N("4000000000000".to_owned());
        item.insert("changingUntil".to_owned(), until);
        let by = AttributeValue::S("an earlier call".to_owned());
        item.insert("changingBy".to_owned(), by);
        turn
    });
    let clients = with(&[&other], &[], &[]);
    let event = event(&[planned("web", "web:7")]);
    let failure = handle(&clients, event, &call(), || NOW).await.unwrap_err();
    let failure = diagnostic(failure);
    assert_eq!(failure.error_type, "CallInProgress");
    let until = "2096-10-02T07:06:42.000Z";
    assert!(failure.error_message.contains(until), "{failure:?}");
}

#[tokio::test]
async fn a_call_that_has_changed_what_it_could_is_noted_to_be_over() {
    let event = || event(&[planned("web", "web:7")]);
    let (works, fails) = (
        updates("web", "web:8"),
        refuses("web", "AccessDeniedException"),
    );
    for (update, is_done) in [(works, true), (fails, false)] {
        let (finishes, holds, begins) = (finishes(), holds(), writes());
        let [running, latest, registers] = web_gets_its_next_revision();
        let ecs = [&running, &latest, &registers, &update];
        let clients = with(&[&finishes, &holds, &begins], &[], &ecs);
        let answer = handle(&clients, event(), &call(), || NOW).await;
        assert_eq!(answer.is_ok(), is_done);
        assert_eq!((begins.num_calls(), finishes.num_calls()), (2, 1));
    }
}

#[tokio::test]
async fn the_record_says_which_revisions_the_services_are_about_to_get() {
    let names = mock!(aws_sdk_dynamodb::Client::transact_write_items)
        .match_requests(|request| format!("{:?}", request.transact_items()).contains("web:8"))
        .then_output(|| TransactWriteItemsOutput::builder().build());
    let (holds, proves, finishes) = (holds(), writes(), finishes());
    let ([running, latest, registers], updates) =
        (web_gets_its_next_revision(), updates("web", "web:8"));
    let rules = [&holds, &names, &finishes, &proves];
    let ecs = [&running, &latest, &registers, &updates];
    let clients = with(&rules, &[], &ecs);
    let event = event(&[planned("web", "web:7")]);
    handle(&clients, event, &call(), || NOW).await.unwrap();
    assert_eq!((proves.num_calls(), names.num_calls()), (1, 1));
}
