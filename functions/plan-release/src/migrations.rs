//! Migrations that need not run: those that have, in the release before.
//!
//! The build of an image says which migrations are in it, by a fingerprint in the label
//! `bluegreen.migrations`. What the stack's database has is known where the last migration that was begun
//! has exited 0, whatever became of its release: neither a failed deployment nor a rollback undoes it.

use bluegreen_contract::{Action, Execution, ImageConfig, Migrations, Plan};
use bluegreen_release::Turn;

/// Those of an image that are to be run; `None` where it does not say which they are.
pub(crate) fn of(configs: &[ImageConfig]) -> Option<Migrations> {
    let fingerprint = bluegreen_ecr::migrations(configs)?;
    Some(Migrations {
        fingerprint,
        same_as: None,
    })
}

/// The plan without its migration, where the last one of the stack was the very same: the same migrations
/// by the same words, in the same container of the same service. With it in any other case.
pub(crate) fn left_out(mut plan: Plan, turn: &Turn, execution: &Execution) -> Plan {
    let (Some(command), Some(migrations)) = (&plan.migration, &mut plan.migrations) else {
        return plan;
    };
    let repository = plan.release.repository.as_deref().unwrap_or_default();
    let last = turn.migrated.as_ref();
    let same = last.filter(|last| last.is_by(repository, &migrations.fingerprint, command));
    let Some(same) = same else {
        return plan;
    };
    let whose = match same.release == execution.name() {
        true => "An earlier try of this release has run its migrations".to_owned(),
        false => format!("It has the same migrations as the release {}", same.release),
    };
    plan.reason = format!("{} {whose}: they are not run again.", plan.reason);
    migrations.same_as = Some(same.release.clone());
    plan.migration = None;
    if plan.action == Action::Migrate {
        plan.action = Action::Deploy;
    }
    plan
}

#[cfg(test)]
#[path = "migrations_tests.rs"]
mod tests;
