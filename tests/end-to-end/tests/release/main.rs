//! Releases from end to end: templates deployed by the AWS CLI, real functions, real processes, a
//! real database, and a visitor who must not notice more than a new version.
//!
//! The stories share an account, as applications do, and nothing else: each has stacks, a
//! repository and a database of its own. Without the usual harness, because somebody must close
//! the account when the last story is over.

mod by_cdk;
mod by_command_line;
mod by_registry;
mod contracts;
mod entry_points;
mod events;
mod left_behind;
mod limits;
mod pipeline;
mod records;
mod refused;
mod released;
mod rolled_back;
mod same_migrations;
mod strategies;
mod turns;
mod unnoticed;
mod updated;
mod waits;
mod way_back;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::world::World;

/// Stories mostly wait, for ECS or for a migration: more of them than there are processors.
const STORIES_AT_ONCE: usize = 4;

macro_rules! stories {
    ($world:ident, $account:ident: $($module:ident::$story:ident,)*) => {
        vec![$({
            let world = Arc::clone(&$world);
            Trial::test(concat!(stringify!($module), "::", stringify!($story)), move || {
                world.play(world.$account(), $module::$story)
            })
            .with_kind(stringify!($account))
        }),*]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(STORIES_AT_ONCE);
    let world = Arc::new(World::default());
    // Those that take long begin first.
    let mut trials = stories!(world, unentitled:
        refused::what_the_roles_of_the_pipeline_do_not_allow_is_not_done,
    );
    trials.extend(stories!(world, usual:
        events::a_tag_that_an_older_image_got_later_is_found_and_deployed,
        events::a_push_whose_event_was_lost_is_found_and_deployed,
        by_command_line::a_person_deploys_watches_and_rolls_back_by_the_command_line,
        by_command_line::a_build_waits_for_the_verdict_of_what_it_has_pushed,
        contracts::what_only_earlier_releases_need_is_removed_when_no_alarm_goes_back_to_them,
        left_behind::a_deployment_that_was_left_in_progress_is_stopped_when_the_stack_goes_back,
        strategies::a_linear_release_takes_over_step_by_step_and_an_unhealthy_one_never_does,
        strategies::a_canary_takes_a_share_first_and_an_alarm_takes_it_back,
        strategies::blue_green_changes_all_requests_at_once_and_a_crashing_version_gets_none,
        events::an_event_that_cannot_be_processed_is_kept_and_raises_an_alarm,
        limits::a_stack_has_limits_of_its_own,
        strategies::a_release_pauses_at_a_hook_until_a_person_lets_it_go_on,
        released::a_release_is_over_when_ecs_calls_a_part_of_its_tasks_a_success,
        rolled_back::of_two_services_of_which_one_fails_both_go_back,
        rolled_back::a_deployment_that_takes_longer_than_its_stack_allows_is_taken_back,
        rolled_back::a_health_check_url_that_fails_after_healthy_targets_takes_the_release_back,
        refused::an_alarm_that_is_raised_refuses_a_release_until_a_person_ignores_it,
        refused::an_alarm_that_goes_off_during_the_migration_refuses_the_deployment,
        way_back::a_person_goes_back_to_a_release_by_its_name,
        way_back::a_release_whose_image_was_deleted_is_not_gone_back_to,
        way_back::the_first_release_of_an_adopted_service_is_taken_back_by_an_alarm,
        way_back::the_first_release_of_an_adopted_service_is_taken_back_by_a_person,
        released::a_pushed_image_is_migrated_deployed_and_verified,
        released::a_release_is_started_by_hand,
        released::a_release_by_hand_of_what_runs_already_changes_nothing,
        released::what_the_sdk_does_not_know_of_a_task_definition_survives_a_release,
        entry_points::an_image_whose_entry_point_is_a_shell_is_migrated,
        entry_points::an_image_whose_entry_point_ignores_the_migration_is_refused,
        same_migrations::migrations_that_the_database_has_are_not_run_again,
        same_migrations::after_a_migration_that_failed_the_next_release_runs_its_own,
        refused::a_failing_migration_leaves_the_service_alone,
        refused::an_image_that_cannot_be_pulled_leaves_the_service_alone,
        refused::malformed_input_changes_nothing,
        rolled_back::a_version_that_never_becomes_healthy_is_rolled_back_by_ecs,
        rolled_back::a_version_that_crashes_is_rolled_back_by_ecs,
        turns::releases_of_two_repositories_of_a_stack_take_turns_and_each_is_deployed,
        turns::of_pushes_that_wait_the_newest_is_deployed_and_the_others_are_superseded,
        turns::a_release_that_was_aborted_keeps_nobody_waiting,
        turns::a_push_that_comes_late_is_stale_until_a_person_forces_it,
        turns::an_event_that_comes_twice_starts_one_release,
        turns::a_redriven_release_plans_anew,
        left_behind::a_migration_whose_start_nobody_heard_of_is_found_and_not_started_again,
        turns::a_large_input_of_one_release_disturbs_no_other,
        waits::a_lost_event_of_the_migrations_end_costs_no_more_than_the_next_look,
        waits::an_event_of_the_migrations_end_that_comes_late_changes_nothing,
        waits::an_event_of_the_migrations_end_that_comes_twice_ends_one_wait,
        waits::a_deployment_whose_events_are_lost_is_found_complete,
        records::the_last_good_release_is_found_behind_more_than_a_thousand_that_failed,
        way_back::a_person_goes_back_to_the_last_good_release,
        way_back::a_revision_that_was_deregistered_is_gone_back_to_all_the_same,
        way_back::an_alarm_after_a_release_takes_it_back_once,
        way_back::a_command_after_the_release_is_reported_and_takes_nothing_back,
        updated::an_update_of_the_stack_keeps_the_image_that_was_deployed_last,
        updated::an_image_that_could_not_be_written_for_the_stack_is_told_and_the_next_release_writes_it,
        by_command_line::what_stands_in_the_way_is_said_in_a_sentence,
        unnoticed::a_push_to_a_repository_that_names_no_stack_starts_nothing,
        unnoticed::a_deleted_image_starts_nothing,
        unnoticed::a_push_without_a_tag_starts_nothing,
    ));
    trials.extend(stories!(world, patient:
        waits::the_turn_of_an_aborted_release_is_taken_at_once_where_no_call_of_it_runs,
        waits::every_wait_of_a_release_ends_by_an_event,
        waits::a_turn_is_handed_on_at_once,
    ));
    trials.extend(stories!(world, impatient:
        way_back::a_healthy_release_that_was_aborted_during_its_command_is_the_last_good_one,
        left_behind::a_migration_that_was_left_running_is_stopped_when_it_takes_too_long,
        refused::a_migration_that_takes_too_long_is_stopped,
    ));
    trials.extend(stories!(world, reticent:
        strategies::a_canary_takes_a_share_first_and_an_alarm_takes_it_back,
        strategies::a_version_that_crashes_is_taken_back_where_ecs_does_not_count_its_failures,
        strategies::a_blue_green_release_is_known_to_run_and_taken_back_by_a_person,
        left_behind::a_migration_whose_start_nobody_heard_of_is_found_and_not_started_again,
    ));
    trials.extend(stories!(world, passing:
        pipeline::its_stack_is_updated_and_deleted_and_leaves_the_records,
    ));
    let problem = by_registry::problem();
    if let Some(problem) = &problem {
        eprintln!("The story with buildah is ignored: {problem}");
    }
    let built = stories!(world, usual:
        by_registry::an_image_that_buildah_builds_on_the_first_one_is_released,
    );
    let built = built.into_iter();
    trials.extend(built.map(|story| story.with_ignored_flag(problem.is_some())));
    let problem = by_cdk::problem();
    if let Some(problem) = &problem {
        eprintln!("The story with the CDK is ignored: {problem}");
    }
    let made = stories!(world, usual:
        by_cdk::an_application_of_the_cdk_is_released_taken_back_and_deployed_again_with_its_image,
    );
    let made = made.into_iter();
    trials.extend(made.map(|story| story.with_ignored_flag(problem.is_some())));
    let all = trials.len() as u64;
    let conclusion = libtest_mimic::run(&arguments, trials);
    // What was never asked for can be told only when every story was played.
    let is_complete = conclusion.num_passed + conclusion.num_ignored == all;
    // The stories are over, and with them all that held the world but this.
    match Arc::into_inner(world).map_or(Ok(()), |world| world.close(is_complete)) {
        Ok(()) => conclusion.exit_code(),
        Err(error) => {
            eprintln!("the account was not closed as it should be: {error:#}");
            ExitCode::FAILURE
        }
    }
}
