use super::*;

const ASKED_FOR: Why<'static> = Why::Asked {
    to: None,
    current: None,
};
const FAILED: Why<'static> = Why::Failed {
    repository: "shop",
    suspect: false,
};
const SUSPECT: Why<'static> = Why::Failed {
    repository: "shop",
    suspect: true,
};

const REPOSITORY: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/shop";

/// The record of a release, which is the newer the higher its number.
fn release(number: u32, verdict: &str) -> Release {
    Release {
        record: format!("release#{number:04}#name-{number}"),
        name: format!("name-{number}"),
        verdict: verdict.to_owned(),
        action: RequestedAction::Deploy,
        repository: "shop".to_owned(),
        tag: Some(format!("v{number}")),
        image: Some(image(number)),
        ran_before: Vec::new(),
        touched: true,
        error: None,
        migration: None,
        restores: None,
        restores_before: None,
    }
}

fn image(number: u32) -> Image {
    Image {
        digest: format!("d{number}"),
        reference: format!("{REPOSITORY}@d{number}"),
    }
}

/// A release before which the services ran these images.
fn after(release: Release, images: &[&str]) -> Release {
    let ran_before = images.iter().map(|image| format!("{REPOSITORY}{image}"));
    Release {
        ran_before: ran_before.collect(),
        ..release
    }
}

fn failed_with(number: u32, error: &str) -> Release {
    Release {
        error: Some(error.to_owned()),
        ..release(number, "failed")
    }
}

fn of_another_repository(number: u32, verdict: &str) -> Release {
    Release {
        repository: "worker".to_owned(),
        ..release(number, verdict)
    }
}

/// The record of a rollback to the release with the number `to`.
fn rollback(number: u32, verdict: &str, to: u32) -> Release {
    let restored = release(to, "succeeded");
    Release {
        action: RequestedAction::Rollback,
        tag: restored.tag,
        image: restored.image,
        restores: Some(restored.record),
        ..release(number, verdict)
    }
}

/// The record of a rollback to what ran before the release with the number `first`.
fn rollback_before(number: u32, verdict: &str, first: u32) -> Release {
    Release {
        action: RequestedAction::Rollback,
        tag: None,
        image: None,
        restores_before: Some(release(first, "succeeded").record),
        ..release(number, verdict)
    }
}

/// The choice among releases of any order, where `current` is the number of the one that serves.
fn chosen(why: Why<'_>, releases: &[Release], current: u32) -> Choice {
    let mut releases = releases.to_vec();
    releases.sort_by(|one, other| other.record.cmp(&one.record));
    let key = format!("release#{current:04}#name-{current}");
    let serves = releases.iter().find(|release| release.record == key);
    let why = match why {
        Why::Asked { to, .. } => Why::Asked {
            to,
            current: serves,
        },
        failed @ Why::Failed { .. } => failed,
    };
    let all = Releases {
        read: &releases,
        all: true,
    };
    choose(why, all).unwrap()
}

/// The tag of the release that is chosen.
fn tag(why: Why<'_>, releases: &[Release], current: u32) -> Option<String> {
    match chosen(why, releases, current) {
        Choice::Release(release) => release.tag,
        _ => None,
    }
}

/// The tag of the first release, before which the services ran what they go back to.
fn first(why: Why<'_>, releases: &[Release], current: u32) -> Option<String> {
    match chosen(why, releases, current) {
        Choice::BeforeFirst(release) => release.tag,
        _ => None,
    }
}

fn is_before(choice: &Choice) -> bool {
    matches!(choice, Choice::Before { .. })
}

fn named(name: &str) -> Why<'_> {
    Why::Asked {
        to: Some(name),
        current: None,
    }
}

#[test]
fn a_release_that_was_aborted_before_it_changed_anything_has_no_image_and_does_not_count() {
    let aborted = Record {
        key: "release#0003#name-3".to_owned(),
        verdict: "abandoned".to_owned(),
        repository: Some("shop".to_owned()),
        digest: Some("d3".to_owned()),
        ..Record::default()
    };
    assert_eq!(Release::of(aborted.clone()), None);
    let with_image = Record {
        image: Some(image(3).reference),
        tag: Some("v3".to_owned()),
        touched: Some(0),
        ..aborted
    };
    assert_eq!(Release::of(with_image), Some(release(3, "abandoned")));
}

#[test]
fn a_release_that_failed_goes_back_to_what_ran_before_it() {
    for newest in [
        release(2, "succeeded"),
        release(2, "rolledBack"),
        failed_with(2, "MigrationFailed"),
        release(2, "superseded"),
    ] {
        let found = chosen(FAILED, &[release(1, "succeeded"), newest.clone()], 1);
        assert!(is_before(&found), "{newest:?}: {found:?}");
    }
    assert!(is_before(&chosen(FAILED, &[], 0)));
}

#[test]
fn the_image_that_ran_before_is_the_one_of_the_last_good_release() {
    let releases = [failed_with(2, "MigrationFailed"), release(1, "succeeded")];
    let serving = ServingImage {
        repository: "shop".to_owned(),
        image: image(1).reference,
    };
    assert_eq!(
        chosen(FAILED, &releases, 0),
        Choice::Before {
            serving: Some(serving)
        }
    );
    assert_eq!(chosen(FAILED, &[], 0), Choice::Before { serving: None });
}

#[test]
fn what_was_never_found_healthy_is_not_gone_back_to() {
    for newest in [
        release(2, "abandoned"),
        release(2, "inProgress"),
        failed_with(2, "RollbackFailed"),
    ] {
        let between = failed_with(3, "MigrationFailed");
        let releases = [release(1, "succeeded"), newest.clone(), between];
        let found = tag(FAILED, &releases, 1);
        assert_eq!(found.as_deref(), Some("v1"), "{newest:?}");
    }
}

#[test]
fn a_redriven_release_does_not_go_back_to_itself() {
    let releases = [release(1, "succeeded")];
    assert_eq!(tag(SUSPECT, &releases, 1).as_deref(), Some("v1"));
    assert_eq!(chosen(SUSPECT, &[], 0), Choice::Nowhere);
}

#[test]
fn after_a_rollback_that_was_aborted_its_target_is_the_good_one() {
    let releases = [
        release(1, "succeeded"),
        release(2, "succeeded"),
        rollback(3, "abandoned", 1),
    ];
    assert_eq!(tag(FAILED, &releases, 2).as_deref(), Some("v1"));
    assert_eq!(tag(ASKED_FOR, &releases, 2).as_deref(), Some("v1"));
}

#[test]
fn a_release_of_another_repository_is_not_gone_back_to() {
    let releases = [
        release(1, "succeeded"),
        of_another_repository(2, "succeeded"),
        release(3, "succeeded"),
    ];
    assert_eq!(tag(ASKED_FOR, &releases, 3).as_deref(), Some("v1"));
    let broken = of_another_repository(2, "abandoned");
    let found = chosen(FAILED, &[release(1, "succeeded"), broken], 1);
    assert!(is_before(&found), "{found:?}");
}

#[test]
fn a_rollback_goes_to_the_last_good_release_with_another_image() {
    let again = Release {
        image: Some(image(2)),
        tag: Some("v2".to_owned()),
        ..release(3, "succeeded")
    };
    let releases = [release(1, "succeeded"), release(2, "succeeded"), again];
    assert_eq!(tag(ASKED_FOR, &releases, 3).as_deref(), Some("v1"));
}

#[test]
fn a_second_rollback_goes_further_back() {
    let releases = [
        release(1, "succeeded"),
        release(2, "succeeded"),
        release(3, "rolledBack"),
        rollback(4, "succeeded", 2),
    ];
    assert_eq!(tag(ASKED_FOR, &releases, 4).as_deref(), Some("v1"));
}

#[test]
fn after_a_release_that_was_aborted_the_current_one_comes_back() {
    let releases = [
        release(1, "succeeded"),
        release(2, "succeeded"),
        release(3, "abandoned"),
    ];
    assert_eq!(tag(ASKED_FOR, &releases, 2).as_deref(), Some("v2"));
}

#[test]
fn a_release_that_is_named_is_gone_back_to_if_it_was_good() {
    let releases = [
        release(1, "succeeded"),
        release(2, "succeeded"),
        release(3, "succeeded"),
        release(4, "rolledBack"),
    ];
    assert_eq!(tag(named("name-1"), &releases, 3).as_deref(), Some("v1"));
    assert_eq!(chosen(named("name-4"), &releases, 3), Choice::Nowhere);
    assert_eq!(chosen(named("nobody"), &releases, 3), Choice::Nowhere);
}

#[test]
fn without_an_earlier_release_there_is_nothing_to_go_back_to() {
    assert_eq!(chosen(ASKED_FOR, &[], 0), Choice::Nowhere);
}

#[test]
fn where_no_release_serves_a_rollback_goes_to_the_last_good_one() {
    let releases = [release(1, "succeeded"), release(2, "rolledBack")];
    assert_eq!(tag(ASKED_FOR, &releases, 0).as_deref(), Some("v1"));
}

/// The releases come in pages, and the first of them decide as soon as they can.
#[test]
fn releases_are_read_until_what_is_further_back_makes_no_difference() {
    let mut newest_first = vec![
        rollback(9, "abandoned", 2),
        failed_with(8, "MigrationFailed"),
    ];
    newest_first.extend((1..8).rev().map(|number| release(number, "succeeded")));
    let current = release(7, "succeeded");
    let asked = Why::Asked {
        to: None,
        current: Some(&current),
    };
    for (why, enough, expected) in [
        (FAILED, 8, "v2"),
        (SUSPECT, 8, "v2"),
        (asked, 4, "v6"),
        (named("name-1"), 9, "v1"),
    ] {
        for read in 0..=newest_first.len() {
            let found = choose(
                why,
                Releases {
                    read: &newest_first[..read],
                    all: false,
                },
            );
            let tag = match found {
                Some(Choice::Release(release)) => release.tag,
                Some(choice) => panic!("{why:?} after {read}: {choice:?}"),
                None => None,
            };
            let expected = (read >= enough).then(|| expected.to_owned());
            assert_eq!(tag, expected, "{why:?} after {read}");
        }
    }
}

#[test]
fn the_migrations_since_the_chosen_release_stay_in_the_database() {
    let migrated = |release: Release, task: &str| Release {
        migration: Some(task.to_owned()),
        ..release
    };
    let nameless = Release {
        tag: None,
        ..of_another_repository(3, "failed")
    };
    let releases = [
        migrated(release(4, "succeeded"), "t4"),
        migrated(nameless, "t3"),
        release(2, "succeeded"),
        migrated(release(1, "succeeded"), "t1"),
    ];
    assert_eq!(
        migrations(&releases, &releases[3], false),
        ["v4 (task t4)", "d3 (task t3)"]
    );
    assert!(migrations(&releases, &releases[0], false).is_empty());
    // What ran before a release did not have its migration either.
    assert_eq!(migrations(&releases, &releases[0], true), ["v4 (task t4)"]);
}

#[test]
fn a_rollback_to_a_rollback_restores_what_that_one_restored() {
    let good = rollback(4, "succeeded", 2).good().unwrap();
    assert_eq!(good.record, "release#0004#name-4");
    assert_eq!(good.restores, "release#0002#name-2");
    let good = release(3, "succeeded").good().unwrap();
    assert_eq!(good.restores, "release#0003#name-3");
}

mod unread_table {
    use super::*;

    #[test]
    fn a_release_that_failed_goes_back_to_what_ran_before_it_for_which_nobody_vouches() {
        let unread = Some(Unread { vouched: false });
        assert_eq!(before_unread("shop", false, &[]), unread);
        let other = [of_another_repository(2, "succeeded")];
        assert_eq!(before_unread("shop", false, &other), unread);
    }

    #[test]
    fn what_was_read_before_the_table_failed_still_counts() {
        let vouched = Some(Unread { vouched: true });
        let good = [release(2, "rolledBack")];
        assert_eq!(before_unread("shop", false, &good), vouched);
        let half_done = [release(2, "abandoned")];
        assert_eq!(before_unread("shop", false, &half_done), None);
    }

    #[test]
    fn what_is_known_to_be_uncertain_is_not_gone_back_to() {
        assert_eq!(before_unread("shop", true, &[]), None);
    }
}

mod revisions {
    use super::*;

    fn revision(name: &str, number: u32) -> WantedRevision {
        WantedRevision {
            cluster: "c".to_owned(),
            service: name.to_owned(),
            task_definition: format!("{name}:{number}"),
        }
    }

    #[test]
    fn a_service_that_the_release_did_not_have_yet_goes_to_what_it_ran_before_the_failure() {
        let now = [revision("web", 50), revision("worker", 50)];
        let then = [revision("web", 1), revision("gone", 1)];
        assert_eq!(
            after_failure(&now, &then),
            [revision("web", 1), revision("worker", 50)]
        );
    }

    #[test]
    fn a_rollback_that_is_asked_for_leaves_a_service_alone_that_the_release_did_not_have_yet() {
        let now = [revision("web", 50), revision("worker", 50)];
        let then = [revision("web", 1), revision("gone", 1)];
        assert_eq!(when_asked(&now, &then), [revision("web", 1)]);
        assert!(when_asked(&now, &[]).is_empty());
    }
}

/// A service that ran before the pipeline knew it has no earlier release (field-cases P1:
/// "The first release of an adopted service cannot be taken back").
mod before_the_first {
    use super::*;

    #[test]
    fn the_first_release_goes_back_to_what_ran_before_it() {
        for ran in [&[":old"][..], &["@d0"], &[":old", ":worker"], &[]] {
            let only = [after(release(1, "succeeded"), ran)];
            assert_eq!(first(ASKED_FOR, &only, 1).as_deref(), Some("v1"), "{ran:?}");
        }
    }

    #[test]
    fn so_does_one_after_releases_that_failed_or_were_taken_back() {
        let failed = [
            after(release(1, "rolledBack"), &[":old"]),
            after(failed_with(2, "MigrationFailed"), &[":old"]),
            after(release(3, "succeeded"), &[":old"]),
        ];
        assert_eq!(first(ASKED_FOR, &failed, 3).as_deref(), Some("v3"));
    }

    #[test]
    fn what_an_earlier_release_had_brought_is_not_what_ran_before_the_first() {
        let half_done = [
            after(release(1, "abandoned"), &[":old"]),
            after(release(2, "succeeded"), &[":old", "@d1"]),
        ];
        assert_eq!(first(ASKED_FOR, &half_done, 2).as_deref(), Some("v1"));
        // It found its image in service, and updated nothing.
        let verified = Release {
            image: Some(image(1)),
            ..release(2, "succeeded")
        };
        let found = [after(release(1, "abandoned"), &[":old"]), verified];
        assert_eq!(first(ASKED_FOR, &found, 2).as_deref(), Some("v1"));
        let again = Release {
            image: Some(image(1)),
            ..after(release(2, "succeeded"), &["@d1"])
        };
        let migrated_again = [after(release(1, "succeeded"), &[":old"]), again];
        assert_eq!(first(ASKED_FOR, &migrated_again, 2).as_deref(), Some("v1"));
    }

    /// As of a stack that was created with the image that is then migrated by hand: its revision names the
    /// tag.
    #[test]
    fn the_same_image_is_nowhere_to_go_back_to() {
        for ran in [":v1", "@d1", ":v1@d1"] {
            let only = [after(release(1, "succeeded"), &[ran])];
            let found = chosen(ASKED_FOR, &only, 1);
            assert_eq!(found, Choice::SameBefore(only[0].clone()), "{ran}");
        }
        let latest = Release {
            tag: Some("latest".to_owned()),
            ..after(release(1, "succeeded"), &[""])
        };
        let found = chosen(ASKED_FOR, std::slice::from_ref(&latest), 1);
        assert_eq!(found, Choice::SameBefore(latest));
        // Of two services one ran another image.
        let one = [after(release(1, "succeeded"), &[":v1", ":v0"])];
        assert_eq!(first(ASKED_FOR, &one, 1).as_deref(), Some("v1"));
    }

    #[test]
    fn an_earlier_good_release_goes_before() {
        let releases = [
            after(release(1, "succeeded"), &[":old"]),
            after(release(2, "succeeded"), &["@d1"]),
        ];
        assert_eq!(tag(ASKED_FOR, &releases, 2).as_deref(), Some("v1"));
    }

    #[test]
    fn from_there_no_rollback_goes_further_back() {
        let releases = [
            after(release(1, "rolledBack"), &[":old"]),
            rollback_before(2, "succeeded", 1),
        ];
        assert_eq!(chosen(ASKED_FOR, &releases, 2), Choice::Nowhere);
    }

    #[test]
    fn the_next_release_goes_back_to_the_same() {
        let back = rollback_before(2, "succeeded", 1);
        let releases = [
            after(release(1, "rolledBack"), &[":old"]),
            back.clone(),
            after(release(3, "succeeded"), &[":old"]),
        ];
        assert_eq!(chosen(ASKED_FOR, &releases, 3), Choice::Release(back));
        // And one that fails has no image to write into the parameter but what is there.
        let found = chosen(FAILED, &releases[..2], 2);
        assert_eq!(found, Choice::Before { serving: None });
    }

    /// Of the same image as an earlier good release, which does not serve any more either.
    #[test]
    fn a_release_that_fails_afterwards_does_not_bring_the_image_back_that_was_taken_back() {
        let releases = [
            after(release(1, "succeeded"), &[":old"]),
            after(release(2, "rolledBack"), &["@d1"]),
            rollback_before(3, "succeeded", 1),
        ];
        let found = chosen(FAILED, &releases, 3);
        assert_eq!(found, Choice::Before { serving: None });
    }

    #[test]
    fn a_rollback_that_was_aborted_is_begun_again() {
        let releases = [
            after(release(1, "succeeded"), &[":old"]),
            rollback_before(2, "abandoned", 1),
        ];
        assert_eq!(first(ASKED_FOR, &releases, 1).as_deref(), Some("v1"));
        assert_eq!(first(FAILED, &releases, 1).as_deref(), Some("v1"));
    }

    #[test]
    fn a_first_release_that_ended_half_way_can_be_taken_back_too() {
        let aborted = after(release(1, "abandoned"), &[":old"]);
        assert_eq!(
            first(ASKED_FOR, std::slice::from_ref(&aborted), 0).as_deref(),
            Some("v1")
        );
        let untouched = Release {
            touched: false,
            ..aborted
        };
        assert_eq!(chosen(ASKED_FOR, &[untouched], 0), Choice::Nowhere);
    }

    #[test]
    fn what_ran_before_is_not_known_where_the_deployment_is_forgotten() {
        let restored = [rollback(5, "succeeded", 1)];
        assert_eq!(chosen(ASKED_FOR, &restored, 5), Choice::Nowhere);
    }

    #[test]
    fn one_image_that_ran_before_serves_again_and_of_several_none() {
        let one = after(release(1, "succeeded"), &[":old"]);
        let serving = one.served_before().unwrap();
        assert_eq!(serving.image, format!("{REPOSITORY}:old"));
        for ran in [&[][..], &[":old", ":worker"]] {
            let several = after(release(1, "succeeded"), ran);
            assert_eq!(several.served_before(), None);
        }
    }

    #[test]
    fn all_releases_are_read_before_the_first_one_is_known() {
        let newest_first = [
            after(release(2, "succeeded"), &["@d1"]),
            after(failed_with(1, "RollbackFailed"), &[":old"]),
        ];
        let why = Why::Asked {
            to: None,
            current: Some(&newest_first[0]),
        };
        for (read, all) in [(1, false), (2, false)] {
            let read = &newest_first[..read];
            assert_eq!(choose(why, Releases { read, all }), None);
        }
        let read = &newest_first[..];
        let found = choose(why, Releases { read, all: true });
        assert_eq!(found, Some(Choice::BeforeFirst(newest_first[1].clone())));
    }
}

mod taken_back {
    use super::*;

    fn tag_of(current: Option<&Release>, read: &[Release]) -> Option<String> {
        taken_back(current, read)?.tag.clone()
    }

    #[test]
    fn it_is_what_serves_or_what_ended_half_way_since() {
        let current = release(2, "succeeded");
        let serves = [current.clone(), release(1, "succeeded")];
        assert_eq!(tag_of(Some(&current), &serves).as_deref(), Some("v2"));
        let since = [
            failed_with(4, "MigrationFailed"),
            release(3, "abandoned"),
            current.clone(),
        ];
        assert_eq!(tag_of(Some(&current), &since).as_deref(), Some("v3"));
        let untouched = [
            Release {
                touched: false,
                ..release(3, "abandoned")
            },
            current.clone(),
        ];
        assert_eq!(tag_of(Some(&current), &untouched).as_deref(), Some("v2"));
        let before = [current.clone(), release(1, "abandoned")];
        assert_eq!(tag_of(Some(&current), &before).as_deref(), Some("v2"));
        assert_eq!(tag_of(None, &[release(1, "failed")]), None);
    }
}

#[test]
fn releases_further_back_have_other_images_and_are_good() {
    let newest_first = [
        release(6, "succeeded"),
        release(5, "succeeded"),
        Release {
            image: Some(image(6)),
            ..release(4, "succeeded")
        },
        of_another_repository(3, "succeeded"),
        release(2, "rolledBack"),
        release(1, "succeeded"),
    ];
    let [current, chosen, ..] = &newest_first;
    let found = |read: usize, all: bool, most: usize| {
        let read = &newest_first[..read];
        let found = further_back(chosen, Some(current), Releases { read, all }, most)?;
        Some(
            found
                .into_iter()
                .filter_map(|it| it.tag.as_deref())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(found(6, true, 9), Some(vec!["v1"]));
    assert_eq!(found(6, false, 1), Some(vec!["v1"]));
    // There may be others, which are not read yet.
    assert_eq!(found(6, false, 9), None);
    assert_eq!(found(2, true, 9), Some(vec![]));
}
