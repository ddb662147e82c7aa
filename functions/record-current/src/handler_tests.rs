use super::*;
use crate::samples::{
    EXECUTION, PARAMETER, RECORD, deployed, event, restored, restored_before, rolled_back,
};
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ssm::error::ErrorMetadata;
use aws_sdk_ssm::operation::put_parameter::{PutParameterError, PutParameterOutput};
use aws_sdk_ssm::types::ParameterType;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::diagnostic;
use serde_json::json;

const NOW: i64 = 1_767_225_690_000;
const UNTIL: i64 = NOW + 60_000;

fn call() -> LambdaCall {
    LambdaCall {
        id: "this call".to_owned(),
        until: UNTIL,
    }
}

fn table(rules: &[&Rule]) -> Table {
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, rules);
    Table::new(client, "releases".to_owned())
}

fn ssm(rules: &[&Rule]) -> aws_sdk_ssm::Client {
    mock_client!(aws_sdk_ssm, RuleMode::MatchAny, rules)
}

/// The turn and the release's own record, when `holder` has the turn.
fn held_by(holder: &'static str) -> Rule {
    mock!(aws_sdk_dynamodb::Client::get_item).then_output(move || {
        let text = |value: &str| AttributeValue::S(value.to_owned());
        GetItemOutput::builder()
            .item("item", text("turn"))
            .item("holder", text(holder))
            .item("heldSince", text("2026-01-01T00:00:02.340Z"))
            .item("heldRecord", text(RECORD))
            .item("heldRedrives", AttributeValue::N("0".to_owned()))
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

fn puts(image: &'static str) -> Rule {
    mock!(aws_sdk_ssm::Client::put_parameter)
        .match_requests(move |request| {
            request.name() == Some(PARAMETER)
                && request.value() == Some(image)
                && request.r#type() == Some(&ParameterType::String)
                && request.overwrite() == Some(true)
        })
        .then_output(|| PutParameterOutput::builder().build())
}

fn put_error(code: &'static str) -> PutParameterError {
    let metadata = ErrorMetadata::builder().code(code).message("not you");
    PutParameterError::generic(metadata.build())
}

#[tokio::test]
async fn what_serves_is_written_by_its_digest_before_a_command_runs() {
    for (event, image, runs) in [
        (deployed(), "registry/shop@sha256:2", true),
        (event(json!({})), "registry/shop@sha256:2", false),
        (restored(), "registry/shop@sha256:1", false),
        (restored_before(), "registry/shop:old", false),
        (rolled_back(), "registry/shop@sha256:1", false),
    ] {
        let (written, put) = (writes(), puts(image));
        let table = table(&[&held_by(EXECUTION), &finishes(), &written]);
        let current = handle(&table, &ssm(&[&put]), event, &call(), NOW)
            .await
            .unwrap();
        assert_eq!(current.post_deploy.is_some(), runs);
        assert_eq!(current.unwritten, None);
        assert_eq!((written.num_calls(), put.num_calls()), (1, 1), "{image}");
    }
}

/// That a contract command is due, at that time.
fn dues(at: i64) -> Rule {
    mock!(aws_sdk_dynamodb::Client::transact_write_items)
        .match_requests(move |request| {
            let [item] = request.transact_items() else {
                return false;
            };
            let values = item.update().unwrap().expression_attribute_values();
            let due = json!({"release": RECORD, "at": at}).to_string();
            values.is_some_and(|values| {
                values
                    .values()
                    .any(|it| *it == AttributeValue::S(due.clone()))
            })
        })
        .then_output(|| TransactWriteItemsOutput::builder().build())
}

/// An update of the stack could bring an earlier image back, which may need what the command removes.
#[tokio::test]
async fn a_contract_command_is_due_only_where_the_image_could_be_written() {
    let mut event = deployed();
    event["plan"]["contract"] = event["plan"]["postDeploy"].clone();
    let due = dues(NOW + 60_000);
    let tables = || table(&[&held_by(EXECUTION), &finishes(), &due, &writes()]);
    let put = puts("registry/shop@sha256:2");
    handle(&tables(), &ssm(&[&put]), event.clone(), &call(), NOW)
        .await
        .unwrap();
    assert_eq!(due.num_calls(), 1);

    let refused =
        mock!(aws_sdk_ssm::Client::put_parameter).then_error(|| put_error("AccessDeniedException"));
    handle(&tables(), &ssm(&[&refused]), event, &call(), NOW)
        .await
        .unwrap();
    assert_eq!(due.num_calls(), 1);
}

#[tokio::test]
async fn only_the_parameter_of_the_repository_is_written() {
    let mut event = deployed();
    event["plan"]["imageParameters"] = json!({"tools": "/bluegreen/tools/image"});
    let table = table(&[&held_by(EXECUTION), &writes()]);
    let current = handle(&table, &ssm(&[]), event, &call(), NOW)
        .await
        .unwrap();
    assert_eq!(current.unwritten, None);
}

#[tokio::test]
async fn an_image_that_could_not_be_written_is_told_and_no_command_runs() {
    let put = mock!(aws_sdk_ssm::Client::put_parameter)
        .sequence()
        .http_status(
            400,
            Some(r#"{"__type":"AccessDeniedException","message":"not you"}"#.to_owned()),
        )
        .build();
    let table = table(&[&held_by(EXECUTION), &writes()]);
    let current = handle(&table, &ssm(&[&put]), deployed(), &call(), NOW)
        .await
        .unwrap();
    assert_eq!(current.post_deploy, None);
    let unwritten = current.unwritten.unwrap();
    assert_eq!(unwritten.parameter, PARAMETER);
    assert_eq!(unwritten.serving.image, "registry/shop@sha256:2");
    assert_eq!(
        unwritten.reason,
        "ssm:PutParameter on /bluegreen/shop/image failed with AccessDeniedException: not you."
    );
    assert_eq!(put.num_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_parameter_that_somebody_else_writes_is_written_a_moment_later() {
    let put = mock!(aws_sdk_ssm::Client::put_parameter)
        .sequence()
        .error(|| put_error("TooManyUpdates"))
        .times(2)
        .output(|| PutParameterOutput::builder().build())
        .build();
    let table = table(&[&held_by(EXECUTION), &writes()]);
    let current = handle(&table, &ssm(&[&put]), deployed(), &call(), NOW)
        .await
        .unwrap();
    assert_eq!(current.unwritten, None);
    assert_eq!(put.num_calls(), 3);
}

#[tokio::test]
async fn without_the_turn_nothing_is_written_at_all() {
    let table = table(&[&held_by("arn:execution:shop-v3-1")]);
    let failure = handle(&table, &ssm(&[]), deployed(), &call(), NOW)
        .await
        .unwrap_err();
    assert_eq!(diagnostic(failure).error_type, "ExecutionRedriven");
}

#[tokio::test]
async fn an_input_that_is_none_is_refused_by_name() {
    let failure = handle(&table(&[]), &ssm(&[]), json!({}), &call(), NOW)
        .await
        .unwrap_err();
    let failure = diagnostic(failure);
    assert_eq!(failure.error_type, "InvalidInput");
    assert!(failure.error_message.contains("`plan`"), "{failure:?}");
}

#[tokio::test]
async fn an_earlier_call_that_may_still_write_is_not_overtaken() {
    let other = mock!(aws_sdk_dynamodb::Client::get_item).then_output(|| {
        GetItemOutput::builder()
            .item("holder", AttributeValue::S(EXECUTION.to_owned()))
            .item("heldRedrives", AttributeValue::N("0".to_owned()))
            .item("changingUntil", AttributeValue::N(UNTIL.to_string()))
            .item(
                "changingBy",
                AttributeValue::S("an earlier call".to_owned()),
            )
            .build()
    });
    let failure = handle(&table(&[&other]), &ssm(&[]), deployed(), &call(), NOW)
        .await
        .unwrap_err();
    assert_eq!(diagnostic(failure).error_type, "CallInProgress");
}

#[tokio::test]
async fn a_call_is_noted_to_be_over_whether_or_not_the_parameter_was_written() {
    let written = mock!(aws_sdk_ssm::Client::put_parameter)
        .then_output(|| PutParameterOutput::builder().build());
    let refused =
        mock!(aws_sdk_ssm::Client::put_parameter).then_error(|| put_error("AccessDeniedException"));
    for (put, is_written) in [(written, true), (refused, false)] {
        let (finishes, begins) = (finishes(), writes());
        let table = table(&[&held_by(EXECUTION), &finishes, &begins]);
        let handled = handle(&table, &ssm(&[&put]), deployed(), &call(), NOW).await;
        assert_eq!(handled.unwrap().unwritten.is_none(), is_written);
        assert_eq!((begins.num_calls(), finishes.num_calls()), (1, 1));
    }
}
