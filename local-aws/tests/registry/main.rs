//! The registry as clients see it: by the distribution API, and through programs that know nothing of the
//! local AWS.
//!
//! Needs the Python environment that `make setup` makes (`VENV` names another one), and skopeo and buildah.
//! Without the usual harness, because a test whose program is not there, or does not work on this machine,
//! has to count as ignored.

// To clippy the helpers of integration tests are no tests.
#![allow(clippy::unwrap_used)]

mod by_hand;
mod programs;
mod stand;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

macro_rules! trials {
    ($ignored:expr; $($module:ident::$test:ident,)*) => {
        vec![$(Trial::test(concat!(stringify!($module), "::", stringify!($test)), || {
            play($module::$test)
        }).with_ignored_flag($ignored)),*]
    };
}

fn main() -> ExitCode {
    let mut trials = trials!(
        false;
        by_hand::who_has_no_token_is_asked_to_log_in,
        by_hand::a_repository_that_is_not_there_is_named,
        by_hand::a_blob_comes_at_once_or_in_chunks_and_goes_whole_or_in_part,
        by_hand::a_chunk_out_of_order_is_refused_and_the_upload_goes_on,
        by_hand::a_broken_upload_leaves_nothing,
        by_hand::a_blob_is_mounted_from_another_repository,
        by_hand::a_manifest_is_taken_when_all_it_refers_to_is_there,
        by_hand::a_push_is_an_event_once,
        by_hand::an_immutable_tag_is_refused,
        by_hand::tags_are_listed_in_pages,
    );
    let problem = programs::problem();
    if let Some(problem) = &problem {
        eprintln!("The tests with skopeo and buildah are ignored: {problem}");
    }
    trials.extend(trials!(
        problem.is_some();
        programs::skopeo_copies_images_there_and_back,
        programs::buildah_builds_on_an_image_of_the_registry,
        programs::a_program_that_cannot_run_here_is_refused_by_name,
    ));
    let own_root = programs::own_root_problem();
    if let Some(problem) = &own_root {
        eprintln!("The tests of programs with a root of their own are ignored: {problem}");
    }
    trials.extend(trials!(
        problem.is_some() || own_root.is_some();
        programs::an_image_that_buildah_builds_runs_among_its_own_files,
        programs::what_runs_among_its_own_files_ends_with_who_started_it,
    ));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs a test, which fails by a panic.
fn play(test: impl AsyncFnOnce()) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(test());
    Ok(())
}
