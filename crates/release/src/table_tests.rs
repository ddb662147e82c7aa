use super::*;
use crate::sample::{ME, NOW, START, push};
use crate::{Changing, Seconds};
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::types::CancellationReason;
use aws_sdk_dynamodb::types::error::{
    ResourceNotFoundException, TransactionCanceledException, TransactionInProgressException,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_contract::TakeTurnInput;

const ORDER: &str = "2026-01-01T00:00:00#2026-01-01T00:00:05.000Z";

fn me() -> TakeTurnInput {
    push(ME, "web", ORDER)
}

fn table(rules: &[&Rule]) -> Table {
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::Sequential, rules);
    Table::new(client, "releases".to_owned())
}

fn texts(attributes: &[(&str, &str)]) -> HashMap<String, AttributeValue> {
    attributes
        .iter()
        .map(|(name, text)| ((*name).to_owned(), AttributeValue::S((*text).to_owned())))
        .collect()
}

/// A consistent read of the item.
fn reads(key: &'static str, attributes: &'static [(&'static str, &'static str)]) -> Rule {
    mock!(Client::get_item)
        .match_requests(move |request| {
            let stored = request
                .key()
                .and_then(|key| key["item"].as_s().ok())
                .unwrap();
            request.table_name() == Some("releases")
                && request.consistent_read() == Some(true)
                && stored == key
        })
        .then_output(move || {
            let item = (!attributes.is_empty()).then(|| texts(attributes));
            GetItemOutput::builder().set_item(item).build()
        })
}

const HELD_BY_ME: &[(&str, &str)] = &[
    ("item", "turn"),
    ("holder", ME),
    ("heldSince", START),
    ("heldRecord", "release#1#me"),
    ("heldDigest", "sha256:2"),
];

fn written() -> Rule {
    mock!(Client::transact_write_items).then_output(|| TransactWriteItemsOutput::builder().build())
}

fn cancelled(codes: &'static [&'static str]) -> Rule {
    mock!(Client::transact_write_items).then_error(move || {
        let reasons = codes
            .iter()
            .map(|code| CancellationReason::builder().code(*code).build());
        TransactWriteItemsError::TransactionCanceledException(
            TransactionCanceledException::builder()
                .set_cancellation_reasons(Some(reasons.collect()))
                .build(),
        )
    })
}

fn call() -> LambdaCall {
    LambdaCall {
        id: "this call".to_owned(),
        until: NOW,
    }
}

async fn begin(table: &Table) -> Result<(), BeginFailure> {
    let (me, call) = (me(), call());
    let beginning = Beginning {
        changing: Changing::Services,
        before: None,
        services: None,
        target: None,
        call: &call,
    };
    table.begin(&me.release, &me.execution, &beginning).await
}

#[tokio::test]
async fn a_change_is_one_transaction_of_the_turn_and_the_record() {
    let write = mock!(Client::transact_write_items)
        .match_requests(|request| {
            let [turn, record] = request.transact_items() else {
                return false;
            };
            let (turn, record) = (turn.update().unwrap(), record.update().unwrap());
            turn.key()["item"].as_s().unwrap() == "turn"
                && turn.condition_expression().unwrap().contains("#n0 = :v0")
                && record.key()["item"].as_s().unwrap() == &me().release.record
                && record.condition_expression().is_none()
        })
        .then_output(|| TransactWriteItemsOutput::builder().build());
    let turn = reads("turn", HELD_BY_ME);
    assert!(begin(&table(&[&turn, &write])).await.is_ok());
    assert_eq!(write.num_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_meets_another_one_is_sent_again() {
    let turn = reads("turn", HELD_BY_ME);
    let conflict = cancelled(&["TransactionConflict", "None"]);
    let throttled = cancelled(&["None", "ThrottlingError"]);
    let in_progress = mock!(Client::transact_write_items).then_error(|| {
        TransactWriteItemsError::TransactionInProgressException(
            TransactionInProgressException::builder().build(),
        )
    });
    let done = written();
    let table = table(&[&turn, &conflict, &throttled, &in_progress, &done]);
    assert!(begin(&table).await.is_ok());
    assert_eq!(done.num_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_meets_others_without_end_fails() {
    let turn = reads("turn", HELD_BY_ME);
    let conflict = cancelled(&["TransactionConflict"]);
    let rules = [&turn, &conflict];
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, rules);
    let table = Table::new(client, "releases".to_owned());
    let BeginFailure::Table(failure) = begin(&table).await.unwrap_err() else {
        panic!("nobody else has begun");
    };
    assert!(matches!(failure, TableFailure::AwsRequestFailed(_)));
    let finishing = TRIES as usize;
    assert_eq!(conflict.num_calls(), TRIES as usize + finishing);
}

#[tokio::test(start_paused = true)]
async fn where_a_condition_does_not_hold_the_turn_is_read_again() {
    let turn = reads("turn", HELD_BY_ME);
    let refused = cancelled(&["ConditionalCheckFailed", "None"]);
    let gone = reads("turn", &[("item", "turn"), ("holder", "arn:other")]);
    let failure = begin(&table(&[&turn, &refused, &gone])).await.unwrap_err();
    let BeginFailure::Table(TableFailure::ExecutionRedriven { execution, stack }) = failure else {
        panic!("another one has the turn");
    };
    assert_eq!((execution.as_str(), stack.as_str()), (ME, "shop"));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_still_allowed_is_written_at_the_next_try() {
    let turn = reads("turn", HELD_BY_ME);
    let refused = cancelled(&["ConditionalCheckFailed", "None"]);
    let again = reads("turn", HELD_BY_ME);
    let done = written();
    assert!(
        begin(&table(&[&turn, &refused, &again, &done]))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn who_has_not_the_turn_writes_nothing() {
    for attributes in [
        &[][..],
        &[("item", "turn"), ("holder", "arn:other")],
        &[("item", "turn"), ("waiting", ME)],
    ] {
        let turn = reads("turn", attributes);
        let failure = begin(&table(&[&turn])).await.unwrap_err();
        assert!(matches!(
            failure,
            BeginFailure::Table(TableFailure::ExecutionRedriven { .. })
        ));
    }
}

/// The turn is this execution's, and a call of it may change something for a minute.
fn is_changed_by(id: &'static str) -> Rule {
    mock!(Client::get_item).then_output(move || {
        let mut item = texts(HELD_BY_ME);
        let until = AttributeValue::N((now() + 60_000).to_string());
        item.insert("changingUntil".to_owned(), until);
        item.extend(texts(&[("changingBy", id)]));
        GetItemOutput::builder().set_item(Some(item)).build()
    })
}

#[tokio::test]
async fn a_call_waits_for_another_one_of_its_try_and_not_for_itself() {
    let other = is_changed_by("another call");
    let failure = begin(&table(&[&other])).await.unwrap_err();
    assert!(matches!(failure, BeginFailure::CallInProgress(_)));
    let (own, done) = (is_changed_by("this call"), written());
    assert!(begin(&table(&[&own, &done])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_finds_another_call_to_have_begun_meanwhile_waits_for_it() {
    let (turn, refused) = (
        reads("turn", HELD_BY_ME),
        cancelled(&["ConditionalCheckFailed", "None"]),
    );
    let other = is_changed_by("another call");
    let failure = begin(&table(&[&turn, &refused, &other])).await.unwrap_err();
    assert!(matches!(failure, BeginFailure::CallInProgress(_)));
}

/// What this call has written of itself is removed, if it is its own.
fn finishes() -> Rule {
    mock!(Client::transact_write_items)
        .match_requests(|request| {
            let [item] = request.transact_items() else {
                return false;
            };
            let update = item.update().unwrap();
            let names = update.expression_attribute_names().unwrap();
            update.key()["item"] == AttributeValue::S("turn".to_owned())
                && update.condition_expression() == Some("#n0 = :v0")
                && update.update_expression() == "REMOVE #n0, #n1"
                && ["#n0", "#n1"].map(|name| names[name].as_str())
                    == ["changingBy", "changingUntil"]
                && update.expression_attribute_values().unwrap()[":v0"]
                    == AttributeValue::S("this call".to_owned())
        })
        .then_output(|| TransactWriteItemsOutput::builder().build())
}

#[tokio::test]
async fn a_call_that_has_finished_removes_what_it_has_written_of_itself() {
    let finishes = finishes();
    table(&[&finishes]).finish("shop", &call()).await;
    assert_eq!(finishes.num_calls(), 1);
    // Another one has begun since.
    let refused = cancelled(&["ConditionalCheckFailed"]);
    table(&[&refused]).finish("shop", &call()).await;
    assert_eq!(refused.num_calls(), 1);
}

#[tokio::test]
async fn another_failure_is_told_as_it_is_and_a_call_that_was_perhaps_begun_is_over() {
    let turn = reads("turn", HELD_BY_ME);
    let missing = mock!(Client::transact_write_items).then_error(|| {
        TransactWriteItemsError::ResourceNotFoundException(
            ResourceNotFoundException::builder().build(),
        )
    });
    let finishes = finishes();
    let rules = [&turn, &missing, &finishes];
    let failure = begin(&table(&rules)).await.unwrap_err();
    let BeginFailure::Table(TableFailure::AwsRequestFailed(failure)) = failure else {
        panic!("the table is missing");
    };
    assert_eq!(failure.action, "dynamodb:TransactWriteItems");
    assert_eq!(failure.resource, "releases");
    assert_eq!(finishes.num_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_answer_was_lost_is_found_to_be_written() {
    let me = me();
    let record = "release#2026-01-01T00:00:05.000Z#me";
    let open = &[("item", "release#1#me"), ("verdict", "inProgress")];
    let closed = &[("item", "release#1#me"), ("verdict", "failed")];
    let (turn, mine) = (reads("turn", HELD_BY_ME), reads(record, open));
    let refused = cancelled(&["ConditionalCheckFailed", "ConditionalCheckFailed"]);
    let (free, ended) = (reads("turn", &[("item", "turn")]), reads(record, closed));
    let table = table(&[&turn, &mine, &refused, &free, &ended]);
    let retention = Retention { days: 90 };
    let end = End {
        verdict: "failed",
        cause: "because",
        error: None,
        seconds: &Seconds::default(),
        left_running: false,
    };
    let written = table.end(&me.release, &me.execution, &end, NOW, retention);
    assert!(written.await.is_ok());
    assert_eq!(ended.num_calls(), 1);
}

#[tokio::test]
async fn records_are_read_page_by_page_as_far_as_the_reader_goes() {
    let page = |from: Option<&'static str>, keys: &'static [&'static str], more: bool| {
        mock!(Client::query)
            .match_requests(move |request| {
                let start = request.exclusive_start_key().map(|key| key["item"].clone());
                request.scan_index_forward() == Some(false)
                    && request.consistent_read() == Some(true)
                    && start == from.map(|key| AttributeValue::S(key.to_owned()))
            })
            .then_output(move || {
                let items = keys
                    .iter()
                    .map(|key| texts(&[("item", key), ("verdict", "succeeded")]));
                let last = keys.last().filter(|_| more);
                QueryOutput::builder()
                    .set_items(Some(items.collect()))
                    .set_last_evaluated_key(last.map(|key| texts(&[("item", key)])))
                    .build()
            })
    };
    let first = page(None, &["release#3#c", "release#2#b"], true);
    let second = page(Some("release#2#b"), &["release#1#a"], false);
    let table = table(&[&first, &second]);
    let mut records = table.records("shop");
    let mut names = Vec::new();
    names.push(records.next().await.unwrap().unwrap().name().to_owned());
    names.push(records.next().await.unwrap().unwrap().name().to_owned());
    assert_eq!(second.num_calls(), 0, "the first page was enough so far");
    names.push(records.next().await.unwrap().unwrap().name().to_owned());
    assert_eq!(names, ["c", "b", "a"]);
    assert_eq!(records.next().await.unwrap(), None);
    assert_eq!(records.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_stack_without_releases_has_an_empty_turn_and_no_record() {
    let (turn, record) = (reads("turn", &[]), reads("release#1#a", &[]));
    let table = table(&[&turn, &record]);
    assert_eq!(table.turn("shop").await.unwrap(), Turn::default());
    assert_eq!(table.record("shop", "release#1#a").await.unwrap(), None);
}
