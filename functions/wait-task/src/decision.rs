//! What ECS says of a task, and what follows from it.
//!
//! | ECS says | and it is | |
//! |---|---|---|
//! | it does not know the task | within a minute of the start | wait |
//! | | later | `TaskNotFound` |
//! | `STOPPED` | | it has ended; overdue where it was stopped with [`reason`] |
//! | anything else | within the limit | wait |
//! | | later, and the task is not being stopped | stop it, and wait |
//! | | later, and the task is being stopped | wait |
//! | | later than that by a quarter of an hour | it has ended as far as this release goes: overdue |

use crate::failure::Failure;
use aws_sdk_ecs::primitives::{DateTime, DateTimeFormat};
use aws_sdk_ecs::types::{Container, Task, TaskStopCode};
use bluegreen_contract::{ContainerStatus, EndedTask, LogLocation, StartedTask, StoppedTask};

/// ECS is eventually consistent: a task may not be seen right after its start
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html>).
const UNSEEN_MS: i64 = 60_000;
/// From the limit until nobody waits any more for a task to stop: on Fargate a container may take two
/// minutes to end before it is killed, and the agent of a container instance may not answer at all.
const STOPPING_MS: i64 = 900_000;
const STOPPED: &str = "STOPPED";

/// What to do about the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Wait,
    Stop,
    Answer(EndedTask),
}

/// `now` in milliseconds since 1970; `None`: ECS does not know the task.
pub(crate) fn step(task: Option<&Task>, started: &StartedTask, now: i64) -> Result<Step, Failure> {
    let Some(task) = task else {
        return match now < started.at + UNSEEN_MS {
            true => Ok(Step::Wait),
            false => Err(Failure::TaskNotFound {
                purpose: started.purpose.name(),
                task: started.task_arn.clone(),
                cluster: started.cluster.clone(),
                log: location(started),
            }),
        };
    };
    let last_status = task.last_status().unwrap_or("UNKNOWN").to_owned();
    let limit = started.at + i64::from(started.timeout_seconds) * 1000;
    if last_status == STOPPED {
        return Ok(Step::Answer(EndedTask {
            last_status,
            overdue: is_overdue(task, started),
            at: now,
            stopped: Some(stopped(task)),
        }));
    }
    if now <= limit {
        return Ok(Step::Wait);
    }
    if now > limit + STOPPING_MS {
        return Ok(Step::Answer(EndedTask {
            last_status,
            overdue: true,
            at: now,
            stopped: None,
        }));
    }
    match task.desired_status() == Some(STOPPED) {
        true => Ok(Step::Wait),
        false => Ok(Step::Stop),
    }
}

/// The reason with which an overdue task is stopped, by which it is known afterwards.
pub(crate) fn reason(started: &StartedTask) -> String {
    format!(
        "bluegreen: the {} ran longer than {} seconds",
        started.purpose.name(),
        started.timeout_seconds
    )
}

/// Where the task's log is, between commas; nothing where it does not go to CloudWatch Logs.
fn location(started: &StartedTask) -> String {
    let log = started.log.as_ref();
    log.map_or_else(String::new, |LogLocation { stream, group, .. }| {
        format!(", stream {stream} of log group {group},")
    })
}

fn is_overdue(task: &Task, started: &StartedTask) -> bool {
    task.stop_code() == Some(&TaskStopCode::UserInitiated)
        && task.stopped_reason() == Some(&reason(started))
}

fn stopped(task: &Task) -> StoppedTask {
    StoppedTask {
        stop_code: task.stop_code().map(|code| code.as_str().to_owned()),
        stopped_reason: task.stopped_reason().map(str::to_owned),
        started_at: task.started_at().and_then(rfc3339),
        stopped_at: task.stopped_at().and_then(rfc3339),
        containers: task.containers().iter().map(container).collect(),
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
pub(crate) mod tests {
    use super::*;
    use bluegreen_contract::Purpose;
    use serde_json::json;

    pub(crate) const TASK: &str = "arn:aws:ecs:us-east-1:123456789012:task/demo/0123";
    pub(crate) const AT: i64 = 1_700_000_000_000;
    const LIMIT: i64 = AT + 600_000;

    pub(crate) fn started() -> StartedTask {
        StartedTask {
            purpose: Purpose::Migration,
            stack: "demo".to_owned(),
            image: "r/demo@sha256:0".to_owned(),
            cluster: "demo".to_owned(),
            service: "web".to_owned(),
            task_arn: TASK.to_owned(),
            task_definition: "td:8".to_owned(),
            container: "web".to_owned(),
            log: None,
            at: AT,
            timeout_seconds: 600,
            attempt: 0,
        }
    }

    fn running(last_status: &str, desired_status: &str) -> Task {
        Task::builder()
            .last_status(last_status)
            .desired_status(desired_status)
            .build()
    }

    fn stopped_by(stop_code: TaskStopCode, reason: &str) -> Task {
        Task::builder()
            .last_status("STOPPED")
            .desired_status("STOPPED")
            .stop_code(stop_code)
            .stopped_reason(reason)
            .build()
    }

    fn answer(task: &Task, now: i64) -> EndedTask {
        match step(Some(task), &started(), now).unwrap() {
            Step::Answer(ended) => ended,
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn a_task_is_waited_for_as_long_as_it_may_run_and_stopped_then() {
        for (last_status, desired_status, now, expected) in [
            ("PROVISIONING", "RUNNING", AT, Step::Wait),
            ("RUNNING", "RUNNING", LIMIT, Step::Wait),
            ("RUNNING", "RUNNING", LIMIT + 1, Step::Stop),
            ("PENDING", "RUNNING", LIMIT + 1, Step::Stop),
            ("RUNNING", "STOPPED", LIMIT + 1, Step::Wait),
            ("DEPROVISIONING", "STOPPED", LIMIT + 1, Step::Wait),
            ("RUNNING", "RUNNING", LIMIT + 900_000, Step::Stop),
        ] {
            let task = running(last_status, desired_status);
            let step = step(Some(&task), &started(), now).unwrap();
            assert_eq!(step, expected, "{last_status} {now}");
        }
    }

    #[test]
    fn a_task_that_does_not_stop_is_waited_for_a_quarter_of_an_hour() {
        let task = running("RUNNING", "STOPPED");
        let expected = EndedTask {
            last_status: "RUNNING".to_owned(),
            overdue: true,
            at: LIMIT + 900_001,
            stopped: None,
        };
        assert_eq!(answer(&task, LIMIT + 900_001), expected);
    }

    #[test]
    fn only_a_task_that_was_stopped_for_its_time_is_overdue() {
        let for_its_time = "bluegreen: the migration ran longer than 600 seconds";
        for (stop_code, reason, overdue) in [
            (TaskStopCode::UserInitiated, for_its_time, true),
            (TaskStopCode::UserInitiated, "Task stopped by user", false),
            (TaskStopCode::SpotInterruption, for_its_time, false),
            (TaskStopCode::EssentialContainerExited, "exited", false),
        ] {
            let task = stopped_by(stop_code, reason);
            // However late it is seen.
            for now in [AT, LIMIT + 1, LIMIT + 1_000_000] {
                assert_eq!(answer(&task, now).overdue, overdue, "{task:?}");
            }
        }
    }

    #[test]
    fn the_reason_of_a_stop_says_what_it_was_that_took_too_long() {
        let mut started = started();
        started.purpose = Purpose::PostDeploy;
        assert_eq!(
            reason(&started),
            "bluegreen: the post-deploy command ran longer than 600 seconds"
        );
    }

    #[test]
    fn a_stopped_task_carries_all_that_a_verdict_needs() {
        let task = Task::builder()
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
            .build();
        assert_eq!(
            json!(answer(&task, AT + 61_000)),
            json!({
                "lastStatus": "STOPPED", "overdue": false, "at": AT + 61_000,
                "stopped": {
                    "stopCode": "EssentialContainerExited",
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

    #[test]
    fn a_task_that_ecs_does_not_know_is_waited_for_a_minute() {
        assert_eq!(step(None, &started(), AT + 59_999).unwrap(), Step::Wait);
        let failure = step(None, &started(), AT + 60_000).unwrap_err();
        assert_eq!(<&str>::from(&failure), "TaskNotFound");
        let message = failure.to_string();
        assert!(message.contains(TASK), "{message}");
        assert!(message.contains("the migration"), "{message}");
        assert!(
            message.ends_with("how it ended: its log may say so."),
            "{message}"
        );
    }

    #[test]
    fn a_task_that_ecs_does_not_know_is_told_with_its_log() {
        let log = LogLocation {
            group: "/ecs/demo".to_owned(),
            stream: "app/web/0123".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let started = StartedTask {
            log: Some(log),
            ..started()
        };
        let message = step(None, &started, AT + 60_000).unwrap_err().to_string();
        let told = "its log, stream app/web/0123 of log group /ecs/demo, may say so.";
        assert!(message.ends_with(told), "{message}");
    }
}
