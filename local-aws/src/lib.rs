//! An AWS on this machine: moto for most of it, and our own ECS, load balancer and Lambda.

mod api_call;
pub mod client;
pub mod clock;
pub mod conformance;
mod connections;
pub mod containers;
mod control;
pub mod ecs;
pub mod event_bus;
pub mod event_faults;
pub mod faults;
mod gateway;
pub mod images;
mod lambda;
pub mod load_balancer;
pub mod modes;
mod moto;
pub mod permissions;
mod processes;
mod protocol;
pub mod recorder;
mod registry;
mod request_limits;
pub mod server;
mod stale_reads;
mod state_directory;
mod target_health;
