//! Events in a repository that are no release.
//!
//! Nothing can be waited for where nothing is to happen. So each story ends with a push that is a
//! release, and then finds the executions of that push and of its own beginning, and no other.

use anyhow::Result;
use end_to_end::account::Account;
use end_to_end::application::Application;
use sample::image::{VersionSpec, push};

use crate::released::{assert_runs, running};

/// Pushes version 2, which goes live, and finds that it was the first release since version 1.
async fn assert_only_the_next_push_is_a_release(
    account: &Account,
    application: &Application<'_>,
) -> Result<()> {
    let meow = VersionSpec::meow().build(account.websvc())?;
    let execution = application.push_and_notice("v2", &meow).await?;
    let end = execution.end().await?;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_runs(application, &meow.digest()).await?;
    assert_eq!(application.heading().await?, "MEOW MEOW");
    let mut tags = Vec::new();
    for execution in account.executions(application.name()).await? {
        tags.push(execution.input().await?["tag"].clone());
    }
    assert_eq!(tags, ["v2", "v1"]);
    Ok(())
}

pub(crate) async fn a_push_to_a_repository_that_names_no_stack_starts_nothing(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "unnamed").await?;
    let create = ["ecr", "create-repository", "--repository-name"];
    account
        .cli()
        .run(create.iter().chain(&["no-stacks"]))
        .await?;
    let image = VersionSpec::meow()
        .title("Unseen")
        .build(account.websvc())?;
    let (aws, config) = (account.aws(), account.config());
    push(aws, config, "no-stacks", Some("v2"), &image).await?;
    assert_only_the_next_push_is_a_release(account, &application).await
}

pub(crate) async fn a_deleted_image_starts_nothing(account: &Account) -> Result<()> {
    let (application, _) = running(account, "deleted").await?;
    let delete = ["ecr", "batch-delete-image", "--repository-name", "deleted"];
    let first = ["--image-ids", "imageTag=v1"];
    account.cli().run(delete.iter().chain(&first)).await?;
    assert_only_the_next_push_is_a_release(account, &application).await
}

pub(crate) async fn a_push_without_a_tag_starts_nothing(account: &Account) -> Result<()> {
    let (application, _) = running(account, "untagged").await?;
    let image = VersionSpec::meow()
        .title("Unseen")
        .build(account.websvc())?;
    push(account.aws(), account.config(), "untagged", None, &image).await?;
    assert_only_the_next_push_is_a_release(account, &application).await
}
