//! Many releases at once: what one stack makes of a storm of pushes, and what many stacks leave of
//! ECS's request limits. One after the other, so that each has the machine for itself; the figures
//! are printed.

mod fleet;
mod storm;

use std::process::ExitCode;

use anyhow::Result;
use end_to_end::account::{Account, AccountOptions};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = vec![
        Trial::test(
            "of_fifty_pushes_within_ten_seconds_the_last_one_runs",
            || {
                play(
                    storm::SPEED,
                    storm::of_fifty_pushes_within_ten_seconds_the_last_one_runs,
                )
            },
        ),
        Trial::test(
            "twenty_stacks_deploy_at_once_within_ecs_request_limits",
            || {
                play(
                    fleet::SPEED,
                    fleet::twenty_stacks_deploy_at_once_within_ecs_request_limits,
                )
            },
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Plays a story in an account of its own, in which ECS's delays pass so many times faster than in
/// AWS.
fn play<Story>(speed: f64, story: Story) -> Result<(), Failed>
where
    Story: AsyncFnOnce(&Account) -> Result<()>,
{
    let played = Runtime::new()?.block_on(async {
        let account = Account::open(AccountOptions {
            speed,
            pipeline_parameters: Vec::new(),
            check_ecs_calls: true,
        })
        .await?;
        story(&account).await?;
        account.close().await
    });
    match played {
        Ok(checked) => {
            eprintln!("{}", checked.unwrap_or_default());
            Ok(())
        }
        Err(error) => Err(Failed::from(format!("{error:#}"))),
    }
}
