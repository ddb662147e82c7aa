//! What a person reads, line by line: in a terminal and in a log alike.

use bluegreen_contract::printable;
use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the lines go. Clones write to the same place.
#[derive(Clone)]
pub struct Say(Arc<Mutex<dyn Write + Send>>);

impl std::fmt::Debug for Say {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Say")
    }
}

impl Say {
    /// Lines on the standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::to(std::io::stdout())
    }

    /// Lines to any writer.
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    /// Writes a line at once. That nobody reads it is no reason to stop what is being done. A line may have words of
    /// others, of which a terminal obeys none.
    pub fn line(&self, text: impl Display) {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(writer, "{}", printable(&text.to_string())).ok();
        writer.flush().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_terminal_obeys_nothing_in_a_line() {
        let written = Written::default();
        let say = Say::to(written.clone());
        say.line("FAILED\n  \u{1b}[2Jpush of v2");
        let bytes = written.0.lock().unwrap().clone();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "FAILED\n  \u{fffd}[2Jpush of v2\n"
        );
    }
}
