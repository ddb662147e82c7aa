//! Releases that end before any service is touched.

use anyhow::Result;
use end_to_end::account::{Account, PIPELINE};
use end_to_end::application::{Application, Settings, WATCHED};
use end_to_end::execution::End;
use end_to_end::visitor::Visitor;
use sample::image::{Image, VersionSpec, push_manifest, upload_config};
use serde_json::json;

use crate::released::assert_runs;
use crate::turns::PATIENCE;

/// An application that runs version 1, and somebody who reads it.
pub(crate) struct Running<'a> {
    pub(crate) application: Application<'a>,
    first: Image,
    visitor: Visitor,
    task_definition: String,
}

impl<'a> Running<'a> {
    pub(crate) async fn new(account: &'a Account, name: &str) -> Result<Self> {
        Self::with(account, name, Settings::default()).await
    }

    pub(crate) async fn with(
        account: &'a Account,
        name: &str,
        settings: Settings<'_>,
    ) -> Result<Self> {
        let first = VersionSpec::posts().build(account.websvc())?;
        let application = account
            .create_application_as(name, &first, settings)
            .await?;
        application.migrate_first_image().await?;
        let visitor = application.visitor();
        visitor.sees("Posts").await?;
        Ok(Self {
            task_definition: application.task_definition().await?,
            application,
            first,
            visitor,
        })
    }

    /// The same where the alarms of the stack guard its deployments.
    async fn watched(account: &'a Account, name: &str) -> Result<Self> {
        let settings = Settings {
            parameters: &[WATCHED],
            ..Settings::default()
        };
        Self::with(account, name, settings).await
    }

    /// ECS and the visitors have seen nothing, and no migration is left running.
    pub(crate) async fn assert_untouched(self) -> Result<()> {
        assert_eq!(
            self.application.task_definition().await?,
            self.task_definition
        );
        assert_runs(&self.application, &self.first.digest()).await?;
        assert_eq!(self.application.running_migrations().await?, 0);
        assert_eq!(self.application.heading().await?, "Posts");
        let visits = self.visitor.leave().await;
        assert_eq!(visits.failed, 0, "{visits:?}");
        assert_eq!(visits.by_heading.keys().collect::<Vec<_>>(), ["Posts"]);
        Ok(())
    }
}

pub(crate) fn assert_failed(end: &End, error: &str, in_cause: &[&str]) {
    assert_eq!((&*end.status, &*end.error), ("FAILED", error), "{end:?}");
    for words in in_cause {
        assert!(end.cause.contains(words), "no {words:?} in {end:?}");
    }
}

/// The reason of an execution that succeeded has these words.
pub(crate) fn assert_told(end: &End, words: &[&str]) {
    let reason = end.output["reason"].as_str().unwrap_or_default();
    for words in words {
        assert!(reason.contains(words), "no {words:?} in {end:?}");
    }
}

pub(crate) async fn a_failing_migration_leaves_the_service_alone(account: &Account) -> Result<()> {
    let running = Running::new(account, "bad-migration").await?;
    let application = &running.application;

    let image = VersionSpec::bad_migration().build(account.websvc())?;
    let execution = application.push_and_notice("v2", &image).await?;
    let end = execution.end().await?;

    let own_error = "column \"slug\" of relation \"posts\" does not exist";
    assert_failed(&end, "MigrationFailed", &[own_error, "exit"]);
    // A list shows the first line: the image that failed, the migration's own error and what runs on.
    let first = end.cause.lines().next().unwrap_or_default();
    for words in ["v2 was not deployed", own_error, "v1 (", "runs on."] {
        assert!(first.contains(words), "no {words:?} in {first}");
    }
    assert!(!first.contains("arn:"), "{first}");
    assert_eq!(application.applied_migrations().await?, ["1"]);
    running.assert_untouched().await
}

pub(crate) async fn an_image_that_cannot_be_pulled_leaves_the_service_alone(
    account: &Account,
) -> Result<()> {
    let running = Running::new(account, "no-pull").await?;
    let application = &running.application;

    // Its manifest and its configuration are in the repository, but its layers are not.
    let image = VersionSpec::meow()
        .title("Nobody has its layers")
        .script("nobody", "# Others have the rest.")
        .build(account.websvc())?;
    upload_config(account.aws(), &image).await?;
    push_manifest(account.config(), "no-pull", Some("v2"), &image).await?;
    let execution = account
        .execution_of_push("no-pull", &image.digest())
        .await?;
    let end = execution.end().await?;

    let why = ["CannotPullContainerError", "TaskFailedToStart"];
    assert_failed(&end, "MigrationNotStarted", &why);
    assert_eq!(application.applied_migrations().await?, ["1"]);
    running.assert_untouched().await
}

pub(crate) async fn a_migration_that_takes_too_long_is_stopped(account: &Account) -> Result<()> {
    let running = Running::new(account, "slow").await?;
    let application = &running.application;

    let image = VersionSpec::slow_migration(120).build(account.websvc())?;
    let execution = application.push_and_notice("v2", &image).await?;
    let end = execution.end().await?;

    assert_failed(&end, "MigrationTimedOut", &["10 seconds", "stopped"]);
    assert_eq!(application.applied_migrations().await?, ["1", "2"]);
    running.assert_untouched().await
}

pub(crate) async fn an_alarm_that_is_raised_refuses_a_release_until_a_person_ignores_it(
    account: &Account,
) -> Result<()> {
    let running = Running::watched(account, "in-alarm").await?;
    let application = &running.application;
    let alarm = application.alarm("ErrorAlarm").await?;
    alarm.raise().await?;

    let image = VersionSpec::meow().build(account.websvc())?;
    let execution = application.push_and_notice("v2", &image).await?;
    let end = execution.end().await?;

    assert_failed(&end, "AlarmsInAlarm", &[alarm.name(), "ignoreAlarms"]);
    assert_eq!(application.applied_migrations().await?, ["1"]);
    assert_eq!(
        application.task_definition().await?,
        running.task_definition
    );
    assert_runs(application, &running.first.digest()).await?;

    let input = json!({ "stack": "in-alarm", "tag": "v2", "ignoreAlarms": true });
    let end = account.start_execution(input).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(application, &image.digest()).await?;
    let visits = running.visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    Ok(())
}

pub(crate) async fn an_alarm_that_goes_off_during_the_migration_refuses_the_deployment(
    account: &Account,
) -> Result<()> {
    let running = Running::watched(account, "alarmed-meanwhile").await?;
    let application = &running.application;
    let alarm = application.alarm("ErrorAlarm").await?;

    let image = VersionSpec::slow_migration(8).build(account.websvc())?;
    let execution = application.push_and_notice("v2", &image).await?;
    execution.reaches("WaitTask", PATIENCE).await?;
    alarm.raise().await?;
    let end = execution.end().await?;

    let told = [alarm.name(), "stays in the database"];
    assert_failed(&end, "AlarmsInAlarm", &told);
    assert_eq!(application.applied_migrations().await?, ["1", "2", "3"]);
    running.assert_untouched().await
}

/// Field-cases P2: with the roles of other applications in `TaskRoles`, releases here succeeded that AWS
/// would have refused.
pub(crate) async fn what_the_roles_of_the_pipeline_do_not_allow_is_not_done(
    account: &Account,
) -> Result<()> {
    let settings = Settings {
        role_path: "/shop/",
        ..Settings::default()
    };
    let running = Running::with(account, "unentitled", settings).await?;
    let application = &running.application;

    // Somebody lets it have the roles of another application in place of this one's.
    give_task_roles(account, "cafe/*").await?;
    let image = VersionSpec::meow().build(account.websvc())?;
    let end = application.release("v2", &image).await?;

    let role = account.resource(PIPELINE, "RunMigrationRole").await?;
    let in_cause = [
        "AccessDeniedException",
        &format!("assumed-role/{role}/"),
        "iam:PassRole on resource: arn:aws:iam::123456789012:role/shop/unentitled-",
        "no identity-based policy allows",
        "the parameter TaskRoles of the pipeline's stack",
    ];
    assert_failed(&end, "AwsRequestFailed", &in_cause);
    let first = end.cause.lines().next().unwrap_or_default();
    assert!(first.ends_with("runs on."), "{first}");
    assert_refused(account, "RunMigrationFunction", "iam:PassRole").await?;
    assert_eq!(application.applied_migrations().await?, ["1"]);
    assert_eq!(
        application.stopped_migrations().await?,
        1,
        "the first image's"
    );
    give_task_roles(account, "shop/*").await?;

    // Somebody takes one action out of a role.
    let role = account.resource(PIPELINE, "UpdateServiceRole").await?;
    let policy = ["--role-name", &role, "--policy-name", "update-service"];
    let get = ["iam", "get-role-policy", "--query", "PolicyDocument"];
    let json = ["--output", "json"];
    let cli = account.cli();
    let document = cli.run(get.iter().chain(&policy).chain(&json)).await?;
    let less = document.replace("\"ecs:UpdateService\"", "\"ecs:ListServices\"");
    assert_ne!(document, less);
    let put = ["iam", "put-role-policy", "--policy-document", &less];
    cli.run(put.iter().chain(&policy)).await?;
    let input = json!({ "stack": "unentitled", "tag": "v2" });
    let end = account.start_execution(input).await?.end().await?;

    let in_cause = [
        "AccessDeniedException",
        &format!("assumed-role/{role}/"),
        "no identity-based policy allows the ecs:UpdateService action",
    ];
    assert_failed(&end, "ServiceUpdateRefused", &in_cause);
    assert_refused(account, "UpdateServiceFunction", "ecs:UpdateService").await?;
    running.assert_untouched().await
}

async fn give_task_roles(account: &Account, names: &str) -> Result<()> {
    let parameter = ("TaskRoles".to_owned(), names.to_owned());
    account.update_pipeline(&[parameter]).await
}

/// Since this was last asked, IAM has refused one function one action, and nothing else.
async fn assert_refused(account: &Account, function: &str, action: &str) -> Result<()> {
    let refused = account.aws().refused().await?;
    assert!(!refused.is_empty());
    for (caller, needs) in refused {
        assert!(caller.contains(function), "{caller}: {needs:?}");
        assert!(needs.iter().all(|need| need.action == action), "{needs:?}");
    }
    Ok(())
}

pub(crate) async fn malformed_input_changes_nothing(account: &Account) -> Result<()> {
    let running = Running::new(account, "malformed").await?;
    let stranger = VersionSpec::posts()
        .title("Strangers")
        .build(account.websvc())?;
    account
        .cli()
        .run(["ecr", "create-repository", "--repository-name", "strangers"])
        .await?;
    push_manifest(account.config(), "strangers", Some("v9"), &stranger).await?;

    let strange_digest = stranger.digest();
    for (input, error, in_cause) in [
        (json!({}), "InvalidInput", "stack"),
        (json!({ "stack": "malformed" }), "InvalidInput", "tag"),
        (json!({ "tag": "v1" }), "InvalidInput", "stack"),
        (json!({ "stack": 5, "tag": "v1" }), "InvalidInput", "stack"),
        (
            json!({ "stack": "malformed", "tag": "v1", "colour": "blue" }),
            "InvalidInput",
            "colour",
        ),
        (
            json!({ "stack": "malformed", "tag": "v1", "migrate": "no" }),
            "InvalidInput",
            "migrate",
        ),
        (
            json!({ "stack": "malformed", "digest": "latest" }),
            "InvalidInput",
            "digest",
        ),
        (json!(["malformed", "v1"]), "InvalidInput", "object"),
        (
            json!({ "stack": "nowhere", "tag": "v1" }),
            "StackNotFound",
            "nowhere",
        ),
        (
            json!({ "stack": "malformed-repository", "tag": "v1" }),
            "NoServices",
            "malformed-repository",
        ),
        (
            json!({ "stack": "malformed", "tag": "v404" }),
            "ImageNotFound",
            "v404",
        ),
        (
            json!({ "stack": "malformed", "digest": strange_digest }),
            "ImageNotFound",
            &strange_digest,
        ),
        (
            json!({ "stack": "malformed", "tag": "v9", "repository": "strangers" }),
            "NoServices",
            "strangers",
        ),
    ] {
        assert_planned_only(account, input, error, in_cause).await?;
    }
    // The repository's word is needed as well as the stack's.
    let repository = repository_arn("malformed");
    let untag = ["ecr", "untag-resource", "--tag-keys", "bluegreen:stacks"];
    let of_repository = ["--resource-arn", &repository];
    let cli = account.cli();
    cli.run(untag.iter().chain(&of_repository)).await?;
    let input = json!({ "stack": "malformed", "tag": "v1" });
    assert_planned_only(account, input, "RepositoryNotLinked", "bluegreen:stacks").await?;

    assert_eq!(running.application.applied_migrations().await?, ["1"]);
    running.assert_untouched().await
}

/// Starts an execution, which fails so and got no further than the plan.
async fn assert_planned_only(
    account: &Account,
    input: serde_json::Value,
    error: &str,
    in_cause: &str,
) -> Result<()> {
    let execution = account.start_execution(input.clone()).await?;
    let end = execution.end().await?;
    assert_failed(&end, error, &[in_cause]);
    let stays = execution.stays().await?;
    let states: Vec<_> = stays.iter().map(|stay| &*stay.state).collect();
    let planned_only = ["PlanRelease", "EndRelease", "DecideOnEnd", "ReleaseFailed"];
    assert_eq!(states, planned_only, "{input}");
    Ok(())
}

fn repository_arn(name: &str) -> String {
    let (region, account) = (local_aws::client::REGION, local_aws::client::ACCOUNT);
    format!("arn:aws:ecr:{region}:{account}:repository/{name}")
}
