//! Why tasks of a revision have stopped: plain functions of what ECS says of them.

use aws_sdk_ecs::types::{Container, ServiceEvent, Task};
use bluegreen_contract::{cut, sentence};
use std::collections::BTreeMap;

/// Reasons that are told of one service, and events of it.
const MOST: usize = 3;
const LENGTH: usize = 700;

/// What stopped tasks of the revision that did not run as they should, the newest first.
pub(crate) fn failed<'a>(tasks: &'a [Task], revision: &str) -> Vec<&'a Task> {
    let mut failed: Vec<&Task> = tasks
        .iter()
        .filter(|task| task.task_definition_arn() == Some(revision) && has_failed(task))
        .collect();
    failed.sort_by_key(|task| std::cmp::Reverse(task.stopped_at().map(|at| at.secs())));
    failed
}

/// Of a task that ECS ends because a deployment is over, only the signal can be seen.
fn has_failed(task: &Task) -> bool {
    let is_ended = |reason: &str| reason.starts_with("Scaling activity initiated by");
    let by_ecs = task.stopped_reason().is_some_and(is_ended);
    !by_ecs || crashed(task).is_some()
}

/// The container that ended by itself, with another code than 0. 137 and 143 are those of containers
/// that were told to end.
pub(crate) fn crashed(task: &Task) -> Option<&Container> {
    let ended = |container: &&Container| {
        let code = container.exit_code();
        code.is_some_and(|code| ![0, 137, 143].contains(&code))
    };
    task.containers().iter().find(ended)
}

/// A line for each reason, and for how many tasks it is one.
pub(crate) fn reasons(tasks: &[&Task]) -> Vec<String> {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let mut order = Vec::new();
    for task in tasks {
        let reason = reason(task);
        if !counted.contains_key(&reason) {
            order.push(reason.clone());
        }
        *counted.entry(reason).or_default() += 1;
    }
    order.truncate(MOST);
    let line = |reason: String| {
        let tasks = match counted[&reason] {
            1 => "1 task".to_owned(),
            several => format!("{several} tasks"),
        };
        cut(&format!("{tasks}: {reason}"), LENGTH)
    };
    order.into_iter().map(line).collect()
}

fn reason(task: &Task) -> String {
    let mut parts: Vec<String> = task.stopped_reason().map(sentence).into_iter().collect();
    for container in task.containers() {
        let name = container.name().unwrap_or_default();
        let crashed = crashed(task).is_some_and(|it| it.name() == container.name());
        match (
            container.exit_code().filter(|_| crashed),
            container.reason(),
        ) {
            (Some(code), None) => parts.push(format!("Container {name} exited with code {code}.")),
            (Some(code), Some(reason)) => parts.push(format!(
                "Container {name} exited with code {code}: {}",
                sentence(reason)
            )),
            (None, Some(reason)) => parts.push(format!("Container {name}: {}", sentence(reason))),
            (None, None) => {}
        }
    }
    match parts.is_empty() {
        true => "ECS gave no reason.".to_owned(),
        false => parts.join(" "),
    }
}

/// What the service's own events say went wrong since then, the newest first; `since` in milliseconds
/// since 1970.
pub(crate) fn troubles(events: &[ServiceEvent], since: i64) -> Vec<String> {
    let is_trouble = |message: &&str| {
        ["unable", "unhealthy", "failed", "error", "could not"]
            .iter()
            .any(|word| message.contains(word))
    };
    let mut troubles: Vec<String> = events
        .iter()
        .filter(|event| {
            event
                .created_at()
                .is_some_and(|at| at.secs() * 1000 >= since - 1000)
        })
        .filter_map(|event| event.message())
        .filter(is_trouble)
        .map(|message| cut(&sentence(message), LENGTH))
        .collect();
    troubles.dedup();
    troubles.truncate(MOST);
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::primitives::DateTime;

    fn task(reason: &str, stopped: i64, exit_code: Option<i32>) -> Task {
        let container = Container::builder().name("web").set_exit_code(exit_code);
        Task::builder()
            .task_definition_arn("web:8")
            .stopped_reason(reason)
            .stopped_at(DateTime::from_secs(stopped))
            .containers(container.build())
            .build()
    }

    const EXITED: &str = "Essential container in task exited";
    const SCALED: &str = "Scaling activity initiated by (deployment ecs-svc/1)";

    #[test]
    fn tasks_that_failed_by_themselves_are_told_from_those_that_ecs_ended() {
        let tasks = [
            task(EXITED, 1, Some(2)),
            task(SCALED, 2, Some(143)),
            task(SCALED, 3, Some(1)),
            task(
                "Task failed ELB health checks in (target-group arn:tg)",
                4,
                Some(137),
            ),
            task("CannotPullContainerError: not found", 5, None),
        ];
        let failed = failed(&tasks, "web:8");
        let at: Vec<i64> = failed
            .iter()
            .map(|task| task.stopped_at().unwrap().secs())
            .collect();
        assert_eq!(at, [5, 4, 3, 1]);
        assert!(super::failed(&tasks, "web:7").is_empty());
    }

    #[test]
    fn each_reason_is_told_once_with_the_number_of_its_tasks() {
        let tasks = [
            task(EXITED, 1, Some(2)),
            task("Task failed ELB health checks", 4, Some(137)),
            task(EXITED, 2, Some(2)),
        ];
        let tasks: Vec<&Task> = tasks.iter().collect();
        assert_eq!(
            reasons(&tasks),
            [
                format!("2 tasks: {EXITED}. Container web exited with code 2."),
                "1 task: Task failed ELB health checks.".to_owned()
            ]
        );
    }

    #[test]
    fn a_containers_own_reason_is_told() {
        let killed = "OutOfMemoryError: Container killed due to memory usage";
        let container = Container::builder()
            .name("web")
            .exit_code(137)
            .reason(killed);
        let task = Task::builder().containers(container.build()).build();
        assert_eq!(
            reasons(&[&task]),
            [format!("1 task: Container web: {killed}.")]
        );
        let nothing = Task::builder().build();
        assert_eq!(reasons(&[&nothing]), ["1 task: ECS gave no reason."]);
    }

    #[test]
    fn of_the_services_events_only_troubles_since_then_are_told() {
        let event = |at: i64, message: &str| {
            let at = DateTime::from_secs(at);
            ServiceEvent::builder()
                .created_at(at)
                .message(message)
                .build()
        };
        let events = [
            event(
                30,
                "(service web) (port 3000) is unhealthy in (target-group t) due to (reason Health checks failed)",
            ),
            event(20, "(service web) has started 1 tasks: (task 1)."),
            event(5, "(service web) was unable to place a task"),
        ];
        let told = troubles(&events, 10_000);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].ends_with("(reason Health checks failed)."),
            "{told:?}"
        );
    }
}
