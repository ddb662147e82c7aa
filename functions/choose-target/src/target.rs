//! Where the services go back to: a plain function over the releases of the stack, newest first.
//!
//! | the rollback | what the releases say | the services go to |
//! |---|---|---|
//! | is asked for, and a try before it was redriven has succeeded | | where that went |
//! | is asked for, and names a release | it succeeded | it |
//! | | it did not, or there is none of that name | nowhere |
//! | is asked for | none serves | the last good release |
//! | | as there, but there is no good release | what ran before the one that ended half way |
//! | | one after the one that serves ended half way | the one that serves |
//! | | otherwise | the last good release before the one that serves, with another image |
//! | | as there, but there is none | what ran before the first one |
//! | follows a failure | what ran before was found healthy, or was gone back to | what ran before |
//! | | a rollback ended half way | the release that it was to restore, or what ran before the first one |
//! | | a release ended half way, or this one had changed services before | the last good release |
//! | | as there, but there is no good release | what ran before, where that is known |
//!
//! A release is good that succeeded and was not rolled back since. A rollback to what ran before the
//! first release is one too. Releases of other repositories than the one that is rolled back do not
//! count.
//!
//! The first release is found from the one that serves: where an earlier one had brought what ran before
//! it, that one's before counts, and so on. What ran before the first is nowhere to go back to where it is
//! the same image, as of a stack that was created with the image that was then released by hand. An image
//! that is named by the first release's own tag is the same: a task that starts gets what the tag names by
//! then.

use bluegreen_contract::{
    GoodRelease, NamedRelease, RequestedAction, ServingImage, WantedRevision,
};
use bluegreen_ecr::EcrImage;
use bluegreen_release::{Record, verdict};
use std::collections::BTreeSet;

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
    /// What they ran before this release, which was the first.
    BeforeFirst(Release),
    /// What they ran before, whose image is that of the last good release.
    Before {
        serving: Option<ServingImage>,
    },
    /// They ran the same image before this release, which was the first.
    SameBefore(Release),
    Nowhere,
}

/// A release that had an image, or was to bring back what ran before the first one, as its record says.
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
    /// `None` for what ran before the first release.
    pub(crate) image: Option<Image>,
    /// The images of the repository that ran before it, each once; none where its record does not say.
    pub(crate) ran_before: Vec<String>,
    /// It was about to change services.
    pub(crate) touched: bool,
    /// Name of the error with which it ended.
    pub(crate) error: Option<String>,
    /// ARN of its migration's task.
    pub(crate) migration: Option<String>,
    /// Of a rollback: key of the record of the deployment that it restores.
    pub(crate) restores: Option<String>,
    /// Of a rollback to what ran before the first release: key of the record of that one.
    pub(crate) restores_before: Option<String>,
}

/// The image of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) digest: String,
    /// `registry/repository@digest`.
    pub(crate) reference: String,
}

impl Release {
    /// `None` where the release never had an image, or ran a contract command: it changed no service.
    pub(crate) fn of(record: Record) -> Option<Self> {
        if record.action == RequestedAction::Contract {
            return None;
        }
        let name = record.name().to_owned();
        let image = match (record.digest, record.image, &record.restores_before) {
            (_, _, Some(_)) => None,
            (Some(digest), Some(reference), None) => Some(Image { digest, reference }),
            _ => return None,
        };
        Some(Self {
            name,
            repository: record.repository?,
            image,
            ran_before: record.images_before,
            touched: record.touched.is_some(),
            record: record.key,
            verdict: record.verdict,
            action: record.action,
            tag: record.tag,
            error: record.error,
            migration: record.migration,
            restores: record.restores,
            restores_before: record.restores_before,
        })
    }

    /// As a sentence calls it.
    pub(crate) fn called(&self) -> &str {
        let tag = self.tag.as_deref();
        tag.or(self.digest()).unwrap_or(&self.name)
    }

    /// `None` for what ran before the first release.
    pub(crate) fn digest(&self) -> Option<&str> {
        Some(&self.image.as_ref()?.digest)
    }

    pub(crate) fn serving(&self) -> Option<ServingImage> {
        Some(ServingImage {
            repository: self.repository.clone(),
            image: self.image.as_ref()?.reference.clone(),
        })
    }

    /// What ran before it, where that was one image.
    pub(crate) fn served_before(&self) -> Option<ServingImage> {
        let [image] = self.ran_before.as_slice() else {
            return None;
        };
        Some(ServingImage {
            repository: self.repository.clone(),
            image: image.clone(),
        })
    }

    pub(crate) fn named(&self) -> NamedRelease {
        NamedRelease {
            record: self.record.clone(),
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            digest: self.digest().map(str::to_owned),
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

    /// It is a deployment that ended half way.
    fn is_half_deployed(&self) -> bool {
        self.is_half_done() && self.action == RequestedAction::Deploy
    }

    /// Key of the record of the deployment whose image it brought, or of the one before which ran what it
    /// brought.
    fn deployment(&self) -> &str {
        let restored = self.restores.as_deref().or(self.restores_before.as_deref());
        restored.unwrap_or(&self.record)
    }

    /// Whether what it brings back ran before the release with that record and none of its images since.
    pub(crate) fn is_before(&self, record: &str) -> bool {
        match &self.restores_before {
            Some(first) => first.as_str() <= record,
            None => self.deployment() < record,
        }
    }

    /// Whether what ran before it had been brought by the `earlier` one. One that found its image in
    /// service updated nothing.
    fn came_after(&self, earlier: &Release) -> bool {
        let Some(digest) = earlier.digest() else {
            return false;
        };
        let brought = |image: &String| pinned(image) == Some(digest);
        match self.ran_before.is_empty() {
            true => self.digest() == Some(digest),
            false => self.ran_before.iter().any(brought),
        }
    }

    /// Whether nothing but its own image ran before it.
    fn ran_already(&self) -> bool {
        let is_own = |image: &String| match pinned(image) {
            Some(digest) => Some(digest) == self.digest(),
            None => self.tag.as_deref().is_some_and(|tag| tag == tag_of(image)),
        };
        !self.ran_before.is_empty() && self.ran_before.iter().all(is_own)
    }

    /// As a release that a rollback goes to; `None` for what ran before the first one.
    pub(crate) fn good(&self) -> Option<GoodRelease> {
        let image = self.image.as_ref()?;
        Some(GoodRelease {
            record: self.record.clone(),
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            digest: image.digest.clone(),
            image: image.reference.clone(),
            restores: self.deployment().to_owned(),
        })
    }
}

fn pinned(image: &str) -> Option<&str> {
    EcrImage::parse(image)?.digest
}

/// Without a tag it is `latest`
/// (<https://docs.docker.com/reference/cli/docker/image/pull/>).
fn tag_of(image: &str) -> &str {
    let tag = EcrImage::parse(image).and_then(|image| image.tag);
    tag.unwrap_or("latest")
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
    pub(crate) fn reach(&self, record: &str) -> bool {
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
        Choice::Release(release) | Choice::BeforeFirst(release)
            if !releases.reach(&release.record) =>
        {
            None
        }
        _ => Some(choice),
    }
}

/// The release that a rollback takes back that was asked for: the one that serves, or one that ended half
/// way after it.
pub(crate) fn taken_back<'a>(
    current: Option<&'a Release>,
    read: &'a [Release],
) -> Option<&'a Release> {
    let half_deployed = read.iter().find(|release| {
        release.is_half_deployed()
            && release.touched
            && current.is_none_or(|current| {
                current.repository == release.repository && current.record < release.record
            })
    });
    half_deployed.or(current)
}

/// Good releases before the `chosen` one, with other images than it and the one that serves have: as
/// many, or all there are. `None`: more have to be read first.
pub(crate) fn further_back<'a>(
    chosen: &Release,
    current: Option<&Release>,
    releases: Releases<'a>,
    most: usize,
) -> Option<Vec<&'a Release>> {
    let mut digests = BTreeSet::from([chosen.digest(), current.and_then(Release::digest), None]);
    let found: Vec<&Release> = releases
        .read
        .iter()
        .filter(|release| {
            release.is_good()
                && release.repository == chosen.repository
                && release.record < chosen.record
                && digests.insert(release.digest())
        })
        .take(most)
        .collect();
    (releases.all || found.len() == most).then_some(found)
}

fn named(name: &str, releases: Releases<'_>) -> Option<Choice> {
    let named = releases.newest(|release| release.name == name && release.is_good())?;
    Some(release_or(named, Choice::Nowhere))
}

fn asked(current: Option<&Release>, releases: Releases<'_>) -> Option<Choice> {
    let Some(current) = current else {
        let good = releases.newest(Release::is_good)?;
        let half_deployed = |release: &Release| release.is_half_deployed() && release.touched;
        let otherwise = match releases.newest(half_deployed) {
            Some(Some(release)) if good.is_none() => before_the_first(release, releases.read),
            _ => Choice::Nowhere,
        };
        return Some(release_or(good, otherwise));
    };
    let before = last_to_change(&current.repository, releases)?;
    let comes_back =
        before.is_some_and(|before| before.is_half_deployed() && before.record > current.record);
    if comes_back && current.is_good() {
        return Some(Choice::Release(current.clone()));
    }
    let good = releases.newest(|release| {
        release.is_good()
            && release.repository == current.repository
            && release.record.as_str() < current.deployment()
            && release.digest() != current.digest()
    })?;
    let deployment = |release: &&Release| release.record == current.deployment();
    let otherwise = match releases.read.iter().find(deployment) {
        // What runs is what ran before the first one.
        _ if good.is_some() || current.digest().is_none() => Choice::Nowhere,
        Some(deployment) => before_the_first(deployment, releases.read),
        None => Choice::Nowhere,
    };
    Some(release_or(good, otherwise))
}

/// From a release, of which no earlier one is good, to what ran before the first.
fn before_the_first(release: &Release, read: &[Release]) -> Choice {
    let mut first = release;
    while let Some(earlier) = read.iter().find(|earlier| {
        earlier.repository == first.repository
            && earlier.record < first.record
            && first.came_after(earlier)
    }) {
        first = earlier;
    }
    match first.ran_already() {
        true => Choice::SameBefore(first.clone()),
        false => Choice::BeforeFirst(first.clone()),
    }
}

fn failed(repository: &str, suspect: bool, releases: Releases<'_>) -> Option<Choice> {
    let good = releases.newest(|release| release.is_good() && release.repository == repository)?;
    let before = last_to_change(repository, releases)?;
    let half_done = before.filter(|before| before.is_half_done());
    let rollback = half_done.filter(|before| before.action == RequestedAction::Rollback);
    if let Some(first) = rollback.and_then(|rollback| rollback.restores_before.as_deref()) {
        let first = releases.newest(|release| release.record == first)?;
        if let Some(first) = first {
            return Some(Choice::BeforeFirst(first.clone()));
        }
    }
    let restored = rollback.and_then(|rollback| rollback.restores.as_deref());
    let chosen = match restored {
        Some(restored) => releases.newest(|release| release.record == restored)?,
        None if suspect || half_done.is_some() => good,
        None => None,
    };
    let without = match suspect {
        true => Choice::Nowhere,
        false => Choice::Before {
            serving: good.and_then(Release::serving),
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

/// The migrations that stay in the database when the services go back to `chosen`, newest first;
/// `before`: to what ran before it.
pub(crate) fn migrations(releases: &[Release], chosen: &Release, before: bool) -> Vec<String> {
    let newer = releases.iter().filter(|release| {
        release.record > chosen.record || (before && release.record == chosen.record)
    });
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
