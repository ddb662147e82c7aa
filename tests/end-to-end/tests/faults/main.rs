//! The fault matrix: what goes wrong in AWS, in every state of the state machine, with every
//! deployment strategy; afterwards all rules hold, and the next release succeeds.
//!
//! The cases are generated from the state machine. A sample of them runs with the other tests. With
//! `FAULTS=all` in the environment all are played, with `FAULTS=100` a sample of so many; a filter
//! chooses among all of them: texts with commas between them, of which a name has one.

mod aim;
mod laboratory;
mod machine;
mod matrix;
mod outcome;
mod play;
mod release;
mod rules;
mod stand;
mod way;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};

use crate::laboratory::{Laboratory, Results};
use crate::machine::Machine;
use crate::matrix::Matrix;

/// How the names of all stacks begin: a number follows.
const STACKS: &str = "matrix";
/// Cases mostly wait, for ECS or for the last calls of a release that was aborted.
const CASES_AT_ONCE: usize = 12;
/// So many cases are played with the other tests.
const SAMPLE: usize = 24;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(CASES_AT_ONCE);
    // The harness takes one text only, and plays what it is given here.
    let filter = arguments.filter.take();
    let machine = Machine::load()?;
    let matrix = Matrix::of(&machine)?;
    let size = match std::env::var("FAULTS") {
        Ok(all) if all == "all" => usize::MAX,
        Ok(size) => size.parse().context("FAULTS is all or a number")?,
        Err(_) if filter.is_some() || arguments.list => usize::MAX,
        Err(_) => SAMPLE,
    };
    let sample = matrix.sample(size);
    let all = sample.len() == matrix.cases.len() && filter.is_none();
    let wanted = |name: &str| {
        let mut texts = filter.iter().flat_map(|texts| texts.split(','));
        filter.is_none()
            || texts.any(|text| match arguments.exact {
                true => name == text,
                false => name.contains(text),
            })
    };
    if !arguments.list {
        tell(&matrix);
    }
    let laboratory = Arc::new(Laboratory::new(machine)?);
    let cases = matrix.cases.into_iter();
    let cases = cases.filter(|case| sample.contains(&case.name()) && wanted(&case.name()));
    let trials = cases.map(|case| {
        let laboratory = Arc::clone(&laboratory);
        Trial::test(case.name(), move || laboratory.play(&case))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let results = laboratory.results();
    if results.cases > 0 {
        let Results {
            cases,
            rules,
            violations,
            ..
        } = &results;
        eprintln!("{cases} cases played, {rules} rules checked, {violations} violations");
    }
    if all && !arguments.list {
        check_that_all_states_were_reached(&laboratory.machine, &results)?;
    }
    if let Some(laboratory) = Arc::into_inner(laboratory) {
        laboratory.close()?;
    }
    Ok(conclusion.exit_code())
}

fn tell(matrix: &Matrix) {
    eprintln!("The matrix has {} cases. Left out were", matrix.cases.len());
    for (reason, cases) in &matrix.left_out {
        eprintln!("{cases:6}: {reason}");
    }
}

/// A state that no case has led to is one that nothing is known about.
fn check_that_all_states_were_reached(machine: &Machine, results: &Results) -> Result<()> {
    let names = machine.names();
    let missed: Vec<_> = names
        .iter()
        .filter(|name| !results.states.contains(**name))
        .collect();
    ensure!(
        missed.is_empty(),
        "no case has come to these states: {missed:?}"
    );
    Ok(())
}
