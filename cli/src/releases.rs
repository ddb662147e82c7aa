//! `make releases`: what was released to a stack, by the pipeline's own record.

use anyhow::{Context, Result};
use bluegreen_contract::RequestedAction;
use bluegreen_release::{Record, Table};
use serde_json::Value;

use crate::names::{PIPELINE, StackName};
use crate::world::World;

/// Hexadecimal digits of a digest that are enough for a person.
const SHORT_DIGEST: usize = 12;

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
    newest(&Table::new(dynamodb, table.to_owned()), name, limit).await
}

async fn newest(table: &Table, name: &StackName, limit: usize) -> Result<Vec<Record>> {
    let mut all = table.records(name.as_str());
    let mut records = Vec::new();
    while records.len() < limit
        && let Some(record) = all.next().await?
    {
        records.push(record);
    }
    Ok(records)
}

/// The records as JSON, without what they do not say.
///
/// # Errors
/// None: records are JSON.
pub fn json(records: &[Record]) -> Result<Value> {
    let mut json = serde_json::to_value(records)?;
    for record in json.as_array_mut().into_iter().flatten() {
        if let Some(attributes) = record.as_object_mut() {
            attributes.retain(|_, value| !value.is_null());
        }
    }
    Ok(json)
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
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let seconds = record.seconds.as_ref().and_then(|seconds| seconds.total);
    let image = record.tag.clone().unwrap_or_else(|| {
        let digest = text(&record.digest);
        let digest = digest.trim_start_matches("sha256:");
        digest.get(..SHORT_DIGEST).unwrap_or(digest).to_owned()
    });
    let action = match record.action {
        RequestedAction::Deploy => "deploy",
        RequestedAction::Rollback => "rollback",
    };
    [
        minute_and_second(&text(&record.started_at)),
        record.name().to_owned(),
        action.to_owned(),
        image,
        text(&record.started_by),
        seconds
            .map(|seconds| seconds.to_string())
            .unwrap_or_default(),
        record.verdict.clone(),
        text(
            record
                .cause
                .as_ref()
                .map_or(&record.awaits, |_| &record.cause),
        )
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned(),
    ]
}

/// `2026-05-04T09:10:11.123Z` as `2026-05-04 09:10:11`; it is UTC.
fn minute_and_second(time: &str) -> String {
    let whole = time.split(['.', 'Z']).next().unwrap_or_default();
    whole.replace('T', " ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_dynamodb::operation::query::QueryOutput;
    use aws_sdk_dynamodb::types::AttributeValue;
    use aws_smithy_mocks::{mock, mock_client};
    use bluegreen_release::Seconds;

    use super::*;

    fn failed_release() -> Record {
        Record {
            key: "release#2026-05-04T09:10:11.123Z#first".to_owned(),
            verdict: "failed".to_owned(),
            digest: Some("sha256:0123456789abcdef0123".to_owned()),
            started_by: Some("on-ecr-push".to_owned()),
            started_at: Some("2026-05-04T09:10:11.123Z".to_owned()),
            cause: Some("The migration exited 1.\nIts last lines: …".to_owned()),
            seconds: Some(Seconds {
                total: Some(12.5),
                ..Seconds::default()
            }),
            ..Record::default()
        }
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
                let text = |text: &str| AttributeValue::S(text.to_owned());
                let item = |tag: &str| {
                    HashMap::from([
                        ("item".to_owned(), text(&format!("release#2026#{tag}"))),
                        ("verdict".to_owned(), text("succeeded")),
                    ])
                };
                let items = ["3", "2", "1"].map(item);
                QueryOutput::builder()
                    .set_items(Some(items.to_vec()))
                    .build()
            });
        let dynamodb = mock_client!(aws_sdk_dynamodb, [&asked]);
        let table = Table::new(dynamodb, "releases".to_owned());
        let records = newest(&table, &"demo".parse().unwrap(), 2).await.unwrap();
        let names: Vec<_> = records.iter().map(Record::name).collect();
        assert_eq!(names, ["3", "2"]);
    }

    #[test]
    fn the_tag_is_shown_where_there_is_one_and_what_is_not_over_has_no_seconds() {
        let record = Record {
            tag: Some("v2".to_owned()),
            seconds: None,
            verdict: "inProgress".to_owned(),
            ..failed_release()
        };
        let row = row(&record);
        assert_eq!((row[3].as_str(), row[5].as_str()), ("v2", ""));
    }

    #[test]
    fn what_a_release_in_progress_waits_for_stands_in_the_place_of_its_cause() {
        let command = "aws ecs continue-service-deployment";
        let waits = Record {
            verdict: "inProgress".to_owned(),
            cause: None,
            awaits: Some(format!(
                "Service demo/web: its deployment pauses: {command}"
            )),
            ..failed_release()
        };
        assert!(row(&waits)[7].ends_with(command), "{waits:?}");
        let over = Record {
            awaits: waits.awaits,
            ..failed_release()
        };
        assert_eq!(row(&over)[7], "The migration exited 1.");
    }

    #[test]
    fn json_has_what_a_record_says_and_no_more() {
        let json = json(&[failed_release()]).unwrap();
        assert_eq!(json[0]["item"], "release#2026-05-04T09:10:11.123Z#first");
        assert_eq!(json[0]["action"], "deploy");
        assert_eq!(json[0]["seconds"], serde_json::json!({"total": 12.5}));
        assert_eq!(json[0].get("tag"), None);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let long = Record {
            started_by: Some("a person with a long name".to_owned()),
            ..failed_release()
        };
        let table = table(&[long, failed_release()]);
        let columns: Vec<_> = table
            .lines()
            .skip(1)
            .map(|line| line.find("12.5"))
            .collect();
        assert_eq!(columns[0], columns[1], "{table}");
    }
}
