//! Watching a release, or a stack, until somebody has seen enough. Leaving changes nothing, and whoever comes
//! back finds it where it is by then.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::Pipeline;
use crate::screen::Screen;
use crate::status::{MigrationLog, Reader, Status};
use crate::world::World;

/// The longest time between two looks: the APIs that are asked have ten times as many requests free each second.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// So many looks in a row may fail: a request that is lost is no reason to stop.
const LOST_LOOKS: u32 = 5;

/// What is watched, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    pub stack: &'a StackName,
    /// ARN of an execution, with whose end the watch ends; `None`: the stack is watched until somebody leaves.
    pub execution: Option<&'a str>,
    /// `None`: without an end.
    pub limit: Option<Duration>,
}

impl Watch<'_> {
    /// Shows how things are until the end, and answers how the release ended.
    ///
    /// # Errors
    /// AWS does not answer several times in a row, or forbids it.
    pub async fn on(&self, world: &World, pipeline: Pipeline, mut screen: Screen) -> Result<Exit> {
        let mut last = None;
        let outcome = tokio::select! {
            outcome = self.look(world, pipeline, &mut screen, &mut last) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Left),
        };
        screen.end(last.as_ref());
        if matches!(outcome, Ok(Exit::Left | Exit::TimedOut)) && self.execution.is_some() {
            world.say.line(format!(
                "The release goes on. To see it again: bluegreen status {} --watch",
                self.stack.as_str()
            ));
        }
        outcome
    }

    async fn look(
        &self,
        world: &World,
        pipeline: Pipeline,
        screen: &mut Screen,
        last: &mut Option<Status>,
    ) -> Result<Exit> {
        let deadline = self.limit.map(|limit| Instant::now() + limit);
        let mut reader = Reader::of(world, pipeline, self.stack).await?;
        let mut log: Option<(String, MigrationLog)> = None;
        let mut lost = 0;
        loop {
            match reader.read(self.execution).await {
                Ok(status) => {
                    lost = 0;
                    follow(world, &status, &mut log, screen).await;
                    screen.show(&status);
                    let ended = status.release.as_ref().and_then(|it| it.ended.clone());
                    *last = Some(status);
                    if let (Some(ended), Some(_)) = (ended, self.execution) {
                        screen.line(&format!("{}: {}", ended.verdict, ended.cause));
                        return Ok(Exit::of(&ended.verdict));
                    }
                }
                Err(error) => {
                    lost += 1;
                    if last.is_none() || lost == LOST_LOOKS {
                        return Err(error);
                    }
                    screen.line(&format!("{error:#}"));
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Exit::TimedOut);
            }
            tokio::time::sleep(world.poll.min(LOOK)).await;
        }
    }
}

/// Shows what the migration's log has got. That it can not be read is told once, and no reason to look away.
async fn follow(
    world: &World,
    status: &Status,
    log: &mut Option<(String, MigrationLog)>,
    screen: &mut Screen,
) {
    let migration = status.release.as_ref().and_then(|it| it.migration.as_ref());
    let Some(task) = migration else {
        return;
    };
    if log.as_ref().is_none_or(|(of, _)| of != task) {
        match MigrationLog::of(world, task).await {
            Ok(new) => *log = Some((task.clone(), new)),
            Err(_) => return,
        }
    }
    if let Some((_, log)) = log {
        match log.new_lines().await {
            Ok(lines) => lines.iter().for_each(|line| screen.log(line)),
            Err(error) => {
                screen.line(&format!("{error:#}"));
                log.give_up();
            }
        }
    }
}
