use super::*;
use crate::event::tests::fired;
use aws_sdk_cloudformation::operation::describe_stack_resources::{
    DescribeStackResourcesError, DescribeStackResourcesOutput,
};
use aws_sdk_cloudformation::operation::list_stack_resources::ListStackResourcesOutput;
use aws_sdk_cloudformation::types::{StackResource, StackResourceSummary};
use aws_sdk_sfn::operation::start_execution::{StartExecutionError, StartExecutionOutput};
use aws_sdk_sfn::primitives::DateTime;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::diagnostic;
use serde_json::json;

const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:deploy";

/// The stack `demo` with the alarm `demo-5xx` and a resource of the given type.
fn stack_with(kind: &'static str) -> aws_sdk_cloudformation::Client {
    stack_with_named("demo-5xx", "AWS::CloudWatch::Alarm", kind)
}

/// The stack `demo` with something of the type `named` that has this name, and a resource of the type
/// `kind`.
fn stack_with_named(
    name: &str,
    named: &'static str,
    kind: &'static str,
) -> aws_sdk_cloudformation::Client {
    use aws_sdk_cloudformation::Client;
    let (alarm, name) = (name.to_owned(), name.to_owned());
    let owner = mock!(Client::describe_stack_resources)
        .match_requests(move |request| request.physical_resource_id() == Some(alarm.as_str()))
        .then_output(|| {
            let resource = |id: &str| {
                StackResource::builder()
                    .stack_name("demo")
                    .physical_resource_id(id)
                    .build()
            };
            DescribeStackResourcesOutput::builder()
                .stack_resources(resource("the first of a hundred others"))
                .build()
        });
    let resources = mock!(Client::list_stack_resources)
        .match_requests(|request| request.stack_name() == Some("demo"))
        .then_output(move || {
            let resource = |kind| StackResourceSummary::builder().resource_type(kind);
            ListStackResourcesOutput::builder()
                .stack_resource_summaries(resource(named).physical_resource_id(&name).build())
                .stack_resource_summaries(resource(kind).build())
                .build()
        });
    mock_client!(
        aws_sdk_cloudformation,
        RuleMode::MatchAny,
        &[&owner, &resources]
    )
}

fn refuses(code: &'static str) -> aws_sdk_cloudformation::Client {
    use aws_sdk_cloudformation::Client;
    let rule = mock!(Client::describe_stack_resources).then_error(move || {
        DescribeStackResourcesError::generic(
            aws_sdk_cloudformation::error::ErrorMetadata::builder()
                .code(code)
                .message("Stack for demo-5xx does not exist")
                .build(),
        )
    });
    mock_client!(aws_sdk_cloudformation, RuleMode::MatchAny, &[&rule])
}

fn starts() -> Rule {
    use aws_sdk_sfn::Client;
    mock!(Client::start_execution)
        .match_requests(|request| {
            let input: Value = serde_json::from_str(request.input().unwrap()).unwrap();
            request.state_machine_arn() == Some(MACHINE)
                && request.name().unwrap().starts_with("demo-demo-5xx-")
                && input
                    == json!({
                        "stack": "demo", "action": "rollback", "startedBy": "alarm demo-5xx",
                        "alarm": {"name": "demo-5xx", "at": "2026-01-11T17:04:40.985Z"}
                    })
        })
        .then_output(|| {
            StartExecutionOutput::builder()
                .execution_arn("arn:started")
                .start_date(DateTime::from_secs(0))
                .build()
                .unwrap()
        })
}

fn context(cloudformation: aws_sdk_cloudformation::Client, rules: &[&Rule]) -> Context {
    Context {
        cloudformation,
        sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, rules),
        state_machine: StateMachine::parse(MACHINE).unwrap(),
    }
}

async fn ignored_because(context: &Context, event: Value) -> String {
    match handle(context, event).await.unwrap() {
        Answer::Ignored { ignored } => ignored,
        taken @ Answer::Taken { .. } => panic!("{taken:?}"),
    }
}

#[tokio::test]
async fn an_alarm_of_an_app_stack_starts_a_rollback() {
    let starts = starts();
    let answer = handle(
        &context(stack_with("AWS::ECS::Service"), &[&starts]),
        fired(),
    )
    .await
    .unwrap();
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({"alarm": "demo-5xx", "stack": "demo", "execution": "arn:started"})
    );
}

#[tokio::test]
async fn a_composite_alarm_is_an_alarm_and_a_queue_of_the_same_name_is_none() {
    let starts = starts();
    for (named, taken) in [
        ("AWS::CloudWatch::CompositeAlarm", true),
        ("AWS::SQS::Queue", false),
    ] {
        let cloudformation = stack_with_named("demo-5xx", named, "AWS::ECS::Service");
        let answer = handle(&context(cloudformation, &[&starts]), fired()).await;
        match answer.unwrap() {
            Answer::Taken { .. } => assert!(taken, "{named}"),
            Answer::Ignored { ignored } => {
                assert!(!taken && ignored.contains("is no alarm"), "{ignored}");
            }
        }
    }
}

#[tokio::test]
async fn an_alarm_with_the_longest_name_gives_an_input_that_is_taken() {
    let starts = mock!(aws_sdk_sfn::Client::start_execution)
        .match_requests(|request| {
            let input: Value = serde_json::from_str(request.input().unwrap()).unwrap();
            let input: ExecutionInput = bluegreen_contract::parse(input).unwrap();
            input.validate() == Ok(()) && request.name().unwrap().len() <= 80
        })
        .then_output(|| {
            StartExecutionOutput::builder()
                .execution_arn("arn:started")
                .start_date(DateTime::from_secs(0))
                .build()
                .unwrap()
        });
    let mut event = fired();
    let longest = "ü".repeat(255);
    event["detail"]["alarmName"] = json!(longest);
    let cloudformation = stack_with_named(&longest, "AWS::CloudWatch::Alarm", "AWS::ECS::Service");
    let answer = handle(&context(cloudformation, &[&starts]), event).await;
    assert!(matches!(answer.unwrap(), Answer::Taken { .. }));
}

#[tokio::test]
async fn a_repeated_event_gets_the_execution_it_has_started_before() {
    use aws_sdk_sfn::Client;
    let exists = mock!(Client::start_execution).then_error(|| {
        StartExecutionError::generic(
            aws_sdk_sfn::error::ErrorMetadata::builder()
                .code("ExecutionAlreadyExists")
                .build(),
        )
    });
    let context = context(stack_with("AWS::ECS::Service"), &[&exists]);
    let Answer::Taken { execution, .. } = handle(&context, fired()).await.unwrap() else {
        panic!("ignored");
    };
    assert!(
        execution.starts_with("arn:aws:states:us-east-1:123456789012:execution:deploy:demo-"),
        "{execution}"
    );
}

#[tokio::test]
async fn an_alarm_of_no_stack_or_of_one_without_services_is_ignored() {
    let nobodys = context(refuses("ValidationError"), &[]);
    assert!(
        ignored_because(&nobodys, fired())
            .await
            .contains("no stack")
    );
    let databases = context(stack_with("AWS::RDS::DBInstance"), &[]);
    assert!(
        ignored_because(&databases, fired())
            .await
            .contains("no ECS services")
    );
}

#[tokio::test]
async fn an_alarm_of_another_account_or_region_is_ignored() {
    for (key, value) in [("account", "210987654321"), ("region", "eu-west-1")] {
        let mut event = fired();
        event[key] = json!(value);
        let context = context(stack_with("AWS::ECS::Service"), &[]);
        assert!(ignored_because(&context, event).await.contains(value));
    }
}

#[tokio::test]
async fn a_refusal_is_aws_request_failed_so_that_the_event_comes_again() {
    let context = context(refuses("AccessDenied"), &[]);
    let failure = diagnostic(handle(&context, fired()).await.unwrap_err());
    assert_eq!(failure.error_type, "AwsRequestFailed");
}
