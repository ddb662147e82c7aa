//! The Lambda service, seen as its clients see it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvocationType, LogType};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::{NewFunction, create, eventually, python, shared};

async fn client() -> Client {
    Client::new(&shared().await.sdk_config())
}

async fn invoke(client: &Client, name: &str, event: Value) -> InvokeOutput {
    client
        .invoke()
        .function_name(name)
        .payload(Blob::new(event.to_string()))
        .log_type(LogType::Tail)
        .send()
        .await
        .unwrap()
}

fn payload(output: &InvokeOutput) -> Value {
    serde_json::from_slice(output.payload().unwrap().as_ref()).unwrap()
}

fn log(output: &InvokeOutput) -> String {
    let decoded = STANDARD.decode(output.log_result().unwrap()).unwrap();
    String::from_utf8(decoded).unwrap()
}

fn failing(handler: &str) -> NewFunction<'static> {
    NewFunction {
        bootstrap: python(handler),
        ..NewFunction::default()
    }
}

#[tokio::test]
async fn an_answer_comes_with_version_and_log() {
    let client = client().await;
    let new = failing("print('hello', event['a'], flush=True)\nreturn {'b': event['a']}");
    let name = create(&client, new).await;
    let output = invoke(&client, &name, json!({"a": "ü"})).await;
    assert_eq!(payload(&output), json!({"b": "ü"}));
    assert_eq!(output.status_code(), 200);
    assert_eq!(output.executed_version(), Some("$LATEST"));
    assert_eq!(output.function_error(), None);
    let log = log(&output);
    for part in [
        "START RequestId: ",
        "hello ü",
        "END RequestId: ",
        "REPORT RequestId: ",
    ] {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }
}

#[tokio::test]
async fn the_log_reaches_the_functions_log_group() {
    let client = client().await;
    let new =
        failing("print('for the record', flush=True)\nprint('no newline', end='', flush=True)");
    let name = create(&client, new).await;
    invoke(&client, &name, json!({})).await;
    let logs = aws_sdk_cloudwatchlogs::Client::new(&shared().await.sdk_config());
    let group = format!("/aws/lambda/{name}");
    let messages = eventually(async || {
        let answer = logs.filter_log_events().log_group_name(&group).send().await;
        let messages: Vec<_> = answer
            .ok()?
            .events()
            .iter()
            .filter_map(|event| event.message().map(str::to_owned))
            .collect();
        (messages.len() >= 5).then_some(messages)
    })
    .await;
    assert!(messages[0].starts_with("START"), "{messages:?}");
    assert_eq!(messages[1], "for the record");
    assert_eq!(messages[2], "no newline");
}

#[tokio::test]
async fn a_function_gets_lambdas_environment_and_its_own_and_no_other() {
    let client = client().await;
    let new = NewFunction {
        bootstrap: python("return dict(os.environ)"),
        variables: &[("MINE", "1")],
        ..NewFunction::default()
    };
    let name = create(&client, new).await;
    let environment = payload(&invoke(&client, &name, json!({})).await);
    let environment = environment.as_object().unwrap();
    let mut names: Vec<_> = environment.keys().map(String::as_str).collect();
    // Python itself sets this one.
    names.retain(|name| *name != "LC_CTYPE");
    let expected = [
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_FORMAT",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_TASK_ROOT",
        "LANG",
        "MINE",
        "PATH",
        "TZ",
        "_HANDLER",
    ];
    assert_eq!(names, expected);
    assert_eq!(environment["AWS_ENDPOINT_URL"], shared().await.endpoint());
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_NAME"], name);
    // Temporary credentials, those of the function's role.
    assert!(
        environment["AWS_ACCESS_KEY_ID"]
            .as_str()
            .unwrap()
            .starts_with("ASIA")
    );
}

#[tokio::test]
async fn an_error_keeps_its_name() {
    let client = client().await;
    let name = create(&client, failing("raise Failure('MigrationFailed')")).await;
    let output = invoke(&client, &name, json!({})).await;
    assert_eq!(output.function_error(), Some("Unhandled"));
    let expected = json!({"errorType": "MigrationFailed", "errorMessage": "no"});
    assert_eq!(payload(&output), expected);
}

#[tokio::test]
async fn a_timeout_ends_the_environment_and_the_next_invocation_gets_another() {
    let client = client().await;
    let new = NewFunction {
        bootstrap: python("time.sleep(event['seconds'])\nreturn os.getpid()"),
        timeout: 1,
        ..NewFunction::default()
    };
    let name = create(&client, new).await;
    let first = payload(&invoke(&client, &name, json!({"seconds": 0})).await);
    let output = invoke(&client, &name, json!({"seconds": 30})).await;
    assert_eq!(output.function_error(), Some("Unhandled"));
    let error = payload(&output);
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(
        message.ends_with("Error: Task timed out after 1.00 seconds"),
        "{message}"
    );
    let second = payload(&invoke(&client, &name, json!({"seconds": 0})).await);
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_runtime_that_ends_is_an_exit_error() {
    let client = client().await;
    for (handler, expected) in [
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("os._exit(0)", "Runtime exited without providing a reason"),
        (
            "os.kill(os.getpid(), 9)",
            "Runtime exited with error: signal: killed",
        ),
    ] {
        let name = create(&client, failing(handler)).await;
        let error = payload(&invoke(&client, &name, json!({})).await);
        assert_eq!(error["errorType"], "Runtime.ExitError");
        let message = error["errorMessage"].as_str().unwrap();
        assert!(message.ends_with(expected), "{message}");
    }
}

#[tokio::test]
async fn a_failed_initialisation_is_the_error_it_reports() {
    let client = client().await;
    let new = NewFunction {
        variables: &[("FAIL_INIT", "1")],
        ..NewFunction::default()
    };
    let name = create(&client, new).await;
    let output = invoke(&client, &name, json!({})).await;
    assert_eq!(output.function_error(), Some("Unhandled"));
    assert_eq!(payload(&output)["errorType"], "BadEnvironment");
}

#[tokio::test]
async fn an_executable_for_another_processor_says_so() {
    let client = client().await;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(64, 0);
    // `e_machine`: RISC-V, on which there is no Lambda.
    elf[18] = 0xf3;
    let new = NewFunction {
        bootstrap: elf,
        ..NewFunction::default()
    };
    let name = create(&client, new).await;
    let error = payload(&invoke(&client, &name, json!({})).await);
    assert_eq!(error["errorType"], "Runtime.InvalidEntrypoint");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.contains("exec format error"), "{message}");
}

#[tokio::test]
async fn concurrent_invocations_have_environments_of_their_own_and_idle_ones_are_used_again() {
    let client = client().await;
    let handler = "time.sleep(event['seconds'])\nreturn os.getpid()";
    let name = create(&client, failing(handler)).await;
    let (first, second) = tokio::join!(
        invoke(&client, &name, json!({"seconds": 1})),
        invoke(&client, &name, json!({"seconds": 1})),
    );
    let both = [payload(&first), payload(&second)];
    assert_ne!(both[0], both[1]);
    let third = payload(&invoke(&client, &name, json!({"seconds": 0})).await);
    assert!(both.contains(&third), "{third} is none of {both:?}");
}

#[tokio::test]
async fn a_change_of_code_or_configuration_takes_effect_at_the_next_invocation() {
    let client = client().await;
    let new = NewFunction {
        bootstrap: python("return 'one ' + os.environ['WHO']"),
        variables: &[("WHO", "a")],
        ..NewFunction::default()
    };
    let name = create(&client, new).await;
    assert_eq!(payload(&invoke(&client, &name, json!({})).await), "one a");
    let code = support::zipped(&python("return 'two ' + os.environ['WHO']"));
    let update = client.update_function_code().function_name(&name);
    update.zip_file(Blob::new(code)).send().await.unwrap();
    assert_eq!(payload(&invoke(&client, &name, json!({})).await), "two a");
    let environment = aws_sdk_lambda::types::Environment::builder()
        .variables("WHO", "b")
        .build();
    let update = client.update_function_configuration().function_name(&name);
    update.environment(environment).send().await.unwrap();
    assert_eq!(payload(&invoke(&client, &name, json!({})).await), "two b");
}

#[tokio::test]
async fn an_asynchronous_invocation_is_tried_three_times_and_then_a_dead_letter() {
    let config = shared().await.sdk_config();
    let (client, sqs) = (Client::new(&config), aws_sdk_sqs::Client::new(&config));
    let queue = format!("dead-{}", uuid::Uuid::new_v4().simple());
    let url = sqs.create_queue().queue_name(&queue).send().await.unwrap();
    let url = url.queue_url().unwrap().to_owned();
    let tries = tempfile::NamedTempFile::new().unwrap();
    let handler = format!(
        "open({:?}, 'a').write('x')\nraise Failure('Always')",
        tries.path()
    );
    let new = NewFunction {
        bootstrap: python(&handler),
        dead_letter_queue: Some(format!("arn:aws:sqs:us-east-1:123456789012:{queue}")),
        ..NewFunction::default()
    };
    let name = create(&client, new).await;
    let request = client.invoke().function_name(&name);
    let answer = request
        .invocation_type(InvocationType::Event)
        .payload(Blob::new("{\"n\":1}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status_code(), 202);
    let message = eventually(async || {
        let answer = sqs
            .receive_message()
            .queue_url(&url)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await;
        answer.unwrap().messages().first().cloned()
    })
    .await;
    assert_eq!(message.body(), Some("{\"n\":1}"));
    let attributes = message.message_attributes().unwrap();
    assert_eq!(attributes["ErrorMessage"].string_value(), Some("no"));
    assert_eq!(std::fs::read_to_string(tries.path()).unwrap(), "xxx");
    let left = sqs.get_queue_attributes().queue_url(&url);
    let left = left
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .send()
        .await
        .unwrap();
    let left = left.attributes().unwrap();
    assert_eq!(left[&QueueAttributeName::ApproximateNumberOfMessages], "0");
}

#[tokio::test]
async fn what_cannot_be_invoked_is_refused_by_name() {
    let client = client().await;
    let missing = client.invoke().function_name("nowhere").send().await;
    assert_eq!(
        missing.unwrap_err().code(),
        Some("ResourceNotFoundException")
    );
    let name = create(&client, NewFunction::default()).await;
    let request = client.invoke().function_name(&name);
    let garbled = request.payload(Blob::new("{")).send().await;
    assert_eq!(
        garbled.unwrap_err().code(),
        Some("InvalidRequestContentException")
    );
}

#[tokio::test]
async fn no_payload_is_an_empty_object() {
    let client = client().await;
    let name = create(&client, NewFunction::default()).await;
    let output = client.invoke().function_name(&name).send().await.unwrap();
    assert_eq!(payload(&output), json!({}));
    let dry_run = client.invoke().function_name(&name);
    let dry_run = dry_run.invocation_type(InvocationType::DryRun).send().await;
    assert_eq!(dry_run.unwrap().status_code(), 204);
}
