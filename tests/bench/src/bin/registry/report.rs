//! From what was measured to a table, and whether what must hold does.

use std::time::Duration;

use bench::Verdict;
use bench::memory::{Memory, Resident};

/// How many times as long a push may take as a copy into a directory.
const PUSH_FACTOR: f64 = 1.3;

/// All that was measured.
pub(crate) struct Measured {
    pub(crate) layers: usize,
    /// Of a layer.
    pub(crate) megabytes: usize,
    pub(crate) rounds: Vec<Round>,
    /// At the end.
    pub(crate) memory: Memory,
}

/// One image.
pub(crate) struct Round {
    /// Into a directory.
    pub(crate) copied: Duration,
    /// To the registry.
    pub(crate) pushed: Duration,
}

/// The table as Markdown.
pub(crate) fn table(measured: &Measured) -> String {
    let Measured {
        layers, megabytes, ..
    } = measured;
    let seconds = |of: fn(&Round) -> Duration| median(measured, |round| of(round).as_secs_f64());
    let at_most = |resident: Resident| resident.peak >> 20;
    let images = measured.rounds.len();
    let (local_aws, moto) = (
        at_most(measured.memory.local_aws),
        at_most(measured.memory.moto),
    );
    format!(
        "| {images} images of {layers} layers of {megabytes} MB, medians | |\n|---|---|\n\
         | copied into a directory, s | {:.2} |\n\
         | pushed to the registry, s | {:.2} |\n\
         | ratio of each image's two | {:.2} |\n\
         | local-aws, moto: memory at most, MB | {local_aws}, {moto} |\n",
        seconds(|round| round.copied),
        seconds(|round| round.pushed),
        ratio(measured),
    )
}

pub(crate) fn verdicts(measured: &Measured) -> Vec<Verdict> {
    let (ratio, layer) = (ratio(measured), measured.megabytes as u64);
    let size = layer * measured.layers as u64;
    let peak = measured.memory.local_aws.peak >> 20;
    vec![
        Verdict {
            holds: ratio <= PUSH_FACTOR,
            sentence: format!(
                "a push takes at most {PUSH_FACTOR} times as long as a copy into a directory: {ratio:.2}"
            ),
        },
        Verdict {
            holds: peak < size,
            sentence: format!(
                "all images pushed, the local AWS has never needed the memory of one ({size} MB): {peak} MB"
            ),
        },
    ]
}

fn ratio(measured: &Measured) -> f64 {
    median(measured, |round| {
        round.pushed.as_secs_f64() / round.copied.as_secs_f64()
    })
}

fn median(measured: &Measured, of: impl Fn(&Round) -> f64) -> f64 {
    bench::median(measured.rounds.iter().map(of)).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(pushed: &[u64], peak: u64) -> Measured {
        let resident = Resident { now: 0, peak };
        Measured {
            layers: 10,
            megabytes: 30,
            rounds: pushed
                .iter()
                .map(|pushed| Round {
                    copied: Duration::from_millis(1000),
                    pushed: Duration::from_millis(*pushed),
                })
                .collect(),
            memory: Memory {
                local_aws: resident,
                moto: resident,
            },
        }
    }

    fn hold(measured: &Measured) -> Vec<bool> {
        let verdicts = verdicts(measured);
        verdicts.iter().map(|verdict| verdict.holds).collect()
    }

    #[test]
    fn a_push_that_takes_too_long_or_too_much_memory_is_found() {
        assert_eq!(hold(&measured(&[1000, 1290, 5000], 50 << 20)), [true, true]);
        assert_eq!(
            hold(&measured(&[1000, 1310, 5000], 300 << 20)),
            [false, false]
        );
        assert_eq!(hold(&measured(&[], 0)), [false, true]);
    }

    #[test]
    fn the_table_has_the_medians() {
        let table = table(&measured(&[2000, 1000, 9000], 50 << 20));
        for row in [
            "| 3 images of 10 layers of 30 MB",
            "| pushed to the registry, s | 2.00 |",
            "memory at most, MB | 50, 50 |",
        ] {
            assert!(table.contains(row), "{table}");
        }
    }
}
