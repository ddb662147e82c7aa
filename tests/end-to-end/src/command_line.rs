//! The command line, `bluegreen`, run as a person or a script runs it.

use std::io::{Read, Write};
use std::num::NonZero;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use local_aws::client::{LocalAws, executable};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;

const LOOK: Duration = Duration::from_millis(50);
/// With these a terminal is asked where its cursor is.
const WHERE: &[u8] = b"\x1b[6n";

/// The program and what it finds in its environment.
#[derive(Clone, Debug)]
pub struct CommandLine {
    program: std::path::PathBuf,
    environment: Vec<(String, String)>,
}

/// What a call has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// What it has printed.
    pub out: String,
    /// What it has printed beside.
    pub aside: String,
}

impl CommandLine {
    /// The program, talking to `aws` and to nothing else.
    ///
    /// # Errors
    /// It is not built.
    pub fn new(aws: &LocalAws) -> Result<Self> {
        Ok(Self {
            program: executable("bluegreen")?,
            environment: aws.environment(),
        })
    }

    /// The same with another value of a variable; `None`: without the variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        self.environment.retain(|(known, _)| known != name);
        let value = value.map(|value| (name.to_owned(), value.to_owned()));
        self.environment.extend(value);
        self
    }

    /// Runs `bluegreen ARGUMENTS…` to its end.
    ///
    /// # Errors
    /// It cannot be run, or was ended by a signal.
    pub async fn run(&self, arguments: &[&str]) -> Result<Said> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        Ok(Said {
            code: output.status.code().context("a signal has ended it")?,
            out: String::from_utf8(output.stdout)?,
            aside: String::from_utf8(output.stderr)?,
        })
    }

    /// The same of a call that succeeds and prints JSON.
    ///
    /// # Errors
    /// As [`run`](Self::run), or it fails.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.run(&[arguments, &["--json"]].concat()).await?;
        ensure!(said.code == 0, "{arguments:?}: {said:?}");
        Ok(serde_json::from_str(&said.out)?)
    }

    /// Runs it in a terminal of so many rows and columns.
    ///
    /// # Errors
    /// There is no pseudo-terminal, or it cannot be run.
    pub fn in_terminal(&self, arguments: &[&str], (rows, cols): (u16, u16)) -> Result<Terminal> {
        let pair = native_pty_system().openpty(size(rows, cols))?;
        let mut command = CommandBuilder::new(&self.program);
        command.args(arguments);
        command.env_clear();
        command.env("TERM", "xterm-256color");
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command)?;
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(some(rows), some(cols), 1000)));
        let mut reader = pair.master.try_clone_reader()?;
        let writer = Arc::new(Mutex::new(pair.master.take_writer()?));
        let (shown, answers) = (Arc::clone(&screen), Arc::clone(&writer));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                let bytes = &bytes[..read];
                let mut screen = shown.lock().unwrap_or_else(PoisonError::into_inner);
                screen.process(bytes);
                if bytes.windows(WHERE.len()).any(|some| some == WHERE) {
                    let (row, column) = screen.screen().cursor_position();
                    let mut writer = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    let _ = write!(writer, "\x1b[{};{}R", row + 1, column + 1);
                }
            }
        });
        Ok(Terminal {
            child,
            master: pair.master,
            writer,
            screen,
        })
    }
}

fn some(lines: u16) -> NonZero<u16> {
    NonZero::new(lines).unwrap_or(NonZero::<u16>::MIN)
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize {
        rows,
        cols,
        pixel_width: 0,
        pixel_height: 0,
    }
}

/// A terminal in which it runs.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// What stands on the screen, line by line.
    #[must_use]
    pub fn text(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.screen().contents()
    }

    /// Waits until all of these words stand on the screen at once.
    ///
    /// # Errors
    /// They do not within `patience`.
    pub async fn shows(&self, words: &[&str], patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let text = self.text();
            if words.iter().all(|words| text.contains(words)) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{words:?} do not stand on the screen:\n{text}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Gives the terminal another size.
    ///
    /// # Errors
    /// It does not take it.
    pub fn resize(&self, rows: u16, cols: u16) -> Result<()> {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.screen_mut().set_size(some(rows), some(cols));
        self.master.resize(size(rows, cols))
    }

    /// Presses Ctrl-C and waits for the end; answers the exit code.
    ///
    /// # Errors
    /// It does not end within `patience`.
    pub async fn leave(&mut self, patience: Duration) -> Result<u32> {
        {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.write_all(b"\x03")?;
            writer.flush()?;
        }
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.exit_code());
            }
            if Instant::now() >= deadline {
                bail!("Ctrl-C does not end it:\n{}", self.text());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
