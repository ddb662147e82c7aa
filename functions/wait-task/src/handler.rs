use crate::decision::{Step, reason, step};
use crate::failure::Failure;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{Failure as EcsFailure, Task};
use bluegreen_callback::{Call, Event, Waits, drive};
use bluegreen_contract::{EndedTask, StartedTask, WaitTaskInput};
use bluegreen_runtime::{AwsRequestFailed, failed};
use serde_json::Value;

const DESCRIBE: &str = "ecs:DescribeTasks";

/// Asked by a state, or told by ECS that a task stopped. `now`: milliseconds since 1970.
pub(crate) async fn handle(
    client: &Client,
    waits: &Waits,
    event: Value,
    now: impl Fn() -> i64,
) -> Result<(), Failure> {
    drive(
        waits,
        Call::parse(event)?,
        |asked: &WaitTaskInput| vec![asked.task.task_arn.clone()],
        |asked| &asked.execution.id,
        changed_task,
        async |asked| look(client, &asked.task, now()).await,
    )
    .await
}

/// The task that an ECS Task State Change is about
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html>).
fn changed_task(event: &Event) -> Option<String> {
    event.detail["taskArn"].as_str().map(str::to_owned)
}

async fn look(
    client: &Client,
    started: &StartedTask,
    now: i64,
) -> Result<Option<EndedTask>, Failure> {
    let task = describe(client, started).await?;
    match step(task.as_ref(), started, now)? {
        Step::Answer(ended) => Ok(Some(ended)),
        Step::Wait => Ok(None),
        Step::Stop => {
            stop(client, started).await?;
            Ok(None)
        }
    }
}

/// ECS answers 200 with `failures` where it has no such task.
async fn describe(
    client: &Client,
    started: &StartedTask,
) -> Result<Option<Task>, AwsRequestFailed> {
    let answer = client
        .describe_tasks()
        .cluster(&started.cluster)
        .tasks(&started.task_arn)
        .send()
        .await
        .map_err(failed(DESCRIBE, &started.task_arn))?;
    let is_other_than_missing = |failure: &&EcsFailure| failure.reason() != Some("MISSING");
    match answer.failures().iter().find(is_other_than_missing) {
        Some(failure) => Err(AwsRequestFailed {
            action: DESCRIBE,
            resource: started.task_arn.clone(),
            code: failure.reason().unwrap_or("UnknownError").to_owned(),
            message: failure.detail().unwrap_or("ECS gave no detail").to_owned(),
            refused: true,
        }),
        None => Ok(answer.tasks.unwrap_or_default().into_iter().next()),
    }
}

/// It has had its time: none is left running.
async fn stop(client: &Client, started: &StartedTask) -> Result<(), AwsRequestFailed> {
    let (cluster, task) = (&started.cluster, &started.task_arn);
    bluegreen_ecs::stop_task(client, cluster, task, reason(started)).await?;
    tracing::info!(task = started.task_arn, "an overdue task is told to stop");
    Ok(())
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
