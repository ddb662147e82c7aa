//! From a pushed image to the executions that release it: the same whether an event tells of the push
//! or somebody looks for it.

mod artifact;
mod glob;
mod stack;

pub use artifact::{is_other_artifact, is_referrer};
pub use stack::ImageTags;

use aws_sdk_ecr::primitives::{DateTime, DateTimeFormat};
use bluegreen_contract::ExecutionInput;
use bluegreen_execution::{Started, StateMachine};
use bluegreen_sdk_config::AwsRequestFailed;

/// A pushed image with a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    pub repository: String,
    pub tag: String,
    pub digest: String,
    /// Part of the execution's name: the same push has the same time, whoever tells of it.
    pub pushed_at: DateTime,
}

/// Starts the release of a push into a stack, or finds the execution that was started for it.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn release(
    client: &aws_sdk_sfn::Client,
    machine: &StateMachine,
    push: &Push,
    stack: &str,
    started_by: &str,
) -> Result<Started, AwsRequestFailed> {
    let pushed_at = to_the_second(push.pushed_at);
    let name = name(push, stack, &pushed_at);
    let input = ExecutionInput {
        stack: stack.to_owned(),
        tag: Some(push.tag.clone()),
        digest: Some(push.digest.clone()),
        repository: Some(push.repository.clone()),
        pushed_at: Some(pushed_at),
        started_by: Some(started_by.chars().take(128).collect()),
        ..ExecutionInput::default()
    };
    bluegreen_execution::start(client, machine, &name, &input).await
}

/// The push's own time makes a tag that is pushed to the same digest again another push. Nothing of
/// an event is in it, so that the name follows from what the repository says of the image.
fn name(push: &Push, stack: &str, pushed_at: &str) -> String {
    let identity = [stack, &push.repository, &push.tag, &push.digest, pushed_at];
    bluegreen_execution::name(stack, &push.tag, &identity)
}

/// RFC 3339 in UTC, in whole seconds: events have no finer time.
fn to_the_second(time: DateTime) -> String {
    DateTime::from_secs(time.secs())
        .fmt(DateTimeFormat::DateTime)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sfn::operation::start_execution::StartExecutionOutput;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};
    use serde_json::{Value, json};

    fn push(at: DateTime) -> Push {
        Push {
            repository: "demo".to_owned(),
            tag: "v2".to_owned(),
            digest: "sha256:2222".to_owned(),
            pushed_at: at,
        }
    }

    fn name_of(push: &Push, stack: &str) -> String {
        name(push, stack, &to_the_second(push.pushed_at))
    }

    #[test]
    fn a_push_has_one_name_a_stack_and_a_second() {
        let at = DateTime::from_secs_and_nanos(1_768_096_474, 250_000_000);
        let first = name_of(&push(at), "demo");
        assert!(first.starts_with("demo-v2-"), "{first}");
        let whole = push(DateTime::from_secs(1_768_096_474));
        assert_eq!(first, name_of(&whole, "demo"));
        let again = push(DateTime::from_secs(1_768_096_475));
        assert_ne!(first, name_of(&again, "demo"));
        assert_ne!(first, name_of(&whole, "demo2"));
    }

    #[tokio::test]
    async fn the_release_knows_when_the_image_was_pushed_and_who_started_it() {
        use aws_sdk_sfn::Client;
        let rule = mock!(Client::start_execution)
            .match_requests(|request| {
                let input: Value = serde_json::from_str(request.input().unwrap()).unwrap();
                input
                    == json!({
                        "stack": "demo", "tag": "v2", "digest": "sha256:2222",
                        "repository": "demo", "pushedAt": "2026-01-11T01:54:34Z",
                        "startedBy": "reconciler"
                    })
            })
            .then_output(|| {
                StartExecutionOutput::builder()
                    .execution_arn("arn:started")
                    .start_date(aws_sdk_sfn::primitives::DateTime::from_secs(0))
                    .build()
                    .unwrap()
            });
        let client = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &[&rule]);
        let machine =
            StateMachine::parse("arn:aws:states:us-east-1:123456789012:stateMachine:deploy")
                .unwrap();
        let push = push(DateTime::from_secs(1_768_096_474));
        let started = release(&client, &machine, &push, "demo", "reconciler")
            .await
            .unwrap();
        assert_eq!(started.arn, "arn:started");
    }
}
