//! `bluegreen deploy`: an image that is in the repository goes into service.

use anyhow::Result;
use bluegreen_contract::{ExecutionInput, RequestedAction};
use clap::Args;

use super::begin;
use crate::exit::Exit;
use crate::names::StackName;
use crate::pipeline::{Pipeline, asker};
use crate::world::World;

/// Which image, and how.
#[derive(Args, Clone, Debug)]
pub struct Deploy {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    #[command(flatten)]
    pub image: Image,
    /// Leave the stack's migration out.
    #[arg(long, conflicts_with = "migrate")]
    pub no_migrate: bool,
    /// Run the migration also for an image that is deployed already, or has the migrations of the one before.
    #[arg(long)]
    pub migrate: bool,
    /// Deploy although a later push was deployed already.
    #[arg(long)]
    pub force: bool,
    /// Deploy although a deployment alarm of the services is in ALARM.
    #[arg(long)]
    pub ignore_alarms: bool,
    /// Show how it goes, and exit with its verdict.
    #[arg(long)]
    pub watch: bool,
}

/// One image of a repository.
#[derive(Args, Clone, Debug)]
pub struct Image {
    /// The image's tag.
    #[arg(long, required_unless_present = "digest")]
    pub tag: Option<String>,
    /// The image's digest, sha256:… It counts where both are given.
    #[arg(long)]
    pub digest: Option<String>,
    /// The repository, where the stack runs images of several.
    #[arg(long)]
    pub repository: Option<String>,
}

impl Image {
    /// The input that asks for it.
    #[must_use]
    pub fn input(&self, stack: &StackName) -> ExecutionInput {
        ExecutionInput {
            stack: stack.as_str().to_owned(),
            action: RequestedAction::Deploy,
            tag: self.tag.clone(),
            digest: self.digest.clone(),
            repository: self.repository.clone(),
            ..ExecutionInput::default()
        }
    }

    fn label(&self) -> &str {
        let digest = || {
            self.digest
                .as_deref()
                .map(|it| it.trim_start_matches("sha256:"))
        };
        let tag = self.tag.as_deref();
        tag.or_else(digest).unwrap_or_default()
    }
}

/// Begins the release, and watches it where that is asked for.
///
/// # Errors
/// There is no pipeline, the input is wrong, or AWS refuses.
pub async fn run(world: &World, asked: &Deploy) -> Result<Exit> {
    let pipeline = Pipeline::find(world).await?;
    let input = ExecutionInput {
        migrate: match (asked.migrate, asked.no_migrate) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        force: asked.force,
        ignore_alarms: asked.ignore_alarms,
        started_by: Some(asker(world).await?),
        ..asked.image.input(&asked.stack)
    };
    let begun = (input, asked.image.label());
    begin(world, pipeline, &asked.stack, begun, asked.watch).await
}
