//! How a release ended: a plain function of what is known of it.
//!
//! | the release failed in | else | what happened | verdict | error |
//! |---|---|---|---|---|
//! | `PlanRelease` before it had a plan | | it was not planned | `failed` | the failure's |
//! | `ChooseTarget`, nothing having failed before | | as in any other state | | |
//! | `ChooseTarget`, `RollBack`, `VerifyRollback` | | the rollback failed | `failed` | `RollbackFailed` |
//! | `RecordCurrent` | | as below, and that is not on record | `abandoned` where that matters | the failure's |
//! | a state of the post-deploy command | | it is healthy | `succeeded` | `PostDeployFailed` |
//! | as there, but the command is the contract command | | it has run in part at most | `failed` | `ContractFailed` |
//! | any state | the rollback succeeded | it was rolled back | `rolledBack` | what began it |
//! | any state or none | the rollback did not succeed | the rollback failed | `failed` | `RollbackFailed` |
//! | any other state | services may have been changed | nobody knows what runs | `abandoned` | the failure's |
//! | any other state | | it changed no service | `failed` | the failure's |
//! | none | a requested rollback succeeded | the earlier release serves, or what ran before the first | `succeeded` | |
//! | none | the deployment is healthy | it serves | `succeeded` | |
//! | none | the contract command exited 0 | that | `succeeded` | |
//! | none | a newer deployment took over | that one decides | `superseded` | |
//! | none | there was nothing to do | that | the plan's | |
//!
//! With an image parameter that could not be written, what has no error has
//! `ImageParameterNotWritten`. A release that changes nothing more, but of which an earlier try, before
//! the execution was redriven, may have changed services, is on record as `abandoned`: nobody has
//! found healthy what runs.

use bluegreen_contract::{
    Action, EndReleaseInput, Ending, FailedStep, Goal, Health, InvalidInput, Plan, Target,
    UnwrittenImage, Verdict as HealthVerdict,
};
use bluegreen_release::{Record, verdict};

/// What is known of a release at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) input: &'a EndReleaseInput,
    /// Its record, where there is one and it could be read.
    pub(crate) record: Option<&'a Record>,
    /// The record of the release that serves, as the turn says, where a failure is to name it.
    pub(crate) serves: Option<&'a Record>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended<'a> {
    pub(crate) what: What<'a>,
    pub(crate) but: Option<But<'a>>,
    /// As the output of the execution says.
    pub(crate) verdict: &'static str,
    /// As the record says.
    pub(crate) recorded: &'static str,
    /// The name of the error, with which the execution fails.
    pub(crate) error: Option<&'a str>,
    /// Something may be in progress that nobody waits for any more.
    pub(crate) left_running: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What<'a> {
    Unplanned(&'a FailedStep),
    /// It changed no service.
    Failed(&'a FailedStep),
    /// It failed, and services that were changed are left as they are.
    LeftBehind(&'a FailedStep),
    /// It failed, and every service is back.
    RolledBack {
        began: Began<'a>,
        target: &'a Target,
    },
    /// The services did not come back.
    RollbackFailed {
        /// `None`: it was what was asked for.
        began: Option<Began<'a>>,
        how: How<'a>,
    },
    /// Its image serves.
    Healthy(&'a Health),
    /// An earlier release serves again, or what ran before the first one, as was asked for.
    Restored {
        goal: Goal<'a>,
        target: &'a Target,
    },
    /// The contract command of the release that serves has exited 0.
    Contracted,
    /// It has not, or was not started.
    ContractFailed(&'a FailedStep),
    /// Somebody else began a newer deployment.
    TakenOver(&'a Health),
    /// There was nothing to do.
    Ending(&'a Ending),
}

/// What made a rollback necessary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Began<'a> {
    Failure(&'a FailedStep),
    Health(&'a Health),
}

/// How a rollback failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum How<'a> {
    Failure(&'a FailedStep),
    Health(&'a Health),
}

/// What went wrong although what happened, happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum But<'a> {
    Unwritten(&'a UnwrittenImage),
    PostDeployFailed(&'a FailedStep),
    /// `told`: the table knows what serves, but what follows that was not done.
    Unrecorded {
        failure: &'a FailedStep,
        told: bool,
    },
}

/// An error that no function names: a function crashed or was denied, a limit was reached.
pub(crate) const PIPELINE_FAULT: &str = "PipelineFault";
const ROLLBACK_STEPS: [&str; 3] = ["ChooseTarget", "RollBack", "VerifyRollback"];
pub(crate) const POST_DEPLOY_STEPS: [&str; 3] =
    ["RunPostDeploy", "WaitPostDeploy", "CheckPostDeploy"];

/// The name of a failure's error, if a function gives it: such a name is one word, where those of
/// Step Functions and Lambda have parts (`States.Timeout`, `Runtime.ExitError`).
pub(crate) fn name_of(failure: &FailedStep) -> Option<&str> {
    let name = failure.error.as_str();
    let is_word = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    is_word.then_some(name)
}

fn error_of(failure: &FailedStep) -> &str {
    name_of(failure).unwrap_or(PIPELINE_FAULT)
}

impl<'a> Facts<'a> {
    /// How the release ended.
    ///
    /// # Errors
    /// [`InvalidInput`] where nothing says so.
    pub(crate) fn ended(&self) -> Result<Ended<'a>, InvalidInput> {
        let (what, but) = self.what()?;
        let (verdict, error) = self.verdict(&what, but);
        let abandoned = match what {
            What::TakenOver(_) => self.earlier_try_touched(),
            What::Ending(Ending::NothingToDeploy) => false,
            What::Ending(_) => self.touched(),
            _ => false,
        };
        Ok(Ended {
            verdict,
            recorded: match abandoned {
                true => verdict::ABANDONED,
                false => verdict,
            },
            error,
            left_running: self.left_running(&what, but),
            what,
            but,
        })
    }

    fn what(&self) -> Result<(What<'a>, Option<But<'a>>), InvalidInput> {
        let input = self.input;
        let failure = input.failure.as_ref();
        let Some(plan) = &input.plan else {
            return failure
                .map(|failure| (What::Unplanned(failure), None))
                .ok_or_else(unexplained);
        };
        let what = match failure {
            Some(failure) if failure.step == "TakeTurn" => self.failed(failure),
            Some(failure) if failure.step == "RecordCurrent" => {
                let told = self
                    .record
                    .is_some_and(|record| record.verdict == verdict::SUCCEEDED);
                let but = But::Unrecorded { failure, told };
                return Ok((self.in_service(plan)?, Some(but)));
            }
            Some(failure) if POST_DEPLOY_STEPS.contains(&failure.step.as_str()) => {
                if plan.action == Action::Contract {
                    return Ok((What::ContractFailed(failure), None));
                }
                let but = But::PostDeployFailed(failure);
                return Ok((self.in_service(plan)?, Some(but)));
            }
            Some(failure) if ROLLBACK_STEPS.contains(&failure.step.as_str()) => {
                match self.began() {
                    None if failure.step == "ChooseTarget" => self.failed(failure),
                    began => What::RollbackFailed {
                        began,
                        how: How::Failure(failure),
                    },
                }
            }
            _ => match (&input.rollback, failure) {
                (Some(health), _) if health.verdict != HealthVerdict::Succeeded => {
                    What::RollbackFailed {
                        began: self.began(),
                        how: How::Health(health),
                    }
                }
                (None, Some(failure)) => self.failed(failure),
                _ => {
                    let unwritten = input.current.as_ref().and_then(|it| it.unwritten.as_ref());
                    return Ok((self.in_service(plan)?, unwritten.map(But::Unwritten)));
                }
            },
        };
        Ok((what, None))
    }

    /// What serves, or why it is not this release.
    fn in_service(&self, plan: &'a Plan) -> Result<What<'a>, InvalidInput> {
        match (&self.input.target, &self.input.health) {
            (Some(target), _) => match (target.requested, target.goal(), self.began()) {
                (true, Some(goal), _) => Ok(What::Restored { goal, target }),
                (false, _, Some(began)) => Ok(What::RolledBack { began, target }),
                _ => Err(unexplained()),
            },
            (None, Some(health)) => match health.verdict {
                HealthVerdict::Succeeded => Ok(What::Healthy(health)),
                HealthVerdict::Superseded => Ok(What::TakenOver(health)),
                _ => Err(unexplained()),
            },
            (None, None) if plan.action == Action::Contract => Ok(What::Contracted),
            (None, None) => plan
                .ending
                .as_ref()
                .map(What::Ending)
                .ok_or_else(unexplained),
        }
    }

    fn failed(&self, failure: &'a FailedStep) -> What<'a> {
        match self.touched() {
            true => What::LeftBehind(failure),
            false => What::Failed(failure),
        }
    }

    /// What made a rollback necessary; `None`: it was asked for.
    fn began(&self) -> Option<Began<'a>> {
        let input = self.input;
        let failure = match &input.failure {
            Some(failure)
                if ROLLBACK_STEPS.contains(&failure.step.as_str())
                    || failure.step == "RecordCurrent" =>
            {
                failure.began.as_deref()
            }
            failure => failure.as_ref(),
        };
        let health = input.health.as_ref();
        let unwell = health.filter(|health| health.verdict != HealthVerdict::Succeeded);
        failure
            .map(Began::Failure)
            .or_else(|| unwell.map(Began::Health))
    }

    fn verdict(&self, what: &What<'a>, but: Option<But<'a>>) -> (&'static str, Option<&'a str>) {
        let ends = match what {
            What::Unplanned(failure) | What::Failed(failure) => ("failed", Some(error_of(failure))),
            What::LeftBehind(failure) => (verdict::ABANDONED, Some(error_of(failure))),
            // Nobody vouches for what ran before where the table could not be read.
            What::RolledBack { began, target } => {
                let rolled_back = match target.unread {
                    true => "failed",
                    false => verdict::ROLLED_BACK,
                };
                (rolled_back, Some(began.error()))
            }
            What::RollbackFailed { .. } => ("failed", Some("RollbackFailed")),
            What::ContractFailed(_) => ("failed", Some("ContractFailed")),
            What::Healthy(_) | What::Restored { .. } | What::Contracted => {
                (verdict::SUCCEEDED, None)
            }
            What::TakenOver(_) => ("superseded", None),
            What::Ending(ending) => (name_of_ending(ending), None),
        };
        match (ends, but) {
            ((verdict, None), Some(But::Unwritten(_))) => {
                (verdict, Some("ImageParameterNotWritten"))
            }
            ((verdict, None), Some(But::PostDeployFailed(_))) => {
                (verdict, Some("PostDeployFailed"))
            }
            // What the table does not know to be in service is no success in its records.
            ((verdict, None), Some(But::Unrecorded { failure, told })) => {
                let unknown = verdict == verdict::SUCCEEDED && !told;
                let verdict = if unknown { verdict::ABANDONED } else { verdict };
                (verdict, Some(error_of(failure)))
            }
            (ends, _) => ends,
        }
    }

    /// Whether this try of the execution or an earlier one may have changed services.
    pub(crate) fn touched(&self) -> bool {
        self.earlier_try_touched()
            || self.record.is_some_and(|record| record.touched.is_some())
            || self.input.updated_at.is_some()
            || self.input.rolled_back_at.is_some()
    }

    /// Whether a try before the execution was redriven may have changed services.
    pub(crate) fn earlier_try_touched(&self) -> bool {
        let redrives = self.input.execution.redrives;
        let first = self.record.and_then(|record| record.touched);
        let turn = self.input.turn.as_ref();
        first.is_some_and(|first| first < redrives) || turn.is_some_and(|turn| turn.touched)
    }

    fn left_running(&self, what: &What<'_>, but: Option<But<'_>>) -> bool {
        match (what, but) {
            (_, Some(But::PostDeployFailed(failure))) => self.may_run(failure),
            // The services may be back after a failure before they were updated: an earlier try had
            // changed them.
            (
                What::Failed(failure)
                | What::ContractFailed(failure)
                | What::RolledBack {
                    began: Began::Failure(failure),
                    ..
                },
                _,
            ) => self.may_run(failure),
            (What::LeftBehind(_) | What::RollbackFailed { .. }, _) => true,
            _ => false,
        }
    }

    /// Whether the failure may have left the migration, or another command, running.
    pub(crate) fn may_run(&self, failure: &FailedStep) -> bool {
        let ended = self.input.migration_ended.as_ref();
        match failure.step.as_str() {
            // What ECS refused to start does not run.
            "RunMigration" | "RunPostDeploy" => ![
                "InvalidInput",
                "CommandNotOfStack",
                "TaskNotStarted",
                "CapacityUnavailable",
            ]
            .contains(&failure.error.as_str()),
            "WaitTask" | "WaitPostDeploy" => true,
            "CheckExitCode" => ended.is_some_and(|ended| ended.stopped.is_none()),
            // It was told to stop, and whether it did is not handed on.
            "CheckPostDeploy" => failure.error == "MigrationTimedOut",
            _ => false,
        }
    }
}

impl<'a> Began<'a> {
    /// The name of its error.
    pub(crate) fn error(self) -> &'a str {
        match self {
            Began::Failure(failure) => error_of(failure),
            Began::Health(health) => match health.verdict {
                HealthVerdict::RolledBack => "DeploymentRolledBack",
                HealthVerdict::Stopped => "DeploymentStopped",
                HealthVerdict::Unhealthy => "DeploymentUnhealthy",
                _ => "DeploymentStalled",
            },
        }
    }
}

fn name_of_ending(ending: &Ending) -> &'static str {
    match ending {
        Ending::NothingToDeploy => verdict::NOTHING_TO_DEPLOY,
        Ending::Stale => "stale",
        Ending::Superseded { .. } => "superseded",
        Ending::NothingToRollBack { .. } => verdict::NOTHING_TO_ROLL_BACK,
        Ending::NothingToContract { .. } => verdict::NOTHING_TO_CONTRACT,
    }
}

fn unexplained() -> InvalidInput {
    InvalidInput("nothing in it says how the release ended".to_owned())
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
