use super::*;
use crate::event::tests::fired;
use aws_sdk_cloudformation::operation::describe_stack_resources::{
    DescribeStackResourcesError, DescribeStackResourcesOutput,
};
use aws_sdk_sfn::operation::start_execution::{StartExecutionError, StartExecutionOutput};
use aws_sdk_sfn::primitives::DateTime;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use lambda_runtime::Diagnostic;
use serde_json::json;

const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:deploy";

/// The stack `demo` with resources of these types and physical ids.
fn stack_has(resources: &'static [(&str, &str)]) -> Client {
    let rule = mock!(Client::describe_stack_resources)
        .match_requests(|request| request.physical_resource_id() == Some("demo-5xx"))
        .then_output(move || {
            let resources = resources.iter().map(|(kind, id)| {
                StackResource::builder()
                    .stack_name("demo")
                    .resource_type(*kind)
                    .physical_resource_id(*id)
                    .build()
            });
            DescribeStackResourcesOutput::builder()
                .set_stack_resources(Some(resources.collect()))
                .build()
        });
    mock_client!(aws_sdk_cloudformation, RuleMode::MatchAny, &[&rule])
}

fn refuses(code: &'static str) -> Client {
    let rule = mock!(Client::describe_stack_resources).then_error(move || {
        DescribeStackResourcesError::generic(
            aws_sdk_cloudformation::error::ErrorMetadata::builder()
                .code(code)
                .message("no")
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
                        "alarm": {"name": "demo-5xx", "at": "2026-01-31T12:00:00.123Z"}
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

fn context(cloudformation: Client, rules: &[&Rule]) -> Context {
    Context {
        cloudformation,
        sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, rules),
        state_machine: StateMachine::parse(MACHINE).unwrap(),
    }
}

async fn ignored_because(context: &Context, event: Value) -> String {
    match handle(context, event).await.unwrap() {
        Answer::Ignored { ignored } => ignored,
        taken => panic!("{taken:?}"),
    }
}

#[tokio::test]
async fn a_rollback_starts_for_the_stack_that_owns_the_alarm() {
    for kind in ALARM_TYPES {
        let resources: &'static [(&str, &str)] = match kind {
            "AWS::CloudWatch::Alarm" => &[
                ("AWS::CloudWatch::Alarm", "demo-5xx"),
                ("AWS::ECS::Service", "arn:service"),
            ],
            _ => &[
                ("AWS::ECS::Service", "arn:service"),
                ("AWS::CloudWatch::CompositeAlarm", "demo-5xx"),
            ],
        };
        let starts = starts();
        let context = context(stack_has(resources), &[&starts]);
        let answer = serde_json::to_value(handle(&context, fired()).await.unwrap()).unwrap();
        assert_eq!(answer["alarm"], "demo-5xx");
        assert_eq!(answer["stack"], "demo");
        let execution = answer["execution"].as_str().unwrap();
        assert!(execution.starts_with("arn:started:demo-demo-5xx-"));
    }
}

#[tokio::test]
async fn an_alarm_of_no_stack_or_of_one_without_a_service_is_ignored() {
    let alone = context(stack_has(&[("AWS::CloudWatch::Alarm", "demo-5xx")]), &[]);
    assert!(
        ignored_because(&alone, fired())
            .await
            .contains("no ECS service")
    );
    let other = context(
        stack_has(&[
            ("AWS::SNS::Topic", "demo-5xx"),
            ("AWS::ECS::Service", "arn:service"),
        ]),
        &[],
    );
    assert!(ignored_because(&other, fired()).await.contains("no stack"));
    let none = context(refuses("ValidationError"), &[]);
    assert!(ignored_because(&none, fired()).await.contains("no stack"));
}

#[tokio::test]
async fn an_alarm_of_another_account_or_region_is_ignored_without_asking_aws() {
    for (key, value) in [("account", "210987654321"), ("region", "eu-west-1")] {
        let mut event = fired();
        event[key] = json!(value);
        let context = context(stack_has(&[]), &[]);
        assert!(ignored_because(&context, event).await.contains(value));
    }
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
    let stack = stack_has(&[
        ("AWS::CloudWatch::Alarm", "demo-5xx"),
        ("AWS::ECS::Service", "arn:service"),
    ]);
    let answer = handle(&context(stack, &[&exists]), fired()).await.unwrap();
    let Answer::Taken { execution, .. } = answer else {
        panic!("{answer:?}");
    };
    assert!(
        execution
            .starts_with("arn:aws:states:us-east-1:123456789012:execution:deploy:demo-demo-5xx-")
    );
}

#[tokio::test]
async fn a_refused_request_is_aws_request_failed() {
    let context = context(refuses("AccessDenied"), &[]);
    let failure: Diagnostic = handle(&context, fired()).await.unwrap_err().into();
    assert_eq!(failure.error_type, "AwsRequestFailed");
    for part in ["cloudformation:DescribeStackResources", "demo-5xx"] {
        assert!(failure.error_message.contains(part), "{failure:?}");
    }
}

#[tokio::test]
async fn an_event_without_its_fields_is_invalid_event() {
    let context = context(stack_has(&[]), &[]);
    let failure: Diagnostic = handle(&context, json!({"id": 1})).await.unwrap_err().into();
    assert_eq!(failure.error_type, "InvalidEvent");
}
