//! Running a program that knows of no AWS but the local one.

use std::process::Output;

use tokio::process::Command;

use crate::account::shared;
use crate::support::venv;

/// A program of the Python environment, or one that finds those on its path.
pub(crate) async fn program(name: &str) -> Command {
    let mut path = std::path::absolute(venv().join("bin"))
        .unwrap()
        .into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = Command::new(name);
    command
        .env_clear()
        .env("PATH", path)
        .envs(shared().await.environment())
        .kill_on_drop(true);
    command
}

/// Runs a program to its end.
pub(crate) async fn run(command: &mut Command) -> Output {
    command.output().await.unwrap()
}

/// Runs `aws` with arguments that are separated by spaces. It has to succeed; answers what it
/// printed.
pub(crate) async fn aws(arguments: &str) -> String {
    let mut command = program("aws").await;
    command.args(arguments.split_whitespace());
    let output = run(&mut command).await;
    assert!(output.status.success(), "{command:?}: {output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.trim_end().to_owned()
}
