use crate::circuit_breaker::too_many_failures;
use crate::conclusion;
use crate::deployments::{self, has_moved, is_moving, may_be_untold};
use crate::failure::Failure;
use crate::verdict::{self, Found, Observation, ServiceHealth, has_failed_by};
use crate::{pause, rollback, smoke, targets};
use aws_sdk_ecs::types::Service;
use bluegreen_callback::{Call, Event, Waits, drive};
use bluegreen_contract::{
    Health, InvalidInput, UpdatedService, UpdatedServices, Verdict, VerifyHealthInput,
    check_health_check_url,
};
use bluegreen_ecs::Seen;
use bluegreen_release::Table;
use bluegreen_runtime::{AwsRequestFailed, Web};
use serde_json::Value;

/// What is asked about the services and about the application that they are.
pub(crate) struct Clients {
    pub(crate) table: Table,
    pub(crate) waits: Waits,
    pub(crate) ecs: aws_sdk_ecs::Client,
    pub(crate) elb: aws_sdk_elasticloadbalancingv2::Client,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(crate) web: Web,
}

/// Answers the state machine's question once the verdict is final, at once or when an event tells
/// that a service has changed. `clock` tells milliseconds since 1970.
pub(crate) async fn handle(
    clients: &Clients,
    payload: Value,
    clock: impl Fn() -> i64,
) -> Result<(), Failure> {
    let call = Call::parse(payload)?;
    let (told, of_hook) = match &call {
        Call::Told(event) => (true, event.detail_type == HOOK),
        Call::Asked { .. } => (false, false),
    };
    drive(
        &clients.waits,
        call,
        awaited,
        |asked: &VerifyHealthInput| &asked.execution.id,
        service_of,
        async |asked: &VerifyHealthInput| {
            let now = clock();
            match !told && is_too_young_to_end(&asked.update, now) {
                true => check(asked).map(|()| None).map_err(Failure::from),
                false => look(clients, asked, of_hook, now).await,
            }
        },
    )
    .await
}

/// No deployment that replaces tasks ends so soon after its update: who asks by then has stored the
/// token before an event can come, and would see nothing that is final.
fn is_too_young_to_end(update: &UpdatedServices, now: i64) -> bool {
    const YOUNG: i64 = 500;
    let mut services = update.services.iter();
    now < update.at + YOUNG && services.all(|service| service.replaces_tasks)
}

fn awaited(asked: &VerifyHealthInput) -> Vec<String> {
    let services = asked.update.services.iter();
    services.map(|service| service.service.clone()).collect()
}

const DEPLOYMENT: &str = "ECS Deployment State Change";
const HOOK: &str = "ECS Hook State Change";

/// ARN of the service of which an event tells: a deployment's event names it as its resource, a
/// hook's in its detail
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html>,
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_hook_state_change_events.html>).
fn service_of(event: &Event) -> Option<String> {
    match event.detail_type.as_str() {
        DEPLOYMENT => event.resources.as_ref()?.first().cloned(),
        HOOK => event.detail["serviceArn"].as_str().map(str::to_owned),
        _ => None,
    }
}

/// Looks at the deployment of every service; `None`: there is no final verdict yet. A hook may
/// await somebody, of which no service tells. `now` is in milliseconds since 1970.
pub(crate) async fn look(
    clients: &Clients,
    input: &VerifyHealthInput,
    of_hook: bool,
    now: i64,
) -> Result<Option<Health>, Failure> {
    check(input)?;
    let update = &input.update;
    let asked = update
        .services
        .iter()
        .map(|service| (service.cluster.as_str(), service.service.as_str()));
    let services = bluegreen_ecs::describe_services(&clients.ecs, asked).await?;
    // Soon after the update that is what every look sees. Later all is asked: the service alone
    // does not tell of a deployment that somebody has stopped.
    let all_move = || {
        update.services.iter().all(|wanted| {
            let service = services.get(&wanted.service);
            service.is_some_and(|service| is_moving(service, wanted))
        })
    };
    if !of_hook && may_be_untold(update, now) && now <= update.deadline && all_move() {
        return Ok(None);
    }
    let seen = Seen::of(&clients.ecs, services).await?;
    let deadline = pause::deadline(&clients.table, input, &seen, now).await?;
    if input.rollback {
        let services = rollback::verify(&clients.ecs, update, &seen, deadline, now).await?;
        let found = verdict::of_rollback(services);
        return Ok(conclusion::of_rollback(update, found, deadline, now));
    }
    let found = of_release(clients, input, &seen, now).await?;
    Ok(found.and_then(|found| conclusion::of_release(update, found, deadline, now)))
}

fn check(input: &VerifyHealthInput) -> Result<(), InvalidInput> {
    if input.update.services.is_empty() {
        return Err(InvalidInput("`update.services`: there is none".to_owned()));
    }
    match &input.health_check_url {
        Some(url) => check_health_check_url(url)
            .map_err(|problem| InvalidInput(format!("`healthCheckUrl`: {problem}"))),
        None => Ok(()),
    }
}

/// `None`: ECS has finished, and targets may yet become healthy.
async fn of_release(
    clients: &Clients,
    input: &VerifyHealthInput,
    seen: &Seen,
    now: i64,
) -> Result<Option<Found>, Failure> {
    let found = of_deployments(clients, input, seen, now).await?;
    if found.verdict != Verdict::Succeeded {
        return Ok(Some(found));
    }
    let (verdict, cause) = match of_application(clients, input, &found.services, seen, now).await? {
        Application::Well => (Verdict::Succeeded, found.cause),
        Application::WellBut(slow) => (Verdict::Succeeded, format!("{} {slow}", found.cause)),
        Application::Unwell(problem) => (Verdict::Unhealthy, problem),
        Application::Undecided(slow) => {
            tracing::info!(
                slow,
                "the deployment is complete, and targets are waited for"
            );
            return Ok(None);
        }
    };
    Ok(Some(Found {
        verdict,
        cause,
        ..found
    }))
}

/// The verdict of ECS. A service that runs the revision already neither fails the release nor
/// completes it while another is undecided: it is asked about last, if at all.
async fn of_deployments(
    clients: &Clients,
    input: &VerifyHealthInput,
    seen: &Seen,
    now: i64,
) -> Result<Found, Failure> {
    let (moved, others): (Vec<_>, Vec<_>) = input.update.services.iter().partition(|wanted| {
        let service = seen.service(&wanted.service);
        seen.deployment(&wanted.service).is_none()
            && service.is_some_and(|service| has_moved(service, wanted))
    });
    let mut services = Vec::with_capacity(input.update.services.len());
    for group in [others, moved] {
        services.extend(judge(clients, input, &group, seen, now).await?);
        let is_settled = services
            .iter()
            .map(|service| service.verdict)
            .any(|verdict| verdict == Verdict::InProgress || has_failed_by(verdict));
        if is_settled {
            break;
        }
    }
    Ok(verdict::of_release(services))
}

async fn judge(
    clients: &Clients,
    input: &VerifyHealthInput,
    services: &[&UpdatedService],
    seen: &Seen,
    now: i64,
) -> Result<Vec<ServiceHealth>, Failure> {
    let found = deployments::find(&clients.ecs, services, seen, input.update.at).await?;
    let mut judged = Vec::with_capacity(found.len());
    for (service, found) in services.iter().zip(found) {
        judged.push(match found {
            Some(found) => verdict::of_service(
                service,
                &Observation {
                    deployment: &found.deployment,
                    task_definition: &service.task_definition,
                    newer: found.newer.as_deref(),
                    tasks: seen.service(&service.service).and_then(deployments::tasks),
                    failures: seen
                        .service(&service.service)
                        .and_then(|it| too_many_failures(it, service, &found.deployment)),
                },
            ),
            None if may_be_untold(&input.update, now) => verdict::not_told_yet(service),
            None => return Err(Failure::not_found(service)),
        });
    }
    Ok(judged)
}

/// What ECS does not look at: the traffic, the alarms now that ECS is done, and whether the
/// application answers.
enum Application {
    Well,
    /// Some targets are not healthy, and are not waited for any longer.
    WellBut(String),
    /// Targets may yet become healthy.
    Undecided(String),
    Unwell(String),
}

/// Targets that become healthy too late do not make a version a bad one, which ECS itself has found
/// healthy: what they keep from answering, the alarms and the health check tell.
async fn of_application(
    clients: &Clients,
    input: &VerifyHealthInput,
    judged: &[ServiceHealth],
    seen: &Seen,
    now: i64,
) -> Result<Application, AwsRequestFailed> {
    // Where a newer deployment has begun, what the application shows is not this release's.
    let is_over = judged.iter().any(|service| service.is_over);
    let services: Vec<&Service> = input
        .update
        .services
        .iter()
        .filter_map(|service| seen.service(&service.service))
        .collect();
    let lacking = match is_over {
        true => vec![],
        false => targets::lacking(&clients.elb, &services).await?,
    };
    let slow = lacking.join(" ");
    if !lacking.is_empty() && now <= targets_have_until(input, judged) {
        return Ok(Application::Undecided(slow));
    }
    let alarms = bluegreen_alarms::in_alarm(&clients.cloudwatch, &input.alarms).await?;
    if !alarms.is_empty() {
        return Ok(Application::Unwell(format!(
            "The deployment is complete, but these alarms of stack {} are in ALARM: {}.",
            input.stack,
            alarms.join(", ")
        )));
    }
    if let Some(url) = &input.health_check_url
        && !is_over
        && !answers_nobody(&services)
        && let Some(problem) = smoke::failing(&clients.web, url).await
    {
        return Ok(Application::Unwell(problem));
    }
    Ok(match lacking.is_empty() {
        true => Application::Well,
        false => Application::WellBut(format!(
            "{} minutes later {slow} They are not waited for any longer.",
            input.target_health_minutes
        )),
    })
}

/// Milliseconds since 1970. Where ECS does not tell when it had finished, it had by the deadline.
fn targets_have_until(input: &VerifyHealthInput, judged: &[ServiceHealth]) -> i64 {
    let finished = judged
        .iter()
        .filter_map(|service| service.finished_at)
        .max();
    let finished = finished.unwrap_or(input.update.deadline);
    finished + i64::from(input.target_health_minutes) * 60_000
}

/// Whether all services that may answer are scaled to zero: those behind load balancers, or any where
/// there are none.
fn answers_nobody(services: &[&Service]) -> bool {
    let is_behind_one = |service: &&&Service| !service.load_balancers().is_empty();
    let behind: Vec<&Service> = services.iter().filter(is_behind_one).copied().collect();
    let asked = match behind.is_empty() {
        true => services,
        false => &behind,
    };
    asked.iter().all(|service| service.desired_count() == 0)
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
