//! Releases that run while the pipeline is to be updated or something is to be deleted: an execution keeps
//! the definition with which it began, but its functions change under it, or are gone.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_sfn::Client;
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::Value;
use tokio::time::Instant;

use crate::say::Say;
use crate::trouble::failed;

/// A release that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    /// What its input names; empty where it names none.
    stack: String,
    /// ARN of its execution.
    execution: String,
}

/// Waits until no release of the state machine runs, and says for which it waits.
///
/// # Errors
/// One still runs after `limit`: then which, and what to do; or Step Functions does not answer.
pub async fn wait_for_releases(
    sfn: &Client,
    state_machine: &str,
    say: &Say,
    (poll, limit): (Duration, Duration),
) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut told = Vec::new();
    loop {
        let running = running(sfn, state_machine).await?;
        if running.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!(
                "these releases still run after {} minutes, and an update would change their \
                 functions under them:\n{}\nWait for their end, or stop one with aws stepfunctions \
                 stop-execution --execution-arn ARN, and run make up again. A release that was \
                 stopped leaves its stack as it is at that moment; the next one goes on from there.",
                limit.as_secs() / 60,
                lines(&running)
            );
        }
        if running != told {
            say.line(format!(
                "The pipeline is updated when no release runs. These do:\n{}\nWaiting for their \
                 end. To stop one: aws stepfunctions stop-execution --execution-arn ARN",
                lines(&running)
            ));
            told = running;
        }
        tokio::time::sleep(poll).await;
    }
}

/// Refuses where a release runs: one of the stack, or any where none is named.
///
/// # Errors
/// Which run, and what to do; or Step Functions does not answer.
pub async fn refuse_while_releases_run(
    sfn: &Client,
    state_machine: &str,
    of_stack: Option<&str>,
) -> Result<()> {
    let mut running = running(sfn, state_machine).await?;
    running.retain(|one| of_stack.is_none_or(|stack| one.stack == stack));
    ensure!(
        running.is_empty(),
        "these releases run, and would lose their services or functions on the way:\n{}\nNothing was \
         deleted. Wait for their end, or stop one with aws stepfunctions stop-execution \
         --execution-arn ARN, and run make down again.",
        lines(&running)
    );
    Ok(())
}

fn lines(running: &[Running]) -> String {
    let lines = running
        .iter()
        .map(|one| format!("  stack {}: {}", one.stack, one.execution));
    lines.collect::<Vec<_>>().join("\n")
}

async fn running(sfn: &Client, state_machine: &str) -> Result<Vec<Running>> {
    let mut pages = sfn
        .list_executions()
        .state_machine_arn(state_machine)
        .status_filter(ExecutionStatus::Running)
        .into_paginator()
        .items()
        .send();
    let mut running = Vec::new();
    while let Some(item) = pages.next().await {
        let item =
            item.map_err(|error| failed(error, "Step Functions does not tell which releases run"))?;
        let execution = item.execution_arn().to_owned();
        let described = sfn.describe_execution().execution_arn(&execution);
        let described = described.send().await.map_err(|error| {
            failed(error, "Step Functions does not tell of a release that runs")
        })?;
        let input = described.input().unwrap_or("null");
        let input: Value = serde_json::from_str(input).context("an input is no JSON")?;
        let stack = input["stack"].as_str().unwrap_or_default().to_owned();
        running.push(Running { stack, execution });
    }
    Ok(running)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
    use aws_sdk_sfn::operation::list_executions::ListExecutionsOutput;
    use aws_sdk_sfn::primitives::DateTime;
    use aws_sdk_sfn::types::ExecutionListItem;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    use super::*;

    /// Step Functions, with an execution that runs for so many looks.
    fn step_functions(looks: usize) -> Client {
        let looked = Arc::new(AtomicUsize::new(0));
        let list = mock!(Client::list_executions)
            .match_requests(|request| {
                request.state_machine_arn() == Some("arn:machine")
                    && request.status_filter() == Some(&ExecutionStatus::Running)
            })
            .then_output(move || {
                let runs = looked.fetch_add(1, Ordering::Relaxed) < looks;
                let item = runs.then(|| {
                    ExecutionListItem::builder()
                        .execution_arn("arn:execution:shop-v2")
                        .state_machine_arn("arn:machine")
                        .name("shop-v2")
                        .status(ExecutionStatus::Running)
                        .start_date(DateTime::from_secs(0))
                        .build()
                        .unwrap()
                });
                ListExecutionsOutput::builder()
                    .set_executions(Some(item.into_iter().collect()))
                    .build()
                    .unwrap()
            });
        let describe = mock!(Client::describe_execution).then_output(|| {
            DescribeExecutionOutput::builder()
                .execution_arn("arn:execution:shop-v2")
                .state_machine_arn("arn:machine")
                .status(ExecutionStatus::Running)
                .start_date(DateTime::from_secs(0))
                .input(r#"{"stack":"shop","tag":"v2"}"#)
                .build()
                .unwrap()
        });
        mock_client!(aws_sdk_sfn, RuleMode::MatchAny, [&list, &describe])
    }

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What comes of it, and what the person was told.
    async fn wait(looks: usize, limit: Duration) -> (Result<()>, String) {
        let screen = Screen::default();
        let say = Say::to(screen.clone());
        let sfn = step_functions(looks);
        let waits = (Duration::ZERO, limit);
        let waited = wait_for_releases(&sfn, "arn:machine", &say, waits).await;
        let told = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        (waited, told)
    }

    #[tokio::test]
    async fn where_no_release_runs_nothing_is_said() {
        let (waited, told) = wait(0, Duration::ZERO).await;
        waited.unwrap();
        assert_eq!(told, "");
    }

    #[tokio::test]
    async fn a_release_that_runs_is_named_once_and_waited_for() {
        let (waited, told) = wait(3, Duration::from_secs(60)).await;
        waited.unwrap();
        assert_eq!(told.matches("stack shop: arn:execution:shop-v2").count(), 1);
        assert!(told.contains("stop-execution"), "{told}");
    }

    /// While executions run, DeleteStateMachine only marks the state machine
    /// (<https://docs.aws.amazon.com/step-functions/latest/apireference/API_DeleteStateMachine.html>).
    #[tokio::test]
    async fn nothing_is_deleted_under_a_release_that_runs() {
        for of_stack in [Some("shop"), None] {
            let sfn = step_functions(1);
            let refused = refuse_while_releases_run(&sfn, "arn:machine", of_stack);
            let error = refused.await.unwrap_err().to_string();
            for words in [
                "stack shop: arn:execution:shop-v2",
                "Nothing was deleted",
                "stop-execution",
                "make down again",
            ] {
                assert!(error.contains(words), "{error}");
            }
        }
        for (looks, of_stack) in [(1, Some("blog")), (0, Some("shop")), (0, None)] {
            let sfn = step_functions(looks);
            let refused = refuse_while_releases_run(&sfn, "arn:machine", of_stack);
            refused.await.unwrap();
        }
    }

    #[tokio::test]
    async fn one_that_runs_for_too_long_is_named_with_what_to_do() {
        let (waited, _) = wait(usize::MAX, Duration::ZERO).await;
        let error = waited.unwrap_err().to_string();
        for words in [
            "still run after 0 minutes",
            "stack shop: arn:execution:shop-v2",
            "stop-execution",
            "make up again",
        ] {
            assert!(error.contains(words), "{error}");
        }
    }
}
