//! The decisions of a rolling deployment, as plain functions of numbers.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html>

use std::time::Duration;

use serde::Deserialize;

/// How many tasks a service wants and how far it may be from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) desired: usize,
    /// So many tasks stay healthy.
    pub(super) minimum_healthy: usize,
    /// No more tasks than this run or start at once.
    pub(super) maximum: usize,
}

impl Limits {
    /// The minimum is rounded up, the maximum down.
    pub(super) fn new(
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
pub(super) enum Condition {
    /// Not running yet.
    Starting,
    /// Running, and not known to be healthy yet.
    Unproven,
    Healthy,
    Unhealthy,
}

/// A task the scheduler decides about; tasks that are stopping already are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Whether it belongs to the primary deployment.
    pub(super) primary: bool,
    pub(super) condition: Condition,
}

/// Why a task is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    /// Another task takes its place, or it is one too many.
    Scaling,
    Unhealthy,
}

/// What to do next. Positions are those in the list of candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) start: usize,
    pub(super) stop: Vec<(usize, StopReason)>,
    /// Tasks are missing, and neither may one be started nor one be stopped to make room.
    pub(super) blocked: bool,
}

impl Plan {
    fn stop_all(&mut self, positions: &[usize], reason: StopReason) {
        self.stop
            .extend(positions.iter().map(|position| (*position, reason)));
    }
}

/// The candidates' positions, sorted by what they are.
#[derive(Default)]
struct Groups {
    healthy: Vec<usize>,
    unproven: Vec<usize>,
    starting: Vec<usize>,
    unhealthy: Vec<usize>,
    old_healthy: Vec<usize>,
    /// Tasks of earlier deployments that run, but may not be healthy.
    old_doubtful: Vec<usize>,
    old_starting: Vec<usize>,
}

impl Groups {
    fn of(candidates: &[Candidate]) -> Self {
        let mut groups = Self::default();
        for (position, candidate) in candidates.iter().enumerate() {
            let group = match (candidate.primary, candidate.condition) {
                (true, Condition::Healthy) => &mut groups.healthy,
                (true, Condition::Unproven) => &mut groups.unproven,
                (true, Condition::Starting) => &mut groups.starting,
                (true, Condition::Unhealthy) => &mut groups.unhealthy,
                (false, Condition::Healthy) => &mut groups.old_healthy,
                (false, Condition::Starting) => &mut groups.old_starting,
                (false, Condition::Unproven | Condition::Unhealthy) => &mut groups.old_doubtful,
            };
            group.push(position);
        }
        groups
    }

    /// Tasks of the primary deployment that serve or may soon.
    fn usable(&self) -> usize {
        self.healthy.len() + self.unproven.len() + self.starting.len()
    }

    fn all_healthy(&self) -> usize {
        self.healthy.len() + self.old_healthy.len()
    }

    fn alive(&self) -> usize {
        self.usable() + self.unhealthy.len() + self.old_healthy.len() + self.old_doubtful.len()
    }

    /// Takes out the youngest of the primary deployment, those that do not serve yet first.
    fn take_youngest(&mut self, count: usize) -> Vec<usize> {
        let mut taken = Vec::new();
        for group in [&mut self.starting, &mut self.unproven, &mut self.healthy] {
            while taken.len() < count
                && let Some(youngest) = group.pop()
            {
                taken.push(youngest);
            }
        }
        taken
    }
}

/// Decides what a service does next.
///
/// `rolling`: the primary deployment is not completed. `may_start`: it launches tasks, that is,
/// it has not failed. Candidates stand in the order in which they were created.
pub(super) fn plan(
    limits: Limits,
    candidates: &[Candidate],
    rolling: bool,
    may_start: bool,
) -> Plan {
    let mut groups = Groups::of(candidates);
    let mut plan = Plan::default();

    // What an earlier deployment has not brought to run yet is of no use to anybody. Neither are
    // its tasks that may not be healthy, unless they are all there is.
    plan.stop_all(&groups.old_starting, StopReason::Scaling);
    if groups.all_healthy() >= limits.minimum_healthy {
        plan.stop_all(&groups.old_doubtful, StopReason::Scaling);
        groups.old_doubtful.clear();
    }
    let excess = groups.usable().saturating_sub(limits.desired);
    plan.stop_all(&groups.take_youngest(excess), StopReason::Scaling);

    let needed = if may_start {
        limits.desired.saturating_sub(groups.usable())
    } else {
        0
    };
    // Outside deployments an unhealthy task stays until its replacement is healthy, unless there
    // is no room for one. Within a deployment it has failed.
    let removed = if rolling || groups.healthy.len() >= limits.desired {
        groups.unhealthy.len()
    } else {
        let room = limits.maximum.saturating_sub(groups.alive());
        needed.saturating_sub(room).min(groups.unhealthy.len())
    };
    let failed: Vec<usize> = groups.unhealthy.drain(..removed).collect();
    plan.stop_all(&failed, StopReason::Unhealthy);

    plan.start = needed.min(limits.maximum.saturating_sub(groups.alive()));
    let shortfall = needed - plan.start;
    stop_replaced(&mut plan, limits, &groups, shortfall);

    let waiting = !groups.starting.is_empty() || !groups.unproven.is_empty();
    plan.blocked = shortfall > 0 && plan.start == 0 && plan.stop.is_empty() && !waiting;
    plan
}

/// Stops tasks of earlier deployments as new ones become healthy; before that only to make room
/// for new ones, and those that may not be healthy first.
fn stop_replaced(plan: &mut Plan, limits: Limits, groups: &Groups, shortfall: usize) {
    let doubtful = shortfall.min(groups.old_doubtful.len());
    plan.stop_all(&groups.old_doubtful[..doubtful], StopReason::Scaling);
    let surplus = groups.all_healthy().saturating_sub(limits.desired);
    let dispensable = groups.all_healthy().saturating_sub(limits.minimum_healthy);
    let replaced = surplus
        .max((shortfall - doubtful).min(dispensable))
        .min(groups.old_healthy.len());
    plan.stop_all(&groups.old_healthy[..replaced], StopReason::Scaling);
}

/// `deploymentConfiguration.deploymentCircuitBreaker`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CircuitBreaker {
    #[serde(default)]
    pub(super) enable: bool,
    #[serde(default)]
    pub(super) rollback: bool,
    reset_on_healthy_task: Option<bool>,
    threshold_configuration: Option<ThresholdConfiguration>,
}

#[derive(Clone, Debug, Deserialize)]
struct ThresholdConfiguration {
    r#type: String,
    value: u64,
}

impl CircuitBreaker {
    /// Whether a task that becomes healthy makes the earlier failures forgotten.
    pub(super) fn resets(&self) -> bool {
        self.reset_on_healthy_task.unwrap_or(true)
    }

    /// How many failed tasks make the deployment a failed one: by default half the desired
    /// count, but at least 3 and at most 200.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>
    pub(super) fn threshold(&self, desired: usize) -> u64 {
        let desired = desired as u64;
        match &self.threshold_configuration {
            Some(configuration) => {
                let part = (desired * configuration.value).div_ceil(100);
                match configuration.r#type.as_str() {
                    "COUNT" => configuration.value.max(1),
                    "UNBOUNDED_PERCENT" => part.max(1),
                    _ => part.clamp(3, 200),
                }
            }
            None => desired.div_ceil(2).clamp(3, 200),
        }
    }
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
        let of = |primary| {
            move |condition: &Condition| Candidate {
                primary,
                condition: *condition,
            }
        };
        let old = old.iter().map(of(false));
        old.chain(new.iter().map(of(true))).collect()
    }

    /// The number of tasks to start and of old and new ones to stop.
    fn decide(
        limits: (usize, usize, usize),
        new: &[Condition],
        old: &[Condition],
    ) -> (usize, usize, usize) {
        let (desired, minimum, maximum) = limits;
        let plan = plan(
            Limits::new(desired, minimum, maximum),
            &candidates(new, old),
            true,
            true,
        );
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
            plan(limits, &candidates(&[], &[Healthy]), true, true).blocked
        };
        assert!(blocked(100, 100));
        assert!(blocked(100, 150));
        assert!(!blocked(100, 200));
        assert!(!blocked(0, 100));
    }

    #[test]
    fn tasks_of_a_superseded_deployment_are_stopped_at_once() {
        let old = [Healthy, Healthy, Starting, Unproven];
        assert_eq!(decide((2, 100, 200), &[], &old), (2, 2, 0));
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
            let plan = plan(limits, &candidates(new, &[]), false, true);
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
            plan(limits, &tasks, false, true).stop,
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
        assert_eq!(plan(limits, &tasks, true, false), Plan::default());
    }

    #[test]
    fn the_circuit_breaker_trips_at_half_the_tasks_within_bounds() {
        let breaker = CircuitBreaker::default();
        for (desired, threshold) in [
            (0, 3),
            (1, 3),
            (6, 3),
            (7, 4),
            (25, 13),
            (400, 200),
            (900, 200),
        ] {
            assert_eq!(breaker.threshold(desired), threshold, "{desired}");
        }
    }

    #[test]
    fn the_threshold_can_be_configured() {
        let threshold = |kind: &str, value: u64, desired: usize| {
            let breaker: CircuitBreaker = serde_json::from_value(serde_json::json!({
                "enable": true,
                "rollback": false,
                "thresholdConfiguration": {"type": kind, "value": value},
            }))
            .unwrap();
            breaker.threshold(desired)
        };
        assert_eq!(threshold("COUNT", 1, 10), 1);
        assert_eq!(threshold("BOUNDED_PERCENT", 10, 10), 3);
        assert_eq!(threshold("UNBOUNDED_PERCENT", 10, 10), 1);
        assert_eq!(threshold("UNBOUNDED_PERCENT", 100, 900), 900);
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
