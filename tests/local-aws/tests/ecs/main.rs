//! The local ECS as clients see it: through the gateway, with moto beside it.
//!
//! Needs the Python environment that `make setup` makes (`VENV` names another one).

mod account;
mod services;
mod tasks;
mod visitors;
