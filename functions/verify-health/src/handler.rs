use crate::deployments::{self, Seen};
use crate::failure::Failure;
use crate::verdict::{self, Observation};
use crate::{rollback, smoke, targets};
use aws_sdk_ecs::types::Service;
use bluegreen_contract::{
    Health, InvalidInput, Verdict, VerifyHealthInput, check_health_check_url, parse,
};
use bluegreen_runtime::{AwsRequestFailed, Web};
use serde_json::Value;

/// What is asked about the services and about the application that they are.
pub(crate) struct Clients {
    pub(crate) ecs: aws_sdk_ecs::Client,
    pub(crate) elb: aws_sdk_elasticloadbalancingv2::Client,
    pub(crate) web: Web,
}

/// Looks once at the deployment of every service; the state machine asks again while the verdict
/// is `inProgress`.
pub(crate) async fn handle(clients: &Clients, event: Value) -> Result<Health, Failure> {
    let input: VerifyHealthInput = parse(event)?;
    check(&input)?;
    let seen = Seen::look(&clients.ecs, &input.services).await?;
    match input.rollback {
        true => of_rollback(clients, &input, &seen).await,
        false => of_release(clients, &input, &seen).await,
    }
}

fn check(input: &VerifyHealthInput) -> Result<(), InvalidInput> {
    if input.services.is_empty() {
        return Err(InvalidInput("`services`: there is none".to_owned()));
    }
    match &input.health_check_url {
        Some(url) => check_health_check_url(url)
            .map_err(|problem| InvalidInput(format!("`healthCheckUrl`: {problem}"))),
        None => Ok(()),
    }
}

async fn of_rollback(
    clients: &Clients,
    input: &VerifyHealthInput,
    seen: &Seen,
) -> Result<Health, Failure> {
    let mut services = Vec::with_capacity(input.services.len());
    for service in &input.services {
        services.push(rollback::verify(&clients.ecs, service, seen).await?);
    }
    Ok(verdict::of_rollback(services))
}

async fn of_release(
    clients: &Clients,
    input: &VerifyHealthInput,
    seen: &Seen,
) -> Result<Health, Failure> {
    let found = deployments::find(&clients.ecs, &input.services, seen).await?;
    let mut services = Vec::with_capacity(found.len());
    let mut is_over = false;
    for (service, found) in input.services.iter().zip(found) {
        let found = found.ok_or_else(|| Failure::not_found(service))?;
        is_over |= found.newer.is_some();
        let judged = verdict::of_deployment(&Observation {
            newer: found.newer.as_deref(),
            tasks: seen.tasks(service),
            task_definition: &service.task_definition,
            deployment: &found.deployment,
        });
        services.push(verdict::told(service, &found.deployment, judged));
    }
    let health = verdict::of_release(services);
    // Where a newer deployment has begun, what the application shows is not this release's.
    if health.verdict != Verdict::Succeeded || is_over {
        return Ok(health);
    }
    Ok(match of_application(clients, input, seen).await? {
        None => health,
        Some((verdict, cause)) => Health {
            verdict,
            cause,
            ..health
        },
    })
}

/// What ECS does not look at: the traffic, and whether the application answers. `None` where all is
/// well.
async fn of_application(
    clients: &Clients,
    input: &VerifyHealthInput,
    seen: &Seen,
) -> Result<Option<(Verdict, String)>, AwsRequestFailed> {
    let services: Vec<&Service> = input
        .services
        .iter()
        .filter_map(|service| seen.services.get(&service.service))
        .collect();
    let lacking = targets::lacking(&clients.elb, &services).await?;
    if !lacking.is_empty() {
        let cause = format!("The deployment is complete, but {}", lacking.join(" "));
        return Ok(Some((Verdict::InProgress, cause)));
    }
    let Some(url) = &input.health_check_url else {
        return Ok(None);
    };
    // A stack that is scaled to zero answers nobody.
    if services.iter().all(|service| service.desired_count() == 0) {
        return Ok(None);
    }
    let problem = smoke::failing(&clients.web, url).await;
    Ok(problem.map(|problem| (Verdict::Unhealthy, problem)))
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
