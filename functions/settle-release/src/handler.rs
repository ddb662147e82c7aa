use crate::failure::Failure;
use crate::left::{Left, RunningTask};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::ServiceDeployment;
use bluegreen_callback::{Call, Event, Waits, drive};
use bluegreen_contract::{
    InvalidInput, PlannedService, RequestedAction, SettleReleaseInput, SettledRelease,
};
use bluegreen_ecs::Seen;
use bluegreen_release::Table;
use bluegreen_runtime::AwsRequestFailed;
use serde_json::Value;
use std::time::Duration;

/// ListTasks and DescribeServices are eventually consistent: what was started a moment ago may not
/// be told yet. A stack that seems to be at rest is looked at once more after this time, and is at
/// rest only if both looks agree.
const STALE: Duration = Duration::from_secs(3);

/// How long after the time limit of a migration what was told to stop may take to stop.
const STOPPING_MILLIS: i64 = 900_000;

pub(crate) struct Clients {
    pub(crate) table: Table,
    pub(crate) waits: Waits,
    pub(crate) ecs: Client,
}

/// Answers the state machine's question once the stack is at rest, at once or when an event tells
/// that something of it has ended.
///
/// `until` is when Lambda ends this call, `clock` tells the time, both in milliseconds since 1970.
pub(crate) async fn handle(
    clients: &Clients,
    payload: Value,
    until: i64,
    clock: impl Fn() -> i64,
) -> Result<(), Failure> {
    let call = Call::parse(payload)?;
    drive(
        &clients.waits,
        call,
        awaited,
        |asked: &SettleReleaseInput| &asked.execution.id,
        told,
        async |asked: &SettleReleaseInput| look(clients, asked, until, clock()).await,
    )
    .await
}

/// The services, and the stack's one-off tasks by what they have in common: which ones there are is
/// not known before they are looked for.
fn awaited(asked: &SettleReleaseInput) -> Vec<String> {
    let services = asked.plan.services.iter();
    services
        .map(|service| service.service.clone())
        .chain([bluegreen_ecs::started_by(&asked.plan.release.stack)])
        .collect()
}

/// What of these an event is about. A deployment's event names the service as its resource, a
/// hook's in its detail
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html>,
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_hook_state_change_events.html>).
fn told(event: &Event) -> Option<String> {
    let detail = |key: &str| event.detail[key].as_str().map(str::to_owned);
    match event.detail_type.as_str() {
        "ECS Task State Change" => detail("startedBy"),
        "ECS Deployment State Change" => event.resources.as_ref()?.first().cloned(),
        "ECS Hook State Change" => detail("serviceArn"),
        _ => None,
    }
}

/// What is stopped of that which is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Nothing,
    /// Tasks come to their end.
    Deployments,
    All,
}

/// What does not end in its time is stopped, and a deployment at once if a person wants the stack
/// to go back. An alarm stops nothing: whether it is a reason to is decided when nothing is in
/// progress any more.
fn stop(asked: &SettleReleaseInput, now: i64) -> Stop {
    let release = &asked.plan.release;
    if release.alarm.is_some() {
        Stop::Nothing
    } else if now > patience(asked) {
        Stop::All
    } else if release.action == RequestedAction::Rollback {
        Stop::Deployments
    } else {
        Stop::Nothing
    }
}

/// Until when what was left may come to its own end, milliseconds since 1970.
fn patience(asked: &SettleReleaseInput) -> i64 {
    asked.since + i64::from(asked.plan.limits.migration_seconds) * 1000
}

/// Looks at what is in progress, and stops it where its time is over. `None`: the stack is not at
/// rest yet. `until` and `now` are milliseconds since 1970.
async fn look(
    clients: &Clients,
    asked: &SettleReleaseInput,
    until: i64,
    now: i64,
) -> Result<Option<SettledRelease>, Failure> {
    let (stack, services) = (&asked.plan.release.stack, &asked.plan.services);
    if services.is_empty() {
        return Err(InvalidInput("`plan.services`: there is none".to_owned()).into());
    }
    let mut left = Left::look(&clients.ecs, stack, services).await?;
    if left.is_nothing() {
        tokio::time::sleep(STALE).await;
        left = Left::look(&clients.ecs, stack, services).await?;
    }
    if left.is_nothing() {
        clients.table.settled(stack, &asked.execution).await?;
        let found_deployment = services
            .iter()
            .any(|service| was_deployed(service, &left.services, asked.since));
        tracing::info!(stack, found_deployment, "the stack is at rest");
        return Ok(Some(SettledRelease { found_deployment }));
    }
    let stop = stop(asked, now);
    if stop != Stop::Nothing {
        // Whoever has lost the turn stops nothing.
        let (release, execution) = (&asked.plan.release, &asked.execution);
        clients
            .table
            .begin_settling(release, execution, until)
            .await?;
    }
    let mut sentences = Vec::new();
    for task in &left.tasks {
        sentences.push(task_sentence(&clients.ecs, task, stop == Stop::All).await?);
    }
    for deployment in left.services.deployments() {
        let stops = stop != Stop::Nothing;
        sentences.push(deployment_sentence(&clients.ecs, deployment, stops).await?);
    }
    let cause = format!(
        "An earlier release is still in progress in stack {stack}. {}",
        sentences.join(" ")
    );
    tracing::info!(cause, "the stack is not at rest");
    match now > patience(asked) + STOPPING_MILLIS {
        true => Err(Failure::EarlierReleaseUnsettled(cause)),
        false => Ok(None),
    }
}

/// Whether a deployment of the service was in progress when the turn was taken, or since. Looks do
/// not know of each other; the service knows when its deployment has changed last.
fn was_deployed(planned: &PlannedService, seen: &Seen, since: i64) -> bool {
    let service = seen.service(&planned.service);
    let mut deployments = service.iter().flat_map(|service| service.deployments());
    deployments.any(|deployment| {
        let updated = deployment.updated_at().and_then(|at| at.to_millis().ok());
        updated.is_some_and(|at| at >= since)
    })
}

/// Says what the task does, after telling it to stop where that is asked for.
async fn task_sentence(
    client: &Client,
    task: &RunningTask,
    stop: bool,
) -> Result<String, AwsRequestFailed> {
    let told = if task.is_stopping {
        " and is stopping"
    } else if stop {
        let reason = "bluegreen: the release that started this task is dead";
        bluegreen_ecs::stop_task(client, &task.cluster, &task.arn, reason).await?;
        " and was told to stop"
    } else {
        ""
    };
    Ok(format!("Task {} is {}{told}.", task.arn, task.status))
}

/// Says what the deployment does, after telling it to go back where that is asked for.
async fn deployment_sentence(
    client: &Client,
    deployment: &ServiceDeployment,
    stop: bool,
) -> Result<String, AwsRequestFailed> {
    let arn = deployment.service_deployment_arn().unwrap_or_default();
    let status = bluegreen_ecs::status(deployment);
    let told = match (stop, status) {
        (true, "PENDING" | "IN_PROGRESS") => match bluegreen_ecs::roll_back(client, arn).await {
            Ok(()) => " and was told to roll back".to_owned(),
            Err(failure) if bluegreen_ecs::is_over(&failure) => {
                let reason = failure.message.trim_end_matches('.');
                format!(" and could not be rolled back: {reason}")
            }
            Err(failure) => return Err(failure),
        },
        _ => String::new(),
    };
    Ok(format!("Service deployment {arn} is {status}{told}."))
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
