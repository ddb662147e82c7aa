//! `bluegreen logs`: what all tasks of a stack write, in one stream.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::time::Duration;

use anyhow::{Result, ensure};
use aws_sdk_cloudwatchlogs::config::Region;
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use bluegreen_contract::printable;
use clap::Args;
use jiff::Timestamp;

use crate::duration::duration;
use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::Pipeline;
use crate::services::{describe_tasks, described, name_of, services_of};
use crate::status::{Versions, newest};
use crate::trouble::{asked, failed};
use crate::watch::LOOK;
use crate::world::World;

/// By so many releases the tasks are told apart.
const RECORDS: usize = 50;
/// The log driver delivers in batches: a line may come so much later than one that is younger.
const LATE: i64 = 10_000;

/// Which lines.
#[derive(Args, Clone, Debug)]
pub struct Logs {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    /// Go on showing what comes, until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
    /// Of this service alone, by the last part of its name.
    #[arg(long)]
    pub service: Option<String>,
    /// From so long ago on, such as 30m or 2d.
    #[arg(long, value_parser = duration, default_value = "10m")]
    pub since: Duration,
    /// Lines that match a pattern of CloudWatch Logs alone, such as ERROR or '"two words"'.
    #[arg(long)]
    pub filter: Option<String>,
}

/// Shows them.
///
/// # Errors
/// There is no such stack, none of its containers writes to CloudWatch Logs, or AWS does not answer.
pub async fn run(world: &World, wanted: &Logs) -> Result<Exit> {
    let pipeline = Pipeline::find(world).await?;
    let mut reader = Reader::of(world, &pipeline, wanted).await?;
    let since = i64::try_from(wanted.since.as_millis()).unwrap_or(i64::MAX);
    let mut from = Timestamp::now().as_millisecond().saturating_sub(since);
    loop {
        let lines = tokio::select! {
            lines = reader.read(from, wanted.filter.as_deref()) => lines?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        };
        let mut out = std::io::stdout().lock();
        for line in &lines {
            // Nobody reads on.
            if writeln!(out, "{}", printable(&line.text)).is_err() {
                return Ok(Exit::Done);
            }
        }
        drop(out);
        if !wanted.follow {
            return Ok(Exit::Done);
        }
        if let Some(last) = lines.last() {
            from = from.max(last.at - LATE);
        }
        reader.forget(from);
        tokio::select! {
            () = tokio::time::sleep(world.poll.min(LOOK)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

/// A line and its time, milliseconds since 1970.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    at: i64,
    text: String,
}

/// A group of CloudWatch Logs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    region: String,
    name: String,
}

/// Whose task writes into a stream.
#[derive(Clone, Debug)]
struct Writer {
    service: String,
    version: String,
}

#[derive(Debug)]
struct Reader {
    ecs: aws_sdk_ecs::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    clusters: BTreeSet<String>,
    /// How the names of the containers' streams begin, in each group.
    groups: BTreeMap<Group, BTreeSet<String>>,
    service: Option<String>,
    versions: Versions,
    /// By the task's id; `None`: ECS has forgotten it.
    writers: HashMap<String, Option<Writer>>,
    /// Ids of the events that were shown, with their times.
    shown: HashMap<String, i64>,
}

impl Reader {
    async fn of(world: &World, pipeline: &Pipeline, wanted: &Logs) -> Result<Self> {
        let ecs = aws_sdk_ecs::Client::new(&world.config);
        let services = services_of(world, &wanted.stack).await?;
        let clusters = services
            .iter()
            .map(|(cluster, _)| cluster.clone())
            .collect();
        let found = described(&ecs, &services).await?;
        if let Some(service) = &wanted.service {
            let names: Vec<_> = found.keys().map(|arn| name_of(arn)).collect();
            ensure!(
                names.contains(&service.as_str()),
                "Stack {} has no service {service}. It has: {}",
                wanted.stack.as_str(),
                names.join(", ")
            );
        }
        let revisions: BTreeSet<&str> = found
            .values()
            .flat_map(|service| {
                let deployments = service.deployments().iter();
                let all = deployments.filter_map(|it| it.task_definition());
                all.chain(service.task_definition())
            })
            .collect();
        let mut groups: BTreeMap<Group, BTreeSet<String>> = BTreeMap::new();
        for revision in revisions {
            let revision = bluegreen_ecs::describe_task_definition(&ecs, revision).await;
            let revision = revision.map_err(asked)?.task_definition;
            let region = world.region();
            for container in revision.container_definitions() {
                let container = container.name().unwrap_or_default();
                // The stream of a task without an id is what the streams of all its tasks begin with.
                let anyone = format!("arn:aws:ecs:{region}:0:task/");
                if let Some(it) = bluegreen_logs::location(&revision, container, &anyone) {
                    let group = Group {
                        region: it.region,
                        name: it.group,
                    };
                    groups.entry(group).or_default().insert(it.stream);
                }
            }
        }
        ensure!(
            !groups.is_empty(),
            "No container of stack {} writes to CloudWatch Logs by the driver awslogs with a stream prefix.",
            wanted.stack.as_str()
        );
        Ok(Self {
            ecs,
            logs: aws_sdk_cloudwatchlogs::Client::new(&world.config),
            clusters,
            groups,
            service: wanted.service.clone(),
            versions: Versions::of(newest(pipeline, wanted.stack.as_str(), RECORDS).await?),
            writers: HashMap::new(),
            shown: HashMap::new(),
        })
    }

    /// The lines since `from` that were not shown yet, the oldest first.
    async fn read(&mut self, from: i64, filter: Option<&str>) -> Result<Vec<Line>> {
        let mut events = Vec::new();
        for (group, prefixes) in &self.groups {
            let logs = self.of_region(&group.region);
            let mut pages = logs
                .filter_log_events()
                .log_group_name(&group.name)
                .start_time(from)
                .set_filter_pattern(filter.map(str::to_owned))
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| {
                    failed(error, &format!("Log group {} can not be read", group.name))
                })?;
                let is_of_stack = |event: &FilteredLogEvent| {
                    let stream = event.log_stream_name().unwrap_or_default();
                    prefixes.iter().any(|prefix| stream.starts_with(prefix))
                };
                events.extend(
                    page.events
                        .unwrap_or_default()
                        .into_iter()
                        .filter(is_of_stack),
                );
            }
        }
        events.retain(|event| {
            let id = event.event_id().unwrap_or_default().to_owned();
            let at = event.timestamp().unwrap_or_default();
            self.shown.insert(id, at).is_none()
        });
        events.sort_by_key(FilteredLogEvent::timestamp);
        self.meet(&events).await?;
        Ok(events.iter().filter_map(|event| self.line(event)).collect())
    }

    fn of_region(&self, region: &str) -> aws_sdk_cloudwatchlogs::Client {
        let config = self.logs.config();
        if config.region().is_some_and(|own| own.as_ref() == region) {
            return self.logs.clone();
        }
        let config = config.to_builder().region(Region::new(region.to_owned()));
        aws_sdk_cloudwatchlogs::Client::from_conf(config.build())
    }

    /// Learns of the tasks that have written for the first time.
    async fn meet(&mut self, events: &[FilteredLogEvent]) -> Result<()> {
        let unknown: BTreeSet<String> = events
            .iter()
            .map(|event| task_of(event).to_owned())
            .filter(|task| !self.writers.contains_key(task))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown: Vec<String> = unknown.into_iter().collect();
        for cluster in &self.clusters {
            for task in describe_tasks(&self.ecs, cluster, &unknown).await? {
                let arn = task.task_arn().unwrap_or_default();
                let group = task.group().unwrap_or_default();
                let writer = Writer {
                    service: match group.strip_prefix("service:") {
                        Some(service) => service.to_owned(),
                        None => "command".to_owned(),
                    },
                    version: self
                        .versions
                        .of_task(arn, task.task_definition_arn().unwrap_or_default()),
                };
                self.writers.insert(name_of(arn).to_owned(), Some(writer));
            }
        }
        for task in unknown {
            self.writers.entry(task).or_default();
        }
        Ok(())
    }

    /// `None` of another service than the one that is wanted.
    fn line(&self, event: &FilteredLogEvent) -> Option<Line> {
        let at = event.timestamp()?;
        let task = task_of(event);
        let writer = self.writers.get(task).and_then(Option::as_ref);
        if let Some(wanted) = &self.service
            && writer.is_none_or(|writer| writer.service != *wanted)
        {
            return None;
        }
        let (service, version) = writer.map_or(("?", "?"), |writer| {
            (writer.service.as_str(), writer.version.as_str())
        });
        let time = Timestamp::from_millisecond(at).ok()?;
        let time = time.strftime("%H:%M:%S%.3f");
        let task = task.get(..8).unwrap_or(task);
        let message = event.message().unwrap_or_default().trim_end();
        Some(Line {
            at,
            text: format!("{time} {service} {task} {version} | {message}"),
        })
    }

    /// Events from before are not read again.
    fn forget(&mut self, before: i64) {
        self.shown.retain(|_, at| *at >= before);
    }
}

/// The id of the task in the name of its stream, `PREFIX/CONTAINER/TASK`.
fn task_of(event: &FilteredLogEvent) -> &str {
    name_of(event.log_stream_name().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatchlogs::operation::filter_log_events::FilterLogEventsOutput;
    use aws_sdk_ecs::operation::describe_tasks::DescribeTasksOutput;
    use aws_sdk_ecs::types::Task;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    use super::*;

    fn event(id: &str, at: i64, stream: &str, message: &str) -> FilteredLogEvent {
        FilteredLogEvent::builder()
            .event_id(id)
            .timestamp(at)
            .log_stream_name(stream)
            .message(message)
            .build()
    }

    fn reader(service: Option<&str>, pages: Vec<Vec<FilteredLogEvent>>) -> Reader {
        let answers = mock!(aws_sdk_cloudwatchlogs::Client::filter_log_events)
            .match_requests(|request| request.log_group_name() == Some("/ecs/shop"))
            .then_compute_output(move |request| {
                let page: usize = request.next_token().map_or(0, |it| it.parse().unwrap());
                let next = (page + 1 < pages.len()).then(|| (page + 1).to_string());
                FilterLogEventsOutput::builder()
                    .set_events(Some(pages[page].clone()))
                    .set_next_token(next)
                    .build()
            });
        let tasks = mock!(aws_sdk_ecs::Client::describe_tasks).then_output(|| {
            let task = |id: &str, group: &str| {
                Task::builder()
                    .task_arn(format!("arn:aws:ecs:r:1:task/shop/{id}"))
                    .task_definition_arn("arn:aws:ecs:r:1:task-definition/shop-web:7")
                    .group(group)
                    .build()
            };
            DescribeTasksOutput::builder()
                .tasks(task("11111111aaaa", "service:web"))
                .tasks(task("22222222bbbb", "family:shop-web-bluegreen-migration"))
                .build()
        });
        let group = Group {
            region: "us-east-1".to_owned(),
            name: "/ecs/shop".to_owned(),
        };
        let prefixes = BTreeSet::from(["app/web/".to_owned()]);
        Reader {
            ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&tasks]),
            logs: mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, &[&answers]),
            clusters: BTreeSet::from(["arn:cluster/shop".to_owned()]),
            groups: BTreeMap::from([(group, prefixes)]),
            service: service.map(str::to_owned),
            versions: Versions::default(),
            writers: HashMap::new(),
            shown: HashMap::new(),
        }
    }

    fn pages() -> Vec<Vec<FilteredLogEvent>> {
        vec![
            vec![
                event("2", 2000, "app/web/11111111aaaa", "second\n"),
                event("1", 1000, "app/web/22222222bbbb", "first"),
            ],
            vec![
                event("3", 3000, "app/web/33333333cccc", "third"),
                event("4", 3000, "other/web/44444444dddd", "of somebody else"),
            ],
        ]
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[tokio::test]
    async fn lines_of_all_tasks_come_in_their_order_each_with_its_task_and_version_and_once() {
        let mut reader = reader(None, pages());
        let lines = reader.read(0, None).await.unwrap();
        let expected = [
            "00:00:01.000 command 22222222 shop-web:7 | first",
            "00:00:02.000 web 11111111 shop-web:7 | second",
            "00:00:03.000 ? 33333333 ? | third",
        ];
        assert_eq!(texts(&lines), expected);
        assert_eq!(reader.read(0, None).await.unwrap(), []);
        reader.forget(3000);
        let again = reader.read(0, None).await.unwrap();
        assert_eq!(texts(&again), expected[..2]);
    }

    #[tokio::test]
    async fn of_one_service_others_are_left_out() {
        let mut reader = reader(Some("web"), pages());
        let lines = reader.read(0, None).await.unwrap();
        assert_eq!(
            texts(&lines),
            ["00:00:02.000 web 11111111 shop-web:7 | second"]
        );
    }
}
