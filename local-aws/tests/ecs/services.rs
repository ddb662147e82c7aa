//! Services: rolling deployments, rollbacks, superseding, replacement.

use std::time::{Duration, Instant};

use aws_sdk_ecs::types::{
    DeploymentCircuitBreaker, DeploymentConfiguration, DeploymentController,
    DeploymentControllerType, DeploymentEarlySuccessCriteria, DeploymentRolloutState,
    ServiceDeploymentCircuitBreaker, ServiceRevisionCleanup, VersionConsistency,
};

use crate::account::{Account, Balancer, CLUSTER, container, eventually};
use crate::visitors::Visitors;

pub(crate) fn circuit_breaker(rollback: bool) -> DeploymentConfiguration {
    DeploymentConfiguration::builder()
        .deployment_circuit_breaker(
            DeploymentCircuitBreaker::builder()
                .enable(true)
                .rollback(rollback)
                .build(),
        )
        .build()
}

/// A service that serves version 1 behind a load balancer.
async fn serve_version_1(account: &Account, name: &str) -> (String, Balancer) {
    let image = account.push_server("1", &[]).await;
    let definition = account.define(name, &image).await;
    let balancer = account.balancer(name).await;
    account
        .create_service(name, &definition, Some(&balancer))
        .deployment_configuration(circuit_breaker(true))
        .send()
        .await
        .unwrap();
    account.newest_deployment(name, "SUCCESSFUL").await;
    (definition, balancer)
}

async fn update(account: &Account, name: &str, definition: &str) {
    account
        .update_service(name)
        .task_definition(definition)
        .send()
        .await
        .unwrap();
}

fn breaker_status(breaker: Option<&ServiceDeploymentCircuitBreaker>) -> &str {
    breaker.unwrap().status().unwrap().as_str()
}

pub(crate) async fn a_rolling_deployment_loses_no_request() {
    let account = Account::open();
    let name = "rolling";
    let (_, balancer) = serve_version_1(&account, name).await;
    let image = account.push_server("2", &[]).await;
    let definition = account.define(name, &image).await;

    let visitors = Visitors::of(&balancer.url);
    let slow = format!("{}/slow", balancer.url);
    update(&account, name, &definition).await;
    let slow: Vec<_> = (0..4)
        .map(|wave| {
            let slow = slow.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(300 * wave)).await;
                reqwest::get(slow).await.map(|answer| answer.status())
            })
        })
        .collect();
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
    for answer in slow {
        assert_eq!(answer.await.unwrap().unwrap(), 200);
    }
    let seen = visitors.leave().await;
    assert!(
        seen.keys().eq(["1", "2"].iter()),
        "only the two versions answered: {seen:?}"
    );

    let target = deployment.target_service_revision().unwrap();
    assert_eq!(target.requested_task_count(), 2);
    assert_eq!(target.running_task_count(), 2);
    assert_eq!(deployment.source_service_revisions().len(), 1);
    let service = account.service(name).await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    assert_eq!(service.deployments().len(), 1);
    assert_eq!(service.running_count(), 2);
    let events: Vec<_> = service
        .events()
        .iter()
        .filter_map(|event| event.message())
        .collect();
    assert!(
        events[0].ends_with("has reached a steady state."),
        "{events:?}"
    );
    account.delete_service(name).await;
}

pub(crate) async fn a_version_that_never_becomes_healthy_is_rolled_back_without_losing_a_request() {
    let account = Account::open();
    let name = "unhealthy";
    let (definition, balancer) = serve_version_1(&account, name).await;
    let bad = account.push_server("2", &["BAD=1"]).await;
    let bad = account.define(name, &bad).await;

    let visitors = Visitors::of(&balancer.url);
    update(&account, name, &bad).await;
    let deployment = account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    let seen = visitors.leave().await;
    assert!(seen.keys().eq(["1"].iter()), "{seen:?}");

    let breaker = deployment.deployment_circuit_breaker();
    assert_eq!(breaker_status(breaker), "TRIGGERED");
    assert_eq!(breaker.unwrap().threshold(), 3);
    assert!(breaker.unwrap().failure_count() >= 3);
    let rollback = deployment.rollback().unwrap();
    assert_eq!(
        rollback.service_revision_arn(),
        deployment.source_service_revisions()[0].arn()
    );
    let service = account.service(name).await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    assert_eq!(service.deployments().len(), 1);
    account.delete_service(name).await;
}

/// Waits until a page is of one version only.
async fn only(url: &str, version: &str) -> Instant {
    eventually(version, async || {
        for _ in 0..10 {
            let answer = reqwest::get(url).await.unwrap().text().await.unwrap();
            if answer != version {
                return None;
            }
        }
        Some(Instant::now())
    })
    .await
}

pub(crate) async fn a_rolling_deployment_that_bakes_is_taken_back_without_losing_a_request() {
    let account = Account::open();
    let name = "rolled-back";
    let (definition, balancer) = serve_version_1(&account, name).await;
    let second = account.push_server("2", &[]).await;
    let second = account.define(name, &second).await;
    let visitors = Visitors::of(&balancer.url);
    account
        .update_service(name)
        .task_definition(&second)
        .deployment_configuration(
            DeploymentConfiguration::builder()
                .bake_time_in_minutes(1440)
                .build(),
        )
        .send()
        .await
        .unwrap();
    let replaced = only(&balancer.url, "2").await;
    let baking = account.newest_deployment(name, "IN_PROGRESS").await;
    let stopped = Instant::now();
    account.stop_with_rollback(&baking).send().await.unwrap();
    account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    let back = only(&balancer.url, "1").await;
    let visits = visitors.report().await;

    let counted = visits.counts();
    assert!(counted.keys().eq(["1", "2"].iter()), "{counted:?}");
    assert!(visits.first("1") < visits.first("2"));
    let baked = visits.between(replaced, stopped).counts();
    assert!(!baked.contains_key("1"), "{baked:?}");
    assert!(visits.last("2").unwrap() < back);
    let service = account.service(name).await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    account.delete_service(name).await;
}

pub(crate) async fn a_version_that_crashes_is_rolled_back() {
    let account = Account::open();
    let name = "crashing";
    let (definition, _) = serve_version_1(&account, name).await;
    let crash = account.push("crash", "#!/bin/sh\nexit 1", &[]).await;
    let crash = account.define(name, &crash).await;
    update(&account, name, &crash).await;
    account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    let service = account.service(name).await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    account.delete_service(name).await;
}

pub(crate) async fn a_newer_update_supersedes_the_one_before() {
    let account = Account::open();
    let name = "superseded";
    let (_, balancer) = serve_version_1(&account, name).await;
    let second = account.push_server("2", &["BAD=1"]).await;
    let second = account.define(name, &second).await;
    let third = account.push_server("3", &[]).await;
    let third = account.define(name, &third).await;
    let visitors = Visitors::of(&balancer.url);
    update(&account, name, &second).await;
    account.newest_deployment(name, "IN_PROGRESS").await;
    update(&account, name, &third).await;
    account.newest_deployment(name, "SUCCESSFUL").await;
    let seen = visitors.leave().await;
    assert!(seen.keys().eq(["1", "3"].iter()), "{seen:?}");
    let history = account.history(name).await;
    let statuses: Vec<_> = history
        .iter()
        .map(|one| one.status().unwrap().as_str())
        .collect();
    assert_eq!(statuses, ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]);
    assert!(history[1].stopped_at().is_some());
    account.delete_service(name).await;
}

pub(crate) async fn a_first_deployment_that_fails_stalls() {
    let account = Account::open();
    let name = "stalled";
    let crash = account.push("crash-first", "#!/bin/sh\nexit 1", &[]).await;
    let crash = account.define(name, &crash).await;
    account
        .create_service(name, &crash, None)
        .deployment_configuration(circuit_breaker(true))
        .send()
        .await
        .unwrap();
    let service = eventually("a failed deployment", async || {
        let service = account.service(name).await;
        let state = service.deployments()[0].rollout_state();
        (state == Some(&DeploymentRolloutState::Failed)).then_some(service)
    })
    .await;
    assert!(service.deployments()[0].failed_tasks() >= 3);
    let stalled = &account.history(name).await[0];
    assert_eq!(stalled.status().unwrap().as_str(), "IN_PROGRESS");
    let breaker = stalled.deployment_circuit_breaker();
    assert_eq!(breaker_status(breaker), "TRIGGERED");
    assert!(stalled.rollback().is_none());
    account.delete_service(name).await;
}

pub(crate) async fn without_rollback_a_failed_deployment_is_stopped_and_the_old_tasks_stay() {
    let account = Account::open();
    let name = "no-rollback";
    let (_, balancer) = serve_version_1(&account, name).await;
    let crash = account.push("crash-stay", "#!/bin/sh\nexit 1", &[]).await;
    let crash = account.define(name, &crash).await;
    account
        .update_service(name)
        .task_definition(&crash)
        .deployment_configuration(circuit_breaker(false))
        .send()
        .await
        .unwrap();
    let deployment = account.newest_deployment(name, "STOPPED").await;
    assert_eq!(
        breaker_status(deployment.deployment_circuit_breaker()),
        "TRIGGERED"
    );
    let answer = reqwest::get(&balancer.url).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "1");
    account.delete_service(name).await;
}

pub(crate) async fn a_deployment_can_be_stopped_with_a_rollback() {
    let account = Account::open();
    let name = "stopped";
    let (definition, _) = serve_version_1(&account, name).await;
    let bad = account.push_server("2", &["BAD=1"]).await;
    let bad = account.define(name, &bad).await;
    account
        .update_service(name)
        .task_definition(&bad)
        .health_check_grace_period_seconds(3600)
        .send()
        .await
        .unwrap();
    let running = account.newest_deployment(name, "IN_PROGRESS").await;
    let stop = || account.stop_with_rollback(&running);
    stop().send().await.unwrap();
    account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    let service = account.service(name).await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    let error = stop().send().await.unwrap_err().into_service_error();
    assert!(error.is_conflict_exception(), "{error}");
    account.delete_service(name).await;
}

pub(crate) async fn a_task_that_dies_is_replaced() {
    let account = Account::open();
    let name = "replaced";
    serve_version_1(&account, name).await;
    let before = account.tasks_of(name).await;
    account
        .ecs
        .stop_task()
        .cluster(CLUSTER)
        .task(&before[0])
        .send()
        .await
        .unwrap();
    eventually("another task in its place", async || {
        let now = account.tasks_of(name).await;
        let replaced = now.len() == 2 && !now.contains(&before[0]);
        let running = account.service(name).await.running_count();
        (replaced && running == 2).then_some(())
    })
    .await;
    account.delete_service(name).await;
}

/// <https://aws.amazon.com/about-aws/whats-new/2025/11/amazon-ecs-service-availability-rolling-deployments>
///
/// Application Auto Scaling is named there as who wants more tasks; all it does is UpdateService
/// with another `desiredCount`, so here it is the same whoever asks.
pub(crate) async fn in_a_rolling_deployment_each_revision_replaces_its_own_tasks_and_grows() {
    let account = Account::open();
    let name = "kept-up";
    let (definition, balancer) = serve_version_1(&account, name).await;
    let bad = account.push_server("2", &["BAD=1"]).await;
    let bad = account.define(name, &bad).await;
    let request = account.update_service(name).task_definition(&bad);
    let request = request.health_check_grace_period_seconds(36_000);
    request.send().await.unwrap();
    let (serving, next) = running_of_both(&account, name, &definition, &bad, 2).await;
    for dying in [&serving[0], &next[0]] {
        account.stop(dying).await;
    }
    eventually("another task in the place of each", async || {
        let now = account.tasks_of(name).await;
        (!now.contains(&serving[0]) && !now.contains(&next[0])).then_some(())
    })
    .await;
    running_of_both(&account, name, &definition, &bad, 2).await;
    only(&balancer.url, "1").await;

    let request = account.update_service(name).desired_count(3);
    request.send().await.unwrap();
    running_of_both(&account, name, &definition, &bad, 3).await;
    only(&balancer.url, "1").await;
    let deployment = account.newest_deployment(name, "IN_PROGRESS").await;
    account
        .stop_with_rollback(&deployment)
        .send()
        .await
        .unwrap();
    account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    account.delete_service(name).await;
}

/// The tasks of two task definitions, once so many of each run and no more of either.
async fn running_of_both(
    account: &Account,
    name: &str,
    first: &str,
    second: &str,
    count: usize,
) -> (Vec<String>, Vec<String>) {
    eventually("running tasks of both revisions", async || {
        let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
        for arn in account.tasks_of(name).await {
            let task = account.task(&arn).await;
            if task.last_status() != Some("RUNNING") {
                return None;
            }
            match task.task_definition_arn().unwrap() {
                definition if definition == first => of_first.push(arn),
                definition if definition == second => of_second.push(arn),
                other => panic!("a task of {other}"),
            }
        }
        ([of_first.len(), of_second.len()] == [count; 2]).then_some((of_first, of_second))
    })
    .await
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerImage.html>
pub(crate) async fn a_tag_that_moves_changes_a_service_with_its_next_deployment() {
    use VersionConsistency::{Disabled, Enabled};
    let account = Account::open();
    for (name, consistency, after_the_move) in [
        ("tag-pinned", Enabled, "1"),
        ("tag-followed", Disabled, "2"),
    ] {
        let (tag, first) = account.tag_server(name, "1").await;
        let container = container(&tag).version_consistency(consistency.clone());
        let definition = account.register(name, vec![container.build()]).await;
        let balancer = account.balancer(name).await;
        let request = account.create_service(name, &definition, Some(&balancer));
        request.send().await.unwrap();
        let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
        let before = account.tasks_of(name).await;
        account.tag_server(name, "2").await;
        for task in &before {
            account.stop(task).await;
        }
        eventually("other tasks", async || {
            let now = account.tasks_of(name).await;
            let running = account.service(name).await.running_count();
            let replaced = now.iter().all(|task| !before.contains(task));
            (replaced && running == 2).then_some(())
        })
        .await;
        only(&balancer.url, after_the_move).await;

        let revision = deployment.target_service_revision().unwrap();
        let request = account.ecs.describe_service_revisions();
        let request = request.service_revision_arns(revision.arn().unwrap());
        let answer = request.send().await.unwrap();
        let digest = answer.service_revisions()[0].container_images()[0].image_digest();
        let established = (consistency == Enabled).then_some(first.as_str());
        let established = established.and_then(|image| Some(image.split_once('@')?.1));
        assert_eq!(digest, established);

        let request = account.update_service(name).force_new_deployment(true);
        request.send().await.unwrap();
        account.newest_deployment(name, "SUCCESSFUL").await;
        only(&balancer.url, "2").await;
        account.delete_service(name).await;
    }
}

pub(crate) async fn the_desired_count_changes_without_a_deployment() {
    let account = Account::open();
    let name = "scaled";
    serve_version_1(&account, name).await;
    for desired in [4, 1] {
        account
            .update_service(name)
            .desired_count(desired)
            .send()
            .await
            .unwrap();
        eventually("the desired count", async || {
            (account.service(name).await.running_count() == desired).then_some(())
        })
        .await;
    }
    assert_eq!(account.history(name).await.len(), 1);
    account.delete_service(name).await;
}

pub(crate) async fn a_deleted_service_drains_and_is_inactive() {
    let account = Account::open();
    let name = "deleted";
    let (definition, _) = serve_version_1(&account, name).await;
    let kept = account
        .ecs
        .delete_service()
        .cluster(CLUSTER)
        .service(name)
        .send()
        .await;
    let error = kept.unwrap_err().into_service_error();
    assert!(error.is_invalid_parameter_exception(), "{error}");
    account.delete_service(name).await;
    let service = eventually("an inactive service", async || {
        let service = account.service(name).await;
        (service.status() == Some("INACTIVE")).then_some(service)
    })
    .await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    let update = account.update_service(name).desired_count(1).send().await;
    let error = update.unwrap_err().into_service_error();
    assert!(error.is_service_not_active_exception(), "{error}");
}

pub(crate) async fn a_target_group_without_a_load_balancer_is_refused() {
    let account = Account::open();
    let image = account.push_server("1", &[]).await;
    let definition = account.define("refused-service", &image).await;
    let balancer = Balancer {
        target_group:
            "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/none/0123456789abcdef"
                .to_owned(),
        url: String::new(),
    };
    let refused = account
        .create_service("refused-service", &definition, Some(&balancer))
        .send()
        .await;
    let error = refused.unwrap_err().into_service_error();
    assert!(error.is_invalid_parameter_exception(), "{error}");
}

/// A task that ignores SIGTERM for so many seconds of AWS.
const STUBBORN: i32 = 120;

/// A rolling deployment that is complete when half of its tasks are healthy.
fn early_success(cleanup: ServiceRevisionCleanup) -> DeploymentConfiguration {
    let criteria = DeploymentEarlySuccessCriteria::builder()
        .enable(true)
        .healthy_percent(50)
        .source_service_revision_cleanup(cleanup)
        .build();
    DeploymentConfiguration::builder()
        .minimum_healthy_percent(50)
        .maximum_percent(200)
        .early_success_criteria(criteria)
        .build()
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/early-success-criteria.html>
pub(crate) async fn an_early_success_comes_before_or_after_the_old_tasks_are_cleaned_up() {
    use ServiceRevisionCleanup::{Blocking, Deferred};
    let account = Account::open();
    let script = "#!/bin/sh\ntrap '' TERM\nwhile true; do sleep 1; done";
    let image = account.push("stubborn", script, &[]).await;
    for (name, cleanup, left) in [
        ("early-blocking", Blocking, 0),
        ("early-deferred", Deferred, 1),
    ] {
        let container = container(&image).stop_timeout(STUBBORN).build();
        let definition = account.register(name, vec![container]).await;
        account
            .create_service(name, &definition, None)
            .deployment_configuration(early_success(cleanup))
            .send()
            .await
            .unwrap();
        account.newest_deployment(name, "SUCCESSFUL").await;
        let request = account.update_service(name).force_new_deployment(true);
        request.send().await.unwrap();
        let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
        let service = account.service(name).await;
        let [primary, others @ ..] = service.deployments() else {
            panic!("no deployment");
        };
        assert_eq!(others.len(), left, "{name}: {others:?}");
        assert_eq!(primary.status(), Some("PRIMARY"));
        let completed = DeploymentRolloutState::Completed;
        assert_eq!(primary.rollout_state(), Some(&completed));
        assert_eq!(service.current_service_deployment(), None);
        let target = deployment.target_service_revision().unwrap();
        assert!(target.running_task_count() >= 1);
        eventually("all tasks of one deployment", async || {
            let service = account.service(name).await;
            let is_one = service.deployments().len() == 1;
            (is_one && service.running_count() == 2).then_some(())
        })
        .await;
        account.delete_service(name).await;
    }
}

pub(crate) async fn what_the_local_ecs_cannot_do_is_refused() {
    let account = Account::open();
    let image = account.push_server("1", &[]).await;
    let definition = account.define("unsupported", &image).await;
    let controller = DeploymentController::builder()
        .r#type(DeploymentControllerType::External)
        .build();
    let refused = account
        .create_service("unsupported", &definition, None)
        .deployment_controller(controller.unwrap())
        .send()
        .await;
    let error = refused.unwrap_err().into_service_error();
    assert!(error.is_unsupported_feature_exception(), "{error}");
}
