use bluegreen_contract::InvalidInput;
use bluegreen_runtime::AwsRequestFailed;

/// Why there is no answer. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(
        "ECS does not know the task {task} of the {purpose} in the cluster {cluster}. It was started more than a minute ago; ECS forgets a task about an hour after it stopped. Nobody knows how it ended: its log{log} may say so."
    )]
    TaskNotFound {
        purpose: &'static str,
        task: String,
        cluster: String,
        /// Between commas, where it is.
        log: String,
    },
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}
