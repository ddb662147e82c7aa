//! The demo's stories: what is pushed, and what must have become of it at the end.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use end_to_end::account::Account;
use end_to_end::application::{Application, WATCHED};
use end_to_end::execution::{End, Execution, Stay, Way};
use end_to_end::visitor::Visitor;
use sample::image::VersionSpec;

use crate::summary::{Expectation, Summary};
use crate::view::{Status, View};

const NAME: &str = "demo";
const FRAME: Duration = Duration::from_millis(200);
/// How long the visitor is watched when all is over.
const AFTERWARDS: Duration = Duration::from_secs(4);

/// A story.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Scenario {
    /// Version 2 migrates the database and replaces version 1.
    Happy,
    /// The migration of version 2 fails: version 1 stays.
    BadMigration,
    /// Version 2 replaces version 1, and soon after an alarm takes it back.
    Rollback,
}

impl Scenario {
    fn second_version(self) -> VersionSpec {
        match self {
            Self::Happy | Self::Rollback => VersionSpec::meow(),
            Self::BadMigration => VersionSpec::bad_migration(),
        }
    }

    fn expectation(self) -> Expectation {
        match self {
            Self::Happy => Expectation {
                status: "SUCCEEDED",
                error: "",
                heading: "MEOW MEOW",
            },
            Self::BadMigration => Expectation {
                status: "FAILED",
                error: "MigrationFailed",
                heading: "Posts",
            },
            Self::Rollback => Expectation {
                status: "SUCCEEDED",
                error: "",
                heading: "Posts",
            },
        }
    }

    /// Plays the story and tells how it went.
    pub(crate) async fn play(self, account: &Account, view: &mut View) -> Result<Summary> {
        view.say("Pushing version 1 (Posts), creating its stacks (infra/image-repository.yml, infra/cluster.yml)");
        let first = VersionSpec::posts().build(account.websvc())?;
        let no_tasks_yet = ("InService", "false");
        let parameters: &[_] = match self {
            Self::Rollback => &[no_tasks_yet, WATCHED],
            Self::Happy | Self::BadMigration => &[no_tasks_yet],
        };
        let application = account
            .create_application_with(NAME, &first, parameters)
            .await?;
        view.say("Migrating for version 1, started by hand: {\"stack\":\"demo\",\"tag\":\"v1\",\"migrate\":true}");
        application.migrate_first_image().await?;
        view.say("Version 1 is migrated, and gets its tasks: InService=true");
        application.update_stack(&[("InService", "true")]).await?;
        view.say(&format!(
            "Version 1 answers at {}/posts; reading it 20 times a second from now on",
            application.url()
        ));
        let visitor = application.visitor();
        visitor.sees("Posts").await?;

        view.say("Pushing version 2 (MEOW MEOW) with a migration: docker push …/demo:v2");
        let second = self.second_version().build(account.websvc())?;
        let mut execution = application.push_and_notice("v2", &second).await?;
        let mut end = watch(account, &execution, &visitor, view).await?;
        if let Self::Rollback = self {
            let alarm = application.alarm("ErrorAlarm").await?;
            let name = alarm.name();
            view.say(&format!(
                "An alarm goes off that guards the deployments: {name}"
            ));
            alarm.raise().await?;
            execution = account.execution_of_alarm(NAME, name, 1).await?;
            end = watch(account, &execution, &visitor, view).await?;
        }
        // The page of the winning version, seen once more after everything has come to rest.
        let heading = application.heading().await?;
        let visits = visitor.leave().await;
        let stays = execution.stays().await?;
        let times = replacing(&application, &stays).await?;
        Ok(Summary {
            expected: self.expectation(),
            end,
            stays,
            times,
            visits,
            heading,
            service: application.service_state().await?,
        })
    }
}

/// The time that is not the pipeline's own: the migration's task and ECS's deployment.
async fn replacing(application: &Application<'_>, stays: &[Stay]) -> Result<Vec<(String, f64)>> {
    let mut times = Vec::new();
    if let Some(task) = answer_in(stays, "RunMigration")["taskArn"].as_str() {
        times.push((
            "the migration's task".to_owned(),
            application.task_seconds(task).await?,
        ));
    }
    for state in ["UpdateService", "RollBack"] {
        let updated = &answer_in(stays, state)["services"][0]["taskDefinition"];
        if let Some(task_definition) = updated.as_str() {
            times.push((
                "ECS replacing tasks".to_owned(),
                application.deployment_seconds(task_definition).await?,
            ));
        }
    }
    Ok(times)
}

/// What the function of a state has answered.
fn answer_in(stays: &[Stay], state: &str) -> serde_json::Value {
    stays
        .iter()
        .rfind(|stay| stay.state == state)
        .map(|stay| stay.output["Payload"].clone())
        .unwrap_or_default()
}

/// Shows the execution until its end, and for some seconds what the visitor reads then.
async fn watch(
    account: &Account,
    execution: &Execution,
    visitor: &Visitor,
    view: &mut View,
) -> Result<End> {
    view.follow(execution.arn());
    let mut log = None;
    let mut quiet = None;
    let mut way = Way::default();
    loop {
        let end = execution.ended().await?;
        execution.follow(&mut way).await?;
        if log.is_none() {
            log = MigrationLog::of(account, &way.stays);
        }
        if let Some(log) = &mut log {
            for line in log.new_lines().await? {
                view.log(&line);
            }
        }
        view.show(&Status::new(&way.stays, visitor.visits()));
        if let Some(end) = end
            && quiet.get_or_insert_with(Instant::now).elapsed() >= AFTERWARDS
        {
            return Ok(end);
        }
        tokio::time::sleep(FRAME).await;
    }
}

/// The migration's log, read as it grows.
struct MigrationLog {
    client: aws_sdk_cloudwatchlogs::Client,
    group: String,
    stream: String,
    next: Option<String>,
}

impl MigrationLog {
    /// RunMigration's answer says where the log is.
    fn of(account: &Account, stays: &[Stay]) -> Option<Self> {
        let log = &answer_in(stays, "RunMigration")["log"];
        Some(Self {
            client: aws_sdk_cloudwatchlogs::Client::new(account.config()),
            group: log["group"].as_str()?.to_owned(),
            stream: log["stream"].as_str()?.to_owned(),
            next: None,
        })
    }

    async fn new_lines(&mut self) -> Result<Vec<String>> {
        let answer = self
            .client
            .get_log_events()
            .log_group_name(&self.group)
            .log_stream_name(&self.stream)
            .start_from_head(true)
            .set_next_token(self.next.clone())
            .send()
            .await;
        let events = match answer {
            Ok(events) => events,
            // The stream appears with the container's first line.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        self.next = events.next_forward_token().map(str::to_owned);
        Ok(events
            .events()
            .iter()
            .filter_map(|event| event.message().map(str::to_owned))
            .collect())
    }
}
