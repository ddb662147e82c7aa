use bluegreen_contract::InvalidInput;
use bluegreen_release::TableFailure;
use bluegreen_runtime::AwsRequestFailed;

/// Why the stack is not at rest, or nobody can say whether it is. A variant's name is its error
/// name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(transparent)]
    ExecutionRedriven(TableFailure),
    /// Its text says what is in progress.
    #[error("{0}")]
    EarlierReleaseUnsettled(String),
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
