use super::*;
use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemOutput;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecs::operation::describe_service_deployments::DescribeServiceDeploymentsOutput;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::describe_tasks::DescribeTasksOutput;
use aws_sdk_ecs::operation::list_tasks::{ListTasksError, ListTasksOutput};
use aws_sdk_ecs::operation::stop_service_deployment::{
    StopServiceDeploymentError, StopServiceDeploymentOutput,
};
use aws_sdk_ecs::operation::stop_task::StopTaskOutput;
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{
    Deployment, DesiredStatus, Service, ServiceDeploymentStatus, StopServiceDeploymentStopType,
    Task,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_contract::parse;
use bluegreen_runtime::diagnostic;
use serde_json::json;

const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";
const SERVICE: &str = "arn:aws:ecs:us-east-1:123456789012:service/demo/web";

const ME: &str = "arn:aws:states:us-east-1:123456789012:execution:deploy:demo-v2-1";
/// When the turn was taken, milliseconds since 1970.
const SINCE: i64 = 1_767_225_600_000;
/// The time limit of the migration is over.
const LATER: i64 = SINCE + 60_001;
const UNTIL: i64 = SINCE + 120_000;

/// A release that deploys, with a minute for its migration.
fn asked() -> SettleReleaseInput {
    asked_with(|_| ())
}

fn asked_with(change: impl FnOnce(&mut Value)) -> SettleReleaseInput {
    let mut asked = question();
    change(&mut asked["plan"]["release"]);
    parse(asked).unwrap()
}

fn question() -> Value {
    json!({
        "execution": {"id": ME, "redrives": 1},
        "since": SINCE,
        "plan": {
            "action": "settle", "reason": "because",
            "release": {
                "stack": "demo", "action": "deploy", "repository": "demo", "tag": "v2",
                "digest": "sha256:2", "image": "r/demo@sha256:2", "record": "release#t#n",
                "order": "t#t", "startedAt": "2026-01-01T00:00:00.000Z", "pushedAt": null,
                "startedBy": "a person", "to": null, "alarm": null,
                "force": false, "ignoreAlarms": false
            },
            "ending": null, "imageParameters": {},
            "services": [{
                "cluster": CLUSTER, "service": SERVICE, "taskDefinition": "web:7",
                "containers": ["web"]
            }],
            "migration": null, "postDeploy": null, "alarms": [], "healthCheckUrl": null,
            "limits": {
                "migrationSeconds": 60, "deploymentSeconds": 60, "rollbackWindowSeconds": 60
            },
            "update": null, "revisions": [], "imageConfigs": []
        }
    })
}

/// The turn is with this execution, in the try that it had been redriven so often before.
fn turn(redrives: &'static str) -> Rule {
    mock!(aws_sdk_dynamodb::Client::get_item).then_output(move || {
        GetItemOutput::builder()
            .item("stack", AttributeValue::S("demo".to_owned()))
            .item("item", AttributeValue::S("turn".to_owned()))
            .item("holder", AttributeValue::S(ME.to_owned()))
            .item("heldRedrives", AttributeValue::N(redrives.to_owned()))
            .item("unsettled", AttributeValue::S("arn:dead".to_owned()))
            .build()
    })
}

/// Counts what is written to the table.
fn writes() -> Rule {
    mock!(aws_sdk_dynamodb::Client::transact_write_items)
        .then_output(|| TransactWriteItemsOutput::builder().build())
}

fn clients(dynamodb: &[&Rule], ecs: &[&Rule]) -> Clients {
    let dynamodb = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, dynamodb);
    let sfn = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &[]);
    Clients {
        table: Table::new(dynamodb.clone(), "releases".to_owned()),
        waits: Waits::new(dynamodb, sfn, "waits".to_owned(), "settle-release"),
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, ecs),
    }
}

/// Looks with the turn in hand; how often the table was written to is the answer's other half.
async fn looked(
    ecs: &[&Rule],
    asked: &SettleReleaseInput,
    now: i64,
) -> (Result<Option<SettledRelease>, Failure>, usize) {
    let (turn, writes) = (turn("1"), writes());
    let answer = look(&clients(&[&turn, &writes], ecs), asked, UNTIL, now).await;
    (answer, writes.num_calls())
}

/// What is told of what does not end.
async fn unsettled(ecs: &[&Rule], asked: &SettleReleaseInput) -> String {
    let (answer, _) = looked(ecs, asked, LATER + STOPPING_MILLIS).await;
    match answer {
        Err(Failure::EarlierReleaseUnsettled(cause)) => cause,
        other => panic!("{other:?}"),
    }
}

/// ARNs of the stack's tasks that are to run and of those that are to stop.
fn listed(running: &'static [&str], stopping: &'static [&str]) -> Rule {
    mock!(Client::list_tasks)
        .match_requests(|request| {
            request.cluster() == Some(CLUSTER) && request.started_by() == Some("bluegreen/demo")
        })
        .then_compute_output(move |request| {
            let arns = match request.desired_status() {
                Some(DesiredStatus::Stopped) => stopping,
                _ => running,
            };
            ListTasksOutput::builder()
                .set_task_arns(Some(arns.iter().map(|arn| (*arn).to_owned()).collect()))
                .build()
        })
}

/// A task's ARN is its last status in lower case; it is to stop where it is none of a running one. What
/// is `foreign` runs for somebody else.
fn tasks() -> Rule {
    mock!(Client::describe_tasks).then_compute_output(|request| {
        let tasks = request.tasks().iter().map(|arn| {
            let (status, started_by) = match arn.as_str() {
                "foreign" => ("DEACTIVATING".to_owned(), "ecs-svc/1"),
                arn => (arn.to_uppercase(), "bluegreen/demo"),
            };
            let desired = match status.as_str() {
                "RUNNING" | "PROVISIONING" => "RUNNING",
                _ => "STOPPED",
            };
            Task::builder()
                .task_arn(arn)
                .started_by(started_by)
                .last_status(status)
                .desired_status(desired)
                .build()
        });
        DescribeTasksOutput::builder()
            .set_tasks(Some(tasks.collect()))
            .build()
    })
}

fn service(deployment: Option<&'static str>) -> Rule {
    service_updated(deployment, SINCE - 1)
}

/// The service's deployment has changed last at this time, milliseconds since 1970.
fn service_updated(deployment: Option<&'static str>, at: i64) -> Rule {
    mock!(Client::describe_services).then_output(move || {
        DescribeServicesOutput::builder()
            .services(
                Service::builder()
                    .service_arn(SERVICE)
                    .set_current_service_deployment(deployment.map(str::to_owned))
                    .deployments(
                        Deployment::builder()
                            .updated_at(DateTime::from_millis(at))
                            .build(),
                    )
                    .build(),
            )
            .build()
    })
}

fn deployment(status: &'static str) -> Rule {
    mock!(Client::describe_service_deployments).then_output(move || {
        DescribeServiceDeploymentsOutput::builder()
            .service_deployments(
                ServiceDeployment::builder()
                    .service_deployment_arn("d8")
                    .status(ServiceDeploymentStatus::from(status))
                    .build(),
            )
            .build()
    })
}

fn stops_task(arn: &'static str) -> Rule {
    mock!(Client::stop_task)
        .match_requests(move |request| {
            request.cluster() == Some(CLUSTER) && request.task() == Some(arn)
        })
        .then_output(|| StopTaskOutput::builder().build())
}

fn rolls_back() -> Rule {
    mock!(Client::stop_service_deployment)
        .match_requests(|request| {
            request.service_deployment_arn() == Some("d8")
                && request.stop_type() == Some(&StopServiceDeploymentStopType::Rollback)
        })
        .then_output(|| StopServiceDeploymentOutput::builder().build())
}

#[tokio::test(start_paused = true)]
async fn a_stack_without_tasks_and_deployments_is_settled_and_the_turn_says_so() {
    let (listed, tasks, service) = (listed(&[], &["stopped"]), tasks(), service(None));
    let (answer, written) = looked(&[&listed, &tasks, &service], &asked(), SINCE).await;
    let found_deployment = false;
    assert_eq!(answer.unwrap(), Some(SettledRelease { found_deployment }));
    assert_eq!((listed.num_calls(), written), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_has_ended_since_the_turn_was_taken_is_told() {
    for (updated, found_deployment) in [(SINCE - 1, false), (SINCE, true)] {
        let (listed, service) = (listed(&[], &[]), service_updated(None, updated));
        let (answer, _) = looked(&[&listed, &service], &asked(), SINCE).await;
        assert_eq!(answer.unwrap(), Some(SettledRelease { found_deployment }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_that_has_the_turn_no_more_settles_nothing_and_stops_nothing() {
    let (turn, none) = (turn("2"), listed(&[], &[]));
    let at_rest = clients(&[&turn], &[&none, &service(None)]);
    let failure = look(&at_rest, &asked(), UNTIL, SINCE).await.unwrap_err();
    assert_eq!(<&str>::from(&failure), "ExecutionRedriven");

    let (listed, tasks, stops) = (listed(&["running"], &[]), tasks(), stops_task("running"));
    let moving = clients(&[&turn], &[&listed, &tasks, &service(None), &stops]);
    let failure = look(&moving, &asked(), UNTIL, LATER).await.unwrap_err();
    assert_eq!(<&str>::from(&failure), "ExecutionRedriven");
    assert_eq!(stops.num_calls(), 0);
}

#[tokio::test]
async fn what_does_not_end_in_its_time_is_stopped_once_and_the_record_says_so_first() {
    let (listed, tasks, service, deployment) = (
        listed(&["running"], &["stopped", "deactivating"]),
        tasks(),
        service(Some("d8")),
        deployment("IN_PROGRESS"),
    );
    let (stops, back) = (stops_task("running"), rolls_back());
    let rules = [&listed, &tasks, &service, &deployment, &stops, &back];
    let (answer, written) = looked(&rules, &asked(), LATER).await;
    assert_eq!(answer.unwrap(), None);
    assert_eq!((stops.num_calls(), back.num_calls(), written), (1, 1, 1));
    assert_eq!(
        unsettled(&rules, &asked()).await,
        "An earlier release is still in progress in stack demo. Task running is RUNNING and was told to stop. Task deactivating is DEACTIVATING and is stopping. Service deployment d8 is IN_PROGRESS and was told to roll back."
    );
}

/// API_ListTasks: "When you specify startedBy as the filter, it must be the only filter that you use."
#[tokio::test]
async fn an_ecs_that_takes_startedby_as_the_only_filter_is_asked_for_all_that_stops() {
    let refuses = mock!(Client::list_tasks)
        .match_requests(|request| {
            request.started_by().is_some() && request.desired_status().is_some()
        })
        .then_error(|| {
            let message = "startedBy must be the only filter";
            ListTasksError::generic(
                aws_sdk_ecs::error::ErrorMetadata::builder()
                    .code("InvalidParameterException")
                    .message(message)
                    .build(),
            )
        });
    let lists = mock!(Client::list_tasks).then_compute_output(|request| {
        let arns: &[&str] = match (request.started_by(), request.desired_status()) {
            (Some("bluegreen/demo"), None) => &["running"],
            (None, Some(DesiredStatus::Stopped)) => &["foreign", "deactivating", "stopped"],
            asked => panic!("{asked:?}"),
        };
        let arns = arns.iter().map(|arn| (*arn).to_owned());
        ListTasksOutput::builder()
            .set_task_arns(Some(arns.collect()))
            .build()
    });
    let (tasks, service, stops) = (tasks(), service(None), stops_task("running"));
    let rules = [&refuses, &lists, &tasks, &service, &stops];
    assert_eq!(
        unsettled(&rules, &asked()).await,
        "An earlier release is still in progress in stack demo. Task running is RUNNING and was told to stop. Task deactivating is DEACTIVATING and is stopping."
    );
}

#[tokio::test]
async fn only_a_look_is_taken_while_what_was_left_may_end_by_itself() {
    let (listed, tasks, service, deployment) = (
        listed(&["provisioning"], &[]),
        tasks(),
        service(Some("d8")),
        deployment("PENDING"),
    );
    let rules = [&listed, &tasks, &service, &deployment];
    let (answer, written) = looked(&rules, &asked(), LATER - 1).await;
    assert_eq!((answer.unwrap(), written), (None, 0));
}

#[tokio::test]
async fn a_person_who_wants_the_stack_back_stops_deployments_at_once_and_no_task() {
    let (listed, tasks, service, deployment, back) = (
        listed(&["running"], &[]),
        tasks(),
        service(Some("d8")),
        deployment("IN_PROGRESS"),
        rolls_back(),
    );
    let rules = [&listed, &tasks, &service, &deployment, &back];
    let rollback = asked_with(|release| release["action"] = json!("rollback"));
    let (answer, written) = looked(&rules, &rollback, SINCE).await;
    assert_eq!(answer.unwrap(), None);
    assert_eq!((back.num_calls(), written), (1, 1));
}

#[tokio::test]
async fn an_alarm_stops_nothing_of_an_earlier_release_and_does_not_wait_for_ever() {
    let (listed, tasks, service, deployment) = (
        listed(&["running"], &[]),
        tasks(),
        service(Some("d8")),
        deployment("IN_PROGRESS"),
    );
    let rules = [&listed, &tasks, &service, &deployment];
    let alarm = asked_with(|release| {
        release["action"] = json!("rollback");
        release["alarm"] = json!({"name": "errors", "at": "2026-01-01T00:00:00Z"});
    });
    let (answer, written) = looked(&rules, &alarm, LATER).await;
    assert_eq!((answer.unwrap(), written), (None, 0));
    assert_eq!(
        unsettled(&rules, &alarm).await,
        "An earlier release is still in progress in stack demo. Task running is RUNNING. Service deployment d8 is IN_PROGRESS."
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ecs_does_not_list_yet_is_not_missed() {
    let looks = mock!(Client::list_tasks)
        .sequence()
        .output(|| ListTasksOutput::builder().build())
        .times(2)
        .output(|| ListTasksOutput::builder().task_arns("running").build())
        .output(|| ListTasksOutput::builder().build())
        .build();
    let (tasks, service, stops) = (tasks(), service(None), stops_task("running"));
    let rules = [&looks, &tasks, &service, &stops];
    let (answer, _) = looked(&rules, &asked(), LATER).await;
    assert_eq!(answer.unwrap(), None);
    assert_eq!(stops.num_calls(), 1);
}

#[tokio::test]
async fn a_rollback_of_ecs_is_waited_for() {
    let (listed, service, deployment) = (
        listed(&[], &[]),
        service(Some("d8")),
        deployment("ROLLBACK_IN_PROGRESS"),
    );
    let rules = [&listed, &service, &deployment];
    assert_eq!(looked(&rules, &asked(), LATER).await.0.unwrap(), None);
    let cause = unsettled(&rules, &asked()).await;
    assert!(cause.contains("ROLLBACK_IN_PROGRESS"), "{cause}");
}

#[tokio::test]
async fn a_deployment_that_cannot_be_rolled_back_is_told_with_ecss_reason() {
    let refuses = mock!(Client::stop_service_deployment).then_error(|| {
        StopServiceDeploymentError::generic(
            aws_sdk_ecs::error::ErrorMetadata::builder()
                .code("ConflictException")
                .message("There is nothing to go back to.")
                .build(),
        )
    });
    let (listed, service, deployment) = (
        listed(&[], &[]),
        service(Some("d8")),
        deployment("IN_PROGRESS"),
    );
    let rules = [&listed, &service, &deployment, &refuses];
    assert_eq!(looked(&rules, &asked(), LATER).await.0.unwrap(), None);
    let cause = unsettled(&rules, &asked()).await;
    assert!(cause.contains("There is nothing to go back to."), "{cause}");
}

#[tokio::test]
async fn a_refused_request_is_aws_request_failed() {
    let refused = mock!(Client::list_tasks).then_error(|| {
        ListTasksError::generic(
            aws_sdk_ecs::error::ErrorMetadata::builder()
                .code("AccessDeniedException")
                .message("not you")
                .build(),
        )
    });
    let (answer, _) = looked(&[&refused], &asked(), SINCE).await;
    let failure = diagnostic(answer.unwrap_err());
    assert_eq!(failure.error_type, "AwsRequestFailed");
    assert!(
        failure.error_message.contains("ecs:ListTasks"),
        "{failure:?}"
    );
}

#[test]
fn an_event_is_about_something_that_is_waited_for() {
    let event = |kind: &str, resource: &str, detail: Value| {
        let event = json!({
            "version": "0", "id": "1", "detail-type": kind, "source": "aws.ecs",
            "account": "123456789012", "time": "2026-01-31T12:00:00Z", "region": "us-east-1",
            "resources": [resource], "detail": detail
        });
        match Call::<SettleReleaseInput>::parse(event).unwrap() {
            Call::Told(event) => told(&event),
            Call::Asked { .. } => panic!("an event asks nothing"),
        }
    };
    let awaited = awaited(&asked());
    let task = json!({"lastStatus": "STOPPED", "startedBy": "bluegreen/demo"});
    let hook = json!({"serviceArn": SERVICE, "hookStatus": "AWAITING_ACTION"});
    for told in [
        event("ECS Task State Change", "arn:task", task),
        event("ECS Deployment State Change", SERVICE, json!({})),
        event("ECS Hook State Change", "arn:deployment", hook),
    ] {
        assert!(awaited.contains(&told.unwrap()));
    }
    assert_eq!(event("ECS Task State Change", "arn:task", json!({})), None);
    assert_eq!(event("ECS Service Action", SERVICE, json!({})), None);
}

#[tokio::test]
async fn a_question_is_stored_before_the_look() {
    let stored = mock!(aws_sdk_dynamodb::Client::put_item)
        .match_requests(|request| {
            let item = request.item().unwrap();
            item["token"] == AttributeValue::S("a-token".to_owned())
        })
        .then_output(|| PutItemOutput::builder().build());
    let pointers = mock!(aws_sdk_dynamodb::Client::batch_write_item)
        .then_output(|| BatchWriteItemOutput::builder().build());
    let (listed, tasks, service) = (listed(&["running"], &[]), tasks(), service(None));
    let clients = clients(&[&stored, &pointers], &[&listed, &tasks, &service]);
    let payload = json!({"token": "a-token", "asked": question()});
    handle(&clients, payload, UNTIL, || SINCE).await.unwrap();
    assert_eq!((stored.num_calls(), pointers.num_calls()), (1, 1));
}

#[tokio::test]
async fn bad_input_is_invalid_input_and_nothing_is_asked_of_aws() {
    let bad = |change: fn(&mut Value)| {
        let mut asked = question();
        change(&mut asked);
        json!({"token": "a-token", "asked": asked})
    };
    for (payload, named) in [
        (bad(|asked| asked["since"] = json!("now")), "`asked.since`"),
        (bad(|asked| asked["extra"] = json!(1)), "`extra`"),
        (json!({"asked": question()}), "`token`"),
    ] {
        let clients = clients(&[], &[]);
        let failure = diagnostic(
            handle(&clients, payload, UNTIL, || SINCE)
                .await
                .unwrap_err(),
        );
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }

    let mut asked = asked();
    asked.plan.services.clear();
    let (answer, _) = looked(&[], &asked, SINCE).await;
    let failure = diagnostic(answer.unwrap_err());
    assert_eq!(failure.error_type, "InvalidInput");
    assert!(failure.error_message.contains("`plan.services`"));
}
