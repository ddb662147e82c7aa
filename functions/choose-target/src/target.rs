//! Where the services go back to: a plain function over the releases of the stack, newest first.
//!
//! | the rollback | what the releases say | the services go to |
//! |---|---|---|
//! | is asked for, and names a release | it succeeded | it |
//! | | it did not, or there is none of that name | nowhere |
//! | is asked for | none serves | the last good release |
//! | | one after the one that serves ended half way | the one that serves |
//! | | otherwise | the last good release before the one that serves, with another image |
//! | follows a failure | what ran before was found healthy, or was gone back to | what ran before |
//! | | a rollback ended half way | the release that it was to restore |
//! | | a release ended half way, or this one had changed services before | the last good release |
//! | | as there, but there is no good release | what ran before, where that is known |
//!
//! A release is good that succeeded and was not rolled back since. Releases of other repositories
//! than the one that is rolled back do not count.

use bluegreen_contract::{GoodRelease, RequestedAction, ServingImage, WantedRevision};
use bluegreen_release::{Record, verdict};

/// Why the services go back, and what is known beside the releases.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Why<'a> {
    /// A person asks for it, or an alarm.
    Asked {
        /// Name of the execution of the release that is to serve.
        to: Option<&'a str>,
        /// The release that serves, as the turn says.
        current: Option<&'a Release>,
    },
    /// The release failed.
    Failed {
        repository: &'a str,
        /// What the services ran when the release was planned is not known to be good: an earlier
        /// try of it had changed them, or nobody has found it healthy yet.
        suspect: bool,
    },
}

/// Where the services go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    Release(Release),
    /// What they ran before, whose image is that of the last good release.
    Before {
        serving: Option<ServingImage>,
    },
    Nowhere,
}

/// A release that had an image, as its record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// Key of its record: the later a release began, the greater.
    pub(crate) record: String,
    /// Name of its execution.
    pub(crate) name: String,
    pub(crate) verdict: String,
    pub(crate) action: RequestedAction,
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: String,
    pub(crate) image: String,
    /// Name of the error with which it ended.
    pub(crate) error: Option<String>,
    /// ARN of its migration's task.
    pub(crate) migration: Option<String>,
    /// Of a rollback: key of the record of the deployment that it restores.
    pub(crate) restores: Option<String>,
}

impl Release {
    /// `None` where the release never had an image: it changed nothing.
    pub(crate) fn of(record: Record) -> Option<Self> {
        Some(Self {
            name: record.name().to_owned(),
            repository: record.repository?,
            digest: record.digest?,
            image: record.image?,
            record: record.key,
            verdict: record.verdict,
            action: record.action,
            tag: record.tag,
            error: record.error,
            migration: record.migration,
            restores: record.restores,
        })
    }

    /// As a sentence calls it.
    pub(crate) fn called(&self) -> &str {
        self.tag.as_deref().unwrap_or(&self.digest)
    }

    pub(crate) fn serving(&self) -> ServingImage {
        ServingImage {
            repository: self.repository.clone(),
            image: self.image.clone(),
        }
    }

    fn is_good(&self) -> bool {
        self.verdict == verdict::SUCCEEDED
    }

    /// The services ran its image when it ended, or one that it had brought back: somebody saw so.
    fn is_certain(&self) -> bool {
        self.is_good() || self.verdict == verdict::ROLLED_BACK
    }

    /// It ended half way: the services may run anything.
    fn is_half_done(&self) -> bool {
        [verdict::ABANDONED, verdict::IN_PROGRESS].contains(&self.verdict.as_str())
            || self.error.as_deref() == Some("RollbackFailed")
    }

    /// Key of the record of the deployment whose image it brought.
    fn deployment(&self) -> &str {
        self.restores.as_deref().unwrap_or(&self.record)
    }
}

impl From<&Release> for GoodRelease {
    fn from(release: &Release) -> Self {
        Self {
            record: release.record.clone(),
            repository: release.repository.clone(),
            tag: release.tag.clone(),
            digest: release.digest.clone(),
            image: release.image.clone(),
            restores: release.deployment().to_owned(),
        }
    }
}

/// The releases of a stack as far as they have been read: newest first, without the one that asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Releases<'a> {
    pub(crate) read: &'a [Release],
    /// There are no others.
    pub(crate) all: bool,
}

impl<'a> Releases<'a> {
    /// The newest of which something holds; `None`: it may be among those that are not read yet.
    fn newest(&self, holds: impl Fn(&Release) -> bool) -> Option<Option<&'a Release>> {
        match self.read.iter().find(|release| holds(release)) {
            None if !self.all => None,
            found => Some(found),
        }
    }

    /// Whether all that are newer than `record` have been read.
    fn reach(&self, record: &str) -> bool {
        let oldest = self.read.last();
        self.all || oldest.is_some_and(|oldest| oldest.record.as_str() <= record)
    }
}

/// Where the services go; `None`: more releases have to be read first.
pub(crate) fn choose(why: Why<'_>, releases: Releases<'_>) -> Option<Choice> {
    let choice = match why {
        Why::Asked { to: Some(name), .. } => named(name, releases)?,
        Why::Asked { current, .. } => asked(current, releases)?,
        Why::Failed {
            repository,
            suspect,
        } => failed(repository, suspect, releases)?,
    };
    match &choice {
        // The migrations since then are told.
        Choice::Release(release) if !releases.reach(&release.record) => None,
        _ => Some(choice),
    }
}

fn named(name: &str, releases: Releases<'_>) -> Option<Choice> {
    let named = releases.newest(|release| release.name == name && release.is_good())?;
    Some(release_or(named, Choice::Nowhere))
}

fn asked(current: Option<&Release>, releases: Releases<'_>) -> Option<Choice> {
    let Some(current) = current else {
        let good = releases.newest(Release::is_good)?;
        return Some(release_or(good, Choice::Nowhere));
    };
    let before = last_to_change(&current.repository, releases)?;
    let comes_back = before.is_some_and(|before| {
        before.is_half_done()
            && before.action == RequestedAction::Deploy
            && before.record > current.record
    });
    if comes_back && current.is_good() {
        return Some(Choice::Release(current.clone()));
    }
    let good = releases.newest(|release| {
        release.is_good()
            && release.repository == current.repository
            && release.record.as_str() < current.deployment()
            && release.digest != current.digest
    })?;
    Some(release_or(good, Choice::Nowhere))
}

fn failed(repository: &str, suspect: bool, releases: Releases<'_>) -> Option<Choice> {
    let good = releases.newest(|release| release.is_good() && release.repository == repository)?;
    let before = last_to_change(repository, releases)?;
    let half_done = before.filter(|before| before.is_half_done());
    let restored = half_done
        .filter(|before| before.action == RequestedAction::Rollback)
        .and_then(|before| before.restores.as_deref());
    let chosen = match restored {
        Some(restored) => releases.newest(|release| release.record == restored)?,
        None if suspect || half_done.is_some() => good,
        None => None,
    };
    let without = match suspect {
        true => Choice::Nowhere,
        false => Choice::Before {
            serving: good.map(Release::serving),
        },
    };
    Some(release_or(chosen, without))
}

/// The newest release of the repository that tells what the services run, or that nobody knows.
fn last_to_change<'a>(repository: &str, releases: Releases<'a>) -> Option<Option<&'a Release>> {
    releases.newest(|release| {
        release.repository == repository && (release.is_certain() || release.is_half_done())
    })
}

fn release_or(release: Option<&Release>, otherwise: Choice) -> Choice {
    release.map_or(otherwise, |release| Choice::Release(release.clone()))
}

/// What is known where the table answered no further: whether the services go back to what ran
/// before, although nobody can say which image that is.
pub(crate) fn before_unread(repository: &str, suspect: bool, read: &[Release]) -> Option<Unread> {
    let releases = Releases { read, all: false };
    match last_to_change(repository, releases).flatten() {
        _ if suspect => None,
        Some(before) if before.is_half_done() => None,
        Some(_) => Some(Unread { vouched: true }),
        None => Some(Unread { vouched: false }),
    }
}

/// See [`before_unread`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unread {
    /// A release that was read says that what ran before is good.
    pub(crate) vouched: bool,
}

/// How many migrations are named: more than a sentence has room for.
const MIGRATIONS: usize = 100;

/// The migrations that stay in the database when the services go back to `chosen`, newest first.
pub(crate) fn migrations(releases: &[Release], chosen: &Release) -> Vec<String> {
    let newer = releases
        .iter()
        .filter(|release| release.record > chosen.record);
    newer
        .filter_map(|release| {
            let task = release.migration.as_deref()?;
            Some(format!("{} (task {task})", release.called()))
        })
        .take(MIGRATIONS)
        .collect()
}

/// After a failure every service is rolled back; one that the release did not have yet to what it ran
/// before.
pub(crate) fn after_failure(
    before: &[WantedRevision],
    then: &[WantedRevision],
) -> Vec<WantedRevision> {
    before
        .iter()
        .map(|before| {
            let at = then.iter().find(|then| then.service == before.service);
            at.unwrap_or(before).clone()
        })
        .collect()
}

/// A rollback that is asked for brings back what the release ran, of the services that the stack
/// still has.
pub(crate) fn when_asked(now: &[WantedRevision], then: &[WantedRevision]) -> Vec<WantedRevision> {
    let is_there = |then: &&WantedRevision| now.iter().any(|now| now.service == then.service);
    then.iter().filter(is_there).cloned().collect()
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
