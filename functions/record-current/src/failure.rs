use bluegreen_contract::InvalidInput;
use bluegreen_release::{BeginFailure, CallInProgress, TableFailure};
use bluegreen_runtime::AwsRequestFailed;

/// Why it is not on record what serves. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    /// All is planned anew.
    #[error("{0}")]
    ExecutionRedriven(TableFailure),
    /// An earlier call of this very state, which is to be waited for.
    #[error(transparent)]
    CallInProgress(CallInProgress),
    #[error("{0}")]
    AwsRequestFailed(AwsRequestFailed),
}

impl From<TableFailure> for Failure {
    fn from(failure: TableFailure) -> Self {
        match failure {
            TableFailure::AwsRequestFailed(failure) => Failure::AwsRequestFailed(failure),
            redriven @ TableFailure::ExecutionRedriven { .. } => {
                Failure::ExecutionRedriven(redriven)
            }
        }
    }
}

impl From<BeginFailure> for Failure {
    fn from(failure: BeginFailure) -> Self {
        match failure {
            BeginFailure::Table(failure) => failure.into(),
            BeginFailure::CallInProgress(other) => Failure::CallInProgress(other),
        }
    }
}
