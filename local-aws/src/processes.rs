//! Child processes that never outlive the local AWS.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::OnceLock;

use tokio::process::Command;

/// A command for `program` (an absolute path) with an empty environment, killed when its
/// [`tokio::process::Child`] is dropped and, on Linux, when this process dies in any way.
///
/// The second half is util-linux's `setpriv --pdeathsig`, since the standard library has no
/// safe way to set it. The kernel sends that signal when the *thread* that spawned the child
/// ends: spawn from the runtime's worker threads, which live as long as the process, never
/// from `spawn_blocking`.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = match setpriv() {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "SIGKILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    // In a group of its own: an interrupt from the terminal is for this process, which ends its
    // children in order.
    command.env_clear().process_group(0).kill_on_drop(true);
    command
}

fn setpriv() -> Option<&'static PathBuf> {
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    SETPRIV
        .get_or_init(|| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path)
                .map(|directory| directory.join("setpriv"))
                .find(|candidate| candidate.is_file())
        })
        .as_ref()
}

/// The `PATH` for child processes: this process's own, or the system's where there is none.
pub(crate) fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}
