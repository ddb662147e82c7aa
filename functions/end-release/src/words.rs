//! All that a person reads of a release's end: what happened, what was changed and what to do. The first line
//! is enough in a list: which image failed, by which error, and what runs on.

use crate::verdict::{
    Began, But, Ended, Facts, How, PIPELINE_FAULT, POST_DEPLOY_STEPS, What, name_of,
};
use bluegreen_contract::{
    AlarmIsNoReason, Ending, FailedStep, Goal, GoodRelease, NamedRelease, NotContracted, Plan,
    Release, RequestedAction, Target, UnwrittenImage, cut, name_in, name_of as name_of_execution,
};
use serde_json::Value;

/// Characters of a cause in Step Functions
/// (<https://docs.aws.amazon.com/step-functions/latest/dg/state-fail.html>).
const REASON: usize = 32_767;
/// Characters of an error's name there.
const ERROR: usize = 255;
/// Characters of what is quoted, of which there are two texts at most: there is room for what to do
/// behind it.
const QUOTED: usize = 13_000;
const MIGRATIONS: usize = 3_000;
/// What AWS says where the pipeline may not give tasks a role, before it names that role
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
const NOT_PASSED: &str = "is not authorized to perform: iam:PassRole on resource: ";
/// The states that check what a person has entered.
const PLAN_STEPS: [&str; 2] = ["PlanRelease", "PlanInTurn"];

/// Why the release ended so, within the limits of Step Functions.
pub(crate) fn reason(facts: &Facts<'_>, ended: &Ended<'_>) -> String {
    let text = match (&facts.input.plan, &ended.what) {
        (Some(plan), what) => {
            let reason = Words { facts, plan }.reason(ended);
            format!("{reason}{}", notes(plan, what))
        }
        (None, What::Unplanned(failure)) => unplanned(failure),
        (None, _) => String::new(),
    };
    cut(&text, REASON)
}

/// What else is worth to be known of a release that was deployed.
fn notes(plan: &Plan, what: &What<'_>) -> String {
    match what {
        What::Healthy(_) | What::RolledBack { .. } | What::RollbackFailed { .. } => {
            plan.notes.iter().map(|note| format!("\n{note}")).collect()
        }
        _ => String::new(),
    }
}

/// The name of an error within the limits of Step Functions.
pub(crate) fn error(name: &str) -> String {
    cut(name, ERROR)
}

/// What is said where the table could not be told of the end.
pub(crate) fn not_given_back(reason: &str, failure: &str) -> String {
    let room = REASON - 1_000;
    cut(
        &format!(
            "{}\nThis is not on record, and the turn was not given back: {} The next release of the stack takes the turn over.",
            cut(reason, room / 2),
            cut(failure, room / 2)
        ),
        REASON,
    )
}

fn unplanned(failure: &FailedStep) -> String {
    format!(
        "{}\nNothing was changed.{}",
        explained(failure),
        advice(failure)
    )
}

struct Words<'a> {
    facts: &'a Facts<'a>,
    plan: &'a Plan,
}

impl Words<'_> {
    fn reason(&self, ended: &Ended<'_>) -> String {
        let happened = self.happened(ended);
        match ended.but {
            None => happened,
            Some(But::Unwritten(image)) => {
                let sentence = format!("The parameter {} could not be written.", image.parameter);
                let happened = on_first_line(&happened, &sentence);
                format!("{happened}{}", self.unwritten(ended, image))
            }
            Some(But::PostDeployFailed(failure)) => {
                let release = &self.plan.release;
                let running = self.may_run(failure).map(|it| format!(" {it}"));
                format!(
                    "Stack {} runs {} and is healthy, but its post-deploy command failed with {}: {}\nNothing was rolled back.{} Run the command by hand; otherwise it runs after the next deployment.",
                    release.stack,
                    called(release),
                    failure.error,
                    quoted(failure),
                    running.unwrap_or_default()
                )
            }
            Some(But::Unrecorded { failure, told }) => {
                let what = match told {
                    true => "That is recorded, but the image parameter may not be written.",
                    false => "That could not be recorded.",
                };
                format!(
                    "{}\n{} {}",
                    on_first_line(&happened, what),
                    explained(failure),
                    self.record_again(&ended.what, told)
                )
            }
        }
    }

    /// What to do where it is not on record what serves, or not all that follows is done.
    fn record_again(&self, what: &What<'_>, told: bool) -> String {
        let stack = &self.plan.release.stack;
        let again = match what {
            What::Restored { .. } => "Start the rollback again",
            What::RolledBack { .. } => {
                return format!(
                    "An alarm may roll stack {stack} back once more until its next release succeeds."
                );
            }
            _ => "Start the release again",
        };
        let until = match told {
            true => "an update of the stack may bring an earlier image into service",
            false => "a rollback passes over what runs, and an update of the stack may replace it",
        };
        let command = match (what, &self.plan.post_deploy) {
            (What::Healthy(_), Some(_)) if told => {
                " The post-deploy command was not run: run it by hand."
            }
            (What::Healthy(_), Some(_)) => " The post-deploy command was not run: it runs then.",
            _ => "",
        };
        format!("{again}: it changes no service of stack {stack}. Until then {until}.{command}")
    }

    fn happened(&self, ended: &Ended<'_>) -> String {
        let release = &self.plan.release;
        let stack = &release.stack;
        match &ended.what {
            What::Unplanned(failure) => unplanned(failure),
            What::Failed(failure) => {
                let why = explained(failure);
                let first = match self.runs_on() {
                    Some(runs) => on_first_line(&why, &format!("{runs} runs on.")),
                    None => why,
                };
                format!(
                    "{}: {first}\n{}{}{}",
                    self.not_done(),
                    self.untouched(),
                    self.migration(failure),
                    advice(failure)
                )
            }
            What::LeftBehind(failure) => format!(
                "{}: {}\n{} {} Look at the deployments in ECS, and release again.",
                self.half_done(),
                explained(failure),
                self.earlier_try(),
                self.database(Some(failure))
            ),
            What::RolledBack { began, target } => {
                let (why, to_do) = match began {
                    Began::Failure(failure) => (explained(failure), advice(failure)),
                    Began::Health(health) => (
                        cut(&health.cause, QUOTED),
                        format!(" {}", to_do(began.error()).unwrap_or_default()),
                    ),
                };
                let runs = format!("{} runs again.", self.runs_again(target));
                format!(
                    "{} was rolled back in stack {stack}: {}\n{} {}{to_do}",
                    called(release),
                    on_first_line(&why, &runs),
                    self.changed(*began),
                    self.rolled_back(target)
                )
            }
            What::RollbackFailed { began, how } => self.rollback_failed(*began, *how),
            What::Healthy(health) => {
                let command = match &self.facts.input.post_deploy {
                    Some(_) => " The post-deploy command exited 0.",
                    None => "",
                };
                let left_out = self.left_out().map(|it| format!(" {it}"));
                format!(
                    "Stack {stack} runs {} and is healthy. {}{}{command}",
                    called(release),
                    cut(&health.cause, QUOTED),
                    left_out.unwrap_or_default()
                )
            }
            What::Restored { goal, target } => self.restored(*goal, target),
            What::Contracted => format!(
                "The contract command of {} exited 0 in stack {stack}. A rollback past that release is refused from now on, unless it is forced.",
                called(release)
            ),
            What::ContractFailed(failure) => self.contract_failed(failure),
            What::TakenOver(health) => {
                format!("{} {}", cut(&health.cause, QUOTED), self.database(None))
            }
            What::Ending(ending) => self.ending(ending),
        }
    }

    /// Who asked for a rollback is told, and which release was taken back.
    fn restored(&self, goal: Goal<'_>, target: &Target) -> String {
        let stack = &self.plan.release.stack;
        let runs = match goal {
            Goal::Release(release) => format!("the release {} again", good(release)),
            Goal::Before(first) => {
                format!("again what ran before its first release {}", named(first))
            }
        };
        let by = self.plan.release.asked_by();
        let taken = match &target.taken_back {
            Some(taken) => format!("The release {} was taken back by {by}.", named(taken)),
            None => format!("The rollback was asked for by {by}."),
        };
        let parameter = match goal {
            Goal::Before(first) if target.serving.is_none() => self.stale_parameter(first),
            _ => String::new(),
        };
        format!(
            "Stack {stack} runs {runs}. {taken}{parameter}{}",
            migrations(target)
        )
    }

    /// Nobody can say which one image ran before: the parameter is a person's to write. With the space
    /// before it.
    fn stale_parameter(&self, first: &NamedRelease) -> String {
        match self.plan.image_parameters.get(&first.repository) {
            Some(name) => format!(
                " The parameter {name} still holds the image that was taken back, because several images ran before, or nobody knows which: write what is to run into it before you update the stack."
            ),
            None => String::new(),
        }
    }

    /// What was not done.
    fn not_done(&self) -> String {
        let release = &self.plan.release;
        match release.action {
            RequestedAction::Deploy => format!(
                "{} was not deployed to stack {}",
                called(release),
                release.stack
            ),
            RequestedAction::Rollback => format!("Stack {} was not rolled back", release.stack),
            RequestedAction::Contract => format!(
                "The contract command was not run in stack {}",
                release.stack
            ),
        }
    }

    /// What may have been done in part.
    fn half_done(&self) -> String {
        let release = &self.plan.release;
        match release.action {
            RequestedAction::Deploy => format!(
                "{} may be deployed to a part of stack {}",
                called(release),
                release.stack
            ),
            RequestedAction::Rollback => {
                format!("Stack {} may be rolled back in part", release.stack)
            }
            RequestedAction::Contract => self.not_done(),
        }
    }

    /// The release that serves, as a sentence calls it: only where this one has touched nothing and the
    /// services had its image when this one was planned.
    fn runs_on(&self) -> Option<String> {
        let settled = self.facts.input.settled.as_ref();
        let is_untouched = !self.facts.touched()
            && !settled.is_some_and(|settled| settled.found_deployment)
            && self.facts.input.failure.as_ref()?.step != "SettleRelease";
        self.ran_before().filter(|_| is_untouched)
    }

    /// The release that served when this one was planned: the turn and the services agree on it.
    fn ran_before(&self) -> Option<String> {
        let record = self.facts.serves?;
        let pinned = format!("@{}", record.digest.as_ref()?);
        let images = &self.plan.release.images_before;
        let runs = !images.is_empty() && images.iter().all(|image| image.ends_with(&pinned));
        runs.then(|| in_words(record.tag.as_deref(), record.digest.as_deref(), &record.key))
    }

    /// What the services run after a release failed.
    fn runs_again(&self, target: &Target) -> String {
        match target.goal() {
            Some(Goal::Release(release)) => good(release),
            Some(Goal::Before(_)) => "What ran before the first release".to_owned(),
            None => {
                let known = self.ran_before();
                known.unwrap_or_else(|| "What ran before".to_owned())
            }
        }
    }

    fn rolled_back(&self, target: &Target) -> String {
        let stack = &self.plan.release.stack;
        let back = match target.goal() {
            Some(Goal::Release(release)) => format!(
                "All services of stack {stack} are rolled back to the release {}.",
                good(release)
            ),
            Some(Goal::Before(first)) => format!(
                "All services of stack {stack} are rolled back to what they ran before the first release {}.",
                named(first)
            ),
            None => format!("All services of stack {stack} run what they ran before."),
        };
        let unread = match target.unread {
            true => " Whether that was a good release could not be read from the table.",
            false => "",
        };
        format!("{back}{unread}{}", migrations(target))
    }

    fn rollback_failed(&self, began: Option<Began<'_>>, how: How<'_>) -> String {
        let release = &self.plan.release;
        let stack = &release.stack;
        let what = match (began, &self.facts.input.target) {
            (Some(_), _) => format!("The rollback of {} in stack {stack}", called(release)),
            (None, Some(target)) => match target.goal() {
                Some(Goal::Release(good)) => {
                    format!(
                        "The rollback of stack {stack} to the release {}",
                        self::good(good)
                    )
                }
                Some(Goal::Before(first)) => format!(
                    "The rollback of stack {stack} to what ran before its first release {}",
                    named(first)
                ),
                None => format!("The rollback of stack {stack}"),
            },
            (None, None) => format!("The rollback of stack {stack}"),
        };
        let failed = match how {
            How::Failure(failure) => {
                format!("{what} failed with {}: {}", failure.error, quoted(failure))
            }
            How::Health(health) => {
                format!("{what} did not succeed: {}", cut(&health.cause, QUOTED))
            }
        };
        let began = began.map(|began| {
            let why = match began {
                Began::Failure(failure) => explained(failure),
                Began::Health(health) => cut(&health.cause, QUOTED),
            };
            format!("\nIt was begun because: {why} {}", self.changed(began))
        });
        format!(
            "{failed}{}\nThe services may run different images: look at their deployments in ECS. Then release again, or roll back to a release that you name.",
            began.unwrap_or_default()
        )
    }

    /// A redriven execution that finds its image in service runs no command: the try before may have.
    fn not_run_again(&self) -> &'static str {
        match (&self.plan.post_deploy, self.facts.input.execution.redrives) {
            (Some(_), 1..) => {
                " After a redrive the post-deploy command is not run: run it by hand unless the try before did."
            }
            _ => "",
        }
    }

    fn ending(&self, ending: &Ending) -> String {
        let release = &self.plan.release;
        let stack = &release.stack;
        match ending {
            Ending::NothingToDeploy => format!("{}{}", self.plan.reason, self.not_run_again()),
            Ending::Stale => format!(
                "A later push to {} has been deployed to stack {stack} already. {} To deploy this older image all the same, give \"force\": true in the input.",
                release.repository.as_deref().unwrap_or_default(),
                self.untouched()
            ),
            Ending::Superseded { by: Some(by) } => format!(
                "The newer release {} ({by}) of stack {stack} takes the place of this one. {}",
                name_of_execution(by),
                self.untouched()
            ),
            Ending::Superseded { by: None } => format!(
                "A newer release of stack {stack} takes the place of this one. {}",
                self.untouched()
            ),
            Ending::NothingToRollBack { why } => self.nothing_to_roll_back(why),
            Ending::NothingToContract { why } => format!(
                "The contract command was not run in stack {stack}: {}",
                self.not_contracted(why)
            ),
        }
    }

    fn contract_failed(&self, failure: &FailedStep) -> String {
        let release = &self.plan.release;
        let stack = &release.stack;
        let begun = self
            .facts
            .record
            .is_some_and(|record| record.contracts.is_some());
        let rest = match begun {
            true => {
                " What it did, if anything, stays, and a rollback past that release is refused, unless it is forced."
            }
            false => "",
        };
        let running = self.may_run(failure).map(|it| format!(" {it}"));
        format!(
            "The contract command of {} failed with {} in stack {stack}: {}\nThe services were not touched: they run {0}.{rest}{} Run it again when it can succeed: start {{\"stack\":\"{stack}\",\"action\":\"contract\",\"force\":true}}. Otherwise that of the next release runs.",
            called(release),
            failure.error,
            quoted(failure),
            running.unwrap_or_default()
        )
    }

    fn not_contracted(&self, why: &NotContracted) -> String {
        let release = &self.plan.release;
        match why {
            NotContracted::NoRelease => {
                "no release is known to serve. Deploy first.".to_owned()
            }
            NotContracted::RolledBack => {
                "the stack was rolled back since its newest release, and what that one does not need any more may be needed again."
                    .to_owned()
            }
            NotContracted::NoCommand => format!(
                "the stack has no output ContractCommand for images of {}.",
                release.repository.as_deref().unwrap_or_default()
            ),
            NotContracted::NotServing(sentence) => format!("{sentence} Release it first."),
            NotContracted::Already { by } => format!(
                "it has run for {} already ({by}), or a part of it. To run it again, give \"force\": true.",
                called(release)
            ),
            NotContracted::BeforeItsTime { until } => format!(
                "an alarm would roll {} back until {until}. To run it now, give \"force\": true.",
                called(release)
            ),
            NotContracted::InAlarm(alarms) => format!(
                "these deployment alarms of the services are in ALARM: {}. A command that is due is tried again every hour. To run it all the same, give \"ignoreAlarms\": true.",
                alarms.join(", ")
            ),
        }
    }

    fn nothing_to_roll_back(&self, why: &AlarmIsNoReason) -> String {
        let release = &self.plan.release;
        let stack = &release.stack;
        let fired = match &release.alarm {
            Some(alarm) => format!(
                "Alarm {} of stack {stack} went into ALARM at {}",
                alarm.name, alarm.at
            ),
            None => format!("An alarm of stack {stack} went into ALARM"),
        };
        let why = match why {
            AlarmIsNoReason::NotDeployedTo(sentence) => {
                format!("but the pipeline does not deploy to that stack. {sentence}")
            }
            AlarmIsNoReason::GuardsNoDeployment => {
                "but it is not among the deployment alarms of its services.".to_owned()
            }
            AlarmIsNoReason::NoRelease => {
                "but there is no release that it could come from.".to_owned()
            }
            AlarmIsNoReason::JustRolledBack => {
                "but the stack has been rolled back since its newest deployment.".to_owned()
            }
            AlarmIsNoReason::BeforeTheRelease => {
                "but that was before the newest release was deployed.".to_owned()
            }
            AlarmIsNoReason::AfterTheWindow { seconds } => {
                format!("but the newest release was deployed more than {seconds} seconds before.")
            }
        };
        format!("{fired}, {why} {}", self.nothing_changed())
    }

    fn nothing_changed(&self) -> String {
        match self.facts.touched() {
            true => self.earlier_try(),
            false => "Nothing was changed.".to_owned(),
        }
    }

    fn untouched(&self) -> String {
        let stack = &self.plan.release.stack;
        let settled = self.facts.input.settled.as_ref();
        let failure = self.facts.input.failure.as_ref();
        if self.facts.touched() {
            self.earlier_try()
        } else if failure.is_some_and(|failure| failure.step == "SettleRelease") {
            format!(
                "This release touched no service, but an earlier one may have left a deployment in progress in stack {stack}: what runs may not be what ran before."
            )
        } else if settled.is_some_and(|settled| settled.found_deployment) {
            format!(
                "This release touched no service, but found a deployment of an earlier one in progress in stack {stack}: what runs may not be what ran before."
            )
        } else {
            format!("No service was touched: stack {stack} runs what it ran before.")
        }
    }

    fn earlier_try(&self) -> String {
        format!(
            "An earlier try of this release may have touched services of stack {}.",
            self.plan.release.stack
        )
    }

    /// What was changed before a rollback. An earlier try is told of where this one has not come to
    /// update the services itself.
    fn changed(&self, began: Began<'_>) -> String {
        let database = match began {
            Began::Failure(failure) => self.database(Some(failure)),
            Began::Health(_) => self.database(None),
        };
        match self.facts.earlier_try_touched() && self.facts.input.updated_at.is_none() {
            true => format!("{} {database}", self.earlier_try()),
            false => database,
        }
    }

    /// What a migration has done, or may yet do where `failure` left it running.
    fn database(&self, failure: Option<&FailedStep>) -> String {
        let running = failure.and_then(|failure| self.may_run(failure));
        let known = running.or_else(|| self.migrated());
        let known = known.or_else(|| self.left_out());
        known.unwrap_or_else(|| {
            let said = match self.facts.input.migration {
                None => "No migration was run.",
                Some(_) => {
                    "What the migration of this release did, if anything, stays in the database."
                }
            };
            said.to_owned()
        })
    }

    fn migrated(&self) -> Option<String> {
        let input = self.facts.input;
        if input.migrated.is_some() {
            let ran = "The migration of this release has run and stays in the database.";
            return Some(ran.to_owned());
        }
        let started = self.facts.record?.migration.as_ref()?;
        match &input.migration {
            Some(_) => None,
            None => Some(format!(
                "An earlier try of this release started its migration (task {started}): what that did stays in the database."
            )),
        }
    }

    /// Who has run the migrations of this release, where it has left them out.
    fn left_out(&self) -> Option<String> {
        let release = self.plan.migrations.as_ref()?.same_as.as_deref()?;
        let whose = match release == self.facts.input.execution.name() {
            true => "An earlier try of this release has run its migrations".to_owned(),
            false => format!("This release has the same migrations as the release {release}"),
        };
        Some(format!("{whose}: they were not run again."))
    }

    /// What is to be known of the migration where no service was deployed, with the space before it.
    fn migration(&self, failure: &FailedStep) -> String {
        let known = self.may_run(failure).or_else(|| self.migrated());
        known.map_or_else(String::new, |known| format!(" {known}"))
    }

    /// That the migration, or another command, may be running still; `None` where it is not.
    fn may_run(&self, failure: &FailedStep) -> Option<String> {
        if !self.facts.may_run(failure) {
            return None;
        }
        let input = self.facts.input;
        let (one, name, started) = match POST_DEPLOY_STEPS.contains(&failure.step.as_str()) {
            true => ("The command", "command", &input.post_deploy),
            false => ("A migration", "migration", &input.migration),
        };
        Some(match failure.step.as_str() {
            "RunMigration" | "RunPostDeploy" => {
                format!("{one} may have been started: the next release of the stack waits for it.")
            }
            "WaitTask" | "WaitPostDeploy" if failure.error != "TaskNotFound" => {
                let task = started.as_ref().map(|it| format!(": task {}", it.task_arn));
                format!(
                    "The {name} was not stopped and may still be running{}. The next release of the stack waits for it.",
                    task.unwrap_or_default()
                )
            }
            // The failure itself says what is known of the task.
            _ => format!("If the {name} still runs, the next release of the stack waits for it."),
        })
    }

    fn unwritten(&self, ended: &Ended<'_>, image: &UnwrittenImage) -> String {
        let stack = &self.plan.release.stack;
        let UnwrittenImage {
            parameter,
            serving,
            reason,
        } = image;
        let (not_run, afterwards) = match (&ended.what, &self.plan.post_deploy) {
            (What::Healthy(_), Some(_)) => (
                " The post-deploy command was not run.",
                "\nThen run the post-deploy command by hand.",
            ),
            _ => ("", ""),
        };
        format!(
            "{not_run}\n{}\nIt may hold an earlier image, and an update of stack {stack} would bring that into service. Write what runs into it: aws ssm put-parameter --overwrite --type String --name {parameter} --value {}{afterwards}",
            cut(reason, QUOTED),
            serving.image
        )
    }
}

/// A failure with its name where that tells more than its message.
fn explained(failure: &FailedStep) -> String {
    let said = quoted(failure);
    match (is_fault(failure), said.as_str()) {
        (false, "") => format!("It failed with {}.", failure.error),
        (false, _) => said,
        (true, "") => format!(
            "The pipeline failed in {} with {}.",
            failure.step, failure.error
        ),
        (true, _) => format!(
            "The pipeline failed in {} with {}: {said}",
            failure.step, failure.error
        ),
    }
}

/// Whether the pipeline itself has failed: no function named the error, or one was given what it
/// does not take, which no person has entered.
fn is_fault(failure: &FailedStep) -> bool {
    let step = failure.step.as_str();
    match name_of(failure) {
        Some(name) => name == "InvalidInput" && !PLAN_STEPS.contains(&step),
        None => true,
    }
}

/// What a failure says: the error message of a Lambda function is part of a JSON text, and a text
/// that is none is shown as it is.
fn quoted(failure: &FailedStep) -> String {
    let parsed: Option<Value> = serde_json::from_str(&failure.cause).ok();
    let message = parsed
        .as_ref()
        .and_then(|cause| cause["errorMessage"].as_str());
    cut(message.unwrap_or(&failure.cause).trim_end(), QUOTED)
}

/// With the space before it.
fn advice(failure: &FailedStep) -> String {
    let name = match is_fault(failure) {
        true => PIPELINE_FAULT,
        false => failure.error.as_str(),
    };
    let to_do = match failure.cause.contains(NOT_PASSED) {
        true => Some(
            "Name that role in the parameter TaskRoles of the pipeline's stack, or in InfrastructureRoles if ECS manages volumes by it; then start again.",
        ),
        false => to_do(name),
    };
    to_do.map_or_else(String::new, |to_do| format!(" {to_do}"))
}

/// What to do about an error; `None` where its own message says that.
fn to_do(error: &str) -> Option<&'static str> {
    match error {
        "InvalidInput" => Some("Correct the input and start again."),
        "StackNotFound" => {
            Some("Correct `stack` in the input, or the repository's tag `bluegreen:stacks`.")
        }
        "StackBusy" => Some("See to the stack, then start again."),
        "ImageNotFound" => Some("Push the image, or correct the input."),
        "InvalidStackOutput" => Some("Correct the output in the stack's template."),
        "TaskNotStarted" | "MigrationNotStarted" => Some("Remove the reason, then start again."),
        "CapacityUnavailable" => Some("Start again later, or give the cluster other capacity."),
        "TaskNotFound" => Some(
            "Look at the log of the task, then start again: a migration tool runs no migration twice.",
        ),
        "ServiceUpdateRefused" => Some("Correct the service, then start again."),
        "DeploymentNotFound" => Some("Look at the deployments of the service in ECS."),
        "EarlierReleaseUnsettled" => Some("Stop it in ECS, then start again."),
        "DeploymentRolledBack" | "DeploymentUnhealthy" | "DeploymentStalled" => {
            Some("Mend the image and push it again.")
        }
        "DeploymentStopped" => Some("Deploy again, this release or another."),
        "NothingToGoBackTo" => Some("Deploy a tag or a digest by hand instead."),
        "AwsRequestFailed" => Some(
            "If AWS refused the request, give the role or the resource what it lacks; then start again.",
        ),
        PIPELINE_FAULT => Some("Look at the log of that function, then start again."),
        _ => None,
    }
}

/// As a sentence calls the image of a release.
fn called(release: &Release) -> &str {
    let digest = release.digest.as_deref();
    release.tag.as_deref().or(digest).unwrap_or_default()
}

/// As a sentence calls an earlier release.
fn good(release: &GoodRelease) -> String {
    in_words(
        release.tag.as_deref(),
        Some(&release.digest),
        &release.record,
    )
}

/// As a sentence calls another release.
fn named(release: &NamedRelease) -> String {
    in_words(
        release.tag.as_deref(),
        release.digest.as_deref(),
        &release.record,
    )
}

/// Its tag or its digest, and its name.
fn in_words(tag: Option<&str>, digest: Option<&str>, record: &str) -> String {
    let name = name_in(record);
    match tag.or(digest) {
        Some(called) => format!("{called} ({name})"),
        None => name.to_owned(),
    }
}

/// Puts a sentence behind the first line of a text, which may be an error as a program wrote it.
fn on_first_line(text: &str, sentence: &str) -> String {
    let (first, rest) = match text.split_once('\n') {
        Some((first, rest)) => (first.trim_end(), format!("\n{rest}")),
        None => (text, String::new()),
    };
    let end = match first.ends_with(['.', '!', '?', '…']) {
        true => "",
        false => ".",
    };
    format!("{first}{end} {sentence}{rest}")
}

/// With the space before it.
fn migrations(target: &Target) -> String {
    match target.migrations.is_empty() {
        true => String::new(),
        false => format!(
            " These migrations stay in the database: {}.",
            cut(&target.migrations.join(", "), MIGRATIONS)
        ),
    }
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
