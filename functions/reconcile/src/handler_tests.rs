use super::*;
use aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksOutput;
use aws_sdk_cloudformation::types::{Output, Stack, StackStatus};
use aws_sdk_ecr::operation::describe_images::DescribeImagesOutput;
use aws_sdk_ecr::operation::describe_repositories::DescribeRepositoriesOutput;
use aws_sdk_ecr::operation::list_tags_for_resource::{
    ListTagsForResourceError, ListTagsForResourceOutput,
};
use aws_sdk_ecr::types::Tag;
use aws_sdk_sfn::operation::start_execution::{StartExecutionError, StartExecutionOutput};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use lambda_runtime::Diagnostic;
use serde_json::{Value, json};

const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:deploy";
const PUSHED: i64 = 1_768_096_474;

fn arn(repository: &str) -> String {
    format!("arn:aws:ecr:us-east-1:123456789012:repository/{repository}")
}

/// Repositories on two pages; `demo` names two stacks, `tools` none, and `secret` does not tell.
fn ecr(repositories: &'static [&str]) -> aws_sdk_ecr::Client {
    use aws_sdk_ecr::Client;
    let pages = mock!(Client::describe_repositories).then_compute_output(|request| {
        let at: usize = request
            .next_token()
            .map_or(0, |token| token.parse().unwrap());
        let repository = Repository::builder()
            .repository_name(repositories[at])
            .repository_arn(arn(repositories[at]));
        let next = (at + 1 < repositories.len()).then(|| (at + 1).to_string());
        DescribeRepositoriesOutput::builder()
            .repositories(repository.build())
            .set_next_token(next)
            .build()
    });
    let demo = mock!(Client::list_tags_for_resource)
        .match_requests(|request| request.resource_arn() == Some(&arn("demo")))
        .then_output(|| {
            let tag = Tag::builder()
                .key("bluegreen:stacks")
                .value("demo production");
            ListTagsForResourceOutput::builder()
                .tags(tag.build().unwrap())
                .build()
        });
    let tools = mock!(Client::list_tags_for_resource)
        .match_requests(|request| request.resource_arn() == Some(&arn("tools")))
        .then_output(|| ListTagsForResourceOutput::builder().build());
    let secret = mock!(Client::list_tags_for_resource).then_error(|| {
        ListTagsForResourceError::generic(
            aws_sdk_ecr::error::ErrorMetadata::builder()
                .code("AccessDeniedException")
                .message("not you")
                .build(),
        )
    });
    let images = mock!(Client::describe_images)
        .match_requests(|request| {
            request.repository_name() == Some("demo")
                && request.filter().and_then(|filter| filter.tag_status())
                    == Some(&TagStatus::Tagged)
        })
        .then_output(|| {
            let image = |digest: &str, tag: &str, at| {
                ImageDetail::builder()
                    .image_digest(digest)
                    .image_tags(tag)
                    .image_pushed_at(DateTime::from_secs(at))
                    .build()
            };
            DescribeImagesOutput::builder()
                .image_details(image("sha256:1111", "v1", PUSHED - 60))
                .image_details(image("sha256:2222", "main-2", PUSHED))
                .build()
        });
    mock_client!(
        aws_sdk_ecr,
        RuleMode::MatchAny,
        &[&pages, &demo, &tools, &secret, &images]
    )
}

/// The stack `production` takes `v*` alone.
fn stacks() -> aws_sdk_cloudformation::Client {
    use aws_sdk_cloudformation::Client;
    let rule = mock!(Client::describe_stacks).then_compute_output(|request| {
        let output = (request.stack_name() == Some("production")).then(|| {
            Output::builder()
                .output_key("ImageTags")
                .output_value("v*")
                .build()
        });
        let stack = Stack::builder()
            .stack_status(StackStatus::CreateComplete)
            .set_outputs(output.map(|output| vec![output]));
        DescribeStacksOutput::builder()
            .stacks(stack.build())
            .build()
    });
    mock_client!(aws_sdk_cloudformation, RuleMode::MatchAny, &[&rule])
}

/// An execution for `production` is known; one for `demo` starts.
fn executions() -> [Rule; 2] {
    use aws_sdk_sfn::Client;
    let known = mock!(Client::start_execution)
        .match_requests(|request| request.name().unwrap().starts_with("production-v1-"))
        .then_error(|| {
            StartExecutionError::generic(
                aws_sdk_sfn::error::ErrorMetadata::builder()
                    .code("ExecutionAlreadyExists")
                    .build(),
            )
        });
    let starts = mock!(Client::start_execution)
        .match_requests(|request| {
            let input: Value = serde_json::from_str(request.input().unwrap()).unwrap();
            request.state_machine_arn() == Some(MACHINE)
                && request.name().unwrap().starts_with("demo-main-2-")
                && input
                    == json!({
                        "stack": "demo", "tag": "main-2", "digest": "sha256:2222",
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
    [known, starts]
}

async fn run(
    repositories: &'static [&str],
    rules: &[Rule; 2],
    seconds_since_push: i64,
) -> Result<Answer, Failure> {
    let context = Context {
        cloudformation: stacks(),
        ecr: ecr(repositories),
        sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &rules.each_ref()),
        state_machine: StateMachine::parse(MACHINE).unwrap(),
    };
    handle(&context, DateTime::from_secs(PUSHED + seconds_since_push)).await
}

#[tokio::test]
async fn a_push_that_no_execution_knows_is_released_and_a_known_one_is_not() {
    let answer = run(&["tools", "demo"], &executions(), 300).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!(
        answer["stacks"][0],
        json!({"repository": "demo", "stack": "demo", "execution": "arn:started"})
    );
    assert_eq!(answer["stacks"][1]["stack"], "production");
    let known = answer["stacks"][1]["known"].as_str().unwrap();
    assert!(
        known.starts_with("arn:aws:states:us-east-1:123456789012:execution:deploy:production-v1-"),
        "{known}"
    );
}

#[tokio::test]
async fn a_push_whose_event_may_still_come_is_left() {
    let executions = executions();
    let answer = run(&["demo"], &executions, 60).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    assert!(answer["stacks"][0]["skipped"].is_string(), "{answer}");
    assert_eq!(executions[1].num_calls(), 0);
}

#[tokio::test]
async fn one_repositorys_failure_keeps_no_other_from_being_looked_at() {
    let executions = executions();
    let failure: Diagnostic = run(&["secret", "demo"], &executions, 300)
        .await
        .unwrap_err()
        .into();
    assert_eq!(failure.error_type, "AwsRequestFailed");
    for part in ["ecr:ListTagsForResource", "secret", "not you"] {
        assert!(failure.error_message.contains(part), "{failure:?}");
    }
    assert_eq!(executions[1].num_calls(), 1);
}
