use crate::failure::Failure;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::primitives::{DateTime, DateTimeFormat};
use aws_sdk_ecs::types::{Container, Failure as EcsFailure, Task};
use bluegreen_contract::{ContainerStatus, StoppedTask, TaskStatus, WaitTaskInput, parse};
use bluegreen_runtime::{AwsRequestFailed, failed};
use serde_json::Value;

const ACTION: &str = "ecs:DescribeTasks";

/// Describes the task once; the state machine asks again while it has not stopped.
pub(crate) async fn handle(client: &Client, event: Value) -> Result<TaskStatus, Failure> {
    let input: WaitTaskInput = parse(event)?;
    let answer = client
        .describe_tasks()
        .cluster(&input.cluster)
        .tasks(&input.task_arn)
        .send()
        .await
        .map_err(failed(ACTION, &input.task_arn))?;
    match answer.tasks() {
        [task, ..] => Ok(status_of(task, &input.task_arn)),
        [] => Err(absent(answer.failures(), input)),
    }
}

/// ECS answers 200 with `failures` where it has no such task.
fn absent(failures: &[EcsFailure], input: WaitTaskInput) -> Failure {
    match failures.first() {
        Some(failure) if failure.reason() != Some("MISSING") => AwsRequestFailed {
            action: ACTION,
            resource: input.task_arn,
            code: failure.reason().unwrap_or("UnknownError").to_owned(),
            message: failure.detail().unwrap_or("ECS gave no detail").to_owned(),
            refused: true,
        }
        .into(),
        _ => Failure::TaskNotFound {
            task: input.task_arn,
            cluster: input.cluster,
        },
    }
}

fn status_of(task: &Task, task_arn: &str) -> TaskStatus {
    let last_status = task.last_status().unwrap_or("UNKNOWN").to_owned();
    let stopped = last_status == "STOPPED";
    TaskStatus {
        stopped,
        last_status,
        task: stopped.then(|| StoppedTask {
            task_arn: task_arn.to_owned(),
            stop_code: task.stop_code().map(|code| code.as_str().to_owned()),
            stopped_reason: task.stopped_reason().map(str::to_owned),
            started_at: task.started_at().and_then(rfc3339),
            stopped_at: task.stopped_at().and_then(rfc3339),
            containers: task.containers().iter().map(container).collect(),
        }),
    }
}

fn container(container: &Container) -> ContainerStatus {
    ContainerStatus {
        name: container.name().unwrap_or_default().to_owned(),
        exit_code: container.exit_code(),
        reason: container.reason().map(str::to_owned),
    }
}

/// `None` for a time that the format cannot express, which no task has.
fn rfc3339(time: &DateTime) -> Option<String> {
    time.fmt(DateTimeFormat::DateTime).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::operation::describe_tasks::{DescribeTasksError, DescribeTasksOutput};
    use aws_sdk_ecs::types::TaskStopCode;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};
    use lambda_runtime::Diagnostic;
    use serde_json::json;

    const TASK: &str = "arn:aws:ecs:us-east-1:123456789012:task/demo/0123";

    fn event() -> Value {
        json!({"cluster": "demo", "taskArn": TASK})
    }

    fn client(answer: fn() -> DescribeTasksOutput) -> Client {
        let rule = mock!(Client::describe_tasks)
            .match_requests(|request| {
                request.cluster() == Some("demo") && request.tasks() == [TASK.to_owned()]
            })
            .then_output(answer);
        mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&rule])
    }

    async fn refusal(answer: fn() -> DescribeTasksOutput) -> Diagnostic {
        handle(&client(answer), event()).await.unwrap_err().into()
    }

    #[tokio::test]
    async fn a_running_task_is_not_stopped() {
        let client = client(|| {
            DescribeTasksOutput::builder()
                .tasks(Task::builder().last_status("RUNNING").build())
                .build()
        });
        let status = handle(&client, event()).await.unwrap();
        assert_eq!(
            serde_json::to_value(status).unwrap(),
            json!({"stopped": false, "lastStatus": "RUNNING"})
        );
    }

    #[tokio::test]
    async fn a_task_that_is_being_taken_down_is_not_stopped_yet() {
        let client = client(|| {
            DescribeTasksOutput::builder()
                .tasks(Task::builder().last_status("DEPROVISIONING").build())
                .build()
        });
        assert!(!handle(&client, event()).await.unwrap().stopped);
    }

    #[tokio::test]
    async fn a_stopped_task_carries_all_that_a_verdict_needs() {
        let client = client(|| {
            DescribeTasksOutput::builder()
                .tasks(
                    Task::builder()
                        .last_status("STOPPED")
                        .stop_code(TaskStopCode::EssentialContainerExited)
                        .stopped_reason("Essential container in task exited")
                        .started_at(DateTime::from_secs(1_700_000_000))
                        .stopped_at(DateTime::from_secs(1_700_000_060))
                        .containers(
                            Container::builder()
                                .name("aws-guardduty-agent")
                                .reason("gone")
                                .build(),
                        )
                        .containers(Container::builder().name("web").exit_code(3).build())
                        .build(),
                )
                .build()
        });
        let status = handle(&client, event()).await.unwrap();
        assert_eq!(
            serde_json::to_value(status).unwrap(),
            json!({
                "stopped": true, "lastStatus": "STOPPED",
                "task": {
                    "taskArn": TASK, "stopCode": "EssentialContainerExited",
                    "stoppedReason": "Essential container in task exited",
                    "startedAt": "2023-11-14T22:13:20Z", "stoppedAt": "2023-11-14T22:14:20Z",
                    "containers": [
                        {"name": "aws-guardduty-agent", "exitCode": null, "reason": "gone"},
                        {"name": "web", "exitCode": 3, "reason": null}
                    ]
                }
            })
        );
    }

    #[tokio::test]
    async fn a_missing_task_is_task_not_found() {
        let failure = refusal(|| {
            DescribeTasksOutput::builder()
                .failures(EcsFailure::builder().reason("MISSING").build())
                .build()
        })
        .await;
        assert_eq!(failure.error_type, "TaskNotFound");
        assert!(failure.error_message.contains(TASK));
    }

    #[tokio::test]
    async fn an_empty_answer_is_task_not_found() {
        let failure = refusal(|| DescribeTasksOutput::builder().build()).await;
        assert_eq!(failure.error_type, "TaskNotFound");
    }

    #[tokio::test]
    async fn any_other_failure_keeps_ecss_reason() {
        let failure = refusal(|| {
            DescribeTasksOutput::builder()
                .failures(
                    EcsFailure::builder()
                        .reason("ODD")
                        .detail("so it is")
                        .build(),
                )
                .build()
        })
        .await;
        assert_eq!(failure.error_type, "AwsRequestFailed");
        assert!(
            failure.error_message.contains("ODD: so it is"),
            "{failure:?}"
        );
    }

    #[tokio::test]
    async fn a_refused_request_is_aws_request_failed() {
        let rule = mock!(Client::describe_tasks).then_error(|| {
            DescribeTasksError::generic(
                aws_sdk_ecs::error::ErrorMetadata::builder()
                    .code("AccessDeniedException")
                    .message("not you")
                    .build(),
            )
        });
        let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&rule]);
        let failure: Diagnostic = handle(&client, event()).await.unwrap_err().into();
        assert_eq!(failure.error_type, "AwsRequestFailed");
        assert!(
            failure
                .error_message
                .contains("AccessDeniedException: not you"),
            "{failure:?}"
        );
    }

    #[tokio::test]
    async fn a_bad_input_is_invalid_input_and_names_the_field() {
        let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[]);
        let failure: Diagnostic = handle(&client, json!({"cluster": "demo"}))
            .await
            .unwrap_err()
            .into();
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains("taskArn"), "{failure:?}");
    }
}
