//! Temporary directories of programs that run a local AWS. Each names the process that has it, so that
//! what is left of one that was killed is found, and removed by the next.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;

/// A new directory, which is removed when it is dropped. Those for the same purpose whose process has
/// ended are removed now.
///
/// # Errors
/// It cannot be made.
pub fn directory(purpose: &str) -> io::Result<TempDir> {
    let all = std::env::temp_dir();
    sweep(&all, purpose);
    let prefix = format!("{purpose}-{}-", std::process::id());
    TempDir::with_prefix_in(prefix, all)
}

fn sweep(all: &Path, purpose: &str) {
    let entries = std::fs::read_dir(all).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| owner(name, purpose));
        if owner.is_some_and(|owner| !lives(owner)) {
            // Somebody else's cannot be removed.
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// The process that a directory of this name is of.
fn owner(name: &str, purpose: &str) -> Option<i32> {
    let rest = name.strip_prefix(purpose)?.strip_prefix('-')?;
    rest.split_once('-')?.0.parse().ok()
}

fn lives(process: i32) -> bool {
    kill(Pid::from_raw(process), None) != Err(Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_another_has_is_kept() {
        let all = tempfile::tempdir().unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let (dead, living) = (ended.id(), std::process::id());
        let of = |name: String| all.path().join(name);
        let left = of(format!("world-{dead}-a"));
        let kept = [
            of(format!("world-{living}-a")),
            of(format!("world-other-{dead}-a")),
            of("world-a".to_owned()),
        ];
        for directory in kept.iter().chain([&left]) {
            std::fs::create_dir_all(directory.join("images/layer")).unwrap();
        }
        sweep(all.path(), "world");
        assert!(!left.exists());
        assert!(kept.iter().all(|directory| directory.exists()));
    }

    #[test]
    fn a_directory_names_its_process() {
        let made = directory("bluegreen-scratch-test").unwrap();
        let name = made.path().file_name().unwrap().to_str().unwrap();
        let process = i32::try_from(std::process::id()).unwrap();
        assert_eq!(owner(name, "bluegreen-scratch-test"), Some(process));
    }
}
