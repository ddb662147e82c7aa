//! From what was measured to a table, and whether what must hold does.

use std::time::Duration;

use bench::Verdict;
use bench::memory::{Memory, Resident};

use crate::visitors::Visits;

/// All that was measured.
pub(crate) struct Measured {
    pub(crate) services: usize,
    pub(crate) speed: f64,
    /// Making what the services need.
    pub(crate) preparation: Duration,
    /// From the first CreateService until all deployments were successful.
    pub(crate) running: Duration,
    pub(crate) updates: [Update; 2],
    /// From the first DeleteService until no task was left.
    pub(crate) deleted: Duration,
    pub(crate) visits: Visits,
    pub(crate) tasks: usize,
    /// When all services were gone.
    pub(crate) after: Memory,
}

/// All services updated at once.
pub(crate) struct Update {
    /// From the first UpdateService until all deployments were successful.
    pub(crate) took: Duration,
    /// Each UpdateService.
    pub(crate) calls: Vec<Duration>,
    /// Each DescribeServices of ten services meanwhile.
    pub(crate) describes: Vec<Duration>,
    /// At its end.
    pub(crate) memory: Memory,
}

/// How much more memory a process may have after the second update than after the first. Not
/// quite none: stopped tasks are remembered for an hour of AWS, calls for those who ask for them,
/// and an allocator does not give back every page.
const GROWTH_LIMIT: f64 = 1.25;

/// The table as Markdown.
pub(crate) fn table(measured: &Measured) -> String {
    let visits = &measured.visits;
    let each = |tell: fn(&Update) -> String| measured.updates.each_ref().map(tell).join("; ");
    let rows = [
        ("services", measured.services.to_string()),
        ("tasks started", measured.tasks.to_string()),
        (
            "until listeners were made, s",
            seconds(measured.preparation),
        ),
        ("until all were running, s", seconds(measured.running)),
        (
            "until all were updated, s",
            each(|update| seconds(update.took)),
        ),
        ("until all were deleted, s", seconds(measured.deleted)),
        (
            "UpdateService of all at once, p50 / p95, ms",
            each(|update| percentiles(&update.calls)),
        ),
        (
            "DescribeServices of ten meanwhile, p50 / p95, ms",
            each(|update| percentiles(&update.describes)),
        ),
        (
            "requests / of them failed",
            format!("{} / {}", visits.seen, visits.failed),
        ),
        (
            "local-aws: memory after each update, MB",
            each(|update| megabytes(update.memory.local_aws.now)),
        ),
        (
            "moto: memory after each update, MB",
            each(|update| megabytes(update.memory.moto.now)),
        ),
        (
            "local-aws: memory at most / when all are deleted, MB",
            memory(measured.after.local_aws),
        ),
        (
            "moto: memory at most / when all are deleted, MB",
            memory(measured.after.moto),
        ),
    ];
    let mut text = format!(
        "| at {} times AWS's pace; two updates | |\n|---|---|\n",
        measured.speed
    );
    for (name, value) in rows {
        text.push_str(&format!("| {name} | {value} |\n"));
    }
    text
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}

fn percentiles(durations: &[Duration]) -> String {
    let at = |percent: usize| {
        let milliseconds = percentile(durations, percent).map(|found| found.as_secs_f64() * 1e3);
        milliseconds.map_or_else(|| "–".to_owned(), |found| format!("{found:.1}"))
    };
    format!("{} / {}", at(50), at(95))
}

fn percentile(durations: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

fn memory(resident: Resident) -> String {
    format!("{} / {}", megabytes(resident.peak), megabytes(resident.now))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// What must hold, beside that all came to its end.
pub(crate) fn verdicts(measured: &Measured) -> Vec<Verdict> {
    let visits = &measured.visits;
    let why = visits.failures.first();
    let why = why.map_or_else(String::new, |why| format!(", as this: {why}"));
    let grows = |name: &str, of: fn(&Memory) -> Resident| {
        let [first, second] = measured
            .updates
            .each_ref()
            .map(|update| of(&update.memory).now);
        let factor = second as f64 / first as f64;
        Verdict {
            holds: factor <= GROWTH_LIMIT,
            sentence: format!(
                "after the second update {name} has at most {GROWTH_LIMIT} times the memory that \
                 it had after the first; it has {factor:.2} times as much"
            ),
        }
    };
    vec![
        Verdict {
            holds: visits.failed == 0,
            sentence: format!(
                "no request failed; {} of {} did{why}",
                visits.failed, visits.seen
            ),
        },
        Verdict {
            holds: measured.tasks == 3 * measured.services,
            sentence: format!(
                "no task had to be replaced: {} deployments started {}",
                3 * measured.services,
                measured.tasks
            ),
        },
        grows("local-aws", |memory| memory.local_aws),
        grows("moto", |memory| memory.moto),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(memory: u64) -> Update {
        let resident = Resident {
            now: memory,
            peak: memory,
        };
        Update {
            took: Duration::from_secs(20),
            calls: vec![Duration::from_millis(5)],
            describes: vec![Duration::from_millis(1)],
            memory: Memory {
                local_aws: resident,
                moto: resident,
            },
        }
    }

    fn measured(second: u64, failed: usize, tasks: usize) -> Measured {
        let mut visits = Visits::default();
        (visits.seen, visits.failed) = (1000, failed);
        Measured {
            services: 4,
            speed: 20.0,
            preparation: Duration::from_secs(1),
            running: Duration::from_secs(5),
            updates: [update(100), update(second)],
            deleted: Duration::from_secs(1),
            visits,
            tasks,
            after: update(90).memory,
        }
    }

    fn holds(measured: &Measured) -> Vec<bool> {
        let verdicts = verdicts(measured);
        verdicts.iter().map(|verdict| verdict.holds).collect()
    }

    #[test]
    fn failed_requests_replaced_tasks_and_growing_memory_are_found() {
        assert_eq!(holds(&measured(125, 0, 12)), [true, true, true, true]);
        assert_eq!(holds(&measured(126, 1, 13)), [false, false, false, false]);
    }

    #[test]
    fn percentiles_are_of_the_sorted_durations() {
        let durations: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentiles(&durations), "50.0 / 95.0");
        assert_eq!(percentiles(&[]), "– / –");
    }

    #[test]
    fn a_cell_tells_of_both_updates() {
        let table = table(&measured(100, 0, 12));
        assert!(
            table.contains("| until all were updated, s | 20.0; 20.0 |"),
            "{table}"
        );
    }
}
