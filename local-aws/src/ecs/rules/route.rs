//! The route of a service deployment through its life-cycle stages, as plain data.
//!
//! *Green* is the revision that is deployed, *blue* the one that serves when the deployment
//! starts and that a rollback returns to.

use std::time::Duration;

use super::strategy::Strategy;
use crate::ecs::model::stages::Stage;
use crate::ecs::model::traffic::Share;
use crate::ecs::model::walk::{Phase, Side, Step, Walk, Work};

/// A stage may work, and its hooks may run, for so long; then the deployment fails.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-blue-green.html>
pub(in crate::ecs) const STAGE_LIMIT: Duration = Duration::from_secs(24 * 3600);

impl Step {
    fn new(stage: Stage, work: Work) -> Self {
        Self {
            stage,
            work,
            rest: Duration::ZERO,
        }
    }

    fn resting(self, rest: Duration) -> Self {
        Self { rest, ..self }
    }
}

/// What a deployment starts from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    pub(super) strategy: Strategy,
    pub(super) bake: Duration,
    /// Whether there is a revision that serves already.
    pub(super) has_blue: bool,
    /// Whether other revisions have to give way before this one can start.
    pub(super) reconciles: bool,
    /// Whether life-cycle hooks are configured.
    pub(super) has_hooks: bool,
}

/// The way of a deployment that goes well. It is empty where a rolling deployment has nothing to
/// stop for.
///
/// Without a blue revision there is nobody to share traffic or to bake with: all of it goes to
/// green in one step.
///
/// Hooks are for rolling deployments too. AWS's announcement of pauses (May 2026) is said to name
/// all four strategies; it could not be read, and AWS's guide
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html>) names
/// none. Which stages a rolling deployment has could not be confirmed either. Here it has those
/// that do not speak of traffic, since no rule divides it: RECONCILE_SERVICE, PRE_SCALE_UP before
/// the first new task, SCALE_UP while tasks replace each other, and POST_SCALE_UP when all have
/// been replaced.
/// A hook that is configured for another stage is accepted, as the API's reference lists the
/// stages for any strategy, and never runs.
pub(super) fn forward(departure: Departure) -> Vec<Step> {
    use Stage::*;
    let mut route = Vec::new();
    if departure.reconciles {
        route.extend([
            Step::new(ReconcileService, Work::ScaleUp(Side::Blue)),
            Step::new(ReconcileService, Work::ShiftProduction(Share::NONE)),
            Step::new(ReconcileService, Work::ShiftTest(Share::NONE)),
            Step::new(ReconcileService, Work::StopAllBut(Side::Blue)),
        ]);
    }
    if !departure.strategy.is_side_by_side() {
        if departure.reconciles || departure.has_hooks {
            route.extend([
                Step::new(PreScaleUp, Work::Nothing),
                Step::new(ScaleUp, Work::Roll),
                Step::new(PostScaleUp, Work::Nothing),
            ]);
        }
        return route;
    }
    route.extend([
        Step::new(PreScaleUp, Work::Nothing),
        Step::new(ScaleUp, Work::ScaleUp(Side::Green)),
        Step::new(PostScaleUp, Work::Nothing),
        Step::new(TestTrafficShift, Work::ShiftTest(Share::ALL)),
        Step::new(PostTestTrafficShift, Work::Nothing),
    ]);
    let steps = if departure.has_blue {
        departure.strategy.steps()
    } else {
        vec![(Share::ALL, Duration::ZERO)]
    };
    for (share, bake) in steps {
        route.push(Step::new(PreProductionTrafficShift, Work::Nothing));
        let shift = Step::new(ProductionTrafficShift, Work::ShiftProduction(share));
        route.push(shift.resting(bake));
    }
    let bake = if departure.has_blue {
        departure.bake
    } else {
        Duration::ZERO
    };
    route.extend([
        Step::new(PostProductionTrafficShift, Work::Nothing),
        Step::new(BakeTime, Work::Nothing).resting(bake),
        Step::new(CleanUp, Work::StopAllBut(Side::Green)),
    ]);
    route
}

/// The way back, for a deployment that has begun these steps. Production traffic comes first.
/// What has not been shifted need not be shifted back.
fn backward(begun: &[Step]) -> Vec<Step> {
    let any = |wanted: fn(&Work) -> bool| begun.iter().any(|step| wanted(&step.work));
    let mut route = Vec::new();
    if any(|work| *work == Work::StopAllBut(Side::Green)) {
        route.push(Step::new(Stage::ScaleUp, Work::ScaleUp(Side::Blue)));
    }
    if any(|work| matches!(work, Work::ShiftProduction(_))) {
        let shift = Work::ShiftProduction(Share::NONE);
        route.push(Step::new(Stage::ProductionTrafficShift, shift));
    }
    if any(|work| matches!(work, Work::ShiftTest(_))) {
        let shift = Work::ShiftTest(Share::NONE);
        route.push(Step::new(Stage::TestTrafficShift, shift));
    }
    route.push(Step::new(Stage::CleanUp, Work::StopAllBut(Side::Blue)));
    route
}

/// Lets a deployment go back from where it is.
pub(super) fn turn_back(walk: &mut Walk) {
    walk.give_up_hooks();
    let last = walk.position.min(walk.route.len() - 1);
    let begun = match walk.phase {
        Phase::Beginning => &walk.route[..last],
        _ => &walk.route[..=last],
    };
    walk.route = backward(begun);
    walk.position = 0;
    walk.phase = Phase::Beginning;
}

/// How a deployment's tasks are at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ecs) struct Situation {
    pub(in crate::ecs) desired: usize,
    pub(in crate::ecs) blue_healthy: usize,
    pub(in crate::ecs) green_healthy: usize,
    /// Healthy tasks of any revision.
    pub(in crate::ecs) all_healthy: usize,
    /// Tasks that run or drain, without those of blue and of green.
    pub(in crate::ecs) not_blue_alive: usize,
    pub(in crate::ecs) not_green_alive: usize,
    /// So many healthy tasks of green are enough, where that is not all.
    pub(in crate::ecs) enough: Option<usize>,
}

impl Situation {
    /// Whether a step's work is done, once listener rules have been changed for it: a shift of
    /// traffic is nothing else.
    ///
    /// A blue revision that cannot have all its tasks is not waited for where no other revision
    /// has a healthy one either: nobody is served better by waiting.
    pub(in crate::ecs) fn is_done(&self, work: Work) -> bool {
        match work {
            Work::Nothing | Work::ShiftTest(_) | Work::ShiftProduction(_) => true,
            Work::ScaleUp(Side::Green) => self.green_healthy >= self.desired,
            Work::ScaleUp(Side::Blue) => {
                self.blue_healthy >= self.desired || self.all_healthy == self.blue_healthy
            }
            Work::StopAllBut(Side::Blue) => self.not_blue_alive == 0,
            Work::StopAllBut(Side::Green) => self.not_green_alive == 0,
            Work::Roll => match self.enough {
                Some(enough) => self.green_healthy >= enough,
                None => self.green_healthy >= self.desired && self.not_green_alive == 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn departure(configuration: serde_json::Value) -> Departure {
        Departure {
            strategy: Strategy::of(&configuration),
            bake: Duration::from_secs(300),
            has_blue: true,
            reconciles: false,
            has_hooks: false,
        }
    }

    fn blue_green() -> Departure {
        departure(json!({"strategy": "BLUE_GREEN"}))
    }

    fn canary() -> Departure {
        departure(json!({
            "strategy": "CANARY",
            "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 1},
        }))
    }

    fn stages(route: &[Step]) -> Vec<&'static str> {
        route.iter().map(|step| step.stage.as_str()).collect()
    }

    /// The shares of production traffic, and the seconds of rest after each shift.
    fn shifts(route: &[Step]) -> Vec<(f64, u64)> {
        let shifts = route.iter().filter_map(|step| match step.work {
            Work::ShiftProduction(share) => Some((share.percent(), step.rest.as_secs())),
            _ => None,
        });
        shifts.collect()
    }

    #[test]
    fn a_blue_green_deployment_goes_through_all_stages_in_order() {
        let route = forward(blue_green());
        assert_eq!(
            stages(&route),
            [
                "PRE_SCALE_UP",
                "SCALE_UP",
                "POST_SCALE_UP",
                "TEST_TRAFFIC_SHIFT",
                "POST_TEST_TRAFFIC_SHIFT",
                "PRE_PRODUCTION_TRAFFIC_SHIFT",
                "PRODUCTION_TRAFFIC_SHIFT",
                "POST_PRODUCTION_TRAFFIC_SHIFT",
                "BAKE_TIME",
                "CLEAN_UP",
            ]
        );
        assert_eq!(shifts(&route), [(100.0, 0)]);
        assert_eq!(route[8].rest, Duration::from_secs(300));
    }

    #[test]
    fn each_shift_of_a_canary_has_its_own_two_stages() {
        let route = forward(canary());
        assert_eq!(
            stages(&route)[5..9],
            [
                "PRE_PRODUCTION_TRAFFIC_SHIFT",
                "PRODUCTION_TRAFFIC_SHIFT",
                "PRE_PRODUCTION_TRAFFIC_SHIFT",
                "PRODUCTION_TRAFFIC_SHIFT",
            ]
        );
        assert_eq!(shifts(&route), [(10.0, 60), (100.0, 0)]);
    }

    #[test]
    fn a_first_deployment_neither_shares_traffic_nor_bakes() {
        let route = forward(Departure {
            has_blue: false,
            ..canary()
        });
        assert_eq!(shifts(&route), [(100.0, 0)]);
        assert!(route.iter().all(|step| step.rest.is_zero()));
        assert_eq!(route.len(), forward(blue_green()).len());
    }

    #[test]
    fn several_active_revisions_are_reconciled_first() {
        let route = forward(Departure {
            reconciles: true,
            ..blue_green()
        });
        assert_eq!(route[0].stage, Stage::ReconcileService);
        assert_eq!(route[3].work, Work::StopAllBut(Side::Blue));
        assert_eq!(route[4].stage, Stage::PreScaleUp);
    }

    #[test]
    fn a_rolling_deployment_has_stages_only_where_there_is_something_to_stop_for() {
        let rolling = departure(json!({"strategy": "ROLLING"}));
        assert!(forward(rolling).is_empty());
        let with_hooks = forward(Departure {
            has_hooks: true,
            ..rolling
        });
        let own = ["PRE_SCALE_UP", "SCALE_UP", "POST_SCALE_UP"];
        assert_eq!(stages(&with_hooks), own);
        let reconciled = forward(Departure {
            reconciles: true,
            ..rolling
        });
        assert_eq!(stages(&reconciled)[..4], ["RECONCILE_SERVICE"; 4]);
        assert_eq!(stages(&reconciled)[4..], own);
    }

    #[test]
    fn tasks_have_been_replaced_when_all_new_ones_are_healthy_and_no_old_one_is_left() {
        let situation = |green_healthy, not_green_alive| Situation {
            desired: 2,
            green_healthy,
            not_green_alive,
            ..Situation::default()
        };
        assert!(!situation(1, 0).is_done(Work::Roll));
        assert!(!situation(2, 1).is_done(Work::Roll));
        assert!(situation(2, 0).is_done(Work::Roll));
    }

    #[test]
    fn the_way_back_shifts_what_was_shifted_and_production_first() {
        let route = forward(canary());
        let begun = |stage| {
            let last = route.iter().position(|step| step.stage == stage).unwrap();
            stages(&backward(&route[..=last]))
        };
        assert_eq!(begun(Stage::ScaleUp), ["CLEAN_UP"]);
        assert_eq!(
            begun(Stage::TestTrafficShift),
            ["TEST_TRAFFIC_SHIFT", "CLEAN_UP"]
        );
        let both = ["PRODUCTION_TRAFFIC_SHIFT", "TEST_TRAFFIC_SHIFT", "CLEAN_UP"];
        assert_eq!(begun(Stage::ProductionTrafficShift), both);
        assert_eq!(begun(Stage::BakeTime), both);
    }

    #[test]
    fn while_blue_is_being_stopped_it_has_to_be_healthy_again_before_traffic_returns() {
        let back = backward(&forward(blue_green()));
        assert_eq!(back[0].work, Work::ScaleUp(Side::Blue));
        let situation = Situation {
            desired: 2,
            blue_healthy: 1,
            green_healthy: 2,
            all_healthy: 3,
            ..Situation::default()
        };
        assert!(!situation.is_done(back[0].work));
    }

    #[test]
    fn green_is_scaled_up_when_all_its_tasks_are_healthy() {
        let situation = |green_healthy| Situation {
            desired: 2,
            green_healthy,
            ..Situation::default()
        };
        assert!(!situation(1).is_done(Work::ScaleUp(Side::Green)));
        assert!(situation(2).is_done(Work::ScaleUp(Side::Green)));
    }

    #[test]
    fn a_blue_revision_without_tasks_is_not_waited_for_where_nothing_is_healthy() {
        let situation = Situation {
            desired: 2,
            ..Situation::default()
        };
        assert!(situation.is_done(Work::ScaleUp(Side::Blue)));
    }
}
