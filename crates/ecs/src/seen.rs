//! All that ECS tells of a set of services, in a few calls however many there are.

use crate::deployments::{
    describe_deployments, goes_back_to, is_in_progress, target, task_definitions,
};
use crate::describe_services;
use crate::early_success::cleans_up_later;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{Deployment, DeploymentRolloutState, Service, ServiceDeployment};
use bluegreen_runtime::AwsRequestFailed;
use std::collections::HashMap;

/// Services, their deployments in progress, and between which revisions those move.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    services: HashMap<String, Service>,
    /// By the service's ARN.
    deployments: HashMap<String, ServiceDeployment>,
    /// By the ARN of the service revision.
    task_definitions: HashMap<String, String>,
}

impl Seen {
    /// Looks at services, given as pairs of the cluster's ARN and their own. ECS is eventually
    /// consistent: what was begun a moment ago may not be told yet.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn look<'a>(
        client: &Client,
        services: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, AwsRequestFailed> {
        Self::of(client, describe_services(client, services).await?).await
    }

    /// As [`Seen::look`], of services that were described already.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn of(
        client: &Client,
        services: HashMap<String, Service>,
    ) -> Result<Self, AwsRequestFailed> {
        let deployments = in_progress(client, services.values()).await?;
        let mut known: HashMap<String, String> =
            services.values().filter_map(only_revision).collect();
        let revisions = deployments.values().flat_map(|deployment| {
            target(deployment)
                .into_iter()
                .chain(goes_back_to(deployment))
        });
        let unknown = revisions.filter(|revision| !known.contains_key(*revision));
        known.extend(task_definitions(client, unknown).await?);
        Ok(Seen {
            services,
            deployments,
            task_definitions: known,
        })
    }

    /// The service as ECS describes it; `None` where ECS does not know it.
    #[must_use]
    pub fn service(&self, service: &str) -> Option<&Service> {
        self.services.get(service)
    }

    /// The service's deployment, where one is in progress.
    #[must_use]
    pub fn deployment(&self, service: &str) -> Option<&ServiceDeployment> {
        self.deployments.get(service)
    }

    /// All deployments in progress, in the order of their services' ARNs.
    #[must_use]
    pub fn deployments(&self) -> Vec<&ServiceDeployment> {
        let mut deployments: Vec<_> = self.deployments.iter().collect();
        deployments.sort_by_key(|(service, _)| *service);
        deployments
            .into_iter()
            .map(|(_, deployment)| deployment)
            .collect()
    }

    /// ARN of the task definition's revision that a deployment in progress brings.
    #[must_use]
    pub fn target(&self, deployment: &ServiceDeployment) -> Option<&str> {
        self.task_definition(target(deployment)?)
    }

    /// ARN of the task definition's revision to which ECS takes that deployment back, or would.
    #[must_use]
    pub fn goes_back_to(&self, deployment: &ServiceDeployment) -> Option<&str> {
        self.task_definition(goes_back_to(deployment)?)
    }

    /// ARN of the task definition's revision of a service revision, where the services told it.
    #[must_use]
    pub fn task_definition(&self, revision: &str) -> Option<&str> {
        self.task_definitions.get(revision).map(String::as_str)
    }
}

/// The service revision that is all that a service runs, and its task definition: a service at rest
/// tells both itself
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceCurrentRevisionSummary.html>).
fn only_revision(service: &Service) -> Option<(String, String)> {
    let [revision] = service.current_service_revisions() else {
        return None;
    };
    let [deployment] = service.deployments() else {
        return None;
    };
    let task_definition = deployment.task_definition()?;
    Some((revision.arn()?.to_owned(), task_definition.to_owned()))
}

/// How far a service's deployment has come. By its documentation ECS may leave the state out, where
/// traffic is shifted and behind Classic Load Balancers: then the numbers of its tasks tell
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html>).
#[must_use]
pub fn rollout_state(deployment: &Deployment) -> DeploymentRolloutState {
    let (running, desired) = (deployment.running_count(), deployment.desired_count());
    match deployment.rollout_state() {
        Some(state) => state.clone(),
        None if running == desired && deployment.pending_count() == 0 => {
            DeploymentRolloutState::Completed
        }
        None => DeploymentRolloutState::InProgress,
    }
}

/// The state of the service's only deployment; `None` where there are several, or none. Beside one
/// that cleans up after its success, tasks of the one before may run on for weeks: they are no part
/// of it
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/early-success-criteria.html>).
#[must_use]
pub fn rollout(service: &Service) -> Option<DeploymentRolloutState> {
    match service.deployments() {
        [only] => Some(rollout_state(only)),
        _ if cleans_up_later(service) => primary(service).map(rollout_state),
        _ => None,
    }
}

/// The deployment that has or will have all traffic.
#[must_use]
pub fn primary(service: &Service) -> Option<&Deployment> {
    let mut deployments = service.deployments().iter();
    deployments.find(|deployment| deployment.status() == Some("PRIMARY"))
}

/// ECS has replaced all tasks of the service and is not about to replace them.
#[must_use]
pub fn is_at_rest(service: &Service) -> bool {
    rollout(service) == Some(DeploymentRolloutState::Completed)
}

/// The deployments in progress of these services, by the service's ARN.
async fn in_progress<'a>(
    client: &Client,
    services: impl IntoIterator<Item = &'a Service>,
) -> Result<HashMap<String, ServiceDeployment>, AwsRequestFailed> {
    let current: HashMap<&str, &str> = services
        .into_iter()
        .filter_map(|service| {
            Some((
                service.service_arn()?,
                service.current_service_deployment()?,
            ))
        })
        .collect();
    let mut described = describe_deployments(client, current.values().copied()).await?;
    Ok(current
        .into_iter()
        .filter_map(|(service, deployment)| {
            Some((service.to_owned(), described.remove(deployment)?))
        })
        .filter(|(_, deployment)| is_in_progress(deployment))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::operation::describe_service_deployments::DescribeServiceDeploymentsOutput;
    use aws_sdk_ecs::operation::describe_service_revisions::DescribeServiceRevisionsOutput;
    use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
    use aws_sdk_ecs::types::{
        DeploymentConfiguration, DeploymentEarlySuccessCriteria, ServiceDeploymentStatus,
        ServiceRevision, ServiceRevisionCleanup, ServiceRevisionSummary,
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

    /// Service `web` has the deployment `d-web`, and so on; `still` has none.
    fn services() -> Rule {
        mock!(Client::describe_services).then_compute_output(|request| {
            let services = request.services().iter().map(|arn| {
                Service::builder()
                    .service_arn(arn)
                    .set_current_service_deployment((arn != "still").then(|| format!("d-{arn}")))
                    .build()
            });
            DescribeServicesOutput::builder()
                .set_services(Some(services.collect()))
                .build()
        })
    }

    /// All move from revision `r7` to `r8`; `d-over` has come to its end.
    fn deployments() -> Rule {
        mock!(Client::describe_service_deployments).then_compute_output(|request| {
            let revision = |arn: &str| ServiceRevisionSummary::builder().arn(arn).build();
            let deployments = request.service_deployment_arns().iter().map(|arn| {
                ServiceDeployment::builder()
                    .service_deployment_arn(arn)
                    .source_service_revisions(revision("r7"))
                    .target_service_revision(revision("r8"))
                    .status(match arn.as_str() {
                        "d-over" => ServiceDeploymentStatus::Successful,
                        _ => ServiceDeploymentStatus::InProgress,
                    })
                    .build()
            });
            DescribeServiceDeploymentsOutput::builder()
                .set_service_deployments(Some(deployments.collect()))
                .build()
        })
    }

    /// Revision `r7` runs `web:7`.
    fn revisions() -> Rule {
        mock!(Client::describe_service_revisions).then_compute_output(|request| {
            let revisions = request.service_revision_arns().iter().map(|arn| {
                ServiceRevision::builder()
                    .service_revision_arn(arn)
                    .task_definition(arn.replace('r', "web:"))
                    .build()
            });
            DescribeServiceRevisionsOutput::builder()
                .set_service_revisions(Some(revisions.collect()))
                .build()
        })
    }

    #[tokio::test]
    async fn a_services_deployment_and_its_revisions_are_told_while_it_is_in_progress() {
        let (services, deployments, revisions) = (services(), deployments(), revisions());
        let rules = [&services, &deployments, &revisions];
        let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &rules);
        let asked = ["worker", "web", "still", "over"].map(|service| ("c", service));

        let seen = Seen::look(&client, asked).await.unwrap();

        let moving = seen.deployment("web").unwrap();
        assert_eq!(seen.target(moving), Some("web:8"));
        assert_eq!(seen.goes_back_to(moving), Some("web:7"));
        for quiet in ["still", "over"] {
            assert!(seen.service(quiet).is_some());
            assert!(seen.deployment(quiet).is_none(), "{quiet}");
        }
        let arns: Vec<_> = seen
            .deployments()
            .into_iter()
            .filter_map(ServiceDeployment::service_deployment_arn)
            .collect();
        assert_eq!(arns, ["d-web", "d-worker"]);
        for rule in rules {
            assert_eq!(rule.num_calls(), 1);
        }
    }

    #[tokio::test]
    async fn where_nothing_is_in_progress_no_revision_is_asked_for() {
        let services = services();
        let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&services]);
        let seen = Seen::look(&client, [("c", "still")]).await.unwrap();
        assert!(seen.deployments().is_empty());
    }

    #[test]
    fn a_service_is_at_rest_when_its_only_deployment_is_completed() {
        use DeploymentRolloutState::{Completed, Failed, InProgress};
        let service = |rollouts: &[DeploymentRolloutState]| {
            let deployments = rollouts
                .iter()
                .map(|state| Deployment::builder().rollout_state(state.clone()).build());
            Service::builder()
                .set_deployments(Some(deployments.collect()))
                .build()
        };
        for (rollouts, told, at_rest) in [
            (vec![Completed], Some(Completed), true),
            (vec![InProgress], Some(InProgress), false),
            (vec![Failed], Some(Failed), false),
            (vec![Completed, InProgress], None, false),
            (vec![], None, false),
        ] {
            let service = service(&rollouts);
            assert_eq!(rollout(&service), told, "{rollouts:?}");
            assert_eq!(is_at_rest(&service), at_rest, "{rollouts:?}");
        }
    }

    /// The case of <https://github.com/kayac/ecspresso/issues/1083>: after its success
    /// `DescribeServices` tells of the tasks of the revision before until they are gone.
    #[test]
    fn tasks_whose_clean_up_is_deferred_do_not_keep_a_service_from_being_at_rest() {
        use DeploymentRolloutState::{Completed, InProgress};
        let service = |cleanup: ServiceRevisionCleanup, state: DeploymentRolloutState| {
            let criteria = DeploymentEarlySuccessCriteria::builder()
                .enable(true)
                .healthy_percent(50)
                .source_service_revision_cleanup(cleanup)
                .build();
            let configuration = DeploymentConfiguration::builder().early_success_criteria(criteria);
            let deployment = |status: &str, state: DeploymentRolloutState| {
                let deployment = Deployment::builder().status(status);
                deployment.rollout_state(state).build()
            };
            Service::builder()
                .deployment_configuration(configuration.build())
                .deployments(deployment("ACTIVE", Completed))
                .deployments(deployment("PRIMARY", state))
                .build()
        };
        let deferred = |state| service(ServiceRevisionCleanup::Deferred, state);
        assert!(is_at_rest(&deferred(Completed)));
        assert!(!is_at_rest(&deferred(InProgress)));
        let blocking = service(ServiceRevisionCleanup::Blocking, Completed);
        assert!(!is_at_rest(&blocking));
    }

    /// ECS may leave `rolloutState` out
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html>).
    #[test]
    fn where_ecs_does_not_tell_the_state_of_a_rollout_the_tasks_do() {
        use DeploymentRolloutState::{Completed, Failed, InProgress};
        let deployment = |running, pending| {
            let deployment = Deployment::builder().running_count(running);
            deployment.pending_count(pending).desired_count(2)
        };
        for (told, running, pending, state) in [
            (None, 2, 0, Completed),
            (None, 1, 1, InProgress),
            (None, 2, 1, InProgress),
            (None, 3, 0, InProgress),
            (Some(Failed), 2, 0, Failed),
            (Some(InProgress), 2, 0, InProgress),
            (Some(Completed), 1, 0, Completed),
        ] {
            let deployment = deployment(running, pending).set_rollout_state(told);
            assert_eq!(rollout_state(&deployment.build()), state);
        }
    }
}
