//! How a state waits: the state machine asks a function with a task token, and events tell the same
//! function that it is time to look again
//! (<https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token>).
//!
//! A function that waits gives [`drive`] four things: what it waits for, for which execution, what
//! an event is about, and how to look. Everything else is done here. An event is only a reason to
//! look, so that one that is lost or comes twice changes no answer; the state's heartbeat asks anew
//! where one was lost.
//!
//! Asked, the function stores token and question under what it waits for *before* it looks: what
//! happens after that look finds who waits.

mod call;
mod drive;
mod waits;

pub use call::{Call, Event};
pub use drive::{drive, tell};
pub use waits::{Waiting, Waits};
