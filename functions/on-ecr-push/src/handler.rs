use crate::event::{self, PushEvent};
use crate::failure::Failure;
use aws_sdk_ecr::primitives::DateTime;
use aws_sdk_ecr::types::ImageIdentifier;
use bluegreen_contract::STACKS_TAG;
use bluegreen_execution::StateMachine;
use bluegreen_push::{ImageTags, Push};
use bluegreen_sdk_config::{AwsRequestFailed, failed};
use serde::Serialize;
use serde_json::Value;

/// Seconds by which the event's time and the repository's may differ for one push.
const SAME_PUSH: i64 = 60;

/// The services that are asked, and the state machine that is started.
pub(crate) struct Context {
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
    pub(crate) state_machine: StateMachine,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Ignored {
        /// A sentence.
        ignored: String,
    },
    Taken {
        repository: String,
        tag: String,
        digest: String,
        stacks: Vec<StackAnswer>,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StackAnswer {
    stack: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// ARN of the execution, started now or by an earlier delivery of the event.
    Execution(String),
    /// A sentence.
    Skipped(String),
}

/// Starts an execution for every stack that the repository names and that takes the tag.
pub(crate) async fn handle(context: &Context, event: Value) -> Result<Answer, Failure> {
    let push = match event::read(event)? {
        Ok(push) => push,
        Err(reason) => return Ok(ignored(reason)),
    };
    let machine = &context.state_machine;
    if (&push.account, &push.region) != (&machine.account, &machine.region) {
        return Ok(ignored(format!(
            "The repository {} is in account {} and region {}, not in this one.",
            push.repository, push.account, push.region
        )));
    }
    let named = stacks(&context.ecr, machine, &push.repository).await?;
    if named.is_empty() {
        return Ok(ignored(format!(
            "The repository {} names no stack in an ECR tag {STACKS_TAG}.",
            push.repository
        )));
    }
    let push = Push {
        pushed_at: pushed_at(&context.ecr, &push).await?,
        repository: push.repository,
        tag: push.tag,
        digest: push.digest,
    };
    let stacks = release_into(context, &push, named).await?;
    Ok(Answer::Taken {
        repository: push.repository,
        tag: push.tag,
        digest: push.digest,
        stacks,
    })
}

fn ignored(reason: String) -> Answer {
    tracing::info!(reason, "the event is ignored");
    Answer::Ignored { ignored: reason }
}

/// Names of the stacks in the repository's tag.
async fn stacks(
    client: &aws_sdk_ecr::Client,
    machine: &StateMachine,
    repository: &str,
) -> Result<Vec<String>, AwsRequestFailed> {
    let StateMachine {
        partition,
        region,
        account,
        ..
    } = machine;
    let arn = format!("arn:{partition}:ecr:{region}:{account}:repository/{repository}");
    bluegreen_repository::stacks(client, &arn).await
}

/// The repository's time of the push, by which a reconciler names the execution too. Only a tag that
/// was put on an image of long ago has the event's own time: the repository may keep the first.
async fn pushed_at(
    client: &aws_sdk_ecr::Client,
    push: &PushEvent,
) -> Result<DateTime, AwsRequestFailed> {
    let id = ImageIdentifier::builder().image_digest(&push.digest);
    let described = client
        .describe_images()
        .repository_name(&push.repository)
        .image_ids(id.build())
        .send()
        .await
        .map_err(failed("ecr:DescribeImages", &push.repository));
    let told = match described {
        Ok(answer) => answer
            .image_details()
            .first()
            .and_then(|image| image.image_pushed_at().copied()),
        // It was deleted since: the release will say so.
        Err(failure) if failure.code == "ImageNotFoundException" => None,
        Err(failure) => return Err(failure),
    };
    let is_the_push = |at: &DateTime| (at.secs() - push.time.secs()).abs() <= SAME_PUSH;
    Ok(told.filter(is_the_push).unwrap_or(push.time))
}

/// One stack's failure keeps no other stack from its release: all are tried, then the first failure
/// is told, and the event comes again.
async fn release_into(
    context: &Context,
    push: &Push,
    stacks: Vec<String>,
) -> Result<Vec<StackAnswer>, Failure> {
    let mut answers = Vec::with_capacity(stacks.len());
    let mut first_failure = None;
    for stack in stacks {
        match release(context, push, &stack).await {
            Ok(outcome) => {
                tracing::info!(stack, ?outcome, "the stack is answered");
                answers.push(StackAnswer { stack, outcome });
            }
            Err(failure) => {
                first_failure.get_or_insert(failure);
            }
        }
    }
    match first_failure {
        None => Ok(answers),
        Some(failure) => Err(Failure::AwsRequestFailed {
            failure,
            started: started(&answers),
        }),
    }
}

async fn release(context: &Context, push: &Push, stack: &str) -> Result<Outcome, AwsRequestFailed> {
    let tags = ImageTags::of_stack(&context.cloudformation, stack).await?;
    if let Some(reason) = tags.reason_to_skip(&push.tag) {
        return Ok(Outcome::Skipped(reason));
    }
    let by = format!("push of {}:{}", push.repository, push.tag);
    let started =
        bluegreen_push::release(&context.sfn, &context.state_machine, push, stack, &by).await?;
    Ok(Outcome::Execution(started.arn))
}

fn started(answers: &[StackAnswer]) -> String {
    let executions: Vec<&str> = answers
        .iter()
        .filter_map(|answer| match &answer.outcome {
            Outcome::Execution(arn) => Some(arn.as_str()),
            Outcome::Skipped(_) => None,
        })
        .collect();
    match executions.is_empty() {
        true => "none".to_owned(),
        false => executions.join(", "),
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
