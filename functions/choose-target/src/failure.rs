use bluegreen_contract::InvalidInput;
use bluegreen_runtime::AwsRequestFailed;

/// Why there is no rollback. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error("Stack {stack} {reason}.")]
    NothingToGoBackTo { stack: String, reason: Reason },
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

/// What the stack lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("has no release {name} on record that succeeded and was not rolled back")]
    NoSuchRelease { name: String },
    #[error("has no earlier release on record that succeeded with another image")]
    NoEarlierRelease,
    #[error(
        "has no release on record that succeeded, and what ran before this one is not known any more"
    )]
    NothingKnown,
    #[error("has none of the services any more that its release {release} ({name}) ran")]
    NoServiceLeft { release: String, name: String },
}
