use bluegreen_contract::{InvalidInput, UpdatedService};
use bluegreen_runtime::AwsRequestFailed;

/// Why there is no verdict. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(
        "ECS knows no deployment of {task_definition} to the service {service}: another revision has taken its place, or the service was deleted."
    )]
    DeploymentNotFound {
        service: String,
        task_definition: String,
    },
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

impl Failure {
    pub(crate) fn not_found(service: &UpdatedService) -> Self {
        Failure::DeploymentNotFound {
            service: service.service.clone(),
            task_definition: service.task_definition.clone(),
        }
    }
}
