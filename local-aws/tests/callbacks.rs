//! State machines that wait for task tokens, what is told of executions, and transactions: all that
//! a release waits with, seen with SDKs and with real functions.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put,
    ScalarAttributeType, TransactWriteItem, Update,
};
use aws_sdk_sfn::operation::send_task_heartbeat::SendTaskHeartbeatError;
use aws_sdk_sfn::operation::send_task_success::SendTaskSuccessError;
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEventType, IncludedData};
use aws_smithy_types::retry::RetryConfig;
use local_aws::client::LocalAws;
use local_aws::faults::Fault;
use serde_json::{Value, json};
use support::{NewFunction, ROLE, create, eventually, python, settled, shared};

fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

/// A directory of its own.
fn directory() -> PathBuf {
    let directory = tempfile::Builder::new()
        .prefix("callbacks-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    directory.unwrap().keep()
}

/// A function that keeps every event it gets, with the time, as a line of a file, and answers null.
struct Keeper {
    name: String,
    kept: PathBuf,
}

impl Keeper {
    async fn create(aws: &LocalAws) -> Self {
        let kept = directory().join("events");
        let handler = "event = {'at': time.time(), 'event': event}\n\
                       with open(os.environ['KEPT'], 'a') as kept: kept.write(json.dumps(event) + '\\n')";
        let client = aws_sdk_lambda::Client::new(&aws.sdk_config());
        let new = NewFunction {
            bootstrap: python(handler),
            variables: &[("KEPT", kept.to_str().unwrap())],
            ..NewFunction::default()
        };
        let name = create(&client, new).await;
        Self { name, kept }
    }

    /// The event of this number, from 0 on, and when it came, in seconds since the epoch.
    async fn event(&self, number: usize) -> (f64, Value) {
        eventually(async || {
            let line = nth_line(&self.kept, number)?;
            Some((line["at"].as_f64().unwrap(), line["event"].clone()))
        })
        .await
    }

    async fn token(&self, number: usize) -> String {
        let (_, event) = self.event(number).await;
        event["token"].as_str().unwrap().to_owned()
    }
}

fn nth_line(file: &Path, number: usize) -> Option<Value> {
    let text = std::fs::read_to_string(file).ok()?;
    serde_json::from_str(text.lines().nth(number)?).ok()
}

fn now() -> f64 {
    let elapsed = std::time::UNIX_EPOCH.elapsed().unwrap();
    elapsed.as_secs_f64()
}

/// A state that gives its function a token and waits; its output is what was answered.
fn waiting(function: &str, more: &Value) -> Value {
    let mut state = json!({
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Arguments": {
            "FunctionName": function,
            "Payload": {
                "token": "{% $states.context.Task.Token %}",
                "retries": "{% $states.context.State.RetryCount %}",
                "redrives": "{% $states.context.Execution.RedriveCount %}",
            },
        },
        "Output": "{% $states.result %}",
    });
    for (name, value) in more.as_object().unwrap() {
        state[name] = value.clone();
    }
    state
}

struct Machine {
    states: aws_sdk_sfn::Client,
    arn: String,
}

impl Machine {
    async fn create(aws: &LocalAws, start: &str, states: Value) -> Self {
        let client = aws_sdk_sfn::Client::new(&aws.sdk_config());
        let definition = json!({"QueryLanguage": "JSONata", "StartAt": start, "States": states});
        let request = client.create_state_machine().name(unique("machine"));
        let request = request.role_arn(ROLE).definition(definition.to_string());
        let arn = request.send().await.unwrap().state_machine_arn;
        Self {
            states: client,
            arn,
        }
    }

    /// A machine of one state that waits.
    async fn waiting(aws: &LocalAws, keeper: &Keeper, more: Value) -> Self {
        let mut more = more;
        more["End"] = true.into();
        let states = json!({"Wait": waiting(&keeper.name, &more)});
        Self::create(aws, "Wait", states).await
    }

    async fn start(&self) -> String {
        let request = self.states.start_execution().state_machine_arn(&self.arn);
        request.send().await.unwrap().execution_arn
    }

    async fn succeed(&self, token: &str, output: &str) -> Result<(), SendTaskSuccessError> {
        let request = self.states.send_task_success().task_token(token);
        let sent = request.output(output).send().await;
        sent.map(drop).map_err(|error| error.into_service_error())
    }

    /// The output of an execution that succeeds.
    async fn output(&self, execution: &str) -> Value {
        let described = eventually(async || {
            let request = self.states.describe_execution().execution_arn(execution);
            let described = request.send().await.unwrap();
            (*described.status() != ExecutionStatus::Running).then_some(described)
        })
        .await;
        let output = described.output();
        serde_json::from_str(output.unwrap_or_else(|| panic!("{described:?}"))).unwrap()
    }

    async fn stop(&self, execution: &str) {
        let request = self.states.stop_execution().execution_arn(execution);
        request.send().await.unwrap();
    }
}

#[tokio::test]
async fn a_state_waits_until_its_token_is_answered_and_the_sdk_knows_every_refusal() {
    let aws = shared().await;
    let keeper = Keeper::create(aws).await;
    let machine = Machine::waiting(aws, &keeper, json!({})).await;
    let execution = machine.start().await;
    let token = keeper.token(0).await;
    let invalid = machine.succeed("no token", "1").await.unwrap_err();
    assert!(invalid.is_invalid_token(), "{invalid:?}");
    let no_json = machine.succeed(&token, "{").await.unwrap_err();
    assert!(no_json.is_invalid_output(), "{no_json:?}");
    machine
        .succeed(&token, r#"{"verdict":"healthy"}"#)
        .await
        .unwrap();
    let again = machine.succeed(&token, "2").await.unwrap_err();
    assert!(again.is_task_timed_out(), "{again:?}");
    let beat = machine.states.send_task_heartbeat().task_token(&token);
    let late = beat.send().await.unwrap_err().into_service_error();
    assert!(matches!(late, SendTaskHeartbeatError::TaskTimedOut(_)));
    let output = machine.output(&execution).await;
    assert_eq!(output, json!({"verdict": "healthy"}));
}

#[tokio::test]
async fn a_function_that_answers_its_token_itself_asks_iam_for_the_state_machine() {
    let aws = shared().await;
    let client = aws_sdk_lambda::Client::new(&aws.sdk_config());
    let handler = "import boto3\n\
                   boto3.client('stepfunctions').send_task_success(taskToken=event['token'], output='7')";
    let bootstrap = python(handler);
    let new = NewFunction {
        bootstrap,
        timeout: 60,
        ..NewFunction::default()
    };
    let function = create(&client, new).await;
    let states = json!({"Wait": waiting(&function, &json!({"End": true}))});
    let machine = Machine::create(aws, "Wait", states).await;
    assert_eq!(machine.output(&machine.start().await).await, 7);
    let asked = aws.asked().await.unwrap();
    let needs: Vec<_> = asked[&function]
        .iter()
        .map(|need| (need.action.as_str(), need.resource.as_str()))
        .collect();
    assert_eq!(needs, [("states:SendTaskSuccess", machine.arn.as_str())]);
}

#[tokio::test]
async fn a_heartbeat_that_stays_out_asks_anew_with_a_new_token() {
    let aws = shared().await;
    let keeper = Keeper::create(aws).await;
    let again = json!({"ErrorEquals": ["States.HeartbeatTimeout"], "IntervalSeconds": 1});
    let machine = Machine::waiting(
        aws,
        &keeper,
        json!({"HeartbeatSeconds": 1, "Retry": [again]}),
    )
    .await;
    let execution = machine.start().await;
    let (first, second) = (keeper.event(0).await.1, keeper.event(1).await.1);
    assert_eq!(
        (&first["retries"], &second["retries"]),
        (&json!(0), &json!(1))
    );
    let old = first["token"].as_str().unwrap();
    let refused = machine.succeed(old, "1").await.unwrap_err();
    assert!(refused.is_task_timed_out(), "{refused:?}");
    let new = second["token"].as_str().unwrap();
    machine.succeed(new, "2").await.unwrap();
    assert_eq!(machine.output(&execution).await, 2);
}

#[tokio::test]
async fn an_aborted_wait_is_over_at_once_and_a_redrive_asks_anew() {
    let aws = shared().await;
    let keeper = Keeper::create(aws).await;
    let machine = Machine::waiting(aws, &keeper, json!({})).await;
    let execution = machine.start().await;
    let first = keeper.token(0).await;
    machine.stop(&execution).await;
    let refused = machine.succeed(&first, "1").await.unwrap_err();
    assert!(refused.is_task_timed_out(), "{refused:?}");
    let redrive = machine.states.redrive_execution();
    redrive.execution_arn(&execution).send().await.unwrap();
    let (_, second) = keeper.event(1).await;
    assert_eq!(second["redrives"], 1);
    let describe = machine.states.describe_execution();
    let describe = describe
        .execution_arn(&execution)
        .included_data(IncludedData::MetadataOnly);
    let running = describe.send().await.unwrap();
    assert_eq!(running.status(), &ExecutionStatus::Running);
    assert_eq!(
        (running.redrive_count(), running.stop_date()),
        (Some(1), None)
    );
    assert!(running.redrive_date().is_some() && running.input().is_none());
    let new = second["token"].as_str().unwrap();
    machine.succeed(new, r#""again""#).await.unwrap();
    assert_eq!(machine.output(&execution).await, "again");
    let history = machine.states.get_execution_history();
    let history = history.execution_arn(&execution).send().await.unwrap();
    let types = history.events().iter().map(|event| event.r#type().clone());
    let types: Vec<_> = types.collect();
    let last = [
        HistoryEventType::TaskSucceeded,
        HistoryEventType::TaskStateExited,
        HistoryEventType::ExecutionSucceeded,
    ];
    assert!(types.ends_with(&last), "{types:?}");
    assert!(types.contains(&HistoryEventType::ExecutionRedriven));
}

/// What the local AWS itself needs for a release of 15 states: the functions do nothing.
#[tokio::test]
async fn fifteen_states_take_little_more_than_their_functions() {
    let aws = shared().await;
    let client = aws_sdk_lambda::Client::new(&aws.sdk_config());
    let function = create(&client, NewFunction::default()).await;
    let state = |next: Option<usize>| {
        let mut state = json!({
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": function, "Payload": "{% $states.input %}"},
            "Output": "{% $states.result.Payload %}",
        });
        match next {
            Some(next) => state["Next"] = format!("State{next}").into(),
            None => state["End"] = true.into(),
        }
        state
    };
    let states: Value = (0..15)
        .map(|number| {
            let next = (number < 14).then_some(number + 1);
            (format!("State{number}"), state(next))
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    let machine = Machine::create(aws, "State0", states).await;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let execution = machine.start().await;
        machine.output(&execution).await;
        let described = machine.states.describe_execution();
        let described = described.execution_arn(&execution).send().await.unwrap();
        let [start, stop] = [described.start_date(), described.stop_date().unwrap()]
            .map(aws_smithy_types::DateTime::as_secs_f64);
        best = best.min(stop - start);
    }
    println!("15 states took {best:.3} s");
    assert!(best < 0.8, "{best} s");
}

/// A stack with a rule that invokes the functions.
async fn invoke_with(aws: &LocalAws, pattern: &Value, keepers: &[&Keeper]) {
    let client = aws_sdk_cloudformation::Client::new(&aws.sdk_config());
    let name = unique("stack");
    let arn = |keeper: &Keeper| {
        format!(
            "arn:aws:lambda:us-east-1:123456789012:function:{}",
            keeper.name
        )
    };
    let resources: Value = keepers
        .iter()
        .enumerate()
        .flat_map(|(number, keeper)| {
            let targets = json!([{"Id": "function", "Arn": arn(keeper)}]);
            let rule = json!({
                "Type": "AWS::Events::Rule",
                "Properties": {"EventPattern": pattern, "Targets": targets},
            });
            let permission = json!({
                "Type": "AWS::Lambda::Permission",
                "Properties": {
                    "Action": "lambda:InvokeFunction",
                    "FunctionName": keeper.name,
                    "Principal": "events.amazonaws.com",
                },
            });
            [
                (format!("Rule{number}"), rule),
                (format!("Permission{number}"), permission),
            ]
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    let request = client.create_stack().stack_name(&name);
    let request = request.template_body(json!({"Resources": resources}).to_string());
    request.send().await.unwrap();
    let stack = settled(&client, &name).await;
    let status = stack.stack_status().unwrap().as_str();
    assert_eq!(status, "CREATE_COMPLETE", "{stack:?}");
}

fn status_changes(machine: &Machine, status: &str) -> Value {
    json!({
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"stateMachineArn": [machine.arn], "status": [status]},
    })
}

#[tokio::test]
async fn a_function_is_told_of_an_abort_within_milliseconds() {
    let aws = shared().await;
    let (asked, told) = (Keeper::create(aws).await, Keeper::create(aws).await);
    let machine = Machine::waiting(aws, &asked, json!({})).await;
    invoke_with(aws, &status_changes(&machine, "ABORTED"), &[&told]).await;
    let mut delays = Vec::new();
    for number in 0..4 {
        let execution = machine.start().await;
        asked.event(number).await;
        let before = now();
        machine.stop(&execution).await;
        let (at, event) = told.event(number).await;
        delays.push(at - before);
        assert_eq!(event["resources"], json!([execution]));
        assert_eq!(event["detail"]["status"], "ABORTED");
        assert_eq!(event["detail"]["input"], "{}");
    }
    // The first invocation starts the function's process.
    let best = delays.iter().copied().fold(f64::MAX, f64::min);
    println!("an event took {best:.3} s to its function");
    assert!(best < 0.25, "{delays:?}");
}

#[tokio::test]
async fn an_event_is_lost_or_comes_twice_to_one_of_two_functions_alone() {
    let aws = shared().await;
    let (asked, one, other) = (
        Keeper::create(aws).await,
        Keeper::create(aws).await,
        Keeper::create(aws).await,
    );
    let machine = Machine::waiting(aws, &asked, json!({})).await;
    let pattern = status_changes(&machine, "ABORTED");
    invoke_with(aws, &pattern, &[&one, &other]).await;
    let events = || aws.events().matching(pattern.clone()).for_target(&one.name);
    let lost = events().lose(1).await.unwrap();
    let twice = events().deliver_twice(1).await.unwrap();
    let mut executions = Vec::new();
    for number in 0..2 {
        let execution = machine.start().await;
        asked.event(number).await;
        machine.stop(&execution).await;
        executions.push(execution);
    }
    let of = |event: Value| event["resources"][0].as_str().unwrap().to_owned();
    for (number, execution) in executions.iter().enumerate() {
        assert_eq!(&of(other.event(number).await.1), execution);
        assert_eq!(of(one.event(number).await.1), executions[1]);
    }
    assert_eq!(
        (lost.struck().await.unwrap(), twice.struck().await.unwrap()),
        (1, 1)
    );
}

/// A table of its own, with a hash key.
async fn table(client: &aws_sdk_dynamodb::Client) -> String {
    let name = unique("table");
    let key = KeySchemaElement::builder().attribute_name("key");
    let attribute = AttributeDefinition::builder().attribute_name("key");
    let attribute = attribute.attribute_type(ScalarAttributeType::S);
    let request = client.create_table().table_name(&name);
    let request = request
        .key_schema(key.key_type(KeyType::Hash).build().unwrap())
        .attribute_definitions(attribute.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest);
    request.send().await.unwrap();
    name
}

fn put_new(table: &str, key: &str) -> TransactWriteItem {
    let put = Put::builder().table_name(table);
    let put = put
        .item("key", AttributeValue::S(key.to_owned()))
        .condition_expression("attribute_not_exists(#key)")
        .expression_attribute_names("#key", "key");
    TransactWriteItem::builder()
        .put(put.build().unwrap())
        .build()
}

fn count_up(table: &str, key: &str) -> TransactWriteItem {
    let update = Update::builder().table_name(table);
    let update = update
        .key("key", AttributeValue::S(key.to_owned()))
        .update_expression("ADD held :one")
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
    TransactWriteItem::builder()
        .update(update.build().unwrap())
        .build()
}

async fn held(client: &aws_sdk_dynamodb::Client, table: &str, key: &str) -> Option<String> {
    let request = client.get_item().table_name(table).consistent_read(true);
    let request = request.key("key", AttributeValue::S(key.to_owned()));
    let item = request.send().await.unwrap().item?;
    item.get("held")?.as_n().ok().cloned()
}

#[tokio::test]
async fn a_transaction_is_cancelled_with_its_reasons_and_changes_nothing() {
    let aws = shared().await;
    let client = aws_sdk_dynamodb::Client::new(&aws.sdk_config());
    let table = table(&client).await;
    let transact = |items: Vec<TransactWriteItem>| {
        let request = client.transact_write_items();
        request.set_transact_items(Some(items)).send()
    };
    transact(vec![put_new(&table, "turn"), count_up(&table, "line")])
        .await
        .unwrap();
    let again = transact(vec![count_up(&table, "line"), put_new(&table, "turn")]).await;
    let error = again.unwrap_err().into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
        panic!("{error:?}");
    };
    let codes: Vec<_> = cancelled
        .cancellation_reasons()
        .iter()
        .map(|it| it.code())
        .collect();
    assert_eq!(codes, [Some("None"), Some("ConditionalCheckFailed")]);
    assert_eq!(held(&client, &table, "line").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_transaction_meets_another_one_on_demand() {
    let aws = shared().await;
    let config = aws.sdk_config().into_builder();
    let config = config.retry_config(RetryConfig::disabled()).build();
    let client = aws_sdk_dynamodb::Client::new(&config);
    let table = table(&client).await;
    let transact = || {
        let request = client.transact_write_items();
        request.transact_items(count_up(&table, "turn")).send()
    };
    let of_this = || Fault::of("dynamodb", "TransactWriteItems").where_request_mentions(&table);
    aws.fail(of_this().cancelling(&["TransactionConflict"]).times(1))
        .await
        .unwrap();
    let error = transact().await.unwrap_err().into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
        panic!("{error:?}");
    };
    let code = cancelled.cancellation_reasons()[0].code();
    assert_eq!(code, Some("TransactionConflict"));
    aws.fail(of_this().with("TransactionInProgressException").times(1))
        .await
        .unwrap();
    let error = transact().await.unwrap_err();
    assert_eq!(error.code(), Some("TransactionInProgressException"));
    assert_eq!(held(&client, &table, "turn").await, None);
    transact().await.unwrap();
    assert_eq!(held(&client, &table, "turn").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_transaction_whose_answer_is_lost_is_done_once_however_often_the_sdk_asks() {
    let aws = shared().await;
    let client = aws_sdk_dynamodb::Client::new(&aws.sdk_config());
    let table = table(&client).await;
    let fault = Fault::of("dynamodb", "TransactWriteItems").where_request_mentions(&table);
    let fault = fault.with_closed_connection().after_effect().times(2);
    let fault = aws.fail(fault).await.unwrap();
    let request = client.transact_write_items();
    let request = request.transact_items(count_up(&table, "turn"));
    request.send().await.unwrap();
    assert_eq!(fault.struck().await.unwrap(), 2);
    assert_eq!(held(&client, &table, "turn").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_token_reaches_the_next_state_within_milliseconds() {
    let aws = shared().await;
    let keeper = Keeper::create(aws).await;
    let mut states = serde_json::Map::new();
    for number in 0..8 {
        let more = match number {
            7 => json!({"End": true}),
            _ => json!({"Next": format!("Wait{}", number + 1)}),
        };
        states.insert(format!("Wait{number}"), waiting(&keeper.name, &more));
    }
    let machine = Machine::create(aws, "Wait0", states.into()).await;
    let execution = machine.start().await;
    let mut delays = Vec::new();
    for number in 0..8 {
        let (at, event) = keeper.event(number).await;
        if let Some(sent) = delays.last_mut() {
            *sent = at - *sent;
        }
        let token = event["token"].as_str().unwrap();
        delays.push(now());
        machine.succeed(token, "null").await.unwrap();
    }
    delays.pop();
    assert_eq!(machine.output(&execution).await, Value::Null);
    delays.sort_by(f64::total_cmp);
    println!("from an answer to the next function: {delays:.3?} s");
    assert!(delays[0] < 0.1, "{delays:?}");
}

#[tokio::test]
async fn a_stopped_tasks_event_says_who_started_it_to_the_function_that_waits() {
    let aws = shared().await;
    let told = Keeper::create(aws).await;
    let cluster = unique("cluster");
    let ecs = aws_sdk_ecs::Client::new(&aws.sdk_config());
    let request = ecs.create_cluster().cluster_name(&cluster);
    let arn = request.send().await.unwrap().cluster.unwrap().cluster_arn;
    let pattern = json!({
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change"],
        "detail": {
            "clusterArn": [arn],
            "lastStatus": ["STOPPED"],
            "startedBy": [{"prefix": "bluegreen/"}],
        },
    });
    invoke_with(aws, &pattern, &[&told]).await;
    let container = aws_sdk_ecs::types::ContainerDefinition::builder().name("app");
    let request = ecs.register_task_definition().family(&cluster);
    request
        .requires_compatibilities(aws_sdk_ecs::types::Compatibility::Fargate)
        .network_mode(aws_sdk_ecs::types::NetworkMode::Awsvpc)
        .cpu("256")
        .memory("512")
        .execution_role_arn(ROLE)
        .container_definitions(container.image("no/such:image").build())
        .send()
        .await
        .unwrap();
    let vpc = aws_sdk_ecs::types::AwsVpcConfiguration::builder().subnets("subnet-1");
    let network = aws_sdk_ecs::types::NetworkConfiguration::builder()
        .awsvpc_configuration(vpc.build().unwrap());
    for started_by in ["somebody", "bluegreen/release"] {
        let request = ecs.run_task().cluster(&cluster).task_definition(&cluster);
        request
            .launch_type(aws_sdk_ecs::types::LaunchType::Fargate)
            .network_configuration(network.clone().build())
            .started_by(started_by)
            .send()
            .await
            .unwrap();
    }
    let began = Instant::now();
    let (_, event) = told.event(0).await;
    assert_eq!(event["detail"]["startedBy"], "bluegreen/release");
    assert_eq!(event["detail"]["lastStatus"], "STOPPED");
    assert!(began.elapsed() < Duration::from_secs(30));
}
