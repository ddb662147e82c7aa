//! One container's process: where its program is, how it is started, signalled and ended.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::loading::{Files, files_of};
use super::own_root;
use crate::images::root::inside;
use crate::processes;

/// The search path of an image that sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The image's files on this machine.
    pub(crate) root: PathBuf,
    /// Absolute inside the container; empty means `/`.
    pub(crate) working_directory: String,
    /// Entry point and command; the first is the program.
    pub(crate) command: Vec<String>,
    /// Later entries replace earlier ones of the same name.
    pub(crate) environment: Vec<(String, String)>,
}

/// Why a container did not start; the text is what ECS gives as the container's reason.
#[derive(Debug, Error)]
#[error("CannotStartContainerError: {0}")]
pub(crate) struct StartError(String);

/// A container's process and all that it has started itself. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    exited: Option<i32>,
}

impl Process {
    /// Starts the process in a process group of its own. The pipe carries stdout and stderr in
    /// the order in which they were written.
    pub(crate) fn start(spec: &Spec) -> Result<(Self, pipe::Receiver), StartError> {
        let Some((name, arguments)) = spec.command.split_first() else {
            return Err(StartError("no command specified".to_owned()));
        };
        let path = container_path(&spec.environment);
        let directory = resolved(&spec.root, &spec.working_directory)?;
        let program = find_program(&spec.root, &spec.working_directory, path, name)?;
        if !directory.is_dir() {
            return Err(StartError(format!(
                "working directory {:?} does not exist in the image",
                spec.working_directory
            )));
        }
        let files = files_of(&spec.root, &program, own_root::is_enabled());
        let own_root = match files.map_err(|problem| not_executed(name, &problem))? {
            Files::Image => own_root::command(&spec.root, &spec.working_directory, name),
            Files::Machine => None,
        };
        let (mut command, path) = match own_root {
            Some(command) => (command, path.into()),
            None => {
                let mut command = processes::command(&program);
                command.current_dir(&directory);
                (command, search_path(&spec.root, path))
            }
        };
        command
            .args(arguments)
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .env("PATH", path)
            .stdin(Stdio::null());
        Self::spawn(command).map_err(|error| StartError(format!("{name}: {error}")))
    }

    fn spawn(mut command: Command) -> io::Result<(Self, pipe::Receiver)> {
        let (reader, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn()?;
        // The command holds copies of the pipe's end for writing; without them the pipe ends
        // when the container's last process does.
        drop(command);
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = Pid::from_raw(id.ok_or_else(|| io::Error::other("the process has no id"))?);
        let process = Self {
            child,
            group,
            exited: None,
        };
        let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        Ok((process, reader))
    }

    /// Waits for the container's main process; what it leaves behind is killed. Can be called
    /// again, and can be cancelled.
    ///
    /// The exit code, or 128 plus the number of the signal that ended it.
    pub(crate) async fn wait(&mut self) -> i32 {
        if let Some(code) = self.exited {
            return code;
        }
        let code = match self.child.wait().await {
            Ok(status) => exit_code(status),
            Err(error) => {
                tracing::error!(%error, "cannot wait for a container's process");
                255
            }
        };
        // As in a container: when the first process ends, all others are killed.
        let _ = killpg(self.group, Signal::SIGKILL);
        self.exited = Some(code);
        code
    }

    /// Asks the main process to end, as `docker stop` does.
    pub(crate) fn terminate(&self) {
        if self.exited.is_none() {
            let _ = kill(self.group, Signal::SIGTERM);
        }
    }

    /// Kills the container's processes.
    pub(crate) fn kill(&self) {
        if self.exited.is_none() {
            let _ = killpg(self.group, Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}

/// A path inside the container as a path of this machine.
fn resolved(root: &Path, path: &str) -> Result<PathBuf, StartError> {
    inside(root, Path::new(path)).map_err(|error| not_executed(path, &error.to_string()))
}

fn not_executed(name: &str, problem: &str) -> StartError {
    StartError(format!(
        "failed to create task for container: exec: {name:?}: {problem}"
    ))
}

fn container_path(environment: &[(String, String)]) -> &str {
    environment
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map_or(DEFAULT_PATH, |(_, value)| value)
}

/// The directories of the container's search path, then those of this machine.
fn search_path(root: &Path, container_path: &str) -> std::ffi::OsString {
    let ours = std::env::var_os("PATH").unwrap_or_default();
    let container = container_path
        .split(':')
        .filter_map(|directory| inside(root, Path::new(directory)).ok());
    let all: Vec<PathBuf> = container.chain(std::env::split_paths(&ours)).collect();
    std::env::join_paths(all).unwrap_or(ours)
}

/// Looks a program up in the image: a path as it stands, a bare name along the search path.
fn find_program(
    root: &Path,
    directory: &str,
    container_path: &str,
    name: &str,
) -> Result<PathBuf, StartError> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        // A name that begins with a slash takes the directory's place.
        let path = Path::new(directory).join(name);
        vec![resolved(root, &path.display().to_string())?]
    } else {
        let directories = container_path.split(':');
        let paths = directories.map(|path| resolved(root, &format!("{path}/{name}")));
        paths.collect::<Result<_, _>>()?
    };
    if let Some(found) = candidates.iter().find(|path| is_executable(path)) {
        return Ok(found.clone());
    }
    let problem = if candidates.iter().any(|path| path.is_file()) {
        "permission denied"
    } else if name.contains('/') {
        "no such file or directory"
    } else {
        "executable file not found in $PATH"
    };
    Err(not_executed(name, problem))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::AsyncReadExt;

    use super::*;

    fn image(script: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("usr/bin");
        std::fs::create_dir_all(&directory).unwrap();
        let program = directory.join("app");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        root
    }

    fn spec(root: &Path, command: &[&str]) -> Spec {
        Spec {
            root: root.to_owned(),
            working_directory: String::new(),
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            environment: vec![("GREETING".to_owned(), "hello".to_owned())],
        }
    }

    async fn run(script: &str, arguments: &[&str]) -> (i32, String) {
        let root = image(script);
        let command: Vec<&str> = ["app"].iter().chain(arguments).copied().collect();
        let (mut process, mut pipe) = Process::start(&spec(root.path(), &command)).unwrap();
        let mut output = String::new();
        let code = process.wait().await;
        pipe.read_to_string(&mut output).await.unwrap();
        (code, output)
    }

    #[tokio::test]
    async fn the_exit_code_and_the_output_are_those_of_the_program() {
        let script = "echo \"$GREETING $1\"; echo problem >&2; echo end; exit 7";
        assert_eq!(
            run(script, &["world"]).await,
            (7, "hello world\nproblem\nend\n".to_owned())
        );
    }

    #[tokio::test]
    async fn a_signal_gives_128_and_its_number() {
        assert_eq!(run("kill -9 $$", &[]).await.0, 137);
    }

    #[tokio::test]
    async fn the_environment_of_this_process_is_not_inherited() {
        let (_, output) = run("env", &[]).await;
        assert!(output.contains("GREETING=hello"), "{output}");
        assert!(!output.contains("CARGO"), "{output}");
    }

    #[tokio::test]
    async fn what_the_main_process_leaves_behind_is_killed() {
        let started = Instant::now();
        let (code, _) = run("sleep 60 & exit 0", &[]).await;
        assert_eq!(code, 0);
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_process_can_end_itself_in_order_when_it_is_terminated() {
        let root = image("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done");
        let (mut process, mut pipe) = Process::start(&spec(root.path(), &["app"])).unwrap();
        let mut up = [0; 3];
        pipe.read_exact(&mut up).await.unwrap();
        process.terminate();
        assert_eq!(process.wait().await, 0);
    }

    #[test]
    fn a_program_that_is_not_in_the_image_is_not_started() {
        let root = image("exit 0");
        for command in [&["ls"][..], &["/bin/sh"], &["./app"], &[]] {
            let error = Process::start(&spec(root.path(), command)).unwrap_err();
            assert!(
                error.to_string().starts_with("CannotStartContainerError: "),
                "{error}"
            );
        }
    }

    #[test]
    fn a_link_that_leads_out_of_the_image_leads_to_nothing() {
        let root = image("exit 0");
        let bin = root.path().join("usr/bin");
        std::os::unix::fs::symlink("/bin/sh", bin.join("shell")).unwrap();
        std::os::unix::fs::symlink("/usr/bin/app", bin.join("other")).unwrap();
        assert!(Process::start(&spec(root.path(), &["shell"])).is_err());
        let found = find_program(root.path(), "", DEFAULT_PATH, "other").unwrap();
        assert_eq!(found, bin.join("app"));
    }

    #[test]
    fn a_program_that_nothing_here_can_load_is_not_started() {
        let root = image("exit 0");
        let program = root.path().join("usr/bin/app");
        std::fs::write(&program, "#!/no/such/shell\n").unwrap();
        let error = Process::start(&spec(root.path(), &["app"])).unwrap_err();
        let error = error.to_string();
        let expected =
            "CannotStartContainerError: failed to create task for container: exec: \"app\": ";
        assert!(error.starts_with(expected), "{error}");
        assert!(error.contains("/no/such/shell"), "{error}");
    }
}
