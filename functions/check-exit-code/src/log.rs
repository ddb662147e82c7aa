//! The end of the command's log.

use bluegreen_contract::StartedTask;
use bluegreen_ecs::describe_task_definition;
use bluegreen_logs::{Excerpt, excerpt, location};

/// Who is asked.
pub(crate) struct Clients {
    pub(crate) ecs: aws_sdk_ecs::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
}

/// The last lines, or why there are none. They become part of a cause, which many may read: so they are those
/// of the log that the task definition names, and not of any that an event names.
pub(crate) async fn end_of_log(clients: &Clients, task: &StartedTask) -> Excerpt {
    if task.log.is_none() {
        return excerpt(&clients.logs, None).await;
    }
    let described = match describe_task_definition(&clients.ecs, &task.task_definition).await {
        Ok(described) => described.task_definition,
        Err(failure) => {
            let untold = format!("Where its log is could not be found out ({failure}).");
            return Excerpt::untold(untold);
        }
    };
    let own = location(&described, &task.container, &task.task_arn);
    if own != task.log {
        let revision = &task.task_definition;
        return Excerpt::untold(format!(
            "Its log is not read: the task definition {revision} names another one."
        ));
    }
    excerpt(&clients.logs, own.as_ref()).await
}
