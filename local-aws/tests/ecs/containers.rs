//! Tasks of several containers: their order, and their health checks.

use aws_sdk_ecs::types::builders::ContainerDefinitionBuilder;
use aws_sdk_ecs::types::{
    Container, ContainerCondition, ContainerDefinition, ContainerDependency,
    ContainerRestartPolicy, HealthCheck, HealthStatus, Task, TaskStopCode,
};

use crate::account::{Account, container, eventually, log_configuration};

/// A container that ends the task by its exit, and waits for another one.
fn web(image: &str, other: &str, condition: ContainerCondition) -> ContainerDefinitionBuilder {
    let dependency = ContainerDependency::builder()
        .container_name(other)
        .condition(condition)
        .build()
        .unwrap();
    container(image).depends_on(dependency)
}

/// A container beside it, whose end leaves the task running.
fn beside(name: &str, image: &str) -> ContainerDefinitionBuilder {
    ContainerDefinition::builder()
        .name(name)
        .image(image)
        .essential(false)
        .log_configuration(log_configuration("/tests"))
}

/// Runs the image's program with the argument `check`, every five seconds of AWS.
fn health_check() -> HealthCheck {
    HealthCheck::builder()
        .command("CMD")
        .command("/app/run")
        .command("check")
        .interval(5)
        .timeout(60)
        .retries(1)
        .build()
        .unwrap()
}

fn arn_of(task: &Task) -> &str {
    task.task_arn().unwrap()
}

fn named<'a>(task: &'a Task, name: &str) -> &'a Container {
    let mut containers = task.containers().iter();
    containers.find(|one| one.name() == Some(name)).unwrap()
}

pub(crate) async fn a_container_starts_after_the_success_of_another() {
    let account = Account::open();
    let script = "#!/bin/sh\necho prepared; sleep 0.5";
    let init = account.push("success-init", script, &[]).await;
    let main = account.push("success", "#!/bin/sh\necho serves", &[]).await;
    let containers = vec![
        web(&main, "init", ContainerCondition::Success).build(),
        beside("init", &init).build(),
    ];
    let definition = account.register("success", containers).await;
    let task = account.run(&definition).await;
    let codes = ["init", "web"].map(|name| named(&task, name).exit_code());
    assert_eq!(codes, [Some(0), Some(0)]);
    let prepared = account.line(arn_of(&task), "init", "prepared").await;
    let serves = account.line(arn_of(&task), "web", "serves").await;
    assert!(prepared < serves, "{prepared}, {serves}");
}

pub(crate) async fn a_dependency_that_fails_ends_the_task() {
    let account = Account::open();
    let init = account.push("fails-init", "#!/bin/sh\nexit 9", &[]).await;
    let main = account.push("fails", "#!/bin/sh\necho serves", &[]).await;
    let containers = vec![
        web(&main, "init", ContainerCondition::Success).build(),
        beside("init", &init).build(),
    ];
    let definition = account.register("fails", containers).await;
    let task = account.run(&definition).await;
    assert_eq!(task.stop_code(), Some(&TaskStopCode::TaskFailedToStart));
    assert_eq!(named(&task, "init").exit_code(), Some(9));
    let web = named(&task, "web");
    assert_eq!(web.exit_code(), None);
    let reason = web.reason().unwrap();
    assert!(
        reason.starts_with("CannotStartContainerError: ")
            && reason.contains("did not exit successfully"),
        "{reason}"
    );
    assert!(task.started_at().is_none());
}

pub(crate) async fn a_dependency_that_misses_its_start_timeout_ends_the_task() {
    let account = Account::open();
    let script = "#!/bin/sh\nexec sleep 600";
    let init = account.push("late-init", script, &[]).await;
    let main = account.push("late", "#!/bin/sh\necho serves", &[]).await;
    let containers = vec![
        web(&main, "init", ContainerCondition::Complete).build(),
        beside("init", &init).start_timeout(20).build(),
    ];
    let definition = account.register("late", containers).await;
    let task = account.run(&definition).await;
    assert_eq!(task.stop_code(), Some(&TaskStopCode::TaskFailedToStart));
    assert_eq!(named(&task, "init").exit_code(), Some(143));
    let web = named(&task, "web");
    assert_eq!(web.exit_code(), None);
    let reason = web.reason().unwrap();
    assert!(reason.contains("has timed out"), "{reason}");
}

pub(crate) async fn a_container_starts_when_another_is_healthy() {
    let account = Account::open();
    let script = "#!/bin/sh\n[ \"$1\" = check ] || exec sleep 600";
    let other = account.push("healthy-other", script, &[]).await;
    let main = account.push("healthy", script, &[]).await;
    let containers = vec![
        web(&main, "other", ContainerCondition::Healthy).build(),
        beside("other", &other).health_check(health_check()).build(),
    ];
    let definition = account.register("healthy", containers).await;
    let arn = account.start(&definition).await;
    let task = account.task_with_status(&arn, "RUNNING").await;
    let other = named(&task, "other");
    assert_eq!(other.health_status(), Some(&HealthStatus::Healthy));
    account.stop(&arn).await;
}

pub(crate) async fn containers_stop_in_the_reverse_order() {
    let account = Account::open();
    let ends = |pause: &str| {
        format!(
            "#!/bin/sh\ntrap '{pause} echo ends; exit 0' TERM\necho up\nwhile :; do sleep 0.1; done"
        )
    };
    let proxy = account.push("reverse-proxy", &ends(""), &[]).await;
    let main = account.push("reverse", &ends("sleep 0.5;"), &[]).await;
    let main = web(&main, "proxy", ContainerCondition::Start).stop_timeout(120);
    let proxy = beside("proxy", &proxy).stop_timeout(120).build();
    let definition = account.register("reverse", vec![proxy, main.build()]).await;
    let arn = account.start(&definition).await;
    for container in ["web", "proxy"] {
        account.line(&arn, container, "up").await;
    }
    account.stop(&arn).await;
    account.task_with_status(&arn, "STOPPED").await;
    let web = account.line(&arn, "web", "ends").await;
    let proxy = account.line(&arn, "proxy", "ends").await;
    assert!(web < proxy, "{web}, {proxy}");
}

pub(crate) async fn a_cycle_of_dependencies_is_refused() {
    let account = Account::open();
    let containers = vec![
        web("web:1", "other", ContainerCondition::Start).build(),
        beside("other", "other:1")
            .depends_on(
                ContainerDependency::builder()
                    .container_name("web")
                    .condition(ContainerCondition::Start)
                    .build()
                    .unwrap(),
            )
            .build(),
    ];
    let error = account.try_register("cycle", containers).await.unwrap_err();
    assert!(error.is_client_exception(), "{error}");
}

pub(crate) async fn a_task_that_is_unhealthy_runs_on_where_no_service_replaces_it() {
    let account = Account::open();
    let script = "#!/bin/sh\n[ \"$1\" = check ] && exit 1\nexec sleep 600";
    let image = account.push("unhealthy", script, &[]).await;
    let checked = container(&image).health_check(health_check()).build();
    let definition = account.register("unhealthy", vec![checked]).await;
    let arn = account.start(&definition).await;
    let first = account.task(&arn).await;
    let status = first.health_status().map(HealthStatus::as_str);
    assert_eq!(status, Some("UNKNOWN"));
    let task = eventually("unhealthy", async || {
        let task = account.task(&arn).await;
        (task.health_status() == Some(&HealthStatus::Unhealthy)).then_some(task)
    })
    .await;
    let status = named(&task, "web").health_status();
    assert_eq!(status, Some(&HealthStatus::Unhealthy));
    assert_eq!(task.desired_status(), Some("RUNNING"));
    assert!(task.version() > first.version());
    account.stop(&arn).await;
}

pub(crate) async fn a_service_replaces_a_task_that_becomes_unhealthy() {
    let account = Account::open();
    // The check fails from the second time on.
    let script = "#!/bin/sh
if [ \"$1\" = check ]; then
    mkdir checked-$PORT 2>/dev/null
    exit
fi
rmdir checked-$PORT 2>/dev/null
exec sleep 600";
    let image = account.push("sick", script, &[]).await;
    let checked = container(&image).health_check(health_check()).build();
    let definition = account.register("sick", vec![checked]).await;
    let service = account.create_service("sick", &definition, None);
    service.desired_count(1).send().await.unwrap();
    let message = eventually("a failed health check", async || {
        let events = account.service("sick").await.events.unwrap_or_default();
        let mut messages = events.into_iter().filter_map(|event| event.message);
        messages.find(|message| message.ends_with("failed container health checks."))
    })
    .await;
    let (_, id) = message.split_once("(task ").unwrap();
    let (id, _) = id.split_once(')').unwrap();
    let task = account.task_with_status(id, "STOPPED").await;
    let reason = task.stopped_reason();
    assert_eq!(reason, Some("Task failed container health checks"));
    let code = task.stop_code();
    assert_eq!(code, Some(&TaskStopCode::ServiceSchedulerInitiated));
    account.delete_service("sick").await;
}

pub(crate) async fn a_version_whose_container_health_check_fails_is_rolled_back() {
    let account = Account::open();
    let check = |code| format!("#!/bin/sh\n[ \"$1\" = check ] && exit {code}\nexec sleep 600");
    let good = account.push("checked", &check(0), &[]).await;
    let bad = account.push("checked", &check(1), &[]).await;
    let define = async |image: &str| {
        let checked = container(image).health_check(health_check()).build();
        account.register("checked", vec![checked]).await
    };
    let (good, bad) = (define(&good).await, define(&bad).await);
    let service = account.create_service("checked", &good, None);
    service
        .desired_count(1)
        .deployment_configuration(crate::services::circuit_breaker(true))
        .send()
        .await
        .unwrap();
    account.newest_deployment("checked", "SUCCESSFUL").await;
    let task = account.tasks_of("checked").await.remove(0);
    let update = account.update_service("checked").task_definition(&bad);
    update.send().await.unwrap();
    let name = "checked";
    account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    assert_eq!(account.tasks_of("checked").await, [task]);
    account.delete_service("checked").await;
}

/// Writes how often it has been started again, for how long it takes to start it again.
const RESTARTING: &str = r#"#!/usr/bin/env python3
import json, os, sys, time, urllib.request
uri = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
print("restarts", json.load(urllib.request.urlopen(uri))["RestartCount"], flush=True)
time.sleep(3.2)
sys.exit(5)
"#;

/// A minute of AWS, three seconds here.
fn restart_policy(ignored: i32) -> ContainerRestartPolicy {
    ContainerRestartPolicy::builder()
        .enabled(true)
        .restart_attempt_period(60)
        .ignored_exit_codes(ignored)
        .build()
        .unwrap()
}

pub(crate) async fn a_container_with_a_restart_policy_starts_again_and_its_task_runs_on() {
    let account = Account::open();
    let image = account.push("restarting", RESTARTING, &[]).await;
    let web = container(&image).restart_policy(restart_policy(0)).build();
    let definition = account.register("restarting", vec![web]).await;
    let arn = account.start(&definition).await;
    for line in ["restarts 0", "restarts 1", "restarts 2"] {
        account.line(&arn, "web", line).await;
    }
    let task = account.task(&arn).await;
    assert_eq!(task.last_status(), Some("RUNNING"));
    assert_eq!(named(&task, "web").exit_code(), None);
    account.stop(&arn).await;
    // Who stops a task starts nothing again.
    let task = account.task_with_status(&arn, "STOPPED").await;
    assert_eq!(task.stop_code(), Some(&TaskStopCode::UserInitiated));
}

pub(crate) async fn a_container_does_not_start_again_after_an_exit_code_that_is_ignored() {
    let account = Account::open();
    let image = account.push("ignored", RESTARTING, &[]).await;
    let web = container(&image).restart_policy(restart_policy(5)).build();
    let definition = account.register("ignored", vec![web]).await;
    let task = account.run(&definition).await;
    assert_eq!(
        task.stop_code(),
        Some(&TaskStopCode::EssentialContainerExited)
    );
    assert_eq!(named(&task, "web").exit_code(), Some(5));
    assert_eq!(account.output(&task, "web").await, ["restarts 0"]);
}
