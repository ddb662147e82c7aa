//! Updates of the application's stack that have nothing to do with a release.

use anyhow::Result;
use end_to_end::account::Account;
use end_to_end::application::Application;
use local_aws::faults::Fault;
use sample::image::VersionSpec;
use serde_json::json;

use crate::released::{assert_runs, release_version_2, running};

/// Updates the stack, and finds that what ECS has started for that is this image and no other.
async fn assert_an_update_keeps(
    application: &Application<'_>,
    digest: &str,
    parameter: (&str, &str),
) -> Result<()> {
    let before = application.started_tasks().await?;
    application.update_stack(&[parameter]).await?;
    assert_runs(application, digest).await?;
    let mut started = application.started_tasks().await?;
    started.retain(|task, _| !before.contains_key(task));
    assert!(!started.is_empty(), "the update has replaced no task");
    for image in started.values() {
        assert!(image.ends_with(digest), "{image} was started");
    }
    Ok(())
}

pub(crate) async fn an_update_of_the_stack_keeps_the_image_that_was_deployed_last(
    account: &Account,
) -> Result<()> {
    let (application, posts) = running(account, "kept").await?;
    let meow = release_version_2(account, &application).await?;
    let visitor = application.visitor();
    visitor.sees("MEOW MEOW").await?;
    assert_an_update_keeps(&application, &meow.digest(), ("StopTimeoutSeconds", "20")).await?;
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    let headings: Vec<_> = visits.by_heading.keys().collect();
    assert_eq!(headings, ["MEOW MEOW"]);

    let rollback = json!({"stack": "kept", "action": "rollback"});
    let end = account.start_execution(rollback).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_an_update_keeps(&application, &posts.digest(), ("StopTimeoutSeconds", "10")).await
}

pub(crate) async fn an_image_that_could_not_be_written_for_the_stack_is_told_and_the_next_release_writes_it(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "unwritten").await?;
    let of_the_stack = json!({"Name": "/bluegreen/unwritten/image"});
    let denied = Fault::of("ssm", "PutParameter").where_request_contains(of_the_stack);
    let denied = account
        .aws()
        .fail(denied.with("AccessDeniedException"))
        .await?;
    let meow = VersionSpec::meow().build(account.websvc())?;

    let execution = application.push_and_notice("v2", &meow).await?;
    let end = execution.end().await?;
    assert_eq!(end.error, "ImageParameterNotWritten", "{end:?}");
    denied.lift().await?;
    for part in ["/bluegreen/unwritten/image", "AccessDenied", &meow.digest()] {
        assert!(end.cause.contains(part), "{part}: {end:?}");
    }
    assert_runs(&application, &meow.digest()).await?;
    let records = account.releases("unwritten").await?;
    assert_eq!(records[0]["verdict"], "succeeded");

    let again = json!({"stack": "unwritten", "tag": "v2"});
    let end = account.start_execution(again).await?.end().await?;
    assert_eq!(end.output["verdict"], "nothingToDeploy", "{end:?}");
    assert_an_update_keeps(&application, &meow.digest(), ("StopTimeoutSeconds", "20")).await
}
