//! Whether the load balancers send traffic to all tasks.

use aws_sdk_ecs::types::{LoadBalancer, Service};
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::TargetHealthStateEnum;
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::collections::BTreeMap;

/// ARNs of target groups of which one has to have the targets: a service that shifts traffic has
/// two, and they change places from one deployment to the next.
type Groups = Vec<String>;

/// A sentence for every target group that lacks healthy targets.
pub(crate) async fn lacking(
    client: &Client,
    services: &[&Service],
) -> Result<Vec<String>, AwsRequestFailed> {
    let mut lacking = Vec::new();
    for (groups, wanted) in wanted(services) {
        let mut most = 0;
        for group in &groups {
            most = most.max(healthy(client, group).await?);
            if most >= wanted {
                break;
            }
        }
        if most < wanted {
            lacking.push(format!(
                "{most} of {wanted} targets of {} are healthy.",
                groups.join(" and ")
            ));
        }
    }
    Ok(lacking)
}

/// The number of targets in each target group. Several services, and several containers of one,
/// may share a group.
fn wanted(services: &[&Service]) -> BTreeMap<Groups, i32> {
    let mut wanted = BTreeMap::new();
    for service in services {
        for balancer in service.load_balancers() {
            let groups = groups(balancer);
            if !groups.is_empty() {
                *wanted.entry(groups).or_default() += service.desired_count();
            }
        }
    }
    wanted
}

/// In order, so that the same two are the same wherever they stand. A Classic Load Balancer has
/// none.
fn groups(balancer: &LoadBalancer) -> Groups {
    let alternate = balancer
        .advanced_configuration()
        .and_then(|advanced| advanced.alternate_target_group_arn());
    let mut groups: Groups = balancer
        .target_group_arn()
        .into_iter()
        .chain(alternate)
        .map(str::to_owned)
        .collect();
    groups.sort();
    groups
}

async fn healthy(client: &Client, group: &str) -> Result<i32, AwsRequestFailed> {
    let answer = client
        .describe_target_health()
        .target_group_arn(group)
        .send()
        .await
        .map_err(failed("elasticloadbalancing:DescribeTargetHealth", group))?;
    let healthy = answer.target_health_descriptions().iter().filter(|target| {
        target
            .target_health()
            .and_then(|health| health.state())
            .is_some_and(|state| *state == TargetHealthStateEnum::Healthy)
    });
    Ok(i32::try_from(healthy.count()).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::AdvancedConfiguration;
    use aws_sdk_elasticloadbalancingv2::operation::describe_target_health::DescribeTargetHealthOutput;
    use aws_sdk_elasticloadbalancingv2::types::{TargetHealth, TargetHealthDescription};
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    fn balancer(group: &str, alternate: Option<&str>) -> LoadBalancer {
        let advanced = alternate.map(|alternate| {
            AdvancedConfiguration::builder()
                .alternate_target_group_arn(alternate)
                .build()
        });
        LoadBalancer::builder()
            .target_group_arn(group)
            .set_advanced_configuration(advanced)
            .build()
    }

    fn service(desired: i32, balancers: Vec<LoadBalancer>) -> Service {
        Service::builder()
            .desired_count(desired)
            .set_load_balancers(Some(balancers))
            .build()
    }

    /// Asks about target groups whose targets have these states.
    async fn lacks(
        groups: Vec<(&'static str, Vec<&'static str>)>,
        services: &[&Service],
    ) -> Vec<String> {
        let rule = mock!(Client::describe_target_health).then_compute_output(move |request| {
            let (_, states) = groups
                .iter()
                .find(|(group, _)| request.target_group_arn() == Some(*group))
                .unwrap();
            let targets = states.iter().map(|state| {
                TargetHealthDescription::builder()
                    .target_health(
                        TargetHealth::builder()
                            .state(TargetHealthStateEnum::from(*state))
                            .build(),
                    )
                    .build()
            });
            DescribeTargetHealthOutput::builder()
                .set_target_health_descriptions(Some(targets.collect()))
                .build()
        });
        let client = mock_client!(aws_sdk_elasticloadbalancingv2, RuleMode::MatchAny, &[&rule]);
        lacking(&client, services).await.unwrap()
    }

    #[tokio::test]
    async fn every_task_has_to_be_a_healthy_target() {
        let service = service(2, vec![balancer("g", None)]);
        let enough = vec![("g", vec!["healthy", "healthy", "draining"])];
        assert!(lacks(enough, &[&service]).await.is_empty());
        for states in [
            vec!["healthy", "initial"],
            vec!["healthy", "unhealthy"],
            vec![],
        ] {
            let lacking = lacks(vec![("g", states)], &[&service]).await;
            assert!(lacking[0].contains("of 2 targets of g"), "{lacking:?}");
        }
    }

    #[tokio::test]
    async fn of_two_groups_that_change_places_one_has_all_targets() {
        let service = service(2, vec![balancer("blue", Some("green"))]);
        let shifted = vec![("blue", vec![]), ("green", vec!["healthy", "healthy"])];
        assert!(lacks(shifted, &[&service]).await.is_empty());
        let split = vec![("blue", vec!["healthy"]), ("green", vec!["healthy"])];
        let split = lacks(split, &[&service]).await;
        assert_eq!(split, ["1 of 2 targets of blue and green are healthy."]);
    }

    #[tokio::test]
    async fn services_that_share_a_group_fill_it_together() {
        let (web, worker) = (
            service(2, vec![balancer("g", None)]),
            service(1, vec![balancer("g", None)]),
        );
        let lacking = lacks(vec![("g", vec!["healthy", "healthy"])], &[&web, &worker]).await;
        assert_eq!(lacking, ["2 of 3 targets of g are healthy."]);
    }

    #[tokio::test]
    async fn a_service_without_a_target_group_lacks_none() {
        let service = service(2, vec![LoadBalancer::builder().build()]);
        assert!(lacks(vec![], &[&service]).await.is_empty());
    }
}
