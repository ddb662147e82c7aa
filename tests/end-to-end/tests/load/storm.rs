//! Fifty pushes to one stack.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use end_to_end::account::Account;
use end_to_end::execution::{End, Execution};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use sample::image::{Image, VersionSpec, push_manifest, upload};
use tokio::time::{Instant, sleep};

/// AWS's own pace: a release that lasts shorter than the storm of pushes makes room for the next.
pub(crate) const SPEED: f64 = 1.0;

const STACK: &str = "storm";
const PUSHES: usize = 50;
const WITHIN: Duration = Duration::from_secs(10);
/// How many people push at the same time.
const AT_ONCE: usize = 10;
/// Events tell their time to the second, and of two pushes within one the execution that starts
/// later counts as the newer. So the last push has a second of its own.
const LAST: Duration = Duration::from_millis(1200);
const DEPLOYMENTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn of_fifty_pushes_within_ten_seconds_the_last_one_runs(
    account: &Account,
) -> Result<()> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let application = account.create_application(STACK, &posts).await?;
    application.migrate_first_image().await?;
    let before = application.deployed_images().await?.len();
    let images = images(account).await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;

    let begun = Instant::now();
    push_all(account, &images).await?;
    let pushed = begun.elapsed();
    ensure!(pushed < WITHIN, "the pushes took {pushed:?}");
    let ends = ends(&executions(account).await?).await?;
    let ended = begun.elapsed();

    let title = format!("Push {PUSHES}");
    visitor.sees(&title).await?;
    let visits = visitor.leave().await;
    let deployed = application.deployed_images().await?.split_off(before);
    let verdicts = count(ends.values().map(|end| end.output["verdict"].to_string()));
    eprintln!(
        "{PUSHES} pushes in {:.1} s: {} deployments, verdicts {verdicts:?}, the last execution ended \
         after {:.1} s; {} requests, {} failed",
        pushed.as_secs_f64(),
        deployed.len(),
        ended.as_secs_f64(),
        visits.sent(),
        visits.failed,
    );
    assert!(deployed.len() <= DEPLOYMENTS, "{deployed:?}");
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.latest, title, "{visits:?}");
    let state = application.service_state().await?;
    let newest = images.last().context("there are images")?.digest();
    assert!(state.image.ends_with(&newest), "{state:?}");
    assert_eq!((&*state.rollout, state.deployments), ("COMPLETED", 1));
    assert_eq!(state.running_images, [state.image]);
    for (digest, end) in &ends {
        let was_deployed = deployed.iter().any(|image| image.ends_with(digest));
        assert_true(end, was_deployed);
    }
    assert_eq!(ends[&newest].output["verdict"], "succeeded");
    Ok(())
}

/// An image for each push, of which the registry has the layers already.
async fn images(account: &Account) -> Result<Vec<Image>> {
    let mut images = Vec::with_capacity(PUSHES);
    for number in 1..=PUSHES {
        let title = format!("Push {number}");
        let image = VersionSpec::meow().title(&title).build(account.websvc())?;
        upload(account.aws(), &image).await?;
        images.push(image);
    }
    Ok(images)
}

async fn push_all(account: &Account, images: &[Image]) -> Result<()> {
    let push = async |number: usize| {
        let tag = format!("v{}", number + 2);
        push_manifest(account.config(), STACK, Some(&tag), &images[number]).await
    };
    stream::iter(0..PUSHES - 1)
        .map(push)
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    sleep(LAST).await;
    push(PUSHES - 1).await?;
    Ok(())
}

/// The executions of all pushes, by the digests.
async fn executions(account: &Account) -> Result<BTreeMap<String, Execution>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = account.executions_with_input(STACK).await?.into_iter();
        let of_push = all.filter_map(|(execution, input)| {
            let digest = input["pushedAt"].as_str().and(input["digest"].as_str());
            Some((digest?.to_owned(), execution))
        });
        let found: BTreeMap<_, _> = of_push.collect();
        if found.len() == PUSHES {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{} executions", found.len());
        sleep(Duration::from_millis(500)).await;
    }
}

async fn ends(executions: &BTreeMap<String, Execution>) -> Result<BTreeMap<String, End>> {
    let mut ends = BTreeMap::new();
    for (digest, execution) in executions {
        ends.insert(digest.clone(), execution.end().await?);
    }
    Ok(ends)
}

/// Whoever says that it succeeded was deployed; whoever gave way was not, and says to whom or why.
fn assert_true(end: &End, was_deployed: bool) {
    let verdict = end.output["verdict"].as_str().unwrap_or_default();
    let reason = end.output["reason"].as_str().unwrap_or_default();
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    match verdict {
        "succeeded" => assert!(was_deployed, "{end:?}"),
        "superseded" => assert!(!was_deployed && reason.contains("newer release"), "{end:?}"),
        "stale" => assert!(!was_deployed && reason.contains("later push"), "{end:?}"),
        _ => panic!("{end:?}"),
    }
}

fn count(verdicts: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for verdict in verdicts {
        *counts.entry(verdict).or_default() += 1;
    }
    counts
}
