use super::*;
use crate::samples::{EXECUTION, RECORD, failure, health, input, plan};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ErrorMetadata;
use aws_sdk_dynamodb::operation::get_item::{GetItemError, GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryError, QueryOutput};
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsError, TransactWriteItemsInput, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_callback::Waits;
use bluegreen_release::{Retention, Table};
use bluegreen_runtime::diagnostic;
use serde_json::json;

const NOW: i64 = 1_767_225_690_000;

fn line(rules: &[&Rule]) -> Line {
    let dynamodb = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, rules);
    let sfn = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &[]);
    let waits = "waits".to_owned();
    Line {
        table: Table::new(dynamodb.clone(), "releases".to_owned()),
        waits: Waits::new(dynamodb, sfn.clone(), waits, "take-turn"),
        sfn,
        retention: Retention { days: 90 },
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn asks_for(request: &GetItemInput, item: &str) -> bool {
    request.key().and_then(|key| key.get("item")) == Some(&text(item))
}

/// The turn is this release's.
fn turn() -> Rule {
    mock!(Client::get_item)
        .match_requests(|request| asks_for(request, "turn"))
        .then_output(|| {
            GetItemOutput::builder()
                .item("item", text("turn"))
                .item("holder", text(EXECUTION))
                .item("heldSince", text("2026-01-01T00:00:02.340Z"))
                .item("heldRecord", text(RECORD))
                .item("heldDigest", text("sha256:2"))
                .item("heldRedrives", AttributeValue::N("0".to_owned()))
                .build()
        })
}

/// What T3 has made of its record.
fn record() -> Rule {
    mock!(Client::get_item)
        .match_requests(|request| asks_for(request, RECORD))
        .then_output(|| {
            let services = r#"[{"cluster":"c","service":"web","taskDefinition":"web:2"}]"#;
            GetItemOutput::builder()
                .item("item", text(RECORD))
                .item("verdict", text("succeeded"))
                .item("services", text(services))
                .build()
        })
}

fn writes(rule: impl Fn(&TransactWriteItemsInput) -> bool + Send + Sync + 'static) -> Rule {
    mock!(Client::transact_write_items)
        .match_requests(rule)
        .then_output(|| TransactWriteItemsOutput::builder().build())
}

fn refused() -> Rule {
    mock!(Client::transact_write_items).then_error(|| {
        let metadata = ErrorMetadata::builder()
            .code("AccessDeniedException")
            .message("not you")
            .build();
        TransactWriteItemsError::generic(metadata)
    })
}

fn nobody_waits() -> Rule {
    mock!(Client::query)
        .match_requests(|request| request.table_name() == Some("waits"))
        .then_output(|| QueryOutput::builder().build())
}

fn healthy(retries: u32) -> Value {
    let healthy = json!({
        "health": health("succeeded"), "current": {}, "retries": retries, "updatedAt": 1
    });
    serde_json::to_value(input(healthy)).unwrap()
}

#[tokio::test]
async fn the_turn_is_kept_while_a_call_that_came_late_may_change_something() {
    let changed = || {
        mock!(Client::get_item)
            .match_requests(|request| asks_for(request, "turn"))
            .then_output(|| {
                GetItemOutput::builder()
                    .item("holder", text(EXECUTION))
                    .item("heldRedrives", AttributeValue::N("0".to_owned()))
                    .item("changingUntil", AttributeValue::N(NOW.to_string()))
                    .item("changingBy", text("an earlier call"))
                    .build()
            })
    };
    for retries in [0, 7, 99] {
        let failure = handle(&line(&[&changed(), &record()]), healthy(retries), NOW).await;
        assert_eq!(<&str>::from(&failure.unwrap_err()), "CallInProgress");
    }
    // Whoever wants it takes it over when that call is over.
    let outcome = handle(&line(&[&changed(), &record()]), healthy(100), NOW).await;
    assert!(
        outcome
            .unwrap()
            .reason
            .contains("earlier call by the execution")
    );
}

#[tokio::test]
async fn the_record_is_closed_and_the_turn_given_back_in_one_write_and_the_next_one_is_woken() {
    let close = writes(|request| {
        let updates = request.transact_items().iter().filter_map(|it| it.update());
        let items: Vec<_> = updates.filter_map(|it| it.key().get("item")).collect();
        items == [&text("turn"), &text(RECORD)]
    });
    let wake = nobody_waits();
    let outcome = handle(&line(&[&turn(), &record(), &close, &wake]), healthy(0), NOW).await;
    assert_eq!(
        serde_json::to_value(outcome.unwrap()).unwrap(),
        json!({
            "verdict": "succeeded",
            "reason": "Stack shop runs v2 and is healthy. Service demo/web: it is so.",
            "stack": "shop", "tag": "v2", "digest": "sha256:2",
            "services": [{"service": "web", "taskDefinition": "web:2"}]
        })
    );
    assert_eq!((close.num_calls(), wake.num_calls()), (1, 1));
}

#[tokio::test]
async fn a_failure_names_what_runs_on_or_is_told_without() {
    const SERVES: &str = "release#2025-12-01T00:00:00.000Z#shop-v1-1";
    let turn = || {
        mock!(Client::get_item)
            .match_requests(|request| asks_for(request, "turn"))
            .then_output(|| {
                GetItemOutput::builder()
                    .item("item", text("turn"))
                    .item("currentRecord", text(SERVES))
                    .build()
            })
    };
    let own = mock!(Client::get_item)
        .match_requests(|request| asks_for(request, RECORD))
        .then_output(|| GetItemOutput::builder().build());
    let serves = mock!(Client::get_item)
        .match_requests(|request| asks_for(request, SERVES))
        .then_output(|| {
            GetItemOutput::builder()
                .item("item", text(SERVES))
                .item("verdict", text("succeeded"))
                .item("digest", text("sha256:1"))
                .item("tag", text("v1"))
                .build()
        });
    let unread = mock!(Client::get_item)
        .match_requests(|request| asks_for(request, SERVES))
        .then_error(|| {
            let metadata = ErrorMetadata::builder()
                .code("AccessDeniedException")
                .build();
            GetItemError::generic(metadata)
        });
    let mut plan = plan(json!({}));
    plan["release"]["imagesBefore"] = json!(["registry/shop@sha256:1"]);
    let failure = failure("CheckExitCode", "MigrationFailed", "It exited 1.");
    let event = serde_json::to_value(input(json!({"plan": plan, "failure": failure}))).unwrap();
    let said = "v2 was not deployed to stack shop: It exited 1.";
    for (serves, first) in [
        (&serves, format!("{said} v1 (shop-v1-1) runs on.")),
        (&unread, said.to_owned()),
    ] {
        let (turn, written, nobody) = (turn(), writes(|_| true), nobody_waits());
        let rules = [&turn, &own, serves, &written, &nobody];
        let outcome = handle(&line(&rules), event.clone(), NOW).await.unwrap();
        assert_eq!(outcome.reason.lines().next(), Some(first.as_str()));
    }
}

#[tokio::test]
async fn a_release_that_was_never_planned_has_no_record_and_no_turn() {
    let failure = failure("PlanRelease", "StackNotFound", "There is no stack shop.");
    let input = input(json!({"plan": null, "turn": null, "failure": failure}));
    let event = serde_json::to_value(input).unwrap();
    let outcome = handle(&line(&[]), event, NOW).await.unwrap();
    assert_eq!(outcome.error.as_deref(), Some("StackNotFound"));
    assert_eq!(outcome.stack, None);
}

#[tokio::test]
async fn what_runs_already_is_told_where_there_was_nothing_to_deploy() {
    let plan = plan(json!({"action": "record", "ending": {"verdict": "nothingToDeploy"}}));
    let event = serde_json::to_value(input(json!({"plan": plan, "current": {}}))).unwrap();
    let rules = [&turn(), &record(), &writes(|_| true), &nobody_waits()];
    let outcome = handle(&line(&rules), event, NOW).await.unwrap();
    assert_eq!(outcome.verdict, "nothingToDeploy");
    assert_eq!(outcome.services[0].task_definition, "web:1");
}

#[tokio::test]
async fn what_cannot_be_written_is_tried_again_and_at_last_told_all_the_same() {
    let refused = refused();
    let line = line(&[&turn(), &record(), &refused]);
    let failure = handle(&line, healthy(6), NOW).await.unwrap_err();
    assert_eq!(diagnostic(failure).error_type, "AwsRequestFailed");

    let outcome = handle(&line, healthy(7), NOW).await.unwrap();
    assert_eq!(
        (outcome.verdict.as_str(), outcome.error),
        ("succeeded", None)
    );
    for part in ["is healthy", "the turn was not given back", "not you"] {
        assert!(outcome.reason.contains(part), "{}", outcome.reason);
    }
}

#[tokio::test]
async fn a_table_that_does_not_answer_hides_no_verdict() {
    let unread = mock!(Client::get_item).then_error(|| {
        let metadata = ErrorMetadata::builder()
            .code("AccessDeniedException")
            .build();
        GetItemError::generic(metadata)
    });
    let line = line(&[&unread]);
    let failure = handle(&line, healthy(0), NOW).await.unwrap_err();
    assert_eq!(diagnostic(failure).error_type, "AwsRequestFailed");
    let outcome = handle(&line, healthy(7), NOW).await.unwrap();
    assert!(outcome.reason.contains("is healthy"), "{outcome:?}");
    assert!(outcome.services.is_empty());
}

#[tokio::test]
async fn a_release_has_ended_also_where_nobody_could_be_woken() {
    let asleep = mock!(Client::query).then_error(|| {
        let metadata = ErrorMetadata::builder()
            .code("AccessDeniedException")
            .build();
        QueryError::generic(metadata)
    });
    let rules = [&turn(), &record(), &writes(|_| true), &asleep];
    let outcome = handle(&line(&rules), healthy(0), NOW).await.unwrap();
    assert_eq!(outcome.verdict, "succeeded");
    assert_eq!(asleep.num_calls(), 1);
}

#[tokio::test]
async fn an_input_that_is_none_is_refused_by_name() {
    let failure = handle(&line(&[]), json!({"retries": 0}), NOW)
        .await
        .unwrap_err();
    let failure = diagnostic(failure);
    assert_eq!(failure.error_type, "InvalidInput");
    assert!(failure.error_message.contains("`execution`"), "{failure:?}");
}
