//! The exit codes of `bluegreen`, on which scripts can rely. docs/command-line.md lists them.

use std::process::ExitCode;

use bluegreen_release::verdict;

/// How a verb ended that has not failed itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; of a release: its image is in service.
    Done,
    /// The release failed.
    Failed,
    /// The release was rolled back.
    RolledBack,
    /// Another release took its place, or it was older than what is deployed.
    Superseded,
    /// It ended before its verdict was known.
    Abandoned,
    /// It did not end in the time that was given.
    TimedOut,
    /// Nobody waited for its end.
    Left,
}

impl Exit {
    /// Of a release with this verdict.
    #[must_use]
    pub fn of(verdict: &str) -> Self {
        match verdict {
            verdict::SUCCEEDED
            | verdict::NOTHING_TO_DEPLOY
            | verdict::NOTHING_TO_ROLL_BACK
            | verdict::NOTHING_TO_CONTRACT => Self::Done,
            verdict::ROLLED_BACK => Self::RolledBack,
            "superseded" | "stale" => Self::Superseded,
            verdict::ABANDONED => Self::Abandoned,
            _ => Self::Failed,
        }
    }

    /// 1 is an error of the command itself, 2 a wrong command line.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 3,
            Self::RolledBack => 4,
            Self::Superseded => 5,
            Self::Abandoned => 6,
            Self::TimedOut => 7,
            // As a shell says of a program that Ctrl-C has ended.
            Self::Left => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_tells_verdicts_apart() {
        for (verdict, code) in [
            ("succeeded", 0),
            ("nothingToDeploy", 0),
            ("failed", 3),
            ("rolledBack", 4),
            ("superseded", 5),
            ("stale", 5),
            ("abandoned", 6),
            ("a verdict of tomorrow", 3),
        ] {
            assert_eq!(Exit::of(verdict).code(), code, "{verdict}");
        }
    }

    #[test]
    fn the_page_has_every_code() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/command-line.md");
        let page = std::fs::read_to_string(page).unwrap();
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::RolledBack,
            Exit::Superseded,
            Exit::Abandoned,
            Exit::TimedOut,
            Exit::Left,
        ];
        for exit in all {
            let row = format!("| {} |", exit.code());
            assert!(page.contains(&row), "{exit:?}");
        }
    }
}
