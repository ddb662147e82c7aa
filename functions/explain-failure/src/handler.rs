use crate::failure::Failure;
use crate::tasks;
use aws_sdk_ecs::types::{DesiredStatus, Service, Task};
use bluegreen_contract::{ExplainFailureInput, Health, UpdatedService, cut, parse, sentence};
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
    let mut told = Vec::new();
    for updated in &update.services {
        if told.len() == MOST_SERVICES {
            break;
        }
        let service = described.get(&updated.service);
        told.extend(explain(clients, updated, service, update.at).await?);
    }
    let crash = told.iter().find_map(|told| told.crash.as_deref());
    let mut cause = match crash {
        Some(crash) => format!("{crash} {}", health.cause),
        None => health.cause.clone(),
    };
    for Explained { text, .. } in told {
        cause.push('\n');
        cause.push_str(&text);
    }
    let cause = cut(&cause, LENGTH);
    Ok(Health { cause, ..health })
}

/// What is known of the failure of one service.
struct Explained {
    text: String,
    /// Which container crashed, and what it said itself: a sentence for the first line of the cause.
    crash: Option<String>,
}

/// `None` where nothing of the service speaks of a failure.
async fn explain(
    clients: &Clients,
    updated: &UpdatedService,
    service: Option<&Service>,
    since: i64,
) -> Result<Option<Explained>, AwsRequestFailed> {
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
    let log = log(clients, &failed, updated).await?;
    if let Some(log) = &log {
        text.push('\n');
        text.push_str(&log.text);
    }
    let crash = log.and_then(|log| log.crash);
    Ok(Some(Explained { text, crash }))
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
) -> Result<Option<Explained>, AwsRequestFailed> {
    let crashed = failed.iter().find_map(|task| {
        let crashed = tasks::crashed(task)?;
        Some((task.task_arn()?, crashed.name()?, crashed.exit_code()?))
    });
    let Some((task, container, code)) = crashed else {
        return Ok(None);
    };
    let described = describe_task_definition(&clients.ecs, &updated.task_definition).await?;
    let location = bluegreen_logs::location(&described.task_definition, container, task);
    let excerpt = bluegreen_logs::excerpt(&clients.logs, location.as_ref()).await;
    let own = excerpt.error.iter().map(|error| format!(": {error}"));
    Ok(Some(Explained {
        text: format!("Container {container} of task {task}. {excerpt}"),
        crash: Some(sentence(&format!(
            "Container {container} exited with code {code}{}",
            own.collect::<String>()
        ))),
    }))
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
