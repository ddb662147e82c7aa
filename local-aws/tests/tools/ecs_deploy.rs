//! fabfuel's ecs-deploy (<https://github.com/fabfuel/ecs-deploy>).

use std::process::Output;

use aws_sdk_ecs::types::TaskDefinitionStatus;

use crate::program::{program, run};
use crate::visitors::Visitors;
use crate::world::World;

/// Longer than any deployment here takes, in seconds.
const PATIENCE: &str = "80";

/// `ecs deploy` of an image, with more options.
async fn deploy(world: &World, image: &str, options: &[&str]) -> Output {
    let mut command = program("ecs").await;
    command
        .args(["deploy", world.name, world.name, "--image", "web", image])
        .args(options);
    run(&mut command).await
}

pub(crate) async fn ecs_deploy_brings_a_new_image_into_service_without_losing_a_request() {
    let world = World::create("ecs-deploy").await;
    let (old, url) = world.serve_version_1().await;
    let image = world.push_server("2").await;

    let visitors = Visitors::of(&url);
    let output = deploy(&world, &image, &["--timeout", PATIENCE]).await;
    assert!(output.status.success(), "{output:?}");
    // The tool is content when ECS is.
    assert_eq!(world.deployments().await, ["SUCCESSFUL", "SUCCESSFUL"]);
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "2");
    let seen = visitors.leave().await;
    assert!(seen.keys().eq(["1", "2"].iter()), "{seen:?}");

    let service = world.service().await;
    let new = world
        .task_definition(service.task_definition().unwrap())
        .await;
    let old = world.task_definition(&old).await;
    assert_eq!(new.revision(), 2);
    assert_eq!(old.status(), Some(&TaskDefinitionStatus::Inactive));
    let mut container = new.container_definitions()[0].clone();
    assert_eq!(container.image(), Some(image.as_str()));
    // Of the old container nothing else is lost.
    container.image = old.container_definitions()[0].image.clone();
    assert_eq!([container], old.container_definitions());
    world.delete_service().await;
}

/// Deploys a bad image, of which visitors see nothing. Answers what the tool said of its errors.
async fn roll_back(world: World, bad: &str, timeout: &str) -> String {
    let (old, url) = world.serve_version_1().await;
    let visitors = Visitors::of(&url);
    let output = deploy(&world, bad, &["--rollback", "--timeout", timeout]).await;
    let seen = visitors.leave().await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(seen.keys().eq(["1"].iter()), "{seen:?}");

    let service = world.service().await;
    assert_eq!(service.task_definition(), Some(old.as_str()), "{output:?}");
    assert_eq!(service.running_count(), 2);
    // To ECS this is no rollback: the tool has deployed twice.
    assert_eq!(
        world.deployments().await,
        ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]
    );
    let bad = world.task_definition(&format!("{}:2", world.name)).await;
    assert_eq!(bad.status(), Some(&TaskDefinitionStatus::Inactive));
    world.delete_service().await;
    String::from_utf8(output.stderr).unwrap()
}

pub(crate) async fn ecs_deploy_rolls_back_a_version_of_which_ecs_says_that_it_does_not_start() {
    let world = World::create("ecs-not-starting").await;
    // Of tasks that ran, and ended, ECS would not say this.
    let bad = world.push_what_cannot_start().await;
    let errors = roll_back(world, &bad, PATIENCE).await;
    let event = "(service ecs-not-starting) is unable to consistently start tasks successfully.";
    assert!(errors.contains(event), "{errors}");
}

pub(crate) async fn ecs_deploy_rolls_back_a_version_that_is_not_healthy_in_time() {
    let world = World::create("ecs-unhealthy").await;
    let bad = world.push_server("bad").await;
    let errors = roll_back(world, &bad, "3").await;
    assert!(errors.contains("due to timeout"), "{errors}");
}
