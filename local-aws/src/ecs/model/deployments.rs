//! Deployments of a service, service deployments and service revisions.
//!
//! A service's `deployments[]` are what runs now; its service deployments are the history of
//! changes, and its service revisions what each of them rolled out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ecs::ApiError;
use crate::ecs::Ecs;
use crate::ecs::State;
use crate::ecs::life::hooks::HookDetail;
use crate::ecs::life::lifecycle::TargetBinding;
use crate::ecs::life::walk::Walk;
use crate::ecs::model::alarms::AlarmMonitor;
use crate::ecs::model::names;
use crate::ecs::model::service::{Scale, Service};
use crate::ecs::model::stages::Stage;
use crate::ecs::model::task::{LastStatus, Placement, Task};
use crate::ecs::model::values::{Object, now, page, parse, put};
use crate::ecs::rules::rolling::CircuitBreaker;
use crate::ecs::rules::task_definitions::{ContainerDefinition, TaskDefinition};
use crate::ecs::rules::traffic::Traffic;

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Rollout {
    InProgress,
    Completed,
    Failed,
}

impl Rollout {
    fn as_str(self) -> &'static str {
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
    pub(in crate::ecs) fn set_rollout(&mut self, rollout: Rollout, reason: String) {
        if self.rollout != rollout {
            let change = RolloutChange::new(rollout, &reason);
            self.unannounced.push(change);
        }
        self.rollout = rollout;
        self.rollout_reason = reason;
        self.updated_at = now();
    }

    pub(in crate::ecs) fn to_json(&self, primary: bool, desired: usize, counts: Counts) -> Value {
        let mut answer = Object::new();
        let mut set = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        set("id", json!(self.id));
        set("status", json!(if primary { "PRIMARY" } else { "ACTIVE" }));
        set("taskDefinition", json!(self.definition.arn));
        set("desiredCount", json!(desired));
        set("pendingCount", json!(counts.pending));
        set("runningCount", json!(counts.running));
        set("failedTasks", json!(self.failed_tasks));
        set("createdAt", json!(self.created_at));
        set("updatedAt", json!(self.updated_at));
        set("rolloutState", json!(self.rollout.as_str()));
        set("rolloutStateReason", json!(self.rollout_reason));
        put(
            &mut answer,
            "launchType",
            self.placement.described_launch_type(),
        );
        put(
            &mut answer,
            "capacityProviderStrategy",
            self.placement.capacity_provider_strategy.clone(),
        );
        let platform = self.placement.described_platform_version();
        put(&mut answer, "platformVersion", platform);
        put(&mut answer, "platformFamily", platform.map(|_| "Linux"));
        put(
            &mut answer,
            "networkConfiguration",
            self.placement.network_configuration.clone(),
        );
        Value::Object(answer)
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

    fn describe(&self, arn: &str, routes_traffic: bool) -> Value {
        let mut answer = json!({
            "arn": arn,
            "requestedTaskCount": self.requested,
            "runningTaskCount": self.counts.running,
            "pendingTaskCount": self.counts.pending,
        });
        if routes_traffic {
            answer["requestedTestTrafficWeight"] = json!(self.traffic.test.percent());
            answer["requestedProductionTrafficWeight"] = json!(self.traffic.production.percent());
        }
        answer
    }
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

    fn brief(&self, service: &Service) -> Value {
        let mut answer = Object::new();
        let mut set = |name: &str, value: &str| answer.insert(name.to_owned(), json!(value));
        set("serviceDeploymentArn", &self.arn);
        set("serviceArn", &service.arn);
        set("clusterArn", &service.cluster_arn);
        set("targetServiceRevisionArn", &self.target);
        set("status", self.status.as_str());
        answer.insert("createdAt".to_owned(), json!(self.created_at));
        put(&mut answer, "startedAt", self.started_at);
        put(&mut answer, "finishedAt", self.finished_at);
        put(&mut answer, "statusReason", self.status_reason.clone());
        Value::Object(answer)
    }

    fn describe(&self, service: &Service, state: &State) -> Value {
        let Value::Object(mut answer) = self.brief(service) else {
            return Value::Null;
        };
        answer.remove("targetServiceRevisionArn");
        let summary = |revision: &String| {
            let known = match self.final_states.get(revision) {
                Some(known) => *known,
                None if self.status.is_final() => RevisionState::NOTHING,
                None => service.revision_state(revision, state),
            };
            known.describe(revision, self.routes_traffic)
        };
        let sources: Vec<Value> = self.sources.iter().map(summary).collect();
        let breaker = match (self.breaker.enable, self.breaker_triggered) {
            (false, _) => "DISABLED",
            (true, true) => "TRIGGERED",
            (true, false) if self.status.is_final() => "MONITORING_COMPLETE",
            (true, false) => "MONITORING",
        };
        let mut set = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        set("sourceServiceRevisions", json!(sources));
        set("targetServiceRevision", summary(&self.target));
        set("updatedAt", json!(self.updated_at));
        set("deploymentConfiguration", self.configuration.clone());
        set(
            "deploymentCircuitBreaker",
            json!({
                "status": breaker,
                "failureCount": self.failures,
                "threshold": self.breaker.threshold(service.desired_count),
            }),
        );
        let alarms = self.alarms.as_ref();
        let alarms = alarms.map(|alarms| alarms.describe(self.status.is_final()));
        set("alarms", alarms.unwrap_or(json!({"status": "DISABLED"})));
        let hooks = self.hooks.iter().map(HookDetail::describe);
        set("lifecycleHookDetails", hooks.collect());
        put(&mut answer, "lifecycleStage", self.stage.map(Stage::as_str));
        put(&mut answer, "stoppedAt", self.stopped_at);
        let rollback = self.rollback.as_ref().map(|rollback| {
            json!({
                "reason": rollback.reason,
                "startedAt": rollback.started_at,
                "serviceRevisionArn": rollback.revision_arn,
            })
        });
        put(&mut answer, "rollback", rollback);
        Value::Object(answer)
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

    fn describe(&self, service: &Service) -> Value {
        let images: Vec<Value> = self
            .definition
            .details
            .container_definitions
            .iter()
            .map(|container| {
                let mut image = json!({
                    "containerName": container.name,
                    "image": container.image,
                });
                let pinned = container.image.split_once('@').map(|(_, digest)| digest);
                let pulled = self.digests.get(&container.name).map(String::as_str);
                if let Some(digest) = pinned.or(pulled) {
                    image["imageDigest"] = json!(digest);
                }
                image
            })
            .collect();
        let mut answer = self.fields.clone();
        let mut set = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        set("serviceRevisionArn", json!(self.arn));
        set("serviceArn", json!(service.arn));
        set("clusterArn", json!(service.cluster_arn));
        set("taskDefinition", json!(self.definition.arn));
        set("containerImages", json!(images));
        set("guardDutyEnabled", json!(false));
        set("resolvedConfiguration", self.resolved_configuration.clone());
        set("createdAt", json!(self.created_at));
        let placement: Placement =
            serde_json::from_value(Value::Object(self.fields.clone())).unwrap_or_default();
        let platform = placement.described_platform_version();
        put(&mut answer, "platformVersion", platform);
        put(&mut answer, "platformFamily", platform.map(|_| "Linux"));
        Value::Object(answer)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    service: String,
    cluster: Option<String>,
    #[serde(default)]
    status: Vec<String>,
    created_at: Option<CreatedAt>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Default, Deserialize)]
struct CreatedAt {
    before: Option<f64>,
    after: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeDeployments {
    service_deployment_arns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeRevisions {
    service_revision_arns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stop {
    service_deployment_arn: String,
    stop_type: Option<String>,
}

/// DescribeServiceDeployments and DescribeServiceRevisions take at most so many ARNs.
const MAX_DESCRIBED: usize = 20;

fn check_arns(arns: &[String], kind: &str) -> Result<(), ApiError> {
    if arns.is_empty() || arns.len() > MAX_DESCRIBED {
        return Err(ApiError::invalid_parameter(format!(
            "Between 1 and {MAX_DESCRIBED} ARNs are required."
        )));
    }
    let prefix = format!(":{kind}/");
    match arns.iter().find(|arn| !arn.contains(&prefix)) {
        Some(arn) => Err(ApiError::invalid_parameter(format!(
            "{arn:?} is no ARN of a {kind}."
        ))),
        None => Ok(()),
    }
}

impl Ecs {
    pub(in crate::ecs) fn list_service_deployments(
        &self,
        request: Value,
    ) -> Result<Value, ApiError> {
        let parsed: List = parse(&request)?;
        let state = self.lock();
        let cluster = match parsed.cluster.as_deref() {
            // The service's ARN says the cluster as well.
            None => names::cluster_of_service(&parsed.service).unwrap_or("default"),
            Some(cluster) => cluster,
        };
        let cluster = state.cluster(Some(cluster))?.name.clone();
        let service = state.service(&cluster, &parsed.service)?;
        let created = parsed.created_at.unwrap_or_default();
        let found: Vec<Value> = service
            .history
            .iter()
            .rev()
            .filter(|one| {
                let status = one.status.as_str();
                (parsed.status.is_empty() || parsed.status.iter().any(|wanted| wanted == status))
                    && created.before.is_none_or(|before| one.created_at <= before)
                    && created.after.is_none_or(|after| one.created_at >= after)
            })
            .map(|one| one.brief(service))
            .collect();
        let (found, next) = page(found, parsed.max_results, parsed.next_token.as_deref(), 100)?;
        let mut answer = Object::new();
        answer.insert("serviceDeployments".to_owned(), json!(found));
        put(&mut answer, "nextToken", next);
        Ok(Value::Object(answer))
    }

    pub(in crate::ecs) fn describe_service_deployments(
        &self,
        request: Value,
    ) -> Result<Value, ApiError> {
        let parsed: DescribeDeployments = parse(&request)?;
        check_arns(&parsed.service_deployment_arns, "service-deployment")?;
        let state = self.lock();
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for arn in &parsed.service_deployment_arns {
            let known = state.services.values().find_map(|service| {
                let deployment = service.history.iter().find(|one| one.arn == *arn)?;
                Some(deployment.describe(service, &state))
            });
            match known {
                Some(description) => found.push(description),
                None => failures.push(json!({"arn": arn, "reason": "MISSING"})),
            }
        }
        Ok(json!({"serviceDeployments": found, "failures": failures}))
    }

    pub(in crate::ecs) fn describe_service_revisions(
        &self,
        request: Value,
    ) -> Result<Value, ApiError> {
        let parsed: DescribeRevisions = parse(&request)?;
        check_arns(&parsed.service_revision_arns, "service-revision")?;
        let state = self.lock();
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for arn in &parsed.service_revision_arns {
            let known = state.services.values().find_map(|service| {
                let revision = service.revisions.iter().find(|one| one.arn == *arn)?;
                Some(revision.describe(service))
            });
            match known {
                Some(description) => found.push(description),
                None => failures.push(json!({"arn": arn, "reason": "MISSING"})),
            }
        }
        Ok(json!({"serviceRevisions": found, "failures": failures}))
    }

    /// Stops a service deployment: `ROLLBACK` (the default) returns to the last completed one,
    /// `ABORT` leaves tasks and traffic as they are at that moment.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html>
    /// tells of ROLLBACK only; the API's reference has ABORT among the valid values without a
    /// word of what it does
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopServiceDeployment.html>).
    /// Here the deployment goes over STOP_REQUESTED to STOPPED, whatever its strategy; the
    /// revision that it was about starts no more tasks, nothing is taken back, and the next
    /// deployment reconciles.
    pub(in crate::ecs) fn stop_service_deployment(
        &self,
        request: Value,
    ) -> Result<Value, ApiError> {
        let parsed: Stop = parse(&request)?;
        let arn = parsed.service_deployment_arn;
        let mut state = self.lock();
        let service = state
            .services
            .values_mut()
            .find(|service| service.history.iter().any(|one| one.arn == arn))
            .ok_or_else(ApiError::service_deployment_not_found)?;
        let can_roll_back = service.rollback_target().is_some();
        let Some(deployment) = service.history.iter_mut().find(|one| one.arn == arn) else {
            return Err(ApiError::server("The service deployment vanished."));
        };
        let requested = match parsed.stop_type.as_deref() {
            None | Some("ROLLBACK") => Status::RollbackRequested,
            Some("ABORT") => Status::StopRequested,
            Some(other) => {
                return Err(ApiError::invalid_parameter(format!(
                    "Invalid stopType {other:?}: use ABORT or ROLLBACK."
                )));
            }
        };
        match deployment.status {
            status if status.is_final() => {
                return Err(ApiError::client(
                    "ConflictException",
                    format!(
                        "The service deployment is {} and cannot be stopped.",
                        status.as_str()
                    ),
                ));
            }
            Status::Pending | Status::InProgress => {
                // What ECS does without a revision to return to is not documented; the operation's
                // ConflictException is the error that fits best.
                // https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopServiceDeployment.html
                if requested == Status::RollbackRequested && !can_roll_back {
                    return Err(ApiError::client(
                        "ConflictException",
                        "There is no completed deployment to roll back to.",
                    ));
                }
                let reason = "A user requested to stop the service deployment.";
                deployment.set_status(requested, Some(reason.to_owned()));
                service.wake.notify_one();
            }
            // It is on its way to stop or to roll back, and stays so.
            _ => {}
        }
        Ok(json!({"serviceDeploymentArn": arn}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecs::in_process;

    #[tokio::test]
    async fn a_first_deployment_cannot_be_rolled_back_but_be_aborted() {
        let ecs = in_process::ecs(1.0).await;
        in_process::register(&ecs, "web").await;
        in_process::create_service(&ecs, &json!({})).await;
        let newest = in_process::newest_deployment(&ecs).await;
        let stop = |stop_type: &str| {
            let arn = &newest["serviceDeploymentArn"];
            let request = json!({"serviceDeploymentArn": arn, "stopType": stop_type});
            ecs.call("StopServiceDeployment", request)
        };
        let refused = stop("ROLLBACK").await.unwrap_err();
        assert_eq!(refused.name, "ConflictException");
        let unchanged = in_process::newest_deployment(&ecs).await;
        assert_eq!(unchanged["status"], newest["status"]);
        stop("ABORT").await.unwrap();
    }
}
