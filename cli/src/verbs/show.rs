//! `bluegreen show`: all that is known of one release.

use anyhow::{Result, bail};
use bluegreen_release::{Record, Table};
use clap::Args;
use serde_json::json;

use super::releases;
use crate::columns::columns;
use crate::exit::Exit;
use crate::history::{Step, Way, steps};
use crate::names::StackName;
use crate::pipeline::Pipeline;
use crate::status::version;
use crate::trouble::asked;
use crate::world::World;

/// Of which release.
#[derive(Args, Clone, Debug)]
pub struct Show {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    /// The release, by its id in `bluegreen releases`; without it the newest.
    pub release: Option<String>,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Shows it.
///
/// # Errors
/// There is no pipeline or no such release, or AWS does not answer.
pub async fn run(world: &World, asked: &Show) -> Result<Exit> {
    let pipeline = Pipeline::find(world).await?;
    let record = find(&pipeline.table, &asked.stack, asked.release.as_deref()).await?;
    let mut way = Way::default();
    let told = match &record.execution {
        Some(execution) => way.follow(&pipeline.sfn, execution).await,
        None => Ok(()),
    };
    let steps = steps(&way.stays);
    if asked.json {
        let records = [record];
        let running = releases::running(&pipeline.sfn, &records).await;
        let mut json = releases::json(&records, &running)?[0].take();
        json["steps"] = json!(steps);
        world.say.line(serde_json::to_string_pretty(&json)?);
    } else {
        world.say.line(page(&record, &steps));
        if let Err(error) = told {
            // Step Functions forgets an execution after 90 days; its record stays.
            world
                .say
                .line(format!("Its phases are not known: {error:#}"));
        }
    }
    Ok(Exit::Done)
}

/// A release of the stack; without a name the newest.
async fn find(table: &Table, stack: &StackName, name: Option<&str>) -> Result<Record> {
    let mut records = table.records(stack.as_str());
    while let Some(record) = records.next().await.map_err(asked)? {
        if name.is_none_or(|name| record.name() == name) {
            return Ok(record);
        }
    }
    let stack = stack.as_str();
    match name {
        Some(name) => {
            bail!("Stack {stack} has no release {name}. Its releases: bluegreen releases {stack}")
        }
        None => bail!("Nothing was released to {stack} yet."),
    }
}

fn page(record: &Record, steps: &[Step]) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            rows.push([name.to_owned(), value]);
        }
    };
    let seconds = |value: Option<f64>| value.map(|value| format!("{value:.1} s"));
    let all = record.seconds.clone().unwrap_or_default();
    row("release", Some(record.name().to_owned()));
    row("action", Some(record.action.word().to_owned()));
    row("verdict", Some(record.verdict.clone()));
    row("version", version(record));
    row("image", record.image.clone());
    row("commit", record.commit.clone());
    row("", record.commit_url.clone());
    row("asked for by", record.started_by.clone());
    row("pushed", record.pushed_at.clone());
    row("started", record.started_at.clone());
    row("finished", record.finished_at.clone());
    row("lasted", seconds(all.total));
    row("until its turn", seconds(all.until_turn));
    row("migration", seconds(all.migration));
    let command =
        (!record.migration_command.is_empty()).then(|| record.migration_command.join(" "));
    row("", command);
    row("", record.migration.clone());
    row(
        "migrations",
        record
            .migrations_of
            .as_ref()
            .map(|of| format!("those of {of}, which were not run again")),
    );
    row("deployment", seconds(all.deployment));
    row("waits", record.awaits.clone());
    row("error", record.error.clone());
    row("execution", record.execution.clone());
    for service in &record.services {
        row("service", Some(service.service.clone()));
        row("", Some(service.task_definition.clone()));
    }
    for step in steps {
        let now = jiff::Timestamp::now();
        let time = step.from.strftime("%H:%M:%S");
        let word = step.phase.word();
        row(
            "phase",
            Some(format!("{time}  {word}  {:.1} s", step.seconds(now))),
        );
    }
    let mut page = columns(rows);
    if let Some(cause) = &record.cause {
        page += &format!("\n\n{cause}");
    }
    page
}

#[cfg(test)]
mod tests {
    use bluegreen_release::Seconds;
    use jiff::Timestamp;

    use super::*;
    use crate::history::Phase;

    #[test]
    fn a_page_has_what_is_known_and_nothing_empty() {
        let record = Record {
            key: "release#2026-05-04T09:10:11.123Z#shop-v42".to_owned(),
            verdict: "failed".to_owned(),
            tag: Some("v42".to_owned()),
            cause: Some("The migration exited 1.\nIts last lines: …".to_owned()),
            seconds: Some(Seconds {
                total: Some(12.54),
                ..Seconds::default()
            }),
            ..Record::default()
        };
        let at = |second: i64| Timestamp::from_second(1_777_885_811 + second).unwrap();
        let step = Step {
            phase: Phase::Migrate,
            state: "CheckExitCode".to_owned(),
            from: at(0),
            to: Some(at(7)),
        };
        let page = page(&record, &[step]);
        for line in ["release", "shop-v42", "12.5 s", "09:10:11  migrate  7.0 s"] {
            assert!(page.contains(line), "{page}");
        }
        assert!(
            page.ends_with("\n\nThe migration exited 1.\nIts last lines: …"),
            "{page}"
        );
        for absent in ["commit", "pushed", "until its turn", "service"] {
            assert!(!page.contains(absent), "{page}");
        }
    }
}
