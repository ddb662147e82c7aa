use super::*;
use crate::decision::tests::{AT, TASK, started};
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemOutput;
use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecs::operation::describe_tasks::{DescribeTasksError, DescribeTasksOutput};
use aws_sdk_ecs::operation::stop_task::StopTaskOutput;
use aws_sdk_sfn::Client as Sfn;
use aws_sdk_sfn::operation::send_task_success::SendTaskSuccessOutput;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::{Diagnostic, diagnostic};
use serde_json::json;

const EXECUTION: &str = "arn:aws:states:us-east-1:123456789012:execution:deploy:1";

fn asked() -> Value {
    json!({"task": started(), "execution": {"id": EXECUTION, "redrives": 0}})
}

fn asking() -> Value {
    json!({"token": "token-1", "asked": asked()})
}

fn telling(task: &str) -> Value {
    json!({
        "version": "0", "id": "1", "detail-type": "ECS Task State Change", "source": "aws.ecs",
        "account": "123456789012", "time": "2026-01-31T12:00:00Z", "region": "us-east-1",
        "resources": [task],
        "detail": {"taskArn": task, "lastStatus": "STOPPED", "startedBy": "bluegreen/demo"}
    })
}

/// Somebody waits for [`TASK`] and for nothing else.
fn table() -> [Rule; 5] {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    [
        mock!(DynamoDb::put_item).then_output(|| PutItemOutput::builder().build()),
        mock!(DynamoDb::batch_write_item)
            .match_requests(move |request| {
                let requests = &request.request_items().unwrap()["waits"];
                requests[0].put_request().unwrap().item()["awaited"] == text(TASK)
            })
            .then_output(|| BatchWriteItemOutput::builder().build()),
        mock!(DynamoDb::query).then_compute_output(move |request| {
            let values = request.expression_attribute_values().unwrap();
            let waiter = text(&format!("wait-task#{EXECUTION}"));
            let pointer = [("waiter".to_owned(), waiter)].into();
            let known = values[":awaited"] == text(TASK);
            QueryOutput::builder()
                .set_items(known.then(|| vec![pointer]))
                .build()
        }),
        mock!(DynamoDb::update_item).then_output(move || {
            UpdateItemOutput::builder()
                .attributes("token", text("token-1"))
                .attributes("asked", text(&asked().to_string()))
                .attributes("events", AttributeValue::N("1".to_owned()))
                .build()
        }),
        mock!(DynamoDb::transact_write_items)
            .then_output(|| TransactWriteItemsOutput::builder().build()),
    ]
}

/// Step Functions takes this answer, with the status that `lastStatus` has.
fn answered(last_status: &'static str) -> Rule {
    mock!(Sfn::send_task_success)
        .match_requests(move |request| {
            let output: Value = serde_json::from_str(request.output().unwrap()).unwrap();
            request.task_token() == Some("token-1") && output["lastStatus"] == last_status
        })
        .then_output(|| SendTaskSuccessOutput::builder().build())
}

async fn call(ecs: &[&Rule], sfn: &[&Rule], event: Value, now: i64) -> Result<(), Failure> {
    let table = table();
    let rules: Vec<&Rule> = table.iter().collect();
    let waits = Waits::new(
        mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, &rules),
        mock_client!(aws_sdk_sfn, RuleMode::MatchAny, sfn),
        "waits".to_owned(),
        "wait-task",
    );
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, ecs);
    handle(&client, &waits, event, || now).await
}

fn described(answer: fn() -> DescribeTasksOutput) -> Rule {
    mock!(Client::describe_tasks)
        .match_requests(|request| {
            request.cluster() == Some("demo") && request.tasks() == [TASK.to_owned()]
        })
        .then_output(answer)
}

fn running() -> DescribeTasksOutput {
    let task = Task::builder().last_status("RUNNING");
    DescribeTasksOutput::builder()
        .tasks(task.desired_status("RUNNING").build())
        .build()
}

fn stopped() -> DescribeTasksOutput {
    DescribeTasksOutput::builder()
        .tasks(Task::builder().last_status("STOPPED").build())
        .build()
}

fn missing() -> DescribeTasksOutput {
    DescribeTasksOutput::builder()
        .failures(EcsFailure::builder().reason("MISSING").build())
        .build()
}

#[tokio::test]
async fn a_running_task_is_waited_for() {
    let task = described(running);
    call(&[&task], &[], asking(), AT + 1000).await.unwrap();
    assert_eq!(task.num_calls(), 1);
}

#[tokio::test]
async fn a_task_that_has_stopped_already_is_answered_at_once() {
    let (task, answer) = (described(stopped), answered("STOPPED"));
    let call = call(&[&task], &[&answer], asking(), AT + 1000).await;
    call.unwrap();
    assert_eq!(answer.num_calls(), 1);
}

#[tokio::test]
async fn told_that_the_task_stopped_it_answers_who_waits() {
    let (task, answer) = (described(stopped), answered("STOPPED"));
    let call = call(&[&task], &[&answer], telling(TASK), AT + 1000).await;
    call.unwrap();
    assert_eq!(answer.num_calls(), 1);
}

#[tokio::test]
async fn told_of_a_task_that_nobody_waits_for_it_asks_ecs_for_nothing() {
    call(&[], &[], telling("arn:other"), AT).await.unwrap();
}

#[tokio::test]
async fn an_overdue_task_is_told_to_stop_and_waited_for() {
    let task = described(running);
    let stop = mock!(Client::stop_task)
        .match_requests(|request| {
            request.cluster() == Some("demo")
                && request.task() == Some(TASK)
                && request.reason() == Some("bluegreen: the migration ran longer than 600 seconds")
        })
        .then_output(|| StopTaskOutput::builder().build());
    let call = call(&[&task, &stop], &[], asking(), AT + 600_001).await;
    call.unwrap();
    assert_eq!(stop.num_calls(), 1);
}

#[tokio::test]
async fn a_task_that_does_not_stop_is_answered_as_it_is() {
    let (task, answer) = (described(running), answered("RUNNING"));
    let call = call(&[&task], &[&answer], asking(), AT + 1_500_001).await;
    call.unwrap();
    assert_eq!(answer.num_calls(), 1);
}

async fn refusal(ecs: &Rule, event: Value, now: i64) -> Diagnostic {
    diagnostic(call(&[ecs], &[], event, now).await.unwrap_err())
}

#[tokio::test]
async fn a_task_that_ecs_does_not_know_is_task_not_found_a_minute_later() {
    let answers: [fn() -> DescribeTasksOutput; 2] =
        [missing, || DescribeTasksOutput::builder().build()];
    for answer in answers {
        let task = described(answer);
        call(&[&task], &[], asking(), AT + 1000).await.unwrap();
        let failure = refusal(&task, asking(), AT + 60_000).await;
        assert_eq!(failure.error_type, "TaskNotFound");
    }
}

#[tokio::test]
async fn any_other_failure_keeps_ecss_reason() {
    let task = described(|| {
        let failure = EcsFailure::builder().reason("ODD").detail("so it is");
        DescribeTasksOutput::builder()
            .failures(failure.build())
            .build()
    });
    let failure = refusal(&task, asking(), AT).await;
    assert_eq!(failure.error_type, "AwsRequestFailed");
    for part in ["ODD", "so it is", TASK] {
        assert!(failure.error_message.contains(part), "{part}: {failure:?}");
    }
}

#[tokio::test]
async fn a_refused_request_is_aws_request_failed() {
    let rule = mock!(Client::describe_tasks).then_error(|| {
        DescribeTasksError::generic(
            aws_sdk_ecs::error::ErrorMetadata::builder()
                .code("AccessDeniedException")
                .message("no")
                .build(),
        )
    });
    let failure = refusal(&rule, asking(), AT).await;
    assert_eq!(failure.error_type, "AwsRequestFailed");
    for part in ["ecs:DescribeTasks", TASK, "AccessDeniedException"] {
        assert!(failure.error_message.contains(part), "{part}: {failure:?}");
    }
}

#[tokio::test]
async fn a_bad_input_is_invalid_input_and_names_the_field() {
    let mut event = asking();
    event["asked"]["task"]["taskArn"] = json!(5);
    let failure = diagnostic(call(&[], &[], event, AT).await.unwrap_err());
    assert_eq!(failure.error_type, "InvalidInput");
    assert!(
        failure.error_message.contains("`asked.task.taskArn`"),
        "{failure:?}"
    );
}
