//! `bluegreen stats`: how well a stack is released to, by the records of its releases.
//!
//! The four figures are those of DORA (<https://dora.dev/guides/dora-metrics-four-keys/>), as far as a record
//! of releases can tell them. Each definition stands beside its figure.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use bluegreen_contract::RequestedAction;
use bluegreen_release::{Record, Seconds, verdict};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::columns::columns;
use crate::duration::duration;
use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::Pipeline;
use crate::trouble::asked;
use crate::world::World;

const WEEK: f64 = 7.0 * 86_400.0;

/// Of which releases.
#[derive(Args, Clone, Debug)]
pub struct Stats {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    /// Of releases that began no longer ago than that, such as 90d.
    #[arg(long, value_parser = duration, default_value = "30d")]
    pub since: Duration,
    /// Print them as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Shows them.
///
/// # Errors
/// There is no pipeline, or AWS does not answer.
pub async fn run(world: &World, wanted: &Stats) -> Result<Exit> {
    let pipeline = Pipeline::find(world).await?;
    let since = i64::try_from(wanted.since.as_millis()).unwrap_or(i64::MAX);
    let from = Timestamp::now().as_millisecond().saturating_sub(since);
    let from = bluegreen_release::rfc3339(from);
    let mut all = pipeline.table.records(wanted.stack.as_str());
    let mut records = Vec::new();
    while let Some(record) = all.next().await.map_err(asked)? {
        if record.started_at.as_deref().unwrap_or_default() < from.as_str() {
            break;
        }
        records.push(record);
    }
    let figures = figures(&records, wanted.since);
    if wanted.json {
        world.say.line(serde_json::to_string_pretty(&figures)?);
    } else {
        world.say.line(page(&figures));
    }
    Ok(Exit::Done)
}

/// What the records of some time tell.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    days: f64,
    /// Releases by their verdicts, rollbacks by hand and by alarms apart.
    releases: usize,
    deployments: usize,
    deployments_per_week: f64,
    /// Of each deployment from its push, in seconds.
    lead_time: Option<Percentiles>,
    /// Of the deployments, those that were rolled back or left a service broken.
    failed: usize,
    /// A part of 1.
    change_failure_rate: Option<f64>,
    /// From the first change of a service until an earlier release served again, in seconds.
    recovery_time: Option<Percentiles>,
    phases: Phases,
}

/// Of the deployments that succeeded, in seconds.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Phases {
    until_turn: Option<Percentiles>,
    migration: Option<Percentiles>,
    deployment: Option<Percentiles>,
    total: Option<Percentiles>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    count: usize,
}

impl Percentiles {
    /// By the nearest rank; `None` of nothing.
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let rank = |percent: usize| {
            values
                .get((count * percent).div_ceil(100).checked_sub(1)?)
                .copied()
        };
        Some(Self {
            p50: rank(50)?,
            p90: rank(90)?,
            count,
        })
    }
}

/// Whether a release has brought an image into service, for however long.
fn is_deployment(record: &Record) -> bool {
    let deployed = record.verdict == verdict::SUCCEEDED && record.image.is_some();
    record.action == RequestedAction::Deploy && (deployed || is_failed(record))
}

/// Whether it has changed services and was taken back, or was not found healthy.
fn is_failed(record: &Record) -> bool {
    let undone = record.rolled_back_by.is_some() || record.verdict == verdict::ROLLED_BACK;
    let broken = record.touched.is_some()
        && record.is_closed()
        && matches!(record.verdict.as_str(), "failed" | verdict::ABANDONED);
    undone || broken
}

fn figures(records: &[Record], since: Duration) -> Figures {
    let deployments: Vec<&Record> = records.iter().filter(|it| is_deployment(it)).collect();
    let succeeded: Vec<&Record> = deployments
        .iter()
        .copied()
        .filter(|record| record.verdict == verdict::SUCCEEDED)
        .collect();
    let failed: Vec<&Record> = deployments
        .iter()
        .copied()
        .filter(|record| is_failed(record))
        .collect();
    let by_key: HashMap<&str, &Record> = records.iter().map(|it| (it.key.as_str(), it)).collect();
    let recovery = failed.iter().filter_map(|record| recovery(record, &by_key));
    let of = |part: fn(&Seconds) -> Option<f64>| {
        Percentiles::of(succeeded.iter().filter_map(|it| part(it.seconds.as_ref()?)))
    };
    let count = |number: usize| u32::try_from(number).map_or(f64::MAX, f64::from);
    let whole = count(deployments.len());
    Figures {
        days: since.as_secs_f64() / 86_400.0,
        releases: records.len(),
        deployments: deployments.len(),
        deployments_per_week: whole * WEEK / since.as_secs_f64().max(1.0),
        lead_time: Percentiles::of(succeeded.iter().filter_map(|it| lead_time(it))),
        failed: failed.len(),
        change_failure_rate: (!deployments.is_empty()).then(|| count(failed.len()) / whole),
        recovery_time: Percentiles::of(recovery),
        phases: Phases {
            until_turn: of(|seconds| seconds.until_turn),
            migration: of(|seconds| seconds.migration),
            deployment: of(|seconds| seconds.deployment),
            total: of(|seconds| seconds.total),
        },
    }
}

fn lead_time(record: &Record) -> Option<f64> {
    between(record.pushed_at.as_deref()?, record.finished_at.as_deref()?)
}

fn recovery(record: &Record, records: &HashMap<&str, &Record>) -> Option<f64> {
    let restored = match &record.rolled_back_by {
        Some(key) => *records.get(key.as_str())?,
        None if record.verdict == verdict::ROLLED_BACK => record,
        None => return None,
    };
    let seconds = record.seconds.clone().unwrap_or_default();
    let before = seconds.until_turn.unwrap_or_default() + seconds.migration.unwrap_or_default();
    let whole = between(
        record.started_at.as_deref()?,
        restored.finished_at.as_deref()?,
    )?;
    Some((whole - before).max(0.0))
}

/// Seconds from one time to another, both RFC 3339.
fn between(from: &str, to: &str) -> Option<f64> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    Some(to.duration_since(from).as_secs_f64())
}

fn page(figures: &Figures) -> String {
    let told = |percentiles: &Option<Percentiles>| match percentiles {
        Some(Percentiles { p50, p90, .. }) => {
            format!("{} (90 of 100 within {})", length(*p50), length(*p90))
        }
        None => "unknown".to_owned(),
    };
    let rate = figures.change_failure_rate.map_or_else(
        || "unknown".to_owned(),
        |rate| {
            format!(
                "{:.0} % ({} of {})",
                rate * 100.0,
                figures.failed,
                figures.deployments
            )
        },
    );
    let phases = &figures.phases;
    let rows = [
        (
            "Deployment frequency",
            format!("{:.1} a week", figures.deployments_per_week),
            "releases that brought an image into service",
        ),
        (
            "Lead time for changes",
            told(&figures.lead_time),
            "from the push of an image until it was found healthy",
        ),
        (
            "Change failure rate",
            rate,
            "of these releases, those that were rolled back or left a service broken",
        ),
        (
            "Failed deployment recovery time",
            told(&figures.recovery_time),
            "from the first change of a service until an earlier release served again",
        ),
        (
            "Until the turn",
            told(&phases.until_turn),
            "of releases that succeeded",
        ),
        ("Migration", told(&phases.migration), ""),
        ("Deployment", told(&phases.deployment), ""),
        ("In all", told(&phases.total), ""),
    ];
    let rows =
        rows.map(|(name, value, definition)| [name.to_owned(), value, definition.to_owned()]);
    format!(
        "{} releases in {:.0} days\n\n{}",
        figures.releases,
        figures.days,
        columns(rows)
    )
}

/// Seconds as a person says them.
fn length(seconds: f64) -> String {
    match seconds {
        _ if seconds < 120.0 => format!("{seconds:.0} s"),
        _ if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, verdict: &str, minutes: (u32, u32)) -> Record {
        let at = |minute: u32| format!("2026-05-04T09:{minute:02}:00.000Z");
        Record {
            key: format!("release#{}#{name}", at(minutes.0)),
            verdict: verdict.to_owned(),
            image: Some("registry/shop@sha256:1".to_owned()),
            started_at: Some(at(minutes.0)),
            finished_at: Some(at(minutes.1)),
            pushed_at: Some("2026-05-04T09:00:00Z".to_owned()),
            touched: Some(0),
            seconds: Some(Seconds {
                until_turn: Some(10.0),
                migration: Some(20.0),
                deployment: Some(30.0),
                total: Some(60.0),
            }),
            ..Record::default()
        }
    }

    fn records() -> Vec<Record> {
        let rollback = Record {
            action: RequestedAction::Rollback,
            ..record("rollback", "succeeded", (30, 32))
        };
        let taken_back = Record {
            rolled_back_by: Some(rollback.key.clone()),
            ..record("v3", "rolledBack", (10, 12))
        };
        let untouched = Record {
            touched: None,
            ..record("v4", "failed", (40, 41))
        };
        vec![
            untouched,
            rollback,
            record("v5", "rolledBack", (20, 24)),
            taken_back,
            record("v2", "succeeded", (4, 6)),
            record("v1", "succeeded", (1, 2)),
        ]
    }

    #[test]
    fn the_four_figures_follow_from_the_records() {
        let figures = figures(&records(), Duration::from_secs(7 * 86_400));
        assert_eq!(
            (figures.releases, figures.deployments, figures.failed),
            (6, 4, 2)
        );
        assert_eq!(figures.deployments_per_week, 4.0);
        assert_eq!(figures.change_failure_rate, Some(0.5));
        let lead = figures.lead_time.unwrap();
        assert_eq!((lead.p50, lead.p90, lead.count), (120.0, 360.0, 2));
        // v5 by itself: four minutes without its turn and its migration; v3 by the rollback: 22 minutes.
        let recovery = figures.recovery_time.unwrap();
        assert_eq!((recovery.p50, recovery.p90), (210.0, 1290.0));
        assert_eq!(figures.phases.migration.unwrap().p50, 20.0);
    }

    #[test]
    fn a_failed_migration_is_no_failed_deployment() {
        let untouched = &records()[0];
        assert!(!is_deployment(untouched));
    }

    #[test]
    fn of_no_release_nothing_is_known() {
        let figures = figures(&[], Duration::from_secs(86_400));
        assert_eq!(figures.change_failure_rate, None);
        let page = page(&figures);
        assert!(page.starts_with("0 releases in 1 days"), "{page}");
        assert_eq!(page.matches("unknown").count(), 7, "{page}");
    }

    #[test]
    fn the_page_has_each_definition_beside_its_figure() {
        let page = page(&figures(&records(), Duration::from_secs(7 * 86_400)));
        for words in [
            "4.0 a week",
            "2 min (90 of 100 within 6 min)",
            "50 % (2 of 4)",
            "from the push of an image until it was found healthy",
            "4 min (90 of 100 within 22 min)",
        ] {
            assert!(page.contains(words), "{page}");
        }
    }
}
