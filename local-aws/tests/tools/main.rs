//! Programs that others wrote for AWS, unchanged, in the local AWS.
//!
//! Needs the Python environment that `make setup` makes (`VENV` names another one), and jq.

// To clippy the helpers of integration tests are no tests.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../ecs/visitors.rs"]
#[allow(dead_code, reason = "when answers were seen matters elsewhere")]
mod visitors;

mod aws_cli;
mod ecs_deploy;
mod program;
mod world;
