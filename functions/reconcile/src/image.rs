//! Which image of a repository a stack should have been told of.

use aws_sdk_ecr::primitives::DateTime;
use aws_sdk_ecr::types::ImageDetail;
use bluegreen_push::{ImageTags, Push, is_other_artifact, is_referrer};

/// An event needs a moment: a younger push is not taken for lost.
const YOUNGEST: i64 = 2 * 60;
/// What nobody missed for so long is not released out of the blue.
const OLDEST: i64 = 7 * 24 * 60 * 60;

/// The push of the newest image with a tag that the stack takes; a sentence where there is none of
/// the right age. An older one is of no interest: the newest wins.
pub(crate) fn newest_push(
    repository: &str,
    images: &[ImageDetail],
    tags: &ImageTags,
    now: DateTime,
) -> Result<Push, String> {
    if let ImageTags::None(reason) = tags {
        return Err(reason.clone());
    }
    let push = images
        .iter()
        .filter(|image| is_image(image))
        .filter_map(|image| push(repository, image, tags))
        .max_by_key(|push| push.pushed_at.secs())
        .ok_or_else(|| format!("{repository} has no image with a tag that the stack takes."))?;
    let Push { tag, digest, .. } = &push;
    match now.secs() - push.pushed_at.secs() {
        ..YOUNGEST => Err(format!(
            "{repository}:{tag} ({digest}) was pushed just now: its event is on its way."
        )),
        OLDEST.. => Err(format!(
            "{repository}:{tag} ({digest}) was pushed over seven days ago."
        )),
        _ => Ok(push),
    }
}

fn is_image(image: &ImageDetail) -> bool {
    !is_other_artifact(
        image.image_manifest_media_type().unwrap_or_default(),
        image.artifact_media_type().unwrap_or_default(),
    )
}

/// Of several tags the first in order: one release of an image is enough.
fn push(repository: &str, image: &ImageDetail, tags: &ImageTags) -> Option<Push> {
    let tag = image
        .image_tags()
        .iter()
        .filter(|tag| !is_referrer(tag) && tags.reason_to_skip(tag).is_none())
        .min()?;
    Some(Push {
        repository: repository.to_owned(),
        tag: tag.clone(),
        digest: image.image_digest()?.to_owned(),
        pushed_at: *image.image_pushed_at()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_768_096_474;

    fn image(digest: &str, tags: &[&str], age: i64) -> ImageDetail {
        ImageDetail::builder()
            .image_digest(digest)
            .set_image_tags(Some(tags.iter().map(|tag| (*tag).to_owned()).collect()))
            .image_pushed_at(DateTime::from_secs(NOW - age))
            .build()
    }

    fn found(images: &[ImageDetail], tags: &ImageTags) -> Result<(String, String), String> {
        newest_push("demo", images, tags, DateTime::from_secs(NOW))
            .map(|push| (push.tag, push.digest))
    }

    fn pair(tag: &str, digest: &str) -> Result<(String, String), String> {
        Ok((tag.to_owned(), digest.to_owned()))
    }

    #[test]
    fn the_newest_image_with_a_tag_that_the_stack_takes_is_found() {
        let images = [
            image("d1", &["v1"], 900),
            image("d3", &["main-3"], 300),
            image("d2", &["v2", "latest"], 600),
            image("d4", &[], 200),
        ];
        let patterns = ImageTags::Matching("v*".to_owned());
        assert_eq!(found(&images, &patterns), pair("v2", "d2"));
        assert_eq!(found(&images, &ImageTags::All), pair("main-3", "d3"));
    }

    #[test]
    fn of_several_tags_the_first_in_order_is_taken() {
        let images = [image("d1", &["v2", "latest"], 600)];
        assert_eq!(found(&images, &ImageTags::All), pair("latest", "d1"));
    }

    #[test]
    fn a_push_of_just_now_and_one_of_long_ago_are_left() {
        let older = image("d1", &["v1"], 900);
        let at = |age| found(&[older.clone(), image("d2", &["v2"], age)], &ImageTags::All);
        assert!(at(119).unwrap_err().contains("just now"));
        assert_eq!(at(120), pair("v2", "d2"));
        let old = [image("d1", &["v1"], OLDEST)];
        assert!(found(&old, &ImageTags::All).unwrap_err().contains("seven"));
    }

    #[test]
    fn what_is_no_image_is_not_found() {
        let chart = ImageDetail::builder()
            .image_digest("d1")
            .image_tags("1.0.0")
            .image_pushed_at(DateTime::from_secs(NOW - 300))
            .image_manifest_media_type("application/vnd.oci.image.manifest.v1+json")
            .artifact_media_type("application/vnd.cncf.helm.config.v1+json")
            .build();
        let signature = format!("sha256-{}.sig", "0a".repeat(32));
        let images = [chart, image("d2", &[&signature], 300)];
        assert!(found(&images, &ImageTags::All).is_err());
    }

    #[test]
    fn a_stack_that_takes_nothing_now_says_why() {
        let none = ImageTags::None("There is no stack demo.".to_owned());
        assert_eq!(
            found(&[image("d1", &["v1"], 300)], &none),
            Err("There is no stack demo.".to_owned())
        );
    }
}
