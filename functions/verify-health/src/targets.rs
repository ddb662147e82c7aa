//! Whether the load balancers send traffic to all tasks.

use aws_sdk_ecs::types::{LoadBalancer, Service};
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::{TargetHealthDescription, TargetHealthStateEnum};
use bluegreen_ecs::enough_tasks;
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::collections::BTreeMap;

/// ARNs of target groups of which one has to have the targets: a service that shifts traffic has
/// two, and they change places from one deployment to the next.
type Groups = Vec<String>;

/// Targets that a sentence names.
const NAMED: usize = 5;

/// A sentence for every target group that lacks healthy targets.
pub(crate) async fn lacking(
    client: &Client,
    services: &[&Service],
) -> Result<Vec<String>, AwsRequestFailed> {
    let mut lacking = Vec::new();
    for (groups, wanted) in wanted(services) {
        let mut most = 0;
        let mut others = Vec::new();
        for group in &groups {
            let targets = targets(client, group).await?;
            let healthy = targets.iter().filter(|target| is_healthy(target)).count();
            most = most.max(i32::try_from(healthy).unwrap_or(i32::MAX));
            if most >= wanted {
                break;
            }
            others.extend(targets.iter().filter_map(not_healthy));
        }
        if most < wanted {
            others.truncate(NAMED);
            let which = match others.is_empty() {
                true => String::new(),
                false => format!("; not healthy: {}", others.join(", ")),
            };
            lacking.push(format!(
                "{most} of {wanted} targets of {} are healthy{which}.",
                groups.join(" and ")
            ));
        }
    }
    Ok(lacking)
}

/// The number of healthy targets that each target group has to have. Several services, and several containers of one,
/// may share a group.
fn wanted(services: &[&Service]) -> BTreeMap<Groups, i32> {
    let mut wanted = BTreeMap::new();
    for service in services {
        for balancer in service.load_balancers() {
            let groups = groups(balancer);
            if !groups.is_empty() {
                *wanted.entry(groups).or_default() +=
                    enough_tasks(service, service.desired_count());
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

async fn targets(
    client: &Client,
    group: &str,
) -> Result<Vec<TargetHealthDescription>, AwsRequestFailed> {
    let answer = client
        .describe_target_health()
        .target_group_arn(group)
        .send()
        .await
        .map_err(failed("elasticloadbalancing:DescribeTargetHealth", group))?;
    Ok(answer.target_health_descriptions.unwrap_or_default())
}

fn state(target: &TargetHealthDescription) -> Option<&TargetHealthStateEnum> {
    target.target_health()?.state()
}

fn is_healthy(target: &TargetHealthDescription) -> bool {
    state(target) == Some(&TargetHealthStateEnum::Healthy)
}

/// `10.0.1.7:8080 (initial)` for a target that is not healthy and that is to stay.
fn not_healthy(target: &TargetHealthDescription) -> Option<String> {
    use TargetHealthStateEnum::{Draining, Healthy};
    let state = state(target).filter(|state| !matches!(state, Draining | Healthy))?;
    let known = target.target()?;
    let port = known.port().map(|port| format!(":{port}"));
    Some(format!(
        "{}{} ({})",
        known.id()?,
        port.unwrap_or_default(),
        state.as_str()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::{
        AdvancedConfiguration, DeploymentConfiguration, DeploymentEarlySuccessCriteria,
    };
    use aws_sdk_elasticloadbalancingv2::operation::describe_target_health::DescribeTargetHealthOutput;
    use aws_sdk_elasticloadbalancingv2::types::{TargetDescription, TargetHealth};
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
            let targets = states.iter().enumerate().map(|(number, state)| {
                let known = TargetDescription::builder().id(format!("10.0.0.{number}"));
                TargetHealthDescription::builder()
                    .target(known.port(80).build())
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
        for (states, sentence) in [
            (
                vec!["healthy", "initial", "draining"],
                "1 of 2 targets of g are healthy; not healthy: 10.0.0.1:80 (initial).",
            ),
            (
                vec!["unhealthy", "unhealthy"],
                "0 of 2 targets of g are healthy; not healthy: 10.0.0.0:80 (unhealthy), 10.0.0.1:80 (unhealthy).",
            ),
            (vec![], "0 of 2 targets of g are healthy."),
        ] {
            assert_eq!(lacks(vec![("g", states)], &[&service]).await, [sentence]);
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
    async fn as_many_targets_are_enough_as_tasks_are_enough_for_ecs() {
        let criteria = DeploymentEarlySuccessCriteria::builder()
            .enable(true)
            .healthy_percent(50)
            .build();
        let mut service = service(3, vec![balancer("g", None)]);
        service.deployment_configuration = Some(
            DeploymentConfiguration::builder()
                .early_success_criteria(criteria)
                .build(),
        );
        let two = vec![("g", vec!["healthy", "healthy", "initial"])];
        assert!(lacks(two, &[&service]).await.is_empty());
        let one = lacks(vec![("g", vec!["healthy", "initial"])], &[&service]).await;
        assert!(one[0].starts_with("1 of 2 targets of g"), "{one:?}");
    }

    #[tokio::test]
    async fn a_service_without_a_target_group_lacks_none() {
        let service = service(2, vec![LoadBalancer::builder().build()]);
        assert!(lacks(vec![], &[&service]).await.is_empty());
    }
}
