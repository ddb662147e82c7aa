//! From samples to a table, and whether what must hold does.

use std::time::Duration;

use bench::{Verdict, median};

use crate::subject::Sample;

/// The most a zip may have, in bytes.
const ZIP_LIMIT: u64 = 2_100_000;
/// How many times Python's start must be as long.
const START_FACTOR: f64 = 50.0;
/// How many times Python's warm call must be as long.
const WARM_FACTOR: f64 = 3.0;

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

    fn warm(&self) -> Option<Figure> {
        self.figure(|sample| median(sample.warm.iter().copied().map(milliseconds)))
    }

    fn row(&self) -> String {
        let cells = [
            self.figure(|sample| Some(milliseconds(sample.init))),
            self.figure(|sample| Some(milliseconds(sample.first))),
            self.start(),
            self.warm(),
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

/// What must hold of all functions; the worst one is named.
pub(crate) fn verdicts(functions: &[Measured]) -> Vec<Verdict> {
    let largest = functions.iter().max_by_key(|function| function.zip);
    let zips = largest.map(|function| Verdict {
        holds: function.zip <= ZIP_LIMIT,
        sentence: format!(
            "every zip is at most {} MB; the largest, {}, has {}",
            megabytes(ZIP_LIMIT),
            function.name,
            megabytes(function.zip)
        ),
    });
    let starts = of_slowest(functions, "start", START_FACTOR, Measured::start);
    let warm = of_slowest(functions, "warm call", WARM_FACTOR, Measured::warm);
    [zips, starts, warm].into_iter().flatten().collect()
}

/// Of the function that is least times as fast as in Python. One that was not measured holds no
/// requirement.
fn of_slowest(
    functions: &[Measured],
    what: &str,
    least: f64,
    figure: fn(&Measured) -> Option<Figure>,
) -> Option<Verdict> {
    let factors = functions.iter().map(|function| {
        let factor = figure(function).map_or(0.0, |figure| figure.factor);
        (factor, function)
    });
    let (factor, slowest) = factors.min_by(|left, right| left.0.total_cmp(&right.0))?;
    Some(Verdict {
        holds: factor >= least,
        sentence: format!(
            "every {what} is at most 1/{least} of Python's; the slowest, {}, is 1/{}",
            slowest.name,
            short(factor)
        ),
    })
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}

/// Three digits say enough.
pub(crate) fn short(value: f64) -> String {
    let decimals = match value {
        value if value >= 99.5 => 0,
        value if value >= 9.95 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::aws::Traffic;
    use crate::runtime_api::{Invocation, Outcome};

    fn sample(init: u64, first: u64, warm: u64, memory: Option<u64>) -> Sample {
        let took = Duration::from_millis(first);
        Sample {
            init: Duration::from_millis(init),
            first: took,
            warm: [warm - 100, warm + 100].map(Duration::from_micros).to_vec(),
            memory,
            invocation: Invocation {
                took,
                outcome: Outcome::Answer(Value::Null),
                traffic: Traffic::default(),
            },
        }
    }

    fn measured(name: &str, zip: u64, python_start: u64, python_warm: u64) -> Measured {
        let round = || {
            (
                sample(3, 2, 400, Some(6_000_000)),
                sample(python_start - 20, 20, python_warm, Some(60_000_000)),
            )
        };
        Measured {
            name: name.to_owned(),
            zip,
            rounds: vec![round(), round()],
        }
    }

    #[test]
    fn a_row_has_both_medians_and_the_ratio() {
        let table = table(&[measured("wait-task", 1_694_000, 260, 1_600)]);
        assert_eq!(
            table.lines().last(),
            Some(
                "| wait-task | 1.69 | 3.00 / 240 = 1/80.0 | 2.00 / 20.0 = 1/10.0 | 5.00 / 260 = 1/52.0 \
                 | 0.40 / 1.60 = 1/4.00 | 6.00 / 60.0 = 1/10.0 |"
            )
        );
    }

    #[test]
    fn ratios_are_paired_within_a_round() {
        let rounds = vec![
            (sample(1, 0, 400, None), sample(100, 0, 400, None)),
            (sample(10, 0, 400, None), sample(500, 0, 400, None)),
            (sample(2, 0, 400, None), sample(120, 0, 400, None)),
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
        assert_eq!(
            holds(&[measured("a", 2_100_000, 250, 1_200)]),
            [true, true, true]
        );
        assert_eq!(
            holds(&[
                measured("a", 1_000_000, 250, 1_200),
                measured("b", 2_100_001, 249, 1_199)
            ]),
            [false, false, false]
        );
        let unmeasured = Measured {
            name: "c".to_owned(),
            zip: 1,
            rounds: Vec::new(),
        };
        assert_eq!(holds(&[unmeasured]), [true, false, false]);
    }
}
