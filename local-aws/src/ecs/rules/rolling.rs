//! The decisions of a rolling deployment, as plain functions of numbers.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html>
//!
//! A task that dies or becomes unhealthy is replaced by one of its own revision, whatever becomes
//! of the next one, and tasks are added to both revisions when more are desired:
//! <https://aws.amazon.com/about-aws/whats-new/2025/11/amazon-ecs-service-availability-rolling-deployments>.
//! What is not said there: which of the two comes first where there is not room for both. Here
//! the revision that serves does, down to the minimum of healthy tasks; so no deployment is kept
//! from going on that would go on if all tasks were well. A revision that never became the one
//! that serves is not replaced by itself.

use std::time::Duration;

/// How many tasks a service wants and how far it may be from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) struct Limits {
    pub(in crate::ecs) desired: usize,
    /// So many tasks stay healthy.
    pub(in crate::ecs) minimum_healthy: usize,
    /// No more tasks than this run or start at once.
    pub(in crate::ecs) maximum: usize,
}

impl Limits {
    /// The minimum is rounded up, the maximum down.
    pub(in crate::ecs) fn new(
        desired: usize,
        minimum_healthy_percent: usize,
        maximum_percent: usize,
    ) -> Self {
        Self {
            desired,
            minimum_healthy: (desired * minimum_healthy_percent).div_ceil(100),
            maximum: desired * maximum_percent / 100,
        }
    }
}

/// What the scheduler makes of a task that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Condition {
    /// Not running yet.
    Starting,
    /// Running, and not known to be healthy yet.
    Unproven,
    Healthy,
    Unhealthy,
}

/// The deployment a task belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Part {
    Primary,
    /// The completed one, which the primary one replaces.
    Serving,
    /// One that never was completed, because a newer one took its place.
    Superseded,
}

/// A task the scheduler decides about; tasks that are stopping already are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) struct Candidate {
    pub(in crate::ecs) part: Part,
    pub(in crate::ecs) condition: Condition,
}

/// How far a deployment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) struct Progress {
    /// Whether the primary deployment is not completed.
    pub(in crate::ecs) rolling: bool,
    /// Whether the primary deployment launches tasks now, that is, it has neither failed nor to
    /// wait.
    pub(in crate::ecs) starts: bool,
    /// The same of the deployment that serves.
    pub(in crate::ecs) restarts: bool,
    /// How many tasks of the deployment that serves have given way to others.
    pub(in crate::ecs) replaced: usize,
}

/// Why a task is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum StopReason {
    /// Another task takes its place, or it is one too many.
    Scaling,
    Unhealthy,
}

/// What to do next. Positions are those in the list of candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::ecs) struct Plan {
    /// So many tasks of the primary deployment.
    pub(in crate::ecs) start: usize,
    /// So many tasks of the deployment that serves.
    pub(in crate::ecs) restart: usize,
    /// How many tasks of the deployment that serves have given way to others by now.
    pub(in crate::ecs) replaced: usize,
    pub(in crate::ecs) stop: Vec<(usize, StopReason)>,
    /// Tasks are missing, and neither may one be started nor one be stopped to make room.
    pub(in crate::ecs) blocked: bool,
}

impl Plan {
    fn stop_all(&mut self, positions: &[usize], reason: StopReason) {
        self.stop
            .extend(positions.iter().map(|position| (*position, reason)));
    }
}

/// The positions of the candidates of one deployment, sorted by what they are.
#[derive(Default)]
struct Group {
    healthy: Vec<usize>,
    unproven: Vec<usize>,
    starting: Vec<usize>,
    unhealthy: Vec<usize>,
}

impl Group {
    fn of(part: Part, candidates: &[Candidate]) -> Self {
        let mut group = Self::default();
        for (position, candidate) in candidates.iter().enumerate() {
            if candidate.part != part {
                continue;
            }
            let same = match candidate.condition {
                Condition::Healthy => &mut group.healthy,
                Condition::Unproven => &mut group.unproven,
                Condition::Starting => &mut group.starting,
                Condition::Unhealthy => &mut group.unhealthy,
            };
            same.push(position);
        }
        group
    }

    /// Tasks that serve or may soon.
    fn usable(&self) -> usize {
        self.healthy.len() + self.unproven.len() + self.starting.len()
    }

    fn alive(&self) -> usize {
        self.usable() + self.unhealthy.len()
    }

    /// Takes out so many that are usable, the youngest of those that do not serve yet first.
    fn take(&mut self, count: usize) -> Vec<usize> {
        let mut taken = Vec::new();
        for group in [&mut self.starting, &mut self.unproven] {
            let kept = group.len().saturating_sub(count - taken.len());
            taken.extend(group.drain(kept..).rev());
        }
        taken
    }

    /// Takes out so many healthy ones, the oldest first.
    fn take_oldest(&mut self, count: usize) -> Vec<usize> {
        let count = count.min(self.healthy.len());
        self.healthy.drain(..count).collect()
    }

    /// Takes out so many healthy ones, the youngest first.
    fn take_youngest(&mut self, count: usize) -> Vec<usize> {
        let kept = self.healthy.len().saturating_sub(count);
        self.healthy.drain(kept..).rev().collect()
    }

    /// Takes out so many unhealthy ones.
    fn take_unhealthy(&mut self, count: usize) -> Vec<usize> {
        let count = count.min(self.unhealthy.len());
        self.unhealthy.drain(..count).collect()
    }
}

/// Decides what a service does next. Candidates stand in the order in which they were created.
pub(in crate::ecs) fn plan(limits: Limits, candidates: &[Candidate], progress: Progress) -> Plan {
    let mut primary = Group::of(Part::Primary, candidates);
    let mut serving = Group::of(Part::Serving, candidates);
    let mut superseded = Group::of(Part::Superseded, candidates);
    let mut plan = Plan::default();

    let healthy = primary.healthy.len() + serving.healthy.len() + superseded.healthy.len();
    // What a superseded deployment has not brought to run yet is of no use to anybody. Neither are
    // its tasks that may not be healthy, unless they are all there is.
    let mut useless = std::mem::take(&mut superseded.starting);
    if healthy >= limits.minimum_healthy {
        useless.append(&mut superseded.unproven);
        useless.append(&mut superseded.unhealthy);
    }
    plan.stop_all(&useless, StopReason::Scaling);

    let excess = primary.usable().saturating_sub(limits.desired);
    let mut stopped = primary.take(excess);
    stopped.extend(primary.take_youngest(excess - stopped.len()));
    plan.stop_all(&stopped, StopReason::Scaling);
    let needed = match progress.starts {
        true => limits.desired.saturating_sub(primary.usable()),
        false => 0,
    };

    // Within a deployment an unhealthy task has failed. Outside it stays until its replacement is
    // healthy, unless there is no room for one.
    let alive = primary.alive() + serving.alive() + superseded.alive();
    let failed = if progress.rolling || primary.healthy.len() >= limits.desired {
        primary.unhealthy.len()
    } else {
        needed.saturating_sub(limits.maximum.saturating_sub(alive))
    };
    let failed = primary.take_unhealthy(failed);
    let free = limits.maximum.saturating_sub(alive - failed.len());
    plan.stop_all(&failed, StopReason::Unhealthy);

    let target = serving_target(limits, &primary, needed, &serving, progress.replaced);
    plan.replaced = limits.desired.saturating_sub(target);
    let missing = match progress.restarts {
        true => target.saturating_sub(serving.usable()),
        false => 0,
    };
    // What has ended is replaced first; what is unhealthy still has its place, and another one
    // beside it only where the primary deployment needs none.
    let ended = missing.saturating_sub(serving.unhealthy.len()).min(free);
    plan.start = needed.min(free - ended);
    plan.restart = missing.min(free - plan.start);
    let shortfall = needed - plan.start;
    // The other tasks of a superseded deployment go as others become healthy; before that only to
    // make room, and those that may not be healthy first.
    let mut stopped = superseded.take(shortfall);
    stopped.extend(superseded.take_unhealthy(shortfall - stopped.len()));
    let surplus = healthy.saturating_sub(limits.desired);
    let dispensable = healthy.saturating_sub(limits.minimum_healthy);
    let room = (shortfall - stopped.len()).min(dispensable);
    stopped.extend(superseded.take_oldest(surplus.max(room)));
    plan.stop_all(&stopped, StopReason::Scaling);

    // "The scheduler stops the unhealthy tasks one-by-one" where there is no room.
    // https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
    let removed = if serving.healthy.len() >= target {
        serving.unhealthy.len()
    } else {
        let is_next = serving.starting.is_empty() && serving.unproven.is_empty();
        usize::from(is_next && plan.restart < missing)
    };
    let removed = serving.take_unhealthy(removed);
    plan.stop_all(&removed, StopReason::Unhealthy);
    let excess = serving.usable().saturating_sub(target);
    let mut stopped = serving.take(excess);
    stopped.extend(serving.take_oldest(excess - stopped.len()));
    plan.stop_all(&stopped, StopReason::Scaling);

    let starts = plan.start + plan.restart > 0;
    let waits = [&primary, &serving].map(|group| group.starting.len() + group.unproven.len());
    plan.blocked = shortfall > 0 && !starts && plan.stop.is_empty() && waits == [0, 0];
    plan
}

/// How many tasks of the deployment that serves are to be there: the rest of what is desired, but
/// not again what has given way already; and where there is no room for them beside what the
/// primary deployment needs, only the minimum.
fn serving_target(
    limits: Limits,
    primary: &Group,
    needed: usize,
    serving: &Group,
    replaced: usize,
) -> usize {
    let rest = limits.desired.saturating_sub(primary.healthy.len());
    let left = limits.desired.saturating_sub(replaced);
    let room = limits.maximum.saturating_sub(primary.usable() + needed);
    let minimum = limits.minimum_healthy.saturating_sub(primary.healthy.len());
    rest.min(left.max(serving.usable())).min(room.max(minimum))
}

/// How long a service waits before it starts tasks again, after so many in a row never ran.
///
/// ECS retries ever more slowly, with up to 27 minutes between two tries:
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html>.
/// From which failure on it waits and how the delay grows is not documented: here the first three
/// are retried at once, and then it doubles.
pub(super) fn retry_delay(never_ran: u64) -> Duration {
    const UNDELAYED: u64 = 3;
    const LONGEST: Duration = Duration::from_secs(27 * 60);
    match never_ran.checked_sub(UNDELAYED) {
        None | Some(0) => Duration::ZERO,
        Some(more) => Duration::from_secs(10 << more.min(8)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::Condition::{Healthy, Starting, Unhealthy, Unproven};
    use super::*;

    fn candidates(new: &[Condition], old: &[Condition]) -> Vec<Candidate> {
        let mut candidates = of(Part::Serving, old);
        candidates.extend(of(Part::Primary, new));
        candidates
    }

    fn of(part: Part, conditions: &[Condition]) -> Vec<Candidate> {
        let candidate = |condition: &Condition| Candidate {
            part,
            condition: *condition,
        };
        conditions.iter().map(candidate).collect()
    }

    /// A deployment that replaces one of which so many tasks have given way already.
    fn rolling(replaced: usize) -> Progress {
        Progress {
            rolling: true,
            starts: true,
            restarts: true,
            replaced,
        }
    }

    /// One that replaces nothing, or is complete.
    fn alone(rolling: bool) -> Progress {
        Progress {
            rolling,
            starts: true,
            restarts: false,
            replaced: 0,
        }
    }

    /// The number of tasks to start and of old and new ones to stop.
    fn decide(
        limits: (usize, usize, usize),
        new: &[Condition],
        old: &[Condition],
    ) -> (usize, usize, usize) {
        let (desired, minimum, maximum) = limits;
        let limits = Limits::new(desired, minimum, maximum);
        let progress = match old {
            [] => alone(true),
            _ => rolling(0),
        };
        let plan = plan(limits, &candidates(new, old), progress);
        let stopped_old = plan.stop.iter().filter(|(p, _)| *p < old.len()).count();
        (plan.start, stopped_old, plan.stop.len() - stopped_old)
    }

    #[test]
    fn the_minimum_is_rounded_up_and_the_maximum_down() {
        let limits = Limits::new(3, 50, 150);
        assert_eq!((limits.minimum_healthy, limits.maximum), (2, 4));
        let limits = Limits::new(1, 100, 150);
        assert_eq!((limits.minimum_healthy, limits.maximum), (1, 1));
    }

    #[test]
    fn a_new_service_starts_all_its_tasks() {
        assert_eq!(decide((3, 100, 200), &[], &[]), (3, 0, 0));
    }

    #[test]
    fn new_tasks_are_started_before_old_ones_are_stopped() {
        let limits = (2, 100, 200);
        assert_eq!(decide(limits, &[], &[Healthy, Healthy]), (2, 0, 0));
        assert_eq!(
            decide(limits, &[Starting, Starting], &[Healthy, Healthy]),
            (0, 0, 0)
        );
        assert_eq!(
            decide(limits, &[Healthy, Starting], &[Healthy, Healthy]),
            (0, 1, 0)
        );
        assert_eq!(decide(limits, &[Healthy, Healthy], &[Healthy]), (0, 1, 0));
    }

    #[test]
    fn the_maximum_limits_how_many_start_at_once() {
        let old = [Healthy; 4];
        assert_eq!(decide((4, 100, 150), &[], &old), (2, 0, 0));
        assert_eq!(decide((4, 100, 150), &[Healthy, Healthy], &old), (0, 2, 0));
        assert_eq!(
            decide((4, 100, 150), &[Healthy, Healthy], &old[..2]),
            (2, 0, 0)
        );
    }

    #[test]
    fn without_room_old_tasks_make_room_down_to_the_minimum() {
        assert_eq!(decide((4, 50, 100), &[], &[Healthy; 4]), (0, 2, 0));
        assert_eq!(decide((4, 50, 100), &[], &[Healthy; 2]), (2, 0, 0));
        assert_eq!(
            decide((4, 50, 100), &[Starting, Starting], &[Healthy; 2]),
            (0, 0, 0)
        );
        assert_eq!(decide((1, 0, 100), &[], &[Healthy]), (0, 1, 0));
    }

    #[test]
    fn a_configuration_that_allows_neither_blocks() {
        let blocked = |minimum, maximum| {
            let limits = Limits::new(1, minimum, maximum);
            plan(limits, &candidates(&[], &[Healthy]), rolling(0)).blocked
        };
        assert!(blocked(100, 100));
        assert!(blocked(100, 150));
        assert!(!blocked(100, 200));
        assert!(!blocked(0, 100));
    }

    #[test]
    fn tasks_of_a_superseded_deployment_are_stopped_at_once() {
        let superseded = of(Part::Superseded, &[Healthy, Healthy, Starting, Unproven]);
        let plan = plan(Limits::new(2, 100, 200), &superseded, alone(true));
        let useless = [2, 3].map(|position| (position, StopReason::Scaling));
        assert_eq!((plan.start, plan.restart), (2, 0));
        assert_eq!(plan.stop, useless);
    }

    #[test]
    fn old_tasks_that_may_not_be_healthy_stay_while_nothing_better_runs() {
        let limits = (2, 100, 200);
        assert_eq!(decide(limits, &[], &[Unproven, Unhealthy]), (2, 0, 0));
        assert_eq!(
            decide(limits, &[Unproven; 2], &[Unproven, Unhealthy]),
            (0, 0, 0)
        );
        assert_eq!(
            decide(limits, &[Healthy; 2], &[Unproven, Unhealthy]),
            (0, 2, 0)
        );
        // Without room for new tasks they are the first to go.
        assert_eq!(decide((2, 100, 100), &[], &[Healthy, Unhealthy]), (0, 1, 0));
    }

    /// How many tasks of the primary deployment and of the one that serves are started, how many of
    /// the latter are stopped, and how many of them have given way then.
    fn keep(
        limits: (usize, usize, usize),
        new: &[Condition],
        old: &[Condition],
        replaced: usize,
    ) -> (usize, usize, usize, usize) {
        let (desired, minimum, maximum) = limits;
        let limits = Limits::new(desired, minimum, maximum);
        let plan = plan(limits, &candidates(new, old), rolling(replaced));
        let stopped = plan.stop.iter().filter(|(p, _)| *p < old.len()).count();
        (plan.start, plan.restart, stopped, plan.replaced)
    }

    #[test]
    fn a_task_that_ends_in_a_rolling_deployment_is_replaced_by_one_of_its_own_revision() {
        let limits = (2, 100, 200);
        let new = [Unproven; 2];
        assert_eq!(keep(limits, &new, &[Healthy], 0), (0, 1, 0, 0));
        assert_eq!(keep(limits, &new, &[], 0), (0, 2, 0, 0));
        assert_eq!(keep(limits, &new, &[Healthy, Starting], 0), (0, 0, 0, 0));
        // One of the next revision fails: that is started again, and nothing that gave way.
        assert_eq!(keep(limits, &[Unproven], &[Healthy], 1), (1, 0, 0, 1));
    }

    #[test]
    fn what_serves_is_replaced_before_the_next_revision_gets_room_but_down_to_the_minimum_only() {
        assert_eq!(keep((4, 100, 150), &[], &[Healthy; 3], 0), (2, 1, 0, 0));
        assert_eq!(
            keep((4, 100, 150), &[Unproven], &[Healthy; 3], 0),
            (1, 1, 0, 0)
        );
        assert_eq!(keep((4, 50, 100), &[], &[Healthy; 3], 0), (1, 0, 1, 2));
        assert_eq!(
            keep((4, 50, 100), &[Unproven; 2], &[Healthy], 2),
            (0, 1, 0, 2)
        );
        assert_eq!(keep((1, 0, 100), &[], &[], 0), (1, 0, 0, 1));
    }

    #[test]
    fn an_unhealthy_task_in_a_rolling_deployment_is_replaced_by_one_of_its_own_revision() {
        let limits = (2, 100, 200);
        let new = [Unproven];
        // Beside it where there is room that the next revision does not need.
        assert_eq!(keep(limits, &new, &[Healthy, Unhealthy], 0), (1, 0, 1, 0));
        assert_eq!(
            keep((2, 100, 250), &new, &[Healthy, Unhealthy], 0),
            (1, 1, 0, 0)
        );
        let old = [Healthy, Unhealthy, Unproven];
        assert_eq!(keep((2, 100, 250), &new, &old, 0), (1, 0, 0, 0));
        let old = [Healthy, Unhealthy, Healthy];
        assert_eq!(keep((2, 100, 250), &new, &old, 0), (1, 0, 1, 0));
        // Where there is none, one by one.
        assert_eq!(
            keep(limits, &[Unproven; 2], &[Unhealthy; 2], 0),
            (0, 0, 1, 0)
        );
        assert_eq!(
            keep(limits, &[Unproven; 2], &[Unhealthy, Starting], 0),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn what_is_desired_beyond_goes_to_both_revisions_in_a_rolling_deployment() {
        assert_eq!(
            keep((4, 100, 200), &[Unproven; 2], &[Healthy; 2], 0),
            (2, 2, 0, 0)
        );
        // And what is not desired any more is not restarted later.
        assert_eq!(keep((2, 100, 200), &[], &[Healthy; 4], 0), (0, 0, 2, 0));
    }

    #[test]
    fn what_serves_is_kept_when_the_next_revision_has_failed() {
        let failed = Progress {
            starts: false,
            ..rolling(0)
        };
        let limits = Limits::new(2, 50, 100);
        let plan = plan(limits, &candidates(&[], &[Healthy]), failed);
        assert_eq!((plan.start, plan.restart), (0, 1));
    }

    #[test]
    fn an_unhealthy_task_has_failed_within_a_deployment() {
        assert_eq!(
            decide((2, 100, 200), &[Unhealthy, Starting], &[Healthy, Healthy]),
            (1, 0, 1)
        );
    }

    #[test]
    fn outside_a_deployment_an_unhealthy_task_is_replaced_before_it_is_stopped() {
        let steady = |maximum, new: &[Condition]| {
            let limits = Limits::new(2, 100, maximum);
            let plan = plan(limits, &candidates(new, &[]), alone(false));
            (plan.start, plan.stop)
        };
        assert_eq!(steady(200, &[Healthy, Unhealthy]), (1, vec![]));
        assert_eq!(steady(200, &[Healthy, Unhealthy, Starting]), (0, vec![]));
        assert_eq!(
            steady(200, &[Healthy, Unhealthy, Healthy]),
            (0, vec![(1, StopReason::Unhealthy)])
        );
        assert_eq!(
            steady(100, &[Healthy, Unhealthy]),
            (1, vec![(1, StopReason::Unhealthy)])
        );
    }

    #[test]
    fn scaling_in_stops_the_youngest_that_do_not_serve_first() {
        let limits = Limits::new(1, 100, 200);
        let tasks = candidates(&[Healthy, Healthy, Starting], &[]);
        assert_eq!(
            plan(limits, &tasks, alone(false)).stop,
            [(2, StopReason::Scaling), (1, StopReason::Scaling)]
        );
    }

    #[test]
    fn scaling_to_zero_stops_everything() {
        assert_eq!(
            decide((0, 100, 200), &[Healthy, Starting], &[Healthy]),
            (0, 1, 2)
        );
    }

    #[test]
    fn a_failed_deployment_starts_nothing_and_leaves_the_old_tasks() {
        let limits = Limits::new(2, 50, 100);
        let tasks = candidates(&[], &[Healthy, Healthy]);
        let failed = Progress {
            starts: false,
            ..rolling(0)
        };
        assert_eq!(plan(limits, &tasks, failed), Plan::default());
    }

    #[test]
    fn retries_become_slower_up_to_a_limit() {
        assert_eq!(retry_delay(0), Duration::ZERO);
        assert_eq!(retry_delay(3), Duration::ZERO);
        assert_eq!(retry_delay(4), Duration::from_secs(20));
        assert_eq!(retry_delay(5), Duration::from_secs(40));
        assert_eq!(retry_delay(10), Duration::from_secs(1280));
        assert_eq!(retry_delay(11), Duration::from_secs(27 * 60));
        assert_eq!(retry_delay(1000), Duration::from_secs(27 * 60));
    }
}
