//! What ECS says of the deployments of services, and of the revisions between which they move.

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{Service, ServiceDeployment};
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::collections::{BTreeSet, HashMap};

/// DescribeServiceDeployments and DescribeServiceRevisions take no more at once
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html>).
pub const DEPLOYMENTS_BATCH: usize = 20;

/// ECS's own word for the state of a deployment
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html>).
pub fn status(deployment: &ServiceDeployment) -> &str {
    deployment
        .status()
        .map_or("UNKNOWN", |status| status.as_str())
}

/// Whether ECS is still at work on the deployment. It is taken to be where it says a word that is
/// not known.
pub fn is_in_progress(deployment: &ServiceDeployment) -> bool {
    !matches!(
        status(deployment),
        "SUCCESSFUL" | "STOPPED" | "ROLLBACK_SUCCESSFUL" | "ROLLBACK_FAILED"
    )
}

/// The deployments in progress of these services, by the service's ARN.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn in_progress<'a>(
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

/// Deployments by their ARN. One that ECS does not know is left out.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn describe_deployments<'a>(
    client: &Client,
    deployments: impl IntoIterator<Item = &'a str>,
) -> Result<HashMap<String, ServiceDeployment>, AwsRequestFailed> {
    let mut found = HashMap::new();
    for batch in batches(deployments) {
        let asked = batch.join(", ");
        let answer = client
            .describe_service_deployments()
            .set_service_deployment_arns(Some(batch))
            .send()
            .await
            .map_err(failed("ecs:DescribeServiceDeployments", asked))?;
        for deployment in answer.service_deployments.unwrap_or_default() {
            if let Some(arn) = deployment.service_deployment_arn() {
                found.insert(arn.to_owned(), deployment);
            }
        }
    }
    Ok(found)
}

/// ARN of each service revision with the ARN of its task definition. One that ECS does not know is
/// left out.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn task_definitions<'a>(
    client: &Client,
    revisions: impl IntoIterator<Item = &'a str>,
) -> Result<HashMap<String, String>, AwsRequestFailed> {
    let mut found = HashMap::new();
    for batch in batches(revisions) {
        let asked = batch.join(", ");
        let answer = client
            .describe_service_revisions()
            .set_service_revision_arns(Some(batch))
            .send()
            .await
            .map_err(failed("ecs:DescribeServiceRevisions", asked))?;
        found.extend(answer.service_revisions().iter().filter_map(|revision| {
            Some((
                revision.service_revision_arn()?.to_owned(),
                revision.task_definition()?.to_owned(),
            ))
        }));
    }
    Ok(found)
}

/// Each ARN once, in batches that ECS takes.
fn batches<'a>(arns: impl IntoIterator<Item = &'a str>) -> Vec<Vec<String>> {
    let arns: BTreeSet<&str> = arns.into_iter().collect();
    let arns: Vec<String> = arns.into_iter().map(str::to_owned).collect();
    arns.chunks(DEPLOYMENTS_BATCH).map(<[_]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::operation::describe_service_deployments::DescribeServiceDeploymentsOutput;
    use aws_sdk_ecs::operation::describe_service_revisions::DescribeServiceRevisionsOutput;
    use aws_sdk_ecs::types::{ServiceDeploymentStatus, ServiceRevision};
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    #[test]
    fn a_deployment_is_in_progress_until_ecs_says_that_it_is_over() {
        for (status, expected) in [
            ("PENDING", true),
            ("IN_PROGRESS", true),
            ("STOP_REQUESTED", true),
            ("ROLLBACK_REQUESTED", true),
            ("ROLLBACK_IN_PROGRESS", true),
            ("A_STATUS_OF_TOMORROW", true),
            ("SUCCESSFUL", false),
            ("STOPPED", false),
            ("ROLLBACK_SUCCESSFUL", false),
            ("ROLLBACK_FAILED", false),
        ] {
            let deployment = ServiceDeployment::builder()
                .status(ServiceDeploymentStatus::from(status))
                .build();
            assert_eq!(is_in_progress(&deployment), expected, "{status}");
        }
    }

    #[tokio::test]
    async fn a_services_deployment_is_told_while_it_is_in_progress() {
        let rule = mock!(Client::describe_service_deployments).then_compute_output(|request| {
            let deployments = request.service_deployment_arns().iter().map(|arn| {
                ServiceDeployment::builder()
                    .service_deployment_arn(arn)
                    .status(match arn.as_str() {
                        "d-over" => ServiceDeploymentStatus::Successful,
                        _ => ServiceDeploymentStatus::InProgress,
                    })
                    .build()
            });
            DescribeServiceDeploymentsOutput::builder()
                .set_service_deployments(Some(deployments.collect()))
                .build()
        });
        let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&rule]);
        let service = |name: &str, deployment: Option<&str>| {
            Service::builder()
                .service_arn(name)
                .set_current_service_deployment(deployment.map(str::to_owned))
                .build()
        };
        let services = [
            service("moving", Some("d-1")),
            service("still", None),
            service("over", Some("d-over")),
        ];
        let found = in_progress(&client, &services).await.unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["moving"]);
        assert_eq!(rule.num_calls(), 1);
    }

    #[tokio::test]
    async fn revisions_are_asked_for_once_each_and_twenty_at_a_time() {
        let rule = mock!(Client::describe_service_revisions)
            .match_requests(|request| request.service_revision_arns().len() <= 20)
            .then_compute_output(|request| {
                let revisions = request.service_revision_arns().iter().map(|arn| {
                    ServiceRevision::builder()
                        .service_revision_arn(arn)
                        .task_definition(arn.replace('r', "web:"))
                        .build()
                });
                DescribeServiceRevisionsOutput::builder()
                    .set_service_revisions(Some(revisions.collect()))
                    .build()
            });
        let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&rule]);
        let arns: Vec<String> = (0..25).chain(0..25).map(|n| format!("r{n}")).collect();
        let found = task_definitions(&client, arns.iter().map(String::as_str))
            .await
            .unwrap();
        assert_eq!((found.len(), rule.num_calls()), (25, 2));
        assert_eq!(found["r7"], "web:7");
    }
}
