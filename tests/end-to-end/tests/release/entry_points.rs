//! Images whose entry point takes a command otherwise than as a command. A migration that exits 0 has
//! migrated, or nothing is deployed.

use anyhow::Result;
use end_to_end::account::Account;
use end_to_end::application::Settings;
use sample::image::VersionSpec;
use serde_json::json;

use crate::refused::{Running, assert_failed};
use crate::released::assert_runs;

/// README's own example, and the talk's own Dockerfile.
const RAILS: (&str, &str) = ("MigrationCommand", r#"["rails","db:migrate"]"#);

/// `sh -c rails db:migrate` would run `rails` alone, which exits 0
/// (dagster-io/dagster#9562, fabfuel/ecs-deploy#23).
pub(crate) async fn an_image_whose_entry_point_is_a_shell_is_migrated(
    account: &Account,
) -> Result<()> {
    let posts = VersionSpec::posts().behind_a_shell();
    let posts = posts.build(account.websvc())?;
    let application = account
        .create_application_with("shell", &posts, &[RAILS])
        .await?;
    application.migrate_first_image().await?;
    assert_eq!(application.applied_migrations().await?, ["1"]);

    let meow = VersionSpec::meow().behind_a_shell();
    let meow = meow.build(account.websvc())?;
    let end = application.release("v2", &meow).await?;

    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_eq!(application.applied_migrations().await?, ["1", "2"]);
    assert_runs(&application, &meow.digest()).await?;
    assert_eq!(application.heading().await?, "MEOW MEOW");
    let records = account.releases("shell").await?;
    let ran = json!(["sh", "-c", "rails db:migrate"]).to_string();
    assert_eq!(records[0]["migrationCommand"], ran);
    Ok(())
}

/// `ENTRYPOINT websvc serve` in a Dockerfile is a shell with a script of its own, which does nothing
/// with a command.
pub(crate) async fn an_image_whose_entry_point_ignores_the_migration_is_refused(
    account: &Account,
) -> Result<()> {
    let running = Running::with(account, "ignores", Settings::default()).await?;
    let application = &running.application;

    let ignores = VersionSpec::meow().entry_point(["sh", "-c", "exec websvc serve"]);
    let ignores = ignores.build(account.websvc())?;
    let execution = application.push_and_notice("v2", &ignores).await?;
    let end = execution.end().await?;

    let told = [
        "`websvc migrate` would not run",
        "`exec websvc serve` would run instead",
    ];
    assert_failed(&end, "EntryPointIgnoresCommand", &told);
    assert_eq!(application.applied_migrations().await?, ["1"]);
    running.assert_untouched().await
}
