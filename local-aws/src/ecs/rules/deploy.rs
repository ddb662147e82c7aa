//! What a deployment of a service begins with.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::hooks;
use super::route::{self, Departure};
use super::strategy::{self, Strategy};
use super::traffic::{self, load_balancers};
use crate::ecs::model::alarms::AlarmMonitor;
use crate::ecs::model::deployments::{
    CircuitBreaker, Deployment, Rollout, RolloutChange, Scale, ServiceDeployment, ServiceRevision,
    Status, Throttle,
};
use crate::ecs::model::hooks::abandon;
use crate::ecs::model::names::{Names, unique_number};
use crate::ecs::model::service::{REVISION_FIELDS, Service};
use crate::ecs::model::task_definitions::TaskDefinition;
use crate::ecs::model::traffic::{Router, Share, Traffic};
use crate::ecs::model::values::{Object, now};
use crate::ecs::model::walk::Walk;

/// Service deployments are kept for 90 days; a machine that runs for so long would still have to
/// forget some.
const MAX_HISTORY: usize = 500;

/// Starts a deployment of what the service is now, which ends one that is going on.
pub(in crate::ecs) fn deploy(
    service: &mut Service,
    names: &Names,
    definition: Arc<TaskDefinition>,
) {
    if let Some(superseded) = service.ongoing() {
        abandon(&mut superseded.hooks);
        superseded.set_status(
            Status::Stopped,
            Some("The service deployment was superseded by a newer one.".to_owned()),
        );
    }
    let fields: Object = REVISION_FIELDS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), service.fields.get(*name)?.clone())))
        .collect();
    let placement = serde_json::from_value(Value::Object(fields.clone())).unwrap_or_default();
    let configuration = service.fields["deploymentConfiguration"].clone();
    let strategy = Strategy::of(&configuration);
    let balancers = load_balancers(&service.fields).unwrap_or_default();
    let serving = serving_deployment(service);
    let blue_targets = serving
        .map(|position| service.deployments[position].targets.clone())
        .unwrap_or_default();
    let targets = traffic::bindings(&balancers, &blue_targets, strategy);
    let revision = ServiceRevision {
        arn: names.service_revision(&service.cluster_name, &service.name),
        definition: Arc::clone(&definition),
        fields,
        resolved_configuration: traffic::resolved_configuration(&balancers, &targets),
        digests: HashMap::new(),
        created_at: now(),
    };
    let id = format!("ecs-svc/{}", unique_number());
    let rollout_reason = format!("ECS deployment {id} in progress.");
    let sources = service
        .deployments
        .iter()
        .map(|deployment| deployment.revision_arn.clone())
        .collect();
    let walk = traffic::routers(&balancers, &blue_targets, &targets);
    let walk = prepare_walk(service, &id, &configuration, walk);
    service.deployments.insert(
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
    if service.history.len() == MAX_HISTORY {
        service.history.pop_front();
    }
    service.history.push_back(ServiceDeployment {
        arn: names.service_deployment(&service.cluster_name, &service.name),
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
    forget_old_revisions(service);
    service.revisions.push_back(revision);
    service.steady = false;
}

/// What is desired beyond what was, together with another version, is desired of that version
/// only: the one that serves does not grow.
pub(in crate::ecs) fn keep_serving_as_before(service: &mut Service, desired_before: usize) {
    let more = service.desired_count.saturating_sub(desired_before);
    if let Some(position) = service.completed_deployment() {
        service.deployments[position].replaced += more;
    }
}

/// The deployment that serves while the next one is made: one that has got all production
/// traffic, else the last completed one.
///
/// AWS does not document which revision remains where a deployment is superseded midway.
/// One that has part of the traffic only is not proven, and gives it back; to take back
/// everything from one that already has it would be a rollback nobody has asked for.
fn serving_deployment(service: &Service) -> Option<usize> {
    let mut deployments = service.deployments.iter();
    deployments
        .position(|deployment| deployment.traffic.production == Share::ALL)
        .or_else(|| service.completed_deployment())
        .or((!service.deployments.is_empty()).then_some(0))
}

/// Readies the deployments there are for one that goes through life-cycle stages; a rolling
/// deployment does so only where it has hooks or others have to give way to it.
fn prepare_walk(
    service: &mut Service,
    green: &str,
    configuration: &Value,
    routers: Vec<Router>,
) -> Option<Walk> {
    let strategy = Strategy::of(configuration);
    let hooks = hooks::parse_all(configuration).unwrap_or_default();
    let has_stages = strategy.is_side_by_side() || !hooks.is_empty();
    let several = service.deployments.len() > 1;
    let route = route::forward(Departure {
        strategy,
        bake: strategy::bake_time(configuration),
        has_blue: !service.deployments.is_empty(),
        reconciles: several && (has_stages || service.is_side_by_side()),
        has_hooks: !hooks.is_empty(),
    });
    if route.is_empty() {
        service.deployments.iter_mut().for_each(Deployment::roll);
        return None;
    }
    let blue = serving_deployment(service);
    for (position, deployment) in service.deployments.iter_mut().enumerate() {
        if Some(position) != blue {
            if deployment.scale != Scale::CleanUp {
                deployment.scale = Scale::Kept;
            }
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
    let blue = blue.map(|position| service.deployments[position].id.clone());
    Some(Walk::new(blue, green.to_owned(), routers, hooks, route))
}

fn forget_old_revisions(service: &mut Service) {
    while service.revisions.len() >= MAX_HISTORY {
        let in_use = |arn: &str| service.deployments.iter().any(|d| d.revision_arn == arn);
        let oldest = service.revisions.iter().position(|r| !in_use(&r.arn));
        let Some(position) = oldest else { return };
        service.revisions.remove(position);
    }
}

fn circuit_breaker(configuration: &Value) -> CircuitBreaker {
    CircuitBreaker::deserialize(&configuration["deploymentCircuitBreaker"]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::ecs::model::service::MAX_EVENTS;
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
