//! The AWS CLI, by itself and in a script.

use aws_sdk_ecs::types::{DesiredStatus, TaskStopCode};

use crate::program::{aws, program, run};
use crate::visitors::Visitors;
use crate::world::{NETWORK, World};

/// Runs a task by the CLI, and answers its ARN.
async fn run_task(cluster: &str) -> String {
    aws(&format!(
        "ecs run-task --cluster {cluster} --task-definition {cluster} --launch-type FARGATE \
         --network-configuration {NETWORK} --started-by somebody \
         --query tasks[0].taskArn --output text"
    ))
    .await
}

pub(crate) async fn the_aws_cli_runs_a_task_waits_for_it_and_reads_its_exit_code() {
    let world = World::create("cli-run").await;
    world
        .define(&world.push("#!/bin/sh\nexit 7", &[]).await)
        .await;
    let arn = run_task("cli-run").await;
    // The waiter looks every six seconds; this way, once.
    let task = world.task(&arn, "STOPPED").await;
    assert_eq!(task.started_by(), Some("somebody"));
    aws(&format!(
        "ecs wait tasks-stopped --cluster cli-run --tasks {arn}"
    ))
    .await;
    let code = aws(&format!(
        "ecs describe-tasks --cluster cli-run --tasks {arn} \
         --query tasks[0].containers[0].exitCode"
    ))
    .await;
    assert_eq!(code, "7");
}

pub(crate) async fn the_aws_cli_finds_a_task_and_stops_it() {
    let world = World::create("cli-stop").await;
    world.define(&world.push_server("1").await).await;
    let arn = run_task("cli-stop").await;
    world.task(&arn, "RUNNING").await;
    let list = "ecs list-tasks --cluster cli-stop --query taskArns --output text";
    assert_eq!(aws(list).await, arn);

    aws(&format!(
        "ecs stop-task --cluster cli-stop --task {arn} --reason enough"
    ))
    .await;
    assert_eq!(aws(list).await, "");
    let stopped = format!("{list} --desired-status STOPPED");
    assert_eq!(aws(&stopped).await, arn);
    let task = world.task(&arn, "STOPPED").await;
    assert_eq!(task.stop_code(), Some(&TaskStopCode::UserInitiated));
    assert_eq!(task.stopped_reason(), Some("enough"));
}

pub(crate) async fn the_aws_cli_deploys_a_service_anew_and_finds_it_stable() {
    let world = World::create("cli-anew").await;
    let (definition, url) = world.serve_version_1().await;
    let before = world.tasks().await;
    let visitors = Visitors::of(&url);
    aws("ecs update-service --cluster cli-anew --service cli-anew --force-new-deployment").await;
    // The waiter looks every fifteen seconds; this way, once.
    world.deployed().await;
    aws("ecs wait services-stable --cluster cli-anew --services cli-anew").await;

    let seen = visitors.leave().await;
    assert!(seen.keys().eq(["1"].iter()), "{seen:?}");
    assert_eq!(world.deployments().await, ["SUCCESSFUL", "SUCCESSFUL"]);
    let after = world.tasks().await;
    assert_eq!(after.len(), 2);
    assert!(!after.iter().any(|task| before.contains(task)), "{after:?}");
    let service = world.service().await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    world.delete_service().await;
}

/// Runs the script with a migration that ends with `code`. Answers the script's exit code.
async fn migrate(name: &'static str, code: i32) -> Option<i32> {
    let world = World::create(name).await;
    let migration = format!("#!/bin/sh\nexit {code}");
    world.define(&world.push(&migration, &[]).await).await;
    let mut command = program("sh").await;
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/tools/migrate.sh"
        ))
        .env("CLUSTER_NAME", name)
        .env("MIGRATIONS", name)
        .env("NETWORK", NETWORK);
    let output = run(&mut command).await;

    let started = world.ecs.list_tasks().cluster(name).started_by("deploy");
    let started = started.desired_status(DesiredStatus::Stopped);
    let started = started.send().await.unwrap();
    let [task] = started.task_arns() else {
        panic!("one migration: {started:?}, {output:?}");
    };
    let task = world.task(task, "STOPPED").await;
    assert_eq!(task.containers()[0].exit_code(), Some(code));
    output.status.code()
}

pub(crate) async fn the_migration_script_of_the_talk_succeeds_with_its_migration() {
    assert_eq!(migrate("script-good", 0).await, Some(0));
}

pub(crate) async fn the_migration_script_of_the_talk_fails_with_its_migration() {
    assert_eq!(migrate("script-bad", 1).await, Some(1));
}
