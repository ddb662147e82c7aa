//! What serves once a release has done its part.
//!
//! | the release | of which the table is told | the image that serves |
//! |---|---|---|
//! | rolled the services back, as it was asked to | the release that is restored | that one's |
//! | did so, and there is no earlier release | what ran before the first one | what ran then, where that is known and one image |
//! | failed and rolled the services back | what ran before | the last good release's |
//! | updated the services, or verified them | this release | its own |
//! | found that the services run its image | that it was asked for again | its own |

use bluegreen_contract::{
    Command, Goal, InvalidInput, RecordCurrentInput, ServingImage, UpdatedServices, WantedRevision,
};
use bluegreen_release::Serves;

/// What a release has brought into service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Served<'a> {
    Deployment(&'a UpdatedServices),
    Rollback {
        target: Goal<'a>,
        back: &'a UpdatedServices,
    },
    Before {
        back: &'a UpdatedServices,
    },
    Same,
}

impl<'a> Served<'a> {
    /// # Errors
    /// [`InvalidInput`] where a rollback says not what it did.
    pub(crate) fn of(input: &'a RecordCurrentInput) -> Result<Self, InvalidInput> {
        let Some(target) = &input.target else {
            return Ok(input.update.as_ref().map_or(Self::Same, Self::Deployment));
        };
        let lacks = |field: &str| InvalidInput(format!("`{field}`: it is null after a rollback"));
        let back = input
            .rolled_back
            .as_ref()
            .ok_or_else(|| lacks("rolledBack"))?;
        match (target.requested, target.goal()) {
            (false, _) => Ok(Self::Before { back }),
            (true, Some(target)) => Ok(Self::Rollback { target, back }),
            (true, None) => Err(lacks("target.release")),
        }
    }

    fn update(&self) -> Option<&'a UpdatedServices> {
        match self {
            Self::Deployment(update)
            | Self::Rollback { back: update, .. }
            | Self::Before { back: update } => Some(update),
            Self::Same => None,
        }
    }

    /// The revisions that the services run now, of those that were given one.
    pub(crate) fn services(&self) -> Vec<WantedRevision> {
        let services = self.update().map(|update| update.services.as_slice());
        let wanted = services.unwrap_or_default().iter();
        wanted
            .map(|service| WantedRevision {
                cluster: service.cluster.clone(),
                service: service.service.clone(),
                task_definition: service.task_definition.clone(),
            })
            .collect()
    }

    /// As the table is told.
    pub(crate) fn told(&self, services: &'a [WantedRevision]) -> Serves<'a> {
        match self {
            Self::Deployment(update) => Serves::Deployment {
                services,
                from: update.at,
            },
            Self::Rollback { target, back } => Serves::Rollback {
                target: *target,
                services,
                from: back.at,
            },
            Self::Before { .. } => Serves::Before { services },
            Self::Same => Serves::Same,
        }
    }

    /// The image that serves; `None`: nobody knows which it is.
    pub(crate) fn image(&self, input: &RecordCurrentInput) -> Option<ServingImage> {
        match (self, &input.target) {
            (Self::Rollback { .. } | Self::Before { .. }, Some(target)) => target.serving.clone(),
            _ => Some(ServingImage {
                repository: input.plan.release.repository.clone()?,
                image: input.plan.release.image.clone()?,
            }),
        }
    }

    /// From when on the contract command is to run, milliseconds since 1970: when no alarm takes the
    /// release back by itself any more, which is found healthy `now`. `None`: it has none, or is no
    /// deployment.
    pub(crate) fn contract_due(&self, input: &RecordCurrentInput, now: i64) -> Option<i64> {
        let (Self::Deployment(_), Some(_)) = (self, &input.plan.contract) else {
            return None;
        };
        Some(now + i64::from(input.plan.limits.rollback_window_seconds) * 1000)
    }

    /// What runs now that the image serves: only after a deployment, and with the revision that its
    /// service has since.
    pub(crate) fn post_deploy(&self, input: &RecordCurrentInput) -> Option<Command> {
        let Self::Deployment(update) = self else {
            return None;
        };
        let command = input.plan.post_deploy.clone()?;
        let mut services = update.services.iter();
        let service = services.find(|service| service.service == command.service);
        Some(match service {
            Some(service) => Command {
                task_definition: service.task_definition.clone(),
                ..command
            },
            None => command,
        })
    }
}

#[cfg(test)]
#[path = "serving_tests.rs"]
mod tests;
