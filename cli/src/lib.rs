//! Everything that a person does with an application and its releases: `bluegreen`, one verb one file.
//!
//! The templates of `infra/` know nothing of one another but the names of their parameters and
//! outputs. This crate knows their order, hands the outputs of one stack to the next, and tells a
//! person what CloudFormation does meanwhile. Of releases it shows what the pipeline's table, Step Functions and
//! ECS tell. It keeps no state of its own: what exists, it asks AWS, so that it can be called again after whatever
//! went wrong.

pub mod arguments;
pub mod artifacts;
pub mod cli;
mod columns;
pub mod duration;
pub mod events;
pub mod exit;
pub mod first_image;
pub mod first_release;
pub mod history;
#[cfg(feature = "local")]
pub mod local;
#[cfg(not(feature = "local"))]
#[path = "without_local.rs"]
pub mod local;
pub mod names;
pub mod pipeline;
pub mod running;
pub mod say;
pub mod screen;
mod service_roles;
pub mod services;
pub mod stacks;
pub mod status;
pub mod template;
pub mod tree;
mod trouble;
pub mod verbs;
pub mod watch;
pub mod world;
