use crate::failure::Failure;
use crate::images::{self, Image};
use crate::known::Known;
use bluegreen_contract::{ExecutionInput, started_by};
use bluegreen_release::Table;
use bluegreen_runtime::AwsRequestFailed;
use bluegreen_trigger::{StateMachine, TakenTags};
use serde::Serialize;
use std::time::SystemTime;

/// The services that are asked, and the state machine that is started.
pub(crate) struct Context {
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
    pub(crate) state_machine: StateMachine,
    pub(crate) releases: Table,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// ARNs of the executions of the pushes that were found.
    pub(crate) executions: Vec<String>,
}

/// Looks at the newest image of every repository that names stacks.
///
/// One failure keeps nothing else from being looked at; the first is told in the end.
pub(crate) async fn handle(context: &Context, now: SystemTime) -> Result<Answer, Failure> {
    let mut executions = Vec::new();
    let mut first_failure = None;
    let repositories = match images::repositories(&context.ecr).await {
        Ok(repositories) => repositories,
        Err(failure) => {
            first_failure = Some(failure);
            Vec::new()
        }
    };
    for repository in repositories {
        let found = reconcile(context, &repository, now, &mut executions).await;
        if let Err(failure) = found {
            first_failure.get_or_insert(failure);
        }
    }
    match first_failure {
        None => Ok(Answer { executions }),
        Some(failure) => Err(Failure::AwsRequestFailed {
            failure,
            started: match executions.is_empty() {
                true => "none".to_owned(),
                false => executions.join(", "),
            },
        }),
    }
}

async fn reconcile(
    context: &Context,
    repository: &str,
    now: SystemTime,
    executions: &mut Vec<String>,
) -> Result<(), AwsRequestFailed> {
    let arn = context.state_machine.repository(repository);
    let stacks = bluegreen_ecr::stacks(&context.ecr, &arn).await?;
    if stacks.is_empty() {
        return Ok(());
    }
    let images = images::tagged(&context.ecr, repository, now).await?;
    let mut first_failure = None;
    for stack in stacks {
        match release_into(context, repository, &images, &stack).await {
            Ok(execution) => executions.extend(execution),
            Err(failure) => {
                first_failure.get_or_insert(failure);
            }
        }
    }
    first_failure.map_or(Ok(()), Err)
}

/// Starts the release of the newest image that the stack takes, where nobody has heard of it yet.
async fn release_into(
    context: &Context,
    repository: &str,
    images: &[Image],
    stack: &str,
) -> Result<Option<String>, AwsRequestFailed> {
    let known = Known::load(&context.releases, stack).await?;
    let mut newer = images
        .iter()
        .take_while(|image| known.is_newer(repository, &image.pushed_at))
        .peekable();
    if newer.peek().is_none() {
        return Ok(None);
    }
    let taken = TakenTags::load(&context.cloudformation, stack).await?;
    // The push that was heard of waits for CloudFormation, and is not in the table until then.
    if taken.is_changing {
        return Ok(None);
    }
    let takes = |tag: &&String| taken.reason_to_skip(tag).is_none();
    for image in newer {
        let Some(tag) = image.tags.iter().find(takes) else {
            continue;
        };
        if known.has(image).await? {
            return Ok(None);
        }
        let execution = start(context, repository, image, tag, stack).await?;
        tracing::info!(stack, repository, tag, execution, "a lost push is found");
        return Ok(Some(execution));
    }
    Ok(None)
}

/// The same push found once more gives the same name, and starts nothing new.
async fn start(
    context: &Context,
    repository: &str,
    image: &Image,
    tag: &str,
    stack: &str,
) -> Result<String, AwsRequestFailed> {
    let identity = [stack, repository, tag, &image.digest, &image.pushed_at];
    let name = bluegreen_trigger::name(stack, tag, &identity);
    let input = ExecutionInput {
        stack: stack.to_owned(),
        tag: Some(tag.to_owned()),
        digest: Some(image.digest.clone()),
        repository: Some(repository.to_owned()),
        pushed_at: Some(image.pushed_at.clone()),
        started_by: Some(started_by(&format!("reconciler: lost push of {tag}"))),
        ..ExecutionInput::default()
    };
    bluegreen_trigger::start(&context.sfn, &context.state_machine, &name, &input).await
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
