//! What ECS knows of a service.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use super::alarms::AlarmMonitor;
use super::deployments::{Counts, Deployment, Rollout, ServiceDeployment, ServiceRevision, Status};
use super::events::AnnouncedService;
use super::lifecycle::TargetBinding;
use super::names::{self, unique_number};
use super::request::{Object, Tag, now, parse, put, tags_to_json};
use super::rolling::{CircuitBreaker, Limits};
use super::task::Task;
use super::task_definitions::TaskDefinition;
use super::{ApiError, State};

/// A service keeps its last 100 events.
const MAX_EVENTS: usize = 100;
/// Service deployments are kept for 90 days; a machine that runs for so long would still have to
/// forget some.
const MAX_HISTORY: usize = 500;

/// The fields that make a service revision; a change of one of them starts a deployment.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-revision.html>
pub(super) const REVISION_FIELDS: [&str; 9] = [
    "capacityProviderStrategy",
    "launchType",
    "loadBalancers",
    "networkConfiguration",
    "platformVersion",
    "serviceConnectConfiguration",
    "serviceRegistries",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
];

/// Fields of requests that are not kept as they are.
pub(super) const REQUEST_FIELDS: [&str; 8] = [
    "clientToken",
    "cluster",
    "desiredCount",
    "forceNewDeployment",
    "service",
    "serviceName",
    "tags",
    "taskDefinition",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceStatus {
    Active,
    /// Deleted, but tasks are still stopping.
    Draining,
    Inactive,
}

#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) cluster_name: String,
    pub(super) cluster_arn: String,
    pub(super) status: ServiceStatus,
    pub(super) desired_count: usize,
    /// The fields of the requests that made it what it is.
    pub(super) fields: Object,
    /// The first is the primary one.
    pub(super) deployments: Vec<Deployment>,
    /// Service deployments, the oldest first.
    pub(super) history: VecDeque<ServiceDeployment>,
    pub(super) revisions: VecDeque<ServiceRevision>,
    /// The newest first.
    pub(super) events: VecDeque<Value>,
    pub(super) announced: AnnouncedService,
    /// Whether an event has said that the service is steady.
    pub(super) steady: bool,
    pub(super) tags: Vec<Tag>,
    created_at: f64,
    pub(super) client_token: Option<String>,
    /// Wakes the service's scheduler.
    pub(super) wake: Arc<Notify>,
}

/// What a new service is made of.
pub(super) struct NewService {
    pub(super) name: String,
    pub(super) cluster_name: String,
    pub(super) cluster_arn: String,
    pub(super) desired_count: usize,
    pub(super) fields: Object,
    pub(super) tags: Vec<Tag>,
    pub(super) client_token: Option<String>,
}

impl Service {
    pub(super) fn new(names: &names::Names, new: NewService) -> Self {
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

    pub(super) fn is_active(&self) -> bool {
        self.status == ServiceStatus::Active
    }

    pub(super) fn limits(&self) -> Limits {
        let configuration = &self.fields["deploymentConfiguration"];
        let percent = |name: &str| {
            let value = configuration[name].as_u64().unwrap_or_default();
            usize::try_from(value).unwrap_or(usize::MAX)
        };
        Limits::new(
            self.desired_count,
            percent("minimumHealthyPercent"),
            percent("maximumPercent"),
        )
    }

    pub(super) fn grace_period(&self) -> f64 {
        self.fields
            .get("healthCheckGracePeriodSeconds")
            .and_then(Value::as_f64)
            .unwrap_or(0.0)
    }

    /// The tags of the service's next task.
    pub(super) fn task_tags(&self) -> Vec<Tag> {
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

    pub(super) fn event(&mut self, message: &str) {
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
    pub(super) fn event_unless_repeated(&mut self, message: &str) {
        let last = self.events.front();
        let last = last.and_then(|event| event["message"].as_str());
        if !last.is_some_and(|last| last.ends_with(message)) {
            self.event(message);
        }
    }

    /// The deployment a rollback returns to: the last completed one. It stays among the
    /// deployments until a newer one is completed.
    pub(super) fn completed_deployment(&self) -> Option<usize> {
        self.deployments
            .iter()
            .position(|deployment| deployment.rollout == Rollout::Completed)
    }

    pub(super) fn revision(&self, arn: &str) -> Option<&ServiceRevision> {
        self.revisions.iter().find(|revision| revision.arn == arn)
    }

    /// The service deployment that is going on.
    pub(super) fn ongoing(&mut self) -> Option<&mut ServiceDeployment> {
        self.history
            .back_mut()
            .filter(|newest| !newest.status.is_final())
    }

    /// Makes a deployment the primary one; the service is then described as that revision.
    pub(super) fn make_primary(&mut self, position: usize) {
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

    /// Starts a deployment of what the service is now, which ends one that is going on.
    pub(super) fn deploy(&mut self, names: &names::Names, definition: Arc<TaskDefinition>) {
        if let Some(superseded) = self.ongoing() {
            superseded.set_status(
                Status::Stopped,
                Some("The service deployment was superseded by a newer one.".to_owned()),
            );
        }
        let fields: Object = REVISION_FIELDS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.fields.get(*name)?.clone())))
            .collect();
        let placement = serde_json::from_value(Value::Object(fields.clone())).unwrap_or_default();
        let configuration = self.fields["deploymentConfiguration"].clone();
        let revision = ServiceRevision {
            arn: names.service_revision(&self.cluster_name, &self.name),
            definition: Arc::clone(&definition),
            fields,
            digests: HashMap::new(),
            created_at: now(),
        };
        let id = format!("ecs-svc/{}", unique_number());
        let sources = self
            .deployments
            .iter()
            .map(|deployment| deployment.revision_arn.clone())
            .collect();
        self.deployments.insert(
            0,
            Deployment {
                rollout_reason: format!("ECS deployment {id} in progress."),
                id,
                revision_arn: revision.arn.clone(),
                definition,
                placement,
                targets: target_bindings(&self.fields),
                rollout: Rollout::InProgress,
                failed_tasks: 0,
                next_start: None,
                created_at: now(),
                updated_at: now(),
            },
        );
        if self.history.len() == MAX_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(ServiceDeployment {
            arn: names.service_deployment(&self.cluster_name, &self.name),
            target: revision.arn.clone(),
            sources,
            status: Status::Pending,
            status_reason: None,
            breaker: circuit_breaker(&configuration),
            alarms: AlarmMonitor::parse(&configuration).unwrap_or_default(),
            hooks: Vec::new(),
            configuration,
            breaker_triggered: false,
            failures: 0,
            rollback: None,
            created_at: now(),
            started_at: None,
            finished_at: None,
            stopped_at: None,
            updated_at: now(),
            final_counts: HashMap::new(),
        });
        self.forget_old_revisions();
        self.revisions.push_back(revision);
        self.steady = false;
    }

    fn forget_old_revisions(&mut self) {
        while self.revisions.len() >= MAX_HISTORY {
            let in_use = |arn: &str| self.deployments.iter().any(|d| d.revision_arn == arn);
            let oldest = self.revisions.iter().position(|r| !in_use(&r.arn));
            let Some(position) = oldest else { return };
            self.revisions.remove(position);
        }
    }

    /// The tasks of one of the deployments.
    pub(super) fn tasks_of<'a>(
        &'a self,
        deployment: &'a Deployment,
        state: &'a State,
    ) -> impl Iterator<Item = &'a Task> {
        state.tasks.values().filter(move |task| {
            task.owner.as_ref().is_some_and(|owner| {
                owner.service_arn == self.arn && owner.deployment_id == deployment.id
            })
        })
    }

    /// How many tasks a deployment wants, and how many it has.
    fn deployment_counts(&self, position: usize, state: &State) -> (usize, Counts) {
        let deployment = &self.deployments[position];
        let counts = Counts::of(self.tasks_of(deployment, state));
        let desired = if position == 0 {
            self.desired_count
        } else {
            let tasks = self.tasks_of(deployment, state);
            tasks.filter(|task| task.wanted).count()
        };
        (desired, counts)
    }

    /// The same for a service revision.
    pub(super) fn revision_counts(&self, revision: &str, state: &State) -> (usize, Counts) {
        let position = self
            .deployments
            .iter()
            .position(|deployment| deployment.revision_arn == revision);
        position.map_or_else(Default::default, |position| {
            self.deployment_counts(position, state)
        })
    }

    pub(super) fn to_json(&self, state: &State, with_tags: bool) -> Value {
        let mut totals = Counts::default();
        let (mut deployments, mut revisions) = (Vec::new(), Vec::new());
        for (position, deployment) in self.deployments.iter().enumerate() {
            let (desired, counts) = self.deployment_counts(position, state);
            totals.running += counts.running;
            totals.pending += counts.pending;
            deployments.push(deployment.to_json(position == 0, desired, counts));
            revisions.push(json!({
                "arn": deployment.revision_arn,
                "requestedTaskCount": desired,
                "runningTaskCount": counts.running,
                "pendingTaskCount": counts.pending,
            }));
        }
        let primary = self.deployments.first();
        let mut answer = self.fields.clone();
        let mut set = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        set("serviceArn", json!(self.arn));
        set("serviceName", json!(self.name));
        set("clusterArn", json!(self.cluster_arn));
        let status = match self.status {
            ServiceStatus::Active => "ACTIVE",
            ServiceStatus::Draining => "DRAINING",
            ServiceStatus::Inactive => "INACTIVE",
        };
        set("status", json!(status));
        set("desiredCount", json!(self.desired_count));
        set("runningCount", json!(totals.running));
        set("pendingCount", json!(totals.pending));
        set("deployments", json!(deployments));
        set("currentServiceRevisions", json!(revisions));
        set("events", json!(self.events));
        set("createdAt", json!(self.created_at));
        let tags = if with_tags { self.tags.as_slice() } else { &[] };
        set("tags", tags_to_json(tags));
        let definition = primary.map(|primary| primary.definition.arn.clone());
        put(&mut answer, "taskDefinition", definition);
        if let Some(primary) = primary {
            let launch_type = primary.placement.described_launch_type();
            put(&mut answer, "launchType", launch_type);
            let platform = primary.placement.described_platform_version();
            put(&mut answer, "platformVersion", platform);
            put(&mut answer, "platformFamily", platform.map(|_| "Linux"));
        }
        let current = self
            .history
            .back()
            .filter(|newest| !newest.status.is_final());
        let current = current.map(|current| current.arn.clone());
        put(&mut answer, "currentServiceDeployment", current);
        Value::Object(answer)
    }
}

/// What `loadBalancers` says about targets.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancer {
    pub(super) target_group_arn: Option<String>,
    #[serde(default)]
    pub(super) container_name: String,
    #[serde(default)]
    pub(super) container_port: u16,
}

pub(super) fn load_balancers(fields: &Object) -> Result<Vec<LoadBalancer>, ApiError> {
    fields
        .get("loadBalancers")
        .map_or_else(|| Ok(Vec::new()), parse)
}

fn target_bindings(fields: &Object) -> Vec<TargetBinding> {
    let balancers = load_balancers(fields).unwrap_or_default();
    let bindings = balancers.into_iter().filter_map(|balancer| {
        Some(TargetBinding {
            target_group_arn: balancer.target_group_arn?,
            container_name: balancer.container_name,
            container_port: balancer.container_port,
        })
    });
    bindings.collect()
}

fn circuit_breaker(configuration: &Value) -> CircuitBreaker {
    CircuitBreaker::deserialize(&configuration["deploymentCircuitBreaker"]).unwrap_or_default()
}
