//! How a service gets back to a revision.

use aws_sdk_ecs::types::{
    DeploymentRolloutState, Service, ServiceDeployment, ServiceRevisionSummary,
};
use std::collections::HashMap;

/// What is known of a service.
pub(crate) struct Observation<'a> {
    pub(crate) service: &'a Service,
    /// Its deployment, where one is in progress.
    pub(crate) deployment: Option<&'a ServiceDeployment>,
    /// ARN of each service revision with the ARN of its task definition.
    pub(crate) task_definitions: &'a HashMap<String, String>,
}

/// What to ask of ECS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: the service runs the revision, or is on its way to it.
    Leave,
    /// StopServiceDeployment with a rollback, which moves the traffic at once and starts no task
    /// that still runs.
    Stop { deployment: String },
    /// UpdateService to the revision, where the service has another one.
    Update,
    /// UpdateService to the revision that it has: its deployment came to no good end.
    Again,
}

/// Which step leads to the revision `wanted`.
pub(crate) fn step(observation: &Observation<'_>, wanted: &str) -> Step {
    let runs = |revision: &str| {
        observation
            .task_definitions
            .get(revision)
            .is_some_and(|task_definition| task_definition == wanted)
    };
    let Some(deployment) = observation.deployment else {
        return at_rest(observation.service, wanted);
    };
    let back = goes_back_to(deployment).is_some_and(runs);
    let forward = target(deployment).is_some_and(runs);
    match bluegreen_ecs::status(deployment) {
        "ROLLBACK_REQUESTED" | "ROLLBACK_IN_PROGRESS" if back => Step::Leave,
        "PENDING" | "IN_PROGRESS" if forward => Step::Leave,
        "PENDING" | "IN_PROGRESS" if back => match deployment.service_deployment_arn() {
            Some(arn) => Step::Stop {
                deployment: arn.to_owned(),
            },
            None => Step::Update,
        },
        _ => update(observation.service, wanted),
    }
}

/// ARN of the task definition that the service had, or was about to get.
pub(crate) fn previous(observation: &Observation<'_>) -> String {
    observation
        .deployment
        .and_then(target)
        .and_then(|revision| observation.task_definitions.get(revision).cloned())
        .or_else(|| observation.service.task_definition().map(str::to_owned))
        .unwrap_or_default()
}

/// The revisions of which [`step`] has to know the task definition.
pub(crate) fn revisions(deployment: &ServiceDeployment) -> impl Iterator<Item = &str> {
    target(deployment)
        .into_iter()
        .chain(goes_back_to(deployment))
}

fn at_rest(service: &Service, wanted: &str) -> Step {
    let completed = match service.deployments() {
        [only] => only.rollout_state() == Some(&DeploymentRolloutState::Completed),
        _ => false,
    };
    match service.task_definition() == Some(wanted) && completed {
        true => Step::Leave,
        false => update(service, wanted),
    }
}

fn update(service: &Service, wanted: &str) -> Step {
    match service.task_definition() == Some(wanted) {
        true => Step::Again,
        false => Step::Update,
    }
}

fn target(deployment: &ServiceDeployment) -> Option<&str> {
    deployment
        .target_service_revision()
        .and_then(ServiceRevisionSummary::arn)
}

/// The service revision to which ECS goes back, or would: it says so once the rollback has begun.
/// Of several sources, which are there where the deployment took over from one that was not
/// complete, it is not documented which one is taken.
fn goes_back_to(deployment: &ServiceDeployment) -> Option<&str> {
    let told = deployment
        .rollback()
        .and_then(|rollback| rollback.service_revision_arn());
    told.or(match deployment.source_service_revisions() {
        [only] => only.arn(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::builders::ServiceDeploymentBuilder;
    use aws_sdk_ecs::types::{Deployment, Rollback, ServiceDeploymentStatus};

    /// Service revision `r<n>` runs `web:<n>`.
    fn deployment(status: &str, source: &str, target: &str) -> ServiceDeploymentBuilder {
        let revision = |arn: &str| ServiceRevisionSummary::builder().arn(arn).build();
        ServiceDeployment::builder()
            .service_deployment_arn("d1")
            .status(ServiceDeploymentStatus::from(status))
            .source_service_revisions(revision(source))
            .target_service_revision(revision(target))
    }

    fn service(task_definition: &str, rollout: DeploymentRolloutState) -> Service {
        Service::builder()
            .task_definition(task_definition)
            .deployments(Deployment::builder().rollout_state(rollout).build())
            .build()
    }

    fn moving(deployment: ServiceDeploymentBuilder) -> Step {
        let task_definitions = (1..=9)
            .map(|n| (format!("r{n}"), format!("web:{n}")))
            .collect();
        step(
            &Observation {
                service: &service("web:8", DeploymentRolloutState::InProgress),
                deployment: Some(&deployment.build()),
                task_definitions: &task_definitions,
            },
            "web:7",
        )
    }

    fn resting(service: &Service) -> Step {
        step(
            &Observation {
                service,
                deployment: None,
                task_definitions: &HashMap::new(),
            },
            "web:7",
        )
    }

    #[test]
    fn a_deployment_that_came_from_the_revision_is_stopped_with_a_rollback() {
        for status in ["PENDING", "IN_PROGRESS"] {
            let deployment_arn = "d1".to_owned();
            assert_eq!(
                moving(deployment(status, "r7", "r8")),
                Step::Stop {
                    deployment: deployment_arn
                }
            );
        }
    }

    #[test]
    fn a_deployment_that_came_from_elsewhere_is_replaced_by_one_to_the_revision() {
        assert_eq!(moving(deployment("IN_PROGRESS", "r6", "r8")), Step::Update);
        let of_two = deployment("IN_PROGRESS", "r7", "r8")
            .source_service_revisions(ServiceRevisionSummary::builder().arn("r6").build());
        assert_eq!(moving(of_two), Step::Update);
        assert_eq!(
            moving(deployment("STOP_REQUESTED", "r7", "r8")),
            Step::Update
        );
    }

    #[test]
    fn what_is_on_its_way_to_the_revision_is_left() {
        assert_eq!(moving(deployment("IN_PROGRESS", "r8", "r7")), Step::Leave);
        for status in ["ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS"] {
            assert_eq!(moving(deployment(status, "r7", "r8")), Step::Leave);
        }
    }

    #[test]
    fn a_rollback_of_ecs_to_another_revision_is_not_the_one_wanted() {
        let elsewhere = deployment("ROLLBACK_IN_PROGRESS", "r7", "r8")
            .rollback(Rollback::builder().service_revision_arn("r6").build());
        assert_eq!(moving(elsewhere), Step::Update);
    }

    #[test]
    fn a_service_at_rest_is_updated_unless_it_runs_the_revision() {
        use DeploymentRolloutState::{Completed, Failed};
        assert_eq!(resting(&service("web:7", Completed)), Step::Leave);
        assert_eq!(resting(&service("web:8", Completed)), Step::Update);
        assert_eq!(resting(&service("web:7", Failed)), Step::Again);
    }

    #[test]
    fn the_revision_before_is_the_one_that_was_about_to_come() {
        let task_definitions = HashMap::from([("r8".to_owned(), "web:8".to_owned())]);
        let deployment = deployment("ROLLBACK_IN_PROGRESS", "r7", "r8").build();
        let service = service("web:7", DeploymentRolloutState::InProgress);
        let observation = |deployment| Observation {
            service: &service,
            deployment,
            task_definitions: &task_definitions,
        };
        assert_eq!(previous(&observation(Some(&deployment))), "web:8");
        assert_eq!(previous(&observation(None)), "web:7");
    }
}
