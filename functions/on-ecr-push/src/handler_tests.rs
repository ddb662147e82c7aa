use super::*;
use crate::event::tests::pushed;
use aws_sdk_cloudformation::operation::describe_stacks::{
    DescribeStacksError, DescribeStacksOutput,
};
use aws_sdk_cloudformation::types::{Output, Stack, StackStatus};
use aws_sdk_ecr::operation::list_tags_for_resource::ListTagsForResourceOutput;
use aws_sdk_ecr::types::Tag;
use aws_sdk_sfn::operation::start_execution::{StartExecutionError, StartExecutionOutput};
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::error::ExecutionAlreadyExists;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::diagnostic;
use serde_json::json;

const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:deploy";

fn names_stacks(stacks: &'static str) -> aws_sdk_ecr::Client {
    use aws_sdk_ecr::Client;
    let rule = mock!(Client::list_tags_for_resource)
        .match_requests(|request| {
            request.resource_arn() == Some("arn:aws:ecr:us-east-1:123456789012:repository/demo")
        })
        .then_output(move || {
            let tag =
                |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
            let output = ListTagsForResourceOutput::builder().tags(tag("team", "staging"));
            match stacks {
                "" => output.build(),
                stacks => output.tags(tag("bluegreen:stacks", stacks)).build(),
            }
        });
    mock_client!(aws_sdk_ecr, RuleMode::MatchAny, &[&rule])
}

/// The stacks `demo`, which takes every tag, and `production`, which takes `v*` alone.
fn two_stacks() -> aws_sdk_cloudformation::Client {
    use aws_sdk_cloudformation::Client;
    let stack = |name: &'static str, patterns: Option<&'static str>| {
        mock!(Client::describe_stacks)
            .match_requests(move |request| request.stack_name() == Some(name))
            .then_output(move || {
                let outputs = patterns.map(|patterns| {
                    Output::builder()
                        .output_key("ImageTags")
                        .output_value(patterns)
                        .build()
                });
                DescribeStacksOutput::builder()
                    .stacks(
                        Stack::builder()
                            .stack_name(name)
                            .stack_status(StackStatus::CreateComplete)
                            .set_outputs(outputs.map(|output| vec![output]))
                            .build(),
                    )
                    .build()
            })
    };
    let missing = mock!(Client::describe_stacks).then_error(|| {
        DescribeStacksError::generic(
            aws_sdk_cloudformation::error::ErrorMetadata::builder()
                .code("ValidationError")
                .message("Stack with id gone does not exist")
                .build(),
        )
    });
    let (demo, production) = (stack("demo", None), stack("production", Some("v*")));
    mock_client!(
        aws_sdk_cloudformation,
        RuleMode::MatchAny,
        &[&demo, &production, &missing]
    )
}

fn starts() -> Rule {
    use aws_sdk_sfn::Client;
    mock!(Client::start_execution)
        .match_requests(|request| {
            let input: Value = serde_json::from_str(request.input().unwrap()).unwrap();
            let stack = input["stack"].as_str().unwrap();
            request.state_machine_arn() == Some(MACHINE)
                && request.name().unwrap().starts_with(&format!("{stack}-v2-"))
                && input
                    == json!({
                        "stack": stack, "tag": "v2", "digest": "sha256:2222", "repository": "demo",
                        "pushedAt": "2026-01-11T01:54:34Z", "startedBy": "push of v2"
                    })
        })
        .then_compute_output(|request| {
            StartExecutionOutput::builder()
                .execution_arn(format!("arn:started:{}", request.name().unwrap()))
                .start_date(DateTime::from_secs(0))
                .build()
                .unwrap()
        })
}

fn context(ecr: aws_sdk_ecr::Client, rules: &[&Rule]) -> Context {
    Context {
        cloudformation: two_stacks(),
        ecr,
        sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, rules),
        state_machine: StateMachine::parse(MACHINE).unwrap(),
    }
}

async fn answer(context: &Context, event: Value) -> Value {
    serde_json::to_value(handle(context, event).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_release_starts_for_every_stack_that_the_repository_names() {
    let starts = starts();
    let context = context(names_stacks("demo production"), &[&starts]);
    let answer = answer(&context, pushed()).await;
    assert_eq!(starts.num_calls(), 2);
    assert_eq!(answer["repository"], "demo");
    assert_eq!(answer["tag"], "v2");
    assert_eq!(answer["digest"], "sha256:2222");
    for (at, stack) in ["demo", "production"].into_iter().enumerate() {
        assert_eq!(answer["stacks"][at]["stack"], stack);
        let execution = answer["stacks"][at]["execution"].as_str().unwrap();
        assert!(execution.starts_with(&format!("arn:started:{stack}-v2-")));
    }
}

#[tokio::test]
async fn a_stack_that_does_not_take_the_tag_or_does_not_exist_is_skipped_with_the_reason() {
    let context = context(names_stacks("production gone"), &[]);
    let mut event = pushed();
    event["detail"]["image-tag"] = json!("main-1");
    let answer = answer(&context, event).await;
    for (at, reason) in ["`v*`", "no stack gone: Stack with id gone does not exist"]
        .into_iter()
        .enumerate()
    {
        let skipped = answer["stacks"][at]["skipped"].as_str().unwrap();
        assert!(skipped.contains(reason), "{skipped}");
    }
}

/// A stack in that status, of which CloudFormation tells no outputs.
async fn with_silent_stack(status: StackStatus) -> Result<Answer, Failure> {
    use aws_sdk_cloudformation::Client;
    let silent = mock!(Client::describe_stacks).then_output(move || {
        let stack = Stack::builder().stack_status(status.clone()).build();
        DescribeStacksOutput::builder().stacks(stack).build()
    });
    let mut context = context(names_stacks("demo"), &[]);
    context.cloudformation = mock_client!(aws_sdk_cloudformation, RuleMode::MatchAny, &[&silent]);
    handle(&context, pushed()).await
}

#[tokio::test]
async fn a_stack_that_is_being_created_is_skipped() {
    let answer = with_silent_stack(StackStatus::CreateInProgress)
        .await
        .unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    let skipped = answer["stacks"][0]["skipped"].as_str().unwrap();
    assert!(skipped.contains("CREATE_IN_PROGRESS"), "{skipped}");
}

#[tokio::test]
async fn a_stack_whose_outputs_are_not_told_gets_no_tag_that_it_may_not_want() {
    let failure = with_silent_stack(StackStatus::UpdateRollbackInProgress)
        .await
        .unwrap_err();
    assert_eq!(<&str>::from(&failure), "AwsRequestFailed");
    for part in ["demo", "UPDATE_ROLLBACK_IN_PROGRESS", "ImageTags"] {
        assert!(failure.to_string().contains(part), "{failure}");
    }
}

#[tokio::test]
async fn a_repository_without_the_tag_is_ignored() {
    let answer = answer(&context(names_stacks(""), &[]), pushed()).await;
    let ignored = answer["ignored"].as_str().unwrap();
    assert!(ignored.contains("bluegreen:stacks"), "{ignored}");
}

#[tokio::test]
async fn an_event_of_another_account_or_region_is_ignored() {
    for (key, value) in [("account", "210987654321"), ("region", "eu-west-1")] {
        let mut event = pushed();
        event[key] = json!(value);
        let answer = answer(&context(names_stacks("demo"), &[]), event).await;
        assert!(answer["ignored"].as_str().unwrap().contains(value));
    }
}

#[tokio::test]
async fn an_event_that_is_no_push_is_ignored_without_asking_aws() {
    let mut event = pushed();
    event["detail"]["action-type"] = json!("DELETE");
    let answer = answer(&context(names_stacks("demo"), &[]), event).await;
    assert!(answer["ignored"].as_str().unwrap().contains("DELETE"));
}

#[tokio::test]
async fn a_repeated_event_gets_the_execution_it_has_started_before() {
    use aws_sdk_sfn::Client;
    let exists = mock!(Client::start_execution).then_error(|| {
        StartExecutionError::ExecutionAlreadyExists(
            ExecutionAlreadyExists::builder()
                .meta(
                    aws_sdk_sfn::error::ErrorMetadata::builder()
                        .code("ExecutionAlreadyExists")
                        .build(),
                )
                .build(),
        )
    });
    let answer = answer(&context(names_stacks("demo"), &[&exists]), pushed()).await;
    let execution = answer["stacks"][0]["execution"].as_str().unwrap();
    assert!(
        execution.starts_with("arn:aws:states:us-east-1:123456789012:execution:deploy:demo-v2-"),
        "{execution}"
    );
}

#[tokio::test]
async fn one_stacks_failure_keeps_no_other_from_its_release() {
    use aws_sdk_sfn::Client;
    let refuses = mock!(Client::start_execution)
        .match_requests(|request| request.name().unwrap().starts_with("demo-"))
        .then_error(|| {
            StartExecutionError::generic(
                aws_sdk_sfn::error::ErrorMetadata::builder()
                    .code("AccessDeniedException")
                    .message("not you")
                    .build(),
            )
        });
    let starts = starts();
    let context = context(names_stacks("demo production"), &[&refuses, &starts]);
    let failure = diagnostic(handle(&context, pushed()).await.unwrap_err());
    assert_eq!(failure.error_type, "AwsRequestFailed");
    for part in [
        "states:StartExecution",
        "not you",
        "arn:started:production-v2-",
    ] {
        assert!(failure.error_message.contains(part), "{failure:?}");
    }
}

#[tokio::test]
async fn an_event_without_its_fields_is_invalid_event() {
    let context = context(names_stacks("demo"), &[]);
    let failure = diagnostic(handle(&context, json!({"id": 1})).await.unwrap_err());
    assert_eq!(failure.error_type, "InvalidEvent");
    assert!(failure.error_message.contains("`id`"), "{failure:?}");
}
