//! `bluegreen tasks`: what runs, and why what has stopped has.

use anyhow::Result;
use aws_sdk_ecs::types::{DesiredStatus, Task};
use clap::Args;
use serde::Serialize;

use crate::columns::columns;
use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::Pipeline;
use crate::services::{describe_tasks, name_of, services_of, tasks_of};
use crate::status::{Versions, newest};
use crate::world::World;

/// By so many releases the tasks are told apart.
const RECORDS: usize = 50;

/// Of which stack.
#[derive(Args, Clone, Debug)]
pub struct Tasks {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    /// Show also those that have stopped, for the hour in which ECS remembers them.
    #[arg(long)]
    pub stopped: bool,
    /// Print them as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A task in brief.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    task: String,
    service: String,
    version: String,
    status: String,
    health: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_reason: Option<String>,
}

/// Shows the tasks of the stack's services.
///
/// # Errors
/// There is no pipeline or no such stack, or AWS does not answer.
pub async fn run(world: &World, asked: &Tasks) -> Result<Exit> {
    let pipeline = Pipeline::find(world).await?;
    let ecs = aws_sdk_ecs::Client::new(&world.config);
    let versions = Versions::of(newest(&pipeline, asked.stack.as_str(), RECORDS).await?);
    let mut rows = Vec::new();
    for (cluster, service) in services_of(world, &asked.stack).await? {
        let mut tasks = tasks_of(&ecs, &cluster, &service, DesiredStatus::Running).await?;
        if asked.stopped {
            tasks.extend(tasks_of(&ecs, &cluster, &service, DesiredStatus::Stopped).await?);
        }
        let tasks = describe_tasks(&ecs, &cluster, &tasks).await?;
        rows.extend(tasks.iter().map(|task| row(&service, task, &versions)));
    }
    if asked.json {
        world.say.line(serde_json::to_string_pretty(&rows)?);
    } else if rows.is_empty() {
        world
            .say
            .line(format!("{} has no task.", asked.stack.as_str()));
    } else {
        world.say.line(table(&rows));
    }
    Ok(Exit::Done)
}

fn row(service: &str, task: &Task, versions: &Versions) -> Row {
    let arn = task.task_arn().unwrap_or_default();
    let second = |time: &aws_sdk_ecs::primitives::DateTime| {
        let millis = time.to_millis().ok()?;
        Some(bluegreen_release::rfc3339(millis))
    };
    Row {
        task: name_of(arn).to_owned(),
        service: name_of(service).to_owned(),
        version: versions.of_task(arn, task.task_definition_arn().unwrap_or_default()),
        status: task.last_status().unwrap_or_default().to_owned(),
        health: task
            .health_status()
            .map_or("UNKNOWN", |health| health.as_str())
            .to_owned(),
        started_at: task.started_at().and_then(second),
        stopped_reason: task.stopped_reason().map(str::to_owned),
    }
}

fn table(rows: &[Row]) -> String {
    let header = [
        "TASK",
        "SERVICE",
        "VERSION",
        "STATUS",
        "HEALTH",
        "STARTED",
        "STOPPED BECAUSE",
    ];
    let rows = rows.iter().map(|row| {
        let cells = [
            Some(&row.task),
            Some(&row.service),
            Some(&row.version),
            Some(&row.status),
            Some(&row.health),
            row.started_at.as_ref(),
            row.stopped_reason.as_ref(),
        ];
        cells.map(|cell| cell.cloned().unwrap_or_default())
    });
    columns(std::iter::once(header.map(str::to_owned)).chain(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_a_line_with_its_service_and_its_version() {
        let task = Task::builder()
            .task_arn("arn:aws:ecs:r:1:task/shop/0123456789abcdef")
            .task_definition_arn("arn:aws:ecs:r:1:task-definition/shop-web:7")
            .last_status("STOPPED")
            .stopped_reason("Essential container in task exited")
            .build();
        let row = row("arn:service/shop/web", &task, &Versions::default());
        let table = table(&[row]);
        let line = table.lines().nth(1).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        let expected = [
            "0123456789abcdef",
            "web",
            "shop-web:7",
            "STOPPED",
            "UNKNOWN",
        ];
        assert_eq!(words[..5], expected, "{table}");
        assert!(
            line.ends_with("Essential container in task exited"),
            "{table}"
        );
    }
}
