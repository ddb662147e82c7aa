//! What ECS knows.

pub(super) mod alarms;
pub(super) mod capacity;
pub(super) mod clusters;
pub(super) mod deployments;
pub(super) mod error;
pub(super) mod health_check;
pub(super) mod hooks;
pub(super) mod names;
pub(super) mod placement;
pub(super) mod restarts;
pub(super) mod service;
pub(super) mod stages;
pub(super) mod state;
pub(super) mod task;
pub(super) mod task_definitions;
pub(super) mod traffic;
pub(super) mod values;
pub(super) mod walk;
