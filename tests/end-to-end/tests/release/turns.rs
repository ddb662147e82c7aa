//! One release at a time: those that wait, come late, come twice, or were given up.

use std::time::Duration;

use anyhow::{Context, Result};
use end_to_end::account::Account;
use end_to_end::execution::Execution;
use sample::image::{self, Image, VersionSpec};
use serde_json::{Value, json};

use crate::refused::assert_failed;
use crate::released::{assert_runs, release_version_2, running, running_with};

/// How long an execution may take to a state.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Of the 256 KiB that an execution's input may have.
const LARGE: usize = 200 * 1024;
/// What Step Functions allows.
const LONGEST_CAUSE: usize = 32_768;

pub(crate) async fn of_pushes_that_wait_the_newest_is_deployed_and_the_others_are_superseded(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "queue").await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;
    let build = |spec: VersionSpec| spec.build(account.websvc());
    let first = build(VersionSpec::slow_migration(12))?;
    let second = build(VersionSpec::meow().version("waits"))?;
    let third = build(VersionSpec::meow().version("waits-last"))?;

    let first_execution = application.push_and_notice("v2", &first).await?;
    first_execution.reaches("WaitTask", PATIENCE).await?;
    let second_execution = application.push_and_notice("v3", &second).await?;
    account.waits_in_line("queue", &second_execution).await?;
    let third_execution = application.push_and_notice("v4", &third).await?;

    let end = second_execution.end().await?;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(end.output["verdict"], "superseded", "{end:?}");
    let reason = end.output["reason"].as_str().unwrap_or_default();
    let newest = third_execution.arn().rsplit(':').next().unwrap_or_default();
    assert!(reason.contains(newest), "{end:?}");
    for execution in [&first_execution, &third_execution] {
        let end = execution.end().await?;
        assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    }
    assert_runs(&application, &third.digest()).await?;
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    Ok(())
}

pub(crate) async fn releases_of_two_repositories_of_a_stack_take_turns_and_each_is_deployed(
    account: &Account,
) -> Result<()> {
    let build = |spec: VersionSpec| spec.build(account.websvc());
    let with_worker = [("WorkerCommand", "websvc,serve")];
    let (application, first) = running_with(account, "duo", &with_worker).await?;
    application
        .give_workers_a_repository("duo-worker", &first)
        .await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;
    let push_worker = async |tag: &str, image: &Image| {
        let (aws, config) = (account.aws(), account.config());
        let digest = image::push(aws, config, "duo-worker", Some(tag), image).await?;
        account.execution_of_push("duo", &digest).await
    };

    let web = build(VersionSpec::slow_migration(12))?;
    let deploys_web = application.push_and_notice("v2", &web).await?;
    deploys_web.reaches("WaitTask", PATIENCE).await?;
    let older = push_worker("w2", &build(VersionSpec::meow().version("older"))?).await?;
    account.waits_in_line("duo", &older).await?;
    let worker = build(VersionSpec::meow().version("worker"))?;
    let deploys_worker = push_worker("w3", &worker).await?;
    account.waits_in_line("duo", &deploys_worker).await?;
    let newer_web = build(VersionSpec::meow().version("newer"))?;
    let deploys_newer_web = application.push_and_notice("v3", &newer_web).await?;

    assert_eq!(older.end().await?.output["verdict"], "superseded");
    for execution in [&deploys_web, &deploys_worker, &deploys_newer_web] {
        let end = execution.end().await?;
        assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    }
    assert_runs(&application, &newer_web.digest()).await?;
    let state = application.worker_state().await?;
    let image = format!("/duo-worker@{}", worker.digest());
    assert!(
        state.is_at_rest() && state.image.ends_with(&image),
        "{state:?}"
    );
    assert_eq!(state.running_images, [&*state.image]);
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    Ok(())
}

pub(crate) async fn a_release_that_was_aborted_keeps_nobody_waiting(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "aborted").await?;
    let slow = VersionSpec::slow_migration(20).build(account.websvc())?;
    let aborted = application.push_and_notice("v2", &slow).await?;
    aborted.reaches("WaitTask", PATIENCE).await?;
    aborted.stop().await?;

    let next = VersionSpec::meow()
        .version("next")
        .build(account.websvc())?;
    let execution = application.push_and_notice("v3", &next).await?;
    // What the aborted release has left running is not joined by a second migration.
    while execution.ended().await?.is_none() {
        let running = application.running_migrations().await?;
        assert!(running <= 1, "{running} migrations at once");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let end = execution.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&application, &next.digest()).await?;
    let records = account.releases("aborted").await?;
    let verdicts: Vec<&Value> = records.iter().map(|record| &record["verdict"]).collect();
    assert_eq!(verdicts, ["succeeded", "abandoned", "succeeded"]);
    Ok(())
}

pub(crate) async fn a_push_that_comes_late_is_stale_until_a_person_forces_it(
    account: &Account,
) -> Result<()> {
    let (application, posts) = running(account, "late").await?;
    let meow = release_version_2(account, &application).await?;

    let mut late = json!({
        "stack": "late", "tag": "v1", "migrate": false, "pushedAt": "2020-01-01T00:00:00Z"
    });
    let end = account.start_execution(late.clone()).await?.end().await?;
    assert_eq!(end.output["verdict"], "stale", "{end:?}");
    assert_runs(&application, &meow.digest()).await?;

    late["force"] = json!(true);
    let end = account.start_execution(late).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&application, &posts.digest()).await
}

pub(crate) async fn an_event_that_comes_twice_starts_one_release(account: &Account) -> Result<()> {
    let (application, _) = running(account, "twice").await?;
    let pushes = account.aws().events().matching(json!({
        "source": ["aws.ecr"], "detail": {"repository-name": ["twice"]}
    }));
    let twice = pushes.deliver_twice(1).await?;
    let meow = release_version_2(account, &application).await?;
    assert_eq!(twice.struck().await?, 1);
    let executions = account.executions("twice").await?;
    assert_eq!(executions.len(), 2, "the first image's, and one of v2");
    assert_runs(&application, &meow.digest()).await
}

pub(crate) async fn a_redriven_release_plans_anew(account: &Account) -> Result<()> {
    let (application, _) = running(account, "redriven").await?;
    let slow = VersionSpec::slow_migration(12).build(account.websvc())?;
    let execution = application.push_and_notice("v2", &slow).await?;
    execution.reaches("WaitTask", PATIENCE).await?;
    execution.stop().await?;
    let aborted = execution.end().await?;
    assert_eq!(aborted.status, "ABORTED");
    execution.redrive().await?;
    let end = execution.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let stays = execution.stays().await?;
    let plans = stays.iter().filter(|stay| stay.state == "PlanInTurn");
    assert_eq!(
        plans.count(),
        3,
        "it planned before the redrive, after it, and once the first migration had come to its end"
    );
    let applied = application.applied_migrations().await?;
    assert_eq!(applied, ["1", "2", "3"]);
    assert_runs(&application, &slow.digest())
        .await
        .context("after the redrive")
}

/// Starts an execution with an input that is longer than a command line may be.
async fn start(account: &Account, input: String) -> Result<Execution> {
    let started = aws_sdk_sfn::Client::new(account.config())
        .start_execution()
        .state_machine_arn(account.state_machine())
        .input(input)
        .send()
        .await?;
    Ok(Execution::new(account.config(), started.execution_arn()))
}

pub(crate) async fn a_large_input_of_one_release_disturbs_no_other(
    account: &Account,
) -> Result<()> {
    let takes_no_push = [("ImageTags", "release-*")];
    let (application, _) = running_with(account, "large", &takes_no_push).await?;
    let slow = VersionSpec::slow_migration(10).build(account.websvc())?;
    application.push("v2", &slow).await?;
    let next = VersionSpec::meow().version("next").title("Next");
    let next = next.build(account.websvc())?;
    application.push("v3", &next).await?;

    let spaces = " ".repeat(LARGE);
    let has_turn = start(
        account,
        format!(r#"{{"stack": "large",{spaces}"tag": "v2"}}"#),
    )
    .await?;
    has_turn.reaches("WaitTask", PATIENCE).await?;
    let nobody = format!(r#"{{"stack": "large",{spaces}"action": "rollback", "to": "nobody"}}"#);
    let waits = start(account, nobody.clone()).await?;
    account.waits_in_line("large", &waits).await?;
    let newest = json!({"stack": "large", "tag": "v3"});
    let newest = account.start_execution(newest).await?;

    let end = waits.end().await?;
    assert_eq!(end.output["verdict"], "superseded", "{end:?}");
    for execution in [&has_turn, &newest] {
        let end = execution.end().await?;
        assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    }
    assert_runs(&application, &next.digest()).await?;

    let end = start(account, nobody).await?.end().await?;
    assert_failed(&end, "NothingToGoBackTo", &["no release nobody"]);
    let endless = json!({"stack": "large", "action": "rollback", "to": "x".repeat(LARGE)});
    let end = start(account, endless.to_string()).await?.end().await?;
    assert_failed(&end, "InvalidInput", &["`to`"]);
    assert!(end.cause.chars().count() <= LONGEST_CAUSE);
    assert_runs(&application, &next.digest()).await
}
