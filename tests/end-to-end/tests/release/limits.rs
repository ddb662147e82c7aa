//! What a stack says itself, in its outputs.

use anyhow::Result;
use end_to_end::account::Account;
use end_to_end::application::{Settings, WATCHED};
use sample::image::VersionSpec;

use crate::refused::{Running, assert_failed};

pub(crate) async fn a_stack_has_limits_of_its_own(account: &Account) -> Result<()> {
    let outputs = [
        ("MigrationTimeoutSeconds", "5"),
        ("RollbackWindowSeconds", "0"),
    ];
    let settings = Settings {
        outputs: &outputs,
        parameters: &[WATCHED],
        ..Settings::default()
    };
    let running = Running::with(account, "own-limits", settings).await?;
    let application = &running.application;

    let slow = VersionSpec::slow_migration(120).build(account.websvc())?;
    let end = application.release("v2", &slow).await?;
    assert_failed(&end, "MigrationTimedOut", &["5 seconds", "stopped"]);

    let alarm = application.alarm("ErrorAlarm").await?;
    alarm.raise().await?;
    let execution = account
        .execution_of_alarm("own-limits", alarm.name(), 1)
        .await?;
    let end = execution.end().await?;
    assert_eq!(end.output["verdict"], "nothingToRollBack", "{end:?}");
    let reason = end.output["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("more than 0 seconds before"), "{end:?}");
    running.assert_untouched().await
}
