//! What ECS says of the deployments of services, and of the revisions between which they move.

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{
    ServiceDeployment, ServiceRevisionSummary, StopServiceDeploymentStopType,
};
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

/// Whether the deployment has not come to its end. It is taken to be in progress where ECS says a
/// word that is not known.
pub fn is_in_progress(deployment: &ServiceDeployment) -> bool {
    !matches!(
        status(deployment),
        "SUCCESSFUL" | "STOPPED" | "ROLLBACK_SUCCESSFUL" | "ROLLBACK_FAILED"
    )
}

/// ARN of the service revision that the deployment brings.
#[must_use]
pub fn target(deployment: &ServiceDeployment) -> Option<&str> {
    deployment
        .target_service_revision()
        .and_then(ServiceRevisionSummary::arn)
}

/// ARN of the service revision to which ECS takes the deployment back, or would: it says so once the
/// rollback has begun. Of several sources, which are there where the deployment took over from one
/// that was not complete, it is not documented which one is taken.
#[must_use]
pub fn goes_back_to(deployment: &ServiceDeployment) -> Option<&str> {
    let told = deployment
        .rollback()
        .and_then(|rollback| rollback.service_revision_arn());
    told.or(match deployment.source_service_revisions() {
        [only] => only.arn(),
        _ => None,
    })
}

/// Tells ECS to take a deployment back, which moves the traffic at once and starts no task that
/// still runs. ECS refuses that of a first deployment, which has nothing to go back to, and of one
/// that [`is_over`].
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn roll_back(client: &Client, deployment: &str) -> Result<(), AwsRequestFailed> {
    client
        .stop_service_deployment()
        .service_deployment_arn(deployment)
        .stop_type(StopServiceDeploymentStopType::Rollback)
        .send()
        .await
        .map(drop)
        .map_err(failed("ecs:StopServiceDeployment", deployment))
}

/// Whether [`roll_back`] failed because ECS has the deployment no more, or not in a state in which
/// it can be rolled back
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopServiceDeployment.html>).
#[must_use]
pub fn is_over(failure: &AwsRequestFailed) -> bool {
    matches!(
        failure.code.as_str(),
        "ConflictException" | "ServiceDeploymentNotFoundException"
    )
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
    use aws_sdk_ecs::operation::describe_service_revisions::DescribeServiceRevisionsOutput;
    use aws_sdk_ecs::operation::stop_service_deployment::StopServiceDeploymentError;
    use aws_sdk_ecs::types::{Rollback, ServiceDeploymentStatus, ServiceRevision};
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

    fn deployment(sources: &[&str], rollback: Option<&str>) -> ServiceDeployment {
        let revision = |arn: &str| ServiceRevisionSummary::builder().arn(arn).build();
        let sources = sources.iter().map(|arn| revision(arn));
        ServiceDeployment::builder()
            .set_source_service_revisions(Some(sources.collect()))
            .target_service_revision(revision("r8"))
            .set_rollback(rollback.map(|arn| Rollback::builder().service_revision_arn(arn).build()))
            .build()
    }

    #[test]
    fn a_deployment_goes_back_to_its_only_source_or_to_what_ecs_says() {
        for (sources, rollback, expected) in [
            (&["r7"][..], None, Some("r7")),
            (&["r6", "r7"], None, None),
            (&[], None, None),
            (&["r7"], Some("r6"), Some("r6")),
            (&["r6", "r7"], Some("r7"), Some("r7")),
        ] {
            let deployment = deployment(sources, rollback);
            assert_eq!(goes_back_to(&deployment), expected, "{deployment:?}");
            assert_eq!(target(&deployment), Some("r8"));
        }
    }

    #[tokio::test]
    async fn a_deployment_that_cannot_go_back_any_more_is_over_and_a_refusal_is_not_that() {
        for (code, over) in [
            ("ConflictException", true),
            ("ServiceDeploymentNotFoundException", true),
            ("AccessDeniedException", false),
        ] {
            let rule = mock!(Client::stop_service_deployment)
                .match_requests(|request| {
                    request.service_deployment_arn() == Some("d8")
                        && request.stop_type() == Some(&StopServiceDeploymentStopType::Rollback)
                })
                .then_error(move || {
                    StopServiceDeploymentError::generic(
                        aws_sdk_ecs::error::ErrorMetadata::builder()
                            .code(code)
                            .build(),
                    )
                });
            let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&rule]);
            let failure = roll_back(&client, "d8").await.unwrap_err();
            assert_eq!(is_over(&failure), over, "{failure}");
        }
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
