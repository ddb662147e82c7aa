//! The directory in which a local AWS unpacks images and functions: it alone has it, and what an
//! earlier one left there is of no use to it, because whatever knew of it is gone.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Locked by the local AWS that has the directory, whose process it names. The lock ends with the
/// process, however that ends.
const LOCK: &str = "local-aws.lock";
/// What a local AWS keeps in the directory beside its log. It is as large as the images are.
const KEPT: [&str; 2] = [IMAGES, FUNCTIONS];

/// Where whoever starts a local AWS lets it write its log.
pub(crate) const LOG: &str = "local-aws.log";
pub(crate) const IMAGES: &str = "images";
pub(crate) const FUNCTIONS: &str = "functions";

/// A directory that nobody else has. It is emptied when it is taken and when it is dropped.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
    _lock: File,
}

impl StateDirectory {
    /// Takes the directory, which is made if it is missing.
    ///
    /// # Errors
    /// Another local AWS has it, or it cannot be used.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
        let unusable = || format!("{} is not usable", path.display());
        let path = fs::canonicalize(path).with_context(unusable)?;
        let mut options = File::options();
        let lock = options.read(true).write(true).create(true).truncate(false);
        let mut lock = lock.open(path.join(LOCK)).with_context(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                lock.read_to_string(&mut owner).ok();
                bail!(
                    "another local AWS (process {}) has the directory {}: end it, or give this one \
                     another directory with --state",
                    owner.trim(),
                    path.display()
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(unusable),
        }
        lock.set_len(0).with_context(unusable)?;
        writeln!(lock, "{}", std::process::id()).with_context(unusable)?;
        let taken = Self { path, _lock: lock };
        taken.clear();
        if let Ok(log) = File::options().write(true).open(taken.path.join(LOG)) {
            log.set_len(0).ok();
        }
        Ok(taken)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn clear(&self) {
        for name in KEPT {
            let kept = self.path.join(name);
            match fs::remove_dir_all(&kept) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(path = %kept.display(), %error, "is left over");
                }
                _ => {}
            }
        }
    }
}

impl Drop for StateDirectory {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_of_one_local_aws_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("made/if/missing");
        let first = StateDirectory::take(&state).unwrap();
        let refused = StateDirectory::take(&state).unwrap_err().to_string();
        let owner = format!("process {}", std::process::id());
        for said in [&owner, "made/if/missing", "--state"] {
            assert!(refused.contains(said), "{refused}");
        }
        drop(first);
        StateDirectory::take(&state).unwrap();
    }

    #[test]
    fn what_an_earlier_one_left_is_gone_and_the_log_is_kept_until_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let layer = directory.path().join(IMAGES).join("blobs/layer");
        let code = directory.path().join(FUNCTIONS).join("code/bootstrap");
        let log = directory.path().join(LOG);
        let fill = || {
            for file in [&layer, &code, &log] {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "x").unwrap();
            }
        };
        let left = || [&layer, &code].map(|file| file.exists());
        let log = || fs::read_to_string(&log).unwrap();
        fill();
        let taken = StateDirectory::take(directory.path()).unwrap();
        assert_eq!((left(), log()), ([false, false], String::new()));
        fill();
        drop(taken);
        assert_eq!((left(), log()), ([false, false], "x".to_owned()));
    }
}
