use bluegreen_contract::{InvalidInput, Purpose};

/// Every end of a command but exit code 0 in its time. A variant's name is its error name in Step
/// Functions; whatever the command is for, it has the migration's names.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(
        "The {} failed: container {container} of task {task} exited with code {exit_code}. {circumstances}\n{log}", purpose.name()
    )]
    MigrationFailed {
        purpose: Purpose,
        container: String,
        task: String,
        exit_code: i32,
        /// Sentences: what ECS says of it, or what to do.
        circumstances: String,
        log: String,
    },
    /// Asked to end, many a program exits 0 with its work half done.
    #[error(
        "The {name} was stopped from outside: container {container} of task {task} {}. {reasons} See what it did before you {}.\n{log}", exit.told(purpose.name()), again(*purpose), name = purpose.name()
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
        "The {} never ran: container {container} of task {task} has no exit code. {reasons}", purpose.name()
    )]
    MigrationNotStarted {
        purpose: Purpose,
        container: String,
        task: String,
        reasons: String,
    },
    #[error(
        "The {name} of stack {stack} to {image} ran longer than {timeout_seconds} seconds (task {task}). {circumstances} Make the {name} shorter or raise {}, then {}.\n{log}", limit(*purpose), again(*purpose), name = purpose.name()
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

/// The output of the app stack that says how long the command may run.
fn limit(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Migration => "MigrationTimeoutSeconds",
        Purpose::PostDeploy => "PostDeployTimeoutSeconds",
    }
}

/// How the command is run once more.
fn again(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Migration => "deploy again",
        Purpose::PostDeploy => "run it again",
    }
}
