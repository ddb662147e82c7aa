//! A service deployment on its route: what a step begins, when it is done, what comes next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::control_plane::Ecs;
use super::hooks::{self, HookCall};
use crate::clock::Clock;
use crate::ecs::model::deployments::Scale;
use crate::ecs::model::hooks::{Hook, Outcome, note};
use crate::ecs::model::service::Service;
use crate::ecs::model::stages::Stage;
use crate::ecs::model::state::{ServiceKey, State};
use crate::ecs::model::traffic::{Forward, Share, Traffic};
use crate::ecs::model::values::now;
use crate::ecs::model::walk::{Phase, Shift, Side, Step, Walk, Work};
use crate::ecs::rules::rollout::{self, Cause};
use crate::ecs::rules::route::{STAGE_LIMIT, Situation};
use crate::ecs::rules::strategy::EarlySuccess;
use crate::ecs::rules::traffic;
use crate::ecs::rules::view::View;

/// A listener rule that cannot be changed is tried so often, with this pause between two tries.
const SHIFT_ATTEMPTS: u32 = 3;
const SHIFT_PAUSE: Duration = Duration::from_secs(5);

/// What a look at a walk leaves to do.
#[derive(Debug, Default)]
pub(super) struct Onward {
    /// When there is something to do by the mere passing of time.
    pub(super) wait: Option<Duration>,
    /// Rules that are to be changed now.
    pub(super) shift: Option<Vec<Forward>>,
    /// The hooks that are to be run, until they are given up.
    pub(super) hooks: Option<StageHooks>,
}

/// The hooks of the stage that a deployment has come to.
#[derive(Debug)]
pub(super) struct StageHooks {
    hooks: Arc<[Hook]>,
    call: HookCall,
    given_up: CancellationToken,
}

impl Walk {
    fn situation(&self, service: &Service, view: &View) -> Situation {
        let healthy = |side| self.id(side).map_or(0, |id| view.healthy_in(id));
        let others_alive = |side| self.id(side).map_or(0, |id| view.alive_beside(id));
        let newest = service.history.back();
        let early = newest.and_then(|newest| EarlySuccess::of(&newest.configuration));
        Situation {
            desired: service.desired_count,
            blue_healthy: healthy(Side::Blue),
            green_healthy: healthy(Side::Green),
            all_healthy: view.healthy(),
            not_blue_alive: others_alive(Side::Blue),
            not_green_alive: others_alive(Side::Green),
            enough: early.map(|early| early.enough(service.desired_count)),
        }
    }
}

/// Takes a walk as far as it can go now.
pub(super) fn advance(service: &mut Service, state: &State, view: &View, clock: Clock) -> Onward {
    let Some(mut walk) = service.ongoing().and_then(|ongoing| ongoing.walk.take()) else {
        return Onward::default();
    };
    loop {
        let Some(step) = walk.step() else {
            rollout::arrive(service, state);
            return Onward::default();
        };
        let onward = match walk.look(service, view, clock, step) {
            Look::Next => {
                walk.position += 1;
                walk.phase = Phase::Beginning;
                continue;
            }
            Look::Same => continue,
            Look::Failed(cause) => {
                if let Some(ongoing) = service.ongoing() {
                    ongoing.walk = Some(walk);
                }
                rollout::fail(service, state, &cause);
                service.wake.notify_one();
                return Onward::default();
            }
            Look::Later(onward) => onward,
        };
        if let Some(ongoing) = service.ongoing() {
            ongoing.walk = Some(walk);
        }
        return onward;
    }
}

/// What has become of a step.
enum Look {
    Next,
    /// It is in another phase, which has to be looked at.
    Same,
    Later(Onward),
    Failed(Cause),
}

impl Walk {
    fn look(&mut self, service: &mut Service, view: &View, clock: Clock, step: Step) -> Look {
        match &self.phase {
            Phase::Beginning => {
                self.began = Instant::now();
                self.phase = self.begin(service, step);
                Look::Same
            }
            Phase::Shifting(shift) if shift.attempts >= SHIFT_ATTEMPTS => {
                Look::Failed(Cause::Traffic(shift.problem.clone()))
            }
            Phase::Shifting(shift) => {
                let wait = shift.next_attempt.saturating_duration_since(Instant::now());
                let due = wait.is_zero();
                Look::Later(Onward {
                    wait: (!due).then_some(wait),
                    shift: due.then(|| shift.forwards.clone()),
                    ..Onward::default()
                })
            }
            Phase::Working if self.situation(service, view).is_done(step.work) => {
                self.run_hooks_or_rest(service, clock, step)
            }
            Phase::Working | Phase::Hooks { outcome: None, .. } => self.keep_limit(clock, step),
            Phase::Hooks {
                outcome: Some(Outcome::Failed(reason)),
                ..
            } => Look::Failed(Cause::Hook(reason.clone())),
            Phase::Hooks { .. } => {
                self.phase = Phase::Resting(Instant::now() + clock.scaled(step.rest));
                Look::Same
            }
            Phase::Resting(until) => {
                let wait = until.saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    return Look::Next;
                }
                Look::Later(Onward {
                    wait: Some(wait),
                    ..Onward::default()
                })
            }
        }
    }

    /// Tells the service what the step is about, and what listener rules have to do for it.
    fn begin(&self, service: &mut Service, step: Step) -> Phase {
        let forwards: Vec<Forward> = match step.work {
            Work::Nothing => Vec::new(),
            Work::ScaleUp(side) => {
                for deployment in &mut service.deployments {
                    if Some(deployment.id.as_str()) == self.id(side) {
                        deployment.scale = Scale::Full;
                    }
                }
                Vec::new()
            }
            Work::StopAllBut(side) => {
                for deployment in &mut service.deployments {
                    if Some(deployment.id.as_str()) != self.id(side) {
                        deployment.scale = Scale::Nothing;
                    }
                }
                Vec::new()
            }
            Work::ShiftProduction(share) => {
                self.divide(service, share, |traffic, share| traffic.production = share);
                let routers = self.routers.iter();
                routers
                    .filter_map(|router| traffic::production(router, share))
                    .collect()
            }
            Work::Roll => {
                rollout::begin_to_roll(service);
                Vec::new()
            }
            Work::ShiftTest(share) => {
                self.divide(service, share, |traffic, share| traffic.test = share);
                let routers = self.routers.iter();
                routers
                    .filter_map(|router| traffic::test(router, share))
                    .collect()
            }
        };
        if let Some(ongoing) = service.ongoing() {
            ongoing.stage = Some(step.stage);
            ongoing.updated_at = now();
        }
        if forwards.is_empty() {
            return Phase::Working;
        }
        Phase::Shifting(Shift {
            forwards,
            attempts: 0,
            next_attempt: Instant::now(),
            problem: String::new(),
        })
    }

    fn divide(&self, service: &mut Service, green: Share, set: fn(&mut Traffic, Share)) {
        for deployment in &mut service.deployments {
            let share = if deployment.id == self.green {
                green
            } else if Some(deployment.id.as_str()) == self.blue() {
                green.rest()
            } else {
                Share::NONE
            };
            set(&mut deployment.traffic, share);
        }
    }

    fn run_hooks_or_rest(&mut self, service: &mut Service, clock: Clock, step: Step) -> Look {
        let runs_hooks =
            self.ends_stage() && self.hooks.iter().any(|hook| hook.runs_at(step.stage));
        if !runs_hooks {
            self.phase = Phase::Resting(Instant::now() + clock.scaled(step.rest));
            return Look::Same;
        }
        let Some(call) = hook_call(service, step.stage) else {
            return Look::Next;
        };
        let given_up = CancellationToken::new();
        self.phase = Phase::Hooks {
            outcome: None,
            given_up: given_up.clone(),
        };
        let hooks = StageHooks {
            hooks: Arc::clone(&self.hooks),
            call,
            given_up,
        };
        Look::Later(Onward {
            hooks: Some(hooks),
            ..Onward::default()
        })
    }

    /// Waits for a step, but not longer than a stage may last.
    fn keep_limit(&self, clock: Clock, step: Step) -> Look {
        let left = clock
            .scaled(STAGE_LIMIT)
            .saturating_sub(self.began.elapsed());
        // A hook has a limit of its own, which may be longer than that of a stage's own work;
        // and for the replacing of tasks none is documented.
        if matches!(self.phase, Phase::Hooks { .. }) || step.work == Work::Roll {
            return Look::Later(Onward::default());
        }
        if left.is_zero() {
            return Look::Failed(Cause::Overdue(step.stage));
        }
        Look::Later(Onward {
            wait: Some(left),
            ..Onward::default()
        })
    }

    fn shifting(&mut self, forwards: &[Forward]) -> Option<&mut Shift> {
        match &mut self.phase {
            Phase::Shifting(shift) if shift.forwards == forwards => Some(shift),
            _ => None,
        }
    }
}

fn hook_call(service: &mut Service, stage: Stage) -> Option<HookCall> {
    let weights = |share: fn(&Traffic) -> Share| -> BTreeMap<String, f64> {
        let deployments = service.deployments.iter();
        deployments
            .map(|one| (one.revision_arn.clone(), share(&one.traffic).percent()))
            .collect()
    };
    let test_weights = weights(|traffic| traffic.test);
    let production_weights = weights(|traffic| traffic.production);
    let service_arn = service.arn.clone();
    let ongoing = service.ongoing()?;
    Some(HookCall {
        service_arn,
        service_deployment_arn: ongoing.arn.clone(),
        target_revision_arn: ongoing.target.clone(),
        stage,
        test_weights,
        production_weights,
    })
}

impl Ecs {
    /// Makes listener rules forward as they shall. It is in force when this returns.
    ///
    /// # Errors
    /// What was wrong with the first rule that could not be changed.
    async fn shift_traffic(&self, forwards: &[Forward]) -> Result<(), String> {
        for forward in forwards {
            let balancers = &self.inner.settings.load_balancers;
            let shifted = balancers.forward(&forward.rule, &forward.weights).await;
            shifted.map_err(|error| format!("{error:#}"))?;
        }
        Ok(())
    }

    /// Changes listener rules for a walk and lets it know.
    pub(super) async fn shift_for(&self, key: &ServiceKey, forwards: &[Forward]) {
        let shifted = self.shift_traffic(forwards).await;
        let clock = self.inner.settings.clock;
        let mut state = self.lock();
        let Some(service) = state.services.get_mut(key) else {
            return;
        };
        if let Err(problem) = &shifted {
            service.event_unless_repeated(&format!("was unable to shift traffic: {problem}."));
        }
        // The deployment may have been superseded meanwhile; its successor sets the rules anew.
        let ongoing = service.ongoing();
        let Some(walk) = ongoing.and_then(|ongoing| ongoing.walk.as_mut()) else {
            return;
        };
        let Some(shift) = walk.shifting(forwards) else {
            return;
        };
        match shifted {
            Ok(()) => walk.phase = Phase::Working,
            Err(problem) => {
                shift.attempts += 1;
                shift.next_attempt = Instant::now() + clock.scaled(SHIFT_PAUSE);
                shift.problem = problem;
            }
        }
    }

    /// Runs a stage's hooks beside the service's loop, which is woken when they have ended.
    pub(super) fn run_hooks(&self, key: &ServiceKey, stage: StageHooks) {
        let (ecs, key) = (self.clone(), key.clone());
        let killed = self.inner.killed.clone();
        self.inner.running.spawn(async move {
            let run = ecs.run_stage_hooks(&key, &stage);
            let run = stage.given_up.run_until_cancelled(run);
            killed.run_until_cancelled(run).await;
        });
    }

    async fn run_stage_hooks(&self, key: &ServiceKey, stage: &StageHooks) {
        let arn = &stage.call.service_deployment_arn;
        let report = |detail| {
            let mut state = self.lock();
            let Some(service) = state.services.get_mut(key) else {
                return;
            };
            let deployment = service.history.iter_mut().find(|one| one.arn == *arn);
            if let Some(deployment) = deployment.filter(|_| !stage.given_up.is_cancelled()) {
                note(&mut deployment.hooks, detail);
                // Nobody else looks at the service while a hook waits.
                self.announce_hooks(service);
            }
        };
        let ended = hooks::run_stage(self, &stage.hooks, &stage.call, report).await;
        let mut state = self.lock();
        let Some(service) = state.services.get_mut(key) else {
            return;
        };
        if stage.given_up.is_cancelled() {
            return;
        }
        if let Some(walk) = service.ongoing().and_then(|ongoing| ongoing.walk.as_mut())
            && let Phase::Hooks { outcome, .. } = &mut walk.phase
        {
            *outcome = Some(ended);
        }
        service.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ecs::in_process::{self, CLUSTER};

    #[tokio::test]
    async fn a_stage_that_has_not_ended_after_24_hours_rolls_the_deployment_back() {
        let day = Duration::from_millis(500);
        let ecs = in_process::ecs(STAGE_LIMIT.div_duration_f64(day)).await;
        in_process::register(&ecs, "web").await;
        let strategy = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0});
        let without_tasks = json!({"desiredCount": 0, "deploymentConfiguration": strategy});
        in_process::create_service(&ecs, &without_tasks).await;
        ended(&ecs, "SUCCESSFUL").await;
        // Nobody can pull the image of its task.
        let update = json!({
            "cluster": CLUSTER,
            "service": "web",
            "desiredCount": 1,
            "forceNewDeployment": true,
        });
        let began = Instant::now();
        ecs.call("UpdateService", update).await.unwrap();
        let deployment = ended(&ecs, "ROLLBACK_SUCCESSFUL").await;
        assert!(began.elapsed() >= day);
        let reason = deployment["statusReason"].to_string();
        assert!(reason.contains("SCALE_UP did not end"), "{reason}");
    }

    /// Waits until the newest deployment has ended in that way.
    async fn ended(ecs: &Ecs, status: &str) -> serde_json::Value {
        let limit = Duration::from_secs(20);
        let ended = tokio::time::timeout(limit, async {
            loop {
                let newest = in_process::newest_deployment(ecs).await;
                if newest["status"] == status {
                    return newest;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        ended.await.unwrap()
    }
}
