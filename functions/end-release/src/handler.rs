use crate::failure::Failure;
use crate::verdict::{Ended, Facts, What};
use crate::{seconds, words};
use bluegreen_contract::{EndReleaseInput, Ending, Goal, Outcome, Plan, ServiceRevision, parse};
use bluegreen_release::turn::Line;
use bluegreen_release::{End, EndFailure, Record, Table};
use bluegreen_runtime::AwsRequestFailed;
use serde_json::Value;

/// The state is tried eight times more. The last but one of these tries answers all the same: how
/// the release ended is worth more than that it is on record.
const LAST_RETRY: u32 = 7;
/// A call that came late is waited for: this many retries take longer than it may last.
const LAST_RETRY_FOR_A_CALL: u32 = 100;

/// Finds how the release ended and the words for it, closes its record together with giving the
/// turn back, and wakes who is next. `now` in milliseconds since 1970.
pub(crate) async fn handle(line: &Line, event: Value, now: i64) -> Result<Outcome, Failure> {
    let input: EndReleaseInput = parse(event)?;
    let is_last = input.retries >= LAST_RETRY;
    let record = match own_record(&line.table, &input).await {
        Err(failure) if is_last => {
            tracing::warn!(%failure, "the release ends without what its record says");
            None
        }
        record => record?,
    };
    let facts = Facts {
        input: &input,
        record: record.as_ref(),
        serves: None,
    };
    let ended = facts.ended()?;
    let serves = match (&input.plan, ended.error) {
        (Some(plan), Some(_)) => serves(&line.table, &plan.release.stack).await,
        _ => None,
    };
    let facts = Facts {
        serves: serves.as_ref(),
        ..facts
    };
    let mut outcome = outcome(&facts, &ended);
    tracing::info!(
        outcome.verdict,
        ended.recorded,
        outcome.error,
        ended.left_running,
        "the release ends"
    );
    if let Some(plan) = &input.plan {
        match close(line, &input, plan, &ended, &outcome, now).await {
            Ok(()) => wake_the_next(line, plan).await,
            Err(failure) if is_the_last_try(&failure, input.retries) => {
                outcome.reason = words::not_given_back(&outcome.reason, &failure.to_string());
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(outcome)
}

fn is_the_last_try(failure: &EndFailure, retries: u32) -> bool {
    match failure {
        EndFailure::AwsRequestFailed(_) => retries >= LAST_RETRY,
        EndFailure::CallInProgress(_) => retries >= LAST_RETRY_FOR_A_CALL,
    }
}

async fn own_record(
    table: &Table,
    input: &EndReleaseInput,
) -> Result<Option<Record>, AwsRequestFailed> {
    match &input.plan {
        Some(plan) => {
            let release = &plan.release;
            table.record(&release.stack, &release.record).await
        }
        None => Ok(None),
    }
}

/// The record of the release that serves. A failure is told also where it cannot be read.
async fn serves(table: &Table, stack: &str) -> Option<Record> {
    let read = async {
        match table.turn(stack).await?.current {
            Some(current) => table.record(stack, &current.record).await,
            None => Ok(None),
        }
    };
    let read: Result<_, AwsRequestFailed> = read.await;
    read.unwrap_or_else(|failure| {
        tracing::warn!(%failure, "the release ends without the name of what runs on");
        None
    })
}

async fn close(
    line: &Line,
    input: &EndReleaseInput,
    plan: &Plan,
    ended: &Ended<'_>,
    outcome: &Outcome,
    now: i64,
) -> Result<(), EndFailure> {
    let end = End {
        verdict: ended.recorded,
        cause: &outcome.reason,
        error: outcome.error.as_deref(),
        seconds: &seconds::of(input, now),
        left_running: ended.left_running,
    };
    line.table
        .end(&plan.release, &input.execution, &end, now, line.retention)
        .await
}

/// Who waits looks again by itself, a heartbeat later, where this fails.
async fn wake_the_next(line: &Line, plan: &Plan) {
    if let Err(failure) = line.hand_on::<Failure>(&plan.release.stack).await {
        tracing::warn!(%failure, "the next release was not woken");
    }
}

fn outcome(facts: &Facts<'_>, ended: &Ended<'_>) -> Outcome {
    let plan = facts.input.plan.as_ref();
    let release = plan.map(|plan| &plan.release);
    let (tag, digest) = match &ended.what {
        What::Restored { goal, .. } => match goal {
            Goal::Release(release) => (release.tag.clone(), Some(release.digest.clone())),
            Goal::Before(_) => (None, None),
        },
        _ => (
            release.and_then(|release| release.tag.clone()),
            release.and_then(|release| release.digest.clone()),
        ),
    };
    Outcome {
        verdict: ended.verdict.to_owned(),
        reason: words::reason(facts, ended),
        error: ended.error.map(words::error),
        stack: release.map(|release| release.stack.clone()),
        tag,
        digest,
        services: services(facts, ended),
    }
}

/// What the services run, where that is what the release says.
fn services(facts: &Facts<'_>, ended: &Ended<'_>) -> Vec<ServiceRevision> {
    match (&ended.what, &facts.input.plan) {
        (What::Healthy(_) | What::Restored { .. }, _) => {
            let services = facts.record.map(|record| record.services.as_slice());
            let services = services.unwrap_or_default().iter();
            services
                .map(|service| ServiceRevision {
                    service: service.service.clone(),
                    task_definition: service.task_definition.clone(),
                })
                .collect()
        }
        (What::Ending(Ending::NothingToDeploy), Some(plan)) => plan
            .services
            .iter()
            .map(|service| ServiceRevision {
                service: service.service.clone(),
                task_definition: service.task_definition.clone(),
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
