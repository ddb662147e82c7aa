//! What the stories of blue/green, canary and linear deployments have in common.

use std::time::Instant;

use aws_sdk_cloudwatch::types::{ComparisonOperator, StateValue, Statistic};
use aws_sdk_ecs::types::{
    CanaryConfiguration, DeploymentAlarms, DeploymentCircuitBreaker, DeploymentConfiguration,
    DeploymentStrategy, LinearConfiguration, ServiceDeployment,
    builders::DeploymentConfigurationBuilder,
};

use crate::account::{Account, Pair, eventually};
use crate::timeline::{stage, weights};
use crate::visitors::Visitors;

/// All stages of a deployment that has one revision to replace.
pub(crate) const STAGES: [&str; 10] = [
    "PRE_SCALE_UP",
    "SCALE_UP",
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
    "BAKE_TIME",
    "CLEAN_UP",
];

/// Bake times are minutes of AWS: one is three seconds here.
pub(crate) fn blue_green(bake: i32) -> DeploymentConfigurationBuilder {
    DeploymentConfiguration::builder()
        .strategy(DeploymentStrategy::BlueGreen)
        .bake_time_in_minutes(bake)
        .deployment_circuit_breaker(
            DeploymentCircuitBreaker::builder()
                .enable(true)
                .rollback(true)
                .build(),
        )
}

pub(crate) fn canary(percent: f64, canary_bake: i32) -> DeploymentConfigurationBuilder {
    let canary = CanaryConfiguration::builder()
        .canary_percent(percent)
        .canary_bake_time_in_minutes(canary_bake)
        .build();
    blue_green(1)
        .strategy(DeploymentStrategy::Canary)
        .canary_configuration(canary)
}

pub(crate) fn linear(percent: f64, step_bake: i32) -> DeploymentConfigurationBuilder {
    let linear = LinearConfiguration::builder()
        .step_percent(percent)
        .step_bake_time_in_minutes(step_bake)
        .build();
    blue_green(1)
        .strategy(DeploymentStrategy::Linear)
        .linear_configuration(linear)
}

pub(crate) fn with_alarm(
    configuration: DeploymentConfigurationBuilder,
    alarm: &str,
) -> DeploymentConfigurationBuilder {
    let alarms = DeploymentAlarms::builder()
        .alarm_names(alarm)
        .enable(true)
        .rollback(true)
        .build();
    configuration.alarms(alarms.unwrap())
}

/// An alarm that is OK until it is told otherwise.
pub(crate) async fn put_alarm(account: &Account, name: &str) {
    put_alarm_of(account, name, 1).await;
}

/// The same with an alarm that looks at so many minutes.
pub(crate) async fn put_alarm_of(account: &Account, name: &str, minutes: i32) {
    let put = account.cloudwatch.put_metric_alarm().alarm_name(name);
    let put = put
        .namespace("tests")
        .metric_name(name)
        .statistic(Statistic::Sum)
        .period(60)
        .evaluation_periods(minutes)
        .threshold(1.0)
        .comparison_operator(ComparisonOperator::GreaterThanThreshold)
        // There are no data: the state stays as it is set.
        .treat_missing_data("ignore");
    put.send().await.unwrap();
    set_alarm(account, name, StateValue::Ok).await;
}

pub(crate) async fn set_alarm(account: &Account, name: &str, state: StateValue) {
    let set = account.cloudwatch.set_alarm_state().alarm_name(name);
    let set = set.state_value(state).state_reason("a test says so");
    set.send().await.unwrap();
}

/// A service that serves version 1 behind a pair of target groups.
pub(crate) async fn serve_version_1(
    account: &Account,
    name: &str,
    configuration: DeploymentConfigurationBuilder,
) -> (String, Pair) {
    let image = account.push_server("1", &[]).await;
    let definition = account.define(name, &image).await;
    let pair = account.pair(name).await;
    account
        .create_service(name, &definition, None)
        .load_balancers(pair.load_balancer())
        .health_check_grace_period_seconds(60)
        .deployment_configuration(configuration.build())
        .send()
        .await
        .unwrap();
    account.newest_deployment(name, "SUCCESSFUL").await;
    (definition, pair)
}

/// A service without a load balancer whose first version runs.
pub(crate) async fn serve_worker(account: &Account, name: &str) -> String {
    let script = "#!/bin/sh\nexec sleep 600";
    let image = account.push(name, script, &[]).await;
    let definition = account.define(name, &image).await;
    let request = account.create_service(name, &definition, None);
    request.desired_count(1).send().await.unwrap();
    account.newest_deployment(name, "SUCCESSFUL").await;
    definition
}

/// Deploys the same version once more.
pub(crate) async fn deploy_again(
    account: &Account,
    name: &str,
    configuration: DeploymentConfiguration,
) {
    account
        .update_service(name)
        .force_new_deployment(true)
        .deployment_configuration(configuration)
        .send()
        .await
        .unwrap();
}

/// Gives the service another version, and answers the deployment that this begins.
pub(crate) async fn deploy(
    account: &Account,
    name: &str,
    version: &str,
    env: &[&str],
    configuration: Option<DeploymentConfiguration>,
) -> ServiceDeployment {
    let image = account.push_server(version, env).await;
    let definition = account.define(name, &image).await;
    account
        .update_service(name)
        .task_definition(definition)
        .set_deployment_configuration(configuration)
        .send()
        .await
        .unwrap();
    account.history(name).await.remove(0)
}

/// Waits until the newest deployment is at a stage.
pub(crate) async fn newest_at_stage(
    account: &Account,
    name: &str,
    wanted: &str,
) -> ServiceDeployment {
    eventually(wanted, async || {
        let newest = account.history(name).await.into_iter().next()?;
        (stage(&newest) == wanted).then_some(newest)
    })
    .await
}

/// The target group of each of the service's revisions, the newest first.
pub(crate) async fn target_groups(account: &Account, name: &str) -> Vec<String> {
    let history = account.history(name).await;
    let revisions = history.iter().map(|one| {
        one.target_service_revision()
            .unwrap()
            .arn()
            .unwrap()
            .to_owned()
    });
    let arns: Vec<String> = revisions.collect();
    let answer = account
        .ecs
        .describe_service_revisions()
        .set_service_revision_arns(Some(arns.clone()))
        .send()
        .await
        .unwrap();
    let group = |arn: &String| {
        let mut revisions = answer.service_revisions().iter();
        let revision = revisions.find(|one| one.service_revision_arn() == Some(arn));
        let resolved = revision.unwrap().resolved_configuration().unwrap();
        let balancer = &resolved.load_balancers()[0];
        balancer.target_group_arn().unwrap().to_owned()
    };
    arns.iter().map(group).collect()
}

/// Lets two versions share the traffic for a while, this percentage for the newer one, until
/// `taken_back` makes ECS roll back. No request fails, the share is as told, and when ECS says that
/// it has rolled back, nobody sees the newer version any more.
pub(crate) async fn shares_traffic_until(
    account: &Account,
    name: &str,
    visitors: Visitors,
    percent: f64,
    taken_back: impl AsyncFnOnce(),
) {
    eventually("a share of the traffic", async || {
        let newest = account.history(name).await.remove(0);
        let weight = weights(newest.target_service_revision()?).0;
        (weight > 0.0).then_some(())
    })
    .await;
    // A rule changes a moment after ECS has told that it wants it to.
    visitors.stay_for(100).await;
    let shared = Instant::now();
    visitors.stay_for(400).await;
    let ended = Instant::now();
    taken_back().await;
    account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    let back = Instant::now();
    visitors.stay_for(100).await;
    let visits = visitors.report().await;

    let counted = visits.counts();
    assert!(counted.keys().eq(["1", "2"].iter()), "{counted:?}");
    assert!(visits.first("1") < visits.first("2"));
    let share = 100.0 * visits.between(shared, ended).share("2");
    assert!((share - percent).abs() < 8.0, "{share}");
    assert!(visits.last("2").unwrap() < back);
    assert!(visits.last("1").unwrap() > back);
}
