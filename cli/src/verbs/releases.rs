//! `bluegreen releases`: what was released to a stack, by the pipeline's own record.

use std::collections::BTreeMap;

use anyhow::Result;
use aws_sdk_sfn::Client;
use aws_sdk_sfn::primitives::{DateTime, DateTimeFormat};
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEvent};
use bluegreen_release::{Record, Table};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::columns::columns;
use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::Pipeline;
use crate::status::version;
use crate::trouble::{asked, failed};
use crate::world::World;

/// Of which stack, and which of them.
#[derive(Args, Clone, Debug)]
pub struct Releases {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    /// Print the whole records as JSON.
    #[arg(long)]
    pub json: bool,
    /// How many, the newest first.
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    /// Those that began before this time alone, such as 2026-05-04T09:10:11Z.
    #[arg(long, value_name = "TIME")]
    pub before: Option<Timestamp>,
}

/// Shows them.
///
/// # Errors
/// There is no pipeline, or AWS does not answer.
pub async fn run(world: &World, wanted: &Releases) -> Result<Exit> {
    let pipeline = Pipeline::find(world).await?;
    let records = read(&pipeline.table, wanted).await?;
    let running = running(&pipeline.sfn, &records).await;
    let stack = wanted.stack.as_str();
    if wanted.json {
        let json = json(&records, &running)?;
        world.say.line(serde_json::to_string_pretty(&json)?);
        return Ok(Exit::Done);
    }
    if records.is_empty() {
        let when = wanted.before.map(|before| format!(" before {before}"));
        world.say.line(format!(
            "Nothing was released to {stack}{} yet.",
            when.unwrap_or_default()
        ));
        return Ok(Exit::Done);
    }
    world.say.line(table(&records, &running));
    let last = records.last().and_then(|record| record.started_at.as_ref());
    if let Some(last) = last.filter(|_| records.len() == wanted.limit) {
        world.say.line(format!(
            "\nThose before: bluegreen releases {stack} --before {last}"
        ));
    }
    Ok(Exit::Done)
}

/// The newest records of a stack, the newest first.
///
/// # Errors
/// DynamoDB does not answer.
pub async fn read(table: &Table, wanted: &Releases) -> Result<Vec<Record>> {
    let before = wanted.before.map(|before| before.as_millisecond());
    let stack = wanted.stack.as_str();
    let all = match before {
        Some(before) => table.records_before(stack, before),
        None => table.records(stack),
    };
    let mut all = all.in_pages_of(wanted.limit);
    let mut records = Vec::new();
    while records.len() < wanted.limit
        && let Some(record) = all.next().await.map_err(asked)?
    {
        records.push(record);
    }
    Ok(records)
}

/// How far a release has come whose record is open, as Step Functions tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is in this state since then, RFC 3339.
    In { state: String, since: String },
    /// Its execution was stopped, or failed, before its record was closed: the next release does that.
    Ended { status: String, at: String },
    /// Step Functions does not tell, for this reason.
    Untold(String),
}

/// How far releases have come, by the keys of their records.
pub type Running = BTreeMap<String, Progress>;

/// How far those of the records have come that are open.
pub async fn running(sfn: &Client, records: &[Record]) -> Running {
    let mut running = Running::new();
    for record in records.iter().filter(|record| !record.is_closed()) {
        if let Some(execution) = &record.execution {
            let progress = match progress(sfn, execution).await {
                Ok(progress) => progress,
                Err(error) => Progress::Untold(format!("{error:#}")),
            };
            running.insert(record.key.clone(), progress);
        }
    }
    running
}

async fn progress(sfn: &Client, execution: &str) -> Result<Progress> {
    let described = sfn.describe_execution().execution_arn(execution);
    let described = described
        .send()
        .await
        .map_err(|error| failed(error, "Step Functions does not tell of the execution"))?;
    if *described.status() != ExecutionStatus::Running {
        return Ok(Progress::Ended {
            status: described.status().to_string(),
            at: rfc3339(described.stop_date()),
        });
    }
    // The newest first: a long wait has thousands of events behind the one that began it.
    let mut events = sfn
        .get_execution_history()
        .execution_arn(execution)
        .reverse_order(true)
        .include_execution_data(false)
        .into_paginator()
        .items()
        .send();
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| {
            failed(error, "Step Functions does not tell where the execution is")
        })?;
        if let Some(entered) = entered(&event) {
            return Ok(entered);
        }
    }
    Ok(Progress::Untold("it has not begun".to_owned()))
}

fn entered(event: &HistoryEvent) -> Option<Progress> {
    Some(Progress::In {
        state: event.state_entered_event_details()?.name().to_owned(),
        since: rfc3339(Some(event.timestamp())),
    })
}

fn rfc3339(time: Option<&DateTime>) -> String {
    let text = time.and_then(|time| time.fmt(DateTimeFormat::DateTime).ok());
    text.unwrap_or_default()
}

impl Progress {
    fn sentence(&self) -> String {
        match self {
            Self::In { state, since } => {
                format!("It is in {state} since {}.", minute_and_second(since))
            }
            Self::Ended { status, at } => format!(
                "Its execution ended as {status} at {}. If its record stays open, the next release of the stack closes it.",
                minute_and_second(at)
            ),
            Self::Untold(reason) => format!("Where it is, is not known: {reason}."),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::In { state, since } => json!({"state": state, "since": since}),
            Self::Ended { status, at } => json!({"status": status, "at": at}),
            Self::Untold(reason) => json!({"untold": reason}),
        }
    }
}

/// The records as JSON, without what they do not say. Of a release that runs `progress` says how far it
/// has come.
///
/// # Errors
/// None: records are JSON.
pub fn json(records: &[Record], running: &Running) -> Result<Value> {
    let mut json = serde_json::to_value(records)?;
    for (record, json) in records
        .iter()
        .zip(json.as_array_mut().into_iter().flatten())
    {
        if let Some(attributes) = json.as_object_mut() {
            attributes.retain(|_, value| !value.is_null());
            let progress = running.get(&record.key).map(Progress::json);
            attributes.extend(progress.map(|progress| ("progress".to_owned(), progress)));
        }
    }
    Ok(json)
}

/// The records as a table, a line each.
#[must_use]
pub fn table(records: &[Record], running: &Running) -> String {
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
    let rows = records.iter().map(|it| row(it, running.get(&it.key)));
    columns(std::iter::once(header.map(str::to_owned)).chain(rows))
}

fn row(record: &Record, progress: Option<&Progress>) -> [String; 8] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let seconds = record.seconds.as_ref().and_then(|seconds| seconds.total);
    [
        minute_and_second(&text(&record.started_at)),
        record.name().to_owned(),
        record.action.word().to_owned(),
        version(record).unwrap_or_default(),
        text(&record.started_by),
        seconds
            .map(|seconds| seconds.to_string())
            .unwrap_or_default(),
        record.verdict.clone(),
        what(record, progress),
    ]
}

/// Why a release ended so, or how far it has come and what it waits for, in a line.
fn what(record: &Record, progress: Option<&Progress>) -> String {
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    match (&record.cause, progress, &record.awaits) {
        (Some(cause), ..) => first_line(cause),
        (None, Some(progress @ Progress::In { .. }), Some(awaits)) => {
            format!("{} {}", progress.sentence(), first_line(awaits))
        }
        (None, Some(progress), _) => progress.sentence(),
        (None, None, awaits) => first_line(awaits.as_deref().unwrap_or_default()),
    }
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
    use aws_sdk_sfn::error::ErrorMetadata;
    use aws_sdk_sfn::operation::describe_execution::{
        DescribeExecutionError, DescribeExecutionOutput,
    };
    use aws_sdk_sfn::operation::get_execution_history::GetExecutionHistoryOutput;
    use aws_sdk_sfn::types::{HistoryEventType, StateEnteredEventDetails};
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
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
        let table = table(&[failed_release()], &Running::new());
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
        let records = read(&table, &wanted(None)).await.unwrap();
        let names: Vec<_> = records.iter().map(Record::name).collect();
        assert_eq!(names, ["3", "2"]);
    }

    fn wanted(before: Option<&str>) -> Releases {
        Releases {
            stack: "demo".parse().unwrap(),
            json: false,
            limit: 2,
            before: before.map(|before| before.parse().unwrap()),
        }
    }

    #[tokio::test]
    async fn the_next_page_begins_before_the_last_one_ended() {
        let asked = mock!(aws_sdk_dynamodb::Client::query)
            .match_requests(|request| {
                let values = request.expression_attribute_values();
                let last = AttributeValue::S("release#2026-05-04T09:10:11.123Z".to_owned());
                values.and_then(|values| values.get(":last")) == Some(&last)
            })
            .then_output(|| QueryOutput::builder().build());
        let dynamodb = mock_client!(aws_sdk_dynamodb, [&asked]);
        let table = Table::new(dynamodb, "releases".to_owned());
        let wanted = wanted(Some("2026-05-04T09:10:11.123Z"));
        assert_eq!(read(&table, &wanted).await.unwrap(), []);
        assert_eq!(asked.num_calls(), 1);
    }

    #[test]
    fn the_tag_is_shown_where_there_is_one_and_what_is_not_over_has_no_seconds() {
        let record = Record {
            tag: Some("v2".to_owned()),
            seconds: None,
            verdict: "inProgress".to_owned(),
            ..failed_release()
        };
        let row = row(&record, None);
        assert_eq!((row[3].as_str(), row[5].as_str()), ("v2", ""));
    }

    fn running_release() -> Record {
        Record {
            verdict: "inProgress".to_owned(),
            execution: Some("arn:execution:first".to_owned()),
            cause: None,
            seconds: None,
            ..failed_release()
        }
    }

    fn described(status: ExecutionStatus) -> Rule {
        mock!(Client::describe_execution)
            .match_requests(|request| request.execution_arn() == Some("arn:execution:first"))
            .then_output(move || {
                DescribeExecutionOutput::builder()
                    .execution_arn("arn:execution:first")
                    .state_machine_arn("arn:machine")
                    .status(status.clone())
                    .start_date(DateTime::from_secs(1_777_885_811))
                    .stop_date(DateTime::from_secs(1_777_885_900))
                    .build()
                    .unwrap()
            })
    }

    /// The newest events of a wait, in pages, of which only an older one says where it is.
    fn history() -> Rule {
        let event = |kind: HistoryEventType, entered: Option<&str>| {
            let entered = entered.map(|name| {
                let entered = StateEnteredEventDetails::builder().name(name);
                entered.build().unwrap()
            });
            HistoryEvent::builder()
                .r#type(kind)
                .id(1)
                .timestamp(DateTime::from_secs(1_777_885_820))
                .set_state_entered_event_details(entered)
                .build()
                .unwrap()
        };
        mock!(Client::get_execution_history)
            .match_requests(|request| request.reverse_order() == Some(true))
            .sequence()
            .output(move || {
                GetExecutionHistoryOutput::builder()
                    .events(event(HistoryEventType::TaskScheduled, None))
                    .next_token("older")
                    .build()
                    .unwrap()
            })
            .output(move || {
                GetExecutionHistoryOutput::builder()
                    .events(event(HistoryEventType::TaskStateEntered, Some("WaitTask")))
                    .events(event(
                        HistoryEventType::TaskStateEntered,
                        Some("RunMigration"),
                    ))
                    .build()
                    .unwrap()
            })
            .build()
    }

    async fn told(rules: &[&Rule]) -> (String, Value) {
        let sfn = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, rules);
        let records = [running_release()];
        let running = running(&sfn, &records).await;
        let [.., told] = row(&records[0], running.get(&records[0].key));
        let json = super::json(&records, &running).unwrap();
        (told, json[0]["progress"].clone())
    }

    #[tokio::test]
    async fn a_release_that_runs_says_in_which_state_it_is_and_since_when() {
        let (told, json) = told(&[&described(ExecutionStatus::Running), &history()]).await;
        assert_eq!(told, "It is in WaitTask since 2026-05-04 09:10:20.");
        assert_eq!(
            json,
            serde_json::json!({"state": "WaitTask", "since": "2026-05-04T09:10:20Z"})
        );
    }

    #[tokio::test]
    async fn one_whose_execution_was_stopped_does_not_run_any_more() {
        let (told, json) = told(&[&described(ExecutionStatus::Aborted)]).await;
        assert_eq!(
            told,
            "Its execution ended as ABORTED at 2026-05-04 09:11:40. If its record stays open, the next release of the stack closes it."
        );
        assert_eq!(json["status"], "ABORTED");
    }

    #[tokio::test]
    async fn the_releases_are_shown_also_where_step_functions_does_not_tell() {
        let refused = mock!(Client::describe_execution).then_error(|| {
            let metadata = ErrorMetadata::builder()
                .code("AccessDeniedException")
                .message("not you")
                .build();
            DescribeExecutionError::generic(metadata)
        });
        let (told, _) = told(&[&refused]).await;
        assert!(told.starts_with("Where it is, is not known: "), "{told}");
        assert!(told.contains("not you"), "{told}");
    }

    #[tokio::test]
    async fn of_a_release_that_is_over_nobody_is_asked() {
        let sfn = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &[]);
        let over = [failed_release()];
        assert_eq!(running(&sfn, &over).await, Running::new());
    }

    #[test]
    fn a_rollback_to_what_ran_before_the_first_release_has_no_image() {
        let record = Record {
            restores_before: Some("release#2026#first".to_owned()),
            digest: None,
            ..failed_release()
        };
        assert_eq!(row(&record, None)[3], "before the first");
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
        let progress = Progress::In {
            state: "VerifyHealth".to_owned(),
            since: "2026-05-04T09:10:20Z".to_owned(),
        };
        let told = row(&waits, Some(&progress));
        assert!(told[7].starts_with("It is in VerifyHealth"), "{told:?}");
        assert!(told[7].ends_with(command), "{told:?}");
        assert!(row(&waits, None)[7].ends_with(command), "{waits:?}");
        let over = Record {
            awaits: waits.awaits,
            ..failed_release()
        };
        assert_eq!(row(&over, None)[7], "The migration exited 1.");
    }

    #[test]
    fn json_has_what_a_record_says_and_no_more() {
        let json = super::json(&[failed_release()], &Running::new()).unwrap();
        assert_eq!(json[0]["item"], "release#2026-05-04T09:10:11.123Z#first");
        assert_eq!(json[0]["action"], "deploy");
        assert_eq!(json[0]["seconds"], serde_json::json!({"total": 12.5}));
        assert_eq!(json[0].get("tag"), None);
    }
}
