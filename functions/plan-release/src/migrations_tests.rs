use super::*;
use crate::decision::tests::{plan, turn};
use bluegreen_contract::{Command, Purpose, TaskSize};
use bluegreen_release::Migrated;

const EARLIER: &str = "shop-v1";

fn execution() -> Execution {
    Execution {
        id: "arn:aws:states:us-east-1:123456789012:execution:bluegreen:shop-v2".to_owned(),
        redrives: 0,
    }
}

fn command() -> Command {
    let words = |line: &[&str]| line.iter().map(|&word| word.to_owned()).collect();
    Command {
        purpose: Purpose::Migration,
        cluster: "c".to_owned(),
        service: "web".to_owned(),
        // A release registers another one each time.
        task_definition: "web:8".to_owned(),
        container: "app".to_owned(),
        command: words(&["rails", "db:migrate"]),
        line: words(&["tini", "--", "rails", "db:migrate"]),
        size: TaskSize::default(),
        timeout_seconds: 600,
    }
}

/// A release of an image with these migrations.
fn release(fingerprint: Option<&str>) -> Plan {
    Plan {
        migration: Some(command()),
        migrations: fingerprint.map(|fingerprint| Migrations {
            fingerprint: fingerprint.to_owned(),
            same_as: None,
        }),
        ..plan(Action::Migrate)
    }
}

fn migrated() -> Migrated {
    Migrated {
        release: EARLIER.to_owned(),
        repository: "shop".to_owned(),
        fingerprint: "0a1b".to_owned(),
        service: command().service,
        container: command().container,
        line: command().line,
    }
}

fn after(migrated: Option<Migrated>, plan: Plan) -> Plan {
    let known = migrated.map(|migrated| serde_json::to_string(&migrated).unwrap());
    let known = known.as_deref().map(|known| ("migrated", known));
    left_out(plan, &turn(known.as_slice()), &execution())
}

#[test]
fn the_migrations_of_the_release_before_are_not_run_again() {
    let plan = after(Some(migrated()), release(Some("0a1b")));
    assert_eq!((plan.action, plan.migration), (Action::Deploy, None));
    let migrations = plan.migrations.unwrap();
    assert_eq!(migrations.fingerprint, "0a1b");
    assert_eq!(migrations.same_as.as_deref(), Some(EARLIER));
    let told = "It has the same migrations as the release shop-v1: they are not run again.";
    assert!(plan.reason.ends_with(told), "{}", plan.reason);
}

#[test]
fn a_redriven_release_does_not_run_again_what_its_earlier_try_has_run() {
    let own = Migrated {
        release: "shop-v2".to_owned(),
        ..migrated()
    };
    let plan = after(Some(own), release(Some("0a1b")));
    assert_eq!((plan.action, plan.migration), (Action::Deploy, None));
    let told = "An earlier try of this release has run its migrations: they are not run again.";
    assert!(plan.reason.ends_with(told), "{}", plan.reason);
}

#[test]
fn what_is_not_known_to_have_run_is_run() {
    let other = |change: fn(&mut Migrated)| {
        let mut other = migrated();
        change(&mut other);
        Some(other)
    };
    for (last, fingerprint) in [
        // The last migration has not exited 0, or its image did not say what it has.
        (None, Some("0a1b")),
        (Some(migrated()), Some("2c3d")),
        (Some(migrated()), None),
        (other(|it| it.repository = "jobs".to_owned()), Some("0a1b")),
        // Another MigrationCommand, or an entry point that makes another one of it.
        (other(|it| it.line.truncate(3)), Some("0a1b")),
        (other(|it| it.container = "jobs".to_owned()), Some("0a1b")),
        (other(|it| it.service = "jobs".to_owned()), Some("0a1b")),
    ] {
        let planned = release(fingerprint);
        assert_eq!(after(last.clone(), planned.clone()), planned, "{last:?}");
    }
}

#[test]
fn where_no_migration_is_asked_for_none_is_said_to_have_run() {
    let without = Plan {
        migration: None,
        ..plan(Action::Deploy)
    };
    assert_eq!(after(Some(migrated()), without.clone()), without);
}
