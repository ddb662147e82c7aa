//! The logs of containers in CloudWatch Logs: where one is, and how it ends.

mod excerpt;
mod location;

pub use excerpt::{Excerpt, excerpt};
pub use location::location;
