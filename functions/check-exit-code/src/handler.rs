use crate::failure::{Exit, Failure};
use crate::log::{Clients, end_of_log};
use bluegreen_contract::{
    CheckExitCodeInput, ContainerStatus, EndedTask, ExitCode, InvalidInput, Purpose, StartedTask,
    StoppedTask, parse, sentence,
};
use serde_json::Value;

/// So many tasks that never started are followed by another one.
const ATTEMPTS: u32 = 3;

/// Parts of reasons of Fargate for which a task does not start and that pass, in lower case: network
/// interfaces, capacity, pulling an image, the agent. The word agent alone may be part of an image's name.
const PASSING: [&str; 9] = [
    "network interface",
    "capacity is unavailable",
    "timeout waiting",
    "i/o timeout",
    "context deadline exceeded",
    "tls handshake timeout",
    "connection reset",
    "agent is not connected",
    "internalerror",
];

/// Looks at the command's container, by name: other containers may be in the task uninvited.
pub(crate) async fn handle(clients: &Clients, event: Value) -> Result<ExitCode, Failure> {
    let CheckExitCodeInput { task, ended } = parse(event)?;
    let purpose = task.purpose;
    if ended.overdue {
        return Err(timed_out(clients, task, &ended).await);
    }
    let Some(stopped) = &ended.stopped else {
        let problem = "`ended.stopped`: must be given where the task is not overdue";
        return Err(InvalidInput(problem.to_owned()).into());
    };
    let container = container_of(stopped, &task.container);
    match container.and_then(|container| container.exit_code) {
        Some(0) if is_stopped_from_outside(stopped) => Err(Failure::MigrationStopped {
            purpose,
            exit: Exit::Zero,
            reasons: reasons(stopped, container),
            log: end_of_log(clients, &task).await.to_string(),
            container: task.container,
            task: task.task_arn,
        }),
        Some(0) => Ok(ExitCode {
            exit_code: 0,
            at: ended.at,
        }),
        Some(exit_code) => {
            let log = end_of_log(clients, &task).await;
            // What ended it from outside, it did not write into its log.
            let reason = container.and_then(|container| container.reason.clone());
            Err(Failure::MigrationFailed {
                purpose,
                circumstances: circumstances(purpose, stopped, container),
                error: reason.or_else(|| log.error.clone()),
                log: log.to_string(),
                container: task.container,
                task: task.task_arn,
                exit_code,
            })
        }
        None if stopped.started_at.is_some() => Err(Failure::MigrationStopped {
            purpose,
            exit: Exit::Untold,
            reasons: reasons(stopped, container),
            log: end_of_log(clients, &task).await.to_string(),
            container: task.container,
            task: task.task_arn,
        }),
        None if passes(stopped) && task.attempt < ATTEMPTS => Err(Failure::TaskFailedToStart {
            purpose,
            reasons: reasons(stopped, container),
            task: task.task_arn,
        }),
        None => Err(Failure::MigrationNotStarted {
            purpose,
            reasons: reasons(stopped, container),
            container: task.container,
            task: task.task_arn,
        }),
    }
}

/// Whether the task did not start for a reason that passes by itself: nothing of it ran, and the same
/// task may well start another time
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html>).
fn passes(task: &StoppedTask) -> bool {
    let containers = task.containers.iter();
    let reasons = containers.map(|container| &container.reason);
    let mut reasons = reasons.chain([&task.stopped_reason]).flatten();
    task.stop_code.as_deref() == Some("TaskFailedToStart")
        && reasons.any(|reason| {
            let reason = reason.to_lowercase();
            PASSING.iter().any(|part| reason.contains(part))
        })
}

/// Whatever its exit code: a program that is asked to end may exit 0 with its work half done.
async fn timed_out(clients: &Clients, task: StartedTask, ended: &EndedTask) -> Failure {
    Failure::MigrationTimedOut {
        purpose: task.purpose,
        circumstances: what_is_left(&task, ended),
        log: end_of_log(clients, &task).await.to_string(),
        stack: task.stack,
        image: task.image,
        task: task.task_arn,
        timeout_seconds: task.timeout_seconds,
    }
}

/// Whether an overdue task has stopped, and what it may have done.
fn what_is_left(task: &StartedTask, ended: &EndedTask) -> String {
    const PARTLY: &str = "It may have done part of its work.";
    let Some(stopped) = &ended.stopped else {
        return format!(
            "It was told to stop 15 minutes ago but is still {}: see to it before you try again. {PARTLY}",
            ended.last_status
        );
    };
    let container = container_of(stopped, &task.container);
    match container.and_then(|container| container.exit_code) {
        Some(exit_code) => format!(
            "It was stopped and is not running any more; its container {} exited with code {exit_code}. {PARTLY}",
            task.container
        ),
        None => format!(
            "It was stopped and is not running any more; its container {} has no exit code. {}",
            task.container,
            reasons(stopped, container)
        ),
    }
}

/// What ended the container from outside, such as a lack of memory, a person or the end of a Spot
/// capacity: the command need not be wrong then. Otherwise it is.
fn circumstances(
    purpose: Purpose,
    task: &StoppedTask,
    container: Option<&ContainerStatus>,
) -> String {
    let reason = container.and_then(|container| container.reason.as_ref());
    match reason.is_some() || is_stopped_from_outside(task) {
        true => reasons(task, container),
        false => format!("Correct the {} and push again.", purpose.name()),
    }
}

fn container_of<'a>(task: &'a StoppedTask, name: &str) -> Option<&'a ContainerStatus> {
    task.containers
        .iter()
        .find(|container| container.name == name)
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

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatchlogs::Client;
    use aws_sdk_cloudwatchlogs::operation::get_log_events::{
        GetLogEventsError, GetLogEventsOutput,
    };
    use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
    use aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionOutput;
    use aws_sdk_ecs::types::{ContainerDefinition, LogConfiguration, LogDriver, TaskDefinition};
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use bluegreen_runtime::{Diagnostic, diagnostic};
    use serde_json::json;

    const AT: i64 = 1_700_000_000_000;

    fn event(containers: Value) -> Value {
        json!({
            "task": {
                "purpose": "migration", "stack": "demo", "image": "r/demo@sha256:0",
                "cluster": "c", "service": "web", "taskArn": "arn:task/1",
                "taskDefinition": "td:8", "container": "web", "at": AT, "timeoutSeconds": 600,
                "log": {"group": "/ecs/demo", "stream": "app/web/1", "region": "us-east-1"}
            },
            "ended": {
                "lastStatus": "STOPPED", "overdue": false, "at": AT + 60_000,
                "stopped": {
                    "stopCode": "EssentialContainerExited",
                    "stoppedReason": "Essential container in task exited",
                    "containers": containers
                }
            }
        })
    }

    /// Nobody is asked.
    fn without_logs() -> Clients {
        Clients {
            ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[]),
            logs: mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, &[]),
        }
    }

    /// The task definition writes into this group.
    fn with_logs(group: &'static str, logs: &Rule) -> Clients {
        let definition = mock!(aws_sdk_ecs::Client::describe_task_definition)
            .match_requests(|request| request.task_definition() == Some("td:8"))
            .then_output(move || {
                let log = LogConfiguration::builder()
                    .log_driver(LogDriver::Awslogs)
                    .options("awslogs-group", group)
                    .options("awslogs-region", "us-east-1")
                    .options("awslogs-stream-prefix", "app");
                let container = ContainerDefinition::builder()
                    .name("web")
                    .log_configuration(log.build().unwrap());
                let definition = TaskDefinition::builder()
                    .task_definition_arn("td:8")
                    .container_definitions(container.build());
                DescribeTaskDefinitionOutput::builder()
                    .task_definition(definition.build())
                    .build()
            });
        Clients {
            ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&definition]),
            logs: mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, [logs]),
        }
    }

    /// Whoever may invoke the function could else read any log of the account.
    #[tokio::test]
    async fn a_log_that_the_task_definition_does_not_name_is_not_read() {
        let rule = mock!(Client::get_log_events).then_output(|| {
            let secret = OutputLogEvent::builder().message("a secret").build();
            GetLogEventsOutput::builder().events(secret).build()
        });
        let containers = json!([{"name": "web", "exitCode": 1, "reason": null}]);
        let read = failure(&with_logs("/ecs/demo", &rule), event(containers.clone())).await;
        assert!(read.error_message.contains("a secret"), "{read:?}");
        assert_eq!(rule.num_calls(), 1);

        let refused = failure(&with_logs("/ecs/other", &rule), event(containers)).await;
        assert_eq!(refused.error_type, "MigrationFailed");
        assert!(
            refused.error_message.contains("names another one"),
            "{refused:?}"
        );
        assert_eq!(rule.num_calls(), 1);
    }

    #[tokio::test]
    async fn a_task_definition_that_cannot_be_looked_at_does_not_hide_the_verdict() {
        let refused = mock!(aws_sdk_ecs::Client::describe_task_definition).then_error(|| {
            aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionError::generic(
                aws_sdk_ecs::error::ErrorMetadata::builder()
                    .code("AccessDeniedException")
                    .message("not you")
                    .build(),
            )
        });
        let clients = Clients {
            ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&refused]),
            ..without_logs()
        };
        let containers = json!([{"name": "web", "exitCode": 1, "reason": null}]);
        let failure = failure(&clients, event(containers)).await;
        assert_eq!(failure.error_type, "MigrationFailed");
        assert!(failure.error_message.contains("not you"), "{failure:?}");
    }

    async fn failure(clients: &Clients, event: Value) -> Diagnostic {
        diagnostic(handle(clients, event).await.unwrap_err())
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
            json!({"exitCode": 0, "at": AT + 60_000})
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
        let client = with_logs("/ecs/demo", &rule);
        let containers = json!([
            {"name": "proxy", "exitCode": 0, "reason": null},
            {"name": "web", "exitCode": 1, "reason": null}
        ]);

        let failure = failure(&client, event(containers)).await;

        assert_eq!(failure.error_type, "MigrationFailed");
        assert_eq!(
            failure.error_message.lines().next(),
            Some("The migration failed with exit code 1: relation exists")
        );
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
        event["task"]["log"] = Value::Null;
        let message = failure(&without_logs(), event.clone()).await.error_message;
        let first = format!("The migration failed with exit code 137: {killed}");
        assert_eq!(message.lines().next(), Some(first.as_str()));
        assert!(!message.contains("Correct the migration"), "{message}");

        event["ended"]["stopped"]["containers"][0]["reason"] = Value::Null;
        let message = failure(&without_logs(), event.clone()).await.error_message;
        assert!(message.contains("Correct the migration"), "{message}");

        event["ended"]["stopped"]["stopCode"] = json!("SpotInterruption");
        let message = failure(&without_logs(), event).await.error_message;
        assert!(message.contains("SpotInterruption"), "{message}");
    }

    #[tokio::test]
    async fn exit_code_0_after_a_stop_from_outside_is_no_success() {
        for stop_code in ["UserInitiated", "SpotInterruption", "TerminationNotice"] {
            let mut event = event(json!([{"name": "web", "exitCode": 0, "reason": null}]));
            event["ended"]["stopped"]["stopCode"] = json!(stop_code);
            event["ended"]["stopped"]["stoppedReason"] = json!("Task stopped by user");
            event["task"]["log"] = Value::Null;
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
        let client = with_logs("/ecs/demo", &rule);
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
        event["task"]["log"] = Value::Null;
        let failure = failure(&without_logs(), event).await;
        assert_eq!(failure.error_type, "MigrationFailed");
        assert!(failure.error_message.contains("code 2"), "{failure:?}");
    }

    #[tokio::test]
    async fn no_exit_code_is_migration_not_started_with_every_reason() {
        let mut event = event(
            json!([{"name": "web", "exitCode": null, "reason": "CannotPullContainerError: not found"}]),
        );
        event["ended"]["stopped"]["stopCode"] = json!("TaskFailedToStart");
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

    /// apache/airflow#22002, #15000, buildkite/ecs-run-task#25, re:Post "ecs-fargate-runtask-capacity".
    #[tokio::test]
    async fn a_task_that_never_started_for_a_reason_that_passes_is_started_again_a_few_times() {
        let never_started = |reason: &str, attempt: u32| {
            let mut event = event(json!([{"name": "web", "exitCode": null, "reason": null}]));
            event["task"]["attempt"] = json!(attempt);
            event["ended"]["stopped"]["stopCode"] = json!("TaskFailedToStart");
            event["ended"]["stopped"]["stoppedReason"] = json!(reason);
            event
        };
        for reason in [
            "Timeout waiting for network interface provisioning to complete.",
            "Capacity is unavailable at this time. Please try again later or in a different availability zone",
            "CannotPullContainerError: ref pull has been retried 5 time(s): dial tcp: i/o timeout",
            "Agent error: the agent is not connected",
            "InternalError: unexpected error of the agent",
        ] {
            let failed = failure(&without_logs(), never_started(reason, 0)).await;
            assert_eq!(failed.error_type, "TaskFailedToStart", "{reason}");
            let failed = failure(&without_logs(), never_started(reason, 3)).await;
            assert_eq!(failed.error_type, "MigrationNotStarted", "{reason}");
        }
        for reason in [
            "ResourceInitializationError: unable to pull secrets: AccessDeniedException",
            "CannotPullContainerError: public.ecr.aws/datadog/agent:8: not found",
        ] {
            let failed = failure(&without_logs(), never_started(reason, 0)).await;
            assert_eq!(failed.error_type, "MigrationNotStarted", "{reason}");
        }
    }

    /// apache/airflow#4039, treasure-data/digdag#1724: what ran is never run again, and not called
    /// "not started".
    #[tokio::test]
    async fn a_task_that_ran_and_has_no_exit_code_may_have_done_part_of_its_work() {
        let mut event = event(json!([{"name": "web", "exitCode": null, "reason": null}]));
        event["task"]["log"] = Value::Null;
        let stopped = &mut event["ended"]["stopped"];
        stopped["startedAt"] = json!("2026-01-01T00:00:00Z");
        stopped["stopCode"] = json!("TerminationNotice");
        stopped["stoppedReason"] = json!("Host EC2 (instance i-0a1b) terminated.");
        let failure = failure(&without_logs(), event).await;
        assert_eq!(failure.error_type, "MigrationStopped");
        for part in ["has no exit code", "part of its work", "i-0a1b"] {
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

    fn overdue(exit_code: Value) -> Value {
        let mut event = event(json!([{"name": "web", "exitCode": exit_code, "reason": null}]));
        event["task"]["log"] = Value::Null;
        event["ended"]["overdue"] = json!(true);
        event["ended"]["stopped"]["stopCode"] = json!("UserInitiated");
        event["ended"]["stopped"]["stoppedReason"] =
            json!("bluegreen: the migration ran longer than 600 seconds");
        event
    }

    #[tokio::test]
    async fn a_task_that_was_stopped_for_its_time_has_timed_out_whatever_its_exit_code() {
        for exit_code in [json!(0), json!(143)] {
            let failure = failure(&without_logs(), overdue(exit_code.clone())).await;
            assert_eq!(failure.error_type, "MigrationTimedOut");
            assert_eq!(
                failure.error_message,
                format!(
                    "The migration ran longer than 600 seconds.\n\
                     It was task arn:task/1 of stack demo, with the image r/demo@sha256:0. \
                     It was stopped and is not running any more; its container web exited with code {exit_code}. It may have done part of its work. Make the \
                     migration shorter or raise MigrationTimeoutSeconds, then deploy again.\n\
                     Its output does not go to CloudWatch Logs."
                )
            );
        }
    }

    #[tokio::test]
    async fn an_overdue_task_that_never_ran_is_told_with_its_reasons() {
        let message = failure(&without_logs(), overdue(json!(null)))
            .await
            .error_message;
        assert!(message.contains("has no exit code"), "{message}");
        assert!(message.contains("UserInitiated"), "{message}");
        assert!(!message.contains("part of its work"), "{message}");
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_is_to_be_seen_to() {
        let mut event = overdue(json!(null));
        event["ended"]["stopped"] = Value::Null;
        event["ended"]["lastStatus"] = json!("RUNNING");
        let failure = failure(&without_logs(), event).await;
        assert_eq!(failure.error_type, "MigrationTimedOut");
        for part in [
            "told to stop 15 minutes ago but is still RUNNING: see to it",
            "It may have done part of its work.",
        ] {
            assert!(failure.error_message.contains(part), "{part}: {failure:?}");
        }
    }

    #[tokio::test]
    async fn a_post_deploy_command_is_called_by_its_name_and_has_its_own_limit() {
        let post_deploy = |mut event: Value| {
            event["task"]["purpose"] = json!("postDeploy");
            event["task"]["log"] = Value::Null;
            event
        };
        let container = |exit_code| json!([{"name": "web", "exitCode": exit_code, "reason": null}]);
        let mut stopped = event(container(Some(0)));
        stopped["ended"]["stopped"]["stopCode"] = json!("UserInitiated");
        for (event, name, part) in [
            (
                event(container(Some(1))),
                "MigrationFailed",
                "Correct the post-deploy command",
            ),
            (stopped, "MigrationStopped", "before you run it again"),
            (
                event(container(None)),
                "MigrationNotStarted",
                "The post-deploy command never ran",
            ),
            (
                overdue(json!(143)),
                "MigrationTimedOut",
                "raise PostDeployTimeoutSeconds, then run it again",
            ),
        ] {
            let failure = failure(&without_logs(), post_deploy(event)).await;
            assert_eq!(failure.error_type, name);
            let message = failure.error_message;
            assert!(message.starts_with("The post-deploy command "), "{message}");
            assert!(message.contains(part), "{message}");
        }
    }

    #[tokio::test]
    async fn a_task_that_is_neither_overdue_nor_stopped_is_no_input() {
        let mut event = event(json!([]));
        event["ended"]["stopped"] = Value::Null;
        let failure = failure(&without_logs(), event).await;
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(
            failure.error_message.contains("`ended.stopped`"),
            "{failure:?}"
        );
    }

    #[tokio::test]
    async fn a_bad_input_is_invalid_input_and_names_the_field() {
        let mut event = event(json!([]));
        event["ended"] = json!({"lastStatus": "STOPPED"});
        let failure = failure(&without_logs(), event).await;
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains("`ended`"), "{failure:?}");
    }
}
