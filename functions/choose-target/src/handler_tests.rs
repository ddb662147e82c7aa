use super::*;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ErrorMetadata;
use aws_sdk_dynamodb::operation::get_item::{GetItemError, GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryError, QueryOutput};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::{Diagnostic, diagnostic};
use serde_json::json;
use std::collections::HashMap;

type Item = HashMap<String, AttributeValue>;

const OWN: &str = "release#0009#name-9";

fn table(rules: &[&Rule]) -> Table {
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, rules);
    Table::new(client, "releases".to_owned())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn key(number: u32) -> String {
    format!("release#{number:04}#name-{number}")
}

/// The record of a release that ran the revision of its own number.
fn record(number: u32, verdict: &str) -> Item {
    let services = format!(
        r#"[{{"cluster":"c","service":"web","taskDefinition":"web:{number}","previousTaskDefinition":"web:0"}}]"#
    );
    let texts = [
        ("item", key(number)),
        ("verdict", verdict.to_owned()),
        ("repository", "shop".to_owned()),
        ("tag", format!("v{number}")),
        ("digest", format!("d{number}")),
        ("image", format!("shop@d{number}")),
        ("services", services),
    ];
    texts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
        .collect()
}

fn asks_for(request: &GetItemInput, item: &str) -> bool {
    request.consistent_read() == Some(true)
        && request.key().and_then(|key| key.get("item")) == Some(&text(item))
}

fn item(key: &str, item: Item) -> Rule {
    let key = key.to_owned();
    mock!(Client::get_item)
        .match_requests(move |request| asks_for(request, &key))
        .then_output(move || {
            GetItemOutput::builder()
                .set_item(Some(item.clone()))
                .build()
        })
}

fn turn(current: u32) -> Rule {
    let current = [("item", "turn".to_owned()), ("currentRecord", key(current))];
    let turn = current.map(|(name, value)| (name.to_owned(), AttributeValue::S(value)));
    item("turn", turn.into())
}

/// The records of the stack, in a page each.
fn releases(records: Vec<Item>) -> Rule {
    let pages = records.len();
    let mut sequence = mock!(Client::query).sequence();
    for (page, record) in records.into_iter().enumerate() {
        sequence = sequence.output(move || {
            let after = Item::from([("page".to_owned(), text(&page.to_string()))]);
            QueryOutput::builder()
                .items(record.clone())
                .set_last_evaluated_key((page + 1 < pages).then_some(after))
                .build()
        });
    }
    sequence.build()
}

fn unreadable() -> Rule {
    mock!(Client::query).then_error(|| {
        let metadata = ErrorMetadata::builder()
            .code("AccessDeniedException")
            .message("not you")
            .build();
        QueryError::generic(metadata)
    })
}

/// The stack runs `web:50` and `worker:50`.
fn event(failed: bool) -> Value {
    let service = |name: &str| {
        json!({
            "cluster": "c", "service": name, "taskDefinition": format!("{name}:50"),
            "containers": ["web"]
        })
    };
    let image = |value: &str| failed.then(|| value.to_owned());
    json!({
        "plan": {
            "action": if failed { "deploy" } else { "rollback" },
            "reason": "because",
            "release": {
                "stack": "shop", "action": if failed { "deploy" } else { "rollback" },
                "repository": image("shop"), "digest": image("d9"), "image": image("shop@d9"),
                "record": OWN, "order": "0009#0009", "startedAt": "2026-01-01T00:00:00.000Z",
                "startedBy": "me", "force": false, "ignoreAlarms": false
            },
            "imageParameters": {}, "services": [service("web"), service("worker")], "alarms": [],
            "limits": {
                "migrationSeconds": 60, "deploymentSeconds": 60, "rollbackWindowSeconds": 60
            },
            "revisions": [], "imageConfigs": []
        },
        "execution": {"id": "arn:execution:name-9", "redrives": 0},
        "failed": failed,
        "touched": false
    })
}

fn revisions(target: &Target) -> Vec<&str> {
    let services = target.services.iter();
    services.map(|it| it.task_definition.as_str()).collect()
}

async fn failure(table: &Table, event: Value) -> Diagnostic {
    diagnostic(handle(table, event).await.unwrap_err())
}

#[tokio::test]
async fn a_rollback_brings_back_what_the_chosen_release_ran() {
    let records = releases(vec![
        record(9, "inProgress"),
        record(3, "succeeded"),
        record(2, "rolledBack"),
        record(1, "succeeded"),
        record(0, "succeeded"),
    ]);
    let current = item(&key(3), record(3, "succeeded"));
    let chosen = item(&key(1), record(1, "succeeded"));
    let table = table(&[&turn(3), &records, &current, &chosen]);

    let target = handle(&table, event(false)).await.unwrap();

    assert!(target.requested && !target.unread);
    assert_eq!(revisions(&target), ["web:1"]);
    let release = target.release.unwrap();
    assert_eq!((release.record, release.restores), (key(1), key(1)));
    assert_eq!(target.serving.unwrap().image, "shop@d1");
    // What is further back makes no difference.
    assert_eq!(records.num_calls(), 4);
}

#[tokio::test]
async fn a_release_that_failed_goes_back_to_what_ran_before_it() {
    let records = releases(vec![record(9, "inProgress"), record(3, "succeeded")]);
    let target = handle(&table(&[&records]), event(true)).await.unwrap();
    assert!(!target.requested && !target.unread);
    assert_eq!(target.release, None);
    assert_eq!(revisions(&target), ["web:50", "worker:50"]);
    assert_eq!(target.serving.unwrap().image, "shop@d3");
}

#[tokio::test]
async fn what_ran_before_is_not_gone_back_to_where_it_may_not_be_good() {
    let mut redriven = event(true);
    redriven["touched"] = json!(true);
    let mut verified = event(true);
    verified["plan"]["action"] = json!("verify");
    for event in [redriven, verified] {
        let records = releases(vec![record(9, "inProgress"), record(3, "succeeded")]);
        let chosen = item(&key(3), record(3, "succeeded"));
        let good = handle(&table(&[&records, &chosen]), event.clone()).await;
        assert_eq!(revisions(&good.unwrap()), ["web:3", "worker:50"]);

        let nothing = releases(vec![record(9, "inProgress")]);
        let failure = failure(&table(&[&nothing]), event).await;
        assert_eq!(failure.error_type, "NothingToGoBackTo");
        assert_eq!(
            failure.error_message,
            "Stack shop has no release on record that succeeded, and what ran before this one is not known any more."
        );
    }
}

#[tokio::test]
async fn a_rollback_that_leads_nowhere_says_what_is_lacking() {
    let mut named = event(false);
    named["plan"]["release"]["to"] = json!("nobody");
    for (event, lacking) in [
        (
            event(false),
            "Stack shop has no earlier release on record that succeeded with another image.",
        ),
        (
            named,
            "Stack shop has no release nobody on record that succeeded and was not rolled back.",
        ),
    ] {
        let records = releases(vec![record(3, "succeeded")]);
        let current = item(&key(3), record(3, "succeeded"));
        let failure = failure(&table(&[&turn(3), &records, &current]), event).await;
        assert_eq!(failure.error_type, "NothingToGoBackTo");
        assert_eq!(failure.error_message, lacking);
    }
}

#[tokio::test]
async fn a_release_whose_services_are_all_gone_is_not_gone_back_to() {
    let records = releases(vec![record(3, "succeeded"), record(1, "succeeded")]);
    let current = item(&key(3), record(3, "succeeded"));
    let chosen = item(&key(1), record(1, "succeeded"));
    let mut event = event(false);
    event["plan"]["services"] = json!([]);
    let failure = failure(&table(&[&turn(3), &records, &current, &chosen]), event).await;
    assert_eq!(failure.error_type, "NothingToGoBackTo");
    assert_eq!(
        failure.error_message,
        "Stack shop has none of the services any more that its release v1 (name-1) ran."
    );
}

#[tokio::test]
async fn a_release_that_failed_goes_back_also_where_the_table_does_not_answer() {
    let target = handle(&table(&[&unreadable()]), event(true)).await.unwrap();
    assert!(target.unread);
    assert_eq!(target.serving, None);
    assert_eq!(revisions(&target), ["web:50", "worker:50"]);
}

#[tokio::test]
async fn without_the_table_nothing_uncertain_is_gone_back_to_and_no_rollback_begun() {
    let mut redriven = event(true);
    redriven["touched"] = json!(true);
    let redriven = failure(&table(&[&unreadable()]), redriven).await;
    assert_eq!(redriven.error_type, "AwsRequestFailed");
    let current = item(&key(3), record(3, "succeeded"));
    let rules = [&turn(3), &current, &unreadable()];
    let asked_for = failure(&table(&rules), event(false)).await;
    assert_eq!(asked_for.error_type, "AwsRequestFailed");
}

/// It is known which release is the good one, but not what that ran.
#[tokio::test]
async fn what_is_known_to_be_half_done_is_not_gone_back_to() {
    let unread = mock!(Client::get_item).then_error(|| {
        let metadata = ErrorMetadata::builder()
            .code("AccessDeniedException")
            .build();
        GetItemError::generic(metadata)
    });
    let records = releases(vec![record(3, "abandoned"), record(1, "succeeded")]);
    let failure = failure(&table(&[&records, &unread]), event(true)).await;
    assert_eq!(failure.error_type, "AwsRequestFailed");
}

#[tokio::test]
async fn a_rollback_that_fails_is_not_rolled_back() {
    let mut event = event(false);
    event["failed"] = json!(true);
    let failure = failure(&table(&[]), event).await;
    assert_eq!(failure.error_type, "InvalidInput");
    assert!(
        failure.error_message.contains("`plan.release.repository`"),
        "{failure:?}"
    );
}
