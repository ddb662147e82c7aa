//! Capacity that is missing on demand: this machine has room for every task, AWS has not always.

use super::state::State;

/// What RunTask's failures and the events of a service give as the reason.
///
/// <https://repost.aws/knowledge-center/ecs-fargate-runtask-capacity>
pub(in crate::ecs) const UNAVAILABLE: &str = "Capacity is unavailable at this time. Please try again later or in a different availability \
     zone";

impl State {
    /// Takes room for one task; false when there is none.
    pub(in crate::ecs) fn take_capacity(&mut self, cluster: &str) -> bool {
        match self.lacking.get_mut(cluster) {
            Some(missing) if *missing > 0 => {
                *missing -= 1;
                false
            }
            _ => true,
        }
    }
}
