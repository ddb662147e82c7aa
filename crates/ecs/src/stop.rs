//! The end of a task that has had its time.

use aws_sdk_ecs::Client;
use bluegreen_runtime::{AwsRequestFailed, failed};

/// Tells a task to stop.
///
/// That deletes the task's tags
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html>), and a role that may
/// stop tasks by their tag is refused from then on: whoever is refused has nothing left to do where
/// another call has told the task before.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn stop_task(
    client: &Client,
    cluster: &str,
    task: &str,
    reason: impl Into<String>,
) -> Result<(), AwsRequestFailed> {
    let stopped = client
        .stop_task()
        .cluster(cluster)
        .task(task)
        .reason(reason)
        .send()
        .await
        .map(drop)
        .map_err(failed("ecs:StopTask", task));
    match stopped {
        Err(failure) if failure.refused && is_told_to_stop(client, cluster, task).await? => Ok(()),
        stopped => stopped,
    }
}

async fn is_told_to_stop(
    client: &Client,
    cluster: &str,
    task: &str,
) -> Result<bool, AwsRequestFailed> {
    let described = client
        .describe_tasks()
        .cluster(cluster)
        .tasks(task)
        .send()
        .await
        .map_err(failed("ecs:DescribeTasks", task))?;
    let task = described.tasks().first();
    Ok(task.is_some_and(|task| task.desired_status() == Some("STOPPED")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::operation::describe_tasks::DescribeTasksOutput;
    use aws_sdk_ecs::operation::stop_task::StopTaskError;
    use aws_sdk_ecs::types::Task;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    #[tokio::test]
    async fn who_is_refused_for_a_task_that_is_told_to_stop_already_has_nothing_left_to_do() {
        for (desired, is_done) in [("STOPPED", true), ("RUNNING", false)] {
            let refuses = mock!(Client::stop_task).then_error(|| {
                StopTaskError::generic(
                    aws_sdk_ecs::error::ErrorMetadata::builder()
                        .code("AccessDeniedException")
                        .build(),
                )
            });
            let describes = mock!(Client::describe_tasks).then_output(move || {
                let task = Task::builder().desired_status(desired).build();
                DescribeTasksOutput::builder().tasks(task).build()
            });
            let rules = [&refuses, &describes];
            let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &rules);
            let stopped = stop_task(&client, "demo", "task", "overdue").await;
            assert_eq!(stopped.is_ok(), is_done, "{desired}");
        }
    }
}
