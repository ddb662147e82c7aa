//! From what ECS says of a deployment to a verdict.

use crate::circuit_breaker::TooManyFailures;
use crate::pause;
use aws_sdk_ecs::types::{ServiceDeployment, ServiceDeploymentRollbackMonitorsStatus as Monitor};
use bluegreen_contract::{UpdatedService, Verdict};
use bluegreen_ecs::status;

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The worst of all services; `inProgress` as long as it may yet change.
    pub(crate) verdict: Verdict,
    /// What happened to the services that made the verdict, in sentences.
    pub(crate) cause: String,
    pub(crate) services: Vec<ServiceHealth>,
}

/// What became of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceHealth {
    /// ARN of the service.
    pub(crate) service: String,
    pub(crate) verdict: Verdict,
    /// A sentence.
    pub(crate) reason: String,
    /// Names of the alarms by which ECS ended the deployment.
    pub(crate) alarms: Vec<String>,
    /// A later deployment of the service has begun.
    pub(crate) is_over: bool,
    /// When ECS had finished its deployment, as far as it tells; milliseconds since 1970.
    pub(crate) finished_at: Option<i64>,
}

/// What is known of a service and of its deployment.
pub(crate) struct Observation<'a> {
    pub(crate) deployment: &'a ServiceDeployment,
    /// ARN of the revision of the release.
    pub(crate) task_definition: &'a str,
    /// ARN of a later deployment of the service.
    pub(crate) newer: Option<&'a str>,
    /// Looked at only where ECS calls the deployment successful.
    pub(crate) tasks: Option<Tasks>,
    /// Looked at only while the deployment is in progress and ECS has not found that it failed.
    pub(crate) failures: Option<TooManyFailures>,
}

/// The tasks of a service's primary deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tasks {
    /// ARN of their revision.
    pub(crate) task_definition: String,
    pub(crate) running: i32,
    pub(crate) desired: i32,
    /// So many are enough for ECS to call the deployment successful.
    pub(crate) are_enough: bool,
}

/// The verdict on one deployment and a sentence that gives the reason.
///
/// A status that this code does not know is `inProgress`: only SUCCESSFUL is success, and only what
/// is known to be the end of a deployment ends the wait.
pub(crate) fn of_deployment(observation: &Observation<'_>) -> (Verdict, String) {
    let deployment = observation.deployment;
    match status(deployment) {
        "SUCCESSFUL" => successful(observation),
        "STOPPED" => stopped(observation),
        "ROLLBACK_SUCCESSFUL" => (
            Verdict::RolledBack,
            format!(
                "ECS rolled it back to the revision before.{}",
                said(deployment)
            ),
        ),
        "ROLLBACK_FAILED" => (
            Verdict::Stalled,
            format!(
                "The deployment failed and the rollback of ECS failed too.{}",
                said(deployment)
            ),
        ),
        "PENDING" | "IN_PROGRESS" if has_failed(deployment) && !can_roll_back(deployment) => (
            Verdict::Stalled,
            format!(
                "{} ECS starts no more tasks and has no revision to roll back to.{}",
                failure(deployment),
                said(deployment)
            ),
        ),
        "PENDING" | "IN_PROGRESS" if !has_failed(deployment) => match observation.failures {
            Some(failures) => (Verdict::Stalled, uncounted(deployment, failures)),
            None => (Verdict::InProgress, progress(deployment)),
        },
        _ => (Verdict::InProgress, progress(deployment)),
    }
}

fn successful(observation: &Observation<'_>) -> (Verdict, String) {
    if let Some(newer) = observation.newer {
        let reason = format!("The deployment was completed; {newer} has begun since.");
        return (Verdict::Succeeded, reason);
    }
    match &observation.tasks {
        Some(tasks) if tasks.task_definition != observation.task_definition => (
            Verdict::InProgress,
            format!(
                "The deployment is complete, but the service is about to run {}.",
                tasks.task_definition
            ),
        ),
        Some(Tasks {
            running, desired, ..
        }) if running == desired => (
            Verdict::Succeeded,
            format!("The deployment is complete and all {running} tasks run the new revision."),
        ),
        Some(Tasks {
            running,
            desired,
            are_enough: true,
            ..
        }) => (
            Verdict::Succeeded,
            format!(
                "The deployment is complete: by its early success criteria the {running} of {desired} tasks that run the new revision are enough."
            ),
        ),
        Some(Tasks {
            running, desired, ..
        }) => (
            Verdict::InProgress,
            format!("The deployment is complete, but {running} of {desired} tasks are running."),
        ),
        None => (
            Verdict::InProgress,
            "The deployment is complete, but ECS does not say what the service runs.".to_owned(),
        ),
    }
}

/// ECS stops a deployment when a newer one takes over, when a person says so, and when the circuit
/// breaker or an alarm ends it without a rollback.
///
/// A deployment that had failed by itself has failed, whatever came after it.
fn stopped(observation: &Observation<'_>) -> (Verdict, String) {
    let deployment = observation.deployment;
    let said = said(deployment);
    if deployment.rollback().is_some() {
        let reason = format!("ECS had begun to roll it back when it was stopped.{said}");
        return (Verdict::RolledBack, reason);
    }
    if has_failed(deployment) {
        let reason = format!(
            "{} ECS stopped the deployment without a rollback.{said}",
            failure(deployment)
        );
        return (Verdict::Stalled, reason);
    }
    match observation.newer {
        Some(newer) => (
            Verdict::Superseded,
            format!("The newer deployment {newer} took over before it was complete.{said}"),
        ),
        None => (
            Verdict::Stopped,
            format!("It was stopped before it was complete.{said}"),
        ),
    }
}

fn has_failed(deployment: &ServiceDeployment) -> bool {
    breaker_triggered(deployment) || alarms_triggered(deployment)
}

fn breaker_triggered(deployment: &ServiceDeployment) -> bool {
    deployment
        .deployment_circuit_breaker()
        .is_some_and(|breaker| breaker.status() == Some(&Monitor::Triggered))
}

fn alarms_triggered(deployment: &ServiceDeployment) -> bool {
    triggered(deployment).is_some()
}

/// Names of the alarms by which ECS ended the deployment; `None` where no alarm did.
fn triggered(deployment: &ServiceDeployment) -> Option<&[String]> {
    let alarms = deployment.alarms()?;
    (alarms.status() == Some(&Monitor::Triggered)).then(|| alarms.triggered_alarm_names())
}

/// What became of a service, by its deployment.
pub(crate) fn of_service(service: &UpdatedService, observation: &Observation<'_>) -> ServiceHealth {
    let (verdict, reason) = of_deployment(observation);
    ServiceHealth {
        service: service.service.clone(),
        verdict,
        reason,
        alarms: triggered(observation.deployment)
            .unwrap_or_default()
            .to_vec(),
        is_over: observation.newer.is_some(),
        finished_at: observation
            .deployment
            .finished_at()
            .and_then(|at| at.to_millis().ok()),
    }
}

/// A service of whose deployment ECS does not tell yet.
pub(crate) fn not_told_yet(service: &UpdatedService) -> ServiceHealth {
    ServiceHealth {
        service: service.service.clone(),
        verdict: Verdict::InProgress,
        reason: format!(
            "ECS does not tell of a deployment of {} yet.",
            service.task_definition
        ),
        alarms: vec![],
        is_over: false,
        finished_at: None,
    }
}

/// What made the deployment fail, in a sentence.
fn failure(deployment: &ServiceDeployment) -> String {
    if let Some(alarms) = triggered(deployment) {
        return format!("The deployment failed by the alarm {}.", alarms.join(", "));
    }
    match deployment.deployment_circuit_breaker() {
        Some(breaker) => format!(
            "The deployment failed: {} tasks did not become healthy, the circuit breaker's threshold is {}.",
            breaker.failure_count(),
            breaker.threshold()
        ),
        None => "The deployment failed.".to_owned(),
    }
}

/// What made the deployment fail without ECS's having said so, in sentences.
fn uncounted(deployment: &ServiceDeployment, failures: TooManyFailures) -> String {
    let TooManyFailures { failed, threshold } = failures;
    format!(
        "The deployment failed: {failed} tasks in a row did not become healthy, and the circuit breaker's threshold is {threshold}. ECS has not ended the deployment: its circuit breaker may not act where traffic is shifted. {}",
        progress(deployment)
    )
}

/// Whether ECS may yet roll back a deployment that has failed.
///
/// It does where rollback is configured for what ended the deployment and there is a revision to go
/// back to; between the failure and the start of the rollback a moment may pass
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>).
fn can_roll_back(deployment: &ServiceDeployment) -> bool {
    let configured = deployment
        .deployment_configuration()
        .is_none_or(|configuration| {
            let breaker = configuration
                .deployment_circuit_breaker()
                .is_some_and(|breaker| breaker.rollback());
            let alarms = configuration
                .alarms()
                .is_some_and(|alarms| alarms.rollback());
            (breaker && breaker_triggered(deployment)) || (alarms && alarms_triggered(deployment))
        });
    deployment.rollback().is_some()
        || (configured && !deployment.source_service_revisions().is_empty())
}

fn progress(deployment: &ServiceDeployment) -> String {
    let stage = deployment
        .lifecycle_stage()
        .map(|stage| format!(" in stage {}", stage.as_str()))
        .unwrap_or_default();
    let tasks = deployment
        .target_service_revision()
        .map(|target| {
            format!(
                " with {} of {} tasks of the new revision running",
                target.running_task_count(),
                target.requested_task_count()
            )
        })
        .unwrap_or_default();
    let pauses = pause::pauses(deployment).map(|pause| format!(" {pause}"));
    format!(
        "The deployment is {}{stage}{tasks}.{}{}",
        status(deployment),
        pauses.collect::<String>(),
        said(deployment)
    )
}

/// What ECS says of it, each as a sentence after a space: where nobody ended its pause, and ECS's own
/// reasons.
fn said(deployment: &ServiceDeployment) -> String {
    let rollback = deployment.rollback().and_then(|rollback| rollback.reason());
    let mut reasons: Vec<&str> = [rollback, deployment.status_reason()]
        .into_iter()
        .flatten()
        .map(|reason| reason.trim().trim_end_matches('.'))
        .filter(|reason| !reason.is_empty())
        .collect();
    reasons.dedup();
    let reasons = reasons.iter().map(|reason| format!(" ECS says: {reason}."));
    pause::timed_out(deployment)
        .map(|hook| format!(" Nobody ended its pause at the hook {hook} in time."))
        .chain(reasons)
        .collect()
}

/// The verdict on the whole release. Where a service has failed all are rolled back, and nothing is
/// gained by waiting for the others.
pub(crate) fn of_release(services: Vec<ServiceHealth>) -> Found {
    match worst(&services).filter(|verdict| has_failed_by(*verdict)) {
        Some(failure) => of_all(failure, services),
        None => of_rollback(services),
    }
}

/// Whether the verdict on one service is the end of the whole release.
pub(crate) fn has_failed_by(verdict: Verdict) -> bool {
    verdict > Verdict::Superseded
}

/// The verdict on a whole rollback: `inProgress` while any service is undecided, then the worst.
pub(crate) fn of_rollback(services: Vec<ServiceHealth>) -> Found {
    let is_undecided = |service: &ServiceHealth| service.verdict == Verdict::InProgress;
    let verdict = match services.iter().any(is_undecided) {
        true => Verdict::InProgress,
        false => worst(&services).unwrap_or(Verdict::InProgress),
    };
    of_all(verdict, services)
}

fn worst(services: &[ServiceHealth]) -> Option<Verdict> {
    services.iter().map(|service| service.verdict).max()
}

/// The cause tells of the services that made the verdict.
fn of_all(verdict: Verdict, services: Vec<ServiceHealth>) -> Found {
    let cause = services
        .iter()
        .filter(|service| service.verdict >= verdict)
        .map(|service| format!("Service {}: {}", name(&service.service), service.reason))
        .collect::<Vec<_>>()
        .join(" ");
    Found {
        verdict,
        cause,
        services,
    }
}

/// `cluster/service` from the service's ARN.
pub(crate) fn name(service: &str) -> &str {
    service
        .split_once(":service/")
        .map_or(service, |(_, name)| name)
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
