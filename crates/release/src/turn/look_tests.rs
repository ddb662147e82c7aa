use super::*;
use crate::rfc3339;
use crate::sample::{ME, NOW, OTHER, START, alarm, push};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemOutput;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsError, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason};
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionError, DescribeExecutionOutput};
use aws_sdk_sfn::operation::send_task_success::SendTaskSuccessOutput;
use aws_sdk_sfn::types::error::ExecutionDoesNotExist;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use std::collections::HashMap;

type Attributes = Vec<(&'static str, AttributeValue)>;

const EARLIER: &str = "2026-01-01T00:00:00#2026-01-01T00:00:00.000Z";
const MINE: &str = "2026-01-01T00:00:05#2026-01-01T00:00:05.000Z";

fn me() -> TakeTurnInput {
    push(ME, "web", MINE)
}

fn line(dynamodb: &[&Rule], sfn: &[&Rule]) -> Line {
    let dynamodb = mock_client!(aws_sdk_dynamodb, RuleMode::Sequential, dynamodb);
    let sfn = mock_client!(aws_sdk_sfn, RuleMode::Sequential, sfn);
    let waits = Waits::new(dynamodb.clone(), sfn.clone(), "waits".to_owned(), WAITS_AS);
    Line {
        table: Table::new(dynamodb, "releases".to_owned()),
        sfn,
        waits,
        retention: Retention { days: 90 },
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn item(attributes: Attributes) -> Rule {
    let item: HashMap<_, _> = attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    mock!(aws_sdk_dynamodb::Client::get_item)
        .match_requests(|request| request.table_name() == Some("releases"))
        .then_output(move || {
            let item = (!item.is_empty()).then(|| item.clone());
            GetItemOutput::builder().set_item(item).build()
        })
}

fn nothing() -> Rule {
    item(vec![])
}

fn held_by(execution: &str) -> Attributes {
    vec![
        ("item", text("turn")),
        ("holder", text(execution)),
        ("heldSince", text(START)),
        ("heldRecord", text("release#1#holder")),
        ("heldDigest", text("sha256:1")),
        ("heldRedrives", AttributeValue::N("0".to_owned())),
    ]
}

fn in_line(execution: &str, order: &str) -> Attributes {
    vec![
        ("waiting", text(execution)),
        ("waitingOrder", text(order)),
        ("waitingDigest", text("sha256:1")),
        ("waitingFor", text("web")),
    ]
}

fn both(mut one: Attributes, other: Attributes) -> Attributes {
    one.extend(other);
    one
}

fn written() -> Rule {
    mock!(aws_sdk_dynamodb::Client::transact_write_items)
        .then_output(|| TransactWriteItemsOutput::builder().build())
}

fn refused() -> Rule {
    mock!(aws_sdk_dynamodb::Client::transact_write_items).then_error(|| {
        let reason = CancellationReason::builder()
            .code("ConditionalCheckFailed")
            .build();
        TransactWriteItemsError::TransactionCanceledException(
            TransactionCanceledException::builder()
                .cancellation_reasons(reason)
                .build(),
        )
    })
}

fn is(status: ExecutionStatus) -> Rule {
    mock!(aws_sdk_sfn::Client::describe_execution)
        .match_requests(|request| request.included_data() == Some(&IncludedData::MetadataOnly))
        .then_output(move || {
            DescribeExecutionOutput::builder()
                .execution_arn(OTHER)
                .state_machine_arn("arn:machine")
                .start_date(aws_sdk_sfn::primitives::DateTime::from_millis(NOW))
                .status(status.clone())
                .build()
                .unwrap()
        })
}

#[tokio::test]
async fn a_free_turn_is_taken_and_kept() {
    let (free, no_record, take) = (nothing(), nothing(), written());
    let line = line(&[&free, &no_record, &take], &[]);
    let before = bluegreen_runtime::now();
    let answer = line.look(&me(), 0).await.unwrap().unwrap();
    assert!(answer.taken && !answer.touched);
    assert!((before..=bluegreen_runtime::now()).contains(&answer.at));
}

#[tokio::test]
async fn a_turn_whose_taking_had_its_answer_lost_is_found_to_be_mine() {
    let (free, no_record, lost) = (nothing(), nothing(), refused());
    let (mine, record) = (item(held_by(ME)), nothing());
    let line = line(&[&free, &no_record, &lost, &mine, &record], &[]);
    let answer = line.look(&me(), 0).await.unwrap().unwrap();
    assert!(answer.taken && !answer.touched);
    assert_eq!(rfc3339(answer.at), START);
}

#[tokio::test]
async fn who_touched_services_before_a_redrive_is_told() {
    let again = crate::sample::redriven(me(), 1);
    let mut of_this_try = held_by(ME);
    of_this_try.pop();
    of_this_try.push(("heldRedrives", AttributeValue::N("1".to_owned())));
    for (redrives, touched) in [("0", true), ("1", false)] {
        let mine = item(of_this_try.clone());
        let record = item(vec![
            ("item", text("release#1#me")),
            ("verdict", text("inProgress")),
            ("touched", AttributeValue::N(redrives.to_owned())),
        ]);
        let answer = line(&[&mine, &record], &[]).look(&again, 0).await;
        assert_eq!(answer.unwrap().unwrap().touched, touched);
    }
}

#[tokio::test]
async fn a_release_that_only_ends_needs_no_turn() {
    let mut ends = me();
    ends.action = Action::End;
    let answer = line(&[], &[]).look(&ends, 0).await.unwrap().unwrap();
    assert!(!answer.taken);
    assert_eq!(answer.superseded_by, None);
}

#[tokio::test]
async fn who_is_next_waits_for_a_living_one() {
    let next = item(both(held_by(OTHER), in_line(ME, MINE)));
    let lives = is(ExecutionStatus::Running);
    let answer = line(&[&next], &[&lives]).look(&me(), 0).await;
    assert_eq!(answer.unwrap(), None);
    let next = item(both(held_by(OTHER), in_line(ME, MINE)));
    let begins_again = is(ExecutionStatus::PendingRedrive);
    let answer = line(&[&next], &[&begins_again]).look(&me(), 0).await;
    assert_eq!(answer.unwrap(), None);
}

#[tokio::test]
async fn who_is_next_takes_a_dead_ones_turn_and_closes_its_record() {
    let next = item(both(held_by(OTHER), in_line(ME, MINE)));
    let dead = is(ExecutionStatus::Aborted);
    let (own, its) = (nothing(), nothing());
    let take_over = mock!(aws_sdk_dynamodb::Client::transact_write_items)
        .match_requests(|request| {
            let keys = request.transact_items().iter().map(|item| {
                let key = &item.update().unwrap().key()["item"];
                key.as_s().unwrap().clone()
            });
            let keys: Vec<_> = keys.collect();
            keys == ["turn", &me().release.record, "release#1#holder"]
        })
        .then_output(|| TransactWriteItemsOutput::builder().build());
    let (mine, record) = (item(held_by(ME)), nothing());
    let line = line(&[&next, &own, &its, &take_over, &mine, &record], &[&dead]);
    assert!(line.look(&me(), 0).await.unwrap().unwrap().taken);
}

#[tokio::test]
async fn an_execution_that_is_gone_has_nobody_wait_for_it() {
    let next = item(both(held_by(OTHER), in_line(ME, MINE)));
    let gone = mock!(aws_sdk_sfn::Client::describe_execution).then_error(|| {
        let gone = ExecutionDoesNotExist::builder().build();
        DescribeExecutionError::ExecutionDoesNotExist(gone)
    });
    let (own, its, take_over) = (nothing(), nothing(), written());
    let (mine, record) = (item(held_by(ME)), nothing());
    let line = line(&[&next, &own, &its, &take_over, &mine, &record], &[&gone]);
    assert!(line.look(&me(), 0).await.unwrap().unwrap().taken);
}

#[tokio::test(start_paused = true)]
async fn the_last_call_of_a_dead_one_is_waited_for_as_long_as_there_is_time() {
    let until = bluegreen_runtime::now() + 1000;
    let held = || {
        let changing = AttributeValue::N(until.to_string());
        both(held_by(OTHER), vec![("changingUntil", changing)])
    };
    let fired = alarm(ME, MINE);
    let (first, dead) = (item(held()), is(ExecutionStatus::Aborted));
    let hurried = line(&[&first], &[&dead]).look(&fired, 0).await;
    assert_eq!(hurried.unwrap(), None);
    let (first, free) = (item(held()), nothing());
    let (no_record, take) = (nothing(), written());
    let (mine, record) = (item(held_by(ME)), nothing());
    let (dead, lives) = (is(ExecutionStatus::Aborted), is(ExecutionStatus::Running));
    let rules = [&first, &free, &no_record, &take, &mine, &record];
    let answer = line(&rules, &[&dead, &lives])
        .look(&fired, until + 5000)
        .await;
    assert!(answer.unwrap().unwrap().taken);
    // It may die while it waits.
    let (first, dead, too) = (
        item(held()),
        is(ExecutionStatus::Aborted),
        is(ExecutionStatus::Aborted),
    );
    let answer = line(&[&first], &[&dead, &too])
        .look(&fired, until + 5000)
        .await;
    assert_eq!(answer.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_dead_one_that_finishes_before_its_time_is_not_waited_for() {
    let until = bluegreen_runtime::now() + 300_000;
    let changing = AttributeValue::N(until.to_string());
    let held = item(both(held_by(OTHER), vec![("changingUntil", changing)]));
    let finished = item(held_by(OTHER));
    let (own, its, take_over) = (nothing(), nothing(), written());
    let (mine, record) = (item(held_by(ME)), nothing());
    let dead = || is(ExecutionStatus::Aborted);
    let (dead, lives, still) = (dead(), is(ExecutionStatus::Running), dead());
    let rules = [&held, &finished, &own, &its, &take_over, &mine, &record];
    let line = line(&rules, &[&dead, &lives, &still]);
    let began = tokio::time::Instant::now();
    let answer = line.look(&alarm(ME, MINE), until + 5000).await;
    assert!(answer.unwrap().unwrap().taken);
    assert!(began.elapsed() <= Duration::from_millis(5000));
}

#[tokio::test]
async fn who_displaces_an_older_one_tells_it_so() {
    let older = item(both(held_by("arn:holder"), in_line(OTHER, EARLIER)));
    let stand = written();
    let waits = mock!(aws_sdk_dynamodb::Client::delete_item)
        .match_requests(|request| request.table_name() == Some("waits"))
        .then_output(|| {
            DeleteItemOutput::builder()
                .attributes("token", text("its token"))
                .attributes("asked", text("{}"))
                .build()
        });
    let forgotten = written();
    let next = item(both(held_by("arn:holder"), in_line(ME, MINE)));
    let told = mock!(aws_sdk_sfn::Client::send_task_success)
        .match_requests(|request| {
            let output: TurnTaken = serde_json::from_str(request.output().unwrap()).unwrap();
            request.task_token() == Some("its token")
                && !output.taken
                && output.superseded_by.as_deref() == Some(ME)
        })
        .then_output(|| SendTaskSuccessOutput::builder().build());
    let lives = is(ExecutionStatus::Running);
    let line = line(
        &[&older, &stand, &waits, &forgotten, &next],
        &[&told, &lives],
    );
    assert_eq!(line.look(&me(), 0).await.unwrap(), None);
    assert_eq!(told.num_calls(), 1);
}

#[tokio::test]
async fn who_finds_a_newer_one_in_its_place_gives_way() {
    let later = "2026-01-01T00:00:09#2026-01-01T00:00:09.000Z";
    let replaced = item(both(held_by("arn:holder"), in_line(OTHER, later)));
    let lives = is(ExecutionStatus::Running);
    let answer = line(&[&replaced], &[&lives]).look(&me(), 0).await;
    let answer = answer.unwrap().unwrap();
    assert!(!answer.taken);
    assert_eq!(answer.superseded_by.as_deref(), Some(OTHER));
}

/// The turn of the stack is awaited by this release.
fn awaited_by_me() -> [Rule; 2] {
    use aws_sdk_dynamodb::operation::query::QueryOutput;
    let asked = serde_json::to_string(&me()).unwrap();
    let pointers = mock!(aws_sdk_dynamodb::Client::query)
        .match_requests(|request| {
            let values = request.expression_attribute_values().unwrap();
            values.values().any(|value| *value == text("turn#shop"))
        })
        .then_output(|| {
            let waiter = format!("{WAITS_AS}#{ME}");
            let pointer = [("awaited", text("turn#shop")), ("waiter", text(&waiter))];
            let pointer = pointer.map(|(name, value)| (name.to_owned(), value));
            QueryOutput::builder().items(HashMap::from(pointer)).build()
        });
    let counted = mock!(aws_sdk_dynamodb::Client::update_item).then_output(move || {
        UpdateItemOutput::builder()
            .attributes("token", text("mine"))
            .attributes("asked", text(&asked))
            .attributes("events", AttributeValue::N("1".to_owned()))
            .build()
    });
    [pointers, counted]
}

#[tokio::test]
async fn the_turn_is_handed_on_to_who_waits_for_it() {
    let [pointers, counted] = awaited_by_me();
    let (free, no_record) = (item(in_line(ME, MINE)), nothing());
    let (take, forgotten) = (written(), written());
    let lives = is(ExecutionStatus::Running);
    let told = mock!(aws_sdk_sfn::Client::send_task_success)
        .match_requests(|request| request.task_token() == Some("mine"))
        .then_output(|| SendTaskSuccessOutput::builder().build());
    let rules = [&pointers, &counted, &free, &no_record, &take, &forgotten];
    let handed_on: Result<(), Failure> = line(&rules, &[&lives, &told]).hand_on("shop").await;
    assert!(handed_on.is_ok());
    assert_eq!(told.num_calls(), 1);
}

#[tokio::test]
async fn nothing_is_handed_on_to_one_that_waited_and_is_dead() {
    let [pointers, counted] = awaited_by_me();
    let dead = is(ExecutionStatus::Aborted);
    let stopped = mock!(aws_sdk_dynamodb::Client::update_item)
        .then_output(|| UpdateItemOutput::builder().build());
    let rules = [&pointers, &counted, &stopped];
    // It would take the turn, or the place of one that lives.
    let handed_on: Result<(), Failure> = line(&rules, &[&dead]).hand_on("shop").await;
    assert!(handed_on.is_ok());
    assert_eq!(dead.num_calls(), 1);
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

impl From<&Failure> for &'static str {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::InvalidInput(_) => "InvalidInput",
            Failure::AwsRequestFailed(_) => "AwsRequestFailed",
        }
    }
}
