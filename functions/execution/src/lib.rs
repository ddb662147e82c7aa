//! Executions of the state machine that an event starts.

use aws_sdk_sfn::Client;
use bluegreen_contract::ExecutionInput;
use bluegreen_sdk_config::{AwsRequestFailed, failed};
use sha2::{Digest, Sha256};

/// StartExecution takes no longer name
/// (<https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>).
const NAME_LENGTH: usize = 80;
/// Hexadecimal digits of the hash at a name's end.
const HASH_LENGTH: usize = 16;
/// What is left for each of the two parts that a person reads, with a hyphen after each.
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

impl StateMachine {
    /// # Errors
    /// A sentence for the log of a function that cannot start.
    pub fn parse(arn: &str) -> Result<Self, String> {
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

    /// ARN of the machine's execution of that name.
    pub fn execution(&self, name: &str) -> String {
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

/// An execution that runs or has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub arn: String,
    /// It was started before.
    pub is_known: bool,
}

/// Starts an execution, or finds the one of that name: whoever is told of the same thing once more
/// starts nothing new.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn start(
    client: &Client,
    machine: &StateMachine,
    name: &str,
    input: &ExecutionInput,
) -> Result<Started, AwsRequestFailed> {
    let started = client
        .start_execution()
        .state_machine_arn(&machine.arn)
        .name(name)
        .input(serde_json::json!(input).to_string())
        .send()
        .await
        .map_err(failed("states:StartExecution", machine.execution(name)));
    match started {
        Ok(execution) => Ok(Started {
            arn: execution.execution_arn,
            is_known: false,
        }),
        Err(failure) if failure.code == "ExecutionAlreadyExists" => Ok(Started {
            arn: machine.execution(name),
            is_known: true,
        }),
        Err(failure) => Err(failure),
    }
}

/// The name of an execution: two parts for the reader, cut where they are long, and a hash of all
/// that makes it what it is, which tells apart what cutting makes equal.
pub fn name(first: &str, second: &str, identity: &[&str]) -> String {
    let hash: String = Sha256::digest(identity.join("\n"))
        .iter()
        .take(HASH_LENGTH / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-{}-{hash}", part(first), part(second))
}

/// A name with another character would be refused; names of alarms have them.
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
    fn a_name_tells_its_parts_and_is_the_same_for_the_same_identity() {
        let first = name("demo", "v2", &["demo", "v2", "1"]);
        assert!(first.starts_with("demo-v2-"), "{first}");
        assert_eq!(first, name("demo", "v2", &["demo", "v2", "1"]));
        assert_ne!(first, name("demo", "v2", &["demo", "v2", "2"]));
    }

    #[test]
    fn a_name_is_never_longer_than_step_functions_takes() {
        let (stack, tag) = ("s".repeat(128), "v".repeat(128));
        let long = name(&stack, &tag, &[&stack, &tag]);
        assert!(long.len() <= NAME_LENGTH, "{long}");
        assert_ne!(long, name(&stack, &tag, &[&stack, &tag[1..]]));
        assert!(
            name("demo", "ä:/ ", &["x"])
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
