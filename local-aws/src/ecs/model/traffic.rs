//! Traffic: which part of it a revision gets, and where it goes.

/// A container's port that a target group gets as a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ecs) struct TargetBinding {
    pub(in crate::ecs) target_group_arn: String,
    pub(in crate::ecs) container_name: String,
    pub(in crate::ecs) container_port: u16,
}

/// A part of the traffic, in tenths of a percent: the API takes percents in steps of 0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ecs) struct Share(u32);

impl Share {
    pub(in crate::ecs) const NONE: Self = Self(0);
    pub(in crate::ecs) const ALL: Self = Self(1000);

    /// `None` unless it is a multiple of 0.1 between the bounds.
    pub(in crate::ecs) fn of_percent(percent: f64, smallest: f64) -> Option<Self> {
        let tenths = (percent * 10.0).round();
        let exact = (tenths - percent * 10.0).abs() < 1e-6;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let share = Self(tenths.max(0.0) as u32);
        (exact && percent >= smallest && share <= Self::ALL).then_some(share)
    }

    pub(in crate::ecs) fn percent(self) -> f64 {
        f64::from(self.0) / 10.0
    }

    /// What is left for the others.
    pub(in crate::ecs) fn rest(self) -> Self {
        Self(Self::ALL.0 - self.0)
    }

    /// So many shares of this size, but not more than all.
    pub(in crate::ecs) fn times(self, count: u32) -> Self {
        Self((self.0 * count).min(Self::ALL.0))
    }

    /// How many shares of this size it takes to have all.
    pub(in crate::ecs) fn count(self) -> u32 {
        Self::ALL.0.div_ceil(self.0)
    }

    /// The weights of two target groups of which the second one gets this share. A weight is at
    /// most 999, so whole percents are weighed in percents.
    pub(in crate::ecs) fn weights(self) -> (u32, u32) {
        let unit = if self.0.is_multiple_of(10) { 10 } else { 1 };
        (self.rest().0 / unit, self.0 / unit)
    }
}

/// The parts of the traffic a revision is meant to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) struct Traffic {
    pub(in crate::ecs) production: Share,
    pub(in crate::ecs) test: Share,
}

impl Traffic {
    pub(in crate::ecs) const NONE: Self = Self {
        production: Share::NONE,
        test: Share::NONE,
    };
}

/// A listener rule and what it shall do: forward to these target groups by these weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ecs) struct Forward {
    pub(in crate::ecs) rule: String,
    pub(in crate::ecs) weights: Vec<(String, u32)>,
}

/// The rules of one load balancer and the two groups between which they divide traffic.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct Router {
    pub(in crate::ecs) production_rule: String,
    pub(in crate::ecs) test_rule: Option<String>,
    pub(in crate::ecs) green_group: String,
    pub(in crate::ecs) other_group: String,
    /// Whether the other group has the tasks of a blue revision.
    pub(in crate::ecs) has_blue: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_exact_to_a_tenth_of_a_percent_and_at_most_999() {
        let weights = |percent| Share::of_percent(percent, 0.0).unwrap().weights();
        assert_eq!(weights(0.0), (100, 0));
        assert_eq!(weights(0.1), (999, 1));
        assert_eq!(weights(33.3), (667, 333));
        assert_eq!(weights(99.9), (1, 999));
        assert_eq!(weights(100.0), (0, 100));
    }
}
