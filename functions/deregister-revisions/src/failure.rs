use bluegreen_contract::InvalidInput;
use bluegreen_release::{BeginFailure, CallInProgress, TableFailure};
use bluegreen_runtime::AwsRequestFailed;

/// Why not all revisions are deregistered. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(transparent)]
    ExecutionRedriven(TableFailure),
    /// An earlier call of this very state, which is to be waited for.
    #[error(transparent)]
    CallInProgress(CallInProgress),
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

impl From<BeginFailure> for Failure {
    fn from(failure: BeginFailure) -> Self {
        match failure {
            BeginFailure::Table(TableFailure::AwsRequestFailed(failure)) => failure.into(),
            BeginFailure::Table(redriven) => Failure::ExecutionRedriven(redriven),
            BeginFailure::CallInProgress(other) => Failure::CallInProgress(other),
        }
    }
}
