//! The execution that an event starts.

use aws_sdk_sfn::Client;
use bluegreen_contract::ExecutionInput;
use bluegreen_runtime::{AwsRequestFailed, failed};
use sha2::{Digest, Sha256};

/// StartExecution takes no longer name
/// (<https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>).
const NAME_LENGTH: usize = 80;
/// Hexadecimal digits of the hash at a name's end.
const HASH_LENGTH: usize = 16;
/// What is left for the stack and for the label, with a hyphen after each.
const PART_LENGTH: usize = (NAME_LENGTH - HASH_LENGTH) / 2 - 1;

/// `arn:PARTITION:states:REGION:ACCOUNT:stateMachine:NAME`, in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMachine {
    arn: String,
    pub partition: String,
    pub region: String,
    pub account: String,
    name: String,
}

/// The environment of a function that cannot start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadStateMachineArn(String);

impl std::fmt::Display for BadStateMachineArn {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "STATE_MACHINE_ARN is `{}`, which is not the ARN of a state machine.",
            self.0
        )
    }
}

impl std::error::Error for BadStateMachineArn {}

impl StateMachine {
    /// # Errors
    /// [`BadStateMachineArn`] where it is the ARN of something else, or none.
    pub fn parse(arn: &str) -> Result<Self, BadStateMachineArn> {
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
            _ => Err(BadStateMachineArn(arn.to_owned())),
        }
    }

    /// ARN of a repository in the machine's account and region.
    #[must_use]
    pub fn repository(&self, name: &str) -> String {
        let StateMachine {
            partition,
            region,
            account,
            ..
        } = self;
        format!("arn:{partition}:ecr:{region}:{account}:repository/{name}")
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

/// Starts an execution and returns its ARN. Where one of that name exists already, whether it still
/// runs or not, returns its ARN and starts nothing.
///
/// # Errors
/// [`AwsRequestFailed`] for any other refusal.
pub async fn start(
    client: &Client,
    machine: &StateMachine,
    name: &str,
    input: &ExecutionInput,
) -> Result<String, AwsRequestFailed> {
    let started = client
        .start_execution()
        .state_machine_arn(&machine.arn)
        .name(name)
        .input(serde_json::json!(input).to_string())
        .send()
        .await
        .map_err(failed("states:StartExecution", machine.execution(name)));
    match started {
        Ok(execution) => Ok(execution.execution_arn),
        Err(failure) if failure.code == "ExecutionAlreadyExists" => Ok(machine.execution(name)),
        Err(failure) => Err(failure),
    }
}

/// A name for an execution: stack and label (a tag, an alarm) for the reader, cut where they are
/// long, and a hash of `identity`, the texts that make two executions the same or not.
#[must_use]
pub fn name(stack: &str, label: &str, identity: &[&str]) -> String {
    let hash: String = Sha256::digest(identity.join("\n"))
        .iter()
        .take(HASH_LENGTH / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-{}-{hash}", part(stack), part(label))
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

    #[test]
    fn a_name_tells_stack_and_label_and_is_the_same_for_the_same_identity() {
        let first = name("demo", "v2", &["demo", "e1"]);
        assert!(first.starts_with("demo-v2-"), "{first}");
        assert_eq!(first, name("demo", "v2", &["demo", "e1"]));
        assert_ne!(first, name("demo", "v2", &["demo", "e2"]));
        assert_ne!(
            name("demo", "v2", &["ab", "c"]),
            name("demo", "v2", &["a", "bc"])
        );
    }

    #[test]
    fn a_name_is_never_longer_than_step_functions_takes() {
        let (stack, label) = ("s".repeat(128), "v".repeat(128));
        let long = name(&stack, &label, &["1"]);
        assert!(long.len() <= NAME_LENGTH, "{long}");
        assert_ne!(long, name(&stack, &label, &["2"]));
        assert!(
            name("demo", "ä:/ ", &[])
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        );
    }

    #[test]
    fn arns_follow_from_the_machines() {
        let machine = StateMachine::parse(ARN).unwrap();
        assert_eq!(
            machine.execution("x"),
            "arn:aws-cn:states:cn-north-1:123456789012:execution:deploy:x"
        );
        assert_eq!(
            machine.repository("demo"),
            "arn:aws-cn:ecr:cn-north-1:123456789012:repository/demo"
        );
    }

    #[test]
    fn an_arn_of_something_else_is_refused_in_a_sentence() {
        for arn in ["deploy", "arn:aws:states:us-east-1:1:execution:deploy:x"] {
            let refusal = StateMachine::parse(arn).unwrap_err().to_string();
            assert!(refusal.contains("STATE_MACHINE_ARN"), "{refusal}");
        }
    }
}
