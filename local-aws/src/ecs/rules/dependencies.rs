//! The order in which a task's containers start and stop, as decisions without effects.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html>

use std::collections::HashSet;

use crate::ecs::model::task_definitions::{Condition, ContainerDefinition, Dependency};

/// How far a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Progress {
    NotStarted,
    Running {
        healthy: bool,
        /// It runs for longer than its `startTimeout`.
        overdue: bool,
    },
    Exited(i32),
}

/// Whether a container can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Readiness {
    Ready,
    Waiting,
    /// What it waits for can no longer happen; the text says why.
    Never(String),
}

/// Whether a container with these dependencies can start, given how far the others have come.
///
/// AWS documents that a dependency which misses its `startTimeout` lets the task stop. The other
/// conditions that can no longer hold (SUCCESS of a container that failed, HEALTHY of one that
/// has ended) end the task in the same way here, as the container agent does.
pub(in crate::ecs) fn readiness(
    dependencies: &[Dependency],
    progress: impl Fn(&str) -> Progress,
) -> Readiness {
    let mut overall = Readiness::Ready;
    for dependency in dependencies {
        match one_readiness(dependency, progress(&dependency.container_name)) {
            Readiness::Ready => {}
            Readiness::Waiting => overall = Readiness::Waiting,
            never @ Readiness::Never(_) => return never,
        }
    }
    overall
}

fn one_readiness(dependency: &Dependency, progress: Progress) -> Readiness {
    let name = &dependency.container_name;
    match (dependency.condition, progress) {
        (_, Progress::NotStarted) => Readiness::Waiting,
        (Condition::Start, _)
        | (Condition::Healthy, Progress::Running { healthy: true, .. })
        | (Condition::Complete, Progress::Exited(_))
        | (Condition::Success, Progress::Exited(0)) => Readiness::Ready,
        (Condition::Success, Progress::Exited(code)) => Readiness::Never(format!(
            "dependency {name} did not exit successfully, its exit code is {code}"
        )),
        (Condition::Healthy, Progress::Exited(_)) => {
            Readiness::Never(format!("dependency {name} exited before it was healthy"))
        }
        (_, Progress::Running { overdue: true, .. }) => {
            Readiness::Never(format!("dependency {name} has timed out"))
        }
        (_, Progress::Running { .. }) => Readiness::Waiting,
    }
}

/// Whether a container may be stopped: every container that depends on it has ended, because
/// "for container shutdown it is reversed".
pub(in crate::ecs) fn may_stop<'a>(
    name: &str,
    running: impl IntoIterator<Item = &'a [Dependency]>,
) -> bool {
    let mut dependencies = running.into_iter().flatten();
    !dependencies.any(|dependency| dependency.container_name == name)
}

/// What RegisterTaskDefinition refuses of `dependsOn`; the text says what is wrong.
pub(super) fn validate(containers: &[ContainerDefinition]) -> Result<(), String> {
    for container in containers {
        for dependency in &container.depends_on {
            validate_one(container, dependency, containers)?;
        }
    }
    refuse_cycles(containers)
}

fn validate_one(
    container: &ContainerDefinition,
    dependency: &Dependency,
    containers: &[ContainerDefinition],
) -> Result<(), String> {
    let (name, other) = (&container.name, &dependency.container_name);
    let Some(found) = containers.iter().find(|one| one.name == *other) else {
        return Err(format!(
            "Container '{name}' depends on '{other}', which is not in the task definition."
        ));
    };
    match dependency.condition {
        Condition::Complete | Condition::Success if found.essential => Err(format!(
            "Container '{name}' cannot wait for the end of container '{other}', because it is \
             essential."
        )),
        Condition::Healthy if found.health_check.is_none() => Err(format!(
            "Container '{name}' cannot wait until container '{other}' is HEALTHY, because it has \
             no health check."
        )),
        _ => Ok(()),
    }
}

fn refuse_cycles(containers: &[ContainerDefinition]) -> Result<(), String> {
    let mut resolved = HashSet::new();
    loop {
        let (free, bound): (Vec<_>, Vec<_>) = containers
            .iter()
            .filter(|container| !resolved.contains(container.name.as_str()))
            .partition(|container| {
                let mut dependencies = container.depends_on.iter();
                dependencies.all(|one| resolved.contains(one.container_name.as_str()))
            });
        if bound.is_empty() {
            return Ok(());
        }
        if free.is_empty() {
            let names: Vec<&str> = bound.iter().map(|one| one.name.as_str()).collect();
            return Err(format!(
                "The dependencies of containers must not form a cycle: {}.",
                names.join(", ")
            ));
        }
        resolved.extend(free.iter().map(|container| container.name.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const RUNNING: Progress = Progress::Running {
        healthy: false,
        overdue: false,
    };
    const HEALTHY: Progress = Progress::Running {
        healthy: true,
        overdue: false,
    };
    const OVERDUE: Progress = Progress::Running {
        healthy: false,
        overdue: true,
    };

    fn on(condition: Condition, progress: Progress) -> Readiness {
        let dependency = Dependency {
            container_name: "other".to_owned(),
            condition,
        };
        readiness(&[dependency], |_| progress)
    }

    fn never(readiness: &Readiness) -> bool {
        matches!(readiness, Readiness::Never(_))
    }

    #[test]
    fn start_waits_until_the_other_has_been_started() {
        assert_eq!(
            on(Condition::Start, Progress::NotStarted),
            Readiness::Waiting
        );
        for progress in [RUNNING, OVERDUE, Progress::Exited(1)] {
            assert_eq!(on(Condition::Start, progress), Readiness::Ready);
        }
    }

    #[test]
    fn complete_waits_for_any_exit_code_and_success_for_zero() {
        for condition in [Condition::Complete, Condition::Success] {
            assert_eq!(on(condition, RUNNING), Readiness::Waiting);
            assert_eq!(on(condition, Progress::Exited(0)), Readiness::Ready);
        }
        assert_eq!(
            on(Condition::Complete, Progress::Exited(1)),
            Readiness::Ready
        );
        assert!(never(&on(Condition::Success, Progress::Exited(1))));
    }

    #[test]
    fn healthy_waits_for_the_health_check() {
        assert_eq!(on(Condition::Healthy, RUNNING), Readiness::Waiting);
        assert_eq!(on(Condition::Healthy, HEALTHY), Readiness::Ready);
        assert!(never(&on(Condition::Healthy, Progress::Exited(0))));
    }

    #[test]
    fn a_dependency_that_misses_its_start_timeout_is_given_up() {
        for condition in [Condition::Complete, Condition::Success, Condition::Healthy] {
            assert!(never(&on(condition, OVERDUE)), "{condition:?}");
        }
    }

    #[test]
    fn what_others_depend_on_stops_after_them() {
        let web = [Dependency {
            container_name: "proxy".to_owned(),
            condition: Condition::Start,
        }];
        assert!(!may_stop("proxy", [web.as_slice(), &[]]));
        assert!(may_stop("web", [web.as_slice(), &[]]));
        assert!(may_stop("proxy", [[].as_slice()]));
    }

    /// Containers `a`, `b`, …, each with its `dependsOn`.
    fn validated(dependencies: &[Value], change: impl Fn(&mut Value)) -> Result<(), String> {
        let containers: Vec<ContainerDefinition> = dependencies
            .iter()
            .zip('a'..)
            .map(|(depends_on, name)| {
                let mut container = json!({
                    "name": name.to_string(),
                    "essential": false,
                    "dependsOn": depends_on,
                });
                change(&mut container);
                serde_json::from_value(container).unwrap()
            })
            .collect();
        validate(&containers)
    }

    fn after(name: &str, condition: &str) -> Value {
        json!([{"containerName": name, "condition": condition}])
    }

    #[test]
    fn a_cycle_of_dependencies_is_refused() {
        let free = json!([]);
        let chain = [after("b", "START"), after("c", "START"), free.clone()];
        assert_eq!(validated(&chain, |_| {}), Ok(()));
        let cycle = [after("b", "START"), after("a", "SUCCESS"), free];
        assert!(validated(&cycle, |_| {}).unwrap_err().contains("a, b"));
        let itself = [after("a", "START")];
        assert!(validated(&itself, |_| {}).unwrap_err().contains("cycle"));
    }

    #[test]
    fn a_dependency_that_cannot_hold_is_refused() {
        let unknown = [after("z", "START")];
        let message = validated(&unknown, |_| {}).unwrap_err();
        assert!(message.contains("not in the task definition"), "{message}");
        for condition in ["COMPLETE", "SUCCESS"] {
            let on_essential = [after("b", condition), json!([])];
            let message = validated(&on_essential, |one| one["essential"] = json!(true));
            assert!(message.unwrap_err().contains("essential"));
        }
        let healthy = [after("b", "HEALTHY"), json!([])];
        let message = validated(&healthy, |_| {}).unwrap_err();
        assert!(message.contains("no health check"), "{message}");
        let checked = validated(&healthy, |container| {
            container["healthCheck"] = json!({"command": ["CMD", "/check"]});
        });
        assert_eq!(checked, Ok(()));
    }
}
