use crate::failure::Failure;
use aws_sdk_ecs::Client;
use bluegreen_contract::{DeregisterRevisionsInput, DeregisteredRevisions, PlannedService, parse};
use bluegreen_release::{Beginning, Changing, Table};
use bluegreen_runtime::{AwsRequestFailed, LambdaCall};
use serde_json::Value;
use std::collections::BTreeSet;

pub(crate) struct Clients {
    pub(crate) table: Table,
    pub(crate) ecs: Client,
}

/// Proves that this release has the turn, and leaves of the services' families what is in service as the
/// latest revision.
pub(crate) async fn handle(
    clients: &Clients,
    payload: Value,
    call: &LambdaCall,
) -> Result<DeregisteredRevisions, Failure> {
    let input: DeregisterRevisionsInput = parse(payload)?;
    let beginning = Beginning {
        changing: Changing::Revisions,
        before: None,
        services: None,
        target: None,
        call,
    };
    clients
        .table
        .begin(&input.release, &input.execution, &beginning)
        .await?;
    let deregistered = deregister(&clients.ecs, &input).await;
    clients.table.finish(&input.release.stack, call).await;
    Ok(DeregisteredRevisions {
        task_definitions: deregistered?,
    })
}

async fn deregister(
    client: &Client,
    input: &DeregisterRevisionsInput,
) -> Result<Vec<String>, AwsRequestFailed> {
    let in_service = in_service(client, &input.services).await?;
    bluegreen_ecs::deregister_unserved(client, &input.release.stack, &in_service).await
}

/// ARNs of the revisions that the services have and that their deployments move between.
async fn in_service(
    client: &Client,
    services: &[PlannedService],
) -> Result<BTreeSet<String>, AwsRequestFailed> {
    let asked = services
        .iter()
        .map(|service| (service.cluster.as_str(), service.service.as_str()));
    let described = bluegreen_ecs::describe_services(client, asked).await?;
    let revisions = described.values().flat_map(|service| {
        let deployments = service.deployments().iter();
        let moving = deployments.filter_map(|deployment| deployment.task_definition());
        service.task_definition().into_iter().chain(moving)
    });
    Ok(revisions.map(str::to_owned).collect())
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
