//! How an event becomes a release: which stacks take an image, and the execution that brings it
//! there.

mod artifact;
mod execution;
mod glob;
mod stack;

pub use artifact::{is_other_artifact, is_referrer};
pub use execution::{BadStateMachineArn, StateMachine, name, start};
pub use stack::TakenTags;
