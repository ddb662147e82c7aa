//! What has come of a case before the next release does anything: how its releases ended, and what
//! the stack runs because of that.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use end_to_end::account::Account;
use end_to_end::application::Application;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::matrix::{Case, Disturbance};
use crate::play::Played;
use crate::release::{Release, releases};
use crate::rules::Checked;
use crate::stand::Stand;
use crate::way::Way;

/// How long a deployment may take that nobody looks after any more.
const PATIENCE: Duration = Duration::from_secs(180);

/// What there is to be judged.
pub(crate) struct Outcome<'a> {
    pub(crate) account: &'a Account,
    pub(crate) stand: &'a Stand,
    pub(crate) case: &'a Case,
    /// When the case began, and the digest that ran then.
    pub(crate) since: Timestamp,
    pub(crate) before: &'a str,
    pub(crate) played: &'a Played,
}

impl Outcome<'_> {
    pub(crate) async fn check(&self, checked: &mut Checked) -> Result<()> {
        let application = self.stand.application(self.account).await?;
        let runs = self.what_runs(&application, checked).await?;
        let records = self.stand.records(self.account).await?;
        let mut releases = releases(self.account, self.stand, self.since, &records).await?;
        // In the order of their turns; who had none has changed nothing.
        releases.sort_by_key(|release| release.turns().last().map(|(from, _)| *from));
        self.all_ended_as_they_should(&releases, checked);
        self.verdicts_agree_with_what_runs(&releases, runs.as_deref(), checked);
        self.the_latest_revision_serves(&application, &releases, checked)
            .await?;
        let turn = self.stand.turn(self.account).await?;
        self.the_turn_is_free(&turn, &releases, checked);
        self.the_current_release_is_known(&turn, &releases, checked);
        let migrations = application.running_migrations().await?;
        let may_run =
            releases.iter().any(|one| one.end.status == "ABORTED") || !turn["unsettled"].is_null();
        checked.rule(
            "6, no one-off task runs on that nobody knows of",
            migrations == 0 || may_run,
            || format!("{migrations} run"),
        );
        Ok(())
    }

    /// The one digest that all services run when they have come to rest, and that answers.
    async fn what_runs(
        &self,
        application: &Application<'_>,
        checked: &mut Checked,
    ) -> Result<Option<String>> {
        let deadline = Instant::now() + PATIENCE;
        let states = loop {
            let states = application.service_states().await?;
            if states.iter().all(|one| one.is_at_rest()) || Instant::now() > deadline {
                break states;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let at_rest = states.iter().all(|one| one.is_at_rest());
        checked.rule("6, every service comes to rest by itself", at_rest, || {
            format!("{states:?}")
        });
        let images: BTreeSet<&String> = states
            .iter()
            .flat_map(|one| one.running_images.iter().chain([&one.image]))
            .collect();
        let runs = match images.first() {
            Some(image) if images.len() == 1 => image.split_once('@').map(|(_, digest)| digest),
            _ => None,
        };
        checked.rule("2, all services run one digest", runs.is_some(), || {
            format!("{states:?}")
        });
        let Some(digest) = runs else {
            return Ok(None);
        };
        let title = application.heading().await?;
        let mut versions = self.stand.versions.iter();
        let expected = versions.find(|version| version.digest == digest);
        checked.rule(
            "what the services run is what answers",
            expected.is_some_and(|version| version.title == title),
            || format!("{title} answers, {expected:?} runs"),
        );
        Ok(Some(digest.to_owned()))
    }

    /// Rule 8. Who was stopped, or could not do what it is for, has not cleared up.
    async fn the_latest_revision_serves(
        &self,
        application: &Application<'_>,
        releases: &[Release],
        checked: &mut Checked,
    ) -> Result<()> {
        let left = ["ABORTED", "RollbackFailed", "PipelineFault"];
        if releases.iter().any(|one| left.contains(&one.ending()))
            || self.case.denies("DeregisterRevisions")
        {
            return Ok(());
        }
        let (latest, current) = (
            application.latest_of_its_family().await?,
            application.task_definition().await?,
        );
        checked.rule(
            "8, whoever names the family alone runs what serves",
            latest == current,
            || format!("{latest} is the latest, {current} serves"),
        );
        Ok(())
    }

    /// Rule 5, of the release in question and of those around it.
    fn all_ended_as_they_should(&self, releases: &[Release], checked: &mut Checked) {
        let in_question = self.played.execution.as_ref().map(|one| one.arn());
        for release in releases {
            let expected = match Some(release.execution.arn()) == in_question {
                true => endings(self.case),
                // It gives way to the case, where the reconciler found it to be due.
                false if release.is_contract() => {
                    vec!["succeeded", "superseded", "nothingToContract"]
                }
                false => endings_of_others(self.case),
            };
            let ending = release.ending();
            checked.rule(
                "5, a release ends as it should",
                expected.contains(&ending),
                || {
                    let Release { execution, end, .. } = release;
                    format!(
                        "{}: {expected:?} was expected, not {end:?}",
                        execution.name()
                    )
                },
            );
        }
    }

    /// Rule 5: each release that succeeded is what ran from then on, one that failed or gave way has
    /// changed nothing, and of one that was aborted either may be true.
    fn verdicts_agree_with_what_runs(
        &self,
        releases: &[Release],
        runs: Option<&str>,
        checked: &mut Checked,
    ) {
        let mut possible = BTreeSet::from([self.before.to_owned()]);
        for release in releases {
            let Some(digest) = release.digest() else {
                continue;
            };
            let touched = release.came_to("UpdateService") || release.came_to("RollBack");
            let open = ["abandoned", "inProgress"].map(Some);
            let left = ["ABORTED", "RollbackFailed"].contains(&release.ending())
                || open.contains(&release.recorded("verdict"));
            let unclosed =
                self.case.denies("EndRelease") && release.recorded("verdict") == Some("succeeded");
            if release.is_healthy() || unclosed || release.ending() == "nothingToDeploy" {
                possible = BTreeSet::from([digest.to_owned()]);
            } else if touched && left {
                possible.insert(digest.to_owned());
            }
        }
        let endings = || -> Vec<_> {
            let ending = |one: &Release| format!("{} {}", one.execution.name(), one.ending());
            releases.iter().map(ending).collect()
        };
        checked.rule(
            "5, what runs is what the verdicts say",
            runs.is_some_and(|digest| possible.contains(digest)),
            || format!("{runs:?} runs, not {possible:?}: {:?}", endings()),
        );
        let Some((state, disturbance)) = &self.case.disturbed else {
            return;
        };
        let newest = self.stand.versions.last().map(|one| one.digest.as_str());
        match disturbance {
            Disturbance::NewerPush | Disturbance::EventLost if self.case.way != Way::Unseen => {
                checked.rule("3, the newest push wins", runs == newest, || {
                    format!("{runs:?} runs, not {newest:?}: {:?}", endings())
                });
            }
            // As the update is called for, nothing of the release can have let it fire yet.
            Disturbance::AlarmFires
                if self.case.way.is_pushed()
                    && !is_before_update(state)
                    && state != "UpdateService" =>
            {
                checked.rule(
                    "the release that an alarm fired on is taken back",
                    runs != newest,
                    || format!("it runs: {:?}", endings()),
                );
            }
            _ => {}
        }
    }

    /// Rule 6: the turn is free, or its holder has not been able to give it back. A place in the
    /// queue may be kept by one that failed: it is taken from it as from one that was aborted.
    fn the_turn_is_free(&self, turn: &Value, releases: &[Release], checked: &mut Checked) {
        let status = |of: &str| {
            let arn = turn[of].as_str()?;
            let mut releases = releases.iter();
            let release = releases.find(|release| release.execution.arn() == arn);
            Some(release.map_or("unknown", |release| &release.end.status))
        };
        let kept = self.case.denies("EndRelease");
        let free = status("holder").is_none_or(|holder| holder == "ABORTED" || kept);
        let placed = status("waiting").is_none_or(|waits| ["ABORTED", "FAILED"].contains(&waits));
        checked.rule(
            "6, a release that ended well has no turn and no place",
            free && placed,
            || turn.to_string(),
        );
    }

    /// Rule 6: the stack's item names the last release that succeeded, which a rollback starts from.
    fn the_current_release_is_known(
        &self,
        turn: &Value,
        releases: &[Release],
        checked: &mut Checked,
    ) {
        if self.case.denies("RecordCurrent") {
            return;
        }
        let serves = |release: &Release| release.is_healthy() && !release.is_contract();
        let Some(at) = releases.iter().rposition(serves) else {
            return;
        };
        let aborted = |release: &&Release| release.came_to("RecordCurrent");
        let known = releases[at..].iter().take(1);
        let known = known.chain(releases[at + 1..].iter().filter(aborted));
        let names: Vec<_> = known.map(|release| release.execution.name()).collect();
        let current = turn["currentRecord"].as_str().unwrap_or_default();
        checked.rule(
            "6, the current release is known",
            names.iter().any(|name| current.ends_with(name)),
            || format!("{current} instead of {names:?}"),
        );
    }
}

/// States of a release that has not come to its turn yet.
const BEFORE_THE_TURN: [&str; 2] = ["PlanRelease", "TakeTurn"];

/// States between the turn and the update of the services.
const BEFORE_THE_UPDATE: [&str; 5] = [
    "PlanInTurn",
    "SettleRelease",
    "RunMigration",
    "WaitTask",
    "CheckExitCode",
];

fn is_before_update(state: &str) -> bool {
    BEFORE_THE_TURN.contains(&state) || BEFORE_THE_UPDATE.contains(&state)
}

/// How the release in question may end.
fn endings(case: &Case) -> Vec<&'static str> {
    let undisturbed = case.way.ends();
    let Some((state, disturbance)) = &case.disturbed else {
        return undisturbed.to_vec();
    };
    let state = state.as_str();
    let waits = BEFORE_THE_TURN.contains(&state);
    match disturbance {
        Disturbance::AbortedBefore | Disturbance::AbortedAfter => vec!["ABORTED"],
        // What it was about to do when it was aborted may be done when it comes again.
        Disturbance::Redriven => [undisturbed, &["nothingToDeploy"]].concat(),
        // The newer one may wait, or have been deployed, before it has its turn.
        Disturbance::NewerPush if waits => [undisturbed, &["superseded", "stale"]].concat(),
        // How the release ended is known by then.
        Disturbance::Denied if ["DeregisterRevisions", "ExplainFailure"].contains(&state) => {
            undisturbed.to_vec()
        }
        Disturbance::Denied => denied(state),
        Disturbance::AlarmFires if undisturbed == ["succeeded"] && case.way.is_pushed() => {
            alarmed(state)
        }
        _ => undisturbed.to_vec(),
    }
}

/// How a release ends whose state cannot do what it is for.
fn denied(state: &str) -> Vec<&'static str> {
    match state {
        "RunPostDeploy" | "WaitPostDeploy" | "CheckPostDeploy" => vec!["PostDeployFailed"],
        "RollBack" | "VerifyRollback" => vec!["RollbackFailed"],
        _ => vec!["PipelineFault"],
    }
}

/// How a release that is good but for the alarm ends: it is refused, unless the alarm, which no
/// metric keeps up, is over when it is looked at. In a deployment ECS goes back, but ignores an alarm
/// that was in ALARM before; after the deployment the pipeline looks itself. One that was over by then,
/// or comes later still, starts a rollback of its own.
fn alarmed(state: &str) -> Vec<&'static str> {
    match state {
        _ if is_before_update(state) => vec!["AlarmsInAlarm", "succeeded"],
        "UpdateService" => vec![
            "AlarmsInAlarm",
            "DeploymentRolledBack",
            "DeploymentUnhealthy",
            "succeeded",
        ],
        "VerifyHealth" => vec!["DeploymentRolledBack", "DeploymentUnhealthy", "succeeded"],
        _ => vec!["succeeded"],
    }
}

/// How the releases around the one in question may end: those that its way is made of, the newer
/// push, the one whose event was lost, and what an alarm starts.
fn endings_of_others(case: &Case) -> Vec<&'static str> {
    let mut endings = vec!["succeeded"];
    match case.way {
        Way::Bereaved | Way::Orphaned | Way::Stuck | Way::Replacing => endings.push("ABORTED"),
        // Nobody sees what became of the newer push either.
        Way::Unseen => endings.push("PipelineFault"),
        _ => {}
    }
    match case.disturbed.as_ref().map(|(_, disturbance)| disturbance) {
        // On a new stack there may be nothing to go back to yet.
        Some(Disturbance::AlarmFires) => {
            endings.extend(["AlarmsInAlarm", "nothingToRollBack", "NothingToGoBackTo"]);
        }
        // The one that waits already gives way to it.
        Some(Disturbance::NewerPush) if [Way::Ousted, Way::HandsOn].contains(&case.way) => {
            endings.push("superseded");
        }
        _ => {}
    }
    endings
}
