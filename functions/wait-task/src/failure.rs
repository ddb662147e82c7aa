use bluegreen_contract::InvalidInput;
use bluegreen_runtime::AwsRequestFailed;
use lambda_runtime::Diagnostic;

/// Why there is no answer. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(
        "ECS does not know the task {task} in the cluster {cluster}: it was started a moment ago, or it stopped more than an hour ago."
    )]
    TaskNotFound { task: String, cluster: String },
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
