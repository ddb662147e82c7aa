use bluegreen_runtime::AwsRequestFailed;

/// Why not every repository was looked at. A variant's name is its error name.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    /// What could be looked at was; the next search tries the rest again.
    #[error("{failure} {unfinished}Releases that were started all the same: {started}.")]
    AwsRequestFailed {
        failure: Box<AwsRequestFailed>,
        /// A sentence and a space, where there was no time for some repositories either.
        unfinished: String,
        started: String,
    },
    /// What could be looked at was; the next search begins with the rest.
    #[error("{unfinished}Releases that were started: {started}.")]
    SearchUnfinished { unfinished: String, started: String },
}
