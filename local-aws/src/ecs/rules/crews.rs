//! Which of a service's tasks are planned together.

use std::time::Duration;

use super::rolling::{Limits, Part, Progress};
use crate::ecs::model::deployments::{Deployment, Rollout, Scale};
use crate::ecs::model::service::Service;

/// Tasks that are planned together: those of one deployment, or of all that replace each other.
pub(in crate::ecs) struct Crew {
    /// The deployment that new tasks belong to.
    pub(in crate::ecs) id: String,
    /// Whether it is all of the service's tasks, but for those of `apart`.
    is_whole: bool,
    /// The deployments that are cleaned up.
    apart: Vec<String>,
    pub(in crate::ecs) limits: Limits,
    /// Whether the deployment is not completed.
    rolling: bool,
    starts: bool,
    /// How long the next start has to wait.
    pub(in crate::ecs) pause: Option<Duration>,
    /// The completed deployment that it replaces.
    pub(in crate::ecs) serving: Option<Serving>,
}

#[derive(Clone)]
pub(in crate::ecs) struct Serving {
    pub(in crate::ecs) id: String,
    /// How many of its tasks have given way.
    pub(in crate::ecs) replaced: usize,
    /// How long the next start of one of its tasks has to wait.
    pub(in crate::ecs) pause: Option<Duration>,
}

impl Crew {
    pub(in crate::ecs) fn part(&self, deployment_id: &str) -> Part {
        match &self.serving {
            _ if deployment_id == self.id => Part::Primary,
            Some(serving) if deployment_id == serving.id => Part::Serving,
            _ => Part::Superseded,
        }
    }

    pub(in crate::ecs) fn progress(&self) -> Progress {
        let serving = self.serving.as_ref();
        Progress {
            rolling: self.rolling,
            starts: self.starts && self.pause.is_none(),
            restarts: serving.is_some_and(|serving| serving.pause.is_none()),
            replaced: serving.map_or(0, |serving| serving.replaced),
        }
    }

    pub(in crate::ecs) fn has(&self, deployment_id: &str) -> bool {
        let is_apart = || self.apart.iter().any(|apart| apart == deployment_id);
        self.id == deployment_id || self.is_whole && !is_apart()
    }
}

pub(in crate::ecs) fn crews(service: &Service) -> Vec<Crew> {
    let side_by_side = service.is_side_by_side();
    let completed = service.completed_deployment();
    let is_cleaned_up = |one: &Deployment| one.scale == Scale::CleanUp;
    let serving = completed.filter(|position| {
        !side_by_side && *position > 0 && !is_cleaned_up(&service.deployments[*position])
    });
    let serving = serving.map(|position| {
        let deployment = &service.deployments[position];
        Serving {
            id: deployment.id.clone(),
            replaced: deployment.replaced,
            pause: deployment.throttle.pause(),
        }
    });
    let apart = service.deployments.iter().filter(|one| is_cleaned_up(one));
    let apart: Vec<String> = apart.map(|one| one.id.clone()).collect();
    let crew = |deployment: &Deployment| {
        let limits = match deployment.scale {
            Scale::Rolling => limits(service),
            Scale::Full => Limits::new(service.desired_count, 100, 200),
            Scale::Nothing | Scale::CleanUp => Limits::new(0, 100, 200),
            Scale::Kept => return None,
        };
        Some(Crew {
            id: deployment.id.clone(),
            is_whole: !side_by_side && !is_cleaned_up(deployment),
            apart: apart.clone(),
            limits,
            rolling: deployment.rollout != Rollout::Completed,
            starts: deployment.rollout != Rollout::Failed,
            pause: deployment.throttle.pause(),
            serving: serving.clone().filter(|_| !is_cleaned_up(deployment)),
        })
    };
    let deployments = service.deployments.iter().enumerate();
    deployments
        .filter(|(position, one)| side_by_side || *position == 0 || is_cleaned_up(one))
        .filter_map(|(_, deployment)| crew(deployment))
        .collect()
}

fn limits(service: &Service) -> Limits {
    let configuration = &service.fields["deploymentConfiguration"];
    let percent = |name: &str| {
        let value = configuration[name].as_u64().unwrap_or_default();
        usize::try_from(value).unwrap_or(usize::MAX)
    };
    Limits::new(
        service.desired_count,
        percent("minimumHealthyPercent"),
        percent("maximumPercent"),
    )
}
