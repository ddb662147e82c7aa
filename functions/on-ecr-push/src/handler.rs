use crate::event::{self, Push};
use crate::failure::Failure;
use bluegreen_contract::{ExecutionInput, STACKS_TAG, started_by};
use bluegreen_runtime::AwsRequestFailed;
use bluegreen_trigger::{StateMachine, TakenTags};
use serde::Serialize;
use serde_json::Value;

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
    let arn = machine.repository(&push.repository);
    let named = bluegreen_ecr::stacks(&context.ecr, &arn).await?;
    if named.is_empty() {
        return Ok(ignored(format!(
            "The repository {} names no stack in an ECR tag {STACKS_TAG}.",
            push.repository
        )));
    }
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

/// The execution's name holds the event's id, so an event that is delivered once more gets the
/// execution that it has started before.
async fn release(context: &Context, push: &Push, stack: &str) -> Result<Outcome, AwsRequestFailed> {
    let taken = TakenTags::load(&context.cloudformation, stack).await?;
    if let Some(reason) = taken.reason_to_skip(&push.tag) {
        return Ok(Outcome::Skipped(reason));
    }
    let identity = [
        stack,
        &push.repository,
        &push.tag,
        &push.digest,
        &push.event,
    ];
    let name = bluegreen_trigger::name(stack, &push.tag, &identity);
    let input = ExecutionInput {
        stack: stack.to_owned(),
        tag: Some(push.tag.clone()),
        digest: Some(push.digest.clone()),
        repository: Some(push.repository.clone()),
        pushed_at: Some(push.time.clone()),
        started_by: Some(started_by(&format!("push of {}", push.tag))),
        ..ExecutionInput::default()
    };
    bluegreen_trigger::start(&context.sfn, &context.state_machine, &name, &input)
        .await
        .map(Outcome::Execution)
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
