//! Releases that reach the visitors.

use anyhow::Result;
use aws_sdk_ecs::types::{
    DeploymentConfiguration, DeploymentEarlySuccessCriteria, ServiceRevisionCleanup,
};
use end_to_end::account::Account;
use end_to_end::application::{Application, ServiceState, Settings};
use sample::image::{Image, VersionSpec};

/// More tasks than are ever tried.
const FOR_EVER: usize = 10_000;

/// Creates an application that runs version 1, and answers version 1's image as well.
pub(crate) async fn running<'a>(
    account: &'a Account,
    name: &str,
) -> Result<(Application<'a>, Image)> {
    running_with(account, name, &[]).await
}

/// The same with further parameters of `infra/cluster.yml`.
pub(crate) async fn running_with<'a>(
    account: &'a Account,
    name: &str,
    parameters: &[(&str, &str)],
) -> Result<(Application<'a>, Image)> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let application = account
        .create_application_with(name, &posts, parameters)
        .await?;
    application.migrate_first_image().await?;
    Ok((application, posts))
}

/// Pushes version 2 as `v2`, waits until it is released, and answers its image.
pub(crate) async fn release_version_2(
    account: &Account,
    application: &Application<'_>,
) -> Result<Image> {
    let meow = VersionSpec::meow().build(account.websvc())?;
    let end = application.release("v2", &meow).await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    Ok(meow)
}

/// The service is at rest, and everything it runs is this image of this application.
pub(crate) async fn assert_runs(application: &Application<'_>, digest: &str) -> Result<()> {
    let state = application.service_state().await?;
    assert!(
        state
            .image
            .ends_with(&format!("/{}@{digest}", application.name())),
        "{digest} should run: {state:?}"
    );
    let at_rest = ServiceState {
        running_images: vec![state.image.clone()],
        image: state.image.clone(),
        deployments: 1,
        rollout: "COMPLETED".to_owned(),
        running: 2,
        desired: 2,
    };
    assert_eq!(state, at_rest);
    // A schedule or `run-task` that names the family alone runs the same.
    let (latest, current) = (
        application.latest_of_its_family().await?,
        application.task_definition().await?,
    );
    assert_eq!(latest, current);
    Ok(())
}

pub(crate) async fn a_pushed_image_is_migrated_deployed_and_verified(
    account: &Account,
) -> Result<()> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let application = account.create_application("by-push", &posts).await?;
    application.migrate_first_image().await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;

    let meow = VersionSpec::meow().build(account.websvc())?;
    let execution = application.push_and_notice("v2", &meow).await?;
    let end = execution.end().await?;

    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(end.output["verdict"], "succeeded");
    assert_eq!(end.output["digest"], meow.digest());
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(application.heading().await?, "MEOW MEOW");
    assert_eq!(application.applied_migrations().await?, ["1", "2"]);
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.latest, "MEOW MEOW");
    assert_eq!(visits.by_heading.len(), 2, "{visits:?}");
    Ok(())
}

pub(crate) async fn a_release_is_started_by_hand(account: &Account) -> Result<()> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let takes_no_push = [("ImageTags", "release-*")];
    let application = account
        .create_application_with("by-hand", &posts, &takes_no_push)
        .await?;
    application.migrate_first_image().await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;
    let meow = VersionSpec::meow().build(account.websvc())?;
    application.push("v2", &meow).await?;

    let execution = account
        .start_execution(serde_json::json!({ "stack": "by-hand", "tag": "v2" }))
        .await?;
    let end = execution.end().await?;

    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(application.heading().await?, "MEOW MEOW");
    // The first image's migration and this one; the push itself, whose tag the stack does not
    // take, started none.
    assert_eq!(account.executions("by-hand").await?.len(), 2);
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    Ok(())
}

pub(crate) async fn a_release_by_hand_of_what_runs_already_changes_nothing(
    account: &Account,
) -> Result<()> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let application = account.create_application("again", &posts).await?;
    application.migrate_first_image().await?;
    let before = application.task_definition().await?;

    let execution = account
        .start_execution(serde_json::json!({ "stack": "again", "digest": posts.digest() }))
        .await?;
    let end = execution.end().await?;

    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(end.output["verdict"], "nothingToDeploy", "{end:?}");
    assert_eq!(application.task_definition().await?, before);
    assert_runs(&application, &posts.digest()).await?;
    Ok(())
}

/// API_TrustedExecutionConfiguration: ECS has the member, and the SDK that the functions are built with
/// has it not.
pub(crate) async fn what_the_sdk_does_not_know_of_a_task_definition_survives_a_release(
    account: &Account,
) -> Result<()> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let settings = Settings {
        of_task_definitions: "TrustedExecutionConfiguration: {IsolationMode: ISOLATED_SANDBOX}",
        ..Settings::default()
    };
    let application = account
        .create_application_as("isolated", &posts, settings)
        .await?;
    application.migrate_first_image().await?;
    let first = application.task_definition().await?;
    let first = application.described(&first).await?;

    let meow = release_version_2(account, &application).await?;

    assert_runs(&application, &meow.digest()).await?;
    let current = application.task_definition().await?;
    let current = application.described(&current).await?;
    let image = current["containerDefinitions"][0]["image"].clone();
    let of_migration = application.described("isolated-web-bluegreen-migration");
    let of_migration = of_migration.await?;
    assert_eq!(of_migration["containerDefinitions"][0]["image"], image);
    for revision in [&first, &current, &of_migration] {
        let isolation = &revision["trustedExecutionConfiguration"]["isolationMode"];
        assert_eq!(isolation, "ISOLATED_SANDBOX", "{revision}");
    }
    // Nor is anything else another than before, but the image.
    let mut unchanged = first.clone();
    unchanged["containerDefinitions"][0]["image"] = image;
    for made_by_ecs in ["taskDefinitionArn", "revision", "registeredAt"] {
        unchanged[made_by_ecs] = current[made_by_ecs].clone();
    }
    assert_eq!(current, unchanged);
    Ok(())
}

/// Half of the tasks are success for ECS, the other half finds no capacity, and the tasks of version 1
/// drain for a while.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/early-success-criteria.html>
pub(crate) async fn a_release_is_over_when_ecs_calls_a_part_of_its_tasks_a_success(
    account: &Account,
) -> Result<()> {
    let parameters = [
        ("DeregistrationDelaySeconds", "300"),
        ("HealthCheckIntervalSeconds", "30"),
    ];
    let (application, _) = running_with(account, "early", &parameters).await?;
    let criteria = DeploymentEarlySuccessCriteria::builder()
        .enable(true)
        .healthy_percent(50)
        .source_service_revision_cleanup(ServiceRevisionCleanup::Deferred);
    // One task gives way to one, so that the second one is started when the first is healthy.
    let configuration = DeploymentConfiguration::builder()
        .minimum_healthy_percent(50)
        .maximum_percent(100)
        .early_success_criteria(criteria.build());
    let configured = application.configure_deployments(configuration.build());
    configured.await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;

    let meow = VersionSpec::meow().build(account.websvc())?;
    let execution = application.push_and_notice("v2", &meow).await?;
    application.starts_a_task_of(&meow.digest()).await?;
    let aws = account.aws();
    aws.lack_capacity(application.cluster(), FOR_EVER).await?;
    let end = execution.end().await?;

    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let reason = end.output["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("1 of 2 tasks"), "{end:?}");
    let state = application.service_state().await?;
    assert!(state.image.ends_with(&meow.digest()), "{state:?}");
    assert_eq!((&*state.rollout, state.desired), ("COMPLETED", 2));
    visitor.sees("MEOW MEOW").await?;
    // It is known to run, whatever of version 1 still drains.
    let again = serde_json::json!({ "stack": "early", "tag": "v2" });
    let end = account.start_execution(again).await?.end().await?;
    assert_eq!(end.output["verdict"], "nothingToDeploy", "{end:?}");
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    Ok(())
}
