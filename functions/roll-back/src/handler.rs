use crate::decision::{self, Moving, Observation, Step};
use crate::failure::Failure;
use aws_sdk_ecs::Client;
use bluegreen_contract::{
    InvalidInput, RollBackInput, UpdatedService, UpdatedServices, WantedRevision, parse,
};
use bluegreen_ecs::{Family, Marks, Seen, is_deregistered};
use bluegreen_release::{Beginning, Changing, Table};
use bluegreen_runtime::{AwsRequestFailed, LambdaCall, failed};
use serde_json::Value;
use std::time::Duration;

/// What ECS tells of a service may be older than its last update: its API is eventually consistent
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html>). A service
/// that seems to need nothing is looked at once more after this time, lest an update made a moment
/// ago be missed.
const STALE: Duration = Duration::from_secs(3);

pub(crate) struct Clients {
    pub(crate) table: Table,
    pub(crate) ecs: Client,
}

/// Begins the rollback of every service.
///
/// One service's failure keeps no other from being rolled back: all are tried before the first
/// failure is told. A call that is made again leaves those whose rollback has begun.
///
/// `clock` tells the time in milliseconds since 1970.
pub(crate) async fn handle(
    clients: &Clients,
    payload: Value,
    call: &LambdaCall,
    clock: impl Fn() -> i64,
) -> Result<UpdatedServices, Failure> {
    let input: RollBackInput = parse(payload)?;
    check(&input)?;
    begin(&clients.table, &input, call).await?;
    let begun = roll_all_back(&clients.ecs, &input).await;
    clients.table.finish(&input.release.stack, call).await;
    Ok(done(&input, begun?, clock()))
}

/// A rollback that has begun.
struct Begun {
    /// ARN of the revision that the service had.
    previous: String,
    /// ARN of the one that it is to have.
    revision: String,
}

async fn roll_all_back(client: &Client, input: &RollBackInput) -> Result<Vec<Begun>, Failure> {
    let services = &input.target.services;
    let mut seen = look(client, services).await?;
    if has_nothing_to_do_for_some(&seen, services) {
        tokio::time::sleep(STALE).await;
        seen = look(client, services).await?;
    }
    let mut outcomes = Vec::with_capacity(services.len());
    for wanted in services {
        let outcome = match observation(&seen, wanted) {
            Some(observation) => roll_back(client, input, wanted, &observation).await,
            None => Err(gone(wanted)),
        };
        outcomes.push(outcome);
    }
    match worst(services, &outcomes) {
        Some((wanted, failure)) => Err(not_back(wanted, failure, services, &outcomes)),
        None => Ok(outcomes.into_iter().flatten().collect()),
    }
}

fn check(input: &RollBackInput) -> Result<(), InvalidInput> {
    let services = &input.target.services;
    if services.is_empty() {
        return Err(InvalidInput("`target.services`: there is none".to_owned()));
    }
    match services
        .iter()
        .position(|service| service.task_definition.is_empty())
    {
        Some(at) => Err(InvalidInput(format!(
            "`target.services[{at}].taskDefinition`: must not be empty"
        ))),
        None => Ok(()),
    }
}

async fn begin(table: &Table, input: &RollBackInput, call: &LambdaCall) -> Result<(), Failure> {
    let target = &input.target;
    let beginning = Beginning {
        changing: Changing::Rollback,
        before: Some(&input.before),
        services: Some(&target.services),
        target: target.goal().filter(|_| target.requested),
        call,
    };
    table
        .begin(&input.release, &input.execution, &beginning)
        .await?;
    Ok(())
}

async fn look(client: &Client, wanted: &[WantedRevision]) -> Result<Seen, AwsRequestFailed> {
    let asked = wanted
        .iter()
        .map(|wanted| (wanted.cluster.as_str(), wanted.service.as_str()));
    Seen::look(client, asked).await
}

fn has_nothing_to_do_for_some(seen: &Seen, services: &[WantedRevision]) -> bool {
    services.iter().any(|wanted| {
        observation(seen, wanted).is_some_and(|observation| {
            decision::step(&observation, &wanted.task_definition) == Step::Leave
        })
    })
}

/// `None` for a service that ECS does not have any more.
fn observation<'a>(seen: &'a Seen, wanted: &WantedRevision) -> Option<Observation<'a>> {
    let service = seen.service(&wanted.service)?;
    let is_active = service.status().is_none_or(|status| status == "ACTIVE");
    let deployment = seen.deployment(&wanted.service);
    is_active.then_some(Observation {
        service,
        deployment: deployment.map(|deployment| Moving {
            deployment,
            target: seen.target(deployment),
            before: seen.goes_back_to(deployment),
        }),
    })
}

async fn roll_back(
    client: &Client,
    input: &RollBackInput,
    wanted: &WantedRevision,
    observation: &Observation<'_>,
) -> Result<Begun, AwsRequestFailed> {
    let step = decision::step(observation, &wanted.task_definition);
    tracing::info!(
        service = wanted.service,
        revision = wanted.task_definition,
        ?step,
        "the service is rolled back"
    );
    let begun = match step {
        Step::Leave => Ok(()),
        Step::Stop { deployment } => stop(client, wanted, deployment).await,
        Step::Update => update(client, wanted, false).await,
        Step::Again => update(client, wanted, true).await,
    };
    let previous = decision::previous(observation);
    let revision = match begun {
        Err(failure) if is_deregistered(&failure) => update_anew(client, input, wanted).await?,
        begun => {
            begun?;
            wanted.task_definition.clone()
        }
    };
    Ok(Begun { previous, revision })
}

/// With what the revision runs, registered once more. Returns the ARN.
async fn update_anew(
    client: &Client,
    input: &RollBackInput,
    wanted: &WantedRevision,
) -> Result<String, AwsRequestFailed> {
    let marks = Marks {
        stack: &input.release.stack,
        execution: Some(&input.execution.id),
    };
    let family = Family::of(client, &wanted.task_definition).await?;
    let task_definition = family.register_again(client, marks).await?;
    tracing::info!(
        service = wanted.service,
        revision = task_definition,
        "the revision was deregistered and is registered once more"
    );
    let again = WantedRevision {
        task_definition,
        ..wanted.clone()
    };
    update(client, &again, false).await?;
    Ok(again.task_definition)
}

/// A deployment that cannot be stopped any more has come to its end since it was seen: the service
/// is then updated as if it had been at rest.
async fn stop(
    client: &Client,
    wanted: &WantedRevision,
    deployment: String,
) -> Result<(), AwsRequestFailed> {
    match bluegreen_ecs::roll_back(client, &deployment).await {
        Err(failure) if bluegreen_ecs::is_over(&failure) => update(client, wanted, false).await,
        stopped => stopped,
    }
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

type Outcome = Result<Begun, AwsRequestFailed>;

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

/// The services that were rolled back, or those that were not.
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
        message: format!("{message}; services that were rolled back: {back}"),
        ..failure.clone()
    }
    .into()
}

/// What a service had before the first of several rollbacks is what it had before.
fn done(input: &RollBackInput, begun: Vec<Begun>, at: i64) -> UpdatedServices {
    let had_before = |wanted: &WantedRevision| {
        let mut earlier = input.earlier.iter().flat_map(|earlier| &earlier.services);
        let earlier = earlier.find(|earlier| earlier.service == wanted.service);
        earlier.map(|earlier| earlier.previous_task_definition.clone())
    };
    let services = input
        .target
        .services
        .iter()
        .zip(begun)
        .map(|(wanted, begun)| UpdatedService {
            cluster: wanted.cluster.clone(),
            service: wanted.service.clone(),
            task_definition: begun.revision,
            previous_task_definition: had_before(wanted).unwrap_or(begun.previous),
            // What is stopped is back at once.
            replaces_tasks: false,
        });
    UpdatedServices {
        services: services.collect(),
        at,
        deadline: at + i64::from(input.deployment_seconds) * 1000,
        tries: input.earlier.as_ref().map_or(0, |earlier| earlier.tries) + 1,
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
