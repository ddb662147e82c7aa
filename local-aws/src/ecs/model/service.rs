//! What ECS knows of a service.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::ecs::State;
use crate::ecs::life::events::AnnouncedService;
use crate::ecs::life::hooks::{self, Hook};
use crate::ecs::life::walk::Walk;
use crate::ecs::model::alarms::AlarmMonitor;
use crate::ecs::model::deployments::{
    Counts, Deployment, RevisionState, Rollout, RolloutChange, ServiceDeployment, ServiceRevision,
    Status, Throttle,
};
use crate::ecs::model::names::{self, unique_number};
use crate::ecs::model::task::Task;
use crate::ecs::model::values::{Object, Tag, now, put, tags_to_json};
use crate::ecs::rules::rolling::{CircuitBreaker, Limits};
use crate::ecs::rules::route::{self, Departure};
use crate::ecs::rules::strategy::{self, Share, Strategy};
use crate::ecs::rules::task_definitions::TaskDefinition;
use crate::ecs::rules::traffic::{self, Router, Traffic, load_balancers};

/// A service keeps its last 100 events.
const MAX_EVENTS: usize = 100;
/// Service deployments are kept for 90 days; a machine that runs for so long would still have to
/// forget some.
const MAX_HISTORY: usize = 500;

/// The fields that make a service revision; a change of one of them starts a deployment.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-revision.html>
pub(in crate::ecs) const REVISION_FIELDS: [&str; 9] = [
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
pub(in crate::ecs) const REQUEST_FIELDS: [&str; 8] = [
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
pub(in crate::ecs) enum ServiceStatus {
    Active,
    /// Deleted, but tasks are still stopping.
    Draining,
    Inactive,
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
    created_at: f64,
    pub(in crate::ecs) client_token: Option<String>,
    /// Wakes the service's scheduler.
    pub(in crate::ecs) wake: Arc<Notify>,
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
    pub(in crate::ecs) fn new(names: &names::Names, new: NewService) -> Self {
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

    pub(in crate::ecs) fn limits(&self) -> Limits {
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
        deployments.any(|deployment| deployment.scale != Scale::Rolling)
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

    /// The deployment that serves while the next one is made: one that has got all production
    /// traffic, else the last completed one.
    ///
    /// AWS does not document which revision remains where a deployment is superseded midway.
    /// One that has part of the traffic only is not proven, and gives it back; to take back
    /// everything from one that already has it would be a rollback nobody has asked for.
    fn serving_deployment(&self) -> Option<usize> {
        let mut deployments = self.deployments.iter();
        deployments
            .position(|deployment| deployment.traffic.production == Share::ALL)
            .or_else(|| self.completed_deployment())
            .or((!self.deployments.is_empty()).then_some(0))
    }

    /// Starts a deployment of what the service is now, which ends one that is going on.
    pub(in crate::ecs) fn deploy(&mut self, names: &names::Names, definition: Arc<TaskDefinition>) {
        if let Some(superseded) = self.ongoing() {
            hooks::abandon(&mut superseded.hooks);
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
        let strategy = Strategy::of(&configuration);
        let balancers = load_balancers(&self.fields).unwrap_or_default();
        let serving = self.serving_deployment();
        let blue_targets = serving
            .map(|position| self.deployments[position].targets.clone())
            .unwrap_or_default();
        let targets = traffic::bindings(&balancers, &blue_targets, strategy);
        let revision = ServiceRevision {
            arn: names.service_revision(&self.cluster_name, &self.name),
            definition: Arc::clone(&definition),
            fields,
            resolved_configuration: traffic::resolved_configuration(&balancers, &targets),
            digests: HashMap::new(),
            created_at: now(),
        };
        let id = format!("ecs-svc/{}", unique_number());
        let rollout_reason = format!("ECS deployment {id} in progress.");
        let sources = self
            .deployments
            .iter()
            .map(|deployment| deployment.revision_arn.clone())
            .collect();
        let walk = Router::all(&balancers, &blue_targets, &targets);
        let walk = self.prepare_walk(&id, &configuration, walk);
        self.deployments.insert(
            0,
            Deployment {
                unannounced: vec![RolloutChange::new(Rollout::InProgress, &rollout_reason)],
                rollout_reason,
                id,
                revision_arn: revision.arn.clone(),
                definition,
                placement,
                targets,
                scale: match &walk {
                    Some(_) => Scale::Nothing,
                    None => Scale::Rolling,
                },
                traffic: Traffic::NONE,
                rollout: Rollout::InProgress,
                failed_tasks: 0,
                throttle: Throttle::default(),
                replaced: 0,
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
            routes_traffic: walk.as_ref().is_some_and(Walk::routes_traffic),
            walk,
            stage: None,
            bakes_until: None,
            created_at: now(),
            started_at: None,
            finished_at: None,
            stopped_at: None,
            updated_at: now(),
            final_states: HashMap::new(),
        });
        self.forget_old_revisions();
        self.revisions.push_back(revision);
        self.steady = false;
    }

    /// What is desired beyond what was, together with another version, is desired of that version
    /// only: the one that serves does not grow.
    pub(in crate::ecs) fn keep_serving_as_before(&mut self, desired_before: usize) {
        let more = self.desired_count.saturating_sub(desired_before);
        if let Some(position) = self.completed_deployment() {
            self.deployments[position].replaced += more;
        }
    }

    /// Readies the deployments there are for one that goes through life-cycle stages; a rolling
    /// deployment does so only where it has hooks or others have to give way to it.
    fn prepare_walk(
        &mut self,
        green: &str,
        configuration: &Value,
        routers: Vec<Router>,
    ) -> Option<Walk> {
        let strategy = Strategy::of(configuration);
        let hooks = Hook::parse_all(configuration).unwrap_or_default();
        let has_stages = strategy.is_side_by_side() || !hooks.is_empty();
        let several = self.deployments.len() > 1;
        let route = route::forward(Departure {
            strategy,
            bake: strategy::bake_time(configuration),
            has_blue: !self.deployments.is_empty(),
            reconciles: several && (has_stages || self.is_side_by_side()),
            has_hooks: !hooks.is_empty(),
        });
        if route.is_empty() {
            for deployment in &mut self.deployments {
                deployment.scale = Scale::Rolling;
            }
            return None;
        }
        let blue = self.serving_deployment();
        for (position, deployment) in self.deployments.iter_mut().enumerate() {
            if Some(position) != blue {
                deployment.scale = Scale::Kept;
                continue;
            }
            deployment.scale = Scale::Full;
            if deployment.traffic.production == Share::ALL {
                // It has taken over, so it is what a rollback returns to.
                deployment.set_rollout(
                    Rollout::Completed,
                    format!("ECS deployment {} serves all traffic.", deployment.id),
                );
            } else if !several {
                deployment.traffic.production = Share::ALL;
            }
        }
        let blue = blue.map(|position| self.deployments[position].id.clone());
        Some(Walk::new(blue, green.to_owned(), routers, hooks, route))
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
    pub(in crate::ecs) fn tasks_of<'a>(
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

    /// How many tasks a deployment wants, how many it has, and its traffic.
    fn deployment_state(&self, position: usize, state: &State) -> RevisionState {
        let deployment = &self.deployments[position];
        let requested = match deployment.scale {
            Scale::Full => self.desired_count,
            Scale::Rolling if position == 0 => self.desired_count,
            Scale::Nothing => 0,
            Scale::Rolling | Scale::Kept => {
                let tasks = self.tasks_of(deployment, state);
                tasks.filter(|task| task.wanted).count()
            }
        };
        RevisionState {
            requested,
            counts: Counts::of(self.tasks_of(deployment, state)),
            traffic: deployment.traffic,
        }
    }

    /// The same for a service revision.
    pub(in crate::ecs) fn revision_state(&self, revision: &str, state: &State) -> RevisionState {
        let mut deployments = self.deployments.iter();
        let position = deployments.position(|deployment| deployment.revision_arn == revision);
        position.map_or(RevisionState::NOTHING, |position| {
            self.deployment_state(position, state)
        })
    }

    pub(in crate::ecs) fn to_json(&self, state: &State, with_tags: bool) -> Value {
        let mut totals = Counts::default();
        let (mut deployments, mut revisions) = (Vec::new(), Vec::new());
        for (position, deployment) in self.deployments.iter().enumerate() {
            let RevisionState {
                requested: desired,
                counts,
                ..
            } = self.deployment_state(position, state);
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

fn circuit_breaker(configuration: &Value) -> CircuitBreaker {
    CircuitBreaker::deserialize(&configuration["deploymentCircuitBreaker"]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ecs::{Ecs, in_process};

    /// What a service leaves behind does not grow with the number of its updates: AWS keeps
    /// service deployments for 90 days, a stopped task for about an hour, and a service's last
    /// 100 events.
    #[tokio::test]
    async fn a_service_that_is_updated_again_and_again_keeps_the_newest_history_only() {
        // An hour is half a second.
        let ecs = in_process::ecs(7200.0).await;
        in_process::register(&ecs, "web").await;
        in_process::create_service(&ecs, &json!({})).await;
        let updates = MAX_HISTORY + 50;
        for _ in 0..updates {
            let update = json!({
                "cluster": in_process::CLUSTER,
                "service": "web",
                "forceNewDeployment": true,
            });
            ecs.call("UpdateService", update).await.unwrap();
            // Lets the service start a task.
            tokio::task::yield_now().await;
        }
        let kept = |ecs: &Ecs| {
            let state = ecs.lock();
            let service = state.services.values().next().unwrap();
            let (history, events) = (service.history.len(), service.events.len());
            assert_eq!((history, events), (MAX_HISTORY, MAX_EVENTS));
            assert_eq!(service.revisions.len(), MAX_HISTORY);
            (service.deployments.len(), state.tasks.len())
        };
        loop {
            let (deployments, tasks) = kept(&ecs);
            // The primary deployment, whose tasks fail and are started ever more slowly.
            if deployments == 1 && tasks < 10 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
