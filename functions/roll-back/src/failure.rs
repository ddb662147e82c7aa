use bluegreen_contract::InvalidInput;
use bluegreen_runtime::AwsRequestFailed;
use lambda_runtime::Diagnostic;

/// Why not every service is on its way back. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(
        "The service {service} did not go back: {reason} Services that went back: {back}. Services that did not: {not_back}."
    )]
    RollbackRefused {
        service: String,
        /// A sentence.
        reason: String,
        back: String,
        not_back: String,
    },
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
