use crate::failure::Failure;
use crate::log;
use aws_sdk_cloudwatchlogs::Client;
use bluegreen_contract::{CheckExitCodeInput, ContainerStatus, ExitCode, StoppedTask, parse};
use serde_json::Value;

/// Looks at the migration's container, by name: other containers may be in the task uninvited.
pub(crate) async fn handle(client: &Client, event: Value) -> Result<ExitCode, Failure> {
    let input: CheckExitCodeInput = parse(event)?;
    let container = input
        .task
        .containers
        .iter()
        .find(|container| container.name == input.container);
    match container.and_then(|container| container.exit_code) {
        Some(0) if is_stopped_from_outside(&input.task) => Err(Failure::MigrationStopped {
            reasons: reasons(&input.task, container),
            log: log::excerpt(client, input.log.as_ref()).await,
            container: input.container,
            task: input.task.task_arn,
        }),
        Some(0) => Ok(ExitCode { exit_code: 0 }),
        Some(exit_code) => Err(Failure::MigrationFailed {
            circumstances: circumstances(&input.task, container),
            log: log::excerpt(client, input.log.as_ref()).await,
            container: input.container,
            task: input.task.task_arn,
            exit_code,
        }),
        None => Err(Failure::MigrationNotStarted {
            reasons: reasons(&input.task, container),
            container: input.container,
            task: input.task.task_arn,
        }),
    }
}

/// What ended the container from outside, such as a lack of memory, a person or the end of a Spot
/// capacity: the migration need not be wrong then. Otherwise it is.
fn circumstances(task: &StoppedTask, container: Option<&ContainerStatus>) -> String {
    let reason = container.and_then(|container| container.reason.as_ref());
    match reason.is_some() || is_stopped_from_outside(task) {
        true => reasons(task, container),
        false => "Correct the migration and push again.".to_owned(),
    }
}

/// Whether something else than a container's own end stopped the task: a person, the end of a Spot
/// capacity, maintenance
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html>).
fn is_stopped_from_outside(task: &StoppedTask) -> bool {
    task.stop_code
        .as_deref()
        .is_some_and(|code| code != "EssentialContainerExited")
}

/// All that ECS said about a container that never ran or was ended, each in a sentence of its own.
fn reasons(task: &StoppedTask, container: Option<&ContainerStatus>) -> String {
    let mut reasons = Vec::new();
    match container {
        None => reasons.push("The task has no container of that name.".to_owned()),
        Some(container) => reasons.extend(
            container
                .reason
                .as_deref()
                .map(|reason| format!("The container's reason: {}", sentence(reason))),
        ),
    }
    reasons.extend(
        task.stopped_reason
            .as_deref()
            .map(|reason| format!("The task's reason: {}", sentence(reason))),
    );
    reasons.extend(
        task.stop_code
            .as_deref()
            .map(|code| format!("The stop code: {code}.")),
    );
    if reasons.is_empty() {
        reasons.push("ECS gave no reason.".to_owned());
    }
    reasons.join(" ")
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    let end = if text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{text}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatchlogs::operation::get_log_events::{
        GetLogEventsError, GetLogEventsOutput,
    };
    use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};
    use lambda_runtime::Diagnostic;
    use serde_json::json;

    fn event(containers: Value) -> Value {
        json!({
            "container": "web",
            "task": {
                "taskArn": "arn:task/1", "stopCode": "EssentialContainerExited",
                "stoppedReason": "Essential container in task exited", "containers": containers
            },
            "log": {"group": "/ecs/demo", "stream": "app/web/1", "region": "us-east-1"}
        })
    }

    fn without_logs() -> Client {
        mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, &[])
    }

    async fn failure(client: &Client, event: Value) -> Diagnostic {
        handle(client, event).await.unwrap_err().into()
    }

    #[tokio::test]
    async fn exit_code_0_of_the_named_container_is_success() {
        let event = event(json!([
            {"name": "aws-guardduty-agent", "exitCode": 137, "reason": null},
            {"name": "web", "exitCode": 0, "reason": null}
        ]));
        let answer = handle(&without_logs(), event).await.unwrap();
        assert_eq!(
            serde_json::to_value(answer).unwrap(),
            json!({"exitCode": 0})
        );
    }

    #[tokio::test]
    async fn another_exit_code_is_migration_failed_with_the_logs_end() {
        let rule = mock!(Client::get_log_events)
            .match_requests(|request| {
                request.log_group_name() == Some("/ecs/demo")
                    && request.log_stream_name() == Some("app/web/1")
                    && request.limit() == Some(20)
                    && request.start_from_head() == Some(false)
            })
            .then_output(|| {
                GetLogEventsOutput::builder()
                    .events(OutputLogEvent::builder().message("applying 0002").build())
                    .events(
                        OutputLogEvent::builder()
                            .message("relation exists\n")
                            .build(),
                    )
                    .build()
            });
        let client = mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, &[&rule]);
        let containers = json!([
            {"name": "proxy", "exitCode": 0, "reason": null},
            {"name": "web", "exitCode": 1, "reason": null}
        ]);

        let failure = failure(&client, event(containers)).await;

        assert_eq!(failure.error_type, "MigrationFailed");
        for part in [
            "web",
            "arn:task/1",
            "exited with code 1",
            "applying 0002\nrelation exists",
            "https://us-east-1.console.aws.amazon.com/cloudwatch/",
        ] {
            assert!(failure.error_message.contains(part), "{part}: {failure:?}");
        }
    }

    #[tokio::test]
    async fn what_ended_a_migration_from_outside_is_part_of_the_cause() {
        let killed = "OutOfMemoryError: Container killed due to memory usage";
        let mut event = event(json!([{"name": "web", "exitCode": 137, "reason": killed}]));
        event["log"] = Value::Null;
        let message = failure(&without_logs(), event.clone()).await.error_message;
        assert!(message.contains(killed), "{message}");
        assert!(!message.contains("Correct the migration"), "{message}");

        event["task"]["containers"][0]["reason"] = Value::Null;
        let message = failure(&without_logs(), event.clone()).await.error_message;
        assert!(message.contains("Correct the migration"), "{message}");

        event["task"]["stopCode"] = json!("SpotInterruption");
        let message = failure(&without_logs(), event).await.error_message;
        assert!(message.contains("SpotInterruption"), "{message}");
    }

    #[tokio::test]
    async fn exit_code_0_after_a_stop_from_outside_is_no_success() {
        for stop_code in ["UserInitiated", "SpotInterruption", "TerminationNotice"] {
            let mut event = event(json!([{"name": "web", "exitCode": 0, "reason": null}]));
            event["task"]["stopCode"] = json!(stop_code);
            event["task"]["stoppedReason"] = json!("Task stopped by user");
            event["log"] = Value::Null;
            let failure = failure(&without_logs(), event).await;
            assert_eq!(failure.error_type, "MigrationStopped");
            for part in [stop_code, "Task stopped by user.", "exited with code 0"] {
                assert!(failure.error_message.contains(part), "{part}: {failure:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_read_does_not_hide_the_verdict() {
        let rule = mock!(Client::get_log_events).then_error(|| {
            GetLogEventsError::generic(
                aws_sdk_cloudwatchlogs::error::ErrorMetadata::builder()
                    .code("ResourceNotFoundException")
                    .message("The specified log stream does not exist.")
                    .build(),
            )
        });
        let client = mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, &[&rule]);
        let containers = json!([{"name": "web", "exitCode": 1, "reason": null}]);

        let failure = failure(&client, event(containers)).await;

        assert_eq!(failure.error_type, "MigrationFailed");
        assert!(
            failure.error_message.contains("ResourceNotFoundException"),
            "{failure:?}"
        );
    }

    #[tokio::test]
    async fn a_migration_without_a_log_still_fails_with_its_exit_code() {
        let mut event = event(json!([{"name": "web", "exitCode": 2, "reason": null}]));
        event["log"] = Value::Null;
        let failure = failure(&without_logs(), event).await;
        assert_eq!(failure.error_type, "MigrationFailed");
        assert!(failure.error_message.contains("code 2"), "{failure:?}");
    }

    #[tokio::test]
    async fn no_exit_code_is_migration_not_started_with_every_reason() {
        let mut event = event(
            json!([{"name": "web", "exitCode": null, "reason": "CannotPullContainerError: not found"}]),
        );
        event["task"]["stopCode"] = json!("TaskFailedToStart");
        let failure = failure(&without_logs(), event).await;
        assert_eq!(failure.error_type, "MigrationNotStarted");
        for part in [
            "CannotPullContainerError: not found.",
            "Essential container in task exited.",
            "TaskFailedToStart",
        ] {
            assert!(failure.error_message.contains(part), "{part}: {failure:?}");
        }
    }

    #[tokio::test]
    async fn a_task_without_the_container_is_migration_not_started() {
        let event = event(json!([{"name": "proxy", "exitCode": 0, "reason": null}]));
        let failure = failure(&without_logs(), event).await;
        assert_eq!(failure.error_type, "MigrationNotStarted");
        assert!(
            failure.error_message.contains("no container of that name"),
            "{failure:?}"
        );
    }

    #[tokio::test]
    async fn a_bad_input_is_invalid_input_and_names_the_field() {
        let failure = failure(&without_logs(), json!({"container": "web", "log": null})).await;
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains("`task`"), "{failure:?}");
    }
}
