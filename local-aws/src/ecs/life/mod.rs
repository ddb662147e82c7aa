//! What happens in time: tasks live, services are looked after, deployments go on, events are told.

mod alarms;
pub(super) mod control_plane;
mod environment_files;
mod events;
mod health_check;
mod hooks;
mod interruption;
mod lifecycle;
pub(super) mod pauses;
mod preparation;
mod scheduler;
mod secrets;
pub(super) mod settings;
mod walk;
