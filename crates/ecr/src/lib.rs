//! What ECR has of a release: the names of images, what they say of themselves, tags and which of them
//! count, the artifacts beside images, and the stacks that a repository names.

mod artifact;
mod image;
mod image_config;
mod stacks;
mod tag_patterns;

pub use artifact::{is_other_artifact, is_referrer};
pub use image::EcrImage;
pub use image_config::{
    ImageFailure, StoredImage, commit, commit_url, migrations, missing, of_platform,
};
pub use stacks::stacks;
pub use tag_patterns::patterns_take;
