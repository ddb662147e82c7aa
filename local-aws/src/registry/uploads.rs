//! Uploads that have begun and are not complete: each is a file that nobody else sees.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;

/// An upload with which nobody goes on for so long is dropped when the next one begins.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The uploads that wait for more, by their ids.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    waiting: Mutex<HashMap<String, Upload>>,
}

/// The part of a blob that has come. Its file goes with it.
#[derive(Debug)]
pub(super) struct Upload {
    repository: String,
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
    touched: Instant,
}

impl Uploads {
    /// Lets an upload wait for more; answers its id.
    pub(super) fn begin(&self, upload: Upload) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        let mut waiting = self.lock();
        waiting.retain(|_, upload| upload.touched.elapsed() < PATIENCE);
        waiting.insert(id.clone(), upload);
        id
    }

    /// Takes an upload out, so that no other request goes on with it meanwhile.
    pub(super) fn take(&self, repository: &str, id: &str) -> Option<Upload> {
        let mut waiting = self.lock();
        waiting.get(id).filter(|it| it.repository == repository)?;
        waiting.remove(id)
    }

    pub(super) fn put_back(&self, id: &str, mut upload: Upload) {
        upload.touched = Instant::now();
        self.lock().insert(id.to_owned(), upload);
    }

    /// How many bytes of an upload have come.
    pub(super) fn size(&self, repository: &str, id: &str) -> Option<u64> {
        let waiting = self.lock();
        let upload = waiting.get(id).filter(|it| it.repository == repository);
        upload.map(Upload::size)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Upload>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    pub(super) fn new(repository: &str, file: NamedTempFile) -> Self {
        Self {
            repository: repository.to_owned(),
            file,
            hash: Sha256::new(),
            size: 0,
            touched: Instant::now(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds what a request brings.
    ///
    /// # Errors
    /// The request breaks off, or the disk is full: the upload is good for nothing any more.
    pub(super) async fn append(&mut self, body: Body) -> anyhow::Result<()> {
        let mut file = tokio::fs::File::from_std(self.file.as_file().try_clone()?);
        let mut parts = body.into_data_stream();
        while let Some(part) = parts.next().await {
            let part = part?;
            self.hash.update(&part);
            self.size += part.len() as u64;
            file.write_all(&part).await?;
        }
        file.flush().await?;
        Ok(())
    }

    /// The file, and the digits of its digest.
    pub(super) fn finish(self) -> (NamedTempFile, String) {
        let digest = Bytes::copy_from_slice(&self.hash.finalize());
        (self.file, format!("{digest:x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload() -> Upload {
        Upload::new("demo", NamedTempFile::new().unwrap())
    }

    #[test]
    fn an_upload_belongs_to_its_repository_and_to_one_request_at_a_time() {
        let uploads = Uploads::default();
        let id = uploads.begin(upload());
        assert!(uploads.take("other", &id).is_none());
        let taken = uploads.take("demo", &id).unwrap();
        assert!(uploads.take("demo", &id).is_none());
        uploads.put_back(&id, taken);
        assert_eq!(uploads.size("demo", &id), Some(0));
    }

    #[test]
    fn an_upload_with_which_nobody_goes_on_is_dropped_with_its_file() {
        let uploads = Uploads::default();
        let mut old = upload();
        let Some(long_ago) = Instant::now().checked_sub(PATIENCE) else {
            // This machine has been up for less than that.
            return;
        };
        old.touched = long_ago;
        let file = old.file.path().to_owned();
        let id = uploads.begin(old);
        assert!(file.exists());
        let other = uploads.begin(upload());
        assert!(!file.exists());
        assert!(uploads.take("demo", &id).is_none());
        assert!(uploads.take("demo", &other).is_some());
    }

    #[tokio::test]
    async fn parts_are_hashed_in_order_and_one_that_breaks_off_is_an_error() {
        let mut upload = upload();
        upload.append(Body::from("one ")).await.unwrap();
        upload.append(Body::from("two")).await.unwrap();
        assert_eq!(upload.size(), 7);
        let breaks: [Result<Bytes, std::io::Error>; 2] =
            [Ok("x".into()), Err(std::io::Error::other("gone"))];
        let mut broken = self::upload();
        let body = Body::from_stream(futures_util::stream::iter(breaks));
        assert!(broken.append(body).await.is_err());
        let (file, hex) = upload.finish();
        assert_eq!(hex, crate::images::sha256_hex(b"one two"));
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "one two");
    }
}
