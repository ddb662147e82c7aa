//! Events that are lost, or lead to nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use end_to_end::account::{Account, PIPELINE};
use end_to_end::alarm::State;
use jiff::Timestamp;
use local_aws::faults::Fault;
use sample::image::{VersionSpec, push_manifest};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::released::{assert_runs, running, running_with};

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn a_push_whose_event_was_lost_is_found_and_deployed(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "lost").await?;
    let pushes = account.aws().events().matching(json!({
        "source": ["aws.ecr"], "detail": {"repository-name": ["lost"]}
    }));
    let lost = pushes.lose(1).await?;
    let meow = VersionSpec::meow().build(account.websvc())?;
    application.push("v2", &meow).await?;

    let execution = account
        .execution_of_lost_push("lost", &meow.digest())
        .await?;
    assert_eq!(lost.struck().await?, 1);
    let input = execution.input().await?;
    assert_eq!(input["startedBy"], "reconciler: lost push of v2");
    let end = execution.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(application.heading().await?, "MEOW MEOW");
    // The first image's and this one, however often the reconciler looks.
    assert_eq!(account.executions("lost").await?.len(), 2);
    Ok(())
}

/// An image is promoted by a tag that it gets later, and ECR does not tell when.
pub(crate) async fn a_tag_that_an_older_image_got_later_is_found_and_deployed(
    account: &Account,
) -> Result<()> {
    let only_versions = [("ImageTags", "v*")];
    let (application, _) = running_with(account, "promoted", &only_versions).await?;
    let meow = VersionSpec::meow().build(account.websvc())?;
    application.push("build-3", &meow).await?;
    let pushed = Timestamp::now();
    let other = VersionSpec::posts()
        .title("Others")
        .build(account.websvc())?;
    let end = application.release("v2", &other).await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    // A look that is too early might have missed the image.
    let old = pushed + jiff::Span::new().seconds(31);
    account.is_looked_at_after("promoted", old).await?;

    let pushes = account.aws().events().matching(json!({
        "source": ["aws.ecr"], "detail": {"repository-name": ["promoted"]}
    }));
    let lost = pushes.lose(1).await?;
    push_manifest(account.config(), "promoted", Some("v3"), &meow).await?;
    let execution = account
        .execution_of_lost_push("promoted", &meow.digest())
        .await?;
    assert_eq!(lost.struck().await?, 1);
    let input = execution.input().await?;
    assert_eq!(input["startedBy"], "reconciler: lost push of v3");
    let end = execution.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(application.heading().await?, "MEOW MEOW");
    assert_eq!(account.executions("promoted").await?.len(), 3);
    Ok(())
}

pub(crate) async fn an_event_that_cannot_be_processed_is_kept_and_raises_an_alarm(
    account: &Account,
) -> Result<()> {
    let (application, posts) = running(account, "unheard").await?;
    let alarm = account.alarm(PIPELINE, "DeadLetterAlarm").await?;
    let denied = account
        .aws()
        .fail(
            Fault::of("states", "StartExecution")
                .with("AccessDeniedException")
                .by("*OnEcrPush*")
                .where_request_contains(json!({"input": "*\"stack\":\"unheard\"*"})),
        )
        .await?;
    let meow = VersionSpec::meow().build(account.websvc())?;
    application.push("v2", &meow).await?;

    let deadline = Instant::now() + PATIENCE;
    let is_the_push =
        |letter: &Value| letter["requestPayload"]["detail"]["image-digest"] == meow.digest();
    while !account.dead_letters().await?.iter().any(is_the_push) {
        ensure!(Instant::now() < deadline, "the event is not in the queue");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    alarm.is(&State::Alarm).await?;
    // Once, and twice more as Lambda does.
    assert_eq!(denied.lift().await?, 3);
    assert_runs(&application, &posts.digest()).await
}
