//! An AWS request that failed, in the words that a person on call needs.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::error::Error;

/// A request that AWS refused or that did not reach it, after the SDK's own retries.
///
/// Only code and message are kept: the SDK's `Debug` of a whole error prints the response too and
/// is a large part of a small binary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action} on {resource} failed with {code}: {}", sentence(message))]
pub struct AwsRequestFailed {
    /// The IAM action, e.g. `ecs:DescribeTasks`.
    pub action: &'static str,
    /// Name or ARN of what was asked about.
    pub resource: String,
    /// AWS's error code, or one of `Timeout`, `DispatchFailure`, `InvalidResponse`,
    /// `InvalidRequest` where there was no answer to read a code from.
    pub code: String,
    pub message: String,
    /// AWS said no, and would say no again: neither throttling nor a fault of the service nor of
    /// the network.
    pub refused: bool,
}

/// For `map_err`: turns the SDK's error into an [`AwsRequestFailed`].
pub fn failed<E>(
    action: &'static str,
    resource: impl Into<String>,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> AwsRequestFailed
where
    E: ProvideErrorMetadata,
{
    let resource = resource.into();
    move |error| {
        let (code, message) = describe(&error);
        let refused = matches!(&error, SdkError::ServiceError(service)
            if service.raw().status().as_u16() < 500 && !is_transient(&code));
        AwsRequestFailed {
            action,
            resource,
            code,
            message,
            refused,
        }
    }
}

/// Codes that AWS sends with a status below 500 although the same request may succeed later
/// (<https://docs.aws.amazon.com/general/latest/gr/api-retries.html>).
fn is_transient(code: &str) -> bool {
    code.contains("Throttl")
        || matches!(
            code,
            "ServerException"
                | "RequestLimitExceeded"
                | "TooManyRequestsException"
                | "RequestTimeout"
                | "RequestTimeoutException"
                | "ExpiredTokenException"
        )
}

fn describe<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> (String, String) {
    match error {
        SdkError::ServiceError(service) => {
            let error = service.err();
            (
                error.code().unwrap_or("UnknownError").to_owned(),
                error.message().unwrap_or("AWS gave no message").to_owned(),
            )
        }
        SdkError::TimeoutError(_) => (
            "Timeout".to_owned(),
            "there was no answer in time".to_owned(),
        ),
        SdkError::DispatchFailure(failure) => (
            "DispatchFailure".to_owned(),
            failure.as_connector_error().map_or_else(
                || "the request was not sent".to_owned(),
                |error| chain(error),
            ),
        ),
        SdkError::ResponseError(_) => (
            "InvalidResponse".to_owned(),
            "the answer could not be read".to_owned(),
        ),
        // The enum may grow; a request that could not be built is the only one left today.
        _ => (
            "InvalidRequest".to_owned(),
            "the request could not be built".to_owned(),
        ),
    }
}

/// AWS's messages end with a full stop or without one.
fn sentence(message: &str) -> String {
    let end = if message.ends_with('.') { "" } else { "." };
    format!("{message}{end}")
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    fn answered(status: u16, code: &str) -> AwsRequestFailed {
        let metadata = ErrorMetadata::builder()
            .code(code)
            .message("because")
            .build();
        let raw = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        failed("ecs:RunTask", "demo")(SdkError::service_error(metadata, raw))
    }

    #[test]
    fn the_message_says_what_was_asked_of_what_and_why_it_failed() {
        assert_eq!(
            answered(400, "AccessDeniedException").to_string(),
            "ecs:RunTask on demo failed with AccessDeniedException: because."
        );
    }

    #[test]
    fn only_an_answer_that_would_be_the_same_again_is_a_refusal() {
        assert!(answered(400, "InvalidParameterException").refused);
        assert!(!answered(400, "ThrottlingException").refused);
        assert!(!answered(400, "ServerException").refused);
        assert!(!answered(503, "InvalidParameterException").refused);
    }

    #[test]
    fn a_request_that_was_never_sent_keeps_its_cause() {
        let error: SdkError<ErrorMetadata, HttpResponse> =
            SdkError::dispatch_failure(ConnectorError::io("connection refused".into()));
        let failure = failed("ecs:RunTask", "demo")(error);
        assert_eq!(failure.code, "DispatchFailure");
        assert!(failure.message.contains("connection refused"), "{failure}");
        assert!(!failure.refused);
    }
}
