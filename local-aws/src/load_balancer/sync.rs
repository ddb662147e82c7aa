//! Reads the configuration of load balancers from moto's ELBv2.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Context;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types;
use ipnet::IpNet;

use super::health::{HealthCheck, Matcher};
use super::metrics;
use super::rules::{Action, Condition, Forward, Redirect, Rule};
use super::target_group::TargetGroupConfig;

/// Everything moto knows of load balancers that traffic depends on.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) listeners: Vec<ListenerConfig>,
    pub(crate) target_groups: HashMap<String, TargetGroupConfig>,
}

#[derive(Debug)]
pub(crate) struct ListenerConfig {
    pub(crate) arn: String,
    /// Its load balancer, as the dimension `LoadBalancer` names it.
    pub(crate) load_balancer: String,
    pub(crate) port: u16,
    pub(crate) idle_timeout: Duration,
    /// In the order of their priority, the default rule last.
    pub(crate) rules: Vec<Rule>,
}

impl ListenerConfig {
    /// The ARNs of the target groups that get requests from this listener, weight or not.
    pub(crate) fn target_groups(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rule| match &rule.action {
            Action::Forward(forward) => {
                forward.groups.iter().map(|(arn, _)| arn.as_str()).collect()
            }
            _ => Vec::new(),
        })
    }
}

pub(crate) async fn read(elbv2: &Client) -> anyhow::Result<Configuration> {
    let mut listeners = Vec::new();
    let mut balancers = elbv2
        .describe_load_balancers()
        .into_paginator()
        .items()
        .send();
    while let Some(balancer) = balancers.next().await {
        let balancer = balancer.context("DescribeLoadBalancers")?;
        if let Some(arn) = balancer.load_balancer_arn() {
            read_listeners(elbv2, arn, &mut listeners).await?;
        }
    }
    let mut users: HashMap<&str, BTreeSet<String>> = HashMap::new();
    for listener in &listeners {
        for target_group in listener.target_groups() {
            let users = users.entry(target_group).or_default();
            users.insert(listener.load_balancer.clone());
        }
    }
    let mut target_groups = HashMap::new();
    let mut groups = elbv2
        .describe_target_groups()
        .into_paginator()
        .items()
        .send();
    while let Some(group) = groups.next().await {
        let group = group.context("DescribeTargetGroups")?;
        let Some(arn) = group.target_group_arn() else {
            continue;
        };
        let attributes = attributes(elbv2, arn).await?;
        let load_balancers = users.remove(arn).unwrap_or_default();
        let config = target_group(&group, &attributes, load_balancers);
        target_groups.insert(arn.to_owned(), config);
    }
    Ok(Configuration {
        listeners,
        target_groups,
    })
}

async fn read_listeners(
    elbv2: &Client,
    load_balancer_arn: &str,
    all: &mut Vec<ListenerConfig>,
) -> anyhow::Result<()> {
    let answer = elbv2
        .describe_load_balancer_attributes()
        .load_balancer_arn(load_balancer_arn)
        .send()
        .await
        .context("DescribeLoadBalancerAttributes")?;
    let idle_timeout = answer
        .attributes()
        .iter()
        .find(|attribute| attribute.key() == Some("idle_timeout.timeout_seconds"))
        .and_then(|attribute| attribute.value()?.parse().ok())
        .unwrap_or(60);
    let mut listeners = elbv2
        .describe_listeners()
        .load_balancer_arn(load_balancer_arn)
        .into_paginator()
        .items()
        .send();
    while let Some(listener) = listeners.next().await {
        let listener = listener.context("DescribeListeners")?;
        let Some(arn) = listener.listener_arn() else {
            continue;
        };
        if listener.protocol() != Some(&types::ProtocolEnum::Http) {
            tracing::warn!(arn, "only HTTP listeners are served");
            continue;
        }
        let Some(port) = listener.port().and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        all.push(ListenerConfig {
            arn: arn.to_owned(),
            load_balancer: metrics::load_balancer(load_balancer_arn),
            port,
            idle_timeout: Duration::from_secs(idle_timeout),
            rules: read_rules(elbv2, arn).await?,
        });
    }
    Ok(())
}

/// A listener's rules in the order of their priority, the default rule last.
pub(crate) async fn read_rules(elbv2: &Client, listener_arn: &str) -> anyhow::Result<Vec<Rule>> {
    let request = elbv2.describe_rules().listener_arn(listener_arn);
    let answer = request.send().await.context("DescribeRules")?;
    Ok(rules(answer.rules()))
}

/// The attributes of a target group that matter here.
struct Attributes {
    deregistration_delay: Duration,
    slow_start: Duration,
}

async fn attributes(elbv2: &Client, target_group_arn: &str) -> anyhow::Result<Attributes> {
    let answer = elbv2
        .describe_target_group_attributes()
        .target_group_arn(target_group_arn)
        .send()
        .await
        .context("DescribeTargetGroupAttributes")?;
    let value = |key: &str| {
        let mut attributes = answer.attributes().iter();
        attributes
            .find(|attribute| attribute.key() == Some(key))
            .and_then(|attribute| attribute.value())
    };
    let seconds = |key: &str, default: u64| {
        let given = value(key).and_then(|seconds| seconds.parse().ok());
        Duration::from_secs(given.unwrap_or(default))
    };
    if value("stickiness.enabled") == Some("true") {
        let arn = target_group_arn;
        tracing::warn!(
            arn,
            "stickiness is not supported: any target gets a request"
        );
    }
    Ok(Attributes {
        deregistration_delay: seconds("deregistration_delay.timeout_seconds", 300),
        slow_start: seconds("slow_start.duration_seconds", 0),
    })
}

fn target_group(
    group: &types::TargetGroup,
    attributes: &Attributes,
    load_balancers: BTreeSet<String>,
) -> TargetGroupConfig {
    let seconds = |value: Option<i32>, default: u64| {
        Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default))
    };
    let threshold =
        |value: Option<i32>, default: u32| value.and_then(|v| v.try_into().ok()).unwrap_or(default);
    let matcher = group.matcher().and_then(|matcher| matcher.http_code());
    TargetGroupConfig {
        port: group
            .port()
            .and_then(|port| port.try_into().ok())
            .unwrap_or(80),
        health_check: HealthCheck {
            port: group.health_check_port().and_then(|port| port.parse().ok()),
            path: group.health_check_path().unwrap_or("/").to_owned(),
            interval: seconds(group.health_check_interval_seconds(), 30),
            timeout: seconds(group.health_check_timeout_seconds(), 5),
            healthy_threshold: threshold(group.healthy_threshold_count(), 5),
            unhealthy_threshold: threshold(group.unhealthy_threshold_count(), 2),
            matcher: Matcher::parse(matcher.unwrap_or("200")),
        },
        deregistration_delay: attributes.deregistration_delay,
        slow_start: attributes.slow_start,
        load_balancers,
    }
}

/// The rules in the order in which they are tried. Rules whose action is not known are left out.
fn rules(rules: &[types::Rule]) -> Vec<Rule> {
    let mut ordered: Vec<(u32, Rule)> = rules
        .iter()
        .filter_map(|rule| {
            // The default rule's priority is the word "default".
            let priority = rule
                .priority()
                .and_then(|priority| priority.parse().ok())
                .unwrap_or(u32::MAX);
            let Some(action) = action(rule.actions()) else {
                tracing::warn!(arn = rule.rule_arn(), "a rule's action is not supported");
                return None;
            };
            let conditions = rule.conditions().iter().map(condition).collect();
            Some((priority, Rule { conditions, action }))
        })
        .collect();
    ordered.sort_by_key(|(priority, _)| *priority);
    ordered.into_iter().map(|(_, rule)| rule).collect()
}

/// The last action is the one that answers; those before it authenticate.
fn action(actions: &[types::Action]) -> Option<Action> {
    let action = actions.iter().max_by_key(|action| action.order())?;
    match action.r#type()? {
        types::ActionTypeEnum::Forward => {
            let listed: Vec<(String, u32)> = action
                .forward_config()
                .map(|config| config.target_groups())
                .unwrap_or_default()
                .iter()
                .filter_map(|group| {
                    let weight = group.weight().unwrap_or(1);
                    Some((
                        group.target_group_arn()?.to_owned(),
                        u32::try_from(weight).unwrap_or(0),
                    ))
                })
                .collect();
            match action.target_group_arn() {
                Some(arn) if listed.is_empty() => {
                    Some(Action::Forward(Forward::new(vec![(arn.to_owned(), 1)])))
                }
                // One group alone gets every request, whatever its weight.
                _ if listed.len() == 1 => Some(Action::Forward(Forward::new(
                    listed.into_iter().map(|(arn, _)| (arn, 1)).collect(),
                ))),
                _ => Some(Action::Forward(Forward::new(listed))),
            }
        }
        types::ActionTypeEnum::Redirect => {
            let config = action.redirect_config()?;
            let part = |value: Option<&str>, default: &str| value.unwrap_or(default).to_owned();
            Some(Action::Redirect(Redirect {
                permanent: config.status_code()
                    == Some(&types::RedirectActionStatusCodeEnum::Http301),
                protocol: part(config.protocol(), "#{protocol}"),
                host: part(config.host(), "#{host}"),
                port: part(config.port(), "#{port}"),
                path: part(config.path(), "/#{path}"),
                query: part(config.query(), "#{query}"),
            }))
        }
        types::ActionTypeEnum::FixedResponse => {
            let config = action.fixed_response_config()?;
            Some(Action::FixedResponse {
                status: config.status_code()?.parse().ok()?,
                content_type: config.content_type().map(ToOwned::to_owned),
                body: config.message_body().unwrap_or_default().to_owned(),
            })
        }
        _ => None,
    }
}

fn condition(condition: &types::RuleCondition) -> Condition {
    let values = |config: Option<&[String]>| -> Vec<String> {
        match config {
            Some(values) if !values.is_empty() => values.to_vec(),
            _ => condition.values().to_vec(),
        }
    };
    match condition.field().unwrap_or_default() {
        "path-pattern" => {
            Condition::Path(values(condition.path_pattern_config().map(|c| c.values())))
        }
        "host-header" => {
            Condition::Host(values(condition.host_header_config().map(|c| c.values())))
        }
        "http-request-method" => Condition::Method(values(
            condition.http_request_method_config().map(|c| c.values()),
        )),
        "http-header" => match condition.http_header_config() {
            Some(config) => Condition::Header {
                name: config.http_header_name().unwrap_or_default().to_owned(),
                values: config.values().to_vec(),
            },
            None => Condition::Unsupported,
        },
        "query-string" => match condition.query_string_config() {
            Some(config) => Condition::Query(
                config
                    .values()
                    .iter()
                    .map(|pair| {
                        (
                            pair.key().map(ToOwned::to_owned),
                            pair.value().unwrap_or_default().to_owned(),
                        )
                    })
                    .collect(),
            ),
            None => Condition::Unsupported,
        },
        // Not in the older form, whose values stand in the condition itself.
        "source-ip" => match condition.source_ip_config() {
            Some(config) => Condition::SourceIp(networks(config.values())),
            None => Condition::Unsupported,
        },
        field => {
            tracing::warn!(field, "a rule's condition is not supported and never holds");
            Condition::Unsupported
        }
    }
}

/// Blocks such as `10.0.0.0/8`. One that cannot be read holds for nobody, and is logged.
fn networks(blocks: &[String]) -> Vec<IpNet> {
    let network = |block: &String| match block.parse() {
        Ok(network) => Some(network),
        Err(error) => {
            tracing::warn!(block, %error, "a source-ip condition's value is no CIDR block");
            None
        }
    };
    blocks.iter().filter_map(network).collect()
}
