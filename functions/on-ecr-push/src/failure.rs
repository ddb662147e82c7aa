use bluegreen_runtime::AwsRequestFailed;

/// Why not every release was started. A variant's name is its error name.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error("The event is not valid: {0}.")]
    InvalidEvent(String),
    /// Lambda tries the event again; what is started already is not started anew.
    #[error("{failure} Releases of this event that are started: {started}.")]
    AwsRequestFailed {
        failure: AwsRequestFailed,
        started: String,
    },
}

impl From<AwsRequestFailed> for Failure {
    fn from(failure: AwsRequestFailed) -> Self {
        Failure::AwsRequestFailed {
            failure,
            started: "none".to_owned(),
        }
    }
}
