use crate::failure::Failure;
use crate::{stack, task};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::error::SdkError;
use aws_sdk_ecs::operation::run_task::RunTaskError;
use aws_sdk_ecs::operation::run_task::builders::RunTaskInputBuilder;
use aws_sdk_ecs::types::{Failure as EcsFailure, Service};
use bluegreen_contract::{
    Command, InvalidInput, Purpose, Release, RunMigrationInput, StartedTask, parse,
};
use bluegreen_ecr::EcrImage;
use bluegreen_ecs::{Marks, OneOff, RegisterFailure, describe_task_definition};
use bluegreen_release::{Beginning, Changing, Table, TableFailure};
use bluegreen_runtime::{AwsRequestFailed, LambdaCall, failed};
use serde_json::Value;

/// Who is asked.
pub(crate) struct Clients {
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) ecs: Client,
}

/// Proves that the command is the stack's and that this release has the turn, registers a revision with the
/// image pinned, in a family of its own, and runs it once. `clock` tells the time in milliseconds since 1970.
pub(crate) async fn handle(
    clients: &Clients,
    table: &Table,
    event: Value,
    call: &LambdaCall,
    clock: impl Fn() -> i64,
) -> Result<StartedTask, Failure> {
    let input: RunMigrationInput = parse(event)?;
    let image = checked_image(&input.release)?;
    let command = &input.command;
    if command.command.is_empty() {
        // ECS would run the image's own command: the service instead of the command.
        return Err(InvalidInput("`command.command`: must not be empty".to_owned()).into());
    }
    stack::check(&clients.cloudformation, &input.release.stack, command).await?;
    table
        .begin(&input.release, &input.execution, &beginning(&input, call))
        .await?;
    let ran = run(&clients.ecs, table, &input, image, clock).await;
    table.finish(&input.release.stack, call).await;
    ran
}

async fn run(
    client: &Client,
    table: &Table,
    input: &RunMigrationInput,
    image: &str,
    clock: impl Fn() -> i64,
) -> Result<StartedTask, Failure> {
    let command = &input.command;
    let service = service_of(client, command).await?;
    let described = describe_task_definition(client, &command.task_definition).await?;
    let marks = Marks {
        stack: &input.release.stack,
        execution: Some(&input.execution.id),
    };
    let one_off = OneOff {
        purpose: command.purpose,
        container: &command.container,
        size: command.size,
    };
    let revision = described
        .register_one_off(client, one_off, image, marks, input.retries > 0)
        .await
        .map_err(not_registered)?;
    let request = task::request(&service, input, &revision);
    let started = start(client, request, command, revision).await?;
    // Not before: a registration may wait for minutes, of which the command's own limit knows nothing.
    let at = clock();
    tracing::info!(
        task = started.task_arn,
        purpose = command.purpose.name(),
        "the task is started"
    );
    if command.purpose == Purpose::Migration {
        table
            .started_migration(
                &input.release,
                &input.execution,
                &started.task_arn,
                &command.line,
            )
            .await
            .map_err(|failure| not_noted(failure, &started.task_arn))?;
    }
    Ok(StartedTask {
        purpose: command.purpose,
        stack: input.release.stack.clone(),
        image: image.to_owned(),
        log: bluegreen_logs::location(
            &described.task_definition,
            &command.container,
            &started.task_arn,
        ),
        cluster: command.cluster.clone(),
        service: command.service.clone(),
        task_arn: started.task_arn,
        task_definition: started.task_definition,
        container: command.container.clone(),
        at,
        timeout_seconds: command.timeout_seconds,
        attempt: attempt(input),
    })
}

/// How many tasks before this one never started.
pub(crate) fn attempt(input: &RunMigrationInput) -> u32 {
    let earlier = input.earlier.as_ref();
    earlier.map_or(0, |earlier| earlier.attempt + 1)
}

/// The image of the release, which a rollback does not have.
fn checked_image(release: &Release) -> Result<&str, InvalidInput> {
    let missing = |field: &str| InvalidInput(format!("`release.{field}`: must be given"));
    let image = release.image.as_deref().ok_or_else(|| missing("image"))?;
    let repository = release.repository.as_deref();
    let repository = repository.ok_or_else(|| missing("repository"))?;
    EcrImage::check_release(image, repository)
        .map_err(|problem| InvalidInput(format!("`release.image`: {problem}")))?;
    Ok(image)
}

fn beginning<'a>(input: &'a RunMigrationInput, call: &'a LambdaCall) -> Beginning<'a> {
    let (changing, before) = match input.command.purpose {
        Purpose::Migration => (Changing::Migration, Some(input.before.as_slice())),
        // The services run the new image by now.
        Purpose::PostDeploy => (Changing::PostDeploy, None),
        Purpose::Contract => (Changing::Contract, None),
    };
    Beginning {
        changing,
        before,
        services: None,
        target: None,
        call,
    }
}

/// The task runs, and its ARN is told here alone. Where the turn was lost while ECS started it,
/// whoever has it now waits for what it finds.
fn not_noted(failure: TableFailure, task: &str) -> Failure {
    match failure {
        TableFailure::AwsRequestFailed(mut failure) => {
            let message = failure.message.trim_end_matches('.');
            failure.message = format!("{message}; the task {task} was started");
            failure.into()
        }
        TableFailure::ExecutionRedriven { execution, stack } => {
            Failure::ExecutionRedriven(format!(
                "The execution {execution} has not the turn of stack {stack} any more, and has started the task {task}."
            ))
        }
    }
}

fn not_registered(failure: RegisterFailure) -> Failure {
    match failure {
        RegisterFailure::Request(failure) => failure.into(),
        nothing => InvalidInput(format!("`command.taskDefinition`: {nothing}")).into(),
    }
}

async fn service_of(client: &Client, command: &Command) -> Result<Service, AwsRequestFailed> {
    let asked = (command.cluster.as_str(), command.service.as_str());
    bluegreen_ecs::describe_services(client, [asked])
        .await?
        .remove(&command.service)
        .ok_or_else(|| AwsRequestFailed {
            action: "ecs:DescribeServices",
            resource: command.service.clone(),
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
    command: &Command,
    revision: String,
) -> Result<Started, Failure> {
    let answer = match request.send_with(client).await {
        Ok(answer) => answer,
        Err(error) => {
            return match task_of_an_earlier_try(&error) {
                Some(task_arn) => found(client, command, task_arn).await,
                None => Err(failed("ecs:RunTask", &command.service)(error).into()),
            };
        }
    };
    match answer.tasks().first().and_then(|task| task.task_arn()) {
        Some(task_arn) => Ok(Started {
            task_arn: task_arn.to_owned(),
            task_definition: revision,
        }),
        None => Err(not_started(command, answer.failures())),
    }
}

fn not_started(command: &Command, failures: &[EcsFailure]) -> Failure {
    let purpose = command.purpose.name();
    let service = command.service.clone();
    let reasons = task::reasons(failures);
    match failures.iter().any(task::lacks_capacity) {
        true => Failure::CapacityUnavailable {
            purpose,
            service,
            reasons,
        },
        false => Failure::TaskNotStarted {
            purpose,
            service,
            reasons,
        },
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
async fn found(client: &Client, command: &Command, task_arn: String) -> Result<Started, Failure> {
    let answer = client
        .describe_tasks()
        .cluster(&command.cluster)
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
