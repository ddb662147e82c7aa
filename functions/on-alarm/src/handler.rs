use crate::event;
use crate::failure::Failure;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::StackResource;
use bluegreen_contract::{ExecutionInput, FiredAlarm, RequestedAction};
use bluegreen_execution::StateMachine;
use bluegreen_sdk_config::{AwsRequestFailed, failed};
use serde::Serialize;
use serde_json::Value;

const SERVICE_TYPE: &str = "AWS::ECS::Service";
const ALARM_TYPES: [&str; 2] = ["AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"];
/// The most that `startedBy` holds.
const STARTED_BY_LENGTH: usize = 128;

/// The services that are asked, and the state machine that is started.
pub(crate) struct Context {
    pub(crate) cloudformation: Client,
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

/// Starts a rollback of the stack that owns the alarm. Whether there is a release to undo is the
/// state machine's to say.
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
    let stack = match app_stack(&context.cloudformation, &alarm.name).await? {
        Ok(stack) => stack,
        Err(reason) => return Ok(ignored(reason)),
    };
    let name = bluegreen_execution::name(&stack, &alarm.name, &[&stack, &alarm.name, &alarm.at]);
    let input = input(&stack, &alarm);
    let started = bluegreen_execution::start(&context.sfn, machine, &name, &input).await?;
    tracing::info!(
        alarm = alarm.name,
        stack,
        ?started,
        "the stack is to go back"
    );
    Ok(Answer::Taken {
        alarm: alarm.name,
        stack,
        execution: started.arn,
    })
}

fn ignored(reason: String) -> Answer {
    tracing::info!(reason, "the event is ignored");
    Answer::Ignored { ignored: reason }
}

fn input(stack: &str, alarm: &FiredAlarm) -> ExecutionInput {
    let by = format!("alarm {}", alarm.name);
    ExecutionInput {
        stack: stack.to_owned(),
        action: RequestedAction::Rollback,
        started_by: Some(by.chars().take(STARTED_BY_LENGTH).collect()),
        alarm: Some(alarm.clone()),
        ..ExecutionInput::default()
    }
}

/// Name of the stack that owns the alarm and has a service; a sentence where there is none.
///
/// DescribeStackResources answers for a physical id with all resources of the stack that it belongs
/// to, and with an error where it belongs to none
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackResources.html>).
async fn app_stack(
    client: &Client,
    alarm: &str,
) -> Result<Result<String, String>, AwsRequestFailed> {
    let answer = client
        .describe_stack_resources()
        .physical_resource_id(alarm)
        .send()
        .await
        .map_err(failed("cloudformation:DescribeStackResources", alarm));
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) if failure.code == "ValidationError" => return Ok(Err(no_stack(alarm))),
        Err(failure) => return Err(failure),
    };
    let resources = answer.stack_resources();
    let owner = resources
        .iter()
        .find(|resource| is_alarm(resource, alarm))
        .and_then(StackResource::stack_name);
    let Some(stack) = owner else {
        return Ok(Err(no_stack(alarm)));
    };
    let has_service = resources.iter().any(|resource| {
        resource.stack_name() == Some(stack) && resource.resource_type() == Some(SERVICE_TYPE)
    });
    Ok(match has_service {
        true => Ok(stack.to_owned()),
        false => Err(format!(
            "The alarm {alarm} belongs to the stack {stack}, which has no ECS service."
        )),
    })
}

/// A resource of another type may have the same physical id.
fn is_alarm(resource: &StackResource, alarm: &str) -> bool {
    resource.physical_resource_id() == Some(alarm)
        && resource
            .resource_type()
            .is_some_and(|kind| ALARM_TYPES.contains(&kind))
}

fn no_stack(alarm: &str) -> String {
    format!("The alarm {alarm} belongs to no stack.")
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
