//! From an empty account to a running application, and back: what `make up`, `make down` and
//! `make releases` do.
//!
//! The templates of `infra/` know nothing of one another but the names of their parameters and
//! outputs. This crate knows their order, hands the outputs of one stack to the next, and tells a
//! person what CloudFormation does meanwhile. It keeps no state of its own: what exists, it asks
//! AWS, so that it can be called again after whatever went wrong.

pub mod artifacts;
pub mod cli;
pub mod down;
pub mod events;
pub mod first_image;
pub mod first_release;
#[cfg(feature = "local")]
pub mod local;
#[cfg(not(feature = "local"))]
#[path = "without_local.rs"]
pub mod local;
pub mod names;
pub mod releases;
pub mod running;
pub mod say;
mod service_roles;
pub mod stacks;
pub mod template;
pub mod up;
pub mod world;
