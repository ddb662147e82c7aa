//! What the services run at this moment.

use aws_sdk_ecs::Client;
use bluegreen_contract::PlannedService;
use bluegreen_sdk_config::{AwsRequestFailed, failed};
use std::collections::{BTreeMap, HashMap};

/// DescribeServices takes no more at once
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html>).
const BATCH: usize = 10;

/// ARN of each service with the ARN of its revision. A service that ECS does not know is left out.
pub(crate) async fn task_definitions(
    client: &Client,
    services: &[PlannedService],
) -> Result<HashMap<String, String>, AwsRequestFailed> {
    let mut by_cluster: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for planned in services {
        by_cluster
            .entry(&planned.cluster)
            .or_default()
            .push(planned.service.clone());
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
            found.extend(answer.services().iter().filter_map(|service| {
                let arn = service.service_arn()?.to_owned();
                Some((arn, service.task_definition()?.to_owned()))
            }));
        }
    }
    Ok(found)
}
