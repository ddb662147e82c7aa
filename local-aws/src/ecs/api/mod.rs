pub(super) mod capacity;
pub(super) mod clusters;
pub(super) mod metadata;
pub(super) mod run_task;
pub(super) mod services;
pub(super) mod tags;
pub(super) mod tasks;
