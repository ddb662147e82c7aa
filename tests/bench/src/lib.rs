//! What all measurements have in common: they tell what they found, and whether it is as it must be.

pub mod memory;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use local_aws::client::{LocalAws, StartOptions};

/// A requirement and whether it holds.
#[derive(Debug)]
pub struct Verdict {
    pub holds: bool,
    pub sentence: String,
}

/// Prints the verdicts. Success where all hold.
///
/// # Errors
/// They cannot be printed.
pub fn tell(verdicts: &[Verdict], mut out: impl Write) -> std::io::Result<ExitCode> {
    for Verdict { holds, sentence } in verdicts {
        let word = if *holds { "yes" } else { "NO" };
        writeln!(out, "- {word}: {sentence}")?;
    }
    Ok(match verdicts.iter().all(|verdict| verdict.holds) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What a measurement's `main` returns; an error is printed.
#[must_use]
pub fn exit_code(outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Starts a local AWS, lets something be measured on it, and ends it.
///
/// # Errors
/// First of all why nothing was found: an end that fails tells less.
pub async fn on_local_aws<M>(
    options: StartOptions,
    measure: impl AsyncFnOnce(&LocalAws) -> Result<M>,
) -> Result<M> {
    let aws = LocalAws::start(options).await?;
    let measured = measure(&aws).await;
    let ended = aws.shut_down().await;
    let measured = measured?;
    ended?;
    Ok(measured)
}

/// `None` of nothing.
#[must_use]
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
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
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
