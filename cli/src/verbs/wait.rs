//! `bluegreen wait`: for a build that has pushed an image and wants to know what becomes of it.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bluegreen_release::{Record, Table};
use clap::{ArgGroup, Args};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::duration::duration;
use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::Pipeline;
use crate::say::Say;
use crate::screen::Screen;
use crate::status::version;
use crate::trouble::asked;
use crate::watch::{LOOK, Watch};
use crate::world::World;

/// A release that is waited for is among the newest.
const PAGE: usize = 10;
/// A file to which a step of a GitHub workflow appends what the run's page shows
/// (<https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary>).
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// For what, and for how long.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("which").required(true)))]
pub struct Wait {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    /// The newest release of the image with this digest, sha256:…
    #[arg(long, group = "which")]
    pub digest: Option<String>,
    /// The newest release of this tag.
    #[arg(long, group = "which")]
    pub tag: Option<String>,
    /// The release with this id.
    #[arg(long, group = "which")]
    pub release: Option<String>,
    /// Overlook releases that began longer ago than that, such as 10m, where the image may have been released
    /// before.
    #[arg(long, value_parser = duration)]
    pub since: Option<Duration>,
    /// How long to wait, such as 45m, for the release to begin and to end.
    #[arg(long, value_parser = duration, default_value = "1h")]
    pub timeout: Duration,
}

impl Wait {
    fn is_meant(&self, record: &Record) -> bool {
        match (&self.release, &self.digest) {
            (Some(name), _) => record.name() == name,
            (None, Some(digest)) => record.digest.as_ref() == Some(digest),
            (None, None) => record.tag == self.tag,
        }
    }

    fn called(&self) -> String {
        let Self {
            digest,
            tag,
            release,
            ..
        } = self;
        match (release, digest, tag) {
            (Some(name), ..) => format!("release {name}"),
            (None, Some(digest), _) => format!("a release of {digest}"),
            (None, None, tag) => format!("a release of {}", tag.as_deref().unwrap_or_default()),
        }
    }
}

/// Waits, and exits with the verdict.
///
/// # Errors
/// There is no pipeline, or AWS does not answer.
pub async fn run(world: &World, wanted: &Wait) -> Result<Exit> {
    // What a release says stands on stdout, the way to it beside.
    let aside = Say::to(std::io::stderr());
    let pipeline = Pipeline::find(world).await?;
    let began = Instant::now();
    let oldest = wanted.since.map(|since| {
        let now = Timestamp::now().as_millisecond();
        let since = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        bluegreen_release::rfc3339(now.saturating_sub(since))
    });
    let mut told = false;
    loop {
        let found = newest(&pipeline.table, wanted, oldest.as_deref()).await?;
        let left = wanted.timeout.saturating_sub(began.elapsed());
        match found {
            Some(record) if record.is_closed() => return conclude(world, wanted, &record),
            _ if left.is_zero() => {
                let what = match found {
                    Some(record) => format!("{} has not ended", record.name()),
                    None => format!("{} has not begun", wanted.called()),
                };
                let seconds = wanted.timeout.as_secs();
                let stack = wanted.stack.as_str();
                world.say.line(format!(
                    "{what} within {seconds} seconds. To see what is in progress: bluegreen status {stack}"
                ));
                return Ok(Exit::TimedOut);
            }
            Some(record) => {
                let watch = Watch {
                    stack: &wanted.stack,
                    execution: record.execution.as_deref(),
                    limit: Some(left),
                };
                let screen = Screen::plain(&aside);
                if watch.on(world, pipeline.clone(), screen).await? == Exit::Left {
                    return Ok(Exit::Left);
                }
            }
            None => {
                if !std::mem::replace(&mut told, true) {
                    aside.line(format!("Waiting for {} to begin", wanted.called()));
                }
                tokio::time::sleep(world.poll.min(LOOK)).await;
            }
        }
    }
}

async fn newest(table: &Table, wanted: &Wait, oldest: Option<&str>) -> Result<Option<Record>> {
    let mut records = table.records(wanted.stack.as_str()).in_pages_of(PAGE);
    while let Some(record) = records.next().await.map_err(asked)? {
        let started = record.started_at.as_deref().unwrap_or_default();
        if oldest.is_some_and(|oldest| started < oldest) {
            break;
        }
        if wanted.is_meant(&record) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

fn conclude(world: &World, wanted: &Wait, record: &Record) -> Result<Exit> {
    let cause = record.cause.as_deref().unwrap_or_default();
    world
        .say
        .line(format!("{}: {cause}", record.verdict).trim_end_matches([':', ' ']));
    if let Some(file) = std::env::var_os(SUMMARY) {
        append(Path::new(&file), &summary(wanted.stack.as_str(), record))?;
    }
    Ok(Exit::of(&record.verdict))
}

fn append(file: &Path, text: &str) -> Result<()> {
    let written = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("{SUMMARY}={} can not be written", file.display()))
}

/// A release in Markdown.
fn summary(stack: &str, record: &Record) -> String {
    let version = version(record).unwrap_or_default();
    let mut text = format!("### {stack}: `{version}` {}\n\n", record.verdict);
    let seconds = record.seconds.clone().unwrap_or_default();
    for (name, seconds) in [
        ("until its turn", seconds.until_turn),
        ("migration", seconds.migration),
        ("deployment", seconds.deployment),
        ("in all", seconds.total),
    ] {
        if let Some(seconds) = seconds {
            // Nothing fails to be written into a string.
            let _ = writeln!(text, "- {name}: {seconds:.0} s");
        }
    }
    if let Some(cause) = &record.cause {
        // Four more than any fence that a log may have.
        let _ = writeln!(
            text,
            "\n``````\n{}\n``````",
            cause.replace("``````", "`````")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use bluegreen_release::Seconds;

    use super::*;

    fn record() -> Record {
        Record {
            key: "release#2026-05-04T09:10:11.123Z#shop-v42".to_owned(),
            verdict: "rolledBack".to_owned(),
            tag: Some("v42".to_owned()),
            digest: Some("sha256:42".to_owned()),
            cause: Some("v42 was rolled back.\n```\nlog\n```".to_owned()),
            seconds: Some(Seconds {
                migration: Some(4.2),
                total: Some(93.0),
                ..Seconds::default()
            }),
            ..Record::default()
        }
    }

    #[test]
    fn a_release_is_meant_by_its_digest_its_tag_or_its_name() {
        let wait = |digest: Option<&str>, tag: Option<&str>, release: Option<&str>| Wait {
            stack: "shop".parse().unwrap(),
            digest: digest.map(str::to_owned),
            tag: tag.map(str::to_owned),
            release: release.map(str::to_owned),
            since: None,
            timeout: Duration::from_secs(1),
        };
        for (wanted, expected) in [
            (wait(Some("sha256:42"), None, None), true),
            (wait(Some("sha256:41"), None, None), false),
            (wait(None, Some("v42"), None), true),
            (wait(None, Some("v41"), None), false),
            (wait(None, None, Some("shop-v42")), true),
            (wait(None, None, Some("shop-v41")), false),
        ] {
            assert_eq!(wanted.is_meant(&record()), expected, "{wanted:?}");
        }
    }

    #[test]
    fn the_page_of_a_run_says_the_verdict_the_times_and_the_cause() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("summary.md");
        std::fs::write(&file, "before\n").unwrap();
        append(&file, &summary("shop", &record())).unwrap();
        let expected = "\
before
### shop: `v42` rolledBack

- migration: 4 s
- in all: 93 s

``````
v42 was rolled back.
```
log
```
``````
";
        assert_eq!(std::fs::read_to_string(file).unwrap(), expected);
    }
}
