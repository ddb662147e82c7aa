//! Which target groups a service's revisions use, and how listener rules divide traffic between
//! them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::strategy::Strategy;
use crate::ecs::model::error::ApiError;
use crate::ecs::model::traffic::{Forward, Router, Share, TargetBinding};
use crate::ecs::model::values::{Object, parse};

/// One of a service's `loadBalancers`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct LoadBalancer {
    pub(in crate::ecs) target_group_arn: Option<String>,
    #[serde(default)]
    pub(in crate::ecs) container_name: String,
    #[serde(default)]
    pub(in crate::ecs) container_port: u16,
    pub(in crate::ecs) advanced_configuration: Option<AdvancedConfiguration>,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AdvancedConfiguration.html>
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::ecs) struct AdvancedConfiguration {
    alternate_target_group_arn: String,
    production_listener_rule: String,
    test_listener_rule: Option<String>,
    role_arn: String,
}

impl AdvancedConfiguration {
    pub(in crate::ecs) fn rules(&self) -> impl Iterator<Item = &str> {
        let test = self.test_listener_rule.as_deref();
        [self.production_listener_rule.as_str()]
            .into_iter()
            .chain(test)
    }
}

pub(in crate::ecs) fn load_balancers(fields: &Object) -> Result<Vec<LoadBalancer>, ApiError> {
    fields
        .get("loadBalancers")
        .map_or_else(|| Ok(Vec::new()), parse)
}

impl LoadBalancer {
    /// The target groups it can use: its own and, where traffic can be shifted, the alternate.
    pub(in crate::ecs) fn groups(&self) -> Vec<&str> {
        let advanced = self.advanced_configuration.as_ref();
        let alternate = advanced.map(|advanced| advanced.alternate_target_group_arn.as_str());
        let own = self.target_group_arn.as_deref();
        own.into_iter().chain(alternate).collect()
    }

    /// The one of its groups that a revision's tasks are registered with.
    fn group_of(&self, revision: &[TargetBinding]) -> Option<&str> {
        self.groups()
            .into_iter()
            .find(|group| revision.iter().any(|one| one.target_group_arn == *group))
    }

    /// The group for the next revision's tasks: the one that `blue` does not use, or for a
    /// rolling deployment the one that it does.
    fn next_group(&self, blue: &[TargetBinding], strategy: Strategy) -> Option<&str> {
        let groups = self.groups();
        match (self.group_of(blue), strategy.is_side_by_side()) {
            (None, _) => groups.first().copied(),
            (used, false) => used,
            (used, true) => groups.into_iter().find(|group| Some(*group) != used),
        }
    }
}

/// Where the next revision's tasks are registered, beside or in place of those of `blue`.
pub(super) fn bindings(
    balancers: &[LoadBalancer],
    blue: &[TargetBinding],
    strategy: Strategy,
) -> Vec<TargetBinding> {
    let bindings = balancers.iter().filter_map(|balancer| {
        Some(TargetBinding {
            target_group_arn: balancer.next_group(blue, strategy)?.to_owned(),
            container_name: balancer.container_name.clone(),
            container_port: balancer.container_port,
        })
    });
    bindings.collect()
}

/// `resolvedConfiguration` of a revision with these targets.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ResolvedConfiguration.html>
pub(super) fn resolved_configuration(
    balancers: &[LoadBalancer],
    targets: &[TargetBinding],
) -> Value {
    let resolved = balancers.iter().filter_map(|balancer| {
        let mut one = json!({"targetGroupArn": balancer.group_of(targets)?});
        if let Some(advanced) = &balancer.advanced_configuration {
            one["productionListenerRule"] = json!(advanced.production_listener_rule);
        }
        Some(one)
    });
    json!({"loadBalancers": resolved.collect::<Vec<_>>()})
}

/// The routers of a deployment from `blue` to `green`.
pub(super) fn routers(
    balancers: &[LoadBalancer],
    blue: &[TargetBinding],
    green: &[TargetBinding],
) -> Vec<Router> {
    let routers = balancers.iter().filter_map(|balancer| {
        let advanced = balancer.advanced_configuration.as_ref()?;
        let green_group = balancer.group_of(green)?;
        let mut others = balancer.groups().into_iter();
        let other_group = others.find(|group| *group != green_group)?;
        Some(Router {
            production_rule: advanced.production_listener_rule.clone(),
            test_rule: advanced.test_listener_rule.clone(),
            has_blue: balancer.group_of(blue) == Some(other_group),
            green_group: green_group.to_owned(),
            other_group: other_group.to_owned(),
        })
    });
    routers.collect()
}

/// What the rule for production traffic has to do for green to get this share.
pub(in crate::ecs) fn production(router: &Router, green: Share) -> Option<Forward> {
    forward(router, &router.production_rule, green)
}

/// The same for the test traffic; `None` where no rule is for it.
pub(in crate::ecs) fn test(router: &Router, green: Share) -> Option<Forward> {
    forward(router, router.test_rule.as_ref()?, green)
}

/// A group without tasks gets no traffic: where there is no blue revision, green gets all or
/// the rule stays as it is.
fn forward(router: &Router, rule: &str, green: Share) -> Option<Forward> {
    let green = match (router.has_blue, green) {
        (true, share) => share,
        (false, Share::NONE) => return None,
        (false, _) => Share::ALL,
    };
    let (other_weight, green_weight) = green.weights();
    Some(Forward {
        rule: rule.to_owned(),
        weights: vec![
            (router.other_group.clone(), other_weight),
            (router.green_group.clone(), green_weight),
        ],
    })
}

/// Refuses load balancers that do not fit the strategy, as far as the request tells.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/canary-deployment-implementation.html>
/// asks for Elastic Load Balancing or Service Connect; a blue/green deployment may do without
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deploy-blue-green-service.html>).
pub(in crate::ecs) fn validate(fields: &Object, strategy: Strategy) -> Result<(), ApiError> {
    let balancers = load_balancers(fields)?;
    let gradual = matches!(strategy, Strategy::Canary { .. } | Strategy::Linear { .. });
    if gradual && balancers.is_empty() {
        return Err(ApiError::invalid_parameter(
            "CANARY and LINEAR deployments shift traffic: loadBalancers must not be empty.",
        ));
    }
    for balancer in &balancers {
        match &balancer.advanced_configuration {
            Some(advanced) => validate_advanced(balancer, advanced)?,
            None if strategy.is_side_by_side() => {
                return Err(ApiError::invalid_parameter(
                    "advancedConfiguration must be provided for every load balancer when the \
                     deployment strategy is BLUE_GREEN, CANARY or LINEAR.",
                ));
            }
            None => {}
        }
    }
    Ok(())
}

fn validate_advanced(
    balancer: &LoadBalancer,
    advanced: &AdvancedConfiguration,
) -> Result<(), ApiError> {
    for (name, value) in [
        (
            "alternateTargetGroupArn",
            &advanced.alternate_target_group_arn,
        ),
        ("productionListenerRule", &advanced.production_listener_rule),
        ("roleArn", &advanced.role_arn),
    ] {
        if value.is_empty() {
            return Err(ApiError::invalid_parameter(format!(
                "advancedConfiguration.{name} must be provided."
            )));
        }
    }
    if balancer.target_group_arn.as_ref() == Some(&advanced.alternate_target_group_arn) {
        return Err(ApiError::invalid_parameter(
            "The target group and the alternate target group must differ.",
        ));
    }
    if advanced.test_listener_rule.as_ref() == Some(&advanced.production_listener_rule) {
        return Err(ApiError::invalid_parameter(
            "The production and the test listener rule must differ.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecs::rules::strategy;

    fn balancer() -> LoadBalancer {
        let balancer = json!({
            "targetGroupArn": "a",
            "containerName": "web",
            "containerPort": 80,
            "advancedConfiguration": {
                "alternateTargetGroupArn": "b",
                "productionListenerRule": "production",
                "testListenerRule": "test",
                "roleArn": "role",
            },
        });
        LoadBalancer::deserialize(balancer).unwrap()
    }

    fn in_group(group: &str) -> Vec<TargetBinding> {
        vec![TargetBinding {
            target_group_arn: group.to_owned(),
            container_name: "web".to_owned(),
            container_port: 80,
        }]
    }

    fn next(blue: &[TargetBinding], strategy: Strategy) -> Vec<TargetBinding> {
        bindings(&[balancer()], blue, strategy)
    }

    #[test]
    fn revisions_alternate_between_the_two_groups() {
        assert_eq!(next(&[], Strategy::BlueGreen), in_group("a"));
        assert_eq!(next(&in_group("a"), Strategy::BlueGreen), in_group("b"));
        assert_eq!(next(&in_group("b"), Strategy::BlueGreen), in_group("a"));
    }

    #[test]
    fn a_rolling_deployment_stays_in_the_group_that_has_the_traffic() {
        assert_eq!(next(&[], Strategy::Rolling), in_group("a"));
        assert_eq!(next(&in_group("b"), Strategy::Rolling), in_group("b"));
    }

    #[test]
    fn a_router_divides_the_traffic_between_the_groups() {
        let found = routers(&[balancer()], &in_group("b"), &in_group("a"));
        let tenth = Strategy::of(&json!({
            "strategy": "CANARY",
            "canaryConfiguration": {"canaryPercent": 10.0},
        }))
        .steps()[0]
            .0;
        assert_eq!(
            production(&found[0], tenth).unwrap(),
            Forward {
                rule: "production".to_owned(),
                weights: vec![("b".to_owned(), 90), ("a".to_owned(), 10)],
            }
        );
        assert_eq!(
            test(&found[0], Share::ALL).unwrap(),
            Forward {
                rule: "test".to_owned(),
                weights: vec![("b".to_owned(), 0), ("a".to_owned(), 100)],
            }
        );
    }

    #[test]
    fn a_group_without_tasks_gets_no_traffic() {
        let found = routers(&[balancer()], &[], &in_group("a"));
        assert_eq!(production(&found[0], Share::NONE), None);
        let all = production(&found[0], Share::ALL).unwrap();
        assert_eq!(all.weights, [("b".to_owned(), 0), ("a".to_owned(), 100)]);
    }

    #[test]
    fn a_revision_tells_which_group_it_uses() {
        assert_eq!(
            resolved_configuration(&[balancer()], &in_group("b")),
            json!({"loadBalancers": [
                {"targetGroupArn": "b", "productionListenerRule": "production"},
            ]})
        );
    }

    fn refusal(change: impl Fn(&mut Value), strategy: Strategy) -> String {
        let mut balancer = json!({
            "targetGroupArn": "a",
            "advancedConfiguration": {
                "alternateTargetGroupArn": "b",
                "productionListenerRule": "production",
                "roleArn": "role",
            },
        });
        change(&mut balancer);
        let fields = json!({"loadBalancers": [balancer]});
        let refused = validate(fields.as_object().unwrap(), strategy);
        refused.map_or_else(|error| error.message, |()| String::new())
    }

    #[test]
    fn an_advanced_configuration_has_to_be_complete() {
        let blue_green = Strategy::BlueGreen;
        assert_eq!(refusal(|_| {}, blue_green), "");
        for name in [
            "alternateTargetGroupArn",
            "productionListenerRule",
            "roleArn",
        ] {
            let without = |balancer: &mut Value| {
                let advanced = balancer["advancedConfiguration"].as_object_mut().unwrap();
                advanced.remove(name);
            };
            assert!(refusal(without, blue_green).contains(name));
        }
        let without = |balancer: &mut Value| {
            balancer
                .as_object_mut()
                .unwrap()
                .remove("advancedConfiguration");
        };
        assert!(refusal(without, blue_green).contains("advancedConfiguration"));
        assert_eq!(refusal(without, Strategy::Rolling), "");
    }

    #[test]
    fn the_groups_and_the_rules_of_a_pair_differ() {
        let same = |balancer: &mut Value| {
            balancer["advancedConfiguration"]["alternateTargetGroupArn"] = json!("a");
        };
        assert!(refusal(same, Strategy::BlueGreen).contains("must differ"));
        let same = |balancer: &mut Value| {
            balancer["advancedConfiguration"]["testListenerRule"] = json!("production");
        };
        assert!(refusal(same, Strategy::BlueGreen).contains("must differ"));
    }

    #[test]
    fn gradual_strategies_need_a_load_balancer() {
        let strategy = |name: &str| {
            let mut configuration = json!({"strategy": name});
            strategy::complete(configuration.as_object_mut().unwrap());
            Strategy::of(&configuration)
        };
        for name in ["CANARY", "LINEAR"] {
            assert!(validate(&Object::new(), strategy(name)).is_err());
        }
        for name in ["BLUE_GREEN", "ROLLING"] {
            assert!(validate(&Object::new(), strategy(name)).is_ok());
        }
    }
}
