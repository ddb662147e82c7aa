//! What the end-to-end tests and the demo are made of.

pub mod account;
pub mod alarm;
pub mod application;
pub mod cli;
pub mod command_line;
pub mod execution;
pub mod permissions;
pub mod processes;
pub mod secrecy;
pub mod visitor;
