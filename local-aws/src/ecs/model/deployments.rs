//! Deployments of a service, service deployments and service revisions.
//!
//! A service's `deployments[]` are what runs now; its service deployments are the history of
//! changes, and its service revisions what each of them rolled out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::alarms::AlarmMonitor;
use super::hooks::HookDetail;
use super::placement::Placement;
use super::stages::Stage;
use super::task::{LastStatus, Task};
use super::task_definitions::{ContainerDefinition, TaskDefinition};
use super::traffic::{TargetBinding, Traffic};
use super::values::{Object, now};
use super::walk::Walk;

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Rollout {
    InProgress,
    Completed,
    Failed,
}

impl Rollout {
    pub(in crate::ecs) fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

/// A deployment's rollout state at the moment at which it came about.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct RolloutChange {
    pub(in crate::ecs) rollout: Rollout,
    pub(in crate::ecs) reason: String,
    /// Seconds since the epoch.
    pub(in crate::ecs) moment: f64,
}

impl RolloutChange {
    pub(in crate::ecs) fn new(rollout: Rollout, reason: &str) -> Self {
        Self {
            rollout,
            reason: reason.to_owned(),
            moment: now(),
        }
    }
}

/// How many tasks a deployment is meant to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Scale {
    /// What the rolling of the service's tasks makes of it.
    Rolling,
    /// The service's desired count, whatever other deployments have.
    Full,
    /// Those it has: none is started, none is stopped.
    Kept,
    Nothing,
    /// None any more: the next deployment is successful, or about to be, beside those it still has.
    CleanUp,
}

/// What slows the starting of tasks down.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ecs) struct Throttle {
    /// Tasks that never ran, one after the other.
    pub(in crate::ecs) never_ran: u64,
    /// No task is started before.
    pub(in crate::ecs) next_start: Option<Instant>,
}

impl Throttle {
    /// How long the next start has to wait, where it has to.
    pub(in crate::ecs) fn pause(&self) -> Option<Duration> {
        let pause = self.next_start?.saturating_duration_since(Instant::now());
        (!pause.is_zero()).then_some(pause)
    }
}

/// One of a service's `deployments[]`. The first of them is the primary one.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct Deployment {
    /// `ecs-svc/…`
    pub(in crate::ecs) id: String,
    pub(in crate::ecs) revision_arn: String,
    pub(in crate::ecs) definition: Arc<TaskDefinition>,
    pub(in crate::ecs) placement: Placement,
    pub(in crate::ecs) targets: Vec<TargetBinding>,
    /// How many tasks it is meant to have.
    pub(in crate::ecs) scale: Scale,
    /// The traffic it is meant to have; none where traffic is not shifted.
    pub(in crate::ecs) traffic: Traffic,
    pub(in crate::ecs) rollout: Rollout,
    pub(in crate::ecs) rollout_reason: String,
    /// The rollout states that no event has told of, each with its reason, the oldest first.
    pub(in crate::ecs) unannounced: Vec<RolloutChange>,
    /// Tasks that failed one after the other.
    pub(in crate::ecs) failed_tasks: u64,
    pub(in crate::ecs) throttle: Throttle,
    /// How many of its tasks a rolling deployment has replaced by those of a newer one.
    pub(in crate::ecs) replaced: usize,
    pub(in crate::ecs) created_at: f64,
    pub(in crate::ecs) updated_at: f64,
}

impl Deployment {
    /// It rolls with the others, unless it is cleaned up beside them.
    pub(in crate::ecs) fn roll(&mut self) {
        if self.scale != Scale::CleanUp {
            self.scale = Scale::Rolling;
        }
    }

    pub(in crate::ecs) fn set_rollout(&mut self, rollout: Rollout, reason: String) {
        if self.rollout != rollout {
            let change = RolloutChange::new(rollout, &reason);
            self.unannounced.push(change);
        }
        self.rollout = rollout;
        self.rollout_reason = reason;
        self.updated_at = now();
    }
}

/// Tasks that run and tasks that are about to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::ecs) struct Counts {
    pub(in crate::ecs) running: usize,
    pub(in crate::ecs) pending: usize,
}

impl Counts {
    pub(in crate::ecs) fn of<'a>(tasks: impl Iterator<Item = &'a Task>) -> Self {
        tasks.fold(Self::default(), |counts, task| match task.last_status {
            LastStatus::Running => Self {
                running: counts.running + 1,
                ..counts
            },
            status if status < LastStatus::Running && task.wanted => Self {
                pending: counts.pending + 1,
                ..counts
            },
            _ => counts,
        })
    }
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Status {
    Pending,
    InProgress,
    Successful,
    Stopped,
    StopRequested,
    RollbackRequested,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
}

impl Status {
    pub(in crate::ecs) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InProgress => "IN_PROGRESS",
            Self::Successful => "SUCCESSFUL",
            Self::Stopped => "STOPPED",
            Self::StopRequested => "STOP_REQUESTED",
            Self::RollbackRequested => "ROLLBACK_REQUESTED",
            Self::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Self::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
            Self::RollbackFailed => "ROLLBACK_FAILED",
        }
    }

    pub(in crate::ecs) fn is_final(self) -> bool {
        matches!(
            self,
            Self::Successful | Self::Stopped | Self::RollbackSuccessful | Self::RollbackFailed
        )
    }
}

#[derive(Clone, Debug)]
pub(in crate::ecs) struct Rollback {
    pub(in crate::ecs) reason: String,
    pub(in crate::ecs) started_at: f64,
    pub(in crate::ecs) revision_arn: String,
}

/// `deploymentConfiguration.deploymentCircuitBreaker`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct CircuitBreaker {
    #[serde(default)]
    pub(in crate::ecs) enable: bool,
    #[serde(default)]
    pub(in crate::ecs) rollback: bool,
    pub(in crate::ecs) reset_on_healthy_task: Option<bool>,
    pub(in crate::ecs) threshold_configuration: Option<ThresholdConfiguration>,
}

#[derive(Clone, Debug, Deserialize)]
pub(in crate::ecs) struct ThresholdConfiguration {
    pub(in crate::ecs) r#type: String,
    pub(in crate::ecs) value: u64,
}

/// One change of a service, from its request to its end.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct ServiceDeployment {
    pub(in crate::ecs) arn: String,
    pub(in crate::ecs) target: String,
    pub(in crate::ecs) sources: Vec<String>,
    pub(in crate::ecs) status: Status,
    pub(in crate::ecs) status_reason: Option<String>,
    pub(in crate::ecs) configuration: Value,
    pub(in crate::ecs) breaker: CircuitBreaker,
    pub(in crate::ecs) breaker_triggered: bool,
    pub(in crate::ecs) failures: u64,
    pub(in crate::ecs) alarms: Option<AlarmMonitor>,
    /// The executions of hooks up to now, the oldest first.
    pub(in crate::ecs) hooks: Vec<HookDetail>,
    pub(in crate::ecs) rollback: Option<Rollback>,
    pub(in crate::ecs) created_at: f64,
    pub(in crate::ecs) started_at: Option<f64>,
    pub(in crate::ecs) finished_at: Option<f64>,
    pub(in crate::ecs) stopped_at: Option<f64>,
    pub(in crate::ecs) updated_at: f64,
    /// Its way through the life-cycle stages, while it is on it.
    pub(in crate::ecs) walk: Option<Walk>,
    /// The life-cycle stage it has come to.
    pub(in crate::ecs) stage: Option<Stage>,
    /// Whether listener rules divide traffic between its revisions.
    pub(in crate::ecs) routes_traffic: bool,
    /// When the bake time of a rolling deployment ends.
    pub(in crate::ecs) bakes_until: Option<Instant>,
    /// How each revision was when it finished.
    pub(in crate::ecs) final_states: HashMap<String, RevisionState>,
}

/// What is told of a revision in a service deployment.
#[derive(Clone, Copy, Debug)]
pub(in crate::ecs) struct RevisionState {
    pub(in crate::ecs) requested: usize,
    pub(in crate::ecs) counts: Counts,
    pub(in crate::ecs) traffic: Traffic,
}

impl RevisionState {
    /// Of a revision that has nothing any more, or nothing yet.
    pub(in crate::ecs) const NOTHING: Self = Self {
        requested: 0,
        counts: Counts {
            running: 0,
            pending: 0,
        },
        traffic: Traffic::NONE,
    };
}

impl ServiceDeployment {
    pub(in crate::ecs) fn set_status(&mut self, status: Status, reason: Option<String>) {
        self.status = status;
        self.status_reason = reason;
        self.updated_at = now();
        if status.is_final() {
            self.end_walk();
            self.finished_at = Some(self.updated_at);
        }
        if status == Status::Stopped {
            self.stopped_at = Some(self.updated_at);
        }
    }

    /// It goes no further.
    pub(in crate::ecs) fn end_walk(&mut self) {
        if let Some(walk) = self.walk.take() {
            walk.give_up_hooks();
        }
    }
}

/// What a service deployment rolls out: the parts of a service whose change starts one.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct ServiceRevision {
    pub(in crate::ecs) arn: String,
    pub(in crate::ecs) definition: Arc<TaskDefinition>,
    /// The service's fields that belong to a revision.
    pub(in crate::ecs) fields: Object,
    /// The target groups and listener rules it really uses.
    pub(in crate::ecs) resolved_configuration: Value,
    /// The digests of the containers' images, by container, that its tasks are started with.
    pub(in crate::ecs) digests: HashMap<String, String>,
    pub(in crate::ecs) created_at: f64,
}

impl ServiceRevision {
    /// What a task pulls for a container: what the task definition names until a first task has
    /// pulled it, and from then on the same image, even if its tag moves.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerImage.html>
    pub(in crate::ecs) fn image(&self, container: &ContainerDefinition) -> String {
        match self.digests.get(&container.name) {
            Some(digest) if !container.image.contains('@') => {
                format!("{}@{digest}", container.image)
            }
            _ => container.image.clone(),
        }
    }

    /// Takes note of what a container's image has turned out to be. Tasks that pull at the same
    /// time may find different ones, and the first holds.
    pub(in crate::ecs) fn establish(&mut self, container: &ContainerDefinition, digest: &str) {
        if container.is_version_consistent() {
            let digests = self.digests.entry(container.name.clone());
            digests.or_insert_with(|| digest.to_owned());
        }
    }
}
