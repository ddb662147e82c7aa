//! What a person or a build does with releases by `bluegreen`.

use std::time::Duration;

use anyhow::Result;
use end_to_end::account::Account;
use end_to_end::command_line::{CommandLine, Said};
use local_aws::faults::Fault;
use sample::image::VersionSpec;
use serde_json::json;

use crate::released::{assert_runs, release_version_2, running};

const PATIENCE: Duration = Duration::from_secs(60);
const SMALL: (u16, u16) = (24, 80);
const LARGE: (u16, u16) = (50, 200);

#[track_caller]
fn assert_said(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, code, "{said:?}");
    for words in words {
        assert!(said.out.contains(words), "{words:?}: {said:?}");
    }
}

pub(crate) async fn a_person_deploys_watches_and_rolls_back_by_the_command_line(
    account: &Account,
) -> Result<()> {
    const STACK: &str = "by-terminal";
    let (application, posts) = running(account, STACK).await?;
    let meow = release_version_2(account, &application).await?;
    let bluegreen = CommandLine::new(account.aws())?;

    // What would happen, and nothing does.
    let plan = ["plan", STACK, "--tag", "v1", "--migrate"];
    assert_eq!(bluegreen.run(&plan).await?.code, 2);
    let plan = bluegreen.run(&plan[..4]).await?;
    let words = ["it would be released", "websvc migrate", "usual time"];
    assert_said(&plan, 0, &words);
    assert!(plan.out.contains(posts.digest().as_str()), "{plan:?}");
    assert_runs(&application, &meow.digest()).await?;

    // Version 1 by hand, watched in a terminal, left and waited for.
    let deploy = ["deploy", STACK, "--tag", "v1", "--no-migrate"];
    let begun = bluegreen.run(&deploy).await?;
    assert_said(
        &begun,
        0,
        &["has begun", "bluegreen status by-terminal --watch"],
    );
    let name = begun.out.split(' ').next().unwrap_or_default();
    let watch = ["status", STACK, "--watch"];
    let mut terminal = bluegreen.in_terminal(&watch, SMALL)?;
    let words = [
        "by-terminal: v1 is being released",
        "├─ deploy ",
        "● ",
        "└─ services",
    ];
    terminal.shows(&words, PATIENCE).await?;
    assert!(
        terminal
            .text()
            .lines()
            .all(|line| line.chars().count() <= 80)
    );
    terminal.resize(LARGE.0, LARGE.1)?;
    let words = [name, "● verify", "tasks run v1", "tasks run v2"];
    terminal.shows(&words, PATIENCE).await?;
    assert_eq!(terminal.leave(PATIENCE).await?, 0);
    terminal.shows(&words[..2], PATIENCE).await?;
    let waited = bluegreen.run(&["wait", STACK, "--release", name]).await?;
    assert_said(&waited, 0, &["succeeded: "]);
    assert!(!waited.aside.contains("UTC  migrate"), "{waited:?}");
    assert_runs(&application, &posts.digest()).await?;

    let status = bluegreen.json(&["status", STACK]).await?;
    let service = &status["services"][0];
    assert_eq!(service["revisions"][0]["version"], "v1", "{status}");
    assert_eq!(service["revisions"][0]["running"], 2, "{status}");
    assert_eq!(status["serves"]["version"], "v1", "{status}");
    assert_eq!(status.get("release"), None, "{status}");

    // Back to version 2, watched where nobody draws.
    let rollback = bluegreen.run(&["rollback", STACK, "--watch"]).await?;
    assert_said(
        &rollback,
        0,
        &["has begun", "UTC  roll back", "succeeded: "],
    );
    assert!(!rollback.out.contains('\u{1b}'), "{rollback:?}");
    assert_runs(&application, &meow.digest()).await?;

    // What it says of all that.
    let releases = bluegreen.run(&["releases", STACK, "--limit", "2"]).await?;
    let words = [
        "ACTION",
        "rollback",
        "rolledBack",
        "Those before: bluegreen releases",
    ];
    assert_said(&releases, 0, &words);
    let before = releases.out.trim().rsplit(' ').next().unwrap_or_default();
    let earlier = ["releases", STACK, "--before", before];
    let earlier = bluegreen.json(&earlier).await?;
    let tags = |records: &serde_json::Value| {
        let records = records.as_array().into_iter().flatten();
        records
            .map(|record| record["tag"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(tags(&earlier), [json!("v2"), json!("v1")]);
    let name = earlier[0]["item"]
        .as_str()
        .and_then(|key| key.rsplit('#').next());
    let show = ["show", STACK, name.unwrap_or_default()];
    let words = [
        "succeeded",
        "v2",
        "websvc migrate",
        "  migrate  ",
        "asked for by",
    ];
    assert_said(&bluegreen.run(&show).await?, 0, &words);
    let stats = bluegreen.json(&["stats", STACK]).await?;
    assert_eq!(stats["deployments"], 3, "{stats}");
    assert_eq!(stats["failed"], 1, "{stats}");
    let tasks = bluegreen.run(&["tasks", STACK]).await?;
    assert_said(&tasks, 0, &["VERSION", "v2", "RUNNING"]);

    // Every line has its task and its version, and so has that of the migration.
    let logs = bluegreen.run(&["logs", STACK, "--since", "1h"]).await?;
    assert_eq!(logs.code, 0, "{logs:?}");
    let of = |words: &str| logs.out.lines().filter(|line| line.contains(words)).count();
    assert!(of(" command ") > 0, "{logs:?}");
    assert!(of(&format!(" {} ", application.service())) > 0, "{logs:?}");
    assert!(
        logs.out.lines().all(|line| line.contains(" | ")),
        "{logs:?}"
    );
    Ok(())
}

pub(crate) async fn a_build_waits_for_the_verdict_of_what_it_has_pushed(
    account: &Account,
) -> Result<()> {
    const STACK: &str = "by-build";
    let (application, _) = running(account, STACK).await?;
    let summary = tempfile::NamedTempFile::new()?;
    let bluegreen = CommandLine::new(account.aws())?;
    let path = summary.path().display().to_string();
    let bluegreen = bluegreen.with("GITHUB_STEP_SUMMARY", Some(&path));

    let meow = VersionSpec::meow().build(account.websvc())?;
    let digest = application.push("v2", &meow).await?;
    let waited = bluegreen.run(&["wait", STACK, "--digest", &digest]).await?;
    assert_said(&waited, 0, &["succeeded"]);
    assert!(waited.aside.contains("UTC  verify"), "{waited:?}");
    assert_runs(&application, &digest).await?;
    // Whoever asks once more is told at once.
    let again = ["wait", STACK, "--tag", "v2", "--timeout", "1s"];
    assert_said(&bluegreen.run(&again).await?, 0, &["succeeded"]);

    let bad = VersionSpec::bad_migration().build(account.websvc())?;
    let refused = application.push("v3", &bad).await?;
    let waited = bluegreen
        .run(&["wait", STACK, "--digest", &refused])
        .await?;
    assert_said(&waited, 3, &["failed: ", "v3", "migration"]);
    assert_runs(&application, &digest).await?;
    let told = std::fs::read_to_string(summary.path())?;
    for words in [
        "### by-build: `v2` succeeded",
        "### by-build: `v3` failed",
        "- migration: ",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }

    let never = ["wait", STACK, "--tag", "never", "--timeout", "1s"];
    let waited = bluegreen.run(&never).await?;
    assert_said(
        &waited,
        7,
        &["a release of never has not begun within 1 seconds"],
    );
    Ok(())
}

pub(crate) async fn what_stands_in_the_way_is_said_in_a_sentence(account: &Account) -> Result<()> {
    let bluegreen = CommandLine::new(account.aws())?;
    let without_keys = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];
    let without_keys = without_keys
        .into_iter()
        .fold(bluegreen.clone(), |it, name| it.with(name, None));
    let elsewhere = bluegreen.clone().with("AWS_REGION", Some("eu-north-1"));
    let nowhere = bluegreen
        .clone()
        .with("AWS_ENDPOINT_URL", Some("http://127.0.0.1:9"));
    let no_region = bluegreen.clone().with("AWS_REGION", None);
    let no_region = no_region.with("AWS_DEFAULT_REGION", None);
    let verbs: [&[&str]; 8] = [
        &["status", "demo"],
        &["releases", "demo"],
        &["show", "demo"],
        &["deploy", "demo", "--tag", "v1"],
        &["rollback", "demo"],
        &["logs", "demo"],
        &["tasks", "demo"],
        &["stats", "demo"],
    ];
    for (who, words) in [
        (&without_keys, "There are no credentials: log in"),
        (&elsewhere, "There is no pipeline in region eu-north-1"),
        (&no_region, "No region is set: set AWS_REGION"),
    ] {
        for verb in verbs {
            assert_sentence(&who.run(verb).await?, words);
        }
    }
    let unreachable = nowhere.run(&["status", "demo"]).await?;
    assert_sentence(&unreachable, "Is there a connection");

    for (verb, words) in [
        (
            &["status", "nobody"][..],
            "There is no stack nobody in region",
        ),
        (&["logs", "nobody"], "There is no stack nobody in region"),
        (&["show", "nobody"], "Nothing was released to nobody yet."),
        (&["deploy", "nobody", "--digest", "v1"], "`digest`"),
        (
            &["plan", "nobody", "--tag", "v1"],
            "It would be refused as ",
        ),
    ] {
        assert_sentence(&bluegreen.run(verb).await?, words);
    }
    // All tries of the SDK are refused.
    let throttled = Fault::of("dynamodb", "Query").with("ThrottlingException");
    let of_nobody = json!({"ExpressionAttributeValues": {":stack": {"S": "nobody"}}});
    let throttled = throttled.where_request_contains(of_nobody).times(3);
    let throttled = account.aws().fail(throttled).await?;
    let refused = bluegreen.run(&["releases", "nobody"]).await?;
    assert_sentence(&refused, "try again in a minute");
    assert_eq!(throttled.struck().await?, 3);
    let nothing = bluegreen.run(&["releases", "nobody"]).await?;
    assert_said(&nothing, 0, &["Nothing was released to nobody yet."]);
    Ok(())
}

#[track_caller]
fn assert_sentence(said: &Said, words: &str) {
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.aside.contains(words), "{words:?}: {said:?}");
    assert_eq!(said.aside.trim().lines().count(), 1, "{said:?}");
}
