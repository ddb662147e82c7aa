use bluegreen_alarms::AlarmsInAlarm;
use bluegreen_contract::InvalidInput;
use bluegreen_release::{BeginFailure, CallInProgress, TableFailure};
use bluegreen_runtime::AwsRequestFailed;

/// Why not every service has its new revision. A variant's name is its error name in Step
/// Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(transparent)]
    AlarmsInAlarm(AlarmsInAlarm),
    #[error(transparent)]
    ExecutionRedriven(TableFailure),
    /// An earlier call of this very state, which is to be waited for.
    #[error(transparent)]
    CallInProgress(CallInProgress),
    #[error(
        "The service {service} did not get its new revision: {reason} Services that have theirs: {updated}. Services that do not: {not_updated}."
    )]
    ServiceUpdateRefused {
        service: String,
        /// A sentence.
        reason: String,
        updated: String,
        not_updated: String,
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
