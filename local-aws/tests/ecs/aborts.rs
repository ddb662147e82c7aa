//! Service deployments that a user aborts: StopServiceDeployment with the stop type ABORT.
//!
//! The API has the value; what it does is not documented
//! (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopServiceDeployment.html>).
//! Here nothing is taken back: tasks and traffic stay as they are at that moment, whatever the
//! strategy, until a newer deployment replaces them.

use std::collections::BTreeSet;

use aws_sdk_ecs::types::builders::DeploymentConfigurationBuilder;
use aws_sdk_ecs::types::{
    DeploymentConfiguration, DeploymentStrategy, HealthCheck, ServiceDeployment,
    StopServiceDeploymentStopType,
};

use crate::account::{Account, container, eventually};
use crate::strategies::{
    blue_green, canary, deploy, linear, newest_at_stage, serve_version_1, serve_worker,
};
use crate::timeline::weights;
use crate::visitors::Visitors;

/// Aborts a deployment, which has stopped then.
async fn abort(account: &Account, name: &str, deployment: &ServiceDeployment) -> ServiceDeployment {
    let request = account.ecs.stop_service_deployment();
    request
        .service_deployment_arn(deployment.service_deployment_arn().unwrap())
        .stop_type(StopServiceDeploymentStopType::Abort)
        .send()
        .await
        .unwrap();
    let stopped = account.newest_deployment(name, "STOPPED").await;
    assert!(stopped.stopped_at().is_some());
    assert!(stopped.rollback().is_none());
    stopped
}

/// The answers of a page that is asked so often that each revision with a share answers.
async fn answers(url: &str) -> BTreeSet<String> {
    let mut answers = BTreeSet::new();
    for _ in 0..20 {
        let answer = reqwest::get(url).await.unwrap();
        answers.insert(answer.text().await.unwrap());
    }
    answers
}

fn set<const N: usize>(answers: [&str; N]) -> BTreeSet<String> {
    answers.map(ToOwned::to_owned).into()
}

/// Lets a service go slowly from version 1 to 2 until the new one has a share of the production
/// traffic at a stage, and aborts that; then it goes quickly to version 3.
async fn abort_at(
    name: &str,
    slow: DeploymentConfigurationBuilder,
    quick: DeploymentConfigurationBuilder,
    stage: &str,
    percent: f64,
    serving: &[&str],
) {
    let account = Account::open();
    let (_, pair) = serve_version_1(&account, name, slow).await;
    let visitors = Visitors::of(&pair.production);
    deploy(&account, name, "2", &[], None).await;
    newest_at_stage(&account, name, stage).await;
    let under_way = eventually("its share", async || {
        let newest = account.history(name).await.remove(0);
        let weight = weights(newest.target_service_revision()?).0;
        (weight == percent).then_some(newest)
    })
    .await;
    let serving: BTreeSet<String> = serving.iter().map(ToString::to_string).collect();
    eventually("its answers", async || {
        (answers(&pair.production).await == serving).then_some(())
    })
    .await;
    let tasks = account.tasks_of(name).await;

    let stopped = abort(&account, name, &under_way).await;
    let target = stopped.target_service_revision().unwrap();
    assert_eq!(weights(target).0, percent);
    assert_eq!(account.tasks_of(name).await, tasks);
    assert_eq!(answers(&pair.production).await, serving);

    deploy(&account, name, "3", &[], Some(quick.build())).await;
    account.newest_deployment(name, "SUCCESSFUL").await;
    assert_eq!(answers(&pair.production).await, set(["3"]));
    let seen = visitors.leave().await;
    let versions = ["1", "2", "3"];
    let failed: Vec<_> = seen
        .keys()
        .filter(|answer| !versions.contains(&answer.as_str()))
        .collect();
    assert!(failed.is_empty(), "{seen:?}");
    account.delete_service(name).await;
}

pub(crate) async fn an_aborted_blue_green_deployment_leaves_the_traffic_where_it_is() {
    let (slow, quick) = (blue_green(1440), blue_green(0));
    abort_at("abort-blue-green", slow, quick, "BAKE_TIME", 100.0, &["2"]).await;
}

pub(crate) async fn an_aborted_canary_leaves_both_versions_serving() {
    let (slow, quick) = (canary(50.0, 1440), canary(50.0, 0));
    let stage = "PRODUCTION_TRAFFIC_SHIFT";
    abort_at("abort-canary", slow, quick, stage, 50.0, &["1", "2"]).await;
}

pub(crate) async fn an_aborted_linear_deployment_leaves_both_versions_serving() {
    let (slow, quick) = (linear(50.0, 1440), linear(50.0, 0));
    let stage = "PRODUCTION_TRAFFIC_SHIFT";
    abort_at("abort-linear", slow, quick, stage, 50.0, &["1", "2"]).await;
}

pub(crate) async fn an_aborted_rolling_deployment_starts_no_more_tasks() {
    let account = Account::open();
    let name = "abort-rolling";
    serve_worker(&account, name).await;
    let before = account.tasks_of(name).await;
    // It runs, and never becomes healthy.
    let check = HealthCheck::builder()
        .command("CMD")
        .command("/app/nothing")
        .interval(300)
        .retries(10)
        .build();
    let image = account
        .push("abort-unhealthy", "#!/bin/sh\nexec sleep 600", &[])
        .await;
    let unhealthy = container(&image).health_check(check.unwrap());
    let definition = account.register(name, vec![unhealthy.build()]).await;
    account
        .update_service(name)
        .task_definition(definition)
        .deployment_configuration(
            DeploymentConfiguration::builder()
                .strategy(DeploymentStrategy::Rolling)
                .build(),
        )
        .send()
        .await
        .unwrap();
    let under_way = eventually("a new task", async || {
        let newest = account.history(name).await.remove(0);
        let running = newest.target_service_revision()?.running_task_count();
        (running == 1).then_some(newest)
    })
    .await;
    let tasks = account.tasks_of(name).await;
    assert_eq!(tasks.len(), 2);

    abort(&account, name, &under_way).await;
    let new = tasks.iter().find(|task| !before.contains(task)).unwrap();
    account.stop(new).await;
    account.task_with_status(new, "STOPPED").await;
    assert_eq!(account.tasks_of(name).await, before);
    let service = account.service(name).await;
    let state = service.deployments()[0].rollout_state().unwrap();
    assert_eq!(state.as_str(), "FAILED");
    account.delete_service(name).await;
}
