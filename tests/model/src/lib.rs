//! A model of three releases of one stack that want its turn at the same time.
//!
//! What is checked is the code that ships: who does what next is decided by
//! [`bluegreen_release::turn::step`], and the table is changed by the transactions of
//! [`bluegreen_release::transactions`], whose conditions a table in memory holds them to. The model
//! adds what may happen around them, in every order:
//!
//! - a function reads, and writes what it decided any time later; meanwhile others write;
//! - two functions of one release look at the turn at once, because it was asked again or told twice;
//! - an answer is lost though the write was done; an event is lost, so that who was displaced finds
//!   out at its own next look only;
//! - an execution is aborted anywhere, while a function of it works on, and is redriven at the state
//!   in which it was; what Step Functions says of a redriven one may be of before;
//! - the connection to a function is lost, which goes on while its state calls again; a function
//!   crashes before it has finished;
//! - a deployment fails.
//!
//! A function that is about to change something may work on until the time that it wrote before, and
//! time goes past that only when it is over: Lambda ends it.

mod items;
mod process;
mod releases;
mod world;

pub use items::{Items, Shared};
pub use process::{Process, Stage};
pub use releases::{Scenario, releases};
pub use world::{Act, Budget, Call, Kind, Phase, Rules, Turns, World};
