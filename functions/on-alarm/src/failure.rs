use bluegreen_runtime::AwsRequestFailed;

/// Why no rollback was started. A variant's name is its error name.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error("The event is not valid: {0}.")]
    InvalidEvent(String),
    /// Lambda tries the event again.
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}
