//! A service's tasks at one moment, and what the scheduler makes of each.

use std::collections::HashMap;
use std::time::Duration;

use super::rolling::Condition;
use crate::clock::Clock;
use crate::ecs::model::health_check::HealthStatus;
use crate::ecs::model::service::Service;
use crate::ecs::model::task::{LastStatus, Owner, TargetHealth, Task, Tasks};
use crate::ecs::model::values::now;

/// A task without health checks counts as healthy after having run for so long.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html>
/// (`minimumHealthyPercent`, services that do not use a load balancer).
const PROVEN_WITHOUT_CHECKS: Duration = Duration::from_secs(40);

/// A task that the service wants.
pub(in crate::ecs) struct Seen {
    pub(in crate::ecs) id: String,
    pub(in crate::ecs) deployment_id: String,
    pub(in crate::ecs) condition: Condition,
}

/// A service's tasks at one moment.
pub(in crate::ecs) struct View {
    /// Those that are wanted, in the order in which they were created.
    pub(in crate::ecs) tasks: Vec<Seen>,
    /// When a task's condition changes by the mere passing of time.
    pub(in crate::ecs) next_change: Option<Duration>,
    /// How many tasks of each deployment run or drain.
    alive: HashMap<String, usize>,
}

impl View {
    pub(in crate::ecs) fn of(service: &Service, all: &Tasks, clock: Clock) -> Self {
        let mut tasks: Vec<(&Task, &Owner)> = all
            .values()
            .filter_map(|task| Some((task, task.owner.as_ref()?)))
            .filter(|(_, owner)| owner.service_arn == service.arn)
            .collect();
        tasks.sort_by(|(a, _), (b, _)| {
            let created = a.times.created.total_cmp(&b.times.created);
            created.then_with(|| a.id.cmp(&b.id))
        });
        let grace = Duration::from_secs_f64(service.grace_period().max(0.0));
        let mut view = Self {
            tasks: Vec::new(),
            next_change: None,
            alive: HashMap::new(),
        };
        for (task, owner) in tasks {
            if task.last_status < LastStatus::Stopping {
                *view.alive.entry(owner.deployment_id.clone()).or_default() += 1;
            }
            if !task.wanted {
                continue;
            }
            let has_targets = service
                .position(&owner.deployment_id)
                .is_some_and(|position| !service.deployments[position].targets.is_empty());
            let (condition, change) = condition(
                task,
                has_targets,
                clock.scaled(grace),
                clock.scaled(PROVEN_WITHOUT_CHECKS),
            );
            view.next_change = view.next_change.into_iter().chain(change).min();
            view.tasks.push(Seen {
                id: task.id.clone(),
                deployment_id: owner.deployment_id.clone(),
                condition,
            });
        }
        view
    }

    pub(in crate::ecs) fn wanted(&self) -> usize {
        self.tasks.len()
    }

    pub(in crate::ecs) fn healthy(&self) -> usize {
        let healthy = |task: &&Seen| task.condition == Condition::Healthy;
        self.tasks.iter().filter(healthy).count()
    }

    /// How many healthy tasks a deployment has.
    pub(in crate::ecs) fn healthy_in(&self, deployment_id: &str) -> usize {
        let tasks = self.tasks.iter();
        let tasks = tasks.filter(|task| task.condition == Condition::Healthy);
        tasks
            .filter(|task| task.deployment_id == deployment_id)
            .count()
    }

    /// How many tasks of other deployments run or drain.
    pub(in crate::ecs) fn alive_beside(&self, deployment_id: &str) -> usize {
        let others = self.alive.iter().filter(|(id, _)| *id != deployment_id);
        others.map(|(_, count)| count).sum()
    }

    pub(in crate::ecs) fn is_healthy(&self, task_id: &str) -> bool {
        let mut tasks = self.tasks.iter();
        tasks.any(|task| task.id == task_id && task.condition == Condition::Healthy)
    }
}

/// What the scheduler makes of a task, and after which time it would make something else of it.
///
/// The health checks of its containers and those of its target groups both have to pass; the
/// grace period goes for both.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html>
/// (`minimumHealthyPercent`)
fn condition(
    task: &Task,
    has_targets: bool,
    grace: Duration,
    proven: Duration,
) -> (Condition, Option<Duration>) {
    let Some(started) = task.times.started else {
        return (Condition::Starting, None);
    };
    let ran = Duration::from_secs_f64((now() - started).max(0.0));
    let left = |period: Duration| period.checked_sub(ran).filter(|left| !left.is_zero());
    let unhealthy = match left(grace) {
        Some(left) => (Condition::Unproven, Some(left)),
        None => (Condition::Unhealthy, None),
    };
    let checked = task.checked_health();
    match (checked, task.target_health) {
        (Some(HealthStatus::Unhealthy), _) => unhealthy,
        (_, TargetHealth::Unhealthy) if has_targets => unhealthy,
        (Some(HealthStatus::Unknown), _) => (Condition::Unproven, None),
        (_, TargetHealth::None | TargetHealth::Initial) if has_targets => {
            (Condition::Unproven, None)
        }
        (None, _) if !has_targets => match left(proven) {
            Some(left) => (Condition::Unproven, Some(left)),
            None => (Condition::Healthy, None),
        },
        (None | Some(HealthStatus::Healthy), _) => (Condition::Healthy, None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::ecs::in_process;
    use crate::ecs::model::task::NewTask;

    const GRACE: Duration = Duration::from_secs(60);
    const LONG_AGO: f64 = 100.0;

    /// What the scheduler makes of a task that started so many seconds ago.
    async fn found(
        health: Option<HealthStatus>,
        targets: Option<TargetHealth>,
        started: f64,
    ) -> Condition {
        let ecs = in_process::ecs(1.0).await;
        let checked = health.map(|_| json!({"command": ["CMD", "/check"]}));
        let definition = in_process::definition("web", &json!({"healthCheck": checked}));
        ecs.call("RegisterTaskDefinition", definition)
            .await
            .unwrap();
        let definition = Arc::clone(&ecs.lock().families["web"][0]);
        let mut task = Task::new(
            &ecs.inner.names,
            NewTask {
                cluster_name: in_process::CLUSTER.to_owned(),
                cluster_arn: String::new(),
                definition,
                group: String::new(),
                started_by: None,
                placement: Default::default(),
                overrides: Default::default(),
                tags: Vec::new(),
                owner: None,
            },
        );
        task.times.started = Some(now() - started);
        task.containers[0].health = health;
        task.target_health = targets.unwrap_or(TargetHealth::None);
        condition(&task, targets.is_some(), GRACE, PROVEN_WITHOUT_CHECKS).0
    }

    #[tokio::test]
    async fn a_task_without_checks_is_healthy_after_forty_seconds() {
        assert_eq!(found(None, None, 30.0).await, Condition::Unproven);
        assert_eq!(found(None, None, LONG_AGO).await, Condition::Healthy);
    }

    #[tokio::test]
    async fn a_task_with_a_container_health_check_is_what_that_says() {
        for (health, expected) in [
            (HealthStatus::Unknown, Condition::Unproven),
            (HealthStatus::Healthy, Condition::Healthy),
            (HealthStatus::Unhealthy, Condition::Unhealthy),
        ] {
            assert_eq!(found(Some(health), None, LONG_AGO).await, expected);
        }
    }

    #[tokio::test]
    async fn container_and_target_group_both_have_to_find_a_task_healthy() {
        for (container, targets, expected) in [
            (
                HealthStatus::Healthy,
                TargetHealth::Healthy,
                Condition::Healthy,
            ),
            (
                HealthStatus::Healthy,
                TargetHealth::Initial,
                Condition::Unproven,
            ),
            (
                HealthStatus::Unknown,
                TargetHealth::Healthy,
                Condition::Unproven,
            ),
            (
                HealthStatus::Unhealthy,
                TargetHealth::Healthy,
                Condition::Unhealthy,
            ),
            (
                HealthStatus::Healthy,
                TargetHealth::Unhealthy,
                Condition::Unhealthy,
            ),
            (
                HealthStatus::Unknown,
                TargetHealth::Unhealthy,
                Condition::Unhealthy,
            ),
        ] {
            let condition = found(Some(container), Some(targets), LONG_AGO).await;
            assert_eq!(condition, expected, "{container:?}, {targets:?}");
        }
    }

    #[tokio::test]
    async fn the_grace_period_goes_for_container_health_checks_too() {
        let unhealthy = Some(HealthStatus::Unhealthy);
        assert_eq!(found(unhealthy, None, 30.0).await, Condition::Unproven);
        assert_eq!(found(unhealthy, None, 70.0).await, Condition::Unhealthy);
    }
}
