use crate::failure::Failure;
use bluegreen_callback::{Call, Event, drive};
use bluegreen_contract::TakeTurnInput;
use bluegreen_release::turn::{Line, awaited};
use serde_json::Value;

/// What the last look may take, milliseconds.
const LAST_LOOK_MS: i64 = 15_000;

/// Answers the state machine's question once the release has the turn or has to give way, at once or
/// when an event tells that another one has ended. A wait whose end is known is waited for here, as
/// far as there is time until `deadline`, when Lambda ends this call; milliseconds since 1970.
pub(crate) async fn handle(line: &Line, payload: Value, deadline: i64) -> Result<(), Failure> {
    let call = Call::parse(payload)?;
    let told = matches!(call, Call::Told(_));
    let until = deadline - LAST_LOOK_MS;
    drive(
        &line.waits,
        call,
        |asked: &TakeTurnInput| vec![awaited(&asked.release.stack)],
        |asked: &TakeTurnInput| &asked.execution.id,
        turn_of,
        async |asked: &TakeTurnInput| {
            Ok(match told {
                true => line.look_again(asked, until).await?,
                false => line.look(asked, until).await?,
            })
        },
    )
    .await
}

/// The turn that a release may have had which has ended. Its input names the stack; Step Functions
/// leaves out of the event what is too long
/// (<https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html>).
fn turn_of(event: &Event) -> Option<String> {
    if event.detail_type != "Step Functions Execution Status Change" {
        return None;
    }
    let input: Value = serde_json::from_str(event.detail["input"].as_str()?).ok()?;
    Some(awaited(input["stack"].as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemOutput;
    use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
    use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
    use aws_sdk_dynamodb::operation::query::QueryOutput;
    use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
    use aws_sdk_dynamodb::types::AttributeValue;
    use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
    use aws_sdk_sfn::operation::send_task_success::SendTaskSuccessOutput;
    use aws_sdk_sfn::types::ExecutionStatus;
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use bluegreen_callback::Waits;
    use bluegreen_contract::TurnTaken;
    use bluegreen_release::{Retention, Table};
    use serde_json::json;
    use std::collections::HashMap;

    const ME: &str = "arn:execution:me";
    const START: &str = "2026-01-01T00:00:05.000Z";

    fn line(dynamodb: &[&Rule], sfn: &[&Rule]) -> Line {
        let dynamodb = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, dynamodb);
        let sfn = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, sfn);
        let name = "waits".to_owned();
        Line {
            waits: Waits::new(dynamodb.clone(), sfn.clone(), name, "take-turn"),
            table: Table::new(dynamodb, "releases".to_owned()),
            sfn,
            retention: Retention { days: 90 },
        }
    }

    fn asked() -> Value {
        json!({
            "release": {
                "stack": "shop", "action": "deploy", "repository": "web", "tag": "v2",
                "digest": "sha256:2", "image": "registry/web@sha256:2",
                "record": format!("release#{START}#me"), "order": format!("2026-01-01T00:00:05#{START}"),
                "startedAt": START, "pushedAt": null, "startedBy": "a person", "to": null,
                "alarm": null, "force": false, "ignoreAlarms": false
            },
            "execution": {"id": ME, "redrives": 0},
            "action": "deploy"
        })
    }

    fn stored() -> [Rule; 3] {
        [
            mock!(aws_sdk_dynamodb::Client::put_item)
                .then_output(|| PutItemOutput::builder().build()),
            mock!(aws_sdk_dynamodb::Client::batch_write_item)
                .match_requests(|request| {
                    let items = request.request_items().unwrap()["waits"].iter();
                    items.filter_map(|item| item.put_request()).all(|put| {
                        ["turn#shop", "take-turn#arn:execution:me"]
                            .contains(&put.item()["awaited"].as_s().unwrap().as_str())
                    })
                })
                .then_output(|| BatchWriteItemOutput::builder().build()),
            mock!(aws_sdk_dynamodb::Client::transact_write_items)
                .then_output(|| TransactWriteItemsOutput::builder().build()),
        ]
    }

    fn turn_held_by(holder: &'static str) -> Rule {
        let is_turn = |key: Option<&HashMap<String, AttributeValue>>| {
            key.and_then(|key| key.get("item"))
                .is_some_and(|item| item.as_s().unwrap() == "turn")
        };
        mock!(aws_sdk_dynamodb::Client::get_item)
            .match_requests(move |request| is_turn(request.key()))
            .then_output(move || {
                let item = [
                    ("item", "turn"),
                    ("holder", holder),
                    ("heldSince", START),
                    ("waiting", ME),
                    ("waitingOrder", "2026-01-01T00:00:05#"),
                    ("waitingFor", "web"),
                ];
                let item = item
                    .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())));
                GetItemOutput::builder()
                    .set_item(Some(HashMap::from(item)))
                    .build()
            })
    }

    fn no_record() -> Rule {
        mock!(aws_sdk_dynamodb::Client::get_item).then_output(|| GetItemOutput::builder().build())
    }

    fn told() -> Rule {
        mock!(aws_sdk_sfn::Client::send_task_success)
            .match_requests(|request| {
                let output: TurnTaken = serde_json::from_str(request.output().unwrap()).unwrap();
                request.task_token() == Some("token") && output.taken
            })
            .then_output(|| SendTaskSuccessOutput::builder().build())
    }

    #[tokio::test]
    async fn who_has_the_turn_is_answered_at_once() {
        let [put, batch, forgotten] = stored();
        let (mine, record, told) = (turn_held_by(ME), no_record(), told());
        let line = line(&[&put, &batch, &forgotten, &mine, &record], &[&told]);
        let payload = json!({"token": "token", "asked": asked()});
        handle(&line, payload, 0).await.unwrap();
        assert_eq!(told.num_calls(), 1);
    }

    #[tokio::test]
    async fn who_has_to_wait_is_not_answered() {
        let [put, batch, forgotten] = stored();
        let other = turn_held_by("arn:execution:other");
        let lives = mock!(aws_sdk_sfn::Client::describe_execution).then_output(|| {
            DescribeExecutionOutput::builder()
                .execution_arn("arn:execution:other")
                .state_machine_arn("arn:machine")
                .start_date(aws_sdk_sfn::primitives::DateTime::from_secs(0))
                .status(ExecutionStatus::Running)
                .build()
                .unwrap()
        });
        let told = told();
        let line = line(&[&put, &batch, &forgotten, &other], &[&lives, &told]);
        let payload = json!({"token": "token", "asked": asked()});
        handle(&line, payload, 0).await.unwrap();
        assert_eq!((lives.num_calls(), told.num_calls()), (1, 0));
    }

    fn event(detail_type: &str, input: Value) -> Value {
        json!({
            "version": "0", "id": "1", "detail-type": detail_type, "source": "aws.states",
            "account": "123456789012", "time": START, "region": "eu-west-1",
            "resources": ["arn:execution:other"],
            "detail": {"executionArn": "arn:execution:other", "status": "ABORTED", "input": input}
        })
    }

    #[tokio::test]
    async fn who_waits_for_the_turn_of_a_dead_one_looks_again() {
        let waiters = mock!(aws_sdk_dynamodb::Client::query)
            .match_requests(|request| {
                let values = request.expression_attribute_values().unwrap();
                let turn = AttributeValue::S("turn#shop".to_owned());
                values.values().any(|value| *value == turn)
            })
            .then_output(|| QueryOutput::builder().build());
        let input = json!({"stack": "shop", "tag": "v2"}).to_string();
        let ended = event("Step Functions Execution Status Change", json!(input));
        handle(&line(&[&waiters], &[]), ended, 0).await.unwrap();
        assert_eq!(waiters.num_calls(), 1);
    }

    #[tokio::test]
    async fn an_event_that_names_no_stack_tells_nobody_anything() {
        let ended = "Step Functions Execution Status Change";
        for event in [
            event(ended, Value::Null),
            event(ended, json!("no JSON")),
            event(ended, json!("{}")),
            event("ECS Task State Change", json!("{\"stack\": \"shop\"}")),
        ] {
            handle(&line(&[], &[]), event, 0).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_question_that_is_none_is_refused_by_its_name() {
        let payload = json!({"token": "token", "asked": {"release": {}}});
        let failure = handle(&line(&[], &[]), payload, 0).await.unwrap_err();
        let diagnostic = bluegreen_runtime::diagnostic(failure);
        assert_eq!(diagnostic.error_type, "InvalidInput");
        assert!(diagnostic.error_message.contains("`asked.release"));
    }
}
