//! Releases that ECS takes back.

use anyhow::Result;
use end_to_end::account::Account;
use end_to_end::image::VersionSpec;

use crate::released::assert_runs;

pub(crate) async fn a_version_that_never_becomes_healthy_is_rolled_back_by_ecs(
    account: &Account,
) -> Result<()> {
    is_rolled_back(account, "unhealthy", &VersionSpec::never_healthy()).await
}

pub(crate) async fn a_version_that_crashes_is_rolled_back_by_ecs(account: &Account) -> Result<()> {
    is_rolled_back(account, "crashing", &VersionSpec::crashing()).await
}

async fn is_rolled_back(account: &Account, name: &str, second: &VersionSpec) -> Result<()> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let application = account.create_application(name, &posts).await?;
    application.migrate_first_image().await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;

    let image = second.build(account.websvc())?;
    let execution = application.push_and_notice("v2", &image).await?;
    let end = execution.end().await?;

    let verdict = (&*end.status, &*end.error);
    assert_eq!(verdict, ("FAILED", "DeploymentRolledBack"), "{end:?}");
    assert!(end.cause.contains(application.service()), "{end:?}");
    assert_runs(&application, &posts.digest()).await?;
    assert_eq!(application.heading().await?, "Posts");
    // The migration stays: version 1 works with it.
    assert_eq!(application.applied_migrations().await?, ["1", "2"]);
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.by_heading.keys().collect::<Vec<_>>(), ["Posts"]);
    Ok(())
}
