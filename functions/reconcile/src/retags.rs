//! Tags that were given to images which the repository had already.
//!
//! ECR does not tell when an image got a tag, and the time of its push stays
//! (<https://github.com/aws/containers-roadmap/issues/2746>). So each look at a repository compares its tags
//! with those that the look before has found: a tag that is new, or was another image's, on an image that was
//! pushed long before that look, has been given to it since.

use crate::images::{self, Image};
use bluegreen_release::{MovedTag, SeenTags};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fmt::Write;

/// As many tags as an item of the table has room for: what stands for 20,000 of them has 320,000 bytes
/// of its 400 KB.
const MOST_TAGS: usize = 20_000;
/// As many tags that have moved, newest images first.
const MOST_MOVED: usize = 100;
/// So many seconds after its push an image may still be missing in an answer.
const YOUNG: i64 = 30;
/// Hexadecimal digits that stand for a tag, and as many for its image.
const HALF: usize = 8;

/// What is to be remembered of a repository with these images, the newest first, where the last look began
/// at `looked` and has remembered `before`. The first look only remembers.
///
/// A tag that the look before has not found, but the one before that, has not moved: an answer of ECR in many
/// pages may have missed it.
pub(crate) fn compare(
    before: &SeenTags,
    looked: Option<&str>,
    images: &[Image],
    now: &str,
) -> SeenTags {
    let found = || {
        let images = images.iter();
        images.flat_map(|image| image.tags.iter().map(move |tag| (image, tag)))
    };
    let kept: Vec<_> = found()
        .take(MOST_TAGS)
        .map(|(image, tag)| (image, tag, mark(tag, &image.digest)))
        .collect();
    let oldest = kept.last().filter(|_| found().nth(MOST_TAGS).is_some());
    SeenTags {
        tags: kept.iter().map(|(_, _, mark)| mark.as_str()).collect(),
        gone: gone(before, &kept),
        since: oldest.map(|(image, ..)| image.pushed_at.clone()),
        moved: match looked.filter(|_| !before.is_first()) {
            Some(looked) => moved(before, looked, &kept, images, now),
            None => vec![],
        },
        ..before.clone()
    }
}

type Kept<'a> = (&'a Image, &'a String, String);

/// Tags that the look before has found and this one has not, on no image at all.
fn gone(before: &SeenTags, kept: &[Kept<'_>]) -> String {
    let now: HashSet<&str> = kept.iter().map(|(_, _, mark)| &mark[..HALF]).collect();
    marks(&before.tags)
        .filter(|mark| !now.contains(&mark[..HALF]))
        .take(MOST_TAGS - kept.len())
        .collect()
}

fn moved(
    before: &SeenTags,
    looked: &str,
    kept: &[Kept<'_>],
    found: &[Image],
    now: &str,
) -> Vec<MovedTag> {
    // A younger one may have come with the tag, and the last look may have been too early for it.
    let old = images::before(looked, YOUNG);
    let known: HashSet<&str> = marks(&before.tags).chain(marks(&before.gone)).collect();
    let is_new = |(image, _, mark): &&Kept<'_>| {
        let was_kept = before
            .since
            .as_ref()
            .is_none_or(|since| image.pushed_at > *since);
        !known.contains(mark.as_str()) && image.pushed_at < old && was_kept
    };
    let new = kept.iter().filter(is_new).map(|(image, tag, _)| MovedTag {
        tag: (*tag).clone(),
        digest: image.digest.clone(),
        after: looked.to_owned(),
        seen: now.to_owned(),
    });
    let is_still = |moved: &&MovedTag| {
        let image = found.iter().find(|image| image.digest == moved.digest);
        image.is_some_and(|image| image.tags.contains(&moved.tag))
    };
    let earlier = before.moved.iter().filter(is_still).cloned();
    new.chain(earlier).take(MOST_MOVED).collect()
}

/// What stands for a tag and its image; the first half is the tag's.
fn mark(tag: &str, digest: &str) -> String {
    let mut mark = String::with_capacity(2 * HALF);
    for text in [tag, digest] {
        for byte in &Sha256::digest(text)[..HALF / 2] {
            // A text takes whatever is written.
            let _ = write!(mark, "{byte:02x}");
        }
    }
    mark
}

/// The marks of a text that has one behind the other.
fn marks(all: &str) -> impl Iterator<Item = &str> {
    let starts = (0..all.len()).step_by(2 * HALF);
    starts.filter_map(|start| all.get(start..start + 2 * HALF))
}

/// The moved tags that were seen by `due`, each as an image that came when the tag was given to it. When
/// exactly that was nobody knows: it counts as no later than the last look before, so that it takes the
/// place of no release that may be newer.
pub(crate) fn arrivals(seen: &SeenTags, due: &str) -> impl Iterator<Item = Image> {
    let moved = seen.moved.iter();
    moved
        .filter(move |moved| *moved.seen <= *due)
        .map(|moved| Image {
            digest: moved.digest.clone(),
            tags: vec![moved.tag.clone()],
            pushed_at: moved.after.clone(),
        })
}

#[cfg(test)]
#[path = "retags_tests.rs"]
mod tests;
