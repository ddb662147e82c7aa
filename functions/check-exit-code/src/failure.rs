use bluegreen_contract::{InvalidInput, Purpose};

/// Every end of a command but exit code 0 in its time. A variant's name is its error name in Step
/// Functions; whatever the command is for, it has the migration's names.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(
        "The {} failed with exit code {exit_code}{}\nContainer {container} of task {task} exited with code {exit_code}. {circumstances}\n{log}", purpose.name(), own(error.as_deref())
    )]
    MigrationFailed {
        purpose: Purpose,
        container: String,
        task: String,
        exit_code: i32,
        /// What it said itself, or what ECS says of it.
        error: Option<String>,
        /// Sentences: what ECS says of it, or what to do.
        circumstances: String,
        log: String,
    },
    /// Asked to end, many a program exits 0 with its work half done.
    #[error(
        "The {name} was stopped from outside. {reasons}\nContainer {container} of task {task} {}. See what it did before you {}.\n{log}", exit.told(purpose.name()), again(*purpose), name = purpose.name()
    )]
    MigrationStopped {
        purpose: Purpose,
        exit: Exit,
        container: String,
        task: String,
        /// Sentences.
        reasons: String,
        log: String,
    },
    /// The state machine has another one started.
    #[error("The task {task} of the {} never started, for a reason that passes. {reasons}", purpose.name())]
    TaskFailedToStart {
        purpose: Purpose,
        task: String,
        reasons: String,
    },
    #[error(
        "The {} never ran. {reasons}\nContainer {container} of task {task} has no exit code.", purpose.name()
    )]
    MigrationNotStarted {
        purpose: Purpose,
        container: String,
        task: String,
        reasons: String,
    },
    #[error(
        "The {name} ran longer than {timeout_seconds} seconds.\nIt was task {task} of stack {stack}, with the image {image}. {circumstances} Make the {name} shorter or raise {}, then {}.\n{log}", limit(*purpose), again(*purpose), name = purpose.name()
    )]
    MigrationTimedOut {
        purpose: Purpose,
        stack: String,
        image: String,
        task: String,
        timeout_seconds: u32,
        /// Sentences: whether it has stopped, and what it may have done.
        circumstances: String,
        log: String,
    },
}

/// How a container ended that was stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Zero,
    /// ECS tells no exit code of it, although its task ran.
    Untold,
}

impl Exit {
    fn told(self, name: &str) -> String {
        match self {
            Exit::Zero => format!(
                "exited with code 0, which then does not prove that the {name} ran to its end"
            ),
            Exit::Untold => {
                "has no exit code, although the task ran: it may have done part of its work"
                    .to_owned()
            }
        }
    }
}

/// Behind what happened: why, where that is known.
fn own(error: Option<&str>) -> String {
    error.map_or_else(|| ".".to_owned(), |error| format!(": {error}"))
}

/// The output of the app stack that says how long the command may run.
fn limit(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Migration => "MigrationTimeoutSeconds",
        Purpose::PostDeploy => "PostDeployTimeoutSeconds",
        Purpose::Contract => "ContractTimeoutSeconds",
    }
}

/// How the command is run once more.
fn again(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Migration => "deploy again",
        Purpose::PostDeploy | Purpose::Contract => "run it again",
    }
}
