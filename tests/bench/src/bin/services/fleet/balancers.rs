//! Load balancers, and on them for each service a listener and its target groups.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use aws_sdk_ecs::types::DeploymentStrategy;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, ProtocolEnum, RuleCondition, TargetGroupAttribute,
    TargetGroupTuple, TargetTypeEnum,
};
use local_aws::client::LocalAws;

/// Since a load balancer has at most 50 listeners, each strategy has one of its own.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>
pub(super) struct Balancers<'a> {
    aws: &'a LocalAws,
    elbv2: aws_sdk_elasticloadbalancingv2::Client,
    vpc: String,
    /// By the strategy's name.
    arns: HashMap<String, String>,
}

/// Where the visitors of a service come in.
pub(super) struct Entrance {
    pub(super) url: String,
    pub(super) target_group: String,
    /// Where the strategy shifts traffic.
    pub(super) shift: Option<Shift>,
}

pub(super) struct Shift {
    pub(super) alternate_target_group: String,
    pub(super) rule: String,
}

impl<'a> Balancers<'a> {
    pub(super) async fn create(
        aws: &'a LocalAws,
        strategies: &[DeploymentStrategy],
    ) -> Result<Self> {
        let elbv2 = aws_sdk_elasticloadbalancingv2::Client::new(&aws.sdk_config());
        let (vpc, subnets) = subnets(aws).await?;
        let mut arns = HashMap::new();
        for strategy in strategies {
            let strategy = strategy.as_str().to_owned();
            let create = elbv2.create_load_balancer();
            let create = create.name(strategy.to_lowercase().replace('_', "-"));
            let answer = create.set_subnets(Some(subnets.clone())).send().await?;
            let created = answer.load_balancers().first();
            let arn = created.and_then(|created| created.load_balancer_arn());
            let arn = arn.context("a load balancer has no ARN")?.to_owned();
            arns.insert(strategy, arn);
        }
        Ok(Self {
            aws,
            elbv2,
            vpc,
            arns,
        })
    }

    /// Makes a listener, with one target group or, where traffic is shifted, two and a rule.
    pub(super) async fn entrance(
        &self,
        name: &str,
        strategy: &DeploymentStrategy,
    ) -> Result<Entrance> {
        let balancer = self.arns.get(strategy.as_str());
        let balancer = balancer.with_context(|| format!("no load balancer for {strategy}"))?;
        let target_group = self.target_group(&format!("{name}-a")).await?;
        let (listener, url) = self.listener(balancer, forward(&[&target_group])).await?;
        let shift = match strategy {
            DeploymentStrategy::Rolling => None,
            _ => {
                let alternate_target_group = self.target_group(&format!("{name}-b")).await?;
                let action = forward(&[&target_group, &alternate_target_group]);
                Some(Shift {
                    rule: self.rule(&listener, action).await?,
                    alternate_target_group,
                })
            }
        };
        Ok(Entrance {
            url,
            target_group,
            shift,
        })
    }

    async fn target_group(&self, name: &str) -> Result<String> {
        let answer = self
            .elbv2
            .create_target_group()
            .name(name)
            .protocol(ProtocolEnum::Http)
            .port(super::CONTAINER_PORT)
            .vpc_id(&self.vpc)
            .target_type(TargetTypeEnum::Ip)
            .health_check_path("/health")
            .healthy_threshold_count(2)
            .send()
            .await?;
        let arn = answer.target_groups().first();
        let arn = arn.and_then(|group| group.target_group_arn());
        let arn = arn.context("a target group has no ARN")?;
        let delay = TargetGroupAttribute::builder()
            .key("deregistration_delay.timeout_seconds")
            .value("60");
        self.elbv2
            .modify_target_group_attributes()
            .target_group_arn(arn)
            .attributes(delay.build())
            .send()
            .await?;
        Ok(arn.to_owned())
    }

    /// A listener on a free port: its ARN and its URL.
    async fn listener(&self, balancer: &str, action: Action) -> Result<(String, String)> {
        let port = self.aws.reserve_port().await?;
        let answer = self
            .elbv2
            .create_listener()
            .load_balancer_arn(balancer)
            .protocol(ProtocolEnum::Http)
            .port(port.into())
            .default_actions(action)
            .send()
            .await?;
        let arn = answer.listeners().first();
        let arn = arn.and_then(|listener| listener.listener_arn());
        let arn = arn.context("a listener has no ARN")?.to_owned();
        Ok((arn, format!("http://127.0.0.1:{port}")))
    }

    async fn rule(&self, listener: &str, action: Action) -> Result<String> {
        let everything = RuleCondition::builder().field("path-pattern").values("/*");
        let answer = self
            .elbv2
            .create_rule()
            .listener_arn(listener)
            .priority(1)
            .conditions(everything.build())
            .actions(action)
            .send()
            .await?;
        let arn = answer.rules().first().and_then(|rule| rule.rule_arn());
        Ok(arn.context("a rule has no ARN")?.to_owned())
    }
}

/// Forwards everything to the first of the groups.
fn forward(groups: &[&str]) -> Action {
    let groups = groups.iter().enumerate().map(|(position, group)| {
        TargetGroupTuple::builder()
            .target_group_arn(*group)
            .weight(i32::from(position == 0))
            .build()
    });
    let config = ForwardActionConfig::builder().set_target_groups(Some(groups.collect()));
    Action::builder()
        .r#type(ActionTypeEnum::Forward)
        .forward_config(config.build())
        .build()
}

/// The account's default VPC, and two of its subnets.
async fn subnets(aws: &LocalAws) -> Result<(String, Vec<String>)> {
    // Of EC2 only this is needed; the endpoint knows a service by the signature's scope.
    let scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ec2/aws4_request, \
                 SignedHeaders=host, Signature=0";
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(aws.endpoint())
        .header("authorization", scope)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("Action=DescribeSubnets&Version=2016-11-15")
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?;
    let values = |tag: &str| -> Vec<String> {
        let start = format!("<{tag}>");
        let parts = answer.split(&start).skip(1);
        let values = parts.filter_map(|rest| rest.split('<').next());
        values.map(str::to_owned).collect()
    };
    let mut subnets = values("subnetId");
    ensure!(subnets.len() >= 2, "the account has no two subnets");
    subnets.truncate(2);
    let vpc = values("vpcId").into_iter().next();
    Ok((vpc.context("the account has no VPC")?, subnets))
}
