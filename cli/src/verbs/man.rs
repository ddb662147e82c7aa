//! `bluegreen man` and `bluegreen completions`: made from the same definitions as the command line.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;

/// Where the pages go.
#[derive(Args, Clone, Debug)]
pub struct Man {
    /// The directory that gets a page for each verb, such as /usr/local/share/man/man1.
    pub directory: PathBuf,
}

/// For which shell.
#[derive(Args, Clone, Debug)]
pub struct Completions {
    /// The shell.
    pub shell: Shell,
}

/// Writes the manual pages.
///
/// # Errors
/// The directory can not be written to.
pub fn man(command: Command, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory))
        .with_context(|| format!("{} can not be written to", directory.display()))
}

/// Prints what a shell reads to complete the command line.
pub fn completions(mut command: Command, shell: Shell, out: &mut dyn Write) {
    clap_complete::generate(shell, &mut command, "bluegreen", out);
}
