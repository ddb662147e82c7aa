//! The table of releases: who has the turn of a stack, what became of each release, and how far the search
//! for lost pushes has come.
//!
//! Every change is a [`Transaction`], a value that a plain function makes of what was read. Its
//! conditions name what was seen: where one does not hold any more, the table is read again and the
//! change is decided anew. So each change may be repeated after an answer that was lost.

mod attributes;
mod record;
mod search;
mod table;
mod time;
mod transaction;
pub mod transactions;
pub mod turn;

#[cfg(any(test, feature = "memory"))]
pub mod memory;
#[cfg(test)]
mod sample;

pub use attributes::{Item, Value};
pub use record::{Record, Seconds, verdict};
pub use search::{MovedTag, Search, SeenTags};
pub use table::{BeginFailure, EndFailure, Records, Retention, Table, TableFailure};
pub use time::rfc3339;
pub use transaction::{Attributes, Change, Condition, Effect, Transaction};
pub use transactions::{Beginning, CallInProgress, Changing, End, Serves};
pub use turn::{ContractDue, Contracted, CurrentRelease, Holder, Migrated, Turn, Waiting};
