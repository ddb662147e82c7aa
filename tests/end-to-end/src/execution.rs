//! An execution of the pipeline's state machine, watched from outside.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_sfn::types::HistoryEvent;
use aws_types::SdkConfig;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(200);
/// No execution in the demo or the tests takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(300);
/// How many events of a history are asked for at once: the most there may be, and the newest.
const WHOLE: i32 = 1_000;
const NEWEST: i32 = 5;

/// An execution.
#[derive(Clone, Debug)]
pub struct Execution {
    client: aws_sdk_sfn::Client,
    arn: String,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: Timestamp,
    /// `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: String,
    /// Its output, JSON; `Null` unless it succeeded.
    pub output: Value,
    /// The error's name, of a failed one.
    pub error: String,
    /// The cause, of a failed one.
    pub cause: String,
}

/// A way through the state machine, which grows while the execution runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The stays so far.
    pub stays: Vec<Stay>,
    /// The number of the last event that was read; events are numbered from 1 on.
    last_event: i64,
}

/// One stay in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// The state's name.
    pub state: String,
    /// When the execution entered it.
    pub entered: Timestamp,
    /// When it left; `None` while it is there.
    pub left: Option<Timestamp>,
    /// What the state gave to the next, JSON; `Null` while it is there.
    pub output: Value,
    /// How often the state's task was begun: once, and once more for each retry.
    pub tries: usize,
}

impl Stay {
    /// How long it lasted, in seconds.
    ///
    /// # Errors
    /// The execution is there still.
    pub fn seconds(&self) -> Result<f64> {
        let left = self.left.context("it is there still")?;
        Ok(left.duration_since(self.entered).as_secs_f64())
    }
}

impl Execution {
    /// The execution of this ARN.
    pub fn new(config: &SdkConfig, arn: impl Into<String>) -> Self {
        Self {
            client: aws_sdk_sfn::Client::new(config),
            arn: arn.into(),
        }
    }

    /// The execution's ARN.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The execution's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.arn.rsplit(':').next().unwrap_or_default()
    }

    /// What it was started with.
    ///
    /// # Errors
    /// Step Functions does not answer.
    pub async fn input(&self) -> Result<Value> {
        let answer = self.describe().await?;
        serde_json::from_str(answer.input().unwrap_or("null")).context("its input is no JSON")
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// Step Functions does not answer.
    pub async fn ended(&self) -> Result<Option<End>> {
        let answer = self.describe().await?;
        let status = answer.status().as_str();
        if status == "RUNNING" {
            return Ok(None);
        }
        let at = answer.stop_date().context("it ended, but not at a time")?;
        Ok(Some(End {
            at: Timestamp::from_millisecond(at.to_millis()?)?,
            status: status.to_owned(),
            output: serde_json::from_str(answer.output().unwrap_or("null"))?,
            error: answer.error().unwrap_or_default().to_owned(),
            cause: answer.cause().unwrap_or_default().to_owned(),
        }))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end within five minutes.
    pub async fn end(&self) -> Result<End> {
        self.end_within(PATIENCE).await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end in this time.
    pub async fn end_within(&self, patience: Duration) -> Result<End> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(end) = self.ended().await? {
                return Ok(end);
            }
            ensure!(
                Instant::now() < deadline,
                "{} did not end in {patience:?}; it is in {:?}",
                self.arn,
                self.stays().await?.last()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until it has come to this state.
    ///
    /// # Errors
    /// It does not come to it within `patience`, or has ended without.
    pub async fn reaches(&self, state: &str, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut way = Way::default();
        loop {
            let ended = self.ended().await?;
            self.follow(&mut way).await?;
            if way.stays.iter().any(|stay| stay.state == state) {
                return Ok(());
            }
            if let Some(end) = ended {
                bail!("{} ended without coming to {state}: {end:?}", self.arn);
            }
            ensure!(
                Instant::now() < deadline,
                "{} did not come to {state} in {patience:?}",
                self.arn
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Aborts it, as a person does in the console.
    ///
    /// # Errors
    /// Step Functions does not answer.
    pub async fn stop(&self) -> Result<()> {
        let request = self.client.stop_execution().execution_arn(&self.arn);
        request.send().await?;
        Ok(())
    }

    /// Lets it go on where it was aborted.
    ///
    /// # Errors
    /// Step Functions refuses that.
    pub async fn redrive(&self) -> Result<()> {
        let request = self.client.redrive_execution().execution_arn(&self.arn);
        request.send().await?;
        Ok(())
    }

    /// Its stays in states so far.
    ///
    /// # Errors
    /// Step Functions does not answer.
    pub async fn stays(&self) -> Result<Vec<Stay>> {
        let mut way = Way::default();
        self.follow(&mut way).await?;
        Ok(way.stays)
    }

    /// Reads what has happened since `way` was read: the newest events, back to the last known one.
    ///
    /// # Errors
    /// Step Functions does not answer.
    pub async fn follow(&self, way: &mut Way) -> Result<()> {
        let page = if way.last_event == 0 { WHOLE } else { NEWEST };
        let mut events = self
            .client
            .get_execution_history()
            .execution_arn(&self.arn)
            .reverse_order(true)
            .max_results(page)
            .into_paginator()
            .items()
            .send();
        let mut new = Vec::new();
        while let Some(event) = events.try_next().await? {
            if event.id() <= way.last_event {
                break;
            }
            new.push(event);
        }
        for event in new.iter().rev() {
            follow(&mut way.stays, event)?;
            way.last_event = event.id();
        }
        Ok(())
    }

    /// Its last stay in this state.
    ///
    /// # Errors
    /// It never came to it.
    pub async fn stay_in(&self, state: &str) -> Result<Stay> {
        let stays = self.stays().await?;
        let last = stays.into_iter().rfind(|stay| stay.state == state);
        last.with_context(|| format!("{} never came to {state}", self.arn))
    }

    async fn describe(
        &self,
    ) -> Result<aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput> {
        let request = self.client.describe_execution().execution_arn(&self.arn);
        Ok(request.send().await?)
    }
}

fn follow(stays: &mut Vec<Stay>, event: &HistoryEvent) -> Result<()> {
    let time = Timestamp::from_millisecond(event.timestamp().to_millis()?)?;
    if let Some(entered) = event.state_entered_event_details() {
        stays.push(Stay {
            state: entered.name().to_owned(),
            entered: time,
            left: None,
            output: Value::Null,
            tries: 0,
        });
    } else if let (Some(_), Some(stay)) = (event.task_scheduled_event_details(), stays.last_mut()) {
        stay.tries += 1;
    } else if let (Some(exited), Some(stay)) =
        (event.state_exited_event_details(), stays.last_mut())
    {
        stay.left = Some(time);
        stay.output = serde_json::from_str(exited.output().unwrap_or("null"))?;
    } else if event.r#type().as_str().starts_with("Execution")
        && let Some(stay) = stays.last_mut()
    {
        // A Fail state is left by the execution's end only.
        stay.left.get_or_insert(time);
    }
    Ok(())
}
