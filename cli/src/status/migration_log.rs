//! The log of a release's migration, as it comes.

use anyhow::Result;
use bluegreen_contract::LogLocation;

use crate::trouble::{asked, failed};
use crate::world::World;

/// Reads on from where it was read the last time.
#[derive(Debug)]
pub struct MigrationLog {
    logs: aws_sdk_cloudwatchlogs::Client,
    location: Option<LogLocation>,
    next: Option<String>,
}

impl MigrationLog {
    /// The log of a task, given by its ARN. One that does not go to CloudWatch Logs has no lines.
    ///
    /// # Errors
    /// ECS does not tell of the task.
    pub async fn of(world: &World, task: &str) -> Result<Self> {
        let ecs = aws_sdk_ecs::Client::new(&world.config);
        Ok(Self {
            logs: aws_sdk_cloudwatchlogs::Client::new(&world.config),
            location: location(&ecs, task).await?,
            next: None,
        })
    }

    /// Reads nothing any more.
    pub fn give_up(&mut self) {
        self.location = None;
    }

    /// The lines that have come since.
    ///
    /// # Errors
    /// CloudWatch Logs does not answer.
    pub async fn new_lines(&mut self) -> Result<Vec<String>> {
        let Some(location) = &self.location else {
            return Ok(Vec::new());
        };
        let page = self
            .logs
            .get_log_events()
            .log_group_name(&location.group)
            .log_stream_name(&location.stream)
            .start_from_head(true)
            .set_next_token(self.next.clone())
            .send()
            .await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                // The stream appears with the first line.
                let known = error.as_service_error();
                return match known.is_some_and(|it| it.is_resource_not_found_exception()) {
                    true => Ok(Vec::new()),
                    false => Err(failed(error, "The migration's log can not be read")),
                };
            }
        };
        self.next = page.next_forward_token().map(str::to_owned);
        let messages = page.events().iter().filter_map(|event| event.message());
        let lines = messages.flat_map(str::lines).map(str::to_owned);
        Ok(lines.collect())
    }
}

async fn location(ecs: &aws_sdk_ecs::Client, task: &str) -> Result<Option<LogLocation>> {
    // arn:…:task/CLUSTER/ID
    let cluster = task.rsplit('/').nth(1).unwrap_or_default();
    let described = ecs
        .describe_tasks()
        .cluster(cluster)
        .tasks(task)
        .send()
        .await;
    let described =
        described.map_err(|error| failed(error, "ECS does not tell of the migration"))?;
    let found = described.tasks().first().and_then(|task| {
        let overrides = task.overrides()?.container_overrides();
        // The container in which the command runs is the one that is given it.
        let commanded = overrides.iter().find(|it| !it.command().is_empty())?;
        Some((task.task_definition_arn()?, commanded.name()?))
    });
    let Some((task_definition, container)) = found else {
        return Ok(None);
    };
    let described = bluegreen_ecs::describe_task_definition(ecs, task_definition).await;
    let described = described.map_err(asked)?;
    Ok(bluegreen_logs::location(
        &described.task_definition,
        container,
        task,
    ))
}
