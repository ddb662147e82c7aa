use crate::deployments::{self, Found};
use crate::failure::Failure;
use crate::verdict::{self, Observation};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::ServiceDeployment;
use bluegreen_contract::{
    Health, InvalidInput, ServiceHealth, UpdatedService, VerifyHealthInput, parse,
};
use serde_json::Value;
use std::collections::HashMap;

/// Looks once at the deployment of every service; the state machine asks again while the verdict
/// is `inProgress`.
pub(crate) async fn handle(client: &Client, event: Value) -> Result<Health, Failure> {
    let input: VerifyHealthInput = parse(event)?;
    if input.services.is_empty() {
        return Err(InvalidInput("`services`: there is none".to_owned()).into());
    }
    let mut found = Vec::with_capacity(input.services.len());
    for service in &input.services {
        let deployment = deployments::find(client, service).await?;
        found.push(deployment.ok_or_else(|| not_found(service))?);
    }
    let details = deployments::describe(client, &found).await?;
    let mut tasks =
        deployments::tasks(client, &complete(&input.services, &found, &details)).await?;
    let mut services = Vec::with_capacity(found.len());
    for (service, found) in input.services.iter().zip(&found) {
        let detail = details
            .get(&found.deployment)
            .ok_or_else(|| not_found(service))?;
        let observation = Observation {
            newer: found.newer.as_deref(),
            tasks: tasks.remove(&service.service),
            task_definition: &service.task_definition,
            deployment: detail,
        };
        let (verdict, reason) = verdict::of_deployment(&observation);
        services.push(ServiceHealth {
            service: service.service.clone(),
            verdict,
            status: verdict::status(detail).to_owned(),
            reason,
        });
    }
    Ok(verdict::of_release(services))
}

/// Only a deployment that ECS calls successful raises the question what is running.
fn complete<'a>(
    services: &'a [UpdatedService],
    found: &[Found],
    details: &HashMap<String, ServiceDeployment>,
) -> Vec<&'a UpdatedService> {
    services
        .iter()
        .zip(found)
        .filter(|(_, found)| {
            details
                .get(&found.deployment)
                .is_some_and(|detail| verdict::status(detail) == "SUCCESSFUL")
        })
        .map(|(service, _)| service)
        .collect()
}

fn not_found(service: &UpdatedService) -> Failure {
    Failure::DeploymentNotFound {
        service: service.service.clone(),
        task_definition: service.task_definition.clone(),
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
