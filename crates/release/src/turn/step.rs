//! What a release does next that wants the turn of its stack, after what is seen of it.
//!
//! | the turn is had by | the place in line is had by | → |
//! |---|---|---|
//! | this try | | `Keep` |
//! | an earlier try of mine, a call of which may still change something | | `Wait` until that is over |
//! | an earlier try of mine | | `Retake` |
//! | a later try of mine | | `Wait`: the later one is told |
//! | | | *an alarm, or who has the place:* |
//! | nobody | me | `Take` |
//! | a living one | me | `Wait` |
//! | a dead one, a call of which may still change something | me | `Wait` until that is over |
//! | a dead one | me | `TakeOver` |
//! | | | *who has not the place:* |
//! | a living, newer rival | | `GiveWay` |
//! | nobody | nobody | `Take` |
//! | another one | nobody | `StandInLine` |
//! | | an older rival | `StandInLine` |
//! | | a newer rival that lives | `GiveWay` |
//! | | another one that lives | `Wait` |
//! | | a dead one | `StandInLine` |
//!
//! Rivals are two releases of one repository, or of which one is a rollback. An image of another
//! repository is not in the newer release: it keeps its place, and has its turn first. An alarm does
//! not stand in line, is nobody's rival, and leaves who waits waiting. Before it may be known whether
//! one of the others lives, the step is `NeedLife`.
//!
//! What Step Functions tells of an execution may be of before: one that was redriven since is not dead.
//!
//! Whoever is about to change something writes first until when its call may last, and removes that
//! when it has finished. A turn changes hands only when that is over, and only if nothing was begun
//! since it was seen: a call that has not begun by then is refused.

use super::{Holder, Turn, Waiting};
use crate::time::millis_of;
use bluegreen_contract::{EVERY_REPOSITORY, TakeTurnInput};

/// `DescribeExecution` is eventually consistent: an execution that it does not know may have begun
/// this short a time ago.
const MAY_BE_NEW_MS: i64 = 10 * 60 * 1000;

/// What is seen of the turn of a stack.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub turn: &'a Turn,
    pub me: &'a TakeTurnInput,
    /// Whether who has the turn lives, where that was asked.
    pub holder: Option<&'a Life>,
    /// Whether who has the place in line lives, where that was asked.
    pub waiting: Option<&'a Life>,
    /// Milliseconds since 1970.
    pub now: i64,
}

/// What Step Functions says of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    Running,
    /// With this status, after it had been redriven so often.
    Ended {
        status: String,
        redrives: u32,
    },
    /// Step Functions does not know it: it has just begun, or ended long ago.
    Unknown,
}

/// Another release that has to do with the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Holder,
    Waiting,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This try has the turn.
    Keep,
    Retake,
    /// Another one, an execution's ARN, is released instead.
    GiveWay {
        to: String,
    },
    /// Takes the place in line; where a living older one had it, an execution's ARN, that one is
    /// superseded.
    StandInLine {
        displacing: Option<String>,
    },
    Take,
    /// Takes the turn of a dead one. How its execution ended: Step Functions' word, or `GONE`.
    TakeOver {
        status: String,
    },
    /// Nothing, until something happens; milliseconds since 1970 where it is known when.
    Wait {
        until: Option<i64>,
    },
    /// To be decided when it is known whether this one lives.
    NeedLife {
        of: Who,
    },
}

/// Decides what a release does next that wants the turn.
#[must_use]
pub fn step(seen: &Seen<'_>) -> Step {
    let me = seen.me;
    let place = seen.turn.waiting.as_ref();
    let own = seen
        .turn
        .holder
        .as_ref()
        .filter(|holder| holder.execution == me.execution.id);
    if let Some(holder) = own {
        return had_before(holder, seen);
    }
    let has_place = place.is_some_and(|place| place.execution == me.execution.id);
    if has_place || me.release.alarm.is_some() {
        return at_the_head(seen);
    }
    match newer_rival_at_work(seen) {
        Some(step) => step,
        None => behind(place, seen),
    }
}

/// The turn is this execution's already.
fn had_before(holder: &Holder, seen: &Seen<'_>) -> Step {
    let redrives = seen.me.execution.redrives;
    if holder.redrives == redrives {
        Step::Keep
    } else if holder.redrives > redrives {
        Step::Wait { until: None }
    } else {
        last_call(holder, seen.now).unwrap_or(Step::Retake)
    }
}

/// Nobody is before this release but who has the turn.
fn at_the_head(seen: &Seen<'_>) -> Step {
    let Some(holder) = &seen.turn.holder else {
        return Step::Take;
    };
    match fate_of_holder(holder, seen) {
        Fate::NotAsked => Step::NeedLife { of: Who::Holder },
        Fate::Lives => Step::Wait { until: None },
        Fate::Dead(status) => last_call(holder, seen.now).unwrap_or_else(|| Step::TakeOver {
            status: status.to_owned(),
        }),
    }
}

/// A newer rival has the turn, or that is to be found out.
fn newer_rival_at_work(seen: &Seen<'_>) -> Option<Step> {
    let holder = seen.turn.holder.as_ref()?;
    let is_newer = holder.order.as_ref()? > &seen.me.release.order;
    if !is_newer || !are_rivals(holder.waits_for.as_ref()?, seen.me.release.waits_for()) {
        return None;
    }
    match fate_of_holder(holder, seen) {
        Fate::NotAsked => Some(Step::NeedLife { of: Who::Holder }),
        Fate::Lives => Some(Step::GiveWay {
            to: holder.execution.clone(),
        }),
        Fate::Dead(_) => None,
    }
}

/// Somebody else has the place in line, or nobody.
fn behind(place: Option<&Waiting>, seen: &Seen<'_>) -> Step {
    let Some(other) = place else {
        return match seen.turn.holder {
            Some(_) => Step::StandInLine { displacing: None },
            None => Step::Take,
        };
    };
    let me = &seen.me.release;
    let rivals = are_rivals(&other.waits_for, me.waits_for());
    if rivals && other.order < me.order {
        return Step::StandInLine {
            displacing: Some(other.execution.clone()),
        };
    }
    let started = other.order.split('#').nth(1).and_then(millis_of);
    match fate(seen.waiting, started, seen.now) {
        Fate::NotAsked => Step::NeedLife { of: Who::Waiting },
        Fate::Dead(_) => Step::StandInLine { displacing: None },
        Fate::Lives if rivals => Step::GiveWay {
            to: other.execution.clone(),
        },
        Fate::Lives => Step::Wait { until: None },
    }
}

fn are_rivals(one: &str, other: &str) -> bool {
    one == other || one == EVERY_REPOSITORY || other == EVERY_REPOSITORY
}

enum Fate<'a> {
    NotAsked,
    Lives,
    Dead(&'a str),
}

/// A holder that was redriven since what is told of it lives: that is of before.
fn fate_of_holder<'a>(holder: &Holder, seen: &Seen<'a>) -> Fate<'a> {
    match seen.holder {
        Some(Life::Ended { redrives, .. }) if *redrives < holder.redrives => Fate::Lives,
        life => fate(life, millis_of(&holder.since), seen.now),
    }
}

fn fate(life: Option<&Life>, since: Option<i64>, now: i64) -> Fate<'_> {
    match life {
        None => Fate::NotAsked,
        Some(Life::Running) => Fate::Lives,
        Some(Life::Ended { status, .. }) => Fate::Dead(status),
        Some(Life::Unknown) if since.is_some_and(|since| now < since + MAY_BE_NEW_MS) => {
            Fate::Lives
        }
        Some(Life::Unknown) => Fate::Dead("GONE"),
    }
}

/// Waits for a call of the holder that may still change something.
fn last_call(holder: &Holder, now: i64) -> Option<Step> {
    let until = holder.is_changing_until(now)?;
    Some(Step::Wait { until: Some(until) })
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
