//! Containers as processes of this machine: network, process, log driver.

pub(crate) mod loading;
pub(crate) mod logs;
pub(crate) mod network;
pub mod own_root;
pub(crate) mod process;
