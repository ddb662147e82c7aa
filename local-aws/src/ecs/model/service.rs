//! What ECS knows of a service.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use super::deployments::{
    Counts, Deployment, RevisionState, Rollout, Scale, ServiceDeployment, ServiceRevision,
};
use super::hooks::HookStatus;
use super::names::Names;
use super::task::{Task, Tasks};
use super::values::{Object, Tag, now};

/// A service keeps its last 100 events.
pub(in crate::ecs) const MAX_EVENTS: usize = 100;

/// The fields that make a service revision; a change of one of them starts a deployment.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-revision.html>
pub(in crate::ecs) const REVISION_FIELDS: [&str; 11] = [
    "capacityProviderStrategy",
    "gatewayConnectors",
    "launchType",
    "loadBalancers",
    "monitoring",
    "networkConfiguration",
    "platformVersion",
    "serviceConnectConfiguration",
    "serviceRegistries",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum ServiceStatus {
    Active,
    /// Deleted, but tasks are still stopping.
    Draining,
    Inactive,
}

#[derive(Clone, Debug)]
pub(in crate::ecs) struct Service {
    pub(in crate::ecs) arn: String,
    pub(in crate::ecs) name: String,
    pub(in crate::ecs) cluster_name: String,
    pub(in crate::ecs) cluster_arn: String,
    pub(in crate::ecs) status: ServiceStatus,
    pub(in crate::ecs) desired_count: usize,
    /// The fields of the requests that made it what it is.
    pub(in crate::ecs) fields: Object,
    /// The first is the primary one.
    pub(in crate::ecs) deployments: Vec<Deployment>,
    /// Service deployments, the oldest first.
    pub(in crate::ecs) history: VecDeque<ServiceDeployment>,
    pub(in crate::ecs) revisions: VecDeque<ServiceRevision>,
    /// The newest first.
    pub(in crate::ecs) events: VecDeque<Value>,
    pub(in crate::ecs) announced: AnnouncedService,
    /// Whether an event has said that the service is steady.
    pub(in crate::ecs) steady: bool,
    pub(in crate::ecs) tags: Vec<Tag>,
    pub(in crate::ecs) created_at: f64,
    pub(in crate::ecs) client_token: Option<String>,
    /// Wakes the service's scheduler.
    pub(in crate::ecs) wake: Arc<Notify>,
}

/// What has been announced of a service.
#[derive(Clone, Debug, Default)]
pub(in crate::ecs) struct AnnouncedService {
    /// Of the newest service deployment, by the hook's id.
    pub(in crate::ecs) hooks: HashMap<String, HookStatus>,
    /// The id of the newest of the service's own events.
    pub(in crate::ecs) newest_event: Option<String>,
}

/// What a new service is made of.
pub(in crate::ecs) struct NewService {
    pub(in crate::ecs) name: String,
    pub(in crate::ecs) cluster_name: String,
    pub(in crate::ecs) cluster_arn: String,
    pub(in crate::ecs) desired_count: usize,
    pub(in crate::ecs) fields: Object,
    pub(in crate::ecs) tags: Vec<Tag>,
    pub(in crate::ecs) client_token: Option<String>,
}

impl Service {
    pub(in crate::ecs) fn new(names: &Names, new: NewService) -> Self {
        Self {
            arn: names.service(&new.cluster_name, &new.name),
            name: new.name,
            cluster_name: new.cluster_name,
            cluster_arn: new.cluster_arn,
            status: ServiceStatus::Active,
            desired_count: new.desired_count,
            fields: new.fields,
            deployments: Vec::new(),
            history: VecDeque::new(),
            revisions: VecDeque::new(),
            events: VecDeque::new(),
            announced: AnnouncedService::default(),
            steady: false,
            tags: new.tags,
            created_at: now(),
            client_token: new.client_token,
            wake: Arc::new(Notify::new()),
        }
    }

    pub(in crate::ecs) fn is_active(&self) -> bool {
        self.status == ServiceStatus::Active
    }

    pub(in crate::ecs) fn grace_period(&self) -> f64 {
        self.fields
            .get("healthCheckGracePeriodSeconds")
            .and_then(Value::as_f64)
            .unwrap_or(0.0)
    }

    /// The tags of the service's next task.
    pub(in crate::ecs) fn task_tags(&self) -> Vec<Tag> {
        let source = self.fields.get("propagateTags").and_then(Value::as_str);
        let mut tags = match (source, self.deployments.first()) {
            (Some("SERVICE"), _) => self.tags.clone(),
            (Some("TASK_DEFINITION"), Some(primary)) => primary.definition.tags.clone(),
            _ => Vec::new(),
        };
        if self.fields.get("enableECSManagedTags") == Some(&json!(true)) {
            tags.push(Tag::managed("aws:ecs:clusterName", &self.cluster_name));
            tags.push(Tag::managed("aws:ecs:serviceName", &self.name));
        }
        tags
    }

    pub(in crate::ecs) fn event(&mut self, message: &str) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_back();
        }
        let message = format!("(service {}) {message}", self.name);
        tracing::info!(message);
        self.events.push_front(json!({
            "id": Uuid::new_v4().to_string(),
            "createdAt": now(),
            "message": message,
        }));
    }

    /// An event that is said once, however often the same is found again.
    pub(in crate::ecs) fn event_unless_repeated(&mut self, message: &str) {
        let last = self.events.front();
        let last = last.and_then(|event| event["message"].as_str());
        if !last.is_some_and(|last| last.ends_with(message)) {
            self.event(message);
        }
    }

    /// The deployment a rollback returns to: the last completed one. It stays among the
    /// deployments until a newer one is completed.
    pub(in crate::ecs) fn completed_deployment(&self) -> Option<usize> {
        self.deployments
            .iter()
            .position(|deployment| deployment.rollout == Rollout::Completed)
    }

    pub(in crate::ecs) fn revision(&self, arn: &str) -> Option<&ServiceRevision> {
        self.revisions.iter().find(|revision| revision.arn == arn)
    }

    /// The service deployment that is going on.
    pub(in crate::ecs) fn ongoing(&mut self) -> Option<&mut ServiceDeployment> {
        self.history
            .back_mut()
            .filter(|newest| !newest.status.is_final())
    }

    /// Makes a deployment the primary one; the service is then described as that revision.
    pub(in crate::ecs) fn make_primary(&mut self, position: usize) {
        let deployment = self.deployments.remove(position);
        let fields = self
            .revision(&deployment.revision_arn)
            .map(|revision| revision.fields.clone())
            .unwrap_or_default();
        for name in REVISION_FIELDS {
            match fields.get(name) {
                Some(value) => self.fields.insert(name.to_owned(), value.clone()),
                None => self.fields.remove(name),
            };
        }
        self.deployments.insert(0, deployment);
        self.steady = false;
    }

    /// Whether deployments have tasks of their own rather than replace each other's.
    pub(in crate::ecs) fn is_side_by_side(&self) -> bool {
        let mut deployments = self.deployments.iter();
        deployments.any(|one| !matches!(one.scale, Scale::Rolling | Scale::CleanUp))
    }

    pub(in crate::ecs) fn position(&self, deployment_id: &str) -> Option<usize> {
        let mut deployments = self.deployments.iter();
        deployments.position(|deployment| deployment.id == deployment_id)
    }

    /// The deployment that a rollback of the one that is going on returns to.
    pub(in crate::ecs) fn rollback_target(&self) -> Option<usize> {
        let ongoing = self.history.back().filter(|one| !one.status.is_final());
        match ongoing.and_then(|ongoing| ongoing.walk.as_ref()) {
            Some(walk) => {
                let blue = self.position(walk.blue()?)?;
                (self.deployments[blue].rollout == Rollout::Completed).then_some(blue)
            }
            None => self.completed_deployment(),
        }
    }

    /// The tasks of one of the deployments.
    pub(in crate::ecs) fn tasks_of<'a>(
        &'a self,
        deployment: &'a Deployment,
        tasks: &'a Tasks,
    ) -> impl Iterator<Item = &'a Task> {
        tasks.values().filter(move |task| {
            task.owner.as_ref().is_some_and(|owner| {
                owner.service_arn == self.arn && owner.deployment_id == deployment.id
            })
        })
    }

    /// How many tasks a deployment wants, how many it has, and its traffic.
    pub(in crate::ecs) fn deployment_state(&self, position: usize, tasks: &Tasks) -> RevisionState {
        let deployment = &self.deployments[position];
        let requested = match deployment.scale {
            Scale::Full => self.desired_count,
            Scale::Rolling if position == 0 => self.desired_count,
            Scale::Nothing => 0,
            Scale::Rolling | Scale::Kept | Scale::CleanUp => {
                let tasks = self.tasks_of(deployment, tasks);
                tasks.filter(|task| task.wanted).count()
            }
        };
        RevisionState {
            requested,
            counts: Counts::of(self.tasks_of(deployment, tasks)),
            traffic: deployment.traffic,
        }
    }

    /// The same for a service revision.
    pub(in crate::ecs) fn revision_state(&self, revision: &str, tasks: &Tasks) -> RevisionState {
        let mut deployments = self.deployments.iter();
        let position = deployments.position(|deployment| deployment.revision_arn == revision);
        position.map_or(RevisionState::NOTHING, |position| {
            self.deployment_state(position, tasks)
        })
    }
}
