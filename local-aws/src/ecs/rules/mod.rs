//! Decides: plain functions of what is known. They answer, or change what they are given; they
//! neither ask anybody nor take a lock.

pub(super) mod circuit_breaker;
pub(super) mod crews;
pub(super) mod dependencies;
pub(super) mod deploy;
pub(super) mod health_check;
pub(super) mod hooks;
pub(super) mod placement;
pub(super) mod restarts;
pub(super) mod rolling;
pub(super) mod rollout;
pub(super) mod route;
pub(super) mod services;
pub(super) mod size;
pub(super) mod strategy;
pub(super) mod task_definitions;
pub(super) mod traffic;
pub(super) mod view;
pub(super) mod volumes;
