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

/// The record of a release, which is the newer the higher its number.
fn release(number: u32, verdict: &str) -> Release {
    Release {
        record: format!("release#{number:04}#name-{number}"),
        name: format!("name-{number}"),
        verdict: verdict.to_owned(),
        action: RequestedAction::Deploy,
        repository: "shop".to_owned(),
        tag: Some(format!("v{number}")),
        digest: format!("d{number}"),
        image: format!("shop@d{number}"),
        error: None,
        migration: None,
        restores: None,
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
        digest: restored.digest,
        image: restored.image,
        restores: Some(restored.record),
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
        image: Some("shop@d3".to_owned()),
        tag: Some("v3".to_owned()),
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
        image: "shop@d1".to_owned(),
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
        digest: "d2".to_owned(),
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
    let only = [release(1, "succeeded")];
    assert_eq!(chosen(ASKED_FOR, &only, 1), Choice::Nowhere);
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
        migrations(&releases, &releases[3]),
        ["v4 (task t4)", "d3 (task t3)"]
    );
    assert!(migrations(&releases, &releases[0]).is_empty());
}

#[test]
fn a_rollback_to_a_rollback_restores_what_that_one_restored() {
    let good = GoodRelease::from(&rollback(4, "succeeded", 2));
    assert_eq!(good.record, "release#0004#name-4");
    assert_eq!(good.restores, "release#0002#name-2");
    let good = GoodRelease::from(&release(3, "succeeded"));
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
