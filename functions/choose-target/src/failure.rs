use crate::target::Release;
use bluegreen_contract::InvalidInput;
use bluegreen_runtime::AwsRequestFailed;
use std::fmt;

/// Why there is no rollback. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error("Stack {stack} {reason}.")]
    NothingToGoBackTo { stack: String, reason: Reason },
    #[error(transparent)]
    RollbackImageNotFound(Box<Lost>),
    #[error(transparent)]
    ReleaseContracted(Box<Removed>),
    #[error("{0}")]
    AwsRequestFailed(#[from] AwsRequestFailed),
}

/// What the stack lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("has no release {name} on record that succeeded and was not rolled back")]
    NoSuchRelease { name: String },
    #[error(
        "has no earlier release on record that succeeded with another image, and what ran before the first one is not on record either"
    )]
    NoEarlierRelease,
    #[error(
        "has no earlier release on record that succeeded with another image, and before its first one, {0}, it ran that same image already"
    )]
    SameBefore(Named),
    #[error(
        "has no release on record that succeeded, and what ran before this one is not known any more"
    )]
    NothingKnown,
    #[error("has none of the services any more that its release {0} ran")]
    NoServiceLeft(Named),
}

impl Reason {
    /// There is none to go back to; `to` names the one that was wanted.
    pub(crate) fn without_release(to: Option<&str>) -> Self {
        match to {
            Some(name) => Self::NoSuchRelease {
                name: name.to_owned(),
            },
            None => Self::NoEarlierRelease,
        }
    }
}

/// A contract command that has run, or may have, since the release served to which a rollback goes.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}, to which stack {stack} was to be rolled back, may not run any more: the contract command of the later release {contracted} has run since, or a part of it (execution {by}), and may have removed what it needs. To roll back all the same, give \"force\": true.",
    wanted(*before_first, release)
)]
pub(crate) struct Removed {
    pub(crate) stack: String,
    /// What ran before the first release is gone back to.
    pub(crate) before_first: bool,
    pub(crate) release: Named,
    /// As a sentence calls it.
    pub(crate) contracted: String,
    /// Name of the execution that ran the command.
    pub(crate) by: String,
}

/// An image that ECR does not have any more, and the release that could be gone back to instead.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}, to which stack {stack} was to be rolled back, cannot run any more: ECR does not have its image {image}, which a life-cycle rule or a person may have deleted or archived. {} To roll back all the same, give \"force\": true: a task then starts only where its host has the image already.",
    wanted(*before_first, release), self.instead()
)]
pub(crate) struct Lost {
    pub(crate) stack: String,
    pub(crate) image: String,
    /// It ran before the first release.
    pub(crate) before_first: bool,
    pub(crate) release: Named,
    pub(crate) instead: Option<Named>,
}

impl Lost {
    fn instead(&self) -> String {
        match &self.instead {
            Some(release) => format!(
                "The release {release} could be gone back to: give \"to\": \"{}\".",
                release.name
            ),
            None => "ECR has the image of no earlier good release either: deploy a tag or a digest by hand.".to_owned(),
        }
    }
}

/// What a rollback was to bring back, at the beginning of a sentence.
fn wanted(before_first: bool, release: &Named) -> String {
    match before_first {
        true => "What ran before the first release".to_owned(),
        false => format!("The release {release}"),
    }
}

/// A release as a sentence calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    called: String,
    /// Of its execution.
    pub(crate) name: String,
}

impl From<&Release> for Named {
    fn from(release: &Release) -> Self {
        Self {
            called: release.called().to_owned(),
            name: release.name.clone(),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.called, self.name)
    }
}
