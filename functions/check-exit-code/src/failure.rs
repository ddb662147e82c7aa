use bluegreen_contract::InvalidInput;
use lambda_runtime::Diagnostic;

/// Every end of a migration but exit code 0. A variant's name is its error name in Step Functions.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    #[error(
        "The migration failed: container {container} of task {task} exited with code {exit_code}. {circumstances}\n{log}"
    )]
    MigrationFailed {
        container: String,
        task: String,
        exit_code: i32,
        /// Sentences: what ECS says of it, or what to do.
        circumstances: String,
        log: String,
    },
    /// Asked to end, many a program exits 0 with its work half done.
    #[error(
        "The migration was stopped from outside: container {container} of task {task} exited with code 0, which then does not prove that the migration ran to its end. {reasons} See what it did before you deploy again.\n{log}"
    )]
    MigrationStopped {
        container: String,
        task: String,
        /// Sentences.
        reasons: String,
        log: String,
    },
    #[error(
        "The migration never ran: container {container} of task {task} has no exit code. {reasons}"
    )]
    MigrationNotStarted {
        container: String,
        task: String,
        reasons: String,
    },
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Diagnostic {
            error_type: <&str>::from(&failure).to_owned(),
            error_message: failure.to_string(),
        }
    }
}
