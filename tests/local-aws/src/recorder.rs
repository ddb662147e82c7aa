//! A record of the calls of an API, one JSON line a call, for a checker to read.

use std::io;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

/// Writes calls into a file, one after the other.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: Mutex<File>,
}

impl Recorder {
    /// Starts a new record.
    pub(crate) async fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path)
            .await
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    /// Adds a call; afterwards it is in the file. A caller whose answer waits for this finds all
    /// its calls there.
    pub(crate) async fn record(&self, call: &Value) -> io::Result<()> {
        let line = format!("{call}\n");
        let mut file = self.file.lock().await;
        file.write_all(line.as_bytes()).await?;
        file.flush().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_call_is_in_the_file_when_it_has_been_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls");
        let recorder = Recorder::create(&path).await.unwrap();
        for (call, expected) in [(1, "1\n"), (2, "1\n2\n")] {
            recorder.record(&json!(call)).await.unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
    }
}
