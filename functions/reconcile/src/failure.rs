use bluegreen_sdk_config::AwsRequestFailed;
use lambda_runtime::Diagnostic;

/// Why not every repository was looked at. A variant's name is its error name.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    /// The next run looks again.
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Diagnostic {
            error_type: <&str>::from(&failure).to_owned(),
            error_message: failure.to_string(),
        }
    }
}
