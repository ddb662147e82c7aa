use bluegreen_contract::InvalidInput;
use bluegreen_runtime::AwsRequestFailed;
use lambda_runtime::Diagnostic;

/// Why there is no task. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error("ECS did not start the migration of {service}: {reasons}.")]
    TaskNotStarted { service: String, reasons: String },
    /// Passes: the same request may find capacity a minute later.
    #[error("ECS has no capacity for the migration of {service} at this time: {reasons}.")]
    CapacityUnavailable { service: String, reasons: String },
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
