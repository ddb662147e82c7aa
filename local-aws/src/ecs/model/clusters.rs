//! What ECS knows of a cluster.

use super::values::{Object, Tag};

#[derive(Clone, Debug)]
pub(in crate::ecs) struct Cluster {
    pub(in crate::ecs) name: String,
    pub(in crate::ecs) arn: String,
    pub(in crate::ecs) active: bool,
    pub(in crate::ecs) tags: Vec<Tag>,
    /// What the cluster was created with, beyond name and tags.
    pub(in crate::ecs) settings: Object,
}
