//! The way back from a release, and what comes after a healthy one.

use anyhow::Result;
use end_to_end::account::Account;
use end_to_end::application::Application;
use end_to_end::execution::{End, Execution};
use end_to_end::image::{Image, VersionSpec};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

use crate::released::{assert_runs, release_version_2, running};

const PATIENCE: Duration = Duration::from_secs(60);

/// An application that ran version 1 and runs version 2.
struct Released<'a> {
    account: &'a Account,
    application: Application<'a>,
    posts: Image,
}

impl<'a> Released<'a> {
    async fn new(account: &'a Account, name: &str) -> Result<Self> {
        let (application, posts) = running(account, name).await?;
        release_version_2(account, &application).await?;
        Ok(Self {
            account,
            application,
            posts,
        })
    }

    async fn roll_back(&self) -> Result<End> {
        let input = json!({"stack": self.application.name(), "action": "rollback"});
        self.account.start_execution(input).await?.end().await
    }

    /// Lets the alarm on errors fire, and finds the execution that it started: the `count`-th
    /// rollback of the stack.
    async fn alarm_fires(&self, count: usize) -> Result<Execution> {
        let stack = self.application.name();
        let alarm = self
            .account
            .cli()
            .run([
                "cloudformation",
                "describe-stack-resource",
                "--stack-name",
                stack,
                "--logical-resource-id",
                "ErrorAlarm",
                "--query",
                "StackResourceDetail.PhysicalResourceId",
                "--output",
                "text",
            ])
            .await?;
        // An alarm that is in ALARM already does not fire again.
        for state in ["OK", "ALARM"] {
            let set = ["cloudwatch", "set-alarm-state", "--state-value", state];
            let named = ["--state-reason", "a story", "--alarm-name", &alarm];
            self.account.cli().run(set.iter().chain(&named)).await?;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut rollbacks = Vec::new();
            for execution in self.account.executions(stack).await? {
                // Other alarms of the stack may fire by themselves.
                if execution.input().await?["alarm"]["name"] == *alarm {
                    rollbacks.push(execution);
                }
            }
            if rollbacks.len() == count {
                return Ok(rollbacks.swap_remove(0));
            }
            assert!(Instant::now() < deadline, "the alarm started nothing");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

pub(crate) async fn a_person_goes_back_to_the_last_good_release(account: &Account) -> Result<()> {
    let released = Released::new(account, "by-person").await?;
    let visitor = released.application.visitor();
    visitor.sees("MEOW MEOW").await?;

    let end = released.roll_back().await?;

    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let reason = end.output["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("migrations stay"), "{end:?}");
    assert_runs(&released.application, &released.posts.digest()).await?;
    assert_eq!(released.application.heading().await?, "Posts");
    let applied = released.application.applied_migrations().await?;
    assert_eq!(applied, ["1", "2"]);
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");

    let again = released.roll_back().await?;
    assert_eq!(again.error, "NothingToGoBackTo", "{again:?}");
    assert_runs(&released.application, &released.posts.digest()).await
}

pub(crate) async fn an_alarm_after_a_release_takes_it_back_once(account: &Account) -> Result<()> {
    let released = Released::new(account, "by-alarm").await?;

    let end = released.alarm_fires(1).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&released.application, &released.posts.digest()).await?;

    let end = released.alarm_fires(2).await?.end().await?;
    assert_eq!(end.output["verdict"], "nothingToRollBack", "{end:?}");
    assert_runs(&released.application, &released.posts.digest()).await?;
    let records = account.releases("by-alarm").await?;
    let of_verdict = |verdict: &str| {
        let found = records.iter().filter(|record| record["verdict"] == verdict);
        found.collect::<Vec<_>>()
    };
    let taken_back = of_verdict("rolledBack");
    assert_eq!(taken_back.len(), 1, "{records:?}");
    assert_eq!(taken_back[0]["tag"], "v2");
    let by_alarm = |record: &&&Value| {
        let by = record["startedBy"].as_str().unwrap_or_default();
        by.starts_with("alarm ")
    };
    let succeeded = of_verdict("succeeded");
    assert_eq!(succeeded.iter().filter(by_alarm).count(), 1, "{records:?}");
    Ok(())
}

pub(crate) async fn a_command_after_the_release_is_reported_and_takes_nothing_back(
    account: &Account,
) -> Result<()> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let command = [("PostDeployCommand", r#"["websvc","no-such-command"]"#)];
    let application = account
        .create_application_with("afterwards", &posts, &command)
        .await?;
    let meow = VersionSpec::meow().build(account.websvc())?;
    let end = application
        .push_and_notice("v2", &meow)
        .await?
        .end()
        .await?;
    assert_eq!(end.error, "PostDeployFailed", "{end:?}");
    assert_runs(&application, &meow.digest()).await?;
    let records = account.releases("afterwards").await?;
    assert_eq!(records[0]["verdict"], "succeeded");
    assert_eq!(records[0]["error"], "PostDeployFailed");
    Ok(())
}
