pub(super) mod alarms;
pub(super) mod deployments;
pub(super) mod error;
pub(super) mod names;
pub(super) mod service;
pub(super) mod stages;
pub(super) mod task;
pub(super) mod values;
