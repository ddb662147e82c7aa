use bluegreen_runtime::AwsRequestFailed;

/// Why not every repository was looked at. A variant's name is its error name.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    /// What could be looked at was; the next search tries the rest again.
    #[error("{failure} Releases that were started all the same: {started}.")]
    AwsRequestFailed {
        failure: AwsRequestFailed,
        started: String,
    },
}
