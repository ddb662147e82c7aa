//! The contract step of an expand/contract migration: what only earlier releases need is removed when
//! nothing goes back to them by itself any more.

use anyhow::Result;
use end_to_end::account::Account;
use end_to_end::application::Application;
use end_to_end::execution::End;
use sample::image::VersionSpec;
use serde_json::{Value, json};

use crate::refused::{assert_failed, assert_told};
use crate::released::assert_runs;

const STACK: &str = "contracts";
/// The table is version 1's alone.
const CONTRACT: &str =
    "#!/bin/sh\nexec /usr/bin/psql --no-psqlrc \"$DATABASE_URL\" --command 'DROP TABLE drafts'\n";
/// Seconds in which an alarm takes a release back.
const WINDOW: &str = "20";

async fn contracts_by_hand(account: &Account, more: Value) -> Result<End> {
    let mut input = json!({"stack": STACK, "action": "contract"});
    let members = input.as_object_mut().into_iter();
    members.for_each(|members| members.extend(more.as_object().cloned().unwrap_or_default()));
    account.start_execution(input).await?.end().await
}

async fn rolls_back(account: &Account, force: bool) -> Result<End> {
    let input = json!({"stack": STACK, "action": "rollback", "force": force});
    account.start_execution(input).await?.end().await
}

async fn has_drafts(account: &Account, application: &Application<'_>) -> Result<bool> {
    let database = application.database();
    let found = "SELECT to_regclass('drafts')";
    let rows = account.postgres().query(&database, found).await?;
    Ok(rows.iter().flatten().flatten().count() > 0)
}

pub(crate) async fn what_only_earlier_releases_need_is_removed_when_no_alarm_goes_back_to_them(
    account: &Account,
) -> Result<()> {
    let posts = VersionSpec::posts()
        .migration("0009_make_drafts.sql", "CREATE TABLE drafts ();\n")
        .build(account.websvc())?;
    let outputs = [
        ("ContractCommand", r#"["remove-drafts"]"#),
        ("RollbackWindowSeconds", WINDOW),
    ];
    let application = account
        .create_application_with(STACK, &posts, &outputs)
        .await?;
    application.migrate_first_image().await?;
    let meow = VersionSpec::meow()
        .script("remove-drafts", CONTRACT)
        .build(account.websvc())?;
    let end = application.release("v2", &meow).await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");

    let early = contracts_by_hand(account, json!({})).await?;
    assert_eq!(early.output["verdict"], "nothingToContract", "{early:?}");
    assert_told(&early, &["an alarm would roll v2 back until"]);
    assert!(has_drafts(account, &application).await?);

    let contract = account.execution_of_contract(STACK).await?;
    let end = contract.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_told(&end, &["The contract command of v2 exited 0"]);
    assert!(!has_drafts(account, &application).await?);
    assert_runs(&application, &meow.digest()).await?;
    let records = account.releases(STACK).await?;
    assert_eq!(records[0]["action"], "contract", "{records:?}");
    assert_eq!(records[0]["contracts"], records[1]["item"], "{records:?}");

    let again = contracts_by_hand(account, json!({})).await?;
    assert_eq!(again.output["verdict"], "nothingToContract", "{again:?}");
    assert_told(&again, &["it has run for v2 already", contract.name()]);

    let past = rolls_back(account, false).await?;
    assert_failed(
        &past,
        "ReleaseContracted",
        &["v2", contract.name(), "\"force\": true"],
    );
    assert_runs(&application, &meow.digest()).await?;

    // There is no such table any more.
    let forced = contracts_by_hand(account, json!({"force": true})).await?;
    assert_failed(&forced, "ContractFailed", &["drafts", "they run v2"]);
    assert_runs(&application, &meow.digest()).await?;

    let back = rolls_back(account, true).await?;
    assert_eq!(back.output["verdict"], "succeeded", "{back:?}");
    assert_runs(&application, &posts.digest()).await
}
