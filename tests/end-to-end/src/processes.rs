//! What runs on this machine.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// The command lines of the processes that work in one of these directories or were started with
/// a path into one. Linux tells; elsewhere none are found.
///
/// # Errors
/// The processes of this machine cannot be listed.
pub fn working_in(directories: &[PathBuf]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Ok(found);
    };
    for process in processes {
        let path = process.context("/proc cannot be read")?.path();
        // A process may end while it is looked at.
        let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let works_in = std::fs::read_link(path.join("cwd")).unwrap_or_default();
        if directories.iter().any(|directory| {
            works_in.starts_with(directory) || command.contains(&*directory.to_string_lossy())
        }) {
            found.push(command);
        }
    }
    Ok(found)
}
