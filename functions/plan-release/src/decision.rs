//! What a release has to do, from what stack and account say of it and what the turn does.
//!
//! The first line that holds:
//!
//! | | action | ending |
//! |---|---|---|
//! | an alarm of a stack that the pipeline does not deploy to | end | nothingToRollBack |
//! | an alarm that guards no deployment of the services | end | nothingToRollBack |
//! | an earlier release left something in progress | settle | |
//! | an alarm, and there is no release | end | nothingToRollBack |
//! | an alarm, and the stack has just been rolled back | end | nothingToRollBack |
//! | an alarm of before the newest release, or of longer after it than the window | end | nothingToRollBack |
//! | a rollback | rollback | |
//! | a contract command that is not to run, or not yet | end | nothingToContract |
//! | a contract command | contract | |
//! | a later push was deployed already, and nobody forces this one | end | stale |
//! | all services run the image, which a release has found healthy | record | nothingToDeploy |
//! | all services run the image, but no release has found it healthy | verify | |
//! | anything else | migrate or deploy | |

use crate::identity::millis;
use bluegreen_contract::{
    Action, AlarmIsNoReason, Ending, FiredAlarm, NotContracted, Plan, Release, RequestedAction,
    name_in,
};
use bluegreen_release::{Turn, rfc3339};

/// An action, and how the release ends where nothing follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) action: Action,
    pub(crate) ending: Option<Ending>,
}

impl From<Action> for Decision {
    fn from(action: Action) -> Self {
        Decision {
            action,
            ending: None,
        }
    }
}

impl From<AlarmIsNoReason> for Decision {
    fn from(why: AlarmIsNoReason) -> Self {
        Decision {
            action: Action::End,
            ending: Some(Ending::NothingToRollBack { why }),
        }
    }
}

impl From<NotContracted> for Decision {
    fn from(why: NotContracted) -> Self {
        Decision {
            action: Action::End,
            ending: Some(Ending::NothingToContract { why }),
        }
    }
}

/// What there is to do before the turn is asked for: an alarm that guards no deployment needs none.
/// `plan` says what there is to do by stack and account alone.
pub(crate) fn before_the_turn(plan: &Plan) -> Decision {
    match &plan.release.alarm {
        Some(alarm) if plan.ending.is_none() && !plan.alarms.contains(&alarm.name) => {
            AlarmIsNoReason::GuardsNoDeployment.into()
        }
        _ => Decision {
            action: plan.action,
            ending: plan.ending.clone(),
        },
    }
}

/// What there is to do with the turn in hand. `touched`: an earlier try of this very execution may
/// have changed services. `now` in milliseconds since 1970.
pub(crate) fn in_turn(plan: &Plan, turn: &Turn, touched: bool, now: i64) -> Decision {
    let before = before_the_turn(plan);
    if before.ending.is_some() {
        return before;
    }
    // Whether the alarm is a reason to stop anything is decided when nothing is in progress.
    if turn.unsettled.is_some() {
        return Action::Settle.into();
    }
    let release = &plan.release;
    if plan.action == Action::Rollback {
        let window = plan.limits.rollback_window_seconds;
        let alarm = release.alarm.as_ref();
        return match alarm.and_then(|alarm| no_reason(alarm, turn, window)) {
            Some(why) => why.into(),
            None => Action::Rollback.into(),
        };
    }
    if plan.action == Action::Contract {
        return match not_contracted(plan, turn, now) {
            Some(why) => why.into(),
            None => Action::Contract.into(),
        };
    }
    if is_stale(release, turn) && !release.force {
        return Decision {
            action: Action::End,
            ending: Some(Ending::Stale),
        };
    }
    if plan.action == Action::Verify && is_verified(release, turn, touched) {
        return Decision {
            action: Action::Record,
            ending: Some(Ending::NothingToDeploy),
        };
    }
    plan.action.into()
}

/// An alarm is a reason to go back only if the newest release is a deployment of a short while ago.
fn no_reason(alarm: &FiredAlarm, turn: &Turn, window: u32) -> Option<AlarmIsNoReason> {
    let Some(current) = &turn.current else {
        return Some(AlarmIsNoReason::NoRelease);
    };
    let rolled_back = turn.rolled_back_at.is_some_and(|at| at >= current.finished);
    if rolled_back || current.action == RequestedAction::Rollback {
        return Some(AlarmIsNoReason::JustRolledBack);
    }
    let at = millis(&alarm.at)?;
    if at < current.from {
        return Some(AlarmIsNoReason::BeforeTheRelease);
    }
    let until = current.finished.saturating_add(i64::from(window) * 1000);
    (at > until).then_some(AlarmIsNoReason::AfterTheWindow { seconds: window })
}

/// Why the contract command of the release that serves is not to run, or not yet; `plan` says that the
/// services run its image. `now` in milliseconds since 1970.
///
/// The window begins when a release is found healthy. It is the command of nobody once the release that it
/// belongs to was taken back.
pub(crate) fn not_contracted(plan: &Plan, turn: &Turn, now: i64) -> Option<NotContracted> {
    let release = &plan.release;
    let repository = release.repository.as_deref().unwrap_or_default();
    let contracts = release.contracts.as_deref();
    let due = turn.contracts_due().get(repository);
    let due = due.filter(|due| Some(due.release.as_str()) == contracts);
    let current = turn.current.as_ref();
    let current = current.filter(|current| Some(current.record.as_str()) == contracts);
    if current.is_some_and(|current| current.action == RequestedAction::Rollback) {
        return Some(NotContracted::RolledBack);
    }
    let window = i64::from(plan.limits.rollback_window_seconds) * 1000;
    let ended = current.map(|current| current.finished.saturating_add(window));
    let Some(until) = due.map(|due| due.at).or(ended) else {
        return Some(NotContracted::NoRelease);
    };
    if release.force {
        return None;
    }
    let run = turn.contracted(repository);
    match run.filter(|run| Some(run.release.as_str()) == contracts) {
        // A redriven execution runs it again.
        Some(run) if run.by != release.record => Some(NotContracted::Already {
            by: name_in(&run.by).to_owned(),
        }),
        Some(_) => None,
        None if now < until => Some(NotContracted::BeforeItsTime {
            until: rfc3339(until),
        }),
        None => None,
    }
}

fn is_stale(release: &Release, turn: &Turn) -> bool {
    let repository = release.repository.as_deref().unwrap_or_default();
    let deployed = turn.deployed(repository);
    deployed.is_some_and(|deployed| *release.order < *deployed)
}

/// Where nothing is known of the repository, what runs came with the stack itself, unless it came
/// by an earlier try of this execution.
fn is_verified(release: &Release, turn: &Turn, touched: bool) -> bool {
    let repository = release.repository.as_deref().unwrap_or_default();
    match turn.verified(repository) {
        Some(verified) => Some(verified) == release.digest.as_deref(),
        None => !touched,
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
pub(crate) mod tests;
