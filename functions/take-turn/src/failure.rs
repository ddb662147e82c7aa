use bluegreen_contract::InvalidInput;
use bluegreen_runtime::AwsRequestFailed;

/// Why a release neither has the turn nor waits for it. A variant's name is its error name in Step
/// Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}
