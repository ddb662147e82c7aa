//! What ends a wait: an event, or where that is lost the next look.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use end_to_end::account::Account;
use end_to_end::application::Application;
use end_to_end::execution::Execution;
use local_aws::client::{ACCOUNT, REGION};
use sample::image::VersionSpec;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::released::{assert_runs, running};
use crate::turns::PATIENCE;

/// So late, in the time of the local AWS, that a wait has been ended by the next look long before.
const LATE: Duration = Duration::from_secs(600);
/// How long that is at most, in real time.
const LATE_PATIENCE: Duration = Duration::from_secs(180);

/// The event that ends the migration of a stack.
fn end_of_migration(stack: &str) -> Value {
    json!({
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change"],
        "detail": {"lastStatus": ["STOPPED"], "startedBy": [format!("bluegreen/{stack}")]},
    })
}

/// The events of the deployments of a service.
fn deployments_of(application: &Application<'_>) -> Value {
    let (cluster, service) = (application.cluster(), application.service());
    json!({
        "source": ["aws.ecs"],
        "detail-type": ["ECS Deployment State Change"],
        "resources": [format!("arn:aws:ecs:{REGION}:{ACCOUNT}:service/{cluster}/{service}")],
    })
}

async fn tries(execution: &Execution, state: &str) -> Result<usize> {
    Ok(execution.stay_in(state).await?.tries)
}

pub(crate) async fn every_wait_of_a_release_ends_by_an_event(account: &Account) -> Result<()> {
    let (application, _) = running(account, "awaited").await?;
    let image = VersionSpec::slow_migration(3).build(account.websvc())?;
    let execution = application.push_and_notice("v2", &image).await?;
    let end = execution.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    for state in ["TakeTurn", "WaitTask", "VerifyHealth"] {
        assert_eq!(tries(&execution, state).await?, 1, "{state}");
    }
    assert_runs(&application, &image.digest()).await
}

pub(crate) async fn a_lost_event_of_the_migrations_end_costs_no_more_than_the_next_look(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "unawaited").await?;
    let events = account.aws().events();
    let lost = events.matching(end_of_migration("unawaited"));
    let lost = lost.lose(1).await?;
    let meow = VersionSpec::slow_migration(2).build(account.websvc())?;
    let execution = application.push_and_notice("v2", &meow).await?;
    let end = execution.end().await?;

    assert_eq!(lost.struck().await?, 1);
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_eq!(tries(&execution, "WaitTask").await?, 2);
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(application.applied_migrations().await?, ["1", "2", "3"]);
    Ok(())
}

pub(crate) async fn an_event_of_the_migrations_end_that_comes_late_changes_nothing(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "belated").await?;
    let before = account.aws().calls().await?;
    let since = before.last().context("there were calls")?.time;
    let events = account.aws().events();
    let late = events.matching(end_of_migration("belated"));
    let late = late.deliver_late(1, LATE).await?;
    let meow = VersionSpec::slow_migration(2).build(account.websvc())?;
    let execution = application.push_and_notice("v2", &meow).await?;
    let end = execution.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_eq!(late.struck().await?, 1);
    assert!(tries(&execution, "WaitTask").await? > 1);

    let deadline = Instant::now() + LATE_PATIENCE;
    while !is_told(account, "belated", since).await? {
        ensure!(Instant::now() < deadline, "the late event did not come");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(application.stopped_migrations().await?, 2);
    let third = VersionSpec::meow()
        .version("3")
        .title("Woof")
        .build(account.websvc())?;
    let end = application.release("v3", &third).await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&application, &third.digest()).await
}

/// Whether the function that waits for the tasks of a stack was told of one since then, seconds since
/// 1970.
async fn is_told(account: &Account, stack: &str, since: f64) -> Result<bool> {
    let calls = account.aws().calls_since(since).await?;
    let told = calls.of("lambda", "Invoke").mentioning(stack).only(|call| {
        let function = call.request["FunctionName"].as_str().unwrap_or_default();
        let event = &call.request["Payload"]["detail-type"];
        function.contains("WaitTaskFunction") && event == "ECS Task State Change"
    });
    Ok(!told.is_empty())
}

pub(crate) async fn an_event_of_the_migrations_end_that_comes_twice_ends_one_wait(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "told-twice").await?;
    let events = account.aws().events();
    let twice = events.matching(end_of_migration("told-twice"));
    let twice = twice.deliver_twice(1).await?;
    let meow = VersionSpec::slow_migration(2).build(account.websvc())?;
    let execution = application.push_and_notice("v2", &meow).await?;
    let end = execution.end().await?;

    assert_eq!(twice.struck().await?, 1);
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_eq!(tries(&execution, "WaitTask").await?, 1);
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(application.applied_migrations().await?, ["1", "2", "3"]);
    Ok(())
}

pub(crate) async fn a_deployment_whose_events_are_lost_is_found_complete(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "unheard-of").await?;
    let events = account.aws().events();
    let lost = events.matching(deployments_of(&application));
    let lost = lost.lose(1_000).await?;
    let meow = VersionSpec::meow().build(account.websvc())?;
    let execution = application.push_and_notice("v2", &meow).await?;
    let end = execution.end().await?;

    assert!(lost.lift().await? > 0, "ECS has told nothing");
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let tries = tries(&execution, "VerifyHealth").await?;
    assert!(tries > 1, "{tries} looks");
    assert_runs(&application, &meow.digest()).await
}

pub(crate) async fn a_turn_is_handed_on_at_once(account: &Account) -> Result<()> {
    let (application, _) = running(account, "handed-on").await?;
    let slow = VersionSpec::slow_migration(8).build(account.websvc())?;
    let first = application.push_and_notice("v2", &slow).await?;
    first.reaches("WaitTask", PATIENCE).await?;
    let next = VersionSpec::meow().version("next").title("Next");
    let next = next.build(account.websvc())?;
    let second = application.push_and_notice("v3", &next).await?;
    account.waits_in_line("handed-on", &second).await?;

    let given_back = first.end().await?;
    assert_eq!(given_back.output["verdict"], "succeeded", "{given_back:?}");
    let end = second.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let stay = second.stay_in("TakeTurn").await?;
    let taken = stay.left.context("it has the turn")?;
    let after = taken.duration_since(given_back.at).as_secs_f64();
    assert!(after < 1.0, "{after} s");
    assert_runs(&application, &next.digest()).await
}

pub(crate) async fn the_turn_of_an_aborted_release_is_taken_at_once_where_no_call_of_it_runs(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "taken-over").await?;
    let slow = VersionSpec::slow_migration(15).build(account.websvc())?;
    let aborted = application.push_and_notice("v2", &slow).await?;
    aborted.reaches("WaitTask", PATIENCE).await?;
    let next = VersionSpec::meow().version("next").title("Next");
    let next = next.build(account.websvc())?;
    let execution = application.push_and_notice("v3", &next).await?;
    account.waits_in_line("taken-over", &execution).await?;
    let turn = account.turn("taken-over").await?;
    for name in ["changingBy", "changingUntil"] {
        assert_eq!(turn[name], Value::Null, "it has started the migration");
    }
    aborted.stop().await?;
    let stopped = aborted.end().await?.at;

    let end = execution.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let stay = execution.stay_in("TakeTurn").await?;
    let taken = stay.left.context("it has the turn")?;
    let after = taken.duration_since(stopped).as_secs_f64();
    assert!(after < 1.0, "{after} s");
    assert_runs(&application, &next.digest()).await
}
