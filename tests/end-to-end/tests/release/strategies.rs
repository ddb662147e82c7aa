//! Releases by the strategies that shift requests from one set of tasks to another.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_ecs::types::{
    DeploymentConfiguration, DeploymentLifecycleHook, DeploymentLifecycleHookStage,
    DeploymentLifecycleHookTargetType, DeploymentStrategy,
};
use end_to_end::account::Account;
use end_to_end::application::{Application, WATCHED};
use end_to_end::execution::End;
use end_to_end::visitor::Visits;
use sample::image::{Image, VersionSpec};
use serde_json::{Value, json};

use crate::released::assert_runs;

/// Answers to requests that were under way when the listener changed, on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(2);

/// An application that was created with a strategy and runs version 1.
async fn running_by<'a>(
    account: &'a Account,
    strategy: &str,
    parameters: &[(&str, &str)],
) -> Result<(Application<'a>, Image)> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    // Ports of test listeners would be those of other applications too.
    let mut all = vec![("Strategy", strategy), ("TestListenerPort", "0")];
    all.extend(parameters);
    let name = strategy.to_lowercase().replace('_', "-");
    let application = account.create_application_with(&name, &posts, &all).await?;
    application.migrate_first_image().await?;
    Ok((application, posts))
}

/// An application that runs version 1 and is deployed blue/green, with so many minutes of ECS's time
/// until a deployment is over.
pub(crate) async fn running_blue_green<'a>(
    account: &'a Account,
    name: &str,
    bake_minutes: &str,
) -> Result<(Application<'a>, Image)> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let parameters = [
        ("Strategy", "BLUE_GREEN"),
        ("TestListenerPort", "0"),
        ("BakeTimeMinutes", bake_minutes),
    ];
    let application = account
        .create_application_with(name, &posts, &parameters)
        .await?;
    application.migrate_first_image().await?;
    Ok((application, posts))
}

/// Releases version 2, and tells what somebody saw who read meanwhile.
async fn release_version_2(application: &Application<'_>, meow: &Image) -> Result<Visits> {
    let visitor = application.visitor();
    visitor.sees("Posts").await?;
    let end = application.release("v2", meow).await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    visitor.sees("MEOW MEOW").await?;
    let visits = visitor.leave().await;
    assert_runs(application, &meow.digest()).await?;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.latest, "MEOW MEOW");
    Ok(visits)
}

/// What the release `v3` fails with where ECS itself took it back.
const BY_ECS: &str = "DeploymentRolledBack";

/// The release `v3` ended as one that was taken back, by all that tells of it.
async fn assert_taken_back(
    account: &Account,
    application: &Application<'_>,
    (end, visits): (&End, &Visits),
    error: &str,
    before: &Image,
) -> Result<()> {
    let verdict = (&*end.status, &*end.error);
    assert_eq!(verdict, ("FAILED", error), "{end:?}");
    assert_runs(application, &before.digest()).await?;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.latest, "MEOW MEOW", "{visits:?}");
    let records = account.releases(application.name()).await?;
    let of = |tag: &str| records.iter().find(|record| record["tag"] == tag);
    let taken_back = of("v3").context("v3 left no record")?;
    assert_eq!(taken_back["verdict"], "rolledBack");
    assert_eq!(taken_back["error"], error);
    assert_eq!(
        of("v2").map(|it| &it["verdict"]),
        Some(&Value::from("succeeded"))
    );
    Ok(())
}

/// Releases a version that never serves, over version 2, and finds that nobody saw it.
async fn is_never_seen(
    account: &Account,
    application: &Application<'_>,
    bad: &VersionSpec,
    error: &str,
    before: &Image,
) -> Result<()> {
    let visitor = application.visitor();
    visitor.sees("MEOW MEOW").await?;
    let image = bad.build(account.websvc())?;
    let end = application.release("v3", &image).await?;
    let visits = visitor.leave().await;
    assert_taken_back(account, application, (&end, &visits), error, before).await?;
    let seen: Vec<_> = visits.by_heading.keys().collect();
    assert_eq!(seen, ["MEOW MEOW"]);
    Ok(())
}

pub(crate) async fn blue_green_changes_all_requests_at_once_and_a_crashing_version_gets_none(
    account: &Account,
) -> Result<()> {
    let bake = [("BakeTimeMinutes", "1")];
    let (application, _) = running_by(account, "BLUE_GREEN", &bake).await?;
    let meow = VersionSpec::meow().build(account.websvc())?;

    let visits = release_version_2(&application, &meow).await?;
    let mixed = visits.mixed_for("MEOW MEOW");
    assert!(mixed < AT_ONCE, "{mixed:?} of both versions");

    let bad = VersionSpec::crashing().title("Crashing");
    is_never_seen(account, &application, &bad, BY_ECS, &meow).await
}

/// By its reference ECS's circuit breaker acts in rolling updates only: a version that crashes would
/// be started again and again until the deployment's time is over.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentCircuitBreaker.html>
pub(crate) async fn a_version_that_crashes_is_taken_back_where_ecs_does_not_count_its_failures(
    account: &Account,
) -> Result<()> {
    let bake = [("BakeTimeMinutes", "1")];
    let (application, _) = running_by(account, "BLUE_GREEN", &bake).await?;
    let meow = VersionSpec::meow().build(account.websvc())?;
    release_version_2(&application, &meow).await?;

    let bad = VersionSpec::crashing().title("Crashing");
    is_never_seen(account, &application, &bad, "DeploymentStalled", &meow).await?;

    let records = account.releases(application.name()).await?;
    let told = records[0]["cause"].as_str().unwrap_or_default();
    assert!(told.contains("did not become healthy"), "{told}");
    Ok(())
}

/// How long the deployment of the story below may take, the time that it pauses aside.
const DEPLOYMENT: Duration = Duration::from_secs(30);

/// A person is asked at a hook, and answers when the time of a deployment has long passed.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html>
pub(crate) async fn a_release_pauses_at_a_hook_until_a_person_lets_it_go_on(
    account: &Account,
) -> Result<()> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let test_port = account.aws().reserve_port().await?.to_string();
    let limit = DEPLOYMENT.as_secs().to_string();
    let parameters = [
        ("Strategy", "BLUE_GREEN"),
        ("BakeTimeMinutes", "0"),
        ("TestListenerPort", &*test_port),
        ("TestListenerCidr", "127.0.0.0/8"),
        ("DeploymentTimeoutSeconds", &*limit),
    ];
    let application = account
        .create_application_with("pauses", &posts, &parameters)
        .await?;
    application.migrate_first_image().await?;
    let hook = DeploymentLifecycleHook::builder()
        .target_type(DeploymentLifecycleHookTargetType::Pause)
        .lifecycle_stages(DeploymentLifecycleHookStage::PostTestTrafficShift);
    let configuration = DeploymentConfiguration::builder()
        .strategy(DeploymentStrategy::BlueGreen)
        .bake_time_in_minutes(0)
        .lifecycle_hooks(hook.build());
    let configured = application.configure_deployments(configuration.build());
    configured.await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;

    let meow = VersionSpec::meow().build(account.websvc())?;
    let execution = application.push_and_notice("v2", &meow).await?;
    let awaits = account.what_a_release_awaits("pauses").await?;
    // Nobody tells that this time is over.
    tokio::time::sleep(DEPLOYMENT + AT_ONCE).await;
    assert_eq!(execution.ended().await?, None);
    assert_eq!(application.heading().await?, "Posts");
    let command = awaits.split_once("aws ").context("no command")?.1;
    let command = command.split_once(". ").context("no end of a command")?.0;
    account.cli().run(command.split(' ')).await?;

    let end = execution.end().await?;
    let visits = visitor.leave().await;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(visits.failed, 0, "{visits:?}");
    let records = account.releases("pauses").await?;
    assert_eq!(records[0]["verdict"], "succeeded");
    assert_eq!(records[0].get("awaits"), None, "{records:?}");
    Ok(())
}

pub(crate) async fn a_blue_green_release_is_known_to_run_and_taken_back_by_a_person(
    account: &Account,
) -> Result<()> {
    let (application, posts) = running_blue_green(account, "known", "1").await?;
    let meow = VersionSpec::meow().build(account.websvc())?;
    release_version_2(&application, &meow).await?;
    let start = async |input: Value| account.start_execution(input).await?.end().await;

    let again = start(json!({"stack": application.name(), "tag": "v2"})).await?;
    assert_eq!(again.output["verdict"], "nothingToDeploy", "{again:?}");

    let rollback = json!({"stack": application.name(), "action": "rollback"});
    let back = start(rollback).await?;
    assert_eq!(back.output["verdict"], "succeeded", "{back:?}");
    assert_runs(&application, &posts.digest()).await?;
    assert_eq!(application.heading().await?, "Posts");
    Ok(())
}

pub(crate) async fn a_canary_takes_a_share_first_and_an_alarm_takes_it_back(
    account: &Account,
) -> Result<()> {
    let parameters = [
        ("CanaryPercent", "25"),
        ("CanaryBakeTimeMinutes", "2"),
        ("BakeTimeMinutes", "1"),
        WATCHED,
    ];
    let (application, _) = running_by(account, "CANARY", &parameters).await?;
    let meow = VersionSpec::meow().build(account.websvc())?;

    let visits = release_version_2(&application, &meow).await?;
    let shares = visits.shares_while_mixed("MEOW MEOW", 1);
    assert!((0.15..0.35).contains(&shares[0]), "{shares:?}");

    let visitor = application.visitor();
    visitor.sees("MEOW MEOW").await?;
    let third = VersionSpec::meow().version("3").title("Woof");
    let third = third.build(account.websvc())?;
    let execution = application.push_and_notice("v3", &third).await?;
    visitor.sees("Woof").await?;
    let alarm = application.alarm("ErrorAlarm").await?;
    alarm.raise().await?;
    let end = execution.end().await?;
    let visits = visitor.leave().await;
    assert_taken_back(account, &application, (&end, &visits), BY_ECS, &meow).await?;
    assert!(visits.by_heading["Woof"] < visits.by_heading["MEOW MEOW"]);
    // The alarm asks for a rollback of its own, which comes when all is done.
    let end = account
        .execution_of_alarm("canary", alarm.name(), 1)
        .await?
        .end()
        .await?;
    assert_eq!(end.output["verdict"], "nothingToRollBack", "{end:?}");
    assert_runs(&application, &meow.digest()).await
}

pub(crate) async fn a_linear_release_takes_over_step_by_step_and_an_unhealthy_one_never_does(
    account: &Account,
) -> Result<()> {
    let parameters = [
        ("LinearStepPercent", "25"),
        ("LinearStepBakeTimeMinutes", "1"),
        ("BakeTimeMinutes", "0"),
    ];
    let (application, _) = running_by(account, "LINEAR", &parameters).await?;
    let meow = VersionSpec::meow().build(account.websvc())?;

    let visits = release_version_2(&application, &meow).await?;
    let shares = visits.shares_while_mixed("MEOW MEOW", 3);
    assert!(shares.is_sorted() && shares.len() == 3, "{shares:?}");
    assert!(shares[0] < 0.4 && shares[2] > 0.6, "{shares:?}");

    let bad = VersionSpec::never_healthy().title("Unhealthy");
    is_never_seen(account, &application, &bad, BY_ECS, &meow).await
}
