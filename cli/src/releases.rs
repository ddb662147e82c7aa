//! `make releases`: what was released to a stack, by the pipeline's own record.

use std::collections::HashMap;

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use crate::names::{PIPELINE, StackName};
use crate::stacks::failed;
use crate::world::World;

/// Attributes of a record that are JSON texts.
const DOCUMENTS: [&str; 3] = ["before", "seconds", "services"];
/// Hexadecimal digits of a digest that are enough for a person.
const SHORT_DIGEST: usize = 12;

/// A release's record, as JSON.
pub type Record = Map<String, Value>;

/// The newest records of a stack, the newest first.
///
/// # Errors
/// There is no pipeline, or it keeps no records, or DynamoDB does not answer.
pub async fn read(world: &World, name: &StackName, limit: usize) -> Result<Vec<Record>> {
    let stack = world.stacks().find(PIPELINE).await?;
    let stack = stack.with_context(|| {
        format!(
            "There is no pipeline in region {}, which would be the stack {PIPELINE}.",
            world.region()
        )
    })?;
    let output = stack
        .outputs()
        .iter()
        .find(|output| output.output_key() == Some("ReleasesTableName"));
    let table = output
        .and_then(|output| output.output_value())
        .with_context(|| {
            format!(
                "The pipeline of stack {PIPELINE} is older than its record of releases: update \
                 that stack."
            )
        })?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&world.config);
    query(&dynamodb, table, name, limit).await
}

async fn query(
    dynamodb: &aws_sdk_dynamodb::Client,
    table: &str,
    name: &StackName,
    limit: usize,
) -> Result<Vec<Record>> {
    let mut pages = dynamodb
        .query()
        .table_name(table)
        .key_condition_expression("#stack = :stack AND begins_with(#item, :release)")
        .expression_attribute_names("#stack", "stack")
        .expression_attribute_names("#item", "item")
        .expression_attribute_values(":stack", AttributeValue::S(name.as_str().to_owned()))
        .expression_attribute_values(":release", AttributeValue::S("release#".to_owned()))
        .scan_index_forward(false)
        .consistent_read(true)
        .into_paginator()
        .items()
        .send();
    let mut records = Vec::new();
    while records.len() < limit
        && let Some(item) = pages.next().await
    {
        let item =
            item.map_err(|error| failed(error, &format!("Table {table} can not be read")))?;
        records.push(record(&item));
    }
    Ok(records)
}

fn record(item: &HashMap<String, AttributeValue>) -> Record {
    let mut record: Record = item
        .iter()
        .map(|(name, value)| (name.clone(), json(name, value)))
        .collect();
    record.sort_keys();
    record
}

fn json(name: &str, value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) if DOCUMENTS.contains(&name) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => {
            serde_json::from_str(number).unwrap_or_else(|_| Value::String(number.clone()))
        }
        AttributeValue::Bool(value) => Value::Bool(*value),
        AttributeValue::L(values) => values.iter().map(|value| json("", value)).collect(),
        AttributeValue::M(values) => {
            let members = values
                .iter()
                .map(|(name, value)| (name.clone(), json(name, value)));
            Value::Object(members.collect())
        }
        // The record has no attributes of the other types.
        _ => Value::Null,
    }
}

/// The records as a table, a line each.
#[must_use]
pub fn table(records: &[Record]) -> String {
    let header = [
        "TIME",
        "ID",
        "ACTION",
        "IMAGE",
        "STARTED BY",
        "SECONDS",
        "VERDICT",
        "CAUSE",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(records.iter().map(row));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = rows.iter().map(|row| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn row(record: &Record) -> [String; 8] {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    let execution = text("execution");
    let id = execution.rsplit(':').next().unwrap_or_default();
    let seconds = record
        .get("seconds")
        .and_then(|seconds| seconds.get("total"));
    let tag = text("tag");
    let image = if tag.is_empty() {
        let digest = text("digest").trim_start_matches("sha256:");
        digest.get(..SHORT_DIGEST).unwrap_or(digest)
    } else {
        tag
    };
    [
        minute_and_second(text("startedAt")),
        id.to_owned(),
        text("action").to_owned(),
        image.to_owned(),
        text("startedBy").to_owned(),
        seconds.map(Value::to_string).unwrap_or_default(),
        text("verdict").to_owned(),
        text("cause").lines().next().unwrap_or_default().to_owned(),
    ]
}

/// `2026-05-04T09:10:11.123Z` as `2026-05-04 09:10:11`; it is UTC.
fn minute_and_second(time: &str) -> String {
    let whole = time.split(['.', 'Z']).next().unwrap_or_default();
    whole.replace('T', " ")
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::operation::query::QueryOutput;
    use aws_smithy_mocks::{mock, mock_client};

    use super::*;

    fn item(attributes: &[(&str, &str)]) -> HashMap<String, AttributeValue> {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), AttributeValue::S((*value).to_owned())));
        attributes.collect()
    }

    fn failed_release() -> Record {
        record(&item(&[
            ("stack", "demo"),
            ("item", "release#2026-05-04T09:10:11.123Z#first"),
            (
                "execution",
                "arn:aws:states:us-east-1:123456789012:execution:machine:first",
            ),
            ("action", "deploy"),
            ("digest", "sha256:0123456789abcdef0123"),
            ("startedBy", "on-ecr-push"),
            ("startedAt", "2026-05-04T09:10:11.123Z"),
            ("verdict", "failed"),
            ("cause", "The migration exited 1.\nIts last lines: …"),
            ("seconds", r#"{"total":12.5,"migration":3.1}"#),
        ]))
    }

    #[test]
    fn a_release_is_a_line_with_the_first_line_of_its_cause() {
        let table = table(&[failed_release()]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[1],
            "2026-05-04 09:10:11  first  deploy  0123456789ab  on-ecr-push  12.5     failed   The migration exited 1."
        );
        assert!(
            lines[0].starts_with("TIME                 ID     ACTION  IMAGE         STARTED BY")
        );
    }

    #[tokio::test]
    async fn the_newest_records_of_one_stack_are_asked_for_and_no_more_than_wanted_are_kept() {
        let asked = mock!(aws_sdk_dynamodb::Client::query)
            .match_requests(|request| {
                let values = request.expression_attribute_values();
                request.table_name() == Some("releases")
                    && request.scan_index_forward() == Some(false)
                    && values.and_then(|values| values.get(":stack"))
                        == Some(&AttributeValue::S("demo".to_owned()))
            })
            .then_output(|| {
                let items = ["3", "2", "1"].map(|tag| item(&[("tag", tag)]));
                QueryOutput::builder()
                    .set_items(Some(items.to_vec()))
                    .build()
            });
        let dynamodb = mock_client!(aws_sdk_dynamodb, [&asked]);
        let records = query(&dynamodb, "releases", &"demo".parse().unwrap(), 2)
            .await
            .unwrap();
        let tags: Vec<_> = records.iter().map(|record| &record["tag"]).collect();
        assert_eq!(tags, ["3", "2"]);
    }

    #[test]
    fn the_tag_is_shown_where_there_is_one_and_what_is_not_over_has_no_seconds() {
        let record = record(&item(&[
            ("tag", "v2"),
            ("digest", "sha256:0123456789abcdef0123"),
            ("verdict", "inProgress"),
        ]));
        let row = row(&record);
        assert_eq!((row[3].as_str(), row[5].as_str()), ("v2", ""));
    }

    #[test]
    fn texts_of_json_are_json_in_the_record() {
        let record = failed_release();
        assert_eq!(record["seconds"]["total"], 12.5);
        assert_eq!(record["verdict"], "failed");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut long = failed_release();
        long.insert("startedBy".to_owned(), "a person with a long name".into());
        let table = table(&[long, failed_release()]);
        let columns: Vec<_> = table
            .lines()
            .skip(1)
            .map(|line| line.find("12.5"))
            .collect();
        assert_eq!(columns[0], columns[1], "{table}");
    }
}
