use bluegreen_contract::InvalidInput;
use bluegreen_runtime::AwsRequestFailed;

/// Why nothing more is known of the failure. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}
