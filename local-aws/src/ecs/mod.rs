//! The local ECS: tasks are processes of this machine, services replace them by deployments.
//!
//! It has four rooms, and each uses only those below it:
//!
//! - `api` answers requests,
//! - `life` is what happens in time,
//! - `rules` are plain functions that decide,
//! - `model` is what ECS knows.
//!
//! State is one structure behind one lock, held only for moments. Every task has a future that
//! lives its life (`life/lifecycle.rs`), every service one that looks after it
//! (`life/scheduler.rs`); they meet in the state, and a change of a task wakes the service it
//! belongs to.

mod api;
#[cfg(test)]
pub(crate) mod in_process;
mod life;
mod model;
#[cfg(test)]
mod rooms;
mod rules;

pub use life::control_plane::Ecs;
pub use life::settings::Settings;
pub use model::error::ApiError;
pub use model::task::Interruption;
