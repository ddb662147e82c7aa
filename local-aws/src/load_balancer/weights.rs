//! The weights of a rule's target groups, read and changed in moto's ELBv2.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, Rule, TargetGroup, TargetGroupTuple,
};

use super::LoadBalancers;

/// What a rule does with its requests, as far as the shifting of traffic is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleTarget {
    /// It forwards to these target groups, by their ARNs.
    Groups(Vec<String>),
    /// It answers itself, or redirects.
    Elsewhere,
}

impl LoadBalancers {
    /// Where a listener's rule sends its requests; `None` when there is no such rule.
    ///
    /// # Errors
    /// When moto does not answer.
    pub async fn rule_target(&self, rule_arn: &str) -> anyhow::Result<Option<RuleTarget>> {
        let Some(rule) = self.rule(rule_arn).await? else {
            return Ok(None);
        };
        let groups = forward(&rule).map(groups_of);
        Ok(Some(
            groups.map_or(RuleTarget::Elsewhere, RuleTarget::Groups),
        ))
    }

    /// The target groups with these ARNs, as far as they exist.
    ///
    /// # Errors
    /// When moto does not answer.
    pub async fn target_groups(&self, arns: &[&str]) -> anyhow::Result<Vec<TargetGroup>> {
        let mut found = Vec::new();
        for arn in arns {
            let request = self.inner.elbv2.describe_target_groups();
            match request.target_group_arns(*arn).send().await {
                Ok(answer) => found.extend(answer.target_groups.unwrap_or_default()),
                Err(error) => {
                    let error = error.into_service_error();
                    if !error.is_target_group_not_found_exception() {
                        return Err(error).context("DescribeTargetGroups");
                    }
                }
            }
        }
        Ok(found)
    }

    /// Gives a rule's target groups these weights (0 to 999); the rest of the rule stays. The
    /// weights are in force when this returns.
    ///
    /// # Errors
    /// When the rule does not exist or does not forward, or moto refuses the change.
    pub async fn forward(&self, rule_arn: &str, weights: &[(String, u32)]) -> anyhow::Result<()> {
        let Some(rule) = self.rule(rule_arn).await? else {
            bail!("the listener rule {rule_arn} does not exist");
        };
        let Some(action) = forward(&rule) else {
            bail!("the listener rule {rule_arn} does not forward to target groups");
        };
        let actions = with_weights(&rule, action, weights);
        if rule.is_default() == Some(true) {
            // ModifyRule does not take default rules.
            let request = self.inner.elbv2.modify_listener();
            let request = request.listener_arn(listener_of(rule_arn));
            let request = request.set_default_actions(Some(actions));
            request.send().await.context("ModifyListener")?;
        } else {
            let request = self.inner.elbv2.modify_rule().rule_arn(rule_arn);
            let request = request.set_actions(Some(actions));
            request.send().await.context("ModifyRule")?;
        }
        let before: BTreeSet<String> = groups_of(action).into_iter().collect();
        let after: BTreeSet<String> = weights.iter().map(|(arn, _)| arn.clone()).collect();
        if before == after {
            self.sync_rules(&listener_of(rule_arn)).await
        } else {
            self.sync().await
        }
    }

    async fn rule(&self, rule_arn: &str) -> anyhow::Result<Option<Rule>> {
        let request = self.inner.elbv2.describe_rules().rule_arns(rule_arn);
        match request.send().await {
            Ok(answer) => Ok(answer.rules.unwrap_or_default().into_iter().next()),
            Err(error) => {
                let error = error.into_service_error();
                if error.is_rule_not_found_exception() {
                    return Ok(None);
                }
                Err(error).context("DescribeRules")
            }
        }
    }
}

fn forward(rule: &Rule) -> Option<&Action> {
    let mut actions = rule.actions().iter();
    actions.find(|action| action.r#type() == Some(&ActionTypeEnum::Forward))
}

fn groups_of(action: &Action) -> Vec<String> {
    let listed = action.forward_config().map(|config| config.target_groups());
    let listed: Vec<String> = listed
        .unwrap_or_default()
        .iter()
        .filter_map(|group| group.target_group_arn().map(ToOwned::to_owned))
        .collect();
    match action.target_group_arn() {
        Some(arn) if listed.is_empty() => vec![arn.to_owned()],
        _ => listed,
    }
}

/// The rule's actions with other weights; those that authenticate stay as they are.
fn with_weights(rule: &Rule, forward: &Action, weights: &[(String, u32)]) -> Vec<Action> {
    let groups = weights.iter().map(|(arn, weight)| {
        TargetGroupTuple::builder()
            .target_group_arn(arn)
            .weight(i32::try_from(*weight).unwrap_or(i32::MAX))
            .build()
    });
    let stickiness = forward
        .forward_config()
        .and_then(|config| config.target_group_stickiness_config().cloned());
    let config = ForwardActionConfig::builder()
        .set_target_groups(Some(groups.collect()))
        .set_target_group_stickiness_config(stickiness)
        .build();
    let changed = Action::builder()
        .r#type(ActionTypeEnum::Forward)
        .set_order(forward.order())
        .forward_config(config)
        .build();
    let others = rule.actions().iter().filter(|one| *one != forward).cloned();
    others.chain([changed]).collect()
}

/// `…:listener-rule/app/NAME/BALANCER/LISTENER/RULE` belongs to
/// `…:listener/app/NAME/BALANCER/LISTENER`.
fn listener_of(rule_arn: &str) -> String {
    let listener = rule_arn
        .rsplit_once('/')
        .map_or(rule_arn, |(listener, _)| listener);
    listener.replace(":listener-rule/", ":listener/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_s_arn_tells_its_listener() {
        assert_eq!(
            listener_of("arn:aws:elasticloadbalancing:r:1:listener-rule/app/n/b/l/r"),
            "arn:aws:elasticloadbalancing:r:1:listener/app/n/b/l"
        );
    }
}
