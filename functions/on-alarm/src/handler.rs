use crate::event;
use crate::failure::Failure;
use bluegreen_contract::{ExecutionInput, RequestedAction, started_by};
use bluegreen_runtime::{AwsRequestFailed, failed};
use bluegreen_trigger::StateMachine;
use serde::Serialize;
use serde_json::Value;

/// The services that are asked, and the state machine that is started.
pub(crate) struct Context {
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
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
        alarm: String,
        stack: String,
        /// ARN of the execution, started now or by an earlier delivery of the event.
        execution: String,
    },
}

/// Starts the state machine with a rollback of the stack that the alarm belongs to. Whether there is
/// anything to roll back, the state machine decides when the stack's turn is free.
pub(crate) async fn handle(context: &Context, event: Value) -> Result<Answer, Failure> {
    let fired = match event::read(event)? {
        Ok(fired) => fired,
        Err(reason) => return Ok(ignored(reason)),
    };
    let machine = &context.state_machine;
    let alarm = fired.alarm;
    if (&fired.account, &fired.region) != (&machine.account, &machine.region) {
        return Ok(ignored(format!(
            "The alarm {} is in account {} and region {}, not in this one.",
            alarm.name, fired.account, fired.region
        )));
    }
    let Some(stack) = stack_of(&context.cloudformation, &alarm.name).await? else {
        return Ok(ignored(format!(
            "The alarm {} belongs to no stack.",
            alarm.name
        )));
    };
    let resources = Resources::of(&context.cloudformation, &stack, &alarm.name).await?;
    if !resources.alarm {
        return Ok(ignored(format!(
            "In stack {stack} {} is the name of something that is no alarm.",
            alarm.name
        )));
    }
    if !resources.services {
        return Ok(ignored(format!(
            "The stack {stack} of the alarm {} has no ECS services.",
            alarm.name
        )));
    }
    let name = bluegreen_trigger::name(&stack, &alarm.name, &[&stack, &alarm.name, &alarm.at]);
    let input = ExecutionInput {
        stack: stack.clone(),
        action: RequestedAction::Rollback,
        started_by: Some(started_by(&format!("alarm {}", alarm.name))),
        alarm: Some(alarm.clone()),
        ..ExecutionInput::default()
    };
    let execution = bluegreen_trigger::start(&context.sfn, machine, &name, &input).await?;
    tracing::info!(
        alarm = alarm.name,
        stack,
        execution,
        "a rollback is started"
    );
    Ok(Answer::Taken {
        alarm: alarm.name,
        stack,
        execution,
    })
}

fn ignored(reason: String) -> Answer {
    tracing::info!(reason, "the event is ignored");
    Answer::Ignored { ignored: reason }
}

/// Name of the stack that has a resource with the alarm's name.
async fn stack_of(
    client: &aws_sdk_cloudformation::Client,
    alarm: &str,
) -> Result<Option<String>, AwsRequestFailed> {
    let answer = client
        .describe_stack_resources()
        .physical_resource_id(alarm)
        .send()
        .await
        .map_err(failed("cloudformation:DescribeStackResources", alarm));
    match answer {
        // All resources of the stack, of which no more than the first hundred are told.
        Ok(answer) => Ok(answer
            .stack_resources()
            .first()
            .and_then(|resource| resource.stack_name())
            .map(str::to_owned)),
        // CloudFormation has no error code of its own for a resource that it did not create.
        Err(failure) if failure.code == "ValidationError" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What a stack has.
#[derive(Debug, Default)]
struct Resources {
    /// The alarm, and not only something else that has its name.
    alarm: bool,
    services: bool,
}

impl Resources {
    async fn of(
        client: &aws_sdk_cloudformation::Client,
        stack: &str,
        alarm: &str,
    ) -> Result<Self, AwsRequestFailed> {
        let mut pages = client
            .list_stack_resources()
            .stack_name(stack)
            .into_paginator()
            .send();
        let mut found = Self::default();
        while !(found.alarm && found.services)
            && let Some(page) = pages.next().await
        {
            let page = page.map_err(failed("cloudformation:ListStackResources", stack))?;
            for resource in page.stack_resource_summaries() {
                match resource.resource_type() {
                    Some("AWS::CloudWatch::Alarm" | "AWS::CloudWatch::CompositeAlarm") => {
                        found.alarm |= resource.physical_resource_id() == Some(alarm);
                    }
                    Some("AWS::ECS::Service") => found.services = true,
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
