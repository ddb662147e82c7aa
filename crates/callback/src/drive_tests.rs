use super::*;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemOutput;
use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_sfn::Client as Sfn;
use aws_sdk_sfn::operation::send_task_success::SendTaskSuccessOutput;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    task: String,
    execution: String,
}

#[derive(Debug, PartialEq, thiserror::Error, strum::IntoStaticStr)]
enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error("The task {0} is gone.")]
    TaskNotFound(String),
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

fn throttled() -> AwsRequestFailed {
    AwsRequestFailed {
        action: "ecs:DescribeTasks",
        resource: "arn:task".to_owned(),
        code: "ThrottlingException".to_owned(),
        message: "slow down".to_owned(),
        refused: false,
    }
}

fn denied() -> AwsRequestFailed {
    AwsRequestFailed {
        code: "AccessDeniedException".to_owned(),
        refused: true,
        ..throttled()
    }
}

/// An execution for which another call looks already.
const LOOKED_FOR: &str = "arn:execution:looked-for";

/// Both services, and what they were asked for.
struct World {
    waits: Waits,
    stopped: Rule,
    put: Rule,
    pointers: Rule,
    deleted: Rule,
    answers: Arc<Mutex<Vec<Value>>>,
}

/// A table in which these executions wait for `arn:task`.
fn world(executions: &'static [&'static str]) -> World {
    world_with(executions, false)
}

/// The same; with a `swarm` two more events come during the first look.
fn world_with(executions: &'static [&'static str], swarm: bool) -> World {
    let put = mock!(DynamoDb::put_item).then_output(|| PutItemOutput::builder().build());
    let pointers =
        mock!(DynamoDb::batch_write_item).then_output(|| BatchWriteItemOutput::builder().build());
    let query = mock!(DynamoDb::query).then_compute_output(|request| {
        let text = |text: String| AttributeValue::S(text);
        let values = request.expression_attribute_values().unwrap();
        let known = values[":awaited"] == text("arn:task".to_owned());
        let pointers = executions.iter().filter(|_| known).map(|execution| {
            HashMap::from([("waiter".to_owned(), text(format!("wait-task#{execution}")))])
        });
        QueryOutput::builder()
            .set_items(Some(pointers.collect()))
            .build()
    });
    let deleted = mock!(DynamoDb::transact_write_items)
        .then_output(|| TransactWriteItemsOutput::builder().build());
    let answers = Arc::new(Mutex::new(Vec::new()));
    let log = answers.clone();
    let success = mock!(Sfn::send_task_success).then_compute_output(move |request| {
        let output: Value = serde_json::from_str(request.output().unwrap()).unwrap();
        log.lock()
            .unwrap()
            .push(json!({"token": request.task_token(), "output": output}));
        SendTaskSuccessOutput::builder().build()
    });
    let counted = mock!(DynamoDb::update_item)
        .match_requests(|request| request.update_expression() == Some("ADD events :one"))
        .then_compute_output(|request| {
            let key = request.key().unwrap()["awaited"].as_s().unwrap();
            let execution = key.strip_prefix("wait-task#").unwrap();
            let asked = match execution {
                "of-another-version" => json!({"task": "arn:task", "exec": execution}),
                _ => json!({"task": "arn:task", "execution": execution}),
            };
            let others = u8::from(execution == LOOKED_FOR);
            UpdateItemOutput::builder()
                .attributes("token", AttributeValue::S(format!("token of {execution}")))
                .attributes("asked", AttributeValue::S(asked.to_string()))
                .attributes("events", AttributeValue::N((1 + others).to_string()))
                .build()
        });
    let came_meanwhile = swarm.then(|| {
        mock!(DynamoDb::update_item)
            .match_requests(|request| {
                let values = request.expression_attribute_values().unwrap();
                request.update_expression() == Some("REMOVE events")
                    && values.get(":seen") == Some(&AttributeValue::N("1".to_owned()))
            })
            .then_error(|| {
                UpdateItemError::ConditionalCheckFailedException(
                    ConditionalCheckFailedException::builder()
                        .item(
                            "token",
                            AttributeValue::S("token of arn:execution:1".to_owned()),
                        )
                        .item("events", AttributeValue::N("3".to_owned()))
                        .build(),
                )
            })
    });
    let stopped = mock!(DynamoDb::update_item)
        .match_requests(|request| request.update_expression() == Some("REMOVE events"))
        .then_output(|| UpdateItemOutput::builder().build());
    let mut rules = vec![&put, &pointers, &query, &deleted, &counted];
    rules.extend(&came_meanwhile);
    rules.push(&stopped);
    let dynamodb = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, rules);
    let sfn = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &[&success]);
    World {
        waits: Waits::new(dynamodb, sfn, "waits".to_owned(), "wait-task"),
        stopped,
        put,
        pointers,
        deleted,
        answers,
    }
}

impl World {
    async fn call(
        &self,
        payload: Value,
        look: impl AsyncFn(&Asked) -> Result<Option<Value>, Failure>,
    ) -> Result<(), Failure> {
        drive(
            &self.waits,
            Call::parse(payload)?,
            |asked: &Asked| vec![asked.task.clone()],
            |asked| &asked.execution,
            |event| event.detail["taskArn"].as_str().map(str::to_owned),
            look,
        )
        .await
    }

    fn answers(&self) -> Vec<Value> {
        self.answers.lock().unwrap().clone()
    }
}

fn asking() -> Value {
    json!({"token": "token-1", "asked": {"task": "arn:task", "execution": "arn:execution:1"}})
}

fn telling(task: &str) -> Value {
    json!({
        "detail-type": "ECS Task State Change", "source": "aws.ecs", "detail": {"taskArn": task}
    })
}

#[tokio::test]
async fn who_asks_is_stored_before_the_function_looks() {
    let world = world(&[]);
    let look = async |asked: &Asked| {
        assert_eq!(asked.task, "arn:task");
        assert_eq!((world.put.num_calls(), world.pointers.num_calls()), (1, 1));
        Ok(None)
    };
    world.call(asking(), look).await.unwrap();
    assert_eq!(world.answers(), [] as [Value; 0]);
    assert_eq!(world.deleted.num_calls(), 0);
}

#[tokio::test]
async fn asked_what_is_final_already_it_answers_at_once() {
    let world = world(&[]);
    let look = async |_: &Asked| Ok(Some(json!({"overdue": false})));
    world.call(asking(), look).await.unwrap();
    assert_eq!(
        world.answers(),
        [json!({"token": "token-1", "output": {"overdue": false}})]
    );
    assert_eq!(world.deleted.num_calls(), 1);
}

#[tokio::test]
async fn asked_it_fails_as_any_function_does() {
    for failure in [
        || Failure::TaskNotFound("arn:task".to_owned()),
        || denied().into(),
    ] as [fn() -> Failure; 2]
    {
        let world = world(&[]);
        let told = world.call(asking(), async |_: &Asked| Err(failure())).await;
        assert_eq!(told.unwrap_err(), failure());
        assert_eq!(world.answers(), [] as [Value; 0]);
        assert_eq!(world.deleted.num_calls(), 1);
    }
}

#[tokio::test]
async fn asked_what_aws_may_answer_later_fails_nothing_and_the_token_stays() {
    let world = world(&[]);
    let look = async |_: &Asked| Err(throttled().into());
    world.call(asking(), look).await.unwrap();
    assert_eq!(world.answers(), [] as [Value; 0]);
    assert_eq!(world.deleted.num_calls(), 0);
}

#[tokio::test]
async fn told_of_what_nobody_waits_for_it_does_not_even_look() {
    let world = world(&["arn:execution:1"]);
    let look = async |_: &Asked| panic!("nobody asked");
    world.call(telling("arn:other"), look).await.unwrap();
    let about_nothing = json!({"detail-type": "x", "source": "aws.ecs", "detail": {}});
    world.call(about_nothing, look).await.unwrap();
}

#[tokio::test]
async fn told_it_looks_with_the_question_that_was_stored_and_answers_everyone() {
    let world = world(&["arn:execution:1", "arn:execution:2"]);
    let look = async |asked: &Asked| Ok(Some(json!(asked.execution)));
    world.call(telling("arn:task"), look).await.unwrap();
    assert_eq!(
        world.answers(),
        [
            json!({"token": "token of arn:execution:1", "output": "arn:execution:1"}),
            json!({"token": "token of arn:execution:2", "output": "arn:execution:2"}),
        ]
    );
}

#[tokio::test]
async fn told_what_is_not_final_it_answers_nobody() {
    let world = world(&["arn:execution:1"]);
    let look = async |_: &Asked| Ok(None);
    world.call(telling("arn:task"), look).await.unwrap();
    assert_eq!(world.answers(), [] as [Value; 0]);
    assert_eq!(world.deleted.num_calls(), 0);
}

#[tokio::test]
async fn told_what_is_a_failure_it_leaves_the_state_to_find_it_when_it_asks_again() {
    let world = world(&["arn:execution:1", "arn:execution:2"]);
    let look = async |asked: &Asked| match asked.execution.as_str() {
        "arn:execution:1" => Err(Failure::TaskNotFound(asked.task.clone())),
        _ => Ok(Some(json!(2))),
    };
    world.call(telling("arn:task"), look).await.unwrap();
    assert_eq!(
        world.answers(),
        [json!({"token": "token of arn:execution:2", "output": 2})]
    );
}

#[tokio::test]
async fn told_it_is_told_again_where_aws_did_not_answer_and_answers_the_others() {
    let world = world(&["arn:execution:1", "arn:execution:2"]);
    let look = async |asked: &Asked| match asked.execution.as_str() {
        "arn:execution:1" => Err(throttled().into()),
        _ => Ok(Some(json!(2))),
    };
    let told = world.call(telling("arn:task"), look).await;
    assert_eq!(told.unwrap_err(), throttled().into());
    assert_eq!(
        world.answers(),
        [json!({"token": "token of arn:execution:2", "output": 2})]
    );
}

#[tokio::test]
async fn a_question_that_cannot_be_read_any_more_keeps_nobody_else_waiting() {
    let world = world(&["of-another-version", "arn:execution:2"]);
    let look = async |_: &Asked| Ok(Some(json!(2)));
    world.call(telling("arn:task"), look).await.unwrap();
    assert_eq!(
        world.answers(),
        [json!({"token": "token of arn:execution:2", "output": 2})]
    );
    assert_eq!(world.deleted.num_calls(), 1);
}

#[tokio::test]
async fn told_while_another_call_looks_it_only_leaves_word() {
    let world = world(&[LOOKED_FOR]);
    let look = async |_: &Asked| panic!("another one looks");
    world.call(telling("arn:task"), look).await.unwrap();
    assert_eq!(world.answers(), [] as [Value; 0]);
    assert_eq!(world.stopped.num_calls(), 0);
}

#[tokio::test]
async fn who_looks_while_more_events_come_looks_once_more_for_all_of_them() {
    let world = world_with(&["arn:execution:1"], true);
    let looks = std::cell::Cell::new(0);
    let look = async |_: &Asked| {
        looks.set(looks.get() + 1);
        Ok(None)
    };
    world.call(telling("arn:task"), look).await.unwrap();
    assert_eq!((looks.get(), world.stopped.num_calls()), (2, 1));
}

#[tokio::test]
async fn who_fails_to_look_leaves_the_next_event_to_look() {
    let world = world_with(&["arn:execution:1"], true);
    let look = async |_: &Asked| Err(denied().into());
    let told = world.call(telling("arn:task"), look).await;
    assert_eq!(told.unwrap_err(), denied().into());
    assert_eq!(world.stopped.num_calls(), 1);
}
