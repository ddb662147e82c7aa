//! Programs that others wrote for AWS, unchanged, in the local AWS. Every call of ECS that they make,
//! and its answer, is checked against AWS's model of the API.
//!
//! Needs the Python environment that `make setup` makes (`VENV` names another one), and jq. Without
//! the usual harness, because somebody must check the calls when the last test is over.

// To clippy the helpers of integration tests are no tests.
#![allow(clippy::unwrap_used)]

mod account;
mod aws_cli;
mod awslogs;
mod boto3;
mod ecs_deploy;
mod program;
#[path = "../support/mod.rs"]
mod support;
#[path = "../ecs/visitors.rs"]
#[allow(dead_code, reason = "when answers were seen matters elsewhere")]
mod visitors;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

macro_rules! trials {
    ($runtime:ident: $($module:ident::$test:ident,)*) => {
        vec![$({
            let runtime = Arc::clone(&$runtime);
            Trial::test(concat!(stringify!($module), "::", stringify!($test)), move || {
                runtime.block_on($module::$test());
                Ok(())
            })
        }),*]
    };
}

fn main() -> ExitCode {
    // One for all tests, as the local AWS is.
    let runtime = Arc::new(Runtime::new().unwrap());
    let trials = trials!(runtime:
        aws_cli::the_aws_cli_runs_a_task_waits_for_it_and_reads_its_exit_code,
        aws_cli::the_aws_cli_finds_a_task_and_stops_it,
        aws_cli::the_aws_cli_deploys_a_service_anew_and_finds_it_stable,
        aws_cli::the_migration_script_of_the_talk_succeeds_with_its_migration,
        aws_cli::the_migration_script_of_the_talk_fails_with_its_migration,
        awslogs::awslogs_shows_the_logs_of_all_tasks_of_a_day,
        awslogs::awslogs_goes_on_to_show_what_comes,
        boto3::the_waiters_of_boto3_wait_for_what_they_are_named_after,
        ecs_deploy::ecs_deploy_brings_a_new_image_into_service_without_losing_a_request,
        ecs_deploy::ecs_deploy_rolls_back_a_version_of_which_ecs_says_that_it_does_not_start,
        ecs_deploy::ecs_deploy_rolls_back_a_version_that_is_not_healthy_in_time,
    );
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    runtime.block_on(support::end(&conclusion, account::recorded()))
}
