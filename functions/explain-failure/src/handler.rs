use crate::failure::Failure;
use crate::tasks;
use aws_sdk_ecs::types::{DesiredStatus, Service, Task};
use bluegreen_contract::{ExplainFailureInput, Health, UpdatedService, cut, parse};
use bluegreen_ecs::{describe_services, describe_task_definition};
use bluegreen_runtime::{AwsRequestFailed, failed};
use serde_json::Value;

/// Services that are explained: a cause is read by a person.
const MOST_SERVICES: usize = 5;
/// Characters of the whole cause, which stands in another text beside others.
const LENGTH: usize = 12_000;
/// DescribeTasks takes no more at once, and no person more
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html>).
const TASKS: i32 = 100;

pub(crate) struct Clients {
    pub(crate) ecs: aws_sdk_ecs::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
}

/// The same verdict, with a cause that says more: why tasks of the new revisions stopped, what the
/// container that crashed wrote last, and what the services' own events say.
pub(crate) async fn handle(clients: &Clients, payload: Value) -> Result<Health, Failure> {
    let ExplainFailureInput { update, health } = parse(payload)?;
    let asked = update.services.iter();
    let asked = asked.map(|service| (service.cluster.as_str(), service.service.as_str()));
    let described = describe_services(&clients.ecs, asked).await?;
    let mut told = vec![health.cause.clone()];
    for updated in &update.services {
        if told.len() > MOST_SERVICES {
            break;
        }
        let service = described.get(&updated.service);
        told.extend(explain(clients, updated, service, update.at).await?);
    }
    let cause = cut(&told.join("\n"), LENGTH);
    Ok(Health { cause, ..health })
}

/// `None` where nothing of the service speaks of a failure.
async fn explain(
    clients: &Clients,
    updated: &UpdatedService,
    service: Option<&Service>,
    since: i64,
) -> Result<Option<String>, AwsRequestFailed> {
    let stopped = stopped(&clients.ecs, updated).await?;
    let failed = tasks::failed(&stopped, &updated.task_definition);
    let mut lines = tasks::reasons(&failed);
    let events = service.map(Service::events).unwrap_or_default();
    let troubles = tasks::troubles(events, since);
    lines.extend(troubles.into_iter().map(|event| format!("ECS: {event}")));
    if lines.is_empty() {
        return Ok(None);
    }
    let name = updated.service.rsplit('/').next().unwrap_or_default();
    let mut text = format!("Service {name}:\n- {}", lines.join("\n- "));
    if let Some(log) = log(clients, &failed, updated).await? {
        text.push('\n');
        text.push_str(&log);
    }
    Ok(Some(text))
}

/// ECS tells of stopped tasks for about an hour.
async fn stopped(
    client: &aws_sdk_ecs::Client,
    updated: &UpdatedService,
) -> Result<Vec<Task>, AwsRequestFailed> {
    let listed = client
        .list_tasks()
        .cluster(&updated.cluster)
        .service_name(&updated.service)
        .desired_status(DesiredStatus::Stopped)
        .max_results(TASKS)
        .send()
        .await
        .map_err(failed("ecs:ListTasks", &updated.service))?;
    let arns = listed.task_arns.unwrap_or_default();
    if arns.is_empty() {
        return Ok(Vec::new());
    }
    let described = client
        .describe_tasks()
        .cluster(&updated.cluster)
        .set_tasks(Some(arns))
        .send()
        .await
        .map_err(failed("ecs:DescribeTasks", &updated.service))?;
    Ok(described.tasks.unwrap_or_default())
}

/// What the container that crashed last wrote at last.
async fn log(
    clients: &Clients,
    failed: &[&Task],
    updated: &UpdatedService,
) -> Result<Option<String>, AwsRequestFailed> {
    let crashed = failed
        .iter()
        .find_map(|task| Some((task.task_arn()?, tasks::crashed(task)?.name()?)));
    let Some((task, container)) = crashed else {
        return Ok(None);
    };
    let described = describe_task_definition(&clients.ecs, &updated.task_definition).await?;
    let location = bluegreen_logs::location(&described.task_definition, container, task);
    let excerpt = bluegreen_logs::excerpt(&clients.logs, location.as_ref()).await;
    Ok(Some(format!(
        "Container {container} of task {task}. {excerpt}"
    )))
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
