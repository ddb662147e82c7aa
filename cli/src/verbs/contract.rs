//! `bluegreen contract`: what only earlier releases need is removed.

use anyhow::Result;
use bluegreen_contract::{ExecutionInput, RequestedAction};
use clap::Args;

use super::begin;
use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::{Pipeline, asker};
use crate::world::World;

/// Whose contract command.
#[derive(Args, Clone, Debug)]
pub struct Contract {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    /// The repository, where the stack runs images of several.
    #[arg(long)]
    pub repository: Option<String>,
    /// Run it before its time, or once more.
    #[arg(long)]
    pub force: bool,
    /// Run it although a deployment alarm of the services is in ALARM.
    #[arg(long)]
    pub ignore_alarms: bool,
    /// Show how it goes, and exit with its verdict.
    #[arg(long)]
    pub watch: bool,
}

/// Begins the execution, and watches it where that is asked for.
///
/// # Errors
/// There is no pipeline, the input is wrong, or AWS refuses.
pub async fn run(world: &World, asked: &Contract) -> Result<Exit> {
    let pipeline = Pipeline::find(world).await?;
    let input = ExecutionInput {
        stack: asked.stack.as_str().to_owned(),
        action: RequestedAction::Contract,
        repository: asked.repository.clone(),
        force: asked.force,
        ignore_alarms: asked.ignore_alarms,
        started_by: Some(asker(world).await?),
        ..ExecutionInput::default()
    };
    let begun = (input, RequestedAction::Contract.word());
    begin(world, pipeline, &asked.stack, begun, asked.watch).await
}
