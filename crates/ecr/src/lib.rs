//! What ECR has of a release: the names of images, tags and which of them count, the artifacts
//! beside images, and the stacks that a repository names.

mod artifact;
mod image;
mod stacks;
mod tag_patterns;

pub use artifact::{is_other_artifact, is_referrer};
pub use image::EcrImage;
pub use stacks::stacks;
pub use tag_patterns::patterns_take;
