//! Whether what a look has found is the answer, and which.
//!
//! | after a release | |
//! |---|---|
//! | in progress, the deadline is over | stalled |
//! | in progress | not yet |
//! | ECS has finished, targets may yet become healthy | not yet |
//! | anything else | that |
//!
//! | after a rollback | |
//! |---|---|
//! | in progress, the deadline is over | stalled |
//! | in progress | not yet |
//! | rolled back, and it was begun again just now | not yet |
//! | rolled back, alarms took back all that is not back, it was not begun too often, the deadline is not over | again |
//! | anything else | that |
//!
//! An alarm that fires during a rollback makes ECS take the rollback back, to the release that is not
//! wanted, of some services perhaps and of others not. ECS heeds no alarm that is in ALARM already
//! when a deployment begins, so that the same rollback comes through once it is begun again.

use crate::verdict::Found;
use bluegreen_contract::{Health, UpdatedServices, Verdict, cut};

/// How often a rollback is begun at most.
const TRIES: u32 = 5;
/// Milliseconds. What ECS tells so soon after a rollback was begun again may be of the one before.
const STALE: i64 = 10_000;
/// Characters of a cause, which tells of each of many services.
const CAUSE: usize = 10_000;

/// `None`: not yet. `deadline`, which is later than the update's where deployments have paused, and
/// `now` are in milliseconds since 1970.
pub(crate) fn of_release(
    update: &UpdatedServices,
    found: Found,
    deadline: i64,
    now: i64,
) -> Option<Health> {
    match found.verdict {
        Verdict::InProgress => overdue(update, "deployment", &found, deadline, now),
        verdict => Some(told(verdict, found.cause, now)),
    }
}

/// As [`of_release`].
pub(crate) fn of_rollback(
    update: &UpdatedServices,
    found: Found,
    deadline: i64,
    now: i64,
) -> Option<Health> {
    match found.verdict {
        Verdict::InProgress => overdue(update, "rollback", &found, deadline, now),
        Verdict::RolledBack if update.tries > 1 && now - update.at < STALE => None,
        Verdict::RolledBack
            if taken_back_by_alarms(&found) && update.tries < TRIES && now <= deadline =>
        {
            Some(told(Verdict::Again, found.cause, now))
        }
        verdict => Some(told(verdict, found.cause, now)),
    }
}

fn overdue(
    update: &UpdatedServices,
    what: &str,
    found: &Found,
    deadline: i64,
    now: i64,
) -> Option<Health> {
    let seconds = (update.deadline - update.at) / 1000;
    let since = match deadline > update.deadline {
        true => " after its pause",
        false => "",
    };
    let cause = format!(
        "The {what} was not finished within {seconds} seconds{since}. {}",
        found.cause
    );
    (now > deadline).then(|| told(Verdict::Stalled, cause, now))
}

fn taken_back_by_alarms(found: &Found) -> bool {
    found
        .services
        .iter()
        .all(|service| service.verdict == Verdict::Succeeded || !service.alarms.is_empty())
}

fn told(verdict: Verdict, cause: String, at: i64) -> Health {
    let cause = cut(&cause, CAUSE);
    Health { verdict, cause, at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{self, ServiceHealth};
    use Verdict::{
        Again, InProgress, RolledBack, Stalled, Stopped, Succeeded, Superseded, Unhealthy,
    };

    const BEGAN: i64 = 1_000_000;
    const DEADLINE: i64 = BEGAN + 600_000;

    fn update(tries: u32) -> UpdatedServices {
        UpdatedServices {
            services: vec![],
            at: BEGAN,
            deadline: DEADLINE,
            tries,
        }
    }

    fn service(verdict: Verdict, alarms: &[&str]) -> ServiceHealth {
        ServiceHealth {
            service: "web".to_owned(),
            verdict,
            reason: "It is so.".to_owned(),
            alarms: alarms.iter().map(|&alarm| alarm.to_owned()).collect(),
            is_over: false,
            finished_at: None,
        }
    }

    fn release(verdict: Verdict, now: i64) -> Option<Health> {
        of_release(
            &update(1),
            verdict::of_release(vec![service(verdict, &[])]),
            DEADLINE,
            now,
        )
    }

    fn rollback(services: &[ServiceHealth], tries: u32, now: i64) -> Option<Verdict> {
        let found = verdict::of_rollback(services.to_vec());
        of_rollback(&update(tries), found, DEADLINE, now).map(|health| health.verdict)
    }

    #[test]
    fn a_verdict_on_a_release_is_its_answer_also_after_the_deadline() {
        for verdict in [
            Succeeded, Superseded, Stopped, Unhealthy, RolledBack, Stalled,
        ] {
            for now in [BEGAN, DEADLINE + 1] {
                let health = release(verdict, now).unwrap();
                assert_eq!((health.verdict, health.at), (verdict, now));
                assert_eq!(health.cause, "Service web: It is so.");
            }
        }
    }

    #[test]
    fn a_deployment_that_is_not_finished_in_its_time_is_stalled() {
        assert_eq!(release(InProgress, DEADLINE), None);
        let health = release(InProgress, DEADLINE + 1).unwrap();
        assert_eq!(health.verdict, Stalled);
        assert_eq!(
            health.cause,
            "The deployment was not finished within 600 seconds. Service web: It is so."
        );
    }

    #[test]
    fn what_has_paused_has_its_time_once_more() {
        let later = DEADLINE + 1_000_000;
        let release = |now| {
            let found = verdict::of_release(vec![service(InProgress, &[])]);
            of_release(&update(1), found, later, now)
        };
        assert_eq!(release(later), None);
        let health = release(later + 1).unwrap();
        assert_eq!(health.verdict, Stalled);
        let told = "within 600 seconds after its pause.";
        assert!(health.cause.contains(told), "{}", health.cause);
        let rollback = |now| {
            let found = verdict::of_rollback(vec![service(InProgress, &[])]);
            of_rollback(&update(1), found, later, now).map(|health| health.verdict)
        };
        assert_eq!(rollback(later), None);
        assert_eq!(rollback(later + 1), Some(Stalled));
    }

    #[test]
    fn a_rollback_that_is_not_finished_in_its_time_is_stalled() {
        let moving = [service(InProgress, &[]), service(Succeeded, &[])];
        assert_eq!(rollback(&moving, 1, DEADLINE), None);
        assert_eq!(rollback(&moving, 1, DEADLINE + 1), Some(Stalled));
    }

    #[test]
    fn a_rollback_that_an_alarm_took_back_is_begun_again() {
        let alarmed = service(RolledBack, &["errors"]);
        let back = service(Succeeded, &[]);
        for services in [vec![alarmed.clone()], vec![alarmed, back]] {
            assert_eq!(rollback(&services, 1, BEGAN + 20_000), Some(Again));
        }
    }

    #[test]
    fn what_a_person_has_stopped_or_what_failed_by_itself_is_not_begun_again() {
        let alarmed = service(RolledBack, &["errors"]);
        for other in [service(Stopped, &[]), service(RolledBack, &[])] {
            let alone = rollback(std::slice::from_ref(&other), 1, BEGAN + 20_000);
            assert_eq!(alone, Some(other.verdict));
            let both = [alarmed.clone(), other];
            assert_eq!(rollback(&both, 1, BEGAN + 20_000), Some(RolledBack));
        }
    }

    #[test]
    fn what_ecs_tells_at_first_may_be_of_the_rollback_before() {
        let alarmed = [service(RolledBack, &["errors"])];
        assert_eq!(rollback(&alarmed, 2, BEGAN + 1_000), None);
        assert_eq!(rollback(&alarmed, 2, BEGAN + 9_999), None);
        assert_eq!(rollback(&alarmed, 2, BEGAN + 10_000), Some(Again));
        assert_eq!(rollback(&alarmed, 1, BEGAN + 1_000), Some(Again));
    }

    #[test]
    fn a_rollback_is_not_begun_again_for_ever() {
        let alarmed = [service(RolledBack, &["errors"])];
        assert_eq!(rollback(&alarmed, 4, BEGAN + 20_000), Some(Again));
        assert_eq!(rollback(&alarmed, 5, BEGAN + 20_000), Some(RolledBack));
        assert_eq!(rollback(&alarmed, 1, DEADLINE), Some(Again));
        assert_eq!(rollback(&alarmed, 1, DEADLINE + 1), Some(RolledBack));
    }

    #[test]
    fn a_rollback_of_which_every_service_is_back_has_succeeded() {
        let back = [service(Succeeded, &[]), service(Succeeded, &[])];
        assert_eq!(rollback(&back, 1, BEGAN), Some(Succeeded));
        assert_eq!(rollback(&back, 3, DEADLINE + 1), Some(Succeeded));
    }
}
