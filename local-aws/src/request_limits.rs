//! ECS's request limits: token buckets of an account in a region.
//!
//! They hold in real time, whatever the local AWS's pace: a caller that waits between two requests
//! waits in real time too.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html>. What is not
//! in [`BUCKETS`] is not limited here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Requests that take their tokens from one bucket.
struct Limit {
    operations: &'static [&'static str],
    /// The bucket's size, in requests.
    burst: f64,
    /// Tokens that come back each second.
    sustained: f64,
}

/// Said apart: as `BUCKETS.len()` in a type it would be a cycle to an optimizing compiler.
const BUCKET_COUNT: usize = 7;

const BUCKETS: [Limit; BUCKET_COUNT] = [
    limit(&["RegisterTaskDefinition"], 20.0, 1.0),
    limit(&["UpdateService"], 50.0, 5.0),
    limit(&["RunTask", "StopTask"], 100.0, 40.0),
    limit(&["DescribeTasks", "ListTasks"], 100.0, 20.0),
    limit(&["DescribeServices", "ListServices"], 100.0, 20.0),
    limit(&["DescribeServiceDeployments"], 50.0, 20.0),
    limit(&["DescribeTaskDefinition"], 50.0, 20.0),
];

const fn limit(operations: &'static [&'static str], burst: f64, sustained: f64) -> Limit {
    Limit {
        operations,
        burst,
        sustained,
    }
}

#[derive(Clone, Copy, Debug)]
struct Level {
    tokens: f64,
    at: Instant,
}

/// How full the buckets are. Off until they are asked for, since tests that make an account full of
/// things need more requests than a pipeline.
#[derive(Debug)]
pub(crate) struct RequestLimits {
    on: AtomicBool,
    levels: Mutex<[Option<Level>; BUCKET_COUNT]>,
}

impl RequestLimits {
    pub(crate) fn new(on: bool) -> Self {
        Self {
            on: AtomicBool::new(on),
            levels: Mutex::default(),
        }
    }

    /// Switches the limits on, with full buckets, or off.
    pub(crate) fn switch(&self, on: bool) {
        *self.levels.lock().unwrap_or_else(PoisonError::into_inner) = Default::default();
        self.on.store(on, Ordering::Relaxed);
    }

    /// Whether a request at this moment is within the limits. It takes a token if it is.
    pub(crate) fn allow(&self, operation: &str, now: Instant) -> bool {
        let position = BUCKETS
            .iter()
            .position(|limit| limit.operations.contains(&operation));
        let Some(position) = position.filter(|_| self.on.load(Ordering::Relaxed)) else {
            return true;
        };
        let limit = &BUCKETS[position];
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = levels[position].map_or(limit.burst, |level| {
            let elapsed = now.saturating_duration_since(level.at).as_secs_f64();
            (level.tokens + elapsed * limit.sustained).min(limit.burst)
        });
        let allowed = tokens >= 1.0;
        let tokens = if allowed { tokens - 1.0 } else { tokens };
        levels[position] = Some(Level { tokens, at: now });
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many of a thousand requests at this moment are answered.
    fn allowed(limits: &RequestLimits, operation: &str, now: Instant) -> usize {
        (0..1000).filter(|_| limits.allow(operation, now)).count()
    }

    #[test]
    fn a_burst_empties_the_bucket_and_time_fills_it() {
        let limits = RequestLimits::new(true);
        let start = Instant::now();
        assert_eq!(allowed(&limits, "UpdateService", start), 50);
        let later = start + Duration::from_secs(2);
        assert_eq!(allowed(&limits, "UpdateService", later), 10);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(allowed(&limits, "UpdateService", much_later), 50);
    }

    #[test]
    fn every_bucket_has_the_documented_burst_and_rate() {
        for (operations, burst, sustained) in [
            (&["RegisterTaskDefinition"][..], 20, 1),
            (&["UpdateService"], 50, 5),
            (&["RunTask", "StopTask"], 100, 40),
            (&["DescribeTasks", "ListTasks"], 100, 20),
            (&["DescribeServices", "ListServices"], 100, 20),
            (&["DescribeServiceDeployments"], 50, 20),
            (&["DescribeTaskDefinition"], 50, 20),
        ] {
            for operation in operations {
                let limits = RequestLimits::new(true);
                let start = Instant::now();
                let later = start + Duration::from_secs(1);
                assert_eq!(allowed(&limits, operation, start), burst, "{operation}");
                assert_eq!(allowed(&limits, operation, later), sustained, "{operation}");
            }
        }
    }

    #[test]
    fn operations_of_one_bucket_share_its_tokens() {
        let limits = RequestLimits::new(true);
        let now = Instant::now();
        assert_eq!(allowed(&limits, "RunTask", now), 100);
        assert_eq!(allowed(&limits, "StopTask", now), 0);
        assert_eq!(allowed(&limits, "DescribeTasks", now), 100);
    }

    #[test]
    fn nothing_is_limited_before_it_is_asked_for() {
        let limits = RequestLimits::new(false);
        let now = Instant::now();
        assert_eq!(allowed(&limits, "UpdateService", now), 1000);
        limits.switch(true);
        assert_eq!(allowed(&limits, "UpdateService", now), 50);
        limits.switch(false);
        assert_eq!(allowed(&limits, "UpdateService", now), 1000);
    }
}
