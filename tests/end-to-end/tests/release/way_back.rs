//! The way back from a release, and what comes after a healthy one.

use anyhow::{Context, Result};
use end_to_end::account::Account;
use end_to_end::application::{Application, WATCHED};
use end_to_end::execution::{End, Execution};
use sample::image::{Image, VersionSpec};
use serde_json::{Value, json};

use crate::refused::{assert_failed, assert_told};
use crate::released::{assert_runs, release_version_2, running_with};
use crate::turns::PATIENCE;

/// An application that ran version 1 and runs version 2.
struct Released<'a> {
    account: &'a Account,
    application: Application<'a>,
    posts: Image,
}

impl<'a> Released<'a> {
    async fn new(account: &'a Account, name: &str) -> Result<Self> {
        Self::with(account, name, &[]).await
    }

    async fn with(account: &'a Account, name: &str, parameters: &[(&str, &str)]) -> Result<Self> {
        let (application, posts) = running_with(account, name, parameters).await?;
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

    async fn alarm_fires(&self, count: usize) -> Result<Execution> {
        alarm_fires(self.account, &self.application, count).await
    }
}

/// Lets the alarm on errors fire, and finds the execution that it started: the `count`-th rollback of
/// the stack.
async fn alarm_fires(
    account: &Account,
    application: &Application<'_>,
    count: usize,
) -> Result<Execution> {
    let alarm = application.alarm("ErrorAlarm").await?;
    // An alarm that is in ALARM already does not fire again.
    alarm.calm().await?;
    alarm.raise().await?;
    let stack = application.name();
    account.execution_of_alarm(stack, alarm.name(), count).await
}

/// An application that ran before the pipeline knew it, as its stack made it.
struct Adopted<'a> {
    account: &'a Account,
    application: Application<'a>,
    /// What its stack has made.
    revision: String,
    image: String,
}

impl<'a> Adopted<'a> {
    async fn new(account: &'a Account, name: &str, parameters: &[(&str, &str)]) -> Result<Self> {
        let posts = VersionSpec::posts().build(account.websvc())?;
        let application = account
            .create_application_with(name, &posts, parameters)
            .await?;
        Ok(Self {
            account,
            revision: application.task_definition().await?,
            image: application.service_state().await?.image,
            application,
        })
    }

    /// It runs what it ran then, as if there had never been a release.
    async fn assert_is_back(&self) -> Result<()> {
        let application = &self.application;
        assert_eq!(application.task_definition().await?, self.revision);
        assert_eq!(application.latest_of_its_family().await?, self.revision);
        let state = application.service_state().await?;
        assert!(state.is_at_rest(), "{state:?}");
        assert_eq!(application.heading().await?, "Posts");
        // An update of the stack brings nothing else.
        let parameter = format!("/bluegreen/{}/image", application.name());
        let get = ["ssm", "get-parameter", "--name", &parameter];
        let value = ["--query", "Parameter.Value", "--output", "text"];
        let written = self.account.cli().run(get.iter().chain(&value)).await?;
        assert_eq!(written, self.image);
        let records = self.account.releases(application.name()).await?;
        let of_release = records.iter().find(|record| record["tag"] == "v2");
        let of_release = of_release.context("the first release has a record")?;
        assert_eq!(of_release["verdict"], "rolledBack", "{records:?}");
        let mut rollbacks = records.iter().filter(|it| !it["restoresBefore"].is_null());
        let newest = rollbacks.next().context("a rollback has a record")?;
        assert_eq!(newest["verdict"], "succeeded", "{records:?}");
        assert_eq!(newest["restoresBefore"], of_release["item"]);
        Ok(())
    }
}

/// The first push is the riskiest. Field-cases P1: a stack that the CDK had made had no net.
pub(crate) async fn the_first_release_of_an_adopted_service_is_taken_back_by_a_person(
    account: &Account,
) -> Result<()> {
    let adopted = Adopted::new(account, "adopted", &[]).await?;
    let application = &adopted.application;
    release_version_2(account, application).await?;
    let visitor = application.visitor();
    visitor.sees("MEOW MEOW").await?;

    let input = json!({"stack": "adopted", "action": "rollback"});
    let end = account.start_execution(input.clone()).await?.end().await?;

    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_told(
        &end,
        &[
            "what ran before its first release v2",
            "taken back by a person",
        ],
    );
    adopted.assert_is_back().await?;
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.latest, "Posts");

    let again = account.start_execution(input.clone()).await?.end().await?;
    assert_eq!(again.error, "NothingToGoBackTo", "{again:?}");
    adopted.assert_is_back().await?;

    // The same push is no stale one, and has the same net.
    let third = VersionSpec::meow().version("3").title("Woof");
    let third = third.build(account.websvc())?;
    let end = application.release("v3", &third).await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(application, &third.digest()).await?;
    let end = account.start_execution(input).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    adopted.assert_is_back().await
}

pub(crate) async fn the_first_release_of_an_adopted_service_is_taken_back_by_an_alarm(
    account: &Account,
) -> Result<()> {
    let adopted = Adopted::new(account, "adopted-alarm", &[WATCHED]).await?;
    let application = &adopted.application;
    release_version_2(account, application).await?;

    let end = alarm_fires(account, application, 1).await?.end().await?;

    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let alarm = application.alarm("ErrorAlarm").await?;
    let by = format!("taken back by the alarm {}", alarm.name());
    let reason = end.output["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(&by), "{end:?}");
    adopted.assert_is_back().await?;

    let end = alarm_fires(account, application, 2).await?.end().await?;
    assert_eq!(end.output["verdict"], "nothingToRollBack", "{end:?}");
    adopted.assert_is_back().await
}

/// A life-cycle rule keeps a number of images, whatever a stack may go back to.
pub(crate) async fn a_release_whose_image_was_deleted_is_not_gone_back_to(
    account: &Account,
) -> Result<()> {
    let released = Released::new(account, "lost-image").await?;
    let application = &released.application;
    let third = VersionSpec::meow().version("3").title("Woof");
    let third = third.build(account.websvc())?;
    let end = application.release("v3", &third).await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let records = account.releases("lost-image").await?;
    let second = records.iter().find(|record| record["tag"] == "v2");
    let second = second.and_then(|record| record["digest"].as_str());
    let meow = second.context("version 2 has a digest")?;
    let delete = [
        "ecr",
        "batch-delete-image",
        "--repository-name",
        "lost-image",
    ];
    let image = ["--image-ids", &format!("imageDigest={meow}")];
    account.cli().run(delete.iter().chain(&image)).await?;
    let executions = account.executions("lost-image").await?;
    let first = executions.last().context("there are executions")?;
    let visitor = application.visitor();
    visitor.sees("Woof").await?;

    let end = released.roll_back().await?;

    let told = [
        "The release v2",
        meow,
        "The release v1",
        first.name(),
        "force",
    ];
    assert_failed(&end, "RollbackImageNotFound", &told);
    assert_runs(application, &third.digest()).await?;
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.by_heading.keys().collect::<Vec<_>>(), ["Woof"]);

    let back = json!({"stack": "lost-image", "action": "rollback", "to": first.name()});
    let end = account.start_execution(back).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(application, &released.posts.digest()).await
}

/// CloudFormation deregisters the revision that it replaces (aws/aws-cdk#24372).
pub(crate) async fn a_revision_that_was_deregistered_is_gone_back_to_all_the_same(
    account: &Account,
) -> Result<()> {
    let (application, posts) = running_with(account, "deregistered", &[]).await?;
    let first = application.task_definition().await?;
    release_version_2(account, &application).await?;
    let ecs = aws_sdk_ecs::Client::new(account.config());
    let gone = ecs.deregister_task_definition().task_definition(&first);
    gone.send().await?;

    let input = json!({"stack": application.name(), "action": "rollback"});
    let end = account.start_execution(input).await?.end().await?;

    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_ne!(application.task_definition().await?, first);
    assert_runs(&application, &posts.digest()).await?;
    assert_eq!(application.heading().await?, "Posts");
    Ok(())
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

pub(crate) async fn a_person_goes_back_to_a_release_by_its_name(account: &Account) -> Result<()> {
    let released = Released::new(account, "by-name").await?;
    let application = &released.application;
    let third = VersionSpec::meow().version("3").title("Woof");
    let third = third.build(account.websvc())?;
    let end = application.release("v3", &third).await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let executions = account.executions("by-name").await?;
    let first = executions.last().context("there are executions")?;
    let name = first.arn().rsplit(':').next().unwrap_or_default();

    let back = |to: &str| json!({"stack": "by-name", "action": "rollback", "to": to});
    let end = account.start_execution(back("nobody")).await?.end().await?;
    assert_eq!(end.error, "NothingToGoBackTo", "{end:?}");
    assert!(end.cause.contains("no release nobody"), "{end:?}");
    assert_runs(application, &third.digest()).await?;

    // Over the last good one, which would be version 2.
    let visitor = application.visitor();
    visitor.sees("Woof").await?;
    let end = account.start_execution(back(name)).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let reason = end.output["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(name), "{end:?}");
    assert_runs(application, &released.posts.digest()).await?;
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.latest, "Posts");
    Ok(())
}

pub(crate) async fn an_alarm_after_a_release_takes_it_back_once(account: &Account) -> Result<()> {
    let released = Released::with(account, "by-alarm", &[WATCHED]).await?;

    let end = released.alarm_fires(1).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&released.application, &released.posts.digest()).await?;
    let alarm = released.application.alarm("ErrorAlarm").await?;
    let by = format!("taken back by the alarm {}", alarm.name());
    assert_told(&end, &["The release v2", &by]);

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
    let cause = taken_back[0]["cause"].as_str().unwrap_or_default();
    let first = cause.lines().next().unwrap_or_default();
    assert!(first.contains(&by), "{records:?}");
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
    let end = application.release("v2", &meow).await?;
    assert_eq!(end.error, "PostDeployFailed", "{end:?}");
    assert_runs(&application, &meow.digest()).await?;
    let records = account.releases("afterwards").await?;
    assert_eq!(records[0]["verdict"], "succeeded");
    assert_eq!(records[0]["error"], "PostDeployFailed");
    Ok(())
}

pub(crate) async fn a_healthy_release_that_was_aborted_during_its_command_is_the_last_good_one(
    account: &Account,
) -> Result<()> {
    let (application, _) = running_with(account, "healthy", &[]).await?;
    // It goes on until it is stopped.
    let command = [("PostDeployCommand", r#"["websvc","serve"]"#)];
    application.update_stack(&command).await?;
    let meow = VersionSpec::meow().build(account.websvc())?;
    let aborted = application.push_and_notice("v2", &meow).await?;
    aborted.reaches("WaitPostDeploy", PATIENCE).await?;
    aborted.stop().await?;

    let bad = VersionSpec::crashing().title("Crashing");
    let end = application
        .release("v3", &bad.build(account.websvc())?)
        .await?;
    assert_failed(&end, "DeploymentRolledBack", &[application.service()]);
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(application.heading().await?, "MEOW MEOW");
    assert_eq!(application.running_migrations().await?, 0);
    let records = account.releases("healthy").await?;
    let verdicts: Vec<_> = records.iter().map(|record| &record["verdict"]).collect();
    assert_eq!(verdicts, ["rolledBack", "succeeded", "succeeded"]);
    let turn = account.turn("healthy").await?;
    let current = turn["currentRecord"].as_str().unwrap_or_default();
    assert!(current.ends_with(aborted.name()), "{turn}");
    Ok(())
}
