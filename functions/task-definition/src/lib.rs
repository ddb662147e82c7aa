//! Task definitions with the image of a release pinned.
//!
//! A release changes one thing in a task definition: the image of the containers that come from its
//! repository. Everything else that the SDK knows of a task definition goes into the new revision
//! as it was.

mod image;
mod register;
mod started_by;

pub use image::EcrImage;
pub use register::{
    Described, EXECUTION_TAG, Family, Marks, RegisterFailure, STACK_TAG, describe, pinned_to,
};
pub use started_by::started_by;
