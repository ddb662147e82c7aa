//! Where a service deployment is on its route.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hooks::{Hook, Outcome};
use super::stages::Stage;
use super::traffic::{Forward, Router, Share};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Side {
    Blue,
    Green,
}

/// What has to be the case before a stage's hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Work {
    Nothing,
    /// All of a revision's tasks are healthy.
    ScaleUp(Side),
    /// Green has this share of the test traffic.
    ShiftTest(Share),
    /// Green has this share of the production traffic.
    ShiftProduction(Share),
    /// No task of another revision runs.
    StopAllBut(Side),
    /// Green's tasks have replaced all others, as the service's limits let them.
    Roll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) struct Step {
    pub(in crate::ecs) stage: Stage,
    pub(in crate::ecs) work: Work,
    /// How long to stay after the work is done and the hooks have run.
    pub(in crate::ecs) rest: Duration,
}

/// A service deployment on its route.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct Walk {
    /// The ids of the two deployments; a service's first deployment has no blue one.
    blue: Option<String>,
    pub(in crate::ecs) green: String,
    pub(in crate::ecs) routers: Vec<Router>,
    pub(in crate::ecs) hooks: Arc<[Hook]>,
    pub(in crate::ecs) route: Vec<Step>,
    pub(in crate::ecs) position: usize,
    pub(in crate::ecs) phase: Phase,
    /// When the step began.
    pub(in crate::ecs) began: Instant,
}

#[derive(Clone, Debug)]
pub(in crate::ecs) enum Phase {
    Beginning,
    /// Listener rules are being changed.
    Shifting(Shift),
    Working,
    Hooks {
        outcome: Option<Outcome>,
        /// Gives up the hooks that run.
        given_up: CancellationToken,
    },
    Resting(Instant),
}

#[derive(Clone, Debug)]
pub(in crate::ecs) struct Shift {
    pub(in crate::ecs) forwards: Vec<Forward>,
    pub(in crate::ecs) attempts: u32,
    pub(in crate::ecs) next_attempt: Instant,
    pub(in crate::ecs) problem: String,
}

impl Walk {
    pub(in crate::ecs) fn new(
        blue: Option<String>,
        green: String,
        routers: Vec<Router>,
        hooks: Vec<Hook>,
        route: Vec<Step>,
    ) -> Self {
        Self {
            blue,
            green,
            routers,
            hooks: hooks.into(),
            route,
            position: 0,
            phase: Phase::Beginning,
            began: Instant::now(),
        }
    }

    /// The deployment that a rollback returns to.
    pub(in crate::ecs) fn blue(&self) -> Option<&str> {
        self.blue.as_deref()
    }

    /// Whether listener rules take part, so that revisions have weights.
    pub(in crate::ecs) fn routes_traffic(&self) -> bool {
        !self.routers.is_empty()
    }

    /// Gives up hooks that still run: the deployment goes on, or ends, without them.
    pub(in crate::ecs) fn give_up_hooks(&self) {
        if let Phase::Hooks { given_up, .. } = &self.phase {
            given_up.cancel();
        }
    }

    /// Whether tasks replace each other, or have: that is undone by replacing them again, and
    /// not by going back.
    pub(in crate::ecs) fn has_begun_to_roll(&self) -> bool {
        let mut begun = self.route.iter().take(self.position + 1);
        begun.any(|step| step.work == Work::Roll)
    }

    pub(in crate::ecs) fn step(&self) -> Option<Step> {
        self.route.get(self.position).copied()
    }

    pub(in crate::ecs) fn id(&self, side: Side) -> Option<&str> {
        match side {
            Side::Blue => self.blue.as_deref(),
            Side::Green => Some(&self.green),
        }
    }

    /// Whether hooks run when the step's work is done: with the last step of each stage.
    pub(in crate::ecs) fn ends_stage(&self) -> bool {
        let next = self.route.get(self.position + 1);
        let stage = self.step().map(|step| step.stage);
        next.map(|next| next.stage) != stage
    }
}
