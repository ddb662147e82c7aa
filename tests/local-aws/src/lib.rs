//! An AWS on this machine: moto for most of it, and our own ECS, load balancer and Lambda.

pub mod client;
pub mod clock;
pub mod conformance;
pub mod containers;
mod control;
pub mod ecs;
pub mod event_bus;
pub mod event_faults;
mod gateway;
pub mod images;
mod lambda;
pub mod load_balancer;
mod moto;
mod processes;
mod recorder;
pub mod server;
mod target_health;
