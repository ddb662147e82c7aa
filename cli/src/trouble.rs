//! What went wrong with a request to AWS, and what a person can do about it.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use bluegreen_runtime::AwsRequestFailed;

const EXPIRED: &str = "Your credentials have expired: log in again (aws login, aws sso login), or set new \
     ones.";
const UNKNOWN: &str = "AWS does not know your credentials: check AWS_PROFILE, or the keys in the \
     environment.";
const MISSING: &str = "There are no credentials: log in (aws login, aws sso login), set AWS_PROFILE, or set \
     AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.";
const DENIED: &str = "Your credentials do not allow it: docs/command-line.md has the actions that each verb \
     needs.";
const THROTTLED: &str = "The account has too many requests at the moment: try again in a minute.";
const UNREACHABLE: &str = "Is there a connection, and are AWS_REGION and AWS_ENDPOINT_URL right?";

/// An SDK's error as a sentence, with AWS's own message where there is one, and with what to do where that is
/// known.
pub(crate) fn failed<E, R>(error: SdkError<E, R>, happened: &str) -> anyhow::Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let said = error.as_service_error().and_then(|error| {
        let (message, code) = (error.message()?, error.code()?);
        Some((format!("{happened}: {message} ({code})"), of_code(code)))
    });
    match said {
        Some((message, advice)) => with(message, advice),
        None => match of_transport(&error) {
            Some(advice) => with(happened.to_owned(), Some(advice)),
            None => anyhow::Error::new(error).context(happened.to_owned()),
        },
    }
}

/// The same of a request that the crates of the functions have made.
pub(crate) fn asked(failure: AwsRequestFailed) -> anyhow::Error {
    let advice = of_code(&failure.code);
    with(failure.to_string(), advice)
}

fn with(message: String, advice: Option<&str>) -> anyhow::Error {
    match advice {
        Some(advice) => {
            let message = message.trim_end_matches('.');
            anyhow::Error::msg(format!("{message}. {advice}"))
        }
        None => anyhow::Error::msg(message),
    }
}

/// <https://docs.aws.amazon.com/general/latest/gr/api-retries.html> and the common errors of each service.
fn of_code(code: &str) -> Option<&'static str> {
    match code {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => Some(EXPIRED),
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch" => Some(UNKNOWN),
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => Some(DENIED),
        "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException" => Some(THROTTLED),
        _ if code.contains("Throttl") => Some(THROTTLED),
        "DispatchFailure" | "Timeout" => Some(UNREACHABLE),
        _ => None,
    }
}

/// Of a request to which nobody has answered.
fn of_transport<E, R>(error: &SdkError<E, R>) -> Option<&'static str>
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let mut cause: Option<&(dyn std::error::Error + 'static)> = match error {
        SdkError::TimeoutError(_) => return Some(UNREACHABLE),
        SdkError::DispatchFailure(failure) => failure
            .as_connector_error()
            .map(|error| error as &(dyn std::error::Error + 'static)),
        _ => return None,
    };
    while let Some(error) = cause {
        match error.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::CredentialsNotLoaded(_)) => return Some(MISSING),
            Some(_) => return Some(EXPIRED),
            None => cause = error.source(),
        }
    }
    Some(UNREACHABLE)
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::error::ErrorMetadata;
    use aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksError;

    use super::*;

    #[test]
    fn a_refusal_has_awss_words_and_what_to_do() {
        for (code, words) in [
            ("ExpiredToken", "log in again"),
            ("InvalidClientTokenId", "does not know your credentials"),
            ("AccessDenied", "docs/command-line.md"),
            ("ThrottlingException", "try again in a minute"),
            (
                "ValidationError",
                "CloudFormation is silent: no. (ValidationError)",
            ),
        ] {
            let metadata = ErrorMetadata::builder().code(code).message("no.").build();
            let error = DescribeStacksError::generic(metadata);
            let error: SdkError<_, ()> = SdkError::service_error(error, ());
            let told = failed(error, "CloudFormation is silent").to_string();
            assert!(told.starts_with("CloudFormation is silent: no."), "{told}");
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn a_throttled_table_says_when_to_try_again() {
        let failure = AwsRequestFailed {
            action: "dynamodb:Query",
            resource: "releases".to_owned(),
            code: "ProvisionedThroughputExceededException".to_owned(),
            message: "too many".to_owned(),
            refused: false,
        };
        let told = asked(failure).to_string();
        assert!(told.contains("dynamodb:Query on releases failed"), "{told}");
        assert!(told.ends_with("try again in a minute."), "{told}");
    }
}
