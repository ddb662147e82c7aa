//! What a function writes to its standard output and error.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use tokio::net::unix::pipe::Receiver;

/// Both streams of a process, through one pipe, so that their order is kept.
///
/// Whatever a runtime wrote before it posted its answer is in the pipe by then: after an
/// invocation [`Output::drain`] reads it all without waiting.
#[derive(Debug)]
pub(crate) struct Output {
    pipe: Receiver,
    partial: Vec<u8>,
    ended: bool,
}

impl Output {
    /// The reading end, and two writing ends for a child's stdout and stderr.
    pub(crate) fn new() -> std::io::Result<(Self, Stdio, Stdio)> {
        let (reader, writer) = std::io::pipe()?;
        let output = Self {
            pipe: Receiver::from_owned_fd(OwnedFd::from(reader))?,
            partial: Vec::new(),
            ended: false,
        };
        let duplicate = writer.try_clone()?;
        Ok((output, writer.into(), duplicate.into()))
    }

    /// Waits for output and answers the lines complete so far; pends for ever once the
    /// process has closed its end.
    pub(crate) async fn lines(&mut self) -> Vec<String> {
        loop {
            if self.ended || self.pipe.readable().await.is_err() {
                std::future::pending::<()>().await;
            }
            let lines = self.read_available();
            if !lines.is_empty() {
                return lines;
            }
        }
    }

    /// Everything written up to now, a last unfinished line included.
    pub(crate) fn drain(&mut self) -> Vec<String> {
        let mut lines = self.read_available();
        if !self.partial.is_empty() {
            lines.push(text(&std::mem::take(&mut self.partial)));
        }
        lines
    }

    fn read_available(&mut self) -> Vec<String> {
        let mut chunk = [0; 8192];
        while !self.ended {
            match self.pipe.try_read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(read) => self.partial.extend(&chunk[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => self.ended = true,
            }
        }
        self.take_complete_lines()
    }

    fn take_complete_lines(&mut self) -> Vec<String> {
        let Some(end) = self.partial.iter().rposition(|&byte| byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.partial.split_off(end + 1);
        let complete = std::mem::replace(&mut self.partial, rest);
        complete[..end]
            .split(|&byte| byte == b'\n')
            .map(text)
            .collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches('\r')
        .to_owned()
}
