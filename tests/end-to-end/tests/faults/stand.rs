//! A stack that cases are played on, with images whose migrations and servers keep a journal.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use end_to_end::account::Account;
use end_to_end::application::{Application, WATCHED};
use end_to_end::execution::Execution;
use jiff::Timestamp;
use local_aws::scratch;
use sample::image::{Image, VersionSpec};
use serde_json::{Value, json};
use tokio::time::Instant;

/// How a stack is made: what differs between cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// ROLLING, and no more than that.
    Rolling,
    /// ROLLING with workers, alarms that guard the deployments, and commands after them.
    Full,
    BlueGreen,
    Canary,
    Linear,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Rolling,
        Self::Full,
        Self::BlueGreen,
        Self::Canary,
        Self::Linear,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::Full => "rolling-with-alarms",
            Self::BlueGreen => "blue-green",
            Self::Canary => "canary",
            Self::Linear => "linear",
        }
    }

    /// Whether alarms guard its deployments.
    pub(crate) fn has_alarms(self) -> bool {
        self != Self::Rolling
    }

    fn parameters(self) -> Vec<(&'static str, &'static str)> {
        // A busy machine is no reason for an alarm or for an unhealthy task.
        let mut parameters = vec![
            ("DesiredCount", "1"),
            ("HealthCheckGracePeriodSeconds", "1200"),
            ("DeregistrationDelaySeconds", "10"),
            ("StopTimeoutSeconds", "60"),
            ("MaxErrors", "1000000"),
            ("MaxLatencySeconds", "3600"),
        ];
        if self.has_alarms() {
            parameters.push(WATCHED);
        }
        parameters.extend_from_slice(match self {
            Self::Rolling => &[],
            Self::Full => &[
                ("PostDeployCommand", r#"["websvc","afterwards"]"#),
                ("ContractCommand", r#"["websvc","afterwards"]"#),
                ("WorkerCommand", "websvc,serve"),
            ],
            Self::BlueGreen => &[("Strategy", "BLUE_GREEN"), ("BakeTimeMinutes", "1")],
            Self::Canary => &[
                ("Strategy", "CANARY"),
                ("CanaryPercent", "50"),
                ("CanaryBakeTimeMinutes", "1"),
                ("BakeTimeMinutes", "1"),
            ],
            Self::Linear => &[
                ("Strategy", "LINEAR"),
                ("LinearStepPercent", "50"),
                ("LinearStepBakeTimeMinutes", "1"),
                ("BakeTimeMinutes", "1"),
            ],
        });
        parameters
    }
}

/// What an image does, beside serving.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Behaviour {
    /// How long its migration takes.
    pub(crate) migration_seconds: u32,
    /// The exit code of its migration.
    pub(crate) migration_exits: u8,
    /// How long its commands after the deployment take.
    pub(crate) afterwards_seconds: u32,
    /// How long its server takes until it serves.
    pub(crate) start_seconds: u32,
    /// Whether its server ends as soon as it was started.
    pub(crate) crashes: bool,
}

/// A version that was built for a stack.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// Its heading at the load balancer.
    pub(crate) title: String,
    pub(crate) tag: String,
    pub(crate) digest: String,
    /// When it was built, which is before anybody can hear of it.
    built: Timestamp,
    image: Image,
}

/// Executions to ask for at once: about as many as there are of the cases at play, of hundreds.
const AT_ONCE: i32 = 25;

/// A stack, its repository, its database and its journal.
#[derive(Debug)]
pub(crate) struct Stand {
    pub(crate) name: String,
    /// Every version there was, the oldest first. All but the first were pushed.
    pub(crate) versions: Vec<Version>,
    /// The alarm that a case lets fire.
    alarm: Option<String>,
    directory: tempfile::TempDir,
}

/// What tasks have written into the journal of their stack, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The migration of this version exited so.
    Migrated(String, i32),
    /// A task was started that serves this version.
    Served(String),
}

impl Stand {
    /// Creates the stacks of an application, brings it to its first version and waits until it
    /// serves.
    pub(crate) async fn create(account: &Account, name: String, kind: Kind) -> Result<Self> {
        let directory = scratch::directory("bluegreen")?;
        std::fs::create_dir(directory.path().join("running"))?;
        let mut stand = Self {
            name,
            versions: Vec::new(),
            alarm: None,
            directory,
        };
        let first = stand.build(account, Behaviour::default())?;
        let test_port = account.aws().reserve_port().await?.to_string();
        let mut parameters = kind.parameters();
        if kind.has_alarms() && kind != Kind::Full {
            parameters.push(("TestListenerPort", &test_port));
            parameters.push(("TestListenerCidr", "127.0.0.0/8"));
        }
        let created = account.create_application_with(&stand.name, &first.image, &parameters);
        let application = created.await?;
        application.migrate_first_image().await?;
        if kind.has_alarms() {
            let described = account.cli().run([
                "cloudformation",
                "describe-stack-resource",
                "--stack-name",
                &stand.name,
                "--logical-resource-id",
                "ErrorAlarm",
                "--query",
                "StackResourceDetail.PhysicalResourceId",
                "--output",
                "text",
            ]);
            stand.alarm = Some(described.await?);
        }
        let visitor = application.visitor();
        visitor.sees(&first.title).await?;
        Ok(stand)
    }

    pub(crate) async fn application<'a>(&self, account: &'a Account) -> Result<Application<'a>> {
        account.application(&self.name).await
    }

    /// The version that its service runs.
    pub(crate) async fn running(&self, application: &Application<'_>) -> Result<&Version> {
        let image = application.service_state().await?.image;
        let mut versions = self.versions.iter();
        let runs = versions.find(|version| image.ends_with(&version.digest));
        runs.with_context(|| format!("{image} is no version of its own"))
    }

    fn build(&mut self, account: &Account, behaviour: Behaviour) -> Result<Version> {
        let number = self.versions.len() + 1;
        let program = self.directory.path().join(format!("websvc-{number}"));
        std::fs::write(&program, self.script(account.websvc(), behaviour))?;
        let (title, tag) = (format!("{} v{number}", self.name), format!("v{number}"));
        let spec = VersionSpec::posts().title(&title).version(&tag);
        let spec = match behaviour.crashes {
            true => spec.command(["websvc", "crash"]),
            false => spec,
        };
        let image = spec.build(&program)?;
        let version = Version {
            title,
            tag,
            digest: image.digest(),
            built: Timestamp::now(),
            image,
        };
        self.versions.push(version.clone());
        Ok(version)
    }

    /// The program of an image: the sample application, with notes of what it was started for.
    fn script(&self, websvc: &Path, behaviour: Behaviour) -> String {
        let Behaviour {
            migration_seconds,
            migration_exits,
            afterwards_seconds,
            start_seconds,
            ..
        } = behaviour;
        let (websvc, journal) = (websvc.display(), self.directory.path().display());
        format!(
            r#"#!/bin/sh
case "$1" in
migrate)
    me={journal}/running/$VERSION.$$
    echo $$ >$me
    for other in {journal}/running/*; do
        [ $other = $me ] || ! kill -0 "$(cat $other)" || echo "$me beside $other" >>{journal}/overlaps
    done 2>/dev/null
    end() {{ rm $me; echo "migrated $VERSION $1" >>{journal}/notes; exit $1; }}
    trap 'kill $sleeping; end 143' TERM
    sleep {migration_seconds} & sleeping=$!
    wait $sleeping
    trap - TERM
    {websvc} migrate || end $?
    end {migration_exits} ;;
afterwards)
    exec sleep {afterwards_seconds} ;;
crash)
    exit 2 ;;
*)
    echo "served $VERSION" >>{journal}/notes
    sleep {start_seconds}
    exec {websvc} "$@" ;;
esac
"#
        )
    }

    /// Pushes a new version.
    pub(crate) async fn push(
        &mut self,
        account: &Account,
        behaviour: Behaviour,
    ) -> Result<Version> {
        let version = self.build(account, behaviour)?;
        let application = self.application(account).await?;
        application.push(&version.tag, &version.image).await?;
        Ok(version)
    }

    /// Puts a new version into the repository by its digest only, so that nobody hears of it.
    pub(crate) async fn push_unheard(
        &mut self,
        account: &Account,
        behaviour: Behaviour,
    ) -> Result<Version> {
        let version = self.build(account, behaviour)?;
        let (aws, config) = (account.aws(), account.config());
        sample::image::push(aws, config, &self.name, None, &version.image).await?;
        Ok(version)
    }

    /// Starts an execution by hand.
    pub(crate) async fn start(&self, account: &Account, mut input: Value) -> Result<Execution> {
        input["stack"] = json!(self.name);
        let name = format!("{}-hand-{}", self.name, uuid::Uuid::new_v4());
        let started = aws_sdk_sfn::Client::new(account.config())
            .start_execution()
            .state_machine_arn(account.state_machine())
            .name(name)
            .input(input.to_string())
            .send()
            .await?;
        Ok(Execution::new(account.config(), started.execution_arn()))
    }

    /// Waits for the execution that the push of this version starts.
    pub(crate) async fn noticed(
        &self,
        account: &Account,
        version: &Version,
        patience: Duration,
    ) -> Result<Execution> {
        let deadline = Instant::now() + patience;
        let prefix = format!("{}-{}-", self.name, version.tag);
        loop {
            let mut since = self
                .executions_since(account, version.built)
                .await?
                .into_iter();
            if let Some(execution) = since.find(|one| one.name().starts_with(&prefix)) {
                return Ok(execution);
            }
            let (tag, name) = (&version.tag, &self.name);
            anyhow::ensure!(
                Instant::now() < deadline,
                "the push of {tag} started no execution for {name} in {patience:?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The executions that were started for this stack since then, the newest first.
    pub(crate) async fn executions_since(
        &self,
        account: &Account,
        since: Timestamp,
    ) -> Result<Vec<Execution>> {
        let prefix = format!("{}-", self.name);
        let mut pages = aws_sdk_sfn::Client::new(account.config())
            .list_executions()
            .state_machine_arn(account.state_machine())
            .into_paginator()
            .page_size(AT_ONCE)
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = pages.try_next().await? {
            let started = Timestamp::from_millisecond(item.start_date().to_millis()?)?;
            if started < since {
                break;
            }
            if item.name().starts_with(&prefix) {
                found.push(Execution::new(account.config(), item.execution_arn()));
            }
        }
        Ok(found)
    }

    /// Sets the state of its alarm.
    pub(crate) async fn set_alarm(&self, account: &Account, state: &str) -> Result<()> {
        let alarm = self.alarm.as_ref().context("it has no alarm")?;
        aws_sdk_cloudwatch::Client::new(account.config())
            .set_alarm_state()
            .alarm_name(alarm)
            .state_value(state.into())
            .state_reason("a case of the matrix")
            .send()
            .await?;
        Ok(())
    }

    /// The item of the stack's turn, each attribute as text.
    pub(crate) async fn turn(&self, account: &Account) -> Result<Value> {
        use aws_sdk_dynamodb::types::AttributeValue;
        let answer = aws_sdk_dynamodb::Client::new(account.config())
            .get_item()
            .table_name(account.releases_table())
            .key("stack", AttributeValue::S(self.name.clone()))
            .key("item", AttributeValue::S("turn".to_owned()))
            .consistent_read(true)
            .send()
            .await?;
        Ok(texts(answer.item.unwrap_or_default()))
    }

    /// The records of its releases, the newest first, each an object of its texts.
    pub(crate) async fn records(&self, account: &Account) -> Result<Vec<Value>> {
        use aws_sdk_dynamodb::types::AttributeValue;
        let answer = aws_sdk_dynamodb::Client::new(account.config())
            .query()
            .table_name(account.releases_table())
            .key_condition_expression("stack = :stack AND begins_with(#item, :release)")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":stack", AttributeValue::S(self.name.clone()))
            .expression_attribute_values(":release", AttributeValue::S("release#".to_owned()))
            .scan_index_forward(false)
            .consistent_read(true)
            .send()
            .await?;
        Ok(answer
            .items
            .unwrap_or_default()
            .into_iter()
            .map(texts)
            .collect())
    }

    /// What its tasks have noted.
    pub(crate) fn journal(&self) -> Result<Vec<Note>> {
        let notes = read(&self.directory.path().join("notes"))?;
        let note = |line: &str| {
            let mut words = line.split_whitespace();
            match (words.next()?, words.next()?.to_owned(), words.next()) {
                ("migrated", tag, Some(code)) => Some(Note::Migrated(tag, code.parse().ok()?)),
                ("served", tag, None) => Some(Note::Served(tag)),
                _ => None,
            }
        };
        let read = |line| note(line).with_context(|| format!("the journal says {line:?}"));
        notes.lines().map(read).collect()
    }

    /// Migrations that ran at the same time, as they saw it.
    pub(crate) fn overlaps(&self) -> Result<String> {
        read(&self.directory.path().join("overlaps"))
    }

    /// Where everything of it is kept.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

fn read(file: &Path) -> Result<String> {
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => Ok(read?),
    }
}

type Item = std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>;

fn texts(item: Item) -> Value {
    let text = |(name, value): (String, aws_sdk_dynamodb::types::AttributeValue)| {
        let text = value.as_s().or_else(|_| value.as_n()).ok()?.clone();
        Some((name, Value::String(text)))
    };
    item.into_iter().filter_map(text).collect()
}
