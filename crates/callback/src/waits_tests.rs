use super::*;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemOutput;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemOutput;
use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsInput, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::types::CancellationReason;
use aws_sdk_dynamodb::types::error::{
    ConditionalCheckFailedException, TransactionCanceledException,
};
use aws_sdk_sfn::Client as Sfn;
use aws_sdk_sfn::operation::send_task_success::{SendTaskSuccessError, SendTaskSuccessOutput};
use aws_sdk_sfn::types::error::{InvalidToken, TaskDoesNotExist, TaskTimedOut};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use serde_json::json;
use std::sync::{Arc, Mutex};

const EXECUTION: &str = "arn:execution:1";
const TOKEN_KEY: &str = "wait-task#arn:execution:1";

fn waits(dynamodb: &[&Rule], sfn: &[&Rule]) -> Waits {
    Waits::new(
        mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, dynamodb),
        mock_client!(aws_sdk_sfn, RuleMode::MatchAny, sfn),
        "waits".to_owned(),
        "wait-task",
    )
}

fn waiting(awaited: usize) -> Waiting {
    Waiting {
        execution: EXECUTION.to_owned(),
        token: "token-1".to_owned(),
        asked: json!({"task": "arn:task"}),
        awaited: arns(awaited),
    }
}

fn arns(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("arn:service:{n:03}")).collect()
}

/// What was written, request by request.
type Log<T> = Arc<Mutex<Vec<T>>>;

fn put_is_taken() -> Rule {
    mock!(DynamoDb::put_item).then_output(|| PutItemOutput::builder().build())
}

/// Takes batches, and leaves the last item of the first `short` of them out.
fn batches(log: &Log<usize>, short: usize) -> Rule {
    let log = log.clone();
    mock!(DynamoDb::batch_write_item).then_compute_output(move |request| {
        let requests = &request.request_items().unwrap()["waits"];
        let mut log = log.lock().unwrap();
        log.push(requests.len());
        let left = requests.last().filter(|_| log.len() <= short).cloned();
        BatchWriteItemOutput::builder()
            .set_unprocessed_items(left.map(|left| HashMap::from([("waits".into(), vec![left])])))
            .build()
    })
}

fn transactions(log: &Log<TransactWriteItemsInput>) -> Rule {
    let log = log.clone();
    mock!(DynamoDb::transact_write_items).then_compute_output(move |request| {
        log.lock().unwrap().push(request.clone());
        TransactWriteItemsOutput::builder().build()
    })
}

fn success() -> Rule {
    mock!(Sfn::send_task_success).then_output(|| SendTaskSuccessOutput::builder().build())
}

#[tokio::test]
async fn the_token_is_kept_with_the_question_until_no_execution_can_live_any_more() {
    let put = mock!(DynamoDb::put_item)
        .match_requests(|request| {
            let item = request.item().unwrap();
            let expires: u64 = item["expiresAt"].as_n().unwrap().parse().unwrap();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            request.table_name() == Some("waits")
                && item["awaited"] == text(TOKEN_KEY)
                && item["waiter"] == text("token")
                && item["token"] == text("token-1")
                && item["asked"] == text(r#"{"task":"arn:task"}"#)
                && item["awaits"] == AttributeValue::L(vec![text("arn:task")])
                && (expires - now.as_secs()).abs_diff(33 * 24 * 60 * 60) < 60
        })
        .then_output(|| PutItemOutput::builder().build());
    let pointer = mock!(DynamoDb::batch_write_item)
        .match_requests(|request| {
            let requests = &request.request_items().unwrap()["waits"];
            let item = requests[0].put_request().unwrap().item();
            item["awaited"] == text("arn:task")
                && item["waiter"] == text(TOKEN_KEY)
                && item.contains_key("expiresAt")
                && requests.len() == 1
        })
        .then_output(|| BatchWriteItemOutput::builder().build());
    let waits = waits(&[&put, &pointer], &[]);
    let asked = json!({"task": "arn:task"});
    let twice = ["arn:task".to_owned(), "arn:task".to_owned()];
    let stored = waits.store(&twice, EXECUTION, "token-1", &asked).await;
    assert_eq!(stored.unwrap().awaited, ["arn:task"]);
}

#[tokio::test]
async fn no_pointer_is_written_before_its_token() {
    let put = mock!(DynamoDb::put_item).then_error(|| {
        let denied = aws_sdk_dynamodb::error::ErrorMetadata::builder()
            .code("AccessDeniedException")
            .build();
        aws_sdk_dynamodb::operation::put_item::PutItemError::generic(denied)
    });
    let written = Log::default();
    let batch = batches(&written, 0);
    let waits = waits(&[&put, &batch], &[]);
    let failure = waits.store(&arns(1), EXECUTION, "t", &1).await.unwrap_err();
    assert_eq!(failure.action, "dynamodb:PutItem");
    assert_eq!(batch.num_calls(), 0);
}

#[tokio::test]
async fn pointers_are_written_twenty_five_at_a_time() {
    let (put, written) = (put_is_taken(), Log::default());
    let batch = batches(&written, 0);
    let waits = waits(&[&put, &batch], &[]);
    waits.store(&arns(60), EXECUTION, "t", &1).await.unwrap();
    assert_eq!(*written.lock().unwrap(), [25, 25, 10]);
}

#[tokio::test(start_paused = true)]
async fn what_dynamodb_leaves_out_is_sent_again() {
    let (put, written) = (put_is_taken(), Log::default());
    let batch = batches(&written, 2);
    let waits = waits(&[&put, &batch], &[]);
    waits.store(&arns(3), EXECUTION, "t", &1).await.unwrap();
    assert_eq!(*written.lock().unwrap(), [3, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_dynamodb_never_writes_is_a_failure_that_may_pass() {
    let (put, written) = (put_is_taken(), Log::default());
    let batch = batches(&written, usize::MAX);
    let waits = waits(&[&put, &batch], &[]);
    let failure = waits.store(&arns(3), EXECUTION, "t", &1).await.unwrap_err();
    assert_eq!(failure.code, "UnprocessedItems");
    assert!(!failure.refused);
    assert_eq!(batch.num_calls(), TRIES as usize);
}

#[tokio::test]
async fn everyone_who_waits_is_found_by_consistent_reads_page_by_page() {
    let page = |execution: &str, more: bool| {
        let pointer = HashMap::from([("waiter".into(), text(format!("wait-task#{execution}")))]);
        QueryOutput::builder()
            .items(pointer)
            .set_last_evaluated_key(more.then(|| key("arn:task", execution)))
            .build()
    };
    let query = mock!(DynamoDb::query)
        .match_requests(|request| {
            let values = request.expression_attribute_values().unwrap();
            request.consistent_read() == Some(true)
                && values[":awaited"] == text("arn:task")
                && values[":function"] == text("wait-task#")
        })
        .sequence()
        .output(move || page("arn:execution:1", true))
        .output(move || page("arn:execution:gone", true))
        .output(move || page("arn:execution:2", false))
        .build();
    let counted = mock!(DynamoDb::update_item)
        .match_requests(|request| {
            request.update_expression() == Some("ADD events :one")
                && request.condition_expression() == Some("attribute_exists(#token)")
                && !is_gone(request.key().unwrap())
        })
        .then_compute_output(|request| {
            let mut item = stored(request.key().unwrap());
            item.insert("events".to_owned(), number(1));
            UpdateItemOutput::builder()
                .set_attributes(Some(item))
                .build()
        });
    let gone = mock!(DynamoDb::update_item).then_error(|| {
        let failed = ConditionalCheckFailedException::builder().build();
        UpdateItemError::ConditionalCheckFailedException(failed)
    });
    let waits = waits(&[&query, &counted, &gone], &[]);
    let executions = waits.waiting_for("arn:task").await.unwrap();
    assert_eq!(
        executions,
        ["arn:execution:1", "arn:execution:gone", "arn:execution:2"]
    );
    let mut found = Vec::new();
    for execution in &executions {
        found.extend(waits.begin_to_look(execution).await.unwrap());
    }
    assert_eq!(
        found,
        [stored_for("arn:execution:1"), stored_for("arn:execution:2")]
    );
}

/// What is stored under this key of a token.
fn stored(key: &Item) -> Item {
    let key = key["awaited"].as_s().unwrap();
    let awaits = AttributeValue::L(vec![text("arn:task")]);
    HashMap::from([
        ("token".to_owned(), text(format!("token of {key}"))),
        ("asked".to_owned(), text(r#"{"task":"arn:task"}"#)),
        ("awaits".to_owned(), awaits),
    ])
}

fn stored_for(execution: &str) -> Waiting {
    Waiting {
        execution: execution.to_owned(),
        token: format!("token of wait-task#{execution}"),
        asked: json!({"task": "arn:task"}),
        awaited: vec!["arn:task".to_owned()],
    }
}

fn is_gone(key: &Item) -> bool {
    key["awaited"].as_s().unwrap().ends_with("gone")
}

#[tokio::test]
async fn a_token_is_taken_by_one_only() {
    let delete = mock!(DynamoDb::delete_item)
        .match_requests(|request| {
            request.return_values() == Some(&ReturnValue::AllOld)
                && request.key().unwrap()["waiter"] == text("token")
        })
        .then_compute_output(|request| {
            let key = request.key().unwrap();
            let item = (!is_gone(key)).then(|| stored(key));
            DeleteItemOutput::builder().set_attributes(item).build()
        });
    let waits = waits(&[&delete], &[]);
    let taken = waits.take("arn:execution:1").await.unwrap();
    assert_eq!(taken, Some(stored_for("arn:execution:1")));
    assert_eq!(waits.take("arn:execution:gone").await.unwrap(), None);
}

#[tokio::test]
async fn an_answered_token_goes_with_what_points_to_it_as_long_as_it_is_the_same() {
    let (success, deleted) = (success(), Log::default());
    let delete = transactions(&deleted);
    let waits = waits(&[&delete], &[&success]);
    let taken = waits.succeed(&waiting(1), &json!({"at": 1})).await.unwrap();
    assert!(taken);
    let deleted = deleted.lock().unwrap();
    let [token, pointer] = deleted[0].transact_items() else {
        panic!("{deleted:?}");
    };
    let token = token.delete().unwrap();
    assert_eq!(token.key(), &key(TOKEN_KEY, "token"));
    assert_eq!(
        token.condition_expression(),
        Some("attribute_not_exists(#token) OR #token = :token")
    );
    let values = token.expression_attribute_values().unwrap();
    assert_eq!(values[":token"], text("token-1"));
    let pointer = pointer.delete().unwrap();
    assert_eq!(pointer.key(), &key("arn:service:000", TOKEN_KEY));
}

#[tokio::test]
async fn many_pointers_go_in_transactions_that_each_find_no_newer_token() {
    let (success, deleted) = (success(), Log::default());
    let delete = transactions(&deleted);
    let waits = waits(&[&delete], &[&success]);
    waits.succeed(&waiting(200), &1).await.unwrap();
    let deleted = deleted.lock().unwrap();
    let sizes: Vec<usize> = deleted
        .iter()
        .map(|one| one.transact_items().len())
        .collect();
    assert_eq!(sizes, [100, 100, 3]);
    for request in deleted.iter() {
        let token = request.transact_items()[0].delete().unwrap();
        assert_eq!(token.key(), &key(TOKEN_KEY, "token"));
        let condition = token.condition_expression().unwrap();
        assert!(condition.ends_with("#token = :token"), "{condition}");
    }
}

#[tokio::test]
async fn a_newer_token_stays_with_all_that_points_to_it() {
    let newer = mock!(DynamoDb::transact_write_items).then_error(|| {
        TransactWriteItemsError::TransactionCanceledException(
            TransactionCanceledException::builder()
                .cancellation_reasons(
                    CancellationReason::builder()
                        .code("ConditionalCheckFailed")
                        .build(),
                )
                .build(),
        )
    });
    let success = success();
    let waits = waits(&[&newer], &[&success]);
    assert!(waits.succeed(&waiting(200), &1).await.unwrap());
    assert_eq!(newer.num_calls(), 1);
}

#[tokio::test]
async fn an_old_token_is_no_failure_and_is_not_kept() {
    let errors: [fn() -> SendTaskSuccessError; 3] = [
        || {
            SendTaskSuccessError::TaskTimedOut(
                TaskTimedOut::builder().meta(code("TaskTimedOut")).build(),
            )
        },
        || {
            let meta = code("TaskDoesNotExist");
            SendTaskSuccessError::TaskDoesNotExist(TaskDoesNotExist::builder().meta(meta).build())
        },
        || {
            SendTaskSuccessError::InvalidToken(
                InvalidToken::builder().meta(code("InvalidToken")).build(),
            )
        },
    ];
    for error in errors {
        let old = mock!(Sfn::send_task_success).then_error(error);
        let deleted = Log::default();
        let delete = transactions(&deleted);
        let waits = waits(&[&delete], &[&old]);
        assert!(!waits.succeed(&waiting(1), &1).await.unwrap());
        assert_eq!(delete.num_calls(), 1);
    }
}

fn code(code: &str) -> aws_sdk_sfn::error::ErrorMetadata {
    aws_sdk_sfn::error::ErrorMetadata::builder()
        .code(code)
        .build()
}

#[tokio::test]
async fn a_token_that_could_not_be_answered_is_kept() {
    let denied = mock!(Sfn::send_task_success)
        .then_error(|| SendTaskSuccessError::generic(code("AccessDenied")));
    let waits = waits(&[], &[&denied]);
    let failure = waits.succeed(&waiting(1), &1).await.unwrap_err();
    assert_eq!(failure.action, "states:SendTaskSuccess");
    assert_eq!(failure.resource, EXECUTION);
}

#[tokio::test]
async fn an_answer_counts_although_its_token_stays_in_the_table() {
    let denied = mock!(DynamoDb::transact_write_items).then_error(|| {
        let meta = aws_sdk_dynamodb::error::ErrorMetadata::builder();
        TransactWriteItemsError::generic(meta.code("AccessDeniedException").build())
    });
    let success = success();
    let waits = waits(&[&denied], &[&success]);
    assert!(waits.succeed(&waiting(1), &1).await.unwrap());
}
