//! The operations on service deployments and service revisions.

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::page;
use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::deployments::{RevisionState, ServiceDeployment, ServiceRevision, Status};
use crate::ecs::model::error::ApiError;
use crate::ecs::model::hooks::HookDetail;
use crate::ecs::model::names;
use crate::ecs::model::placement::Placement;
use crate::ecs::model::service::Service;
use crate::ecs::model::stages::Stage;
use crate::ecs::model::state::State;
use crate::ecs::model::values::{Object, parse, put};
use crate::ecs::rules::circuit_breaker;

impl RevisionState {
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
                None => service.revision_state(revision, &state.tasks),
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
                "threshold": circuit_breaker::threshold(&self.breaker, service.desired_count),
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

impl ServiceRevision {
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
    pub(super) fn list_service_deployments(&self, request: Value) -> Result<Value, ApiError> {
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

    pub(super) fn describe_service_deployments(&self, request: Value) -> Result<Value, ApiError> {
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

    pub(super) fn describe_service_revisions(&self, request: Value) -> Result<Value, ApiError> {
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
    pub(super) fn stop_service_deployment(&self, request: Value) -> Result<Value, ApiError> {
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
