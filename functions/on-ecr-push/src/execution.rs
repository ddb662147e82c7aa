//! The execution that releases an image into a stack.

use crate::event::Push;
use aws_sdk_sfn::Client;
use bluegreen_contract::ExecutionInput;
use bluegreen_sdk_config::{AwsRequestFailed, failed};
use sha2::{Digest, Sha256};

/// StartExecution takes no longer name
/// (<https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>).
const NAME_LENGTH: usize = 80;
/// Hexadecimal digits of the hash at a name's end.
const HASH_LENGTH: usize = 16;
/// What is left for the stack and for the tag, with a hyphen after each.
const PART_LENGTH: usize = (NAME_LENGTH - HASH_LENGTH) / 2 - 1;

/// `arn:PARTITION:states:REGION:ACCOUNT:stateMachine:NAME`, in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateMachine {
    arn: String,
    pub(crate) partition: String,
    pub(crate) region: String,
    pub(crate) account: String,
    name: String,
}

impl StateMachine {
    /// # Errors
    /// A sentence for the log of a function that cannot start.
    pub(crate) fn parse(arn: &str) -> Result<Self, String> {
        let parts: Vec<&str> = arn.split(':').collect();
        match parts[..] {
            [
                "arn",
                partition,
                "states",
                region,
                account,
                "stateMachine",
                name,
            ] => Ok(StateMachine {
                arn: arn.to_owned(),
                partition: partition.to_owned(),
                region: region.to_owned(),
                account: account.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(format!(
                "STATE_MACHINE_ARN is `{arn}`, which is not the ARN of a state machine."
            )),
        }
    }

    fn execution(&self, name: &str) -> String {
        let StateMachine {
            partition,
            region,
            account,
            name: machine,
            ..
        } = self;
        format!("arn:{partition}:states:{region}:{account}:execution:{machine}:{name}")
    }
}

/// Starts the release and returns the execution's ARN. The name holds the event's id, so an event
/// that is delivered once more gets the execution that it has started before.
pub(crate) async fn start(
    client: &Client,
    machine: &StateMachine,
    push: &Push,
    stack: &str,
) -> Result<String, AwsRequestFailed> {
    let name = name(push, stack);
    let started = client
        .start_execution()
        .state_machine_arn(&machine.arn)
        .name(&name)
        .input(input(push, stack))
        .send()
        .await
        .map_err(failed("states:StartExecution", machine.execution(&name)));
    match started {
        Ok(execution) => Ok(execution.execution_arn),
        Err(failure) if failure.code == "ExecutionAlreadyExists" => Ok(machine.execution(&name)),
        Err(failure) => Err(failure),
    }
}

fn input(push: &Push, stack: &str) -> String {
    let input = ExecutionInput {
        stack: stack.to_owned(),
        tag: Some(push.tag.clone()),
        digest: Some(push.digest.clone()),
        repository: Some(push.repository.clone()),
        ..ExecutionInput::default()
    };
    serde_json::json!(input).to_string()
}

/// Stack and tag for the reader, cut where they are long, and a hash that tells apart what cutting
/// makes equal.
fn name(push: &Push, stack: &str) -> String {
    let identity = [
        stack,
        &push.repository,
        &push.tag,
        &push.digest,
        &push.event,
    ]
    .join("\n");
    let hash: String = Sha256::digest(identity)
        .iter()
        .take(HASH_LENGTH / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-{}-{hash}", part(stack), part(&push.tag))
}

/// Stacks and tags have no other characters, but a name with another one would be refused.
fn part(text: &str) -> String {
    text.chars()
        .take(PART_LENGTH)
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') => c,
            _ => '_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws-cn:states:cn-north-1:123456789012:stateMachine:deploy";

    fn push(tag: &str, event: &str) -> Push {
        Push {
            event: event.to_owned(),
            account: "123456789012".to_owned(),
            region: "cn-north-1".to_owned(),
            repository: "demo".to_owned(),
            tag: tag.to_owned(),
            digest: "sha256:2222".to_owned(),
        }
    }

    #[test]
    fn a_name_tells_stack_and_tag_and_is_the_same_for_the_same_event() {
        let first = name(&push("v2", "e1"), "demo");
        assert!(first.starts_with("demo-v2-"), "{first}");
        assert_eq!(first, name(&push("v2", "e1"), "demo"));
        assert_ne!(first, name(&push("v2", "e2"), "demo"));
        assert_ne!(first, name(&push("v2", "e1"), "demo2"));
    }

    #[test]
    fn a_name_is_never_longer_than_step_functions_takes() {
        let long = name(&push(&"v".repeat(128), "e"), &"s".repeat(128));
        assert!(long.len() <= NAME_LENGTH, "{long}");
        let other = name(&push(&"v".repeat(127), "e"), &"s".repeat(128));
        assert_ne!(long, other);
        assert!(
            name(&push("ä:/ ", "e"), "demo")
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        );
    }

    #[test]
    fn an_executions_arn_follows_from_the_machines() {
        let machine = StateMachine::parse(ARN).unwrap();
        assert_eq!(
            machine.execution("x"),
            "arn:aws-cn:states:cn-north-1:123456789012:execution:deploy:x"
        );
    }

    #[test]
    fn an_arn_of_something_else_is_refused_in_a_sentence() {
        for arn in ["deploy", "arn:aws:states:us-east-1:1:execution:deploy:x"] {
            assert!(
                StateMachine::parse(arn)
                    .unwrap_err()
                    .contains("STATE_MACHINE_ARN")
            );
        }
    }
}
