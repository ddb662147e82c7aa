//! Deployment alarms: CloudWatch alarms that make a service deployment fail.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html>

use aws_sdk_cloudwatch::types::StateValue;
use aws_sdk_ecs::types::{
    DeploymentAlarms, DeploymentConfiguration, DeploymentStrategy, ServiceDeployment,
};

use crate::account::{Account, eventually};
use crate::strategies::{
    deploy_again, newest_at_stage, put_alarm, put_alarm_of, serve_worker, set_alarm,
};

/// A deployment that bakes for so many minutes (3 seconds each) under these alarms.
fn watched(
    strategy: DeploymentStrategy,
    bake: i32,
    alarms: &[&str],
    rollback: bool,
) -> DeploymentConfiguration {
    let alarms = DeploymentAlarms::builder()
        .set_alarm_names(Some(alarms.iter().map(ToString::to_string).collect()))
        .enable(true)
        .rollback(rollback)
        .build()
        .unwrap();
    DeploymentConfiguration::builder()
        .strategy(strategy)
        .bake_time_in_minutes(bake)
        .alarms(alarms)
        .build()
}

fn status(deployment: &ServiceDeployment) -> Option<&str> {
    let alarms = deployment.alarms().unwrap();
    alarms.status().map(|status| status.as_str())
}

/// The newest service deployment once ECS watches its alarms.
async fn monitored(account: &Account, name: &str) -> ServiceDeployment {
    eventually("MONITORING", async || {
        let newest = account.history(name).await.into_iter().next()?;
        (status(&newest) == Some("MONITORING")).then_some(newest)
    })
    .await
}

/// The deployment failed by the alarm, and says so.
fn assert_triggered(deployment: &ServiceDeployment, alarm: &str) {
    assert_eq!(status(deployment), Some("TRIGGERED"));
    let alarms = deployment.alarms().unwrap();
    assert_eq!(alarms.triggered_alarm_names(), [alarm]);
    let reason = deployment.status_reason().unwrap();
    assert!(reason.contains("alarm"), "{reason}");
}

pub(crate) async fn an_alarm_in_the_bake_time_rolls_a_blue_green_deployment_back() {
    let account = Account::open();
    let name = "alarms-baking";
    serve_worker(&account, name).await;
    let names = ["alarms-baking-quiet", name];
    for alarm in names {
        put_alarm(&account, alarm).await;
    }
    let configuration = watched(DeploymentStrategy::BlueGreen, 1440, &names, true);
    deploy_again(&account, name, configuration).await;
    let monitored = monitored(&account, name).await;
    assert_eq!(monitored.alarms().unwrap().alarm_names(), names);
    newest_at_stage(&account, name, "BAKE_TIME").await;
    set_alarm(&account, name, StateValue::Alarm).await;
    let deployment = account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    assert_triggered(&deployment, name);
    account.delete_service(name).await;
}

/// The guide speaks of CloudWatch alarms, without a word of their kind
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html>).
/// Here composite ones count as well: ECS only has names, and CloudWatch gives both kinds of alarm
/// names of one space.
pub(crate) async fn a_composite_alarm_rolls_a_deployment_back() {
    let account = Account::open();
    let name = "alarms-composite";
    let part = "alarms-composite-part";
    serve_worker(&account, name).await;
    put_alarm(&account, part).await;
    let put = account.cloudwatch.put_composite_alarm().alarm_name(name);
    let put = put.alarm_rule(format!("ALARM(\"{part}\")"));
    put.send().await.unwrap();
    let configuration = watched(DeploymentStrategy::BlueGreen, 1440, &[name], true);
    deploy_again(&account, name, configuration).await;
    monitored(&account, name).await;
    set_alarm(&account, part, StateValue::Alarm).await;
    let deployment = account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    assert_triggered(&deployment, name);
    account.delete_service(name).await;
}

pub(crate) async fn an_alarm_rolls_a_rolling_deployment_back() {
    let account = Account::open();
    let name = "alarms-rolling";
    serve_worker(&account, name).await;
    put_alarm(&account, name).await;
    let configuration = watched(DeploymentStrategy::Rolling, 1440, &[name], true);
    deploy_again(&account, name, configuration).await;
    monitored(&account, name).await;
    set_alarm(&account, name, StateValue::Alarm).await;
    let deployment = account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    assert_triggered(&deployment, name);
    account.delete_service(name).await;
}

/// "After a new service version has scaled out and the old service version has scaled in": the
/// guide does not say by which formula ECS computes the bake time
/// (`AlarmMonitor::bake_time` says which one holds here).
pub(crate) async fn a_rolling_deployment_bakes_as_long_as_its_alarms_take_to_evaluate() {
    let account = Account::open();
    let name = "alarms-bake";
    serve_worker(&account, name).await;
    // Four hours are twelve minutes here: no test waits for their end.
    put_alarm_of(&account, name, 240).await;
    let configuration = watched(DeploymentStrategy::Rolling, 0, &[name], true);
    deploy_again(&account, name, configuration.clone()).await;
    monitored(&account, name).await;
    replaced(&account, name).await;
    let service = account.service(name).await;
    let state = service.deployments()[0].rollout_state().unwrap();
    assert_eq!(state.as_str(), "IN_PROGRESS");
    set_alarm(&account, name, StateValue::Alarm).await;
    let deployment = account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    assert_triggered(&deployment, name);

    put_alarm_of(&account, name, 2).await;
    deploy_again(&account, name, configuration).await;
    replaced(&account, name).await;
    account.newest_deployment(name, "SUCCESSFUL").await;
    account.delete_service(name).await;
}

/// Waits until a rolling deployment has nothing left to replace.
async fn replaced(account: &Account, name: &str) {
    eventually("new tasks alone", async || {
        let newest = account.history(name).await.into_iter().next()?;
        let old = newest.source_service_revisions();
        let new = newest.target_service_revision()?;
        let gone = old.iter().all(|one| one.running_task_count() == 0);
        (gone && new.running_task_count() == new.requested_task_count()).then_some(())
    })
    .await;
}

pub(crate) async fn without_rollback_an_alarm_stops_the_deployment() {
    let account = Account::open();
    let name = "alarms-stop";
    serve_worker(&account, name).await;
    put_alarm(&account, name).await;
    let configuration = watched(DeploymentStrategy::Rolling, 1440, &[name], false);
    deploy_again(&account, name, configuration).await;
    monitored(&account, name).await;
    set_alarm(&account, name, StateValue::Alarm).await;
    let deployment = account.newest_deployment(name, "STOPPED").await;
    assert_triggered(&deployment, name);
    assert!(deployment.stopped_at().is_some());
    let service = account.service(name).await;
    let state = service.deployments()[0].rollout_state().unwrap();
    assert_eq!(state.as_str(), "FAILED");
    account.delete_service(name).await;
}

pub(crate) async fn an_alarm_that_is_on_at_the_start_is_ignored_for_the_whole_deployment() {
    let account = Account::open();
    let name = "alarms-on";
    serve_worker(&account, name).await;
    put_alarm(&account, name).await;
    let later = "alarms-on-later";
    put_alarm(&account, later).await;
    set_alarm(&account, name, StateValue::Alarm).await;
    let names = [name, later];
    let configuration = watched(DeploymentStrategy::BlueGreen, 5, &names, true);
    deploy_again(&account, name, configuration).await;
    newest_at_stage(&account, name, "BAKE_TIME").await;
    // It is seen, were it looked for: the bake time is longer than ECS takes between two looks.
    set_alarm(&account, later, StateValue::Alarm).await;
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
    assert_eq!(status(&deployment), Some("DISABLED"));
    let alarms = deployment.alarms().unwrap();
    assert!(alarms.triggered_alarm_names().is_empty());
    account.delete_service(name).await;
}

/// The documented way to watch a service's own metrics names an alarm that is created after the
/// service (<https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_ecs-readme.html>,
/// "Deployment alarms").
pub(crate) async fn an_alarm_that_does_not_exist_does_not_disturb() {
    let account = Account::open();
    let name = "alarms-nowhere";
    serve_worker(&account, name).await;
    let configuration = watched(DeploymentStrategy::BlueGreen, 1, &["nowhere"], true);
    deploy_again(&account, name, configuration).await;
    monitored(&account, name).await;
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
    assert_eq!(status(&deployment), Some("MONITORING_COMPLETE"));
    account.delete_service(name).await;
}
