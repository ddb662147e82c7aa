use crate::at_work::{AtWork, RunningTask};
use crate::failure::Failure;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{ServiceDeployment, StopServiceDeploymentStopType};
use bluegreen_contract::{InvalidInput, SettleReleaseInput, SettledRelease, Stop, parse};
use bluegreen_runtime::{AwsRequestFailed, failed};
use serde_json::Value;
use std::time::Duration;

/// ListTasks and DescribeServices are eventually consistent: what was started a moment ago may not
/// be told yet. A stack that seems to be at rest is looked at once more after this time, and is at
/// rest only if both looks agree.
const STALE: Duration = Duration::from_secs(3);

/// Looks at what is at work, and stops it where it is asked to; the state machine asks again until
/// the stack is at rest.
pub(crate) async fn handle(client: &Client, event: Value) -> Result<SettledRelease, Failure> {
    let input: SettleReleaseInput = parse(event)?;
    if input.services.is_empty() {
        return Err(InvalidInput("`services`: there is none".to_owned()).into());
    }
    let mut at_work = AtWork::look(client, &input.stack, &input.services).await?;
    if at_work.is_nothing() {
        tokio::time::sleep(STALE).await;
        at_work = AtWork::look(client, &input.stack, &input.services).await?;
    }
    let mut sentences = Vec::new();
    for task in &at_work.tasks {
        sentences.push(task_sentence(client, task, input.stop == Stop::All).await?);
    }
    for deployment in &at_work.deployments {
        sentences.push(deployment_sentence(client, deployment, input.stop != Stop::Nothing).await?);
    }
    let cause = match at_work.is_nothing() {
        true => format!(
            "Nothing of an earlier release is at work in stack {}.",
            input.stack
        ),
        false => format!(
            "An earlier release is still at work in stack {}. {}",
            input.stack,
            sentences.join(" ")
        ),
    };
    tracing::info!(cause, "the stack was looked at");
    Ok(SettledRelease {
        settled: at_work.is_nothing(),
        cause,
        tasks: at_work.tasks.into_iter().map(|task| task.arn).collect(),
        deployments: at_work
            .deployments
            .into_iter()
            .filter_map(|deployment| deployment.service_deployment_arn)
            .collect(),
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
        client
            .stop_task()
            .cluster(&task.cluster)
            .task(&task.arn)
            .reason("bluegreen: the release that started this task is dead")
            .send()
            .await
            .map_err(failed("ecs:StopTask", &task.arn))?;
        " and was told to stop"
    } else {
        ""
    };
    Ok(format!("Task {} is {}{told}.", task.arn, task.status))
}

/// Says what the deployment does, after telling it to go back where that is asked for. ECS refuses
/// that of a first deployment, which has nothing to go back to, and of one that has just ended.
async fn deployment_sentence(
    client: &Client,
    deployment: &ServiceDeployment,
    stop: bool,
) -> Result<String, AwsRequestFailed> {
    let arn = deployment.service_deployment_arn().unwrap_or_default();
    let status = bluegreen_ecs::status(deployment);
    let told = match (stop, status) {
        (true, "PENDING" | "IN_PROGRESS") => match roll_back(client, arn).await {
            Ok(()) => " and was told to roll back".to_owned(),
            Err(failure) if is_conflict(&failure) => {
                let reason = failure.message.trim_end_matches('.');
                format!(" and could not be rolled back: {reason}")
            }
            Err(failure) => return Err(failure),
        },
        _ => String::new(),
    };
    Ok(format!("Service deployment {arn} is {status}{told}."))
}

async fn roll_back(client: &Client, deployment: &str) -> Result<(), AwsRequestFailed> {
    client
        .stop_service_deployment()
        .service_deployment_arn(deployment)
        .stop_type(StopServiceDeploymentStopType::Rollback)
        .send()
        .await
        .map(drop)
        .map_err(failed("ecs:StopServiceDeployment", deployment))
}

fn is_conflict(failure: &AwsRequestFailed) -> bool {
    matches!(
        failure.code.as_str(),
        "ConflictException" | "ServiceDeploymentNotFoundException"
    )
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
