use super::*;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::error::ErrorMetadata;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsError, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::types::{AttributeValue, Update};
use aws_sdk_ecs::config::http::HttpResponse;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::describe_tasks::DescribeTasksOutput;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionOutput;
use aws_sdk_ecs::operation::run_task::{RunTaskInput, RunTaskOutput};
use aws_sdk_ecs::types::error::ConflictException;
use aws_sdk_ecs::types::{
    AwsVpcConfiguration, CapacityProviderStrategyItem, Deployment, Failure as EcsFailure,
    LaunchType, NetworkConfiguration, ServiceManagedEbsVolumeConfiguration,
    ServiceVolumeConfiguration, Tag, Task, TaskDefinition, TaskFilesystemType,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::{Diagnostic, diagnostic};
use serde_json::json;
use std::sync::{Arc, Mutex};

const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";
const SERVICE: &str = "arn:aws:ecs:us-east-1:123456789012:service/demo/web";
const REVISION: &str = "arn:aws:ecs:us-east-1:123456789012:task-definition/demo:7";
const PINNED: &str = "arn:aws:ecs:us-east-1:123456789012:task-definition/demo:8";
const TASK: &str = "arn:aws:ecs:us-east-1:123456789012:task/demo/0123";
const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo@sha256:2222";
const EXECUTION: &str = "arn:aws:states:us-east-1:123456789012:execution:deploy:1";

const NOW: i64 = 1_700_000_000_000;

fn call() -> LambdaCall {
    LambdaCall {
        id: "this call".to_owned(),
        until: NOW + 60_000,
    }
}

fn event() -> Value {
    json!({
        "release": {
            "stack": "demo", "action": "deploy", "repository": "demo", "tag": "v2",
            "digest": "sha256:2222", "image": IMAGE, "record": "release#2023-11-14T22:13:00.000Z#1",
            "order": "2023-11-14T22:13:00Z#2023-11-14T22:13:00.000Z",
            "startedAt": "2023-11-14T22:13:00.000Z", "pushedAt": null, "startedBy": "me",
            "to": null, "alarm": null, "force": false, "ignoreAlarms": false
        },
        "execution": {"id": EXECUTION, "redrives": 0},
        "retries": 0, "earlier": null,
        "command": {
            "purpose": "migration", "cluster": CLUSTER, "service": SERVICE,
            "taskDefinition": REVISION, "container": "web", "command": ["websvc", "migrate"],
            "line": ["tini", "--", "websvc", "migrate"], "timeoutSeconds": 600
        },
        "before": [{
            "cluster": CLUSTER, "service": SERVICE, "taskDefinition": REVISION,
            "containers": ["web"]
        }]
    })
}

fn post_deploy() -> Value {
    let mut event = event();
    event["command"]["purpose"] = json!("postDeploy");
    event
}

/// The table, in which the turn belongs to the first try of an execution, and what was written.
struct Releases {
    turn: Rule,
    written: Rule,
    updates: Arc<Mutex<Vec<Update>>>,
}

fn held_by(execution: &'static str) -> Releases {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let turn = mock!(DynamoDb::get_item).then_output(move || {
        GetItemOutput::builder()
            .item("holder", text(execution))
            .item("heldRedrives", AttributeValue::N("0".to_owned()))
            .build()
    });
    let updates = Arc::new(Mutex::new(Vec::new()));
    let log = updates.clone();
    let written = mock!(DynamoDb::transact_write_items).then_compute_output(move |request| {
        let items = request.transact_items().iter();
        let updates = items.filter_map(|item| item.update().cloned());
        log.lock().unwrap().extend(updates);
        TransactWriteItemsOutput::builder().build()
    });
    Releases {
        turn,
        written,
        updates,
    }
}

impl Releases {
    fn table(&self) -> Table {
        let rules = &[&self.turn, &self.written];
        let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, rules);
        Table::new(client, "releases".to_owned())
    }

    /// The last thing that was written is that this call is over.
    fn assert_finished(&self) {
        let updates = self.updates.lock().unwrap();
        let last = updates.last().unwrap();
        assert_eq!(last.key()["item"].as_s().unwrap(), "turn");
        assert!(last.update_expression().starts_with("REMOVE"));
        let values = last.expression_attribute_values().unwrap();
        let own = AttributeValue::S("this call".to_owned());
        assert!(values.values().eq([&own]), "{values:?}");
    }

    /// What was set in the release's record, in the order of the writes.
    fn record(&self) -> Vec<(String, String)> {
        let updates = self.updates.lock().unwrap();
        let of_record = updates.iter().filter(|update| {
            let item = update.key()["item"].as_s().unwrap();
            item.starts_with("release#")
        });
        of_record.flat_map(set_by).collect()
    }
}

/// Names and texts that an update sets: `SET #n0 = :v0, #n1 = if_not_exists(#n1, :v1) REMOVE #n2`.
fn set_by(update: &Update) -> Vec<(String, String)> {
    let names = update.expression_attribute_names().unwrap();
    let values = update.expression_attribute_values().unwrap();
    let set = update.update_expression().strip_prefix("SET #").unwrap();
    let set = set.split(" REMOVE ").next().unwrap();
    let pairs = set.split(", #").filter_map(|pair| pair.split_once(" = "));
    pairs
        .filter_map(|(name, value)| {
            let value = &value[value.find(':')?..].trim_end_matches(')');
            let text = values.get(*value)?.as_s().ok()?;
            Some((names[&format!("#{name}")].clone(), text.clone()))
        })
        .collect()
}

fn network() -> NetworkConfiguration {
    NetworkConfiguration::builder()
        .awsvpc_configuration(
            AwsVpcConfiguration::builder()
                .subnets("subnet-1")
                .build()
                .unwrap(),
        )
        .build()
}

fn fargate_service() -> Service {
    Service::builder()
        .service_arn(SERVICE)
        .launch_type(LaunchType::Fargate)
        .platform_version("1.4.0")
        .network_configuration(network())
        .enable_ecs_managed_tags(true)
        .build()
}

fn service_is(service: fn() -> Service) -> Rule {
    mock!(Client::describe_services)
        .match_requests(|request| {
            request.cluster() == Some(CLUSTER) && request.services() == [SERVICE.to_owned()]
        })
        .then_output(move || {
            DescribeServicesOutput::builder()
                .services(service())
                .build()
        })
}

fn revision_is_known() -> Rule {
    revision_runs("123456789012.dkr.ecr.us-east-1.amazonaws.com/demo:v1")
}

fn revision_runs(image: &'static str) -> Rule {
    mock!(Client::describe_task_definition).then_http_response(move || {
        let options = json!({
            "awslogs-group": "/ecs/demo", "awslogs-region": "us-east-1",
            "awslogs-stream-prefix": "app"
        });
        let container = json!({
            "name": "web", "image": image,
            "logConfiguration": {"logDriver": "awslogs", "options": options}
        });
        let answer = json!({"taskDefinition": {
            "taskDefinitionArn": REVISION, "family": "demo", "containerDefinitions": [container]
        }});
        HttpResponse::new(200.try_into().unwrap(), answer.to_string().into())
    })
}

fn registers() -> Rule {
    mock!(Client::register_task_definition)
        .match_requests(|request| request.family().unwrap().starts_with("demo-bluegreen-"))
        .then_output(|| {
            RegisterTaskDefinitionOutput::builder()
                .task_definition(
                    TaskDefinition::builder()
                        .task_definition_arn(PINNED)
                        .build(),
                )
                .build()
        })
}

fn starts(as_asked: fn(&RunTaskInput) -> bool) -> Rule {
    mock!(Client::run_task)
        .match_requests(as_asked)
        .then_output(|| {
            RunTaskOutput::builder()
                .tasks(Task::builder().task_arn(TASK).build())
                .build()
        })
}

async fn answer(service: fn() -> Service, run: Rule) -> Result<StartedTask, Failure> {
    let (service, known, registers) = (service_is(service), revision_is_known(), registers());
    let client = mock_client!(
        aws_sdk_ecs,
        RuleMode::MatchAny,
        &[&service, &known, &registers, &run]
    );
    handled(
        &client,
        &held_by(EXECUTION).table(),
        event(),
        &call(),
        || NOW,
    )
    .await
}

/// Of a stack that has this command, before and after the deployment.
fn has_command(words: &'static str) -> aws_sdk_cloudformation::Client {
    use aws_sdk_cloudformation::Client;
    use aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksOutput;
    use aws_sdk_cloudformation::types::{Output, Stack};
    let stack = mock!(Client::describe_stacks)
        .match_requests(|request| request.stack_name() == Some("demo"))
        .then_output(move || {
            let output = |key: &str| {
                Output::builder()
                    .output_key(key)
                    .output_value(words)
                    .build()
            };
            let stack = Stack::builder()
                .outputs(output("MigrationCommand"))
                .outputs(output("PostDeployCommand"));
            DescribeStacksOutput::builder()
                .stacks(stack.build())
                .build()
        });
    mock_client!(aws_sdk_cloudformation, RuleMode::MatchAny, &[&stack])
}

async fn handled(
    ecs: &Client,
    table: &Table,
    event: Value,
    call: &LambdaCall,
    clock: impl Fn() -> i64,
) -> Result<StartedTask, Failure> {
    let clients = Clients {
        cloudformation: has_command(r#"["websvc","migrate"]"#),
        ecs: ecs.clone(),
    };
    handle(&clients, table, event, call, clock).await
}

/// Many may invoke functions who may not run what they like with a service's roles and secrets.
#[tokio::test]
async fn a_command_that_the_stack_does_not_have_is_not_run() {
    let clients = Clients {
        cloudformation: has_command(r#"["websvc","other"]"#),
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[]),
    };
    for (event, output) in [
        (event(), "MigrationCommand"),
        (post_deploy(), "PostDeployCommand"),
    ] {
        let releases = held_by(EXECUTION);
        let answer = handle(&clients, &releases.table(), event, &call(), || NOW).await;
        let failure = diagnostic(answer.unwrap_err());
        assert_eq!(failure.error_type, "CommandNotOfStack");
        for part in [r#"["websvc","migrate"]"#, r#"["websvc","other"]"#, output] {
            assert!(failure.error_message.contains(part), "{failure:?}");
        }
        assert!(releases.updates.lock().unwrap().is_empty());
    }
}

async fn refusal(ecs: &[&Rule], event: Value) -> Diagnostic {
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, ecs);
    let table = held_by(EXECUTION).table();
    let answer = handled(&client, &table, event, &call(), || NOW).await;
    diagnostic(answer.unwrap_err())
}

#[tokio::test]
async fn the_task_runs_the_pinned_revision_as_the_service_would() {
    let run = starts(|request| {
        let overrides = request.overrides().unwrap().container_overrides();
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        request.cluster() == Some(CLUSTER)
            && request.task_definition() == Some(PINNED)
            && request.count() == Some(1)
            && request.launch_type() == Some(&LaunchType::Fargate)
            && request.capacity_provider_strategy.is_none()
            && request.platform_version() == Some("1.4.0")
            && request.network_configuration() == Some(&network())
            && request.enable_ecs_managed_tags() == Some(true)
            && request.enable_execute_command().is_none()
            && overrides.len() == 1
            && overrides[0].name() == Some("web")
            && overrides[0].command() == ["websvc", "migrate"]
            && request.tags()
                == [
                    tag("bluegreen:stack", "demo"),
                    tag("bluegreen:execution", EXECUTION),
                    tag("bluegreen:migration", "demo"),
                ]
            && request.started_by() == Some("bluegreen/demo")
            && request.volume_configurations.is_none()
            && request.client_token().unwrap().len() == 64
    });
    let started = answer(fargate_service, run).await.unwrap();
    assert_eq!(
        serde_json::to_value(started).unwrap(),
        json!({
            "purpose": "migration", "stack": "demo", "image": IMAGE, "cluster": CLUSTER,
            "service": SERVICE, "taskArn": TASK, "taskDefinition": PINNED, "container": "web",
            "log": {"group": "/ecs/demo", "stream": "app/web/0123", "region": "us-east-1"},
            "at": NOW, "timeoutSeconds": 600, "attempt": 0
        })
    );
}

/// apache/airflow#22002: of Fargate's tasks 0.15 to 2 % do not start.
#[tokio::test]
async fn after_a_task_that_never_started_another_one_is_started() {
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let mut event = event();
    for attempt in 0..3 {
        let log = Arc::clone(&tokens);
        let run = mock!(Client::run_task).then_compute_output(move |request| {
            let token = request.client_token().unwrap().to_owned();
            log.lock().unwrap().push(token);
            RunTaskOutput::builder()
                .tasks(Task::builder().task_arn(TASK).build())
                .build()
        });
        let (service, known, registers) = (
            service_is(fargate_service),
            revision_is_known(),
            registers(),
        );
        let rules = [&service, &known, &registers, &run];
        let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &rules);
        let table = held_by(EXECUTION).table();
        let started = handled(&client, &table, event.clone(), &call(), || NOW).await;
        let started = started.unwrap();
        assert_eq!(started.attempt, attempt);
        event["earlier"] = json!(started);
    }
    let tokens = tokens.lock().unwrap();
    assert!(
        tokens[0] != tokens[1] && tokens[1] != tokens[2],
        "{tokens:?}"
    );
}

#[tokio::test]
async fn a_capacity_provider_strategy_excludes_the_launch_type() {
    let service = || {
        let mut service = fargate_service();
        service.capacity_provider_strategy = Some(vec![
            CapacityProviderStrategyItem::builder()
                .capacity_provider("FARGATE_SPOT")
                .weight(1)
                .build()
                .unwrap(),
        ]);
        service
    };
    let run = starts(|request| {
        request.launch_type().is_none()
            && request.capacity_provider_strategy()[0].capacity_provider() == "FARGATE_SPOT"
    });
    assert!(answer(service, run).await.is_ok());
}

#[tokio::test]
async fn the_task_gets_the_volumes_of_the_service() {
    let service = || {
        let volume = ServiceManagedEbsVolumeConfiguration::builder()
            .role_arn("arn:aws:iam::123456789012:role/ebs")
            .size_in_gib(20)
            .encrypted(true)
            .filesystem_type(TaskFilesystemType::Ext4)
            .build()
            .unwrap();
        let volume = ServiceVolumeConfiguration::builder()
            .name("data")
            .managed_ebs_volume(volume)
            .build()
            .unwrap();
        let mut service = fargate_service();
        service.deployments = Some(vec![
            Deployment::builder()
                .status("PRIMARY")
                .volume_configurations(volume)
                .build(),
        ]);
        service
    };
    let run = starts(|request| {
        let [volume] = request.volume_configurations() else {
            return false;
        };
        let ebs = volume.managed_ebs_volume().unwrap();
        volume.name() == "data"
            && ebs.role_arn() == "arn:aws:iam::123456789012:role/ebs"
            && ebs.size_in_gib() == Some(20)
            && ebs.encrypted() == Some(true)
            && ebs.filesystem_type() == Some(&TaskFilesystemType::Ext4)
    });
    assert!(answer(service, run).await.is_ok());
}

#[tokio::test]
async fn failures_in_a_successful_answer_are_named_by_whether_they_pass() {
    for (reason, name) in [
        ("AGENT", "TaskNotStarted"),
        ("RESOURCE:MEMORY", "CapacityUnavailable"),
        (
            "Capacity is unavailable at this time.",
            "CapacityUnavailable",
        ),
    ] {
        let run = mock!(Client::run_task).then_output(move || {
            RunTaskOutput::builder()
                .failures(EcsFailure::builder().reason(reason).build())
                .build()
        });
        let failure = diagnostic(answer(fargate_service, run).await.unwrap_err());
        assert_eq!(failure.error_type, name);
        assert!(failure.error_message.contains(reason), "{failure:?}");
    }
}

#[tokio::test]
async fn the_task_of_an_earlier_try_is_the_answer_and_not_a_second_one() {
    let conflict = mock!(Client::run_task).then_error(|| {
        RunTaskError::ConflictException(ConflictException::builder().resource_ids(TASK).build())
    });
    let earlier = mock!(Client::describe_tasks)
        .match_requests(|request| request.tasks() == [TASK.to_owned()])
        .then_output(|| {
            DescribeTasksOutput::builder()
                .tasks(
                    Task::builder()
                        .task_arn(TASK)
                        .task_definition_arn("arn:earlier:8")
                        .build(),
                )
                .build()
        });
    let (service, known, registers) = (
        service_is(fargate_service),
        revision_is_known(),
        registers(),
    );
    let client = mock_client!(
        aws_sdk_ecs,
        RuleMode::MatchAny,
        &[&service, &known, &registers, &conflict, &earlier]
    );
    let table = held_by(EXECUTION).table();
    let started = handled(&client, &table, event(), &call(), || NOW)
        .await
        .unwrap();
    assert_eq!(started.task_arn, TASK);
    assert_eq!(started.task_definition, "arn:earlier:8");
}

#[tokio::test]
async fn a_refused_request_is_aws_request_failed() {
    let run = mock!(Client::run_task).then_error(|| {
        RunTaskError::generic(
            aws_sdk_ecs::error::ErrorMetadata::builder()
                .code("AccessDeniedException")
                .message("no iam:PassRole")
                .build(),
        )
    });
    let failure = diagnostic(answer(fargate_service, run).await.unwrap_err());
    assert_eq!(failure.error_type, "AwsRequestFailed");
    for part in ["ecs:RunTask", SERVICE, "no iam:PassRole"] {
        assert!(failure.error_message.contains(part), "{failure:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_gone_is_aws_request_failed() {
    let gone = mock!(Client::describe_services).then_output(|| {
        DescribeServicesOutput::builder()
            .failures(EcsFailure::builder().reason("MISSING").build())
            .build()
    });
    let failure = refusal(&[&gone], event()).await;
    assert_eq!(failure.error_type, "AwsRequestFailed");
    assert!(failure.error_message.contains("MISSING"), "{failure:?}");
}

#[tokio::test]
async fn bad_input_is_invalid_input_and_nothing_is_asked_of_aws() {
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[]);
    let no_table = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, &[]);
    let table = Table::new(no_table, "releases".to_owned());
    for (pointer, value, named) in [
        ("/execution/redrives", json!(-1), "`execution.redrives`"),
        ("/release/image", json!("nginx:1"), "`release.image`"),
        (
            "/release/image",
            json!(IMAGE.replace("@sha256:2222", ":v2")),
            "digest",
        ),
        ("/release/image", json!(null), "`release.image`"),
        ("/release/repository", json!("other"), "`release.image`"),
        ("/release/repository", json!(null), "`release.repository`"),
        ("/command/purpose", json!("fun"), "`command.purpose`"),
        ("/command/command", json!([]), "`command.command`"),
    ] {
        let mut event = event();
        *event.pointer_mut(pointer).unwrap() = value;
        let answer = handled(&client, &table, event, &call(), || NOW).await;
        let failure = diagnostic(answer.unwrap_err());
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }
}

#[tokio::test]
async fn nothing_is_asked_of_ecs_by_who_has_not_the_turn() {
    let another = "arn:aws:states:us-east-1:123456789012:execution:deploy:2";
    let mut redriven = event();
    redriven["execution"]["redrives"] = json!(1);
    for (holder, event) in [(another, event()), (EXECUTION, redriven)] {
        let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[]);
        let answer = handled(&client, &held_by(holder).table(), event, &call(), || NOW).await;
        let failure = diagnostic(answer.unwrap_err());
        assert_eq!(failure.error_type, "ExecutionRedriven");
        assert!(failure.error_message.contains("demo"), "{failure:?}");
    }
}

#[tokio::test]
async fn the_record_says_what_is_about_to_be_started_and_then_which_task_it_is() {
    let releases = held_by(EXECUTION);
    let seen_before_ecs = Arc::new(Mutex::new(Vec::new()));
    let (log, updates) = (seen_before_ecs.clone(), releases.updates.clone());
    let service = mock!(Client::describe_services).then_compute_output(move |_| {
        log.lock().unwrap().push(updates.lock().unwrap().len());
        DescribeServicesOutput::builder()
            .services(fargate_service())
            .build()
    });
    let (known, registers, run) = (revision_is_known(), registers(), starts(|_| true));
    let rules = &[&service, &known, &registers, &run];
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules);

    let answer = handled(&client, &releases.table(), event(), &call(), || NOW).await;

    assert_eq!(answer.unwrap().task_arn, TASK);
    let record = releases.record();
    let value = |name: &str| record.iter().find(|(known, _)| known == name).cloned();
    assert_eq!(value("changing").unwrap().1, "migration");
    assert!(value("before").unwrap().1.contains(REVISION));
    let ran = r#"["tini","--","websvc","migrate"]"#;
    let noted = [("migration", TASK), ("migrationCommand", ran)];
    let noted = noted.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(record[record.len() - 2..], noted);
    // The turn and the record, in one transaction.
    assert_eq!(*seen_before_ecs.lock().unwrap(), [2]);
    releases.assert_finished();
}

#[tokio::test]
async fn a_call_that_could_start_nothing_is_noted_to_be_over() {
    let releases = held_by(EXECUTION);
    let service = service_is(fargate_service);
    let run = mock!(Client::run_task).then_output(|| RunTaskOutput::builder().build());
    let (known, registers) = (revision_is_known(), registers());
    let rules = &[&service, &known, &registers, &run];
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules);
    let answer = handled(&client, &releases.table(), event(), &call(), || NOW).await;
    assert!(answer.is_err());
    releases.assert_finished();
}

#[tokio::test]
async fn an_earlier_call_that_may_still_start_a_task_is_not_overtaken() {
    let turn = mock!(DynamoDb::get_item).then_output(|| {
        GetItemOutput::builder()
            .item("holder", AttributeValue::S(EXECUTION.to_owned()))
            .item("heldRedrives", AttributeValue::N("0".to_owned()))
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
    let releases = Releases {
        turn,
        ..held_by(EXECUTION)
    };
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[]);
    let answer = handled(&client, &releases.table(), event(), &call(), || NOW).await;
    assert_eq!(diagnostic(answer.unwrap_err()).error_type, "CallInProgress");
    assert!(releases.updates.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_turn_that_is_lost_while_the_task_starts_is_told_with_the_task() {
    let turn = mock!(DynamoDb::get_item)
        .sequence()
        .output(|| {
            GetItemOutput::builder()
                .item("holder", AttributeValue::S(EXECUTION.to_owned()))
                .item("heldRedrives", AttributeValue::N("0".to_owned()))
                .build()
        })
        .output(|| GetItemOutput::builder().build())
        .build();
    let releases = Releases {
        turn,
        ..held_by(EXECUTION)
    };
    let service = service_is(fargate_service);
    let (known, registers, run) = (revision_is_known(), registers(), starts(|_| true));
    let rules = &[&service, &known, &registers, &run];
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules);
    let answer = handled(&client, &releases.table(), event(), &call(), || NOW).await;
    let failure = diagnostic(answer.unwrap_err());
    assert_eq!(failure.error_type, "ExecutionRedriven");
    assert!(failure.error_message.contains(TASK), "{failure:?}");
}

#[tokio::test]
async fn its_time_begins_when_ecs_has_started_it_however_long_its_revision_took() {
    let service = service_is(fargate_service);
    let (known, registers, run) = (revision_is_known(), registers(), starts(|_| true));
    let rules = &[&service, &known, &registers, &run];
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules);
    let clock = || {
        if run.num_calls() == 0 {
            NOW
        } else {
            NOW + 480_000
        }
    };
    let table = held_by(EXECUTION).table();
    let started = handled(&client, &table, event(), &call(), clock).await;
    assert_eq!(started.unwrap().at, NOW + 480_000);
}

#[tokio::test]
async fn a_task_that_cannot_be_noted_is_told_with_the_failure() {
    let held = held_by(EXECUTION);
    let written = mock!(DynamoDb::transact_write_items)
        .sequence()
        .output(|| TransactWriteItemsOutput::builder().build())
        .error(|| {
            let metadata = ErrorMetadata::builder()
                .code("AccessDeniedException")
                .message("not you.")
                .build();
            TransactWriteItemsError::generic(metadata)
        })
        .output(|| TransactWriteItemsOutput::builder().build())
        .build();
    let releases = Releases { written, ..held };
    let service = service_is(fargate_service);
    let (known, registers, run) = (revision_is_known(), registers(), starts(|_| true));
    let rules = &[&service, &known, &registers, &run];
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules);
    let answer = handled(&client, &releases.table(), event(), &call(), || NOW).await;
    let failure = diagnostic(answer.unwrap_err());
    assert_eq!(failure.error_type, "AwsRequestFailed");
    assert_eq!(
        failure.error_message,
        format!(
            "dynamodb:TransactWriteItems on releases failed with AccessDeniedException: not you; the task {TASK} was started."
        )
    );
}

#[tokio::test]
async fn a_post_deploy_command_is_no_migration_of_the_record() {
    let releases = held_by(EXECUTION);
    let service = service_is(fargate_service);
    let (known, registers, run) = (revision_is_known(), registers(), starts(|_| true));
    let rules = &[&service, &known, &registers, &run];
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules);

    let answer = handled(&client, &releases.table(), post_deploy(), &call(), || NOW).await;

    assert_eq!(answer.unwrap().purpose, Purpose::PostDeploy);
    let record = releases.record();
    assert!(record.contains(&("changing".into(), "postDeploy".into())));
    for kept in ["before", "migration"] {
        assert!(!record.iter().any(|(name, _)| name == kept), "{record:?}");
    }
}

#[tokio::test]
async fn what_was_not_started_is_called_by_its_purpose() {
    let rules = [
        service_is(fargate_service),
        revision_is_known(),
        registers(),
        mock!(Client::run_task).then_output(|| RunTaskOutput::builder().build()),
    ];
    let rules: Vec<&Rule> = rules.iter().collect();
    let failure = refusal(&rules, post_deploy()).await;
    assert_eq!(failure.error_type, "TaskNotStarted");
    let name = "the post-deploy command";
    assert!(failure.error_message.contains(name), "{failure:?}");
}

#[tokio::test]
async fn a_task_definition_without_the_repository_is_invalid_input() {
    let service = service_is(fargate_service);
    let foreign = revision_runs("nginx:1");
    let failure = refusal(&[&service, &foreign], event()).await;
    assert_eq!(failure.error_type, "InvalidInput");
    assert!(
        failure.error_message.contains("`command.taskDefinition`"),
        "{failure:?}"
    );
}
