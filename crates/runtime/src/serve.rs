//! What Lambda calls: the loop around a function's handler.

use crate::panic::{call_begins, tell_of_panics};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use std::time::{SystemTime, UNIX_EPOCH};

/// One call of a function, and what it is called with.
#[derive(Debug)]
pub struct Invocation {
    pub payload: Value,
    pub call: LambdaCall,
}

/// One call of a function, as Lambda knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaCall {
    /// The request's id, which no other call has.
    pub id: String,
    /// When Lambda ends it at the latest; milliseconds since 1970.
    pub until: i64,
}

/// Answers one call after another, for as long as Lambda lets this process live. A failure is told as
/// [`diagnostic`] says, a panic as an error named `Function.Panicked`.
///
/// # Errors
/// There is no Lambda: the Runtime API does not answer.
pub async fn serve<A, F>(handle: impl AsyncFn(Invocation) -> Result<A, F>) -> Result<(), Error>
where
    A: Serialize,
    F: Display,
    for<'a> &'a F: Into<&'static str>,
{
    tell_of_panics();
    let handle = &handle;
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Value>| {
        call_begins(&event.context.request_id);
        let invocation = Invocation {
            payload: event.payload,
            call: LambdaCall {
                until: millis(event.context.deadline()),
                id: event.context.request_id,
            },
        };
        handle(invocation).await.map_err(diagnostic)
    }))
    .await
}

/// A failure as Step Functions sees it: the name of the variant is the error's name, and its
/// sentence the cause.
pub fn diagnostic<F>(failure: F) -> Diagnostic
where
    F: Display,
    for<'a> &'a F: Into<&'static str>,
{
    let name: &'static str = (&failure).into();
    Diagnostic {
        error_type: name.to_owned(),
        error_message: failure.to_string(),
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}

/// Now, in milliseconds since 1970.
#[must_use]
pub fn now() -> i64 {
    millis(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
    enum Failure {
        #[error("The image {0} is unknown.")]
        ImageNotFound(&'static str),
    }

    #[test]
    fn a_failures_variant_is_the_errors_name_and_its_sentence_the_cause() {
        let diagnostic = diagnostic(Failure::ImageNotFound("cats:v2"));
        assert_eq!(diagnostic.error_type, "ImageNotFound");
        assert_eq!(diagnostic.error_message, "The image cats:v2 is unknown.");
    }

    #[test]
    fn times_are_in_milliseconds_since_1970() {
        assert_eq!(millis(UNIX_EPOCH + std::time::Duration::from_secs(2)), 2000);
        assert!(now() > 1_700_000_000_000);
    }
}
