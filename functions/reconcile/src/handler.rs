use crate::failure::Failure;
use crate::image;
use aws_sdk_ecr::primitives::DateTime;
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageDetail, Repository, TagStatus};
use bluegreen_execution::StateMachine;
use bluegreen_push::ImageTags;
use bluegreen_sdk_config::{AwsRequestFailed, failed};
use serde::Serialize;

/// Who starts a release that is found here, for the reader of a list of releases.
const STARTED_BY: &str = "reconciler";

/// The services that are asked, and the state machine that is started.
pub(crate) struct Context {
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
    pub(crate) state_machine: StateMachine,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    pub(crate) stacks: Vec<StackAnswer>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StackAnswer {
    repository: String,
    stack: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// ARN of an execution that was started now: the push's event was lost.
    Execution(String),
    /// ARN of the execution that the push has had before.
    Known(String),
    /// A sentence.
    Skipped(String),
}

/// Looks at every repository that names stacks.
///
/// One repository's or one stack's failure keeps no other from being looked at: the first is told
/// when all are done, and the next run looks again.
pub(crate) async fn handle(context: &Context, now: DateTime) -> Result<Answer, Failure> {
    let mut stacks = Vec::new();
    let mut first_failure = None;
    for repository in repositories(&context.ecr).await? {
        let (Some(arn), Some(name)) = (repository.repository_arn(), repository.repository_name())
        else {
            continue;
        };
        if let Err(failure) = look(context, arn, name, now, &mut stacks).await {
            tracing::warn!(repository = name, %failure, "the repository could not be looked at");
            first_failure.get_or_insert(failure);
        }
    }
    match first_failure {
        None => Ok(Answer { stacks }),
        Some(failure) => Err(failure.into()),
    }
}

async fn look(
    context: &Context,
    arn: &str,
    repository: &str,
    now: DateTime,
    answers: &mut Vec<StackAnswer>,
) -> Result<(), AwsRequestFailed> {
    let stacks = bluegreen_repository::stacks(&context.ecr, arn).await?;
    if stacks.is_empty() {
        return Ok(());
    }
    let images = tagged_images(&context.ecr, repository).await?;
    let mut first_failure = None;
    for stack in stacks {
        match release(context, repository, &images, &stack, now).await {
            Ok(outcome) => {
                tracing::info!(repository, stack, ?outcome, "the stack is answered");
                answers.push(StackAnswer {
                    repository: repository.to_owned(),
                    stack,
                    outcome,
                });
            }
            Err(failure) => {
                first_failure.get_or_insert(failure);
            }
        }
    }
    first_failure.map_or(Ok(()), Err)
}

async fn release(
    context: &Context,
    repository: &str,
    images: &[ImageDetail],
    stack: &str,
    now: DateTime,
) -> Result<Outcome, AwsRequestFailed> {
    let tags = ImageTags::of_stack(&context.cloudformation, stack).await?;
    let push = match image::newest_push(repository, images, &tags, now) {
        Ok(push) => push,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let machine = &context.state_machine;
    let started = bluegreen_push::release(&context.sfn, machine, &push, stack, STARTED_BY).await?;
    Ok(match started.is_known {
        true => Outcome::Known(started.arn),
        false => Outcome::Execution(started.arn),
    })
}

/// All repositories of this account and region. Their tags are asked for one by one: the API that
/// finds resources by a tag tells everything in the account, and its permission cannot be limited to
/// repositories.
async fn repositories(client: &aws_sdk_ecr::Client) -> Result<Vec<Repository>, AwsRequestFailed> {
    let mut repositories = Vec::new();
    let mut next_token = None;
    loop {
        let page = client
            .describe_repositories()
            .set_next_token(next_token)
            .max_results(1000)
            .send()
            .await
            .map_err(failed("ecr:DescribeRepositories", "this account"))?;
        repositories.extend(page.repositories.unwrap_or_default());
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(repositories);
        }
    }
}

async fn tagged_images(
    client: &aws_sdk_ecr::Client,
    repository: &str,
) -> Result<Vec<ImageDetail>, AwsRequestFailed> {
    let tagged = DescribeImagesFilter::builder().tag_status(TagStatus::Tagged);
    let filter = tagged.build();
    let mut images = Vec::new();
    let mut next_token = None;
    loop {
        let page = client
            .describe_images()
            .repository_name(repository)
            .filter(filter.clone())
            .set_next_token(next_token)
            .max_results(1000)
            .send()
            .await
            .map_err(failed("ecr:DescribeImages", repository))?;
        images.extend(page.image_details.unwrap_or_default());
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(images);
        }
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
