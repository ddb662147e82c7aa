use crate::failure::Failure;
use crate::services::AppService;
use crate::stack::Stack;
use crate::{image, migration, repository, services};
use bluegreen_contract::{Action, ExecutionInput, Plan, parse};
use serde_json::Value;

/// The services that a plan is made from.
pub(crate) struct Clients {
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) ecs: aws_sdk_ecs::Client,
}

/// Resolves stack, repository and image. Only reads.
pub(crate) async fn handle(clients: &Clients, event: Value) -> Result<Plan, Failure> {
    let input: ExecutionInput = parse(event)?;
    input.validate()?;
    let stack = Stack::load(&clients.cloudformation, &input.stack).await?;
    let services = services::load(&clients.ecs, &stack).await?;
    let wanted = input.repository.as_deref();
    let repository = repository::choose(&clients.ecr, &stack.name, &services, wanted).await?;
    let unit = unit(services, &repository)?;
    let digest = image::digest(&clients.ecr, &repository, &input).await?;
    plan(input, &stack, &unit, repository, digest)
}

/// The services that run images of the repository. They are released as one.
fn unit(services: Vec<AppService>, repository: &str) -> Result<Vec<AppService>, Failure> {
    let unit: Vec<AppService> = services
        .into_iter()
        .filter(|service| !service.containers_of(repository).is_empty())
        .collect();
    for service in &unit {
        service.check_controller()?;
    }
    Ok(unit)
}

/// Whether there is anything to do, and what.
///
/// `"migrate": true` in the input asks for the migration also where the image already runs, which
/// is how the image that a stack was created with gets its migration.
fn plan(
    input: ExecutionInput,
    stack: &Stack,
    unit: &[AppService],
    repository: String,
    digest: String,
) -> Result<Plan, Failure> {
    let image = unit
        .iter()
        .find_map(|service| service.image(&repository, &digest))
        .unwrap_or_default();
    let behind = unit.iter().filter(|service| !service.runs(&image)).count();
    let migration = match input.migrate {
        Some(false) => None,
        _ => migration::of_stack(stack, unit, &repository)?,
    };
    let asked_to_migrate = input.migrate == Some(true) && migration.is_some();
    let (action, reason) = if behind > 0 {
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
    };
    Ok(Plan {
        migration: migration.filter(|_| action == Action::Deploy),
        action,
        reason,
        services: unit
            .iter()
            .map(|service| service.planned(&repository))
            .collect(),
        stack: input.stack,
        repository,
        tag: input.tag,
        digest,
        image,
    })
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
