//! Reads what the repository's parts say of each other: the state machine, the templates, the
//! functions' sources and the READMEs. The tests next door compare them.
//!
//! Nothing here is listed twice: the functions are the folders with a `main.rs`, their errors the
//! variants of their `Failure`, their inputs the fields of the contract's types. A file that can
//! not be read fails the test that needs it, with the file's name.

mod machine;
mod source;
mod template;
mod text;

pub use machine::{Machine, State, errors, expression, paths, substitutions};
pub use source::{Contract, Crate, contract_enum, functions};
pub use template::{Template, strings, templates};
pub use text::{backticked, first_column, is_action, section};

use std::path::{Path, PathBuf};

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of a file, given by its path from the repository's root.
///
/// # Panics
/// Where the file can not be read.
#[must_use]
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
