//! How an event becomes a release: which stacks take an image, and the execution that brings it
//! there.

mod execution;
mod stack;

pub use execution::{BadStateMachineArn, StateMachine, name, start};
pub use stack::TakenTags;
