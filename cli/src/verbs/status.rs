//! `bluegreen status`: what a stack does now.

use anyhow::Result;
use clap::Args;

use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::Pipeline;
use crate::screen::Screen;
use crate::status::{Reader, tree};
use crate::tree::print;
use crate::watch::Watch;
use crate::world::World;

/// Of which stack, and for how long.
#[derive(Args, Clone, Debug)]
pub struct ShowStatus {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    /// Go on showing it, until Ctrl-C. Leaving changes nothing.
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Shows it.
///
/// # Errors
/// There is no pipeline or no such stack, or AWS does not answer.
pub async fn run(world: &World, asked: &ShowStatus) -> Result<Exit> {
    let pipeline = Pipeline::find(world).await?;
    if asked.watch {
        let watch = Watch {
            stack: &asked.stack,
            execution: None,
            limit: None,
        };
        let left = watch.on(world, pipeline, Screen::new(&world.say)).await?;
        return Ok(match left {
            Exit::Left => Exit::Done,
            other => other,
        });
    }
    let mut reader = Reader::of(world, pipeline, &asked.stack).await?;
    let status = reader.read(None).await?;
    if asked.json {
        world.say.line(serde_json::to_string_pretty(&status)?);
    } else {
        print(&tree(&status))?;
    }
    Ok(Exit::Done)
}
