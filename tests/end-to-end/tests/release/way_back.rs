//! The way back from a release, and what comes after a healthy one.

use anyhow::Result;
use end_to_end::account::Account;
use end_to_end::application::Application;
use end_to_end::execution::End;
use end_to_end::image::{Image, VersionSpec};
use serde_json::json;

use crate::released::assert_runs;

/// An application that ran version 1 and runs version 2.
struct Released<'a> {
    account: &'a Account,
    application: Application<'a>,
    posts: Image,
}

impl<'a> Released<'a> {
    async fn new(account: &'a Account, name: &str) -> Result<Self> {
        let posts = VersionSpec::posts().build(account.websvc())?;
        let application = account.create_application(name, &posts).await?;
        application.migrate_first_image().await?;
        let meow = VersionSpec::meow().build(account.websvc())?;
        let end = application
            .push_and_notice("v2", &meow)
            .await?
            .end()
            .await?;
        assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
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
