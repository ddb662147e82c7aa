//! Containers as processes of this machine: network, process, log driver.

pub(crate) mod logs;
pub(crate) mod network;
pub(crate) mod process;
