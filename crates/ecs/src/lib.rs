//! What ECS says of services and of their deployments, asked in batches that ECS takes and at a rate
//! that leaves the account's request limits to others.

mod deployments;
mod early_success;
mod rate_limit;
mod registration;
mod seen;
mod started_by;
mod stop;
mod tag;
mod task_definition;

pub use deployments::{
    DEPLOYMENTS_BATCH, describe_deployments, goes_back_to, is_in_progress, is_over, roll_back,
    status, target, task_definitions,
};
pub use early_success::{enough_tasks, is_enough, percent_of};
pub use rate_limit::{PATIENCE, PATIENCE_TO_REGISTER, rate_limited_client};
pub use seen::{Seen, is_at_rest, primary, rollout, rollout_state};
pub use started_by::started_by;
pub use stop::stop_task;
pub use tag::tag;
pub use task_definition::{
    Described, EXECUTION_TAG, Family, Marks, OneOff, RegisterFailure, STACK_TAG,
    deregister_unserved, describe_task_definition, is_deregistered, pinned_to,
};

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::Service;
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::collections::{BTreeMap, HashMap};

/// DescribeServices takes no more at once
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html>).
const BATCH: usize = 10;

/// Describes services, given as pairs of the cluster's ARN and their own, and returns them by their
/// ARN. A service that ECS does not know is left out; one that was deleted may still be described,
/// with another status than `ACTIVE`.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn describe_services<'a>(
    client: &Client,
    services: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<HashMap<String, Service>, AwsRequestFailed> {
    let mut by_cluster: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (cluster, service) in services {
        by_cluster
            .entry(cluster)
            .or_default()
            .push(service.to_owned());
    }
    let mut found = HashMap::new();
    for (cluster, services) in by_cluster {
        for batch in services.chunks(BATCH) {
            let answer = client
                .describe_services()
                .cluster(cluster)
                .set_services(Some(batch.to_vec()))
                .send()
                .await
                .map_err(failed("ecs:DescribeServices", batch.join(", ")))?;
            for service in answer.services.unwrap_or_default() {
                if let Some(arn) = service.service_arn() {
                    found.insert(arn.to_owned(), service);
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    #[tokio::test]
    async fn each_cluster_is_asked_for_its_own_services_ten_at_a_time() {
        let rule = mock!(Client::describe_services)
            .match_requests(|request| {
                let prefix = format!("{}/", request.cluster().unwrap());
                request.services().len() <= BATCH
                    && request
                        .services()
                        .iter()
                        .all(|arn| arn.starts_with(&prefix))
            })
            .then_compute_output(|request| {
                let services = request
                    .services()
                    .iter()
                    .map(|arn| Service::builder().service_arn(arn).build());
                DescribeServicesOutput::builder()
                    .set_services(Some(services.collect()))
                    .build()
            });
        let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&rule]);
        let arns: Vec<(&str, String)> = (0..23)
            .map(|n| ("a", format!("a/{n}")))
            .chain([("b", "b/1".to_owned())])
            .collect();

        let found = describe_services(
            &client,
            arns.iter().map(|(cluster, arn)| (*cluster, arn.as_str())),
        )
        .await
        .unwrap();

        assert_eq!(found.len(), 24);
        assert_eq!(rule.num_calls(), 4);
    }

    #[tokio::test]
    async fn a_service_that_ecs_does_not_know_is_left_out() {
        let rule = mock!(Client::describe_services)
            .then_output(|| DescribeServicesOutput::builder().build());
        let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&rule]);
        assert!(
            describe_services(&client, [("a", "a/1")])
                .await
                .unwrap()
                .is_empty()
        );
    }
}
