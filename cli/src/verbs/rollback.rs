//! `bluegreen rollback`: an earlier release serves again.

use anyhow::Result;
use bluegreen_contract::{ExecutionInput, RequestedAction};
use clap::Args;

use super::begin;
use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::{Pipeline, asker};
use crate::world::World;

/// Where to go back to.
#[derive(Args, Clone, Debug)]
pub struct Rollback {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    /// The release to go back to, by its id in `bluegreen releases`; without it the last good one.
    #[arg(long, value_name = "RELEASE")]
    pub to: Option<String>,
    /// Roll back although ECR does not have the image any more, or a contract command has run since.
    #[arg(long)]
    pub force: bool,
    /// Show how it goes, and exit with its verdict.
    #[arg(long)]
    pub watch: bool,
}

/// Begins the rollback, and watches it where that is asked for.
///
/// # Errors
/// There is no pipeline, the input is wrong, or AWS refuses.
pub async fn run(world: &World, asked: &Rollback) -> Result<Exit> {
    let pipeline = Pipeline::find(world).await?;
    let input = ExecutionInput {
        stack: asked.stack.as_str().to_owned(),
        action: RequestedAction::Rollback,
        to: asked.to.clone(),
        force: asked.force,
        started_by: Some(asker(world).await?),
        ..ExecutionInput::default()
    };
    let begun = (input, RequestedAction::Rollback.word());
    begin(world, pipeline, &asked.stack, begun, asked.watch).await
}
