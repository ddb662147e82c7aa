//! Images that say which migrations they have: those that the database has are not run again.

use anyhow::{Context, Result};
use end_to_end::account::Account;
use end_to_end::application::Application;
use end_to_end::execution::End;
use sample::image::{Image, VersionSpec};
use serde_json::{Value, json};

use crate::refused::assert_failed;
use crate::released::assert_runs;

const STACK: &str = "same-migrations";
const LABEL: &str = "bluegreen.migrations";

/// Builds a version whose build gives its migrations this fingerprint.
fn built(account: &Account, version: VersionSpec, fingerprint: &str) -> Result<Image> {
    version.label(LABEL, fingerprint).build(account.websvc())
}

/// The newest record, which is that of the release that has just ended.
async fn newest(account: &Account) -> Result<Value> {
    let records = account.releases(STACK).await?;
    records.into_iter().next().context("there are records")
}

/// How many migrations have run, however they ended.
async fn ran(application: &Application<'_>) -> Result<usize> {
    application.stopped_migrations().await
}

/// Version 3, which has version 2's migrations, is deployed without one; its record and its reason name
/// the release that has run them.
async fn assert_left_out(account: &Account, end: &End, before: &str) -> Result<()> {
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    let record = newest(account).await?;
    assert_eq!(record["migrations"], "two", "{record}");
    assert_eq!(record["migrationsOf"], before, "{record}");
    assert!(record.get("migration").is_none(), "{record}");
    let told = format!("the same migrations as the release {before}");
    for said in [&end.output["reason"], &record["cause"]] {
        let said = said.as_str().unwrap_or_default();
        assert!(said.contains(&told), "{said}");
    }
    Ok(())
}

pub(crate) async fn migrations_that_the_database_has_are_not_run_again(
    account: &Account,
) -> Result<()> {
    let posts = built(account, VersionSpec::posts(), "one")?;
    let application = account.create_application(STACK, &posts).await?;
    application.migrate_first_image().await?;
    assert_eq!(newest(account).await?["migrations"], "one");

    let meow = built(account, VersionSpec::meow(), "two")?;
    let execution = application.push_and_notice("v2", &meow).await?;
    let second = execution.arn().rsplit(':').next().unwrap_or_default();
    let end = execution.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_eq!(application.applied_migrations().await?, ["1", "2"]);
    assert_eq!(newest(account).await?["migrations"], "two");
    assert_eq!(ran(&application).await?, 2);

    let third = VersionSpec::meow().version("3").title("Woof");
    let third = built(account, third, "two")?;
    let end = application.release("v3", &third).await?;
    assert_left_out(account, &end, second).await?;
    assert_eq!(ran(&application).await?, 2);
    assert_runs(&application, &third.digest()).await?;
    assert_eq!(application.heading().await?, "Woof");

    // A rollback undoes no migration: version 3 comes back without one.
    let back = json!({"stack": STACK, "action": "rollback"});
    let end = account.start_execution(back).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&application, &meow.digest()).await?;
    let again = json!({"stack": STACK, "tag": "v3"});
    let end = account.start_execution(again).await?.end().await?;
    assert_left_out(account, &end, second).await?;
    assert_eq!(ran(&application).await?, 2);

    // A person has them run all the same.
    let asked = json!({"stack": STACK, "tag": "v3", "migrate": true});
    let end = account.start_execution(asked).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_eq!(ran(&application).await?, 3);
    Ok(())
}

/// What a migration leaves that has not exited 0, nobody knows.
pub(crate) async fn after_a_migration_that_failed_the_next_release_runs_its_own(
    account: &Account,
) -> Result<()> {
    let stack = "unknown-migrations";
    let posts = built(account, VersionSpec::posts(), "one")?;
    let application = account.create_application(stack, &posts).await?;
    application.migrate_first_image().await?;

    let bad = built(account, VersionSpec::bad_migration(), "three")?;
    let end = application.release("v2", &bad).await?;
    assert_failed(&end, "MigrationFailed", &[]);
    let records = account.releases(stack).await?;
    assert!(records[0].get("migrations").is_none(), "{}", records[0]);
    assert_eq!(ran(&application).await?, 2);

    let third = VersionSpec::posts().version("3").title("Woof");
    let third = built(account, third, "one")?;
    let end = application.release("v3", &third).await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_eq!(ran(&application).await?, 3);
    assert_runs(&application, &third.digest()).await?;
    let record = &account.releases(stack).await?[0];
    assert_eq!(record["migrations"], "one", "{record}");
    assert!(record.get("migrationsOf").is_none(), "{record}");
    Ok(())
}
