use super::*;

const EARLIER: &str = "2026-01-01T11:50:00Z";
const LOOKED: &str = "2026-01-01T11:55:00Z";
const NOW: &str = "2026-01-01T12:00:30Z";

fn image(digest: &str, pushed_at: &str, tags: &[&str]) -> Image {
    Image {
        digest: digest.to_owned(),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        pushed_at: pushed_at.to_owned(),
    }
}

/// Build 5 of ten o'clock, and what was released at eleven.
fn images(tags_of_build_5: &[&str]) -> Vec<Image> {
    vec![
        image("sha256:6", "2026-01-01T11:00:00Z", &["prod-4"]),
        image("sha256:5", "2026-01-01T10:00:00Z", tags_of_build_5),
    ]
}

/// What is remembered once it was written: the first writing counts.
fn remembered(images: &[Image]) -> SeenTags {
    looked_again(&SeenTags::default(), None, images, EARLIER)
}

/// A look, of which the next one reads what it has written.
fn looked_again(before: &SeenTags, looked: Option<&str>, images: &[Image], now: &str) -> SeenTags {
    SeenTags {
        version: before.version + 1,
        ..compare(before, looked, images, now)
    }
}

fn moved(seen: &SeenTags) -> Vec<(&str, &str, &str)> {
    let moved = seen.moved.iter();
    moved
        .map(|moved| (&*moved.tag, &*moved.digest, &*moved.after))
        .collect()
}

/// <https://github.com/devtron-labs/devtron/issues/6707>
#[test]
fn a_tag_that_an_image_got_later_came_after_the_last_look_that_has_not_seen_it() {
    let before = remembered(&images(&["build-5"]));
    let seen = compare(&before, Some(LOOKED), &images(&["build-5", "prod-5"]), NOW);
    assert_eq!(moved(&seen), [("prod-5", "sha256:5", LOOKED)]);
    assert_eq!(seen.moved[0].seen, NOW);

    let due = |due: &str| -> Vec<Image> { arrivals(&seen, due).collect() };
    assert!(due(LOOKED).is_empty());
    assert_eq!(due(NOW), [image("sha256:5", LOOKED, &["prod-5"])]);
}

#[test]
fn a_tag_that_moves_to_an_older_image_is_found_however_often_it_moves() {
    let with = |newer: &[&str], older: &[&str]| {
        vec![
            image("sha256:6", "2026-01-01T11:00:00Z", newer),
            image("sha256:5", "2026-01-01T10:00:00Z", older),
        ]
    };
    let before = remembered(&with(&["build-6", "prod"], &["build-5"]));
    let back = with(&["build-6"], &["build-5", "prod"]);
    let seen = looked_again(&before, Some(EARLIER), &back, LOOKED);
    assert_eq!(moved(&seen), [("prod", "sha256:5", EARLIER)]);
    let forth = with(&["build-6", "prod"], &["build-5"]);
    let seen = compare(&seen, Some(LOOKED), &forth, NOW);
    assert_eq!(moved(&seen), [("prod", "sha256:6", LOOKED)]);
}

#[test]
fn the_first_look_at_a_repository_and_one_after_it_was_out_of_sight_only_remember() {
    let tagged = images(&["build-5", "prod-5"]);
    let never = SeenTags::default();
    assert!(compare(&never, Some(LOOKED), &tagged, NOW).moved.is_empty());
    let before = remembered(&images(&["build-5"]));
    assert!(compare(&before, None, &tagged, NOW).moved.is_empty());
}

#[test]
fn an_image_that_was_pushed_at_about_the_time_of_the_last_look_has_not_moved() {
    let before = remembered(&images(&["build-5"]));
    for (pushed_at, is_moved) in [
        ("2026-01-01T11:58:00Z", false),
        ("2026-01-01T11:54:59Z", false),
        ("2026-01-01T11:54:31Z", false),
        ("2026-01-01T11:54:29Z", true),
    ] {
        let mut later = images(&["build-5"]);
        later.insert(0, image("sha256:7", pushed_at, &["prod-7"]));
        let seen = compare(&before, Some(LOOKED), &later, NOW);
        assert_eq!(!seen.moved.is_empty(), is_moved, "{pushed_at}");
    }
}

#[test]
fn what_one_answer_of_many_pages_has_missed_has_not_moved() {
    let all = images(&["build-5"]);
    let before = remembered(&all);
    let seen = looked_again(&before, Some(EARLIER), &all[..1], LOOKED);
    assert!(compare(&seen, Some(LOOKED), &all, NOW).moved.is_empty());
    // Missed twice, it was not there.
    let seen = looked_again(&seen, Some(LOOKED), &all[..1], NOW);
    assert_eq!(compare(&seen, Some(LOOKED), &all, NOW).moved.len(), 1);
}

#[test]
fn a_tag_that_has_moved_is_remembered_until_the_image_loses_it() {
    let before = remembered(&images(&["build-5"]));
    let seen = looked_again(
        &before,
        Some(EARLIER),
        &images(&["build-5", "prod-5"]),
        LOOKED,
    );
    let tagged = images(&["prod-5"]);
    let seen = looked_again(&seen, Some(LOOKED), &tagged, NOW);
    assert_eq!(moved(&seen), [("prod-5", "sha256:5", EARLIER)]);
    let seen = compare(&seen, Some(NOW), &images(&["build-5"]), NOW);
    assert!(
        !moved(&seen).iter().any(|moved| moved.0 == "prod-5"),
        "{seen:?}"
    );
}

/// Images pushed one a second, the newest first.
fn many(number: usize) -> Vec<Image> {
    let second = |number: usize| {
        let (minutes, seconds) = (number / 60, number % 60);
        format!(
            "2025-01-{:02}T{:02}:{:02}:{seconds:02}Z",
            minutes / 1440 + 1,
            minutes / 60 % 24,
            minutes % 60
        )
    };
    let numbers = (0..number).rev();
    numbers
        .map(|number| {
            image(
                &format!("sha256:{number}"),
                &second(number),
                &[&format!("build-{number}")],
            )
        })
        .collect()
}

#[test]
fn of_fifty_thousand_images_an_item_of_the_table_has_room_for_the_newest() {
    let mut images = many(50_000);
    let before = remembered(&images);
    let size = |seen: &SeenTags| seen.tags.len() + seen.gone.len();
    assert_eq!(size(&before), 320_000);
    // A lifecycle policy has deleted the newest: older ones take their place, and have not moved.
    images.drain(..10_000);
    let seen = looked_again(&before, Some(LOOKED), &images, NOW);
    assert!(seen.moved.is_empty());
    assert!(size(&seen) <= 320_000);
    images[0].tags.push("prod-1".to_owned());
    let seen = compare(&seen, Some(LOOKED), &images, NOW);
    assert_eq!(moved(&seen).len(), 1);
}

#[test]
fn of_very_many_tags_that_move_at_once_those_of_the_newest_images_are_remembered() {
    let mut images = many(1000);
    let before = remembered(&images);
    for image in &mut images {
        let again = format!("again-{}", image.digest);
        image.tags.push(again);
    }
    let seen = compare(&before, Some(LOOKED), &images, NOW);
    assert_eq!(seen.moved.len(), MOST_MOVED);
    assert_eq!(seen.moved[0].digest, "sha256:999");
}
