//! What CreateService and UpdateService ask the load balancers before they take a service.

use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::error::ApiError;
use crate::ecs::model::values::Object;
use crate::ecs::rules::traffic::load_balancers;
use crate::load_balancer::RuleTarget;

impl Ecs {
    /// Checks that the service's target groups exist and belong to a load balancer, that the
    /// groups of a pair are alike, and that the listener rules forward to them.
    pub(super) async fn validate_load_balancers(&self, fields: &Object) -> Result<(), ApiError> {
        for balancer in load_balancers(fields)? {
            if balancer.target_group_arn.is_none() {
                return Err(ApiError::unsupported(
                    "load balancers without target groups",
                ));
            }
            let groups = balancer.groups();
            for group in &groups {
                self.validate_target_group(group).await?;
            }
            if let Some(advanced) = &balancer.advanced_configuration {
                self.validate_pair(&groups).await?;
                for rule in advanced.rules() {
                    self.validate_rule(rule, &groups).await?;
                }
            }
        }
        Ok(())
    }

    async fn validate_target_group(&self, arn: &str) -> Result<(), ApiError> {
        let balancers = &self.inner.settings.load_balancers;
        let problem = match balancers.is_target_group_in_use(arn).await {
            Ok(true) => return Ok(()),
            Ok(false) => format!(
                "The target group with targetGroupArn {arn} does not have an associated load balancer."
            ),
            Err(_) => {
                format!("Unable to describe target group {arn}: the target group does not exist.")
            }
        };
        Err(ApiError::invalid_parameter(problem))
    }

    async fn validate_pair(&self, arns: &[&str]) -> Result<(), ApiError> {
        let balancers = &self.inner.settings.load_balancers;
        let groups = balancers.target_groups(arns).await.map_err(unreadable)?;
        let kind = |group: &aws_sdk_elasticloadbalancingv2::types::TargetGroup| {
            let (kind, protocol) = (group.target_type().cloned(), group.protocol().cloned());
            (kind, protocol, group.vpc_id().map(str::to_owned))
        };
        if groups.windows(2).all(|two| kind(&two[0]) == kind(&two[1])) {
            return Ok(());
        }
        Err(ApiError::invalid_parameter(format!(
            "The target groups {} must have the same target type, protocol and VPC.",
            arns.join(" and ")
        )))
    }

    async fn validate_rule(&self, rule: &str, groups: &[&str]) -> Result<(), ApiError> {
        let balancers = &self.inner.settings.load_balancers;
        let problem = match balancers.rule_target(rule).await.map_err(unreadable)? {
            None => format!("Unable to describe listener rule {rule}: it does not exist."),
            Some(RuleTarget::Groups(targets))
                if targets.iter().all(|one| groups.contains(&one.as_str())) =>
            {
                return Ok(());
            }
            Some(_) => format!(
                "The listener rule {rule} must forward to the target groups {} and to no other.",
                groups.join(" and ")
            ),
        };
        Err(ApiError::invalid_parameter(problem))
    }
}

fn unreadable(error: anyhow::Error) -> ApiError {
    ApiError::server(format!("The load balancers cannot be read: {error:#}"))
}
