//! What all measurements have in common: they tell what they found, and whether it is as it must be.

pub mod memory;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;

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
