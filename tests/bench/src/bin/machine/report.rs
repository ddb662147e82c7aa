//! From releases to a table, and whether what must hold does.

use bench::Verdict;

/// The most states that a happy release with a migration enters.
const STATES_LIMIT: usize = 16;
/// The most calls of ECS that one takes.
const ECS_CALLS_LIMIT: usize = 15;
/// From the end of what a state waits for to the next state, in seconds.
const MEDIAN_LIMIT: f64 = 0.5;
const P95_LIMIT: f64 = 1.0;

/// What was measured of a happy release with a migration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    /// States that it entered.
    pub(crate) states: usize,
    /// What Step Functions charges: each state that was entered, and each retry.
    pub(crate) transitions: usize,
    /// Calls of ECS by the pipeline's functions.
    pub(crate) ecs_calls: usize,
    /// From the first state to the end.
    pub(crate) seconds: f64,
    /// From the stop of the migration's task to the next state, in seconds.
    pub(crate) after_migration: f64,
    /// From the end of the deployment to the next state, in seconds.
    pub(crate) after_deployment: f64,
}

/// The table as Markdown.
pub(crate) fn table(releases: &[Release]) -> String {
    let seconds = |of: fn(&Release) -> f64| {
        let values = sorted(releases, of);
        let most = values.last().copied().unwrap_or_default();
        format!(
            "{:.3} / {:.3} / {most:.3}",
            percentile(&values, 0.5),
            percentile(&values, 0.95)
        )
    };
    let counts = |of: fn(&Release) -> usize| {
        let least = releases.iter().map(of).min().unwrap_or_default();
        let most = releases.iter().map(of).max().unwrap_or_default();
        format!("{least} to {most}")
    };
    let rows = [
        ("releases", releases.len().to_string()),
        ("states entered", counts(|release| release.states)),
        ("transitions", counts(|release| release.transitions)),
        ("calls of ECS", counts(|release| release.ecs_calls)),
        (
            "whole release, s: median / p95 / most",
            seconds(|release| release.seconds),
        ),
        (
            "migration's stop to the next state, s: median / p95 / most",
            seconds(|release| release.after_migration),
        ),
        (
            "deployment's end to the next state, s: median / p95 / most",
            seconds(|release| release.after_deployment),
        ),
    ];
    let rows = rows.map(|(name, value)| format!("| {name} | {value} |\n"));
    format!("| | |\n|---|---|\n{}", rows.concat())
}

/// What must hold of all releases.
pub(crate) fn verdicts(releases: &[Release]) -> Vec<Verdict> {
    let at_most = |what: &str, limit: usize, of: fn(&Release) -> usize| {
        // Without a release nothing holds.
        let most = releases.iter().map(of).max().unwrap_or(usize::MAX);
        Verdict {
            holds: most <= limit,
            sentence: format!("at most {limit} {what} by a release; the most were {most}"),
        }
    };
    let noticed = |what: &str, of: fn(&Release) -> f64| {
        let values = sorted(releases, of);
        let (median, p95) = (percentile(&values, 0.5), percentile(&values, 0.95));
        Verdict {
            holds: median < MEDIAN_LIMIT && p95 < P95_LIMIT,
            sentence: format!(
                "{what} is noticed within {MEDIAN_LIMIT} s at the median and {P95_LIMIT} s at the 95th percentile; it was {median:.3} s and {p95:.3} s"
            ),
        }
    };
    vec![
        at_most("states are entered", STATES_LIMIT, |release| release.states),
        at_most("calls of ECS are made", ECS_CALLS_LIMIT, |release| {
            release.ecs_calls
        }),
        noticed("a migration's stop", |release| release.after_migration),
        noticed("a deployment's end", |release| release.after_deployment),
    ]
}

fn sorted(releases: &[Release], of: fn(&Release) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = releases.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The smallest value that is no less than this part of all; infinite where there is none, which
/// holds no requirement.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    let value = sorted.get(rank.saturating_sub(1));
    value.copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(states: usize, noticed: f64) -> Release {
        Release {
            states,
            transitions: states + 1,
            ecs_calls: 15,
            seconds: 8.0,
            after_migration: noticed,
            after_deployment: noticed / 2.0,
        }
    }

    fn holds(releases: &[Release]) -> Vec<bool> {
        let verdicts = verdicts(releases).into_iter();
        verdicts.map(|verdict| verdict.holds).collect()
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), 10.0);
        assert_eq!(percentile(&values, 0.95), 19.0);
        assert_eq!(percentile(&values[..1], 0.95), 1.0);
        assert_eq!(percentile(&[], 0.5), f64::INFINITY);
    }

    #[test]
    fn one_late_release_of_many_is_allowed_and_two_of_twenty_are_not() {
        let mut releases = vec![release(16, 0.2); 19];
        releases.push(release(16, 1.5));
        assert_eq!(holds(&releases), [true, true, true, true]);
        releases[0] = release(16, 1.5);
        assert_eq!(holds(&releases), [true, true, false, true]);
    }

    #[test]
    fn the_release_with_the_most_states_decides() {
        assert!(!holds(&[release(16, 0.1), release(17, 0.1)])[0]);
    }

    #[test]
    fn a_call_of_ecs_too_many_is_told() {
        let many = Release {
            ecs_calls: 16,
            ..release(16, 0.1)
        };
        assert!(!holds(&[many])[1]);
    }

    #[test]
    fn without_a_release_nothing_holds() {
        assert_eq!(holds(&[]), [false, false, false, false]);
    }

    #[test]
    fn the_table_tells_the_range_of_the_counts() {
        let table = table(&[release(14, 0.1), release(15, 0.3)]);
        assert!(table.contains("| states entered | 14 to 15 |"), "{table}");
        assert!(table.contains("0.100 / 0.300 / 0.300"), "{table}");
    }
}
