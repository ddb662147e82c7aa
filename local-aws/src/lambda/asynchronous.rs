//! Asynchronous invocations: retries, dead-letter queues and failure destinations.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_sqs::types::MessageAttributeValue;
use serde_json::{Value, json};

use super::function::Function;
use super::{Completion, InvokeError, LambdaService, Request};
use crate::clock::Clock;

/// How long Lambda waits before it tries a throttled invocation again: from a second on, twice as
/// long each time, up to five minutes, for at most six hours. These are no retries of the function.
const THROTTLED_FIRST_DELAY: Duration = Duration::from_secs(1);
const THROTTLED_LAST_DELAY: Duration = Duration::from_secs(5 * 60);
const MAXIMUM_EVENT_AGE: Duration = Duration::from_secs(6 * 60 * 60);

/// How long Lambda waits before the first and the second retry.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// What asynchronous invocations need beside the functions themselves.
#[derive(Debug)]
pub(crate) struct Configuration {
    lambda: aws_sdk_lambda::Client,
    sqs: aws_sdk_sqs::Client,
    clock: Clock,
}

/// A function's event invoke configuration, with Lambda's defaults.
struct EventInvokeConfig {
    maximum_retry_attempts: usize,
    on_failure: Option<String>,
    on_success: Option<String>,
}

impl Configuration {
    pub(crate) fn new(
        lambda: aws_sdk_lambda::Client,
        sqs: aws_sdk_sqs::Client,
        clock: Clock,
    ) -> Self {
        Self { lambda, sqs, clock }
    }

    /// A function without such a configuration, the usual case, answers ResourceNotFound.
    async fn event_invoke_config(&self, function: &Function) -> EventInvokeConfig {
        let request = self.lambda.get_function_event_invoke_config();
        let answer = request.function_name(&function.name).send().await.ok();
        let retries = answer.as_ref().and_then(|it| it.maximum_retry_attempts());
        let destinations = answer.as_ref().and_then(|it| it.destination_config());
        EventInvokeConfig {
            maximum_retry_attempts: retries
                .and_then(|retries| usize::try_from(retries).ok())
                .unwrap_or(RETRY_DELAYS.len()),
            on_failure: destinations
                .and_then(|it| it.on_failure())
                .and_then(|it| it.destination())
                .map(str::to_owned),
            on_success: destinations
                .and_then(|it| it.on_success())
                .and_then(|it| it.destination())
                .map(str::to_owned),
        }
    }

    async fn send(
        &self,
        queue_arn: &str,
        body: &str,
        attributes: &[(&str, &str, &str)],
    ) -> anyhow::Result<()> {
        let Some(name) = queue_name(queue_arn) else {
            bail!("{queue_arn} is not an SQS queue, the only destination there is here");
        };
        let url = self.sqs.get_queue_url().queue_name(name).send().await?;
        let url = url.queue_url().context("the queue has no URL")?;
        let mut request = self.sqs.send_message().queue_url(url).message_body(body);
        for (name, data_type, value) in attributes {
            let value = MessageAttributeValue::builder()
                .data_type(*data_type)
                .string_value(*value)
                .build()?;
            request = request.message_attributes(*name, value);
        }
        request.send().await?;
        Ok(())
    }
}

/// Runs `request` until it succeeds or its retries are used up.
pub(crate) async fn run(service: &Arc<LambdaService>, function: Function, request: Request) {
    let configuration = &service.asynchronous;
    let mut attempt = 1;
    let mut completion = attempt_once(service, &function, Some(&function), &request).await;
    let event_invoke_config = configuration.event_invoke_config(&function).await;
    while completion.failed && attempt <= event_invoke_config.maximum_retry_attempts {
        let delay = RETRY_DELAYS.get(attempt - 1).or(RETRY_DELAYS.last());
        configuration
            .clock
            .sleep(delay.copied().unwrap_or_default())
            .await;
        attempt += 1;
        completion = attempt_once(service, &function, None, &request).await;
    }
    if let Err(error) = report(
        configuration,
        &function,
        &request,
        &event_invoke_config,
        &completion,
        attempt,
    )
    .await
    {
        let name = &function.name;
        tracing::warn!("the outcome of {name} reached no destination: {error:#}");
    }
}

/// Code and configuration are looked up again unless they were `found` just now, as they may have
/// been repaired.
async fn attempt_once(
    service: &Arc<LambdaService>,
    function: &Function,
    mut found: Option<&Function>,
    request: &Request,
) -> Completion {
    let (mut delay, mut waited) = (THROTTLED_FIRST_DELAY, Duration::ZERO);
    loop {
        let found = found.take().cloned();
        let attempt = async {
            let function = match found {
                Some(function) => function,
                None => service.find(&function.arn, None).await?,
            };
            service.invoke(function, request.clone()).await
        };
        match attempt.await {
            Err(InvokeError::Throttled(_)) if waited < MAXIMUM_EVENT_AGE => {
                service.asynchronous.clock.sleep(delay).await;
                waited += delay;
                delay = (delay * 2).min(THROTTLED_LAST_DELAY);
            }
            Ok(completion) => return completion,
            Err(error) => {
                return Completion {
                    payload: super::error_payload("Lambda.ServiceException", &error.to_string()),
                    failed: true,
                    log: Vec::new(),
                };
            }
        }
    }
}

async fn report(
    configuration: &Configuration,
    function: &Function,
    request: &Request,
    event_invoke_config: &EventInvokeConfig,
    completion: &Completion,
    attempts: usize,
) -> anyhow::Result<()> {
    if !completion.failed {
        if let Some(destination) = &event_invoke_config.on_success {
            let record = record(function, request, completion, attempts);
            configuration
                .send(destination, &record.to_string(), &[])
                .await?;
        }
        return Ok(());
    }
    if let Some(destination) = &event_invoke_config.on_failure {
        let record = record(function, request, completion, attempts);
        configuration
            .send(destination, &record.to_string(), &[])
            .await?;
    }
    if let Some(dead_letter_target) = &function.dead_letter_target {
        let error: Value = serde_json::from_slice(&completion.payload).unwrap_or_default();
        let message = error["errorMessage"].as_str().unwrap_or("unknown");
        let attributes = [
            ("RequestID", "String", request.id.as_str()),
            ("ErrorCode", "Number", "200"),
            ("ErrorMessage", "String", message),
        ];
        let body = String::from_utf8_lossy(&request.payload);
        configuration
            .send(dead_letter_target, &body, &attributes)
            .await?;
    }
    Ok(())
}

/// The invocation record that destinations get.
fn record(
    function: &Function,
    request: &Request,
    completion: &Completion,
    attempts: usize,
) -> Value {
    let condition = if completion.failed {
        "RetriesExhausted"
    } else {
        "Success"
    };
    let mut response_context = json!({
        "statusCode": 200,
        "executedVersion": function.version,
    });
    if completion.failed {
        response_context["functionError"] = "Unhandled".into();
    }
    json!({
        "version": "1.0",
        "timestamp": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "requestContext": {
            "requestId": request.id,
            "functionArn": format!("{}:{}", function.arn, function.version),
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": json_or_text(&request.payload),
        "responseContext": response_context,
        "responsePayload": json_or_text(&completion.payload),
    })
}

fn json_or_text(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(bytes).into_owned()))
}

fn queue_name(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let service = parts.nth(2)?;
    (service == "sqs").then(|| parts.nth(2)).flatten()
}
