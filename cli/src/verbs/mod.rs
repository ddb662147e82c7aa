//! What a person can say, one verb one file.

pub mod contract;
pub mod deploy;
pub mod down;
pub mod logs;
pub mod man;
pub mod plan;
pub mod releases;
pub mod rollback;
pub mod show;
pub mod stats;
pub mod status;
pub mod tasks;
pub mod up;
pub mod wait;

use anyhow::Result;
use bluegreen_contract::{ExecutionInput, name_of};

use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::Pipeline;
use crate::screen::Screen;
use crate::watch::Watch;
use crate::world::World;

/// Begins an execution, says so, and watches it where a person wants that.
async fn begin(
    world: &World,
    pipeline: Pipeline,
    stack: &StackName,
    (input, label): (ExecutionInput, &str),
    watch: bool,
) -> Result<Exit> {
    let execution = pipeline.start(&input, label).await?;
    let (name, stack_name) = (name_of(&execution), stack.as_str());
    world.say.line(format!("{name} has begun"));
    if !watch {
        world.say.line(format!(
            "To watch it: bluegreen status {stack_name} --watch. To wait for its end: bluegreen wait \
             {stack_name} --release {name}"
        ));
        return Ok(Exit::Done);
    }
    let watch = Watch {
        stack,
        execution: Some(&execution),
        limit: None,
    };
    watch.on(world, pipeline, Screen::new(&world.say)).await
}
