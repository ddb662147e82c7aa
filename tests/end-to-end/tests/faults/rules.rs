//! The rules that always hold, checked from the state of the world when a case is over.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use end_to_end::account::Account;
use end_to_end::application::{Application, ServiceState};
use end_to_end::execution::End;
use end_to_end::visitor::Visits;
use jiff::Timestamp;
use local_aws::recorder::Call;
use serde_json::Value;

use crate::matrix::Case;
use crate::play::Played;
use crate::release::{Release, releases};
use crate::stand::{Note, Stand, Version};

/// How many rules were checked, and which did not hold.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) rules: usize,
    pub(crate) violations: Vec<String>,
    pub(crate) states: BTreeSet<String>,
}

impl Checked {
    /// Counts a rule; where it does not hold, `seen` tells what was.
    pub(crate) fn rule(&mut self, rule: &str, holds: bool, seen: impl FnOnce() -> String) {
        self.rules += 1;
        if !holds {
            self.violations.push(format!("{rule}: {}", seen()));
        }
    }

    pub(crate) fn visited(&mut self, states: impl IntoIterator<Item = String>) {
        self.states.extend(states);
    }
}

/// What there is to be judged.
pub(crate) struct Seen<'a> {
    pub(crate) account: &'a Account,
    pub(crate) stand: &'a Stand,
    pub(crate) case: &'a Case,
    pub(crate) since: Timestamp,
    pub(crate) played: &'a Played,
    pub(crate) visits: &'a Visits,
    /// The release after the case.
    pub(crate) next: &'a (Version, End),
}

/// A deployment of the service.
#[derive(Debug)]
struct Deployment {
    service: String,
    image: String,
    status: String,
    created: Timestamp,
}

/// Checks all rules.
pub(crate) async fn check(seen: &Seen<'_>, checked: &mut Checked) -> Result<()> {
    let records = seen.stand.records(seen.account).await?;
    let releases = releases(seen.account, seen.stand, seen.since, &records).await?;
    for release in &releases {
        checked.visited(release.stays.iter().map(|stay| stay.state.clone()));
    }
    let application = seen.stand.application(seen.account).await?;
    let deployments = seen.deployments(&application).await?;

    seen.nothing_serves_before_its_migration(checked)?;
    seen.digests_run(&application, &deployments, checked)
        .await?;
    seen.one_at_a_time(&releases, checked)?;
    seen.each_event_once(&releases, checked);
    for release in &releases {
        for service in application.services() {
            let of_it = |one: &&Deployment| one.service == service;
            let of_service: Vec<_> = deployments.iter().filter(of_it).collect();
            seen.the_verdict_is_true(release, &of_service, checked);
        }
    }
    seen.nothing_is_left(&application, &records, checked)
        .await?;
    seen.functions_keep_to_the_stack(checked).await?;
    seen.nobody_noticed(checked);
    Ok(())
}

impl Seen<'_> {
    async fn deployments(&self, application: &Application<'_>) -> Result<Vec<Deployment>> {
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let mut listed = Vec::new();
        for service in application.services() {
            let deployments = ecs
                .list_service_deployments()
                .cluster(application.cluster())
                .service(service)
                .send()
                .await?;
            let deployments = deployments.service_deployments.unwrap_or_default();
            listed.extend(deployments.into_iter().map(|one| (service.to_owned(), one)));
        }
        let mut deployments = Vec::new();
        for (service, deployment) in listed {
            let created = deployment.created_at().context("it was never created")?;
            let created = Timestamp::from_millisecond(created.to_millis()?)?;
            if created < self.since {
                continue;
            }
            let revision = deployment.target_service_revision_arn().unwrap_or_default();
            let revisions = ecs
                .describe_service_revisions()
                .service_revision_arns(revision);
            let revisions = revisions.send().await?;
            let revision = revisions.service_revisions().first();
            let images = revision
                .map(|revision| revision.container_images())
                .unwrap_or_default();
            let image = images.first().and_then(|image| image.image());
            deployments.push(Deployment {
                service,
                image: image.unwrap_or_default().to_owned(),
                status: deployment
                    .status()
                    .map(|one| one.to_string())
                    .unwrap_or_default(),
                created,
            });
        }
        deployments.sort_by_key(|deployment| deployment.created);
        Ok(deployments)
    }

    /// Rule 1.
    fn nothing_serves_before_its_migration(&self, checked: &mut Checked) -> Result<()> {
        let first = &self.stand.versions[0].tag;
        let mut migrated = BTreeSet::from([first.clone()]);
        let mut early = Vec::new();
        for note in self.stand.journal()? {
            match note {
                Note::Migrated(tag, 0) => {
                    migrated.insert(tag);
                }
                Note::Served(tag) if !migrated.contains(&tag) => early.push(tag),
                Note::Migrated(..) | Note::Served(_) => {}
            }
        }
        checked.rule(
            "1, no version is started before its migration exited 0",
            early.is_empty(),
            || format!("{early:?}"),
        );
        let answered = self.visits.by_heading.keys();
        let strange: Vec<_> = answered
            .filter(|heading| {
                let mut versions = self.stand.versions.iter();
                !versions.any(|one| one.title == **heading && migrated.contains(&one.tag))
            })
            .collect();
        checked.rule(
            "1, no version answers that was not migrated",
            strange.is_empty(),
            || format!("{strange:?} answered"),
        );
        Ok(())
    }

    /// Rule 2.
    async fn digests_run(
        &self,
        application: &Application<'_>,
        deployments: &[Deployment],
        checked: &mut Checked,
    ) -> Result<()> {
        let states = application.service_states().await?;
        let digest = format!("@{}", self.next.0.digest);
        let right = states
            .iter()
            .flat_map(|state| state.running_images.iter().chain([&state.image]))
            .all(|image| image.ends_with(&digest));
        checked.rule(
            "2, what runs is the digest of the last release",
            right,
            || format!("{digest} should run: {states:?}"),
        );
        let by_tag: Vec<_> = deployments
            .iter()
            .filter(|one| !one.image.contains("@sha256:"))
            .collect();
        checked.rule("2, nothing is deployed by a tag", by_tag.is_empty(), || {
            format!("{by_tag:?}")
        });
        let at_rest = states.iter().all(ServiceState::is_at_rest);
        checked.rule("6, every service is at rest", at_rest, || {
            format!("{states:?}")
        });
        Ok(())
    }

    /// Rule 3.
    fn one_at_a_time(&self, releases: &[Release], checked: &mut Checked) -> Result<()> {
        let overlaps = self.stand.overlaps()?;
        checked.rule(
            "3, two migrations never run at once",
            overlaps.is_empty(),
            || overlaps.clone(),
        );

        let mut turns: Vec<(Timestamp, Timestamp, &str)> = Vec::new();
        let mut idle = Vec::new();
        for release in releases {
            let of_it = release.turns();
            for stay in &release.stays {
                let within = |(from, to): &(Timestamp, Timestamp)| {
                    *from <= stay.entered && stay.entered <= *to
                };
                if NEEDS_THE_TURN.contains(&stay.state.as_str()) && !of_it.iter().any(within) {
                    idle.push(format!("{} in {}", release.execution.name(), stay.state));
                }
            }
            let name = release.execution.name();
            turns.extend(of_it.into_iter().map(|(from, to)| (from, to, name)));
        }
        turns.sort();
        let overlap = turns.windows(2).find(|two| two[0].1 > two[1].0);
        checked.rule(
            "3, two releases never have the turn",
            overlap.is_none(),
            || format!("{overlap:?}"),
        );
        checked.rule(
            "3, nothing is changed without the turn",
            idle.is_empty(),
            || format!("{idle:?}"),
        );

        let mut updates: Vec<(Timestamp, String, &str)> = Vec::new();
        for release in releases {
            let updated = release
                .stays
                .iter()
                .rfind(|stay| stay.state == "UpdateService" && stay.output["services"].is_array());
            if let Some(at) = updated.and_then(|stay| stay.left) {
                updates.push((at, release.order()?, release.execution.name()));
            }
        }
        updates.sort();
        let backwards = updates.windows(2).find(|two| two[0].1 > two[1].1);
        checked.rule(
            "3, an older push never overwrites a newer one",
            backwards.is_none(),
            || format!("{backwards:?}"),
        );
        Ok(())
    }

    /// Rule 4.
    fn each_event_once(&self, releases: &[Release], checked: &mut Checked) {
        for version in &self.played.pushed {
            let of = |release: &&Release| release.input["digest"] == version.digest;
            let count = releases.iter().filter(of).count();
            checked.rule("4, a push is released once", count == 1, || {
                format!("{count} executions for {}", version.tag)
            });
        }
    }

    /// Rule 5.
    fn the_verdict_is_true(
        &self,
        release: &Release,
        deployments: &[&Deployment],
        checked: &mut Checked,
    ) {
        let Release { end, record, .. } = release;
        let recorded = release.recorded("verdict");
        let tell = || {
            let record = record.clone().unwrap_or_default();
            format!(
                "{}: {end:?}, record {record}, deployments {deployments:?}",
                release.execution.name()
            )
        };
        let verdict = end.output["verdict"].as_str();
        let healthy = release.is_healthy();
        let known = [
            "succeeded",
            "superseded",
            "stale",
            "nothingToDeploy",
            "nothingToRollBack",
            "nothingToContract",
        ];
        let sound = match end.status.as_str() {
            "SUCCEEDED" => verdict.is_some_and(|verdict| known.contains(&verdict)),
            "FAILED" => !end.error.is_empty() && !end.cause.is_empty(),
            status => status == "ABORTED",
        };
        checked.rule("5, an execution ends with a verdict", sound, tell);

        let matches = match (recorded, end.status.as_str()) {
            (None, _) => {
                let no_reason = ["nothingToRollBack", "nothingToContract"];
                let has_none = verdict.is_some_and(|verdict| no_reason.contains(&verdict));
                record.is_none() && (release.turns().is_empty() || has_none)
            }
            (Some("inProgress"), _) => false,
            (Some("abandoned"), status) => status != "SUCCEEDED",
            // A later release may have taken back what succeeded.
            (Some("rolledBack"), "SUCCEEDED") => verdict == Some("succeeded"),
            // A redriven one finds that what it brought serves.
            (Some("succeeded"), "SUCCEEDED") => {
                verdict.is_some_and(|verdict| ["succeeded", "nothingToDeploy"].contains(&verdict))
            }
            (Some(recorded), "SUCCEEDED") => verdict == Some(recorded),
            // Who takes its turn over closes the record of one that could not.
            (Some("succeeded"), "FAILED") => healthy || self.case.denies("EndRelease"),
            _ => true,
        };
        checked.rule("5, the record says how the execution ended", matches, tell);

        let Some(digest) = release.digest() else {
            return;
        };
        let of_it = |deployment: &&&Deployment| deployment.image.ends_with(digest);
        if healthy && !release.is_rollback() {
            let successful = deployments
                .iter()
                .filter(of_it)
                .any(|one| one.status == "SUCCESSFUL");
            checked.rule("5, what succeeded was deployed", successful, tell);
        }
        if !release.came_to("UpdateService") && !release.is_rollback() {
            let began = release.stays.first().map(|stay| stay.entered);
            let within = |one: &&Deployment| {
                began.is_some_and(|began| began < one.created) && one.created < end.at
            };
            let deployed = deployments.iter().filter(of_it).any(within);
            checked.rule("5, what touched nothing was not deployed", !deployed, tell);
        }
        // What an earlier try of a redriven execution has deployed is left to the next release where
        // the turn cannot be had again.
        let left_to_the_next = end.error == "RollbackFailed" || recorded == Some("abandoned");
        // What serves is on record although the execution could not say so at its end.
        let unclosed = self.case.denies("EndRelease") && recorded == Some("succeeded");
        let failed = end.status == "FAILED" && !healthy && !left_to_the_next && !unclosed;
        if failed && release.came_to("UpdateService") {
            let mut before = deployments.iter().filter(|one| one.created <= end.at);
            let left = before
                .next_back()
                .is_some_and(|one| one.image.ends_with(digest) && one.status == "SUCCESSFUL");
            checked.rule("5, what failed does not stay deployed", !left, tell);
        }
    }

    /// Rule 6.
    async fn nothing_is_left(
        &self,
        application: &Application<'_>,
        records: &[Value],
        checked: &mut Checked,
    ) -> Result<()> {
        let turn = self.stand.turn(self.account).await?;
        let free = ["holder", "waiting", "unsettled"]
            .iter()
            .all(|one| turn[*one].is_null());
        checked.rule("6, the turn is free", free, || turn.to_string());
        let migrations = application.running_migrations().await?;
        checked.rule("6, no one-off task runs on", migrations == 0, || {
            format!("{migrations} run")
        });
        // One that an earlier case has left open may stay so.
        let since = self.since.to_string();
        let is_open = |record: &&Value| {
            record["verdict"] == "inProgress" && record["startedAt"].as_str() >= Some(&*since)
        };
        let open = records.iter().find(is_open);
        checked.rule("6, no record stays open", open.is_none(), || {
            format!("{open:?}")
        });
        let known = |tag: &str| {
            let version = self
                .stand
                .versions
                .iter()
                .find(|version| version.tag == tag);
            version.is_some_and(|version| {
                records
                    .iter()
                    .any(|record| record["digest"] == version.digest.as_str())
            })
        };
        let strange: BTreeSet<String> = self
            .stand
            .journal()?
            .into_iter()
            .filter_map(|note| match note {
                Note::Served(tag) if !known(&tag) => Some(tag),
                _ => None,
            })
            .collect();
        checked.rule(
            "6, no version is started without a record",
            strange.is_empty(),
            || format!("{strange:?}"),
        );
        Ok(())
    }

    /// Rule 7.
    async fn functions_keep_to_the_stack(&self, checked: &mut Checked) -> Result<()> {
        let since = self.since.as_millisecond() as f64 / 1000.0;
        let calls = self.account.aws().calls_since(since).await?;
        let of_it = calls.mentioning(&self.stand.name);
        let invoked = of_it.of("lambda", "Invoke");
        let traces: BTreeSet<&str> = invoked.iter().map(|call| &*call.trace).collect();
        let by_functions = of_it.only(|call| call.caller.is_some());
        // Also those that name another stack only.
        let made_for_it = calls.only(|call| {
            call.caller.is_some() && traces.contains(&*call.trace) && !call.trace.is_empty()
        });
        let strange: Vec<&Call> = by_functions
            .iter()
            .chain(made_for_it.iter())
            .filter(|call| !notes_the_search(call) && self.names_another_stack(&call.request))
            .collect();
        checked.rule(
            "7, no function of a stack names another stack",
            strange.is_empty(),
            || format!("{strange:?}"),
        );
        let strange: Vec<&Call> = invoked
            .iter()
            .filter(|call| self.names_another_stack(&call.request))
            .collect();
        checked.rule(
            "7, no invocation names two stacks",
            strange.is_empty(),
            || format!("{strange:?}"),
        );
        let writes = by_functions.only(|call| {
            call.service == "ecs"
                && !["Describe", "List"]
                    .iter()
                    .any(|verb| call.operation.starts_with(verb))
        });
        let strange: Vec<&Call> = writes.iter().filter(|call| !may_write(call)).collect();
        checked.rule(
            "7, only its own function makes a change",
            strange.is_empty(),
            || format!("{strange:?}"),
        );
        let known = !writes.is_empty() && !made_for_it.is_empty();
        checked.rule("7, the calls are known", known, || {
            "no function has changed anything".to_owned()
        });
        Ok(())
    }

    /// Whether a text in the value has the name of another stack as a word in it.
    fn names_another_stack(&self, value: &Value) -> bool {
        match value {
            Value::Object(members) => members.values().any(|one| self.names_another_stack(one)),
            Value::Array(items) => items.iter().any(|one| self.names_another_stack(one)),
            Value::String(text) => text.split(|one: char| !one.is_alphanumeric()).any(|word| {
                let number = word.strip_prefix(crate::STACKS);
                number.is_some_and(|number| number.parse::<u32>().is_ok())
                    && word != self.stand.name
            }),
            _ => false,
        }
    }

    fn nobody_noticed(&self, checked: &mut Checked) {
        let visits = self.visits;
        checked.rule(
            "no request fails",
            visits.failed == 0 && visits.sent() > 0,
            || format!("{visits:?}"),
        );
        let (version, end) = self.next;
        let succeeded = end.output["verdict"] == "succeeded";
        checked.rule("the next release succeeds", succeeded, || {
            format!("{end:?}")
        });
        let latest = &visits.latest;
        checked.rule(
            "the next release is what is seen",
            *latest == version.title,
            || format!("{latest} instead of {}", version.title),
        );
    }
}

/// The search for lost pushes is the account's, and one note says which repositories were looked at.
fn notes_the_search(call: &Call) -> bool {
    let changes = call.request["TransactItems"].as_array();
    changes
        .into_iter()
        .flatten()
        .all(|change| change["Update"]["Key"]["stack"]["S"] == "/searches")
        && call.operation == "TransactWriteItems"
}

/// States that change something of the stack.
const NEEDS_THE_TURN: [&str; 7] = [
    "SettleRelease",
    "RunMigration",
    "UpdateService",
    "RecordCurrent",
    "RunPostDeploy",
    "RollBack",
    "DeregisterRevisions",
];

/// Which functions change what in ECS.
fn may_write(call: &Call) -> bool {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        (
            "RegisterTaskDefinition",
            &["RunMigration", "UpdateService", "RollBack"][..],
        ),
        ("DeregisterTaskDefinition", &["DeregisterRevisions"]),
        ("RunTask", &["RunMigration"]),
        ("UpdateService", &["UpdateService", "RollBack"]),
        ("StopServiceDeployment", &["RollBack", "SettleRelease"]),
        ("StopTask", &["WaitTask", "SettleRelease"]),
    ]);
    let caller = call.caller.as_deref().unwrap_or_default();
    let functions = allowed
        .get(call.operation.as_str())
        .copied()
        .unwrap_or_default();
    functions
        .iter()
        .any(|function| caller.contains(&format!("{function}Function")))
}
