//! Which tags a stack takes.

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::StackStatus;
use bluegreen_runtime::{AwsRequestFailed, failed};

/// The stack's output with the patterns of the tags that it takes; without it, it takes all.
const IMAGE_TAGS: &str = "ImageTags";

/// Which tags a stack takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenTags {
    taken: Taken,
    /// CloudFormation is at work on the stack: a release waits until it has finished.
    pub is_changing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Taken {
    /// None; a sentence says why.
    None(String),
    /// Those that match one of these patterns.
    Matching(String),
    All,
}

impl TakenTags {
    /// Asks CloudFormation.
    ///
    /// # Errors
    /// [`AwsRequestFailed`], also where CloudFormation does not tell the stack's outputs at this
    /// moment.
    pub async fn load(client: &Client, name: &str) -> Result<Self, AwsRequestFailed> {
        let absent = |detail: &str| {
            let detail = detail.trim_end_matches('.');
            Self {
                taken: Taken::None(format!("There is no stack {name}: {detail}.")),
                is_changing: false,
            }
        };
        let answer = client
            .describe_stacks()
            .stack_name(name)
            .send()
            .await
            .map_err(failed("cloudformation:DescribeStacks", name));
        let answer = match answer {
            Ok(answer) => answer,
            // CloudFormation has no error code of its own for a stack that does not exist. The name
            // is all that the request holds, so it is also what any other complaint is about.
            Err(failure) if failure.code == "ValidationError" => {
                return Ok(absent(&failure.message));
            }
            Err(failure) => return Err(failure),
        };
        let Some(stack) = answer.stacks().first() else {
            return Ok(absent("CloudFormation knows none"));
        };
        let status = stack.stack_status().map_or("UNKNOWN", StackStatus::as_str);
        let is_changing = status.ends_with("_IN_PROGRESS");
        if stack.outputs().is_empty() {
            match silence_of(status) {
                Silence::NoOutputs => {}
                Silence::NeverCreated => {
                    let reason = format!(
                        "The stack is {status}: a stack's first image is deployed with it."
                    );
                    return Ok(Self {
                        taken: Taken::None(reason),
                        is_changing,
                    });
                }
                Silence::Unknown => return Err(untold(name, status)),
            }
        }
        let patterns = stack
            .outputs()
            .iter()
            .find(|output| output.output_key() == Some(IMAGE_TAGS))
            .and_then(|output| output.output_value())
            .filter(|patterns| !patterns.trim().is_empty());
        Ok(Self {
            taken: patterns.map_or(Taken::All, |patterns| Taken::Matching(patterns.to_owned())),
            is_changing,
        })
    }

    /// A sentence where the stack does not take the tag.
    #[must_use]
    pub fn reason_to_skip(&self, tag: &str) -> Option<String> {
        match &self.taken {
            Taken::None(reason) => Some(reason.clone()),
            Taken::Matching(patterns) if !bluegreen_ecr::patterns_take(patterns, tag) => {
                Some(format!(
                    "The tag {tag} is none that the stack takes (its output {IMAGE_TAGS} is `{patterns}`)."
                ))
            }
            Taken::Matching(_) | Taken::All => None,
        }
    }
}

/// What it means that CloudFormation tells no outputs of a stack.
#[derive(Debug, PartialEq, Eq)]
enum Silence {
    /// The stack has none.
    NoOutputs,
    /// There is nothing to deploy to: the stack is not created yet, or it is gone.
    NeverCreated,
    /// The stack may have some. While an update is rolled back, CloudFormation leaves them out. To
    /// take that for a stack that takes every tag would bring one into it that it does not want.
    Unknown,
}

/// The statuses of a stack
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Stack.html>). Which of
/// them have outputs is not documented.
fn silence_of(status: &str) -> Silence {
    let starts_with = |phases: &[&str]| phases.iter().any(|phase| status.starts_with(phase));
    match status {
        "CREATE_COMPLETE"
        | "IMPORT_COMPLETE"
        | "UPDATE_IN_PROGRESS"
        | "UPDATE_COMPLETE"
        | "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
        | "UPDATE_ROLLBACK_COMPLETE" => Silence::NoOutputs,
        _ if starts_with(&["CREATE_", "REVIEW_", "ROLLBACK_", "DELETE_"]) => Silence::NeverCreated,
        _ => Silence::Unknown,
    }
}

/// The event comes again; until then the status may be another one.
fn untold(stack: &str, status: &str) -> AwsRequestFailed {
    AwsRequestFailed {
        action: "cloudformation:DescribeStacks",
        resource: stack.to_owned(),
        code: status.to_owned(),
        message: format!(
            "in this status CloudFormation does not tell the stack's outputs, and {IMAGE_TAGS} may be one of them"
        ),
        refused: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_without_outputs_takes_every_tag_only_where_it_really_has_none() {
        use Silence::{NeverCreated, NoOutputs, Unknown};
        for (status, expected) in [
            ("CREATE_COMPLETE", NoOutputs),
            ("UPDATE_IN_PROGRESS", NoOutputs),
            ("UPDATE_COMPLETE", NoOutputs),
            ("UPDATE_ROLLBACK_COMPLETE", NoOutputs),
            ("CREATE_IN_PROGRESS", NeverCreated),
            ("CREATE_FAILED", NeverCreated),
            ("REVIEW_IN_PROGRESS", NeverCreated),
            ("ROLLBACK_COMPLETE", NeverCreated),
            ("DELETE_IN_PROGRESS", NeverCreated),
            ("UPDATE_ROLLBACK_IN_PROGRESS", Unknown),
            ("UPDATE_ROLLBACK_FAILED", Unknown),
            ("A_STATUS_OF_TOMORROW", Unknown),
        ] {
            assert_eq!(silence_of(status), expected, "{status}");
        }
    }
}
