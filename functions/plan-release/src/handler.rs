use crate::failure::Failure;
use crate::services::AppService;
use crate::stack::Stack;
use crate::{commands, image, image_parameters, outputs, repository, services};
use bluegreen_contract::{
    Action, ExecutionInput, Plan, PlanReleaseInput, PlannedService, RequestedAction, Revision,
    parse,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The services that a plan is made from.
pub(crate) struct Clients {
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) ecs: aws_sdk_ecs::Client,
}

/// Resolves stack, repository and image. Only reads.
pub(crate) async fn handle(clients: &Clients, event: Value) -> Result<Plan, Failure> {
    // An execution that was begun before the pipeline was updated gives the request alone.
    let event = match event.get("stack") {
        Some(_) => json!({"request": event}),
        None => event,
    };
    let PlanReleaseInput { request, revisions } = parse(event)?;
    let input: ExecutionInput = parse(request)?;
    input.validate()?;
    let stack = Stack::load(&clients.cloudformation, &input.stack).await?;
    let services = services::load(&clients.ecs, &stack, &revisions).await?;
    match input.action {
        RequestedAction::Deploy => deploy(clients, input, &stack, services).await,
        RequestedAction::Rollback => rollback(clients, &stack, services).await,
    }
}

async fn deploy(
    clients: &Clients,
    input: ExecutionInput,
    stack: &Stack,
    services: Vec<AppService>,
) -> Result<Plan, Failure> {
    let wanted = input.repository.as_deref();
    let repository = repository::choose(&clients.ecr, &stack.name, &services, wanted).await?;
    let owner = commands::other_owner(stack, &services, &repository).map(str::to_owned);
    let revisions = revisions(&services);
    let unit = unit(services, &[&repository])?;
    let commands_are_its_own = match owner {
        Some(owner) => !repository::is_linked(&clients.ecr, &stack.name, &unit, &owner).await?,
        None => true,
    };
    let digest = image::digest(&clients.ecr, &repository, &input).await?;
    plan(
        input,
        stack,
        &unit,
        repository,
        digest,
        commands_are_its_own,
        revisions,
    )
}

/// Back from whatever the services run now. Where to is not known here: releases are not recorded
/// in what this function reads.
async fn rollback(
    clients: &Clients,
    stack: &Stack,
    services: Vec<AppService>,
) -> Result<Plan, Failure> {
    let repositories = repository::linked(&clients.ecr, &stack.name, &services, None).await?;
    let repositories: Vec<&str> = repositories.iter().map(String::as_str).collect();
    let revisions = revisions(&services);
    let unit = unit(services, &repositories)?;
    Ok(Plan {
        action: Action::Rollback,
        reason: format!("Stack {} is to go back to an earlier release.", stack.name),
        stack: stack.name.clone(),
        repository: None,
        tag: None,
        digest: None,
        image: None,
        image_parameters: image_parameters::of(stack, &unit, &repositories),
        services: planned(&unit, &repositories),
        migration: None,
        post_deploy: None,
        alarms: alarms(&unit),
        health_check_url: outputs::health_check_url(stack)?,
        limits: outputs::limits(stack)?,
        revisions,
    })
}

fn revisions(services: &[AppService]) -> Vec<Revision> {
    let revisions = services.iter().filter_map(AppService::revision);
    revisions.cloned().collect()
}

/// The services that run images of the repositories. They are released as one.
fn unit(services: Vec<AppService>, repositories: &[&str]) -> Result<Vec<AppService>, Failure> {
    let unit: Vec<AppService> = services
        .into_iter()
        .filter(|service| !service.containers_of(repositories).is_empty())
        .collect();
    for service in &unit {
        service.check_controller()?;
    }
    Ok(unit)
}

fn planned(unit: &[AppService], repositories: &[&str]) -> Vec<PlannedService> {
    unit.iter()
        .map(|service| service.planned(repositories))
        .collect()
}

/// Names of the alarms of all services, each once, in order.
fn alarms(unit: &[AppService]) -> Vec<String> {
    let names: BTreeSet<&str> = unit.iter().flat_map(AppService::alarms).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Whether there is anything to do, and what. Without commands of its own an image is released with
/// neither a migration nor a command after it.
fn plan(
    input: ExecutionInput,
    stack: &Stack,
    unit: &[AppService],
    repository: String,
    digest: String,
    commands_are_its_own: bool,
    revisions: Vec<Revision>,
) -> Result<Plan, Failure> {
    let image = unit
        .iter()
        .find_map(|service| service.image(&repository, &digest))
        .unwrap_or_default();
    let migration = match input.migrate {
        Some(false) => None,
        None if !commands_are_its_own => None,
        _ => commands::migration(stack, unit, &repository)?,
    };
    let post_deploy = match commands_are_its_own {
        true => commands::post_deploy(stack, unit, &repository)?,
        false => None,
    };
    let asked_to_migrate = input.migrate == Some(true) && migration.is_some();
    let (action, reason) = decide(stack, unit, &image, asked_to_migrate);
    let deploys = action == Action::Deploy;
    Ok(Plan {
        action,
        reason,
        image_parameters: image_parameters::of(stack, unit, &[&repository]),
        services: planned(unit, &[&repository]),
        migration: migration.filter(|_| deploys),
        post_deploy,
        alarms: alarms(unit),
        health_check_url: outputs::health_check_url(stack)?,
        limits: outputs::limits(stack)?,
        revisions,
        stack: input.stack,
        repository: Some(repository),
        tag: input.tag,
        digest: Some(digest),
        image: Some(image),
    })
}

/// `"migrate": true` in the input asks for the migration also where the image already runs, which
/// is how the image that a stack was created with gets its migration.
fn decide(
    stack: &Stack,
    unit: &[AppService],
    image: &str,
    asked_to_migrate: bool,
) -> (Action, String) {
    let behind = unit.iter().filter(|service| !service.runs(image)).count();
    if behind > 0 {
        let reason = format!(
            "{behind} of {} services of stack {} do not run {image} yet.",
            unit.len(),
            stack.name
        );
        (Action::Deploy, reason)
    } else if asked_to_migrate {
        let reason = format!(
            "Every service of stack {} already runs {image}, but the input asks for its migration.",
            stack.name
        );
        (Action::Deploy, reason)
    } else {
        let reason = format!(
            "Every service of stack {} already runs {image} in a completed deployment.",
            stack.name
        );
        (Action::None, reason)
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
