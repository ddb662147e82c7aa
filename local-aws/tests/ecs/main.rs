//! The local ECS as clients see it: through the gateway, with moto beside it. Every call that is
//! made on the way is checked against AWS's model of the API.
//!
//! Needs the Python environment that `make setup` makes (`VENV` names another one). Without the
//! usual harness, because somebody must check the calls when the last test is over.

// To clippy the helpers of integration tests are no tests.
#![allow(clippy::unwrap_used)]

mod aborts;
mod account;
mod alarms;
mod blue_green;
mod canary;
mod containers;
mod hooks;
mod linear;
mod listeners;
mod operations;
mod services;
mod strategies;
#[path = "../support/mod.rs"]
mod support;
mod tasks;
mod timeline;
mod visitors;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

macro_rules! trials {
    ($($module:ident::$test:ident,)*) => {
        vec![$(Trial::test(concat!(stringify!($module), "::", stringify!($test)), || {
            play($module::$test)
        })),*]
    };
}

fn main() -> ExitCode {
    let trials = trials!(
        containers::a_container_starts_after_the_success_of_another,
        containers::a_dependency_that_fails_ends_the_task,
        containers::a_dependency_that_misses_its_start_timeout_ends_the_task,
        containers::a_container_starts_when_another_is_healthy,
        containers::containers_stop_in_the_reverse_order,
        containers::a_cycle_of_dependencies_is_refused,
        containers::a_task_that_is_unhealthy_runs_on_where_no_service_replaces_it,
        containers::a_service_replaces_a_task_that_becomes_unhealthy,
        containers::a_version_whose_container_health_check_fails_is_rolled_back,
        containers::a_container_with_a_restart_policy_starts_again_and_its_task_runs_on,
        containers::a_container_does_not_start_again_after_an_exit_code_that_is_ignored,
        blue_green::all_visitors_move_at_once_and_testers_see_the_new_version_first,
        blue_green::a_first_deployment_gets_all_traffic_without_baking,
        blue_green::a_version_that_never_becomes_healthy_gets_no_traffic,
        blue_green::an_alarm_in_the_bake_time_brings_everybody_back,
        blue_green::a_rollback_during_the_clean_up_waits_for_the_old_version,
        blue_green::a_newer_update_in_the_bake_time_starts_from_the_version_that_serves,
        blue_green::a_service_without_a_load_balancer_is_deployed_side_by_side,
        blue_green::the_strategy_can_change_to_blue_green_and_back,
        blue_green::a_rule_that_forwards_elsewhere_is_refused,
        canary::a_share_of_the_visitors_sees_the_new_version_first,
        canary::both_versions_are_kept_up_until_a_user_stops_the_deployment,
        canary::a_newer_update_takes_the_place_of_a_canary,
        canary::an_alarm_ends_a_canary,
        linear::the_share_of_the_new_version_grows_in_steps,
        linear::a_user_stops_a_linear_deployment_midway,
        linear::a_newer_update_takes_the_place_of_a_linear_deployment,
        aborts::an_aborted_rolling_deployment_starts_no_more_tasks,
        aborts::an_aborted_blue_green_deployment_leaves_the_traffic_where_it_is,
        aborts::an_aborted_canary_leaves_both_versions_serving,
        aborts::an_aborted_linear_deployment_leaves_both_versions_serving,
        alarms::an_alarm_in_the_bake_time_rolls_a_blue_green_deployment_back,
        alarms::a_composite_alarm_rolls_a_deployment_back,
        alarms::an_alarm_rolls_a_rolling_deployment_back,
        alarms::a_rolling_deployment_bakes_as_long_as_its_alarms_take_to_evaluate,
        alarms::without_rollback_an_alarm_stops_the_deployment,
        alarms::an_alarm_that_is_on_at_the_start_is_ignored_for_the_whole_deployment,
        alarms::an_alarm_that_does_not_exist_does_not_disturb,
        hooks::a_function_is_asked_at_each_of_its_stages_with_what_it_was_configured_with,
        hooks::a_rolling_deployment_waits_before_its_first_and_after_its_last_task,
        hooks::a_rolling_deployment_whose_hook_fails_is_rolled_back,
        hooks::a_function_sees_traffic_shift_and_in_a_rollback_shift_back,
        hooks::a_function_is_asked_at_each_step_of_a_canary_and_of_a_linear_deployment,
        hooks::a_function_that_is_still_at_work_is_asked_again_with_the_details_it_gave,
        hooks::a_function_that_says_failed_rolls_the_deployment_back,
        hooks::a_function_that_crashes_or_answers_nonsense_or_is_not_there_rolls_back,
        hooks::a_function_that_takes_too_long_does_what_its_timeout_says,
        hooks::a_pause_holds_the_deployment_until_it_is_continued,
        hooks::a_pause_can_be_ended_with_a_rollback,
        hooks::a_pause_that_nobody_ends_rolls_back_after_its_timeout,
        hooks::a_hook_that_fails_rolls_back_while_another_of_its_stage_still_waits,
        hooks::a_hook_without_a_role_is_refused,
        listeners::a_listener_follows_its_rules_and_weights,
        operations::a_cluster_is_created_tagged_listed_and_deleted,
        operations::a_task_definition_is_described_listed_and_deregistered,
        operations::a_service_is_described_with_its_tags_and_revision,
        services::a_rolling_deployment_loses_no_request,
        services::a_version_that_never_becomes_healthy_is_rolled_back_without_losing_a_request,
        services::a_rolling_deployment_that_bakes_is_taken_back_without_losing_a_request,
        services::a_version_that_crashes_is_rolled_back,
        services::a_newer_update_supersedes_the_one_before,
        services::a_first_deployment_that_fails_stalls,
        services::without_rollback_a_failed_deployment_is_stopped_and_the_old_tasks_stay,
        services::a_deployment_can_be_stopped_with_a_rollback,
        services::a_task_that_dies_is_replaced,
        services::in_a_rolling_deployment_each_revision_replaces_its_own_tasks_and_grows,
        services::a_tag_that_moves_changes_a_service_with_its_next_deployment,
        services::the_desired_count_changes_without_a_deployment,
        services::a_deleted_service_drains_and_is_inactive,
        services::a_target_group_without_a_load_balancer_is_refused,
        services::an_early_success_comes_before_or_after_the_old_tasks_are_cleaned_up,
        services::what_the_local_ecs_cannot_do_is_refused,
        tasks::a_task_ends_with_its_exit_code_and_its_output_is_logged_in_order,
        tasks::overrides_change_command_and_environment,
        tasks::an_image_that_is_not_there_leaves_no_exit_code,
        tasks::a_command_that_is_not_in_the_image_leaves_no_exit_code,
        tasks::without_its_log_group_a_task_does_not_start,
        tasks::secrets_come_from_secrets_manager_and_the_parameter_store,
        tasks::a_client_token_starts_a_task_once,
        tasks::a_task_that_is_stopped_gets_sigterm,
        tasks::a_task_that_ignores_sigterm_is_killed_after_the_stop_timeout,
        tasks::a_container_that_is_not_essential_may_end_before_the_task,
        tasks::a_task_that_is_not_known_is_missing,
        tasks::environment_files_are_weaker_than_environment_and_that_than_overrides,
        tasks::a_log_group_is_created_where_the_log_driver_shall,
        tasks::a_task_that_is_stopped_before_it_runs_never_ran,
        tasks::tasks_are_listed_by_family_starter_and_desired_status,
        tasks::overrides_and_tags_are_told_of_a_task,
        tasks::a_container_reads_about_itself_and_its_task_at_the_metadata_endpoint,
        tasks::requests_that_ecs_refuses_are_refused_with_its_exceptions,
    );
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    runtime().block_on(support::end(&conclusion, account::recorded()))
}

/// Runs a test, which fails by a panic.
fn play(test: impl AsyncFnOnce()) -> Result<(), Failed> {
    runtime().block_on(test());
    Ok(())
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}
