use bluegreen_contract::InvalidInput;
use bluegreen_release::{CallInProgress, EndFailure};
use bluegreen_runtime::AwsRequestFailed;

/// Why the release could not be closed. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    /// A call that came late, and is to be waited for.
    #[error(transparent)]
    CallInProgress(CallInProgress),
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

impl From<EndFailure> for Failure {
    fn from(failure: EndFailure) -> Self {
        match failure {
            EndFailure::AwsRequestFailed(failure) => failure.into(),
            EndFailure::CallInProgress(other) => Failure::CallInProgress(other),
        }
    }
}
