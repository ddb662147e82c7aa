use bluegreen_contract::InvalidInput;
use bluegreen_release::{BeginFailure, CallInProgress, TableFailure};
use bluegreen_runtime::AwsRequestFailed;

/// Why the rollback of not every service has begun. A variant's name is its error name in Step
/// Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(transparent)]
    ExecutionRedriven(TableFailure),
    /// An earlier call of this very state, which is to be waited for.
    #[error(transparent)]
    CallInProgress(CallInProgress),
    #[error(
        "The service {service} was not rolled back: {reason} Services that were rolled back: {back}. Services that were not: {not_back}."
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

impl From<TableFailure> for Failure {
    fn from(failure: TableFailure) -> Self {
        match failure {
            TableFailure::AwsRequestFailed(failure) => failure.into(),
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
