//! A root of its own for a program: `/` is the image's directory, in a user namespace that needs no
//! privilege (<https://man7.org/linux/man-pages/man7/user_namespaces.7.html>). The network is this
//! machine's, as are `/dev`, `/proc` and how names are resolved.
//!
//! A process with several threads cannot enter such a namespace. So this program is started once more,
//! as a runner, and becomes the program in question.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokio::process::Command;

use crate::processes;

/// The first argument of a runner. `ROOT DIRECTORY PROGRAM [ARGUMENT…]` follow; or nothing, which only
/// tries whether this machine lets a runner do its work.
pub const ARGUMENT: &str = "run-in-root";

static RUNNER: OnceLock<PathBuf> = OnceLock::new();

/// Lets programs have a root of their own from now on, where this machine allows it. `runner` is an
/// executable whose `main` hands its arguments behind [`ARGUMENT`] to `run`.
pub(crate) async fn enable(runner: PathBuf) {
    let tried = Command::new(&runner).arg(ARGUMENT).output().await;
    match tried {
        Ok(tried) if tried.status.success() => {
            RUNNER.get_or_init(|| runner);
        }
        Ok(tried) => tracing::warn!(
            "images run among this machine's files: {}",
            String::from_utf8_lossy(&tried.stderr).trim()
        ),
        Err(error) => tracing::warn!("images run among this machine's files: {error}"),
    }
}

pub(crate) fn is_enabled() -> bool {
    RUNNER.get().is_some()
}

/// A command for a program of the image, by the name that it has there. `directory` is inside as well.
pub(crate) fn command(root: &Path, directory: &str, program: &str) -> Option<Command> {
    let mut command = processes::command(RUNNER.get()?);
    let directory = Path::new("/").join(directory);
    command.arg(ARGUMENT).arg(root).arg(directory).arg(program);
    Some(command)
}

#[cfg(target_os = "linux")]
pub use linux::run;

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::{Command, ExitCode};

    use anyhow::Context;
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::prctl;
    use nix::sys::signal::Signal;
    use nix::unistd::{chdir, chroot, getegid, geteuid};

    use crate::images::root::inside;

    /// As shells have it for a program that cannot be run.
    const CANNOT_RUN: u8 = 126;
    const NOTHING: Option<&str> = None;
    /// What a container has of the machine that it runs on. ECS too gives it the last two.
    const SHARED: [&str; 4] = ["dev", "proc", "etc/hosts", "etc/resolv.conf"];

    /// The runner's work: becomes the program, or says on standard error why it cannot.
    pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
        let (root, directory) = (arguments.next(), arguments.next());
        let done = match (root, directory, arguments.next()) {
            (Some(root), Some(directory), Some(program)) => {
                enter(Path::new(&root), Path::new(&directory)).and_then(|()| {
                    let error = Command::new(&program).args(arguments).exec();
                    Err(error).with_context(|| Path::new(&program).display().to_string())
                })
            }
            _ => isolate(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::from(CANNOT_RUN)
            }
        }
    }

    /// A user namespace in which this user is root, and mounts of its own.
    fn isolate() -> anyhow::Result<()> {
        let (user, group) = (geteuid(), getegid());
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
            .context("this machine allows no user namespaces")?;
        // Without privilege a group is mapped only by who can set no other groups any more.
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("0 {user} 1")),
            ("gid_map", format!("0 {group} 1")),
        ] {
            let path = Path::new("/proc/self").join(file);
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(NOTHING, "/", NOTHING, private, NOTHING).context("/")?;
        Ok(())
    }

    fn enter(root: &Path, directory: &Path) -> anyhow::Result<()> {
        isolate()?;
        for path in SHARED {
            share(root, Path::new(path)).with_context(|| format!("/{path}"))?;
        }
        chroot(root).context("chroot")?;
        chdir(directory).with_context(|| directory.display().to_string())?;
        // To get other rights may have taken back what the local AWS asked for its children.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    }

    /// Lets a file or a directory of this machine stand at the same place in the image.
    fn share(root: &Path, path: &Path) -> anyhow::Result<()> {
        let ours = Path::new("/").join(path);
        let theirs = inside(root, path)?;
        if ours.is_dir() {
            fs::create_dir_all(&theirs)?;
        } else if !ours.exists() {
            return Ok(());
        } else if !theirs.exists() {
            theirs.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::File::create(&theirs)?;
        }
        let bound = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(&ours), &theirs, NOTHING, bound, NOTHING)?;
        Ok(())
    }
}

/// Elsewhere nothing can run so.
#[cfg(not(target_os = "linux"))]
pub fn run(_: impl Iterator<Item = std::ffi::OsString>) -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
