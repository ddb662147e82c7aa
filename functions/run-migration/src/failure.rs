use bluegreen_contract::InvalidInput;
use bluegreen_release::{BeginFailure, CallInProgress, TableFailure};
use bluegreen_runtime::AwsRequestFailed;

/// Why there is no task. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    /// No task may be started: this try has not, or no longer, the turn of the stack.
    #[error("{0}")]
    ExecutionRedriven(String),
    /// An earlier call of this very state, which is to be waited for.
    #[error(transparent)]
    CallInProgress(CallInProgress),
    #[error(
        "The {purpose} `{words}` is not the one of stack {stack}, whose output {output} is {told}. Nothing was started. If the stack was updated meanwhile, start the release again."
    )]
    CommandNotOfStack {
        purpose: &'static str,
        stack: String,
        output: &'static str,
        /// JSON.
        words: String,
        /// What the output is.
        told: String,
    },
    #[error("ECS did not start the {purpose} of {service}: {reasons}.")]
    TaskNotStarted {
        purpose: &'static str,
        service: String,
        reasons: String,
    },
    /// Passes: the same request may find capacity a minute later.
    #[error("ECS has no capacity for the {purpose} of {service} at this time: {reasons}.")]
    CapacityUnavailable {
        purpose: &'static str,
        service: String,
        reasons: String,
    },
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

impl From<TableFailure> for Failure {
    fn from(failure: TableFailure) -> Self {
        match failure {
            TableFailure::AwsRequestFailed(failure) => failure.into(),
            TableFailure::ExecutionRedriven { .. } => {
                Failure::ExecutionRedriven(failure.to_string())
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
