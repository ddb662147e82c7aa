//! What a release has left at work that was not told what became of it, or was given up.

use anyhow::{Context, Result};
use end_to_end::account::Account;
use end_to_end::application::Application;
use local_aws::faults::{Fault, Moment};
use sample::image::VersionSpec;
use serde_json::json;

use crate::refused::{Running, assert_failed};
use crate::released::{assert_runs, running};
use crate::strategies::running_blue_green;
use crate::turns::PATIENCE;

/// Another revision in the family of the migration's task, as whoever works at the application may
/// register it at any time.
async fn register_another_revision(account: &Account, application: &Application<'_>) -> Result<()> {
    let ecs = aws_sdk_ecs::Client::new(account.config());
    let current = application.task_definition().await?;
    let described = ecs.describe_task_definition().task_definition(current);
    let described = described.send().await?;
    let definition = described.task_definition().context("no task definition")?;
    let family = definition.family().context("no family")?;
    ecs.register_task_definition()
        .family(format!("{family}-bluegreen-migration"))
        .set_container_definitions(Some(definition.container_definitions().to_vec()))
        .set_cpu(definition.cpu().map(str::to_owned))
        .set_memory(Some("2048".to_owned()))
        .set_network_mode(definition.network_mode().cloned())
        .set_requires_compatibilities(Some(definition.requires_compatibilities().to_vec()))
        .set_execution_role_arn(definition.execution_role_arn().map(str::to_owned))
        .send()
        .await?;
    Ok(())
}

pub(crate) async fn a_migration_whose_start_nobody_heard_of_is_found_and_not_started_again(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "started-twice").await?;
    let crash = Fault::crash_of("*-RunMigrationFunction-*", Moment::AfterItsWork);
    let crash = crash.where_event_mentions("started-twice").times(1);
    let crash = account.aws().fail(crash).await?;
    let start = Fault::of("ecs", "RunTask").where_request_mentions(application.cluster());
    let start = account
        .aws()
        .fail(start.after_effect().held().times(1))
        .await?;
    let before = account.aws().calls().await?;

    let meow = VersionSpec::meow().build(account.websvc())?;
    let execution = application.push_and_notice("v2", &meow).await?;
    start.strikes(PATIENCE).await?;
    // The second try runs a revision after this one: to ECS it is not the same request again.
    register_another_revision(account, &application).await?;
    start.lift().await?;
    let end = execution.end().await?;

    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_eq!(crash.lift().await?, 1);
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(application.applied_migrations().await?, ["1", "2"]);
    // ECS was asked twice to start the task, and has started one.
    let since = before.last().context("there were calls")?.time;
    let calls = account.aws().calls_since(since).await?;
    let starts = calls.of("ecs", "RunTask").mentioning(application.cluster());
    assert_eq!(starts.len(), 2, "{starts:?}");
    let asks = calls.of("ecs", "DescribeTasks").only(|call| {
        let caller = call.caller.as_deref().unwrap_or_default();
        caller.contains("RunMigrationFunction")
    });
    assert!(
        asks.iter().next().is_some(),
        "the task of the first try was not asked for"
    );
    let migrations = application.stopped_migrations().await?;
    assert_eq!(migrations, 2, "the first image's, and one of v2");
    Ok(())
}

pub(crate) async fn a_migration_that_was_left_running_is_stopped_when_it_takes_too_long(
    account: &Account,
) -> Result<()> {
    let running = Running::new(account, "left-migrating").await?;
    let application = &running.application;
    let slow = VersionSpec::slow_migration(300).build(account.websvc())?;
    let given_up = application.push_and_notice("v2", &slow).await?;
    given_up.reaches("WaitTask", PATIENCE).await?;
    given_up.stop().await?;

    // Its own migration would be a second one beside the first.
    let bad = VersionSpec::bad_migration().build(account.websvc())?;
    let execution = application.push_and_notice("v3", &bad).await?;
    let end = execution.end().await?;

    assert_failed(&end, "MigrationFailed", &["exit"]);
    execution.stay_in("SettleRelease").await?;
    let reasons = application.reasons_of_stopped_migrations().await?;
    let of_the_dead = |reason: &&String| reason.contains("the release that started this task");
    let stopped = reasons.iter().filter(of_the_dead).count();
    assert_eq!(stopped, 1, "{reasons:?}");
    running.assert_untouched().await
}

pub(crate) async fn a_deployment_that_was_left_in_progress_is_stopped_when_the_stack_goes_back(
    account: &Account,
) -> Result<()> {
    // Longer than what a dead release's functions are waited for, a minute of real time.
    let (application, posts) = running_blue_green(account, "left-deploying", "20").await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;
    let meow = VersionSpec::meow().build(account.websvc())?;
    let given_up = application.push_and_notice("v2", &meow).await?;
    visitor.sees("MEOW MEOW").await?;
    given_up.stop().await?;

    let input = json!({"stack": "left-deploying", "action": "rollback"});
    let end = account.start_execution(input).await?.end().await?;

    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&application, &posts.digest()).await?;
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.latest, "Posts");
    Ok(())
}
