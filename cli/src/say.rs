//! What a person reads, line by line: in a terminal and in a log alike.

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

    /// Writes a line at once. That nobody reads it is no reason to stop what is being done.
    pub fn line(&self, text: impl Display) {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(writer, "{text}").ok();
        writer.flush().ok();
    }
}
