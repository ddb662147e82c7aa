use crate::decision::{self, Observation, Step};
use crate::failure::Failure;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{Service, ServiceDeployment, StopServiceDeploymentStopType};
use bluegreen_contract::{
    InvalidInput, RollBackInput, UpdatedService, UpdatedServices, WantedRevision, parse,
};
use bluegreen_runtime::{AwsRequestFailed, failed};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// What ECS tells of a service may be older than its last update: its API is eventually consistent
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html>). A service
/// that seems to need nothing is looked at once more after this time, lest an update made a moment
/// ago be missed.
const STALE: Duration = Duration::from_secs(3);

/// Sends every service on its way back; the state machine then waits for it.
///
/// One service's failure keeps no other from going back: all are tried before the first failure is
/// told. A call that is made again leaves those that are on their way.
pub(crate) async fn handle(client: &Client, event: Value) -> Result<UpdatedServices, Failure> {
    let input: RollBackInput = parse(event)?;
    check(&input)?;
    tracing::info!(
        stack = input.stack,
        execution = input.execution_id,
        "the stack goes back"
    );
    let mut seen = Seen::look(client, &input.services).await?;
    if seen.has_nothing_to_do_for_some(&input.services) {
        tokio::time::sleep(STALE).await;
        seen = Seen::look(client, &input.services).await?;
    }
    let mut outcomes = Vec::with_capacity(input.services.len());
    for wanted in &input.services {
        let outcome = match seen.observation(wanted) {
            Some(observation) => back(client, wanted, &observation).await,
            None => Err(gone(wanted)),
        };
        outcomes.push(outcome);
    }
    match worst(&input.services, &outcomes) {
        Some((wanted, failure)) => Err(not_back(wanted, failure, &input.services, &outcomes)),
        None => Ok(done(&input.services, outcomes)),
    }
}

fn check(input: &RollBackInput) -> Result<(), InvalidInput> {
    if input.services.is_empty() {
        return Err(InvalidInput("`services`: there is none".to_owned()));
    }
    match input
        .services
        .iter()
        .position(|service| service.task_definition.is_empty())
    {
        Some(at) => Err(InvalidInput(format!(
            "`services[{at}].taskDefinition`: must not be empty"
        ))),
        None => Ok(()),
    }
}

/// The services as they were when the call began.
struct Seen {
    services: HashMap<String, Service>,
    deployments: HashMap<String, ServiceDeployment>,
    task_definitions: HashMap<String, String>,
}

impl Seen {
    async fn look(client: &Client, wanted: &[WantedRevision]) -> Result<Self, AwsRequestFailed> {
        let asked = wanted
            .iter()
            .map(|wanted| (wanted.cluster.as_str(), wanted.service.as_str()));
        let services = bluegreen_ecs::describe_services(client, asked).await?;
        let deployments = bluegreen_ecs::in_progress(client, services.values()).await?;
        let revisions = deployments.values().flat_map(decision::revisions);
        let task_definitions = bluegreen_ecs::task_definitions(client, revisions).await?;
        Ok(Seen {
            services,
            deployments,
            task_definitions,
        })
    }

    fn has_nothing_to_do_for_some(&self, services: &[WantedRevision]) -> bool {
        services.iter().any(|wanted| {
            self.observation(wanted).is_some_and(|observation| {
                decision::step(&observation, &wanted.task_definition) == Step::Leave
            })
        })
    }

    /// `None` for a service that ECS does not have any more.
    fn observation(&self, wanted: &WantedRevision) -> Option<Observation<'_>> {
        let service = self.services.get(&wanted.service)?;
        let is_active = service.status().is_none_or(|status| status == "ACTIVE");
        is_active.then_some(Observation {
            service,
            deployment: self.deployments.get(&wanted.service),
            task_definitions: &self.task_definitions,
        })
    }
}

/// Returns the revision that the service had.
async fn back(
    client: &Client,
    wanted: &WantedRevision,
    observation: &Observation<'_>,
) -> Result<String, AwsRequestFailed> {
    let step = decision::step(observation, &wanted.task_definition);
    tracing::info!(
        service = wanted.service,
        revision = wanted.task_definition,
        ?step,
        "the service goes back"
    );
    match step {
        Step::Leave => {}
        Step::Stop { deployment } => stop(client, wanted, deployment).await?,
        Step::Update => update(client, wanted, false).await?,
        Step::Again => update(client, wanted, true).await?,
    }
    Ok(decision::previous(observation))
}

/// A deployment that cannot be stopped any more has come to its end since it was seen: the service
/// is then updated as if it had been at rest.
async fn stop(
    client: &Client,
    wanted: &WantedRevision,
    deployment: String,
) -> Result<(), AwsRequestFailed> {
    let stopped = client
        .stop_service_deployment()
        .service_deployment_arn(&deployment)
        .stop_type(StopServiceDeploymentStopType::Rollback)
        .send()
        .await
        .map_err(failed("ecs:StopServiceDeployment", deployment));
    match stopped {
        Err(failure) if is_over(&failure) => update(client, wanted, false).await,
        stopped => stopped.map(drop),
    }
}

/// ECS has the deployment no more, or not in a state in which it can be rolled back
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopServiceDeployment.html>).
fn is_over(failure: &AwsRequestFailed) -> bool {
    matches!(
        failure.code.as_str(),
        "ConflictException" | "ServiceDeploymentNotFoundException"
    )
}

/// UpdateService with the revision that the service has begins nothing unless it is forced to.
async fn update(
    client: &Client,
    wanted: &WantedRevision,
    force: bool,
) -> Result<(), AwsRequestFailed> {
    client
        .update_service()
        .cluster(&wanted.cluster)
        .service(&wanted.service)
        .task_definition(&wanted.task_definition)
        .set_force_new_deployment(force.then_some(true))
        .send()
        .await
        .map(drop)
        .map_err(failed("ecs:UpdateService", &wanted.service))
}

fn gone(wanted: &WantedRevision) -> AwsRequestFailed {
    AwsRequestFailed {
        action: "ecs:DescribeServices",
        resource: wanted.service.clone(),
        code: "MISSING".to_owned(),
        message: "ECS has no such service, or it is being deleted".to_owned(),
        refused: true,
    }
}

type Outcome = Result<String, AwsRequestFailed>;

/// The failure to tell. One that may pass goes before a refusal: the call is then made again, and
/// the refusal comes again with it.
fn worst<'a>(
    services: &'a [WantedRevision],
    outcomes: &'a [Outcome],
) -> Option<(&'a WantedRevision, &'a AwsRequestFailed)> {
    let failures = || {
        services
            .iter()
            .zip(outcomes)
            .filter_map(|(wanted, outcome)| Some((wanted, outcome.as_ref().err()?)))
    };
    failures()
        .find(|(_, failure)| !failure.refused)
        .or_else(|| failures().next())
}

/// The services that went back, or those that did not.
fn names(services: &[WantedRevision], outcomes: &[Outcome], back: bool) -> String {
    let names: Vec<&str> = services
        .iter()
        .zip(outcomes)
        .filter(|(_, outcome)| outcome.is_ok() == back)
        .map(|(wanted, _)| wanted.service.as_str())
        .collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}

fn not_back(
    wanted: &WantedRevision,
    failure: &AwsRequestFailed,
    services: &[WantedRevision],
    outcomes: &[Outcome],
) -> Failure {
    let back = names(services, outcomes, true);
    if failure.refused {
        return Failure::RollbackRefused {
            service: wanted.service.clone(),
            reason: failure.to_string(),
            back,
            not_back: names(services, outcomes, false),
        };
    }
    let message = failure.message.trim_end_matches('.');
    AwsRequestFailed {
        message: format!("{message}; services that went back: {back}"),
        ..failure.clone()
    }
    .into()
}

fn done(services: &[WantedRevision], outcomes: Vec<Outcome>) -> UpdatedServices {
    let services = services
        .iter()
        .zip(outcomes.into_iter().flatten())
        .map(|(wanted, previous)| UpdatedService {
            cluster: wanted.cluster.clone(),
            service: wanted.service.clone(),
            task_definition: wanted.task_definition.clone(),
            previous_task_definition: previous,
        });
    UpdatedServices {
        services: services.collect(),
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
