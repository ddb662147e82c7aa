//! The table of releases, where it has many of a stack.

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use end_to_end::account::Account;
use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::released::{assert_runs, release_version_2, running};

/// Releases that failed, one after the other: with their causes more than three pages of a query,
/// which has a megabyte each.
const FAILED: i64 = 1_200;
const CAUSE: usize = 3_000;
/// The most items that DynamoDB takes in one request.
const AT_ONCE: usize = 25;

/// Writes the records of releases that failed, each begun a millisecond after the one before.
async fn fail_often(account: &Account, stack: &str, since: Timestamp) -> Result<()> {
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let mut requests = Vec::new();
    for number in 1..=FAILED {
        let begun = format!("{:.3}", since.checked_add(number.milliseconds())?);
        let name = format!("{stack}-failed-{number}");
        let execution = account
            .state_machine()
            .replace(":stateMachine:", ":execution:");
        let digest = format!("sha256:{number:064x}");
        let image = format!("registry/{stack}@{digest}");
        let attributes = [
            ("stack", stack),
            ("item", &format!("release#{begun}#{name}")),
            ("verdict", "failed"),
            ("error", "MigrationFailed"),
            ("cause", &"x".repeat(CAUSE)),
            ("repository", stack),
            ("digest", &digest),
            ("image", &image),
            ("tag", &format!("failed-{number}")),
            ("execution", &format!("{execution}:{name}")),
            ("action", "deploy"),
            ("startedBy", "a person"),
            ("startedAt", &begun),
            ("services", "[]"),
        ];
        let mut put = PutRequest::builder();
        for (attribute, value) in attributes {
            put = put.item(attribute, text(value));
        }
        let request = WriteRequest::builder().put_request(put.build()?);
        requests.push(request.build());
    }
    let dynamodb = aws_sdk_dynamodb::Client::new(account.config());
    for batch in requests.chunks(AT_ONCE) {
        let written = dynamodb
            .batch_write_item()
            .request_items(account.releases_table(), batch.to_vec())
            .send()
            .await?;
        let left = written.unprocessed_items.unwrap_or_default();
        anyhow::ensure!(left.is_empty(), "{left:?} were not written");
    }
    Ok(())
}

pub(crate) async fn the_last_good_release_is_found_behind_more_than_a_thousand_that_failed(
    account: &Account,
) -> Result<()> {
    let (application, posts) = running(account, "long-ago").await?;
    release_version_2(account, &application).await?;
    let records = account.releases("long-ago").await?;
    let newest = records.first().context("there are records")?;
    let begun = newest["startedAt"].as_str().context("its start")?;
    fail_often(account, "long-ago", begun.parse()?).await?;

    let input = json!({"stack": "long-ago", "action": "rollback"});
    let end = account.start_execution(input).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&application, &posts.digest()).await?;
    let restores = account.releases("long-ago").await?[0]["restores"].clone();
    let first = records.last().context("there are records")?;
    assert_eq!(restores, first["item"]);
    Ok(())
}
