//! Releases that ECS takes back.

use anyhow::Result;
use end_to_end::account::Account;
use sample::image::VersionSpec;

use crate::refused::assert_failed;
use crate::released::{assert_runs, running};
use crate::strategies::running_blue_green;

pub(crate) async fn a_version_that_never_becomes_healthy_is_rolled_back_by_ecs(
    account: &Account,
) -> Result<()> {
    let why = ["failed ELB health checks"];
    is_rolled_back(account, "unhealthy", &VersionSpec::never_healthy(), &why).await
}

pub(crate) async fn a_version_that_crashes_is_rolled_back_by_ecs(account: &Account) -> Result<()> {
    let why = [
        "Container web exited with code 2",
        "unexpected argument '--prot'",
    ];
    is_rolled_back(account, "crashing", &VersionSpec::crashing(), &why).await
}

async fn is_rolled_back(
    account: &Account,
    name: &str,
    second: &VersionSpec,
    why: &[&str],
) -> Result<()> {
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
    for told in why.iter().chain(&[application.service()]) {
        assert!(end.cause.contains(told), "no {told:?} in {end:?}");
    }
    let first = end.cause.lines().next().unwrap_or_default();
    for told in ["v2 was rolled back", "v1 (", "runs again."] {
        assert!(first.contains(told), "no {told:?} in {first}");
    }
    assert_runs(&application, &posts.digest()).await?;
    assert_eq!(application.heading().await?, "Posts");
    // The migration stays: version 1 works with it.
    assert_eq!(application.applied_migrations().await?, ["1", "2"]);
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.by_heading.keys().collect::<Vec<_>>(), ["Posts"]);
    Ok(())
}

pub(crate) async fn of_two_services_of_which_one_fails_both_go_back(
    account: &Account,
) -> Result<()> {
    let posts = VersionSpec::posts().build(account.websvc())?;
    let parameters = [("WorkerCommand", "websvc,serve")];
    let application = account
        .create_application_with("two-services", &posts, &parameters)
        .await?;
    application.migrate_first_image().await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;
    let worker = application.worker_state().await?;
    assert!(worker.image.ends_with(&posts.digest()), "{worker:?}");

    let image = VersionSpec::crashing_worker().build(account.websvc())?;
    let end = application.release("v2", &image).await?;

    let all = format!("All services of stack {}", application.name());
    let told = [application.worker()?, &all];
    assert_failed(&end, "DeploymentRolledBack", &told);
    assert_runs(&application, &posts.digest()).await?;
    assert_eq!(application.worker_state().await?, worker);
    assert_eq!(application.heading().await?, "Posts");
    let records = account.releases("two-services").await?;
    assert_eq!(records[0]["verdict"], "rolledBack", "{records:?}");
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    // The web service had the new version, and was taken back for the worker's sake.
    assert!(visits.by_heading.contains_key("MEOW MEOW"), "{visits:?}");
    Ok(())
}

pub(crate) async fn a_health_check_url_that_fails_after_healthy_targets_takes_the_release_back(
    account: &Account,
) -> Result<()> {
    let (application, posts) = running(account, "smoke").await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;
    // The load balancer finds the targets healthy as before, but leads nobody to that page any more.
    let listener = account.resource("smoke", "Listener").await?;
    account
        .cli()
        .run([
            "elbv2",
            "create-rule",
            "--priority",
            "1",
            "--listener-arn",
            &listener,
            "--conditions",
            "Field=path-pattern,Values=/health",
            "--actions",
            "Type=fixed-response,FixedResponseConfig={StatusCode=503}",
        ])
        .await?;

    let meow = VersionSpec::meow().build(account.websvc())?;
    let end = application.release("v2", &meow).await?;

    assert_failed(&end, "DeploymentUnhealthy", &["/health", "503"]);
    assert_runs(&application, &posts.digest()).await?;
    let records = account.releases("smoke").await?;
    assert_eq!(records[0]["error"], "DeploymentUnhealthy");
    assert_eq!(records[0]["verdict"], "rolledBack");
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.latest, "Posts");
    assert!(visits.by_heading.contains_key("MEOW MEOW"), "{visits:?}");
    Ok(())
}

pub(crate) async fn a_deployment_that_takes_longer_than_its_stack_allows_is_taken_back(
    account: &Account,
) -> Result<()> {
    let (application, posts) = running_blue_green(account, "stalled", "5").await?;
    let limit = [("DeploymentTimeoutSeconds", "15")];
    application.update_stack(&limit).await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;

    let meow = VersionSpec::meow().build(account.websvc())?;
    let end = application.release("v2", &meow).await?;

    assert_failed(&end, "DeploymentStalled", &["15 seconds"]);
    assert_runs(&application, &posts.digest()).await?;
    let records = account.releases("stalled").await?;
    assert_eq!(records[0]["verdict"], "rolledBack", "{records:?}");
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert_eq!(visits.latest, "Posts");
    // It served all requests while it baked.
    assert!(visits.by_heading.contains_key("MEOW MEOW"), "{visits:?}");
    Ok(())
}
