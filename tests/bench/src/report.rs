//! From samples to a table, and whether what must hold does.

use std::time::Duration;

use crate::subject::Sample;

/// The most a zip may have, in bytes.
const ZIP_LIMIT: u64 = 2_000_000;
/// How many times Python's start must be as long.
const START_FACTOR: f64 = 40.0;

/// All that was measured of one function.
pub(crate) struct Measured {
    pub(crate) name: String,
    /// Size of the zip, in bytes.
    pub(crate) zip: u64,
    /// A round each: the function and then its counterpart in Python.
    pub(crate) rounds: Vec<(Sample, Sample)>,
}

/// A column of the table: medians, in `unit`, and the median of the ratios of each round.
struct Figure {
    ours: f64,
    python: f64,
    factor: f64,
}

impl Measured {
    fn figure(&self, of: impl Fn(&Sample) -> Option<f64>) -> Option<Figure> {
        let pairs: Vec<(f64, f64)> = self
            .rounds
            .iter()
            .map(|(ours, python)| Some((of(ours)?, of(python)?)))
            .collect::<Option<_>>()?;
        Some(Figure {
            ours: median(pairs.iter().map(|pair| pair.0))?,
            python: median(pairs.iter().map(|pair| pair.1))?,
            factor: median(pairs.iter().map(|(ours, python)| python / ours))?,
        })
    }

    fn start(&self) -> Option<Figure> {
        self.figure(|sample| Some(milliseconds(sample.init + sample.first)))
    }

    fn row(&self) -> String {
        let cells = [
            self.figure(|sample| Some(milliseconds(sample.init))),
            self.figure(|sample| Some(milliseconds(sample.first))),
            self.start(),
            self.figure(|sample| median(sample.warm.iter().copied().map(milliseconds))),
            self.figure(|sample| Some(sample.memory? as f64 / 1e6)),
        ]
        .map(|figure| figure.map_or_else(|| "–".to_owned(), |figure| figure.cell()));
        format!(
            "| {} | {} | {} |",
            self.name,
            megabytes(self.zip),
            cells.join(" | ")
        )
    }
}

impl Figure {
    fn cell(&self) -> String {
        format!(
            "{} / {} = 1/{}",
            short(self.ours),
            short(self.python),
            short(self.factor)
        )
    }
}

/// The table as Markdown.
pub(crate) fn table(functions: &[Measured]) -> String {
    let mut text = String::from(
        "| function | zip, MB | init, ms | first call over TLS, ms | start (both), ms | warm call p50, ms | memory, MB |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for function in functions {
        text.push_str(&function.row());
        text.push('\n');
    }
    text
}

/// A requirement and whether it holds.
pub(crate) struct Verdict {
    pub(crate) holds: bool,
    pub(crate) sentence: String,
}

/// What must hold of all functions.
pub(crate) fn verdicts(functions: &[Measured]) -> Vec<Verdict> {
    let zips = functions
        .iter()
        .map(|function| (function.zip as f64, function));
    let starts = functions
        .iter()
        // A start that was not measured holds no requirement.
        .map(|function| (function.start().map_or(0.0, |start| start.factor), function));
    let largest = zips.max_by(|left, right| left.0.total_cmp(&right.0));
    let slowest = starts.min_by(|left, right| left.0.total_cmp(&right.0));
    let mut verdicts = Vec::new();
    if let Some((_, function)) = largest {
        verdicts.push(Verdict {
            holds: function.zip <= ZIP_LIMIT,
            sentence: format!(
                "every zip is at most {} MB; the largest, {}, has {}",
                megabytes(ZIP_LIMIT),
                function.name,
                megabytes(function.zip)
            ),
        });
    }
    if let Some((factor, function)) = slowest {
        verdicts.push(Verdict {
            holds: factor >= START_FACTOR,
            sentence: format!(
                "every start is at most 1/{START_FACTOR} of Python's; the slowest, {}, is 1/{}",
                function.name,
                short(factor)
            ),
        });
    }
    verdicts
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}

/// Three digits say enough.
fn short(value: f64) -> String {
    let decimals = match value {
        value if value >= 99.5 => 0,
        value if value >= 9.95 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// `None` of nothing.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values
        .get(middle.checked_sub(1)?)
        .map(|lower| f64::midpoint(*lower, upper))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::runtime_api::{Invocation, Outcome};

    fn sample(init: u64, first: u64, memory: Option<u64>) -> Sample {
        let took = Duration::from_millis(first);
        Sample {
            init: Duration::from_millis(init),
            first: took,
            warm: vec![Duration::from_micros(300), Duration::from_micros(500)],
            memory,
            invocation: Invocation {
                took,
                outcome: Outcome::Answer(Value::Null),
                calls: Vec::new(),
            },
        }
    }

    fn measured(name: &str, zip: u64, python_start: u64) -> Measured {
        let round = || {
            (
                sample(3, 2, Some(6_000_000)),
                sample(python_start - 20, 20, Some(60_000_000)),
            )
        };
        Measured {
            name: name.to_owned(),
            zip,
            rounds: vec![round(), round()],
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn a_row_has_both_medians_and_the_ratio() {
        let table = table(&[measured("wait-task", 1_694_000, 260)]);
        assert_eq!(
            table.lines().last(),
            Some(
                "| wait-task | 1.69 | 3.00 / 240 = 1/80.0 | 2.00 / 20.0 = 1/10.0 | 5.00 / 260 = 1/52.0 \
                 | 0.40 / 0.40 = 1/1.00 | 6.00 / 60.0 = 1/10.0 |"
            )
        );
    }

    #[test]
    fn ratios_are_paired_within_a_round() {
        let rounds = vec![
            (sample(1, 0, None), sample(100, 0, None)),
            (sample(10, 0, None), sample(500, 0, None)),
            (sample(2, 0, None), sample(120, 0, None)),
        ];
        let function = Measured {
            name: "x".to_owned(),
            zip: 0,
            rounds,
        };
        let start = function.start().unwrap();
        assert_eq!((start.ours, start.python, start.factor), (2.0, 120.0, 60.0));
        assert!(function.row().ends_with("| – |"), "{}", function.row());
    }

    #[test]
    fn the_worst_function_decides() {
        let holds = |functions: &[Measured]| -> Vec<bool> {
            verdicts(functions)
                .iter()
                .map(|verdict| verdict.holds)
                .collect()
        };
        assert_eq!(holds(&[measured("a", 2_000_000, 200)]), [true, true]);
        assert_eq!(
            holds(&[measured("a", 1_000_000, 200), measured("b", 2_000_001, 199)]),
            [false, false]
        );
        let unmeasured = Measured {
            name: "c".to_owned(),
            zip: 1,
            rounds: Vec::new(),
        };
        assert_eq!(holds(&[unmeasured]), [true, false]);
    }
}
