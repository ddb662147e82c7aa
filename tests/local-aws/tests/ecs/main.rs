//! The local ECS as clients see it: through the gateway, with moto beside it.
//!
//! Needs the Python environment that `make setup` makes (`VENV` names another one).

// To clippy the helpers of integration tests are no tests.
#![allow(clippy::unwrap_used)]

mod account;
mod listeners;
mod services;
mod tasks;
mod visitors;
