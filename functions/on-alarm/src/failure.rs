use bluegreen_runtime::AwsRequestFailed;
use lambda_runtime::Diagnostic;

/// Why no rollback was started. A variant's name is its error name.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error("The event is not valid: {0}.")]
    InvalidEvent(String),
    /// Lambda tries the event again.
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Diagnostic {
            error_type: <&str>::from(&failure).to_owned(),
            error_message: failure.to_string(),
        }
    }
}
