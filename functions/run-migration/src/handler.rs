use crate::failure::Failure;
use crate::{log, task};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::error::SdkError;
use aws_sdk_ecs::operation::run_task::RunTaskError;
use aws_sdk_ecs::operation::run_task::builders::RunTaskInputBuilder;
use aws_sdk_ecs::types::{Failure as EcsFailure, Service};
use bluegreen_contract::{InvalidInput, Migration, RunMigrationInput, StartedMigration, parse};
use bluegreen_runtime::{AwsRequestFailed, failed};
use bluegreen_ecr::EcrImage;
use bluegreen_ecs::{Family, Marks, RegisterFailure};
use serde_json::Value;

/// Registers the revision with the image pinned and runs it once.
pub(crate) async fn handle(client: &Client, event: Value) -> Result<StartedMigration, Failure> {
    let input: RunMigrationInput = parse(event)?;
    EcrImage::check_release(&input.image, &input.repository)
        .map_err(|problem| InvalidInput(format!("`image`: {problem}")))?;
    if input.migration.command.is_empty() {
        // ECS would run the image's own command: the service instead of the migration.
        return Err(InvalidInput("`migration.command`: must not be empty".to_owned()).into());
    }
    let migration = &input.migration;
    let service = service_of(client, migration).await?;
    let family = Family::of(client, &migration.task_definition).await?;
    let marks = Marks {
        stack: &input.stack,
        execution: Some(&input.execution_id),
    };
    let revision = family
        .register_pinned(client, &input.image, marks)
        .await
        .map_err(not_registered)?;
    let request = task::request(&service, &input, &revision);
    let started = start(client, request, migration, revision).await?;
    tracing::info!(task = started.task_arn, "the migration is started");
    Ok(StartedMigration {
        log: log::location(
            &family.revision.task_definition,
            &migration.container,
            &started.task_arn,
        ),
        cluster: migration.cluster.clone(),
        task_arn: started.task_arn,
        task_definition: started.task_definition,
        container: migration.container.clone(),
    })
}

fn not_registered(failure: RegisterFailure) -> Failure {
    match failure {
        RegisterFailure::Request(failure) => failure.into(),
        nothing => InvalidInput(format!("`migration.taskDefinition`: {nothing}")).into(),
    }
}

async fn service_of(client: &Client, migration: &Migration) -> Result<Service, AwsRequestFailed> {
    let asked = (migration.cluster.as_str(), migration.service.as_str());
    bluegreen_ecs::describe_services(client, [asked])
        .await?
        .remove(&migration.service)
        .ok_or_else(|| AwsRequestFailed {
            action: "ecs:DescribeServices",
            resource: migration.service.clone(),
            code: "MISSING".to_owned(),
            message: "ECS has no such service in the cluster".to_owned(),
            refused: true,
        })
}

struct Started {
    task_arn: String,
    task_definition: String,
}

async fn start(
    client: &Client,
    request: RunTaskInputBuilder,
    migration: &Migration,
    revision: String,
) -> Result<Started, Failure> {
    let answer = match request.send_with(client).await {
        Ok(answer) => answer,
        Err(error) => {
            return match task_of_an_earlier_try(&error) {
                Some(task_arn) => found(client, migration, task_arn).await,
                None => Err(failed("ecs:RunTask", &migration.service)(error).into()),
            };
        }
    };
    match answer.tasks().first().and_then(|task| task.task_arn()) {
        Some(task_arn) => Ok(Started {
            task_arn: task_arn.to_owned(),
            task_definition: revision,
        }),
        None => Err(not_started(migration, answer.failures())),
    }
}

fn not_started(migration: &Migration, failures: &[EcsFailure]) -> Failure {
    let service = migration.service.clone();
    let reasons = task::reasons(failures);
    match failures.iter().any(task::lacks_capacity) {
        true => Failure::CapacityUnavailable { service, reasons },
        false => Failure::TaskNotStarted { service, reasons },
    }
}

/// The same token with another revision: a revision of the family was registered between two tries
/// of this call. ECS then names the task that the first try started
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html>).
fn task_of_an_earlier_try<R>(error: &SdkError<RunTaskError, R>) -> Option<String> {
    match error.as_service_error()? {
        RunTaskError::ConflictException(conflict) => conflict.resource_ids().first().cloned(),
        _ => None,
    }
}

/// The task of an earlier try, with the revision that it really runs.
async fn found(
    client: &Client,
    migration: &Migration,
    task_arn: String,
) -> Result<Started, Failure> {
    let answer = client
        .describe_tasks()
        .cluster(&migration.cluster)
        .tasks(&task_arn)
        .send()
        .await
        .map_err(failed("ecs:DescribeTasks", &task_arn))?;
    let task_definition = answer
        .tasks()
        .first()
        .and_then(|task| task.task_definition_arn())
        .ok_or_else(|| AwsRequestFailed {
            action: "ecs:DescribeTasks",
            resource: task_arn.clone(),
            code: "MISSING".to_owned(),
            message: "ECS does not describe the task that it started for this execution".to_owned(),
            refused: false,
        })?
        .to_owned();
    Ok(Started {
        task_arn,
        task_definition,
    })
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
