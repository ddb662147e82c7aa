//! The command line: of it the help texts, the manual pages and the shells' completions are made.

use clap::{Parser, Subcommand};

use crate::verbs::contract::Contract;
use crate::verbs::deploy::Deploy;
use crate::verbs::down::Down;
use crate::verbs::logs::Logs;
use crate::verbs::man::{Completions, Man};
use crate::verbs::plan::ShowPlan;
use crate::verbs::releases::Releases;
use crate::verbs::rollback::Rollback;
use crate::verbs::show::Show;
use crate::verbs::stats::Stats;
use crate::verbs::status::ShowStatus;
use crate::verbs::tasks::Tasks;
use crate::verbs::up::Up;
use crate::verbs::wait::Wait;

/// Deploys Amazon ECS services when an image is pushed.
///
/// Credentials and region are those of AWS's own tools: AWS_PROFILE, AWS_REGION, single sign-on, aws login, keys in
/// the environment.
#[derive(Debug, Parser)]
#[command(name = "bluegreen", version, propagate_version = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
    /// Use the local AWS of this project in the place of an account; up starts it where none runs.
    #[arg(long, global = true)]
    pub local: bool,
    /// How many times faster than AWS a local AWS replaces tasks and checks health.
    #[arg(long, global = true, default_value_t = 10.0, hide = true)]
    pub speed: f64,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Bring up an application and all it needs; a second time changes only what differs.
    #[command(after_help = "Example: bluegreen up shop --app path/to/app")]
    Up(Up),
    /// Delete an application and all it needs, after a question.
    #[command(after_help = "Example: bluegreen down shop")]
    Down(Down),
    /// Bring an image of the repository into service.
    #[command(after_help = "Example: bluegreen deploy shop --tag v42 --watch")]
    Deploy(Deploy),
    /// Bring an earlier release back into service.
    #[command(after_help = "Example: bluegreen rollback shop --watch")]
    Rollback(Rollback),
    /// Run the contract command of the release that serves.
    #[command(after_help = "Example: bluegreen contract shop")]
    Contract(Contract),
    /// Show what a release would do; nothing is changed.
    #[command(after_help = "Example: bluegreen plan shop --tag v42")]
    Plan(ShowPlan),
    /// Show what a stack does now: its release, its services, its alarms, and who waits.
    #[command(after_help = "Example: bluegreen status shop --watch")]
    Status(ShowStatus),
    /// Show what was released to a stack.
    #[command(after_help = "Example: bluegreen releases shop --limit 50")]
    Releases(Releases),
    /// Show all that is known of one release.
    #[command(after_help = "Example: bluegreen show shop shop-v42-0123456789abcdef")]
    Show(Show),
    /// Wait for the end of a release, and exit with its verdict.
    #[command(after_help = "Example: bluegreen wait shop --digest sha256:… --timeout 45m")]
    Wait(Wait),
    /// Show what all tasks of a stack write to their logs.
    #[command(after_help = "Example: bluegreen logs shop --follow --filter ERROR")]
    Logs(Logs),
    /// Show the tasks of a stack's services.
    #[command(after_help = "Example: bluegreen tasks shop --stopped")]
    Tasks(Tasks),
    /// Show how well a stack is released to: DORA's four figures, and the time of each phase.
    #[command(after_help = "Example: bluegreen stats shop --since 90d")]
    Stats(Stats),
    /// Print what a shell needs to complete the command line.
    #[command(
        after_help = "Example: bluegreen completions bash > /etc/bash_completion.d/bluegreen"
    )]
    Completions(Completions),
    /// Write the manual pages into a directory.
    #[command(after_help = "Example: bluegreen man /usr/local/share/man/man1")]
    Man(Man),
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_does_and_gives_an_example() {
        for verb in Arguments::command().get_subcommands() {
            let name = verb.get_name();
            assert!(verb.get_about().is_some(), "{name}");
            let example = verb.get_after_help().unwrap_or_default().to_string();
            let begins = format!("Example: bluegreen {name} ");
            assert!(example.starts_with(&begins), "{name}: {example}");
        }
    }

    #[test]
    fn the_page_of_the_command_line_names_every_verb_and_every_option() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/command-line.md");
        let page = std::fs::read_to_string(page).unwrap();
        for verb in Arguments::command().get_subcommands() {
            let name = verb.get_name();
            assert!(page.contains(&format!("bluegreen {name}")), "{name}");
            for option in verb.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("--{option}")), "{name} --{option}");
            }
        }
    }

    #[test]
    fn what_is_missing_or_does_not_go_together_is_refused() {
        for (line, kind) in [
            ("deploy shop", ErrorKind::MissingRequiredArgument),
            ("deploy --tag v1", ErrorKind::MissingRequiredArgument),
            (
                "deploy shop --tag v1 --migrate --no-migrate",
                ErrorKind::ArgumentConflict,
            ),
            ("wait shop", ErrorKind::MissingRequiredArgument),
            ("wait shop --tag v1 --digest d", ErrorKind::ArgumentConflict),
            ("status shop --watch --json", ErrorKind::ArgumentConflict),
            ("status 2nd", ErrorKind::ValueValidation),
            (
                "wait shop --tag v1 --timeout soon",
                ErrorKind::ValueValidation,
            ),
        ] {
            let words = std::iter::once("bluegreen").chain(line.split(' '));
            let error = Arguments::try_parse_from(words).unwrap_err();
            assert_eq!(error.kind(), kind, "{line}: {error}");
        }
    }
}
