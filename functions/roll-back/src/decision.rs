//! How a service gets back to a revision.

use aws_sdk_ecs::types::{Service, ServiceDeployment};

/// What is known of a service.
pub(crate) struct Observation<'a> {
    pub(crate) service: &'a Service,
    /// Its deployment, where one is in progress.
    pub(crate) deployment: Option<Moving<'a>>,
}

/// A deployment in progress, and between which revisions of the task definition it moves.
pub(crate) struct Moving<'a> {
    pub(crate) deployment: &'a ServiceDeployment,
    /// ARN of the revision that it brings.
    pub(crate) target: Option<&'a str>,
    /// ARN of the revision to which ECS rolls it back, or would.
    pub(crate) before: Option<&'a str>,
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
    let Some(moving) = &observation.deployment else {
        return at_rest(observation.service, wanted);
    };
    let back = moving.before == Some(wanted);
    let forward = moving.target == Some(wanted);
    match bluegreen_ecs::status(moving.deployment) {
        "ROLLBACK_REQUESTED" | "ROLLBACK_IN_PROGRESS" if back => Step::Leave,
        "PENDING" | "IN_PROGRESS" if forward => Step::Leave,
        "PENDING" | "IN_PROGRESS" if back => match moving.deployment.service_deployment_arn() {
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
    let target = observation
        .deployment
        .as_ref()
        .and_then(|moving| moving.target);
    target
        .or(observation.service.task_definition())
        .unwrap_or_default()
        .to_owned()
}

fn at_rest(service: &Service, wanted: &str) -> Step {
    match service.task_definition() == Some(wanted) && bluegreen_ecs::is_at_rest(service) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::{
        Deployment, DeploymentConfiguration, DeploymentEarlySuccessCriteria,
        DeploymentRolloutState, ServiceDeploymentStatus, ServiceRevisionCleanup,
    };

    fn deployment(status: &str) -> ServiceDeployment {
        ServiceDeployment::builder()
            .service_deployment_arn("d1")
            .status(ServiceDeploymentStatus::from(status))
            .build()
    }

    fn service(task_definition: &str, rollout: DeploymentRolloutState) -> Service {
        Service::builder()
            .task_definition(task_definition)
            .deployments(Deployment::builder().rollout_state(rollout).build())
            .build()
    }

    /// The step of a service that moves from one revision, if that is known, to another.
    fn moving(status: &str, before: Option<&str>, target: &str) -> Step {
        let deployment = Moving {
            deployment: &deployment(status),
            target: Some(target),
            before,
        };
        step(
            &Observation {
                service: &service("web:8", DeploymentRolloutState::InProgress),
                deployment: Some(deployment),
            },
            "web:7",
        )
    }

    fn resting(service: &Service) -> Step {
        step(
            &Observation {
                service,
                deployment: None,
            },
            "web:7",
        )
    }

    #[test]
    fn a_deployment_that_came_from_the_revision_is_stopped_with_a_rollback() {
        for status in ["PENDING", "IN_PROGRESS"] {
            let deployment_arn = "d1".to_owned();
            assert_eq!(
                moving(status, Some("web:7"), "web:8"),
                Step::Stop {
                    deployment: deployment_arn
                }
            );
        }
    }

    #[test]
    fn a_deployment_that_came_from_elsewhere_is_replaced_by_one_to_the_revision() {
        for (status, before) in [
            ("IN_PROGRESS", Some("web:6")),
            ("IN_PROGRESS", None),
            ("STOP_REQUESTED", Some("web:7")),
        ] {
            assert_eq!(moving(status, before, "web:8"), Step::Update, "{status}");
        }
    }

    #[test]
    fn what_is_on_its_way_to_the_revision_is_left() {
        let forward = moving("IN_PROGRESS", Some("web:8"), "web:7");
        assert_eq!(forward, Step::Leave);
        for status in ["ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS"] {
            assert_eq!(moving(status, Some("web:7"), "web:8"), Step::Leave);
        }
    }

    #[test]
    fn a_rollback_of_ecs_to_another_revision_is_not_the_one_wanted() {
        let elsewhere = moving("ROLLBACK_IN_PROGRESS", Some("web:6"), "web:8");
        assert_eq!(elsewhere, Step::Update);
    }

    #[test]
    fn a_service_at_rest_is_updated_unless_it_runs_the_revision() {
        use DeploymentRolloutState::{Completed, Failed};
        assert_eq!(resting(&service("web:7", Completed)), Step::Leave);
        assert_eq!(resting(&service("web:8", Completed)), Step::Update);
        assert_eq!(resting(&service("web:7", Failed)), Step::Again);
    }

    /// Tasks of another revision may run for two weeks after ECS's success
    /// (<https://github.com/kayac/ecspresso/issues/1083>).
    #[test]
    fn a_service_whose_clean_up_is_deferred_is_at_rest() {
        use DeploymentRolloutState::{Completed, InProgress};
        let service = |state: DeploymentRolloutState| {
            let criteria = DeploymentEarlySuccessCriteria::builder()
                .enable(true)
                .healthy_percent(50)
                .source_service_revision_cleanup(ServiceRevisionCleanup::Deferred);
            let configuration =
                DeploymentConfiguration::builder().early_success_criteria(criteria.build());
            let deployment = |status: &str, state| {
                let deployment = Deployment::builder().status(status);
                deployment.rollout_state(state).build()
            };
            Service::builder()
                .task_definition("web:7")
                .deployment_configuration(configuration.build())
                .deployments(deployment("PRIMARY", state))
                .deployments(deployment("ACTIVE", Completed))
                .build()
        };
        assert_eq!(resting(&service(Completed)), Step::Leave);
        assert_eq!(resting(&service(InProgress)), Step::Again);
    }

    #[test]
    fn the_revision_before_is_the_one_that_was_about_to_come() {
        let deployment = deployment("ROLLBACK_IN_PROGRESS");
        let service = service("web:7", DeploymentRolloutState::InProgress);
        let moving = Moving {
            deployment: &deployment,
            target: Some("web:8"),
            before: Some("web:7"),
        };
        let observation = |deployment| Observation {
            service: &service,
            deployment,
        };
        assert_eq!(previous(&observation(Some(moving))), "web:8");
        assert_eq!(previous(&observation(None)), "web:7");
    }
}
