use bluegreen_contract::InvalidInput;
use bluegreen_runtime::AwsRequestFailed;
use lambda_runtime::Diagnostic;

/// Why the release could not be closed. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
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
