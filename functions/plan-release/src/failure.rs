use bluegreen_alarms::AlarmsInAlarm;
use bluegreen_contract::{InvalidInput, STACKS_TAG};
use bluegreen_ecr::ImageFailure;
use bluegreen_runtime::AwsRequestFailed;

/// Why there is no plan. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error("There is no stack {stack} in this account and region.")]
    StackNotFound { stack: String },
    #[error("CloudFormation is changing the stack {stack} at this moment: it is {status}.")]
    StackBusy { stack: String, status: String },
    #[error(
        "No ECS service of the stack {stack} runs images of {wanted}. A first image is deployed with the stack itself."
    )]
    NoServices { stack: String, wanted: String },
    #[error("The service {service} of the stack {stack} cannot be released: {problem}.")]
    UnsupportedService {
        stack: String,
        service: String,
        problem: &'static str,
    },
    #[error(
        "The services of the stack {stack} run different images of the repository {repository}: {images}. A release would put one image into all of these containers. Give each of the images a repository of its own; or, if all are to run the same one, update the stack so that all name the same tag."
    )]
    SeveralImages {
        stack: String,
        repository: String,
        /// Each container with the tag that it names.
        images: String,
    },
    #[error(
        "The stack {stack} runs images of {repositories}, but no ECR tag {STACKS_TAG} there names the stack. Add the stack's name to that tag of the repository whose images it is to get."
    )]
    RepositoryNotLinked { stack: String, repositories: String },
    #[error(
        "The stack {stack} runs images of several repositories that name it: {repositories}. Say which one with `repository` in the input."
    )]
    AmbiguousRepository { stack: String, repositories: String },
    #[error("The repository {repository} has no image {image}.")]
    ImageNotFound { repository: String, image: String },
    #[error(
        "The image {image} is built for {built_for}, but the services run on {wanted}, as their task definitions say. Push an image that is built for that platform too."
    )]
    ImagePlatformMismatch {
        image: String,
        built_for: String,
        wanted: String,
    },
    #[error("The image {image} cannot be run: {problem}. Build and push it anew.")]
    ImageUnusable { image: String, problem: String },
    #[error(transparent)]
    EntryPointIgnoresCommand(Box<IgnoredCommand>),
    #[error("The output {output} of the stack {stack} cannot be used: {problem}.")]
    InvalidStackOutput {
        stack: String,
        output: &'static str,
        problem: String,
    },
    #[error(
        "The service {service} has the deployment controller {controller}. Only services that ECS itself deploys (controller ECS) can be released."
    )]
    UnsupportedDeploymentController { service: String, controller: String },
    #[error(transparent)]
    AlarmsInAlarm(#[from] AlarmsInAlarm),
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

/// A command that would not run, and what would.
#[derive(Debug, thiserror::Error)]
#[error(
    "The {purpose} `{command}` would not run. The container {container} of the service {service} has the entry point `{entry_point}`, and its script does nothing with a command: `{script}` would run instead. Let that script end in `exec \"$@\"`, or use an entry point without a script."
)]
pub(crate) struct IgnoredCommand {
    pub(crate) purpose: &'static str,
    pub(crate) container: String,
    pub(crate) service: String,
    pub(crate) entry_point: String,
    pub(crate) command: String,
    pub(crate) script: String,
}

impl From<ImageFailure> for Failure {
    fn from(failure: ImageFailure) -> Self {
        match failure {
            ImageFailure::NotFound { repository, image } => {
                Self::ImageNotFound { repository, image }
            }
            ImageFailure::PlatformMismatch {
                image,
                built_for,
                wanted,
            } => Self::ImagePlatformMismatch {
                image,
                built_for,
                wanted,
            },
            ImageFailure::Unusable { image, problem } => Self::ImageUnusable { image, problem },
            ImageFailure::Request(failure) => failure.into(),
        }
    }
}
