//! From releases to a table, and whether what must hold does.

use std::collections::BTreeMap;

use bench::Verdict;

use crate::calls::{Asked, Look, WAITING};

/// The most calls of ECS that a release takes, heartbeats apart.
const CALLS_LIMIT: usize = 15;
/// The most that one takes for each minute waited, which is a heartbeat by default.
const CALLS_A_MINUTE_LIMIT: usize = 3;
/// So often at least each function has to have looked for that to be known.
const LOOKS: usize = 3;

/// All that was measured.
pub(crate) struct Measured {
    pub(crate) speed: f64,
    /// Releases that waited for many heartbeats, few at a time.
    pub(crate) patient: Vec<Release>,
    pub(crate) burst: Burst,
}

/// Releases that were begun as fast as the machine begins them.
pub(crate) struct Burst {
    pub(crate) releases: Vec<Release>,
    pub(crate) repositories: usize,
    /// From the first push until the executions of the last one had begun, in seconds.
    pub(crate) pushing: f64,
    /// The most executions that were seen to run at a time.
    pub(crate) at_once: usize,
    /// How often ECS throttled functions, by operation.
    pub(crate) throttled: BTreeMap<String, usize>,
}

pub(crate) struct Release {
    pub(crate) end: End,
    pub(crate) asked: Asked,
}

/// How a release ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum End {
    /// It never began.
    #[default]
    Missing,
    Running,
    Succeeded {
        /// From its own start.
        seconds: f64,
        /// When, in seconds from the first push.
        at: f64,
    },
    /// With what there is to say of it.
    Failed(String),
}

/// The table as Markdown.
pub(crate) fn table(measured: &Measured) -> String {
    let burst = &measured.burst;
    let releases = &burst.releases;
    let times = releases.iter().filter_map(times);
    let (seconds, ends): (Vec<f64>, Vec<f64>) = times.unzip();
    let last = ends.into_iter().reduce(f64::max).unwrap_or(f64::NAN);
    let of_all = |of: fn(&Asked) -> usize| {
        let counts = releases.iter().map(|release| of(&release.asked) as f64);
        let counts: Vec<f64> = counts.collect();
        distribution(&counts, 0)
    };
    let looks = |releases: &[Release]| {
        let of_function = WAITING.map(|function| {
            let looks = looks_of(releases, function);
            let most = looks.iter().map(|look| look.calls).max().unwrap_or(0);
            format!("{function} {} / {most}", looks.len())
        });
        of_function.join("; ")
    };
    let rows = [
        ("stacks", releases.len().to_string()),
        ("repositories", burst.repositories.to_string()),
        (
            "until the last one had begun, s",
            format!("{:.1}", burst.pushing),
        ),
        ("releases at a time, most", burst.at_once.to_string()),
        ("succeeded", succeeded(releases).to_string()),
        ("until the last one had succeeded, s", format!("{last:.1}")),
        (
            "from a release's start to its end, s: median / p95 / most",
            distribution(&seconds, 1),
        ),
        (
            "calls of ECS by a release: median / p95 / most",
            of_all(Asked::calls),
        ),
        (
            "throttled calls of a release: median / p95 / most",
            of_all(|asked| asked.throttled),
        ),
        ("throttled calls, all", tally(&burst.throttled)),
        ("heartbeats / calls at most", looks(releases)),
        (
            "releases that waited long: heartbeats / calls at most",
            looks(&measured.patient),
        ),
    ];
    let rows = rows.map(|(name, value)| format!("| {name} | {value} |\n"));
    format!(
        "| at {} times AWS's pace | |\n|---|---|\n{}",
        measured.speed,
        rows.concat()
    )
}

fn times(release: &Release) -> Option<(f64, f64)> {
    match release.end {
        End::Succeeded { seconds, at } => Some((seconds, at)),
        _ => None,
    }
}

fn succeeded(releases: &[Release]) -> usize {
    releases.iter().filter_map(times).count()
}

fn looks_of(releases: &[Release], function: &str) -> Vec<Look> {
    let looks = releases.iter().flat_map(|release| &release.asked.looks);
    let of_function = looks.filter(|look| look.function == function);
    of_function.copied().collect()
}

/// How often there is each.
fn tally(counts: &BTreeMap<String, usize>) -> String {
    let each = counts.iter().map(|(name, count)| format!("{count} {name}"));
    match counts.is_empty() {
        true => "none".to_owned(),
        false => each.collect::<Vec<_>>().join(", "),
    }
}

/// Median, 95th percentile and most.
fn distribution(values: &[f64], decimals: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100);
        let value = sorted.get(rank.saturating_sub(1));
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
    };
    format!("{} / {} / {}", at(50), at(95), at(100))
}

/// What must hold.
pub(crate) fn verdicts(measured: &Measured) -> Vec<Verdict> {
    let (burst, patient) = (&measured.burst.releases, &measured.patient);
    vec![
        all_succeed("releases that begin at once", burst),
        all_succeed("releases that wait long", patient),
        few_calls(burst.iter().chain(patient)),
        few_calls_a_minute(burst, patient),
    ]
}

fn all_succeed(what: &str, releases: &[Release]) -> Verdict {
    let succeeded = succeeded(releases);
    let others = releases.iter().map(|release| &release.end);
    let mut others = others.filter(|end| !matches!(end, End::Succeeded { .. }));
    // One that failed tells more than one that is not there.
    let example = others
        .clone()
        .find(|end| matches!(end, End::Failed(_)))
        .or_else(|| others.next());
    let why = example.map_or_else(String::new, |end| format!(", and one did not: {end:?}"));
    Verdict {
        // Without a release nothing holds.
        holds: succeeded == releases.len() && succeeded > 0,
        sentence: format!(
            "all {} {what} succeed; {succeeded} did{why}",
            releases.len()
        ),
    }
}

fn few_calls<'a>(releases: impl Iterator<Item = &'a Release>) -> Verdict {
    let most = releases
        .map(|release| &release.asked)
        .max_by_key(|asked| asked.calls());
    let told = most.map_or_else(String::new, |most| {
        format!("{} ({})", most.calls(), tally(&most.answered))
    });
    Verdict {
        holds: most.is_some_and(|most| most.calls() <= CALLS_LIMIT),
        sentence: format!(
            "a release takes at most {CALLS_LIMIT} calls of ECS beside heartbeats; the most were {told}"
        ),
    }
}

fn few_calls_a_minute(burst: &[Release], patient: &[Release]) -> Verdict {
    let fewest = WAITING.map(|function| looks_of(patient, function).len());
    let fewest = fewest.into_iter().min().unwrap_or_default();
    let releases = burst.iter().chain(patient);
    let looks = releases.flat_map(|release| &release.asked.looks);
    let most = looks.map(|look| look.calls).max().unwrap_or_default();
    Verdict {
        holds: fewest >= LOOKS && most <= CALLS_A_MINUTE_LIMIT,
        sentence: format!(
            "a heartbeat, which is a minute by default, takes at most {CALLS_A_MINUTE_LIMIT} calls of \
             ECS; the most were {most}, and each function looked at least {fewest} times"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(calls: usize, looks: &[usize]) -> Release {
        let look = |calls: &usize| {
            WAITING.map(|function| Look {
                function,
                calls: *calls,
            })
        };
        Release {
            end: End::Succeeded {
                seconds: 10.0,
                at: 12.0,
            },
            asked: Asked {
                answered: BTreeMap::from([("RollBack UpdateService".to_owned(), calls)]),
                throttled: 40,
                looks: looks.iter().flat_map(look).collect(),
            },
        }
    }

    fn measured(burst: Vec<Release>, patient: Vec<Release>) -> Measured {
        Measured {
            speed: 10.0,
            patient,
            burst: Burst {
                releases: burst,
                repositories: 1,
                pushing: 2.0,
                at_once: 2,
                throttled: BTreeMap::from([("RunTask".to_owned(), 80)]),
            },
        }
    }

    fn holds(burst: Vec<Release>, patient: Vec<Release>) -> Vec<bool> {
        let verdicts = verdicts(&measured(burst, patient)).into_iter();
        verdicts.map(|verdict| verdict.holds).collect()
    }

    fn patient() -> Vec<Release> {
        vec![release(15, &[3, 3, 3])]
    }

    #[test]
    fn fifteen_calls_and_three_a_heartbeat_are_allowed_and_no_more() {
        let burst = || vec![release(15, &[]), release(10, &[3])];
        assert_eq!(holds(burst(), patient()), [true, true, true, true]);
        let many = [burst(), vec![release(16, &[])]];
        assert!(!holds(many.into_iter().flatten().collect(), patient())[2]);
        assert!(!holds(burst(), vec![release(16, &[3, 3, 3])])[2]);
        assert!(!holds(burst(), vec![release(15, &[3, 4, 3])])[3]);
        assert!(!holds(vec![release(15, &[4])], patient())[3]);
    }

    #[test]
    fn the_release_with_the_most_calls_is_told() {
        let burst = vec![release(7, &[]), release(20, &[])];
        let verdict = &verdicts(&measured(burst, patient()))[2];
        let expected = "the most were 20 (20 RollBack UpdateService)";
        assert!(verdict.sentence.ends_with(expected), "{}", verdict.sentence);
    }

    #[test]
    fn a_function_that_hardly_ever_looked_proves_nothing() {
        let burst = || vec![release(15, &[])];
        assert!(!holds(burst(), vec![release(15, &[3, 3])])[3]);
        let mut one_only = release(15, &[3, 3, 3]);
        let looks = &mut one_only.asked.looks;
        looks.retain(|look| look.function == WAITING[0]);
        assert!(!holds(burst(), vec![one_only])[3]);
    }

    #[test]
    fn every_release_has_to_succeed_and_the_failure_is_told() {
        let ended = |end: End| Release {
            end,
            ..release(15, &[])
        };
        let failed = End::Failed("too slow".to_owned());
        for others in [
            vec![End::Missing],
            vec![End::Running],
            vec![End::Running, failed.clone()],
        ] {
            let told = others.last().cloned().unwrap_or_default();
            let releases = others.into_iter().map(ended);
            let releases = releases.chain([release(15, &[])]).collect();
            let verdict = &verdicts(&measured(releases, patient()))[0];
            assert!(!verdict.holds);
            let expected = format!("1 did, and one did not: {told:?}");
            assert!(
                verdict.sentence.ends_with(&expected),
                "{}",
                verdict.sentence
            );
        }
    }

    #[test]
    fn without_a_release_nothing_holds() {
        assert_eq!(holds(vec![], vec![]), [false, false, false, false]);
    }

    #[test]
    fn the_table_tells_how_the_counts_are_spread() {
        let mut releases: Vec<_> = (1..=20).map(|calls| release(calls, &[])).collect();
        releases[0].end = End::Running;
        let table = table(&measured(releases, patient()));
        for row in [
            "| succeeded | 19 |",
            "| until the last one had succeeded, s | 12.0 |",
            "| calls of ECS by a release: median / p95 / most | 10 / 19 / 20 |",
            "| throttled calls, all | 80 RunTask |",
            "| releases that waited long: heartbeats / calls at most | WaitTask 3 / 3; VerifyHealth 3 / 3 |",
        ] {
            assert!(table.contains(row), "{row}: {table}");
        }
    }
}
