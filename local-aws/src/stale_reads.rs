//! Eventual consistency on demand: reads of ECS that do not know of the newest write yet.
//!
//! The ECS API is eventually consistent: what a request has changed, those that follow need not see
//! at once (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html>, which
//! says so of "all subsequent commands" and excepts none). Here the
//! whole state of ECS from before the newest write is kept, and reads are answered from it,
//! whatever they ask. Such a read counts as stale where the current state would have given another
//! answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ecs::{ApiError, Ecs};

/// Writes that reads may be behind.
const WRITES: [&str; 9] = [
    "ContinueServiceDeployment",
    "CreateService",
    "DeleteService",
    "DeregisterTaskDefinition",
    "RegisterTaskDefinition",
    "RunTask",
    "StopServiceDeployment",
    "StopTask",
    "UpdateService",
];

/// Reads that may be behind.
const READS: [&str; 8] = [
    "DescribeServiceDeployments",
    "DescribeServiceRevisions",
    "DescribeServices",
    "DescribeTaskDefinition",
    "DescribeTasks",
    "ListServiceDeployments",
    "ListServices",
    "ListTasks",
];

/// How long reads are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Lag {
    /// So many real milliseconds after a write, after each write.
    Milliseconds(u64),
    /// Until so many reads have been stale, all in all.
    Reads(u64),
}

/// Whether reads are behind, and how often they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StaleReadsReport {
    /// How many reads had another answer than the current state would have given.
    pub(crate) stale: u64,
    /// Whether there may be more.
    pub(crate) open: bool,
}

/// Reads of ECS that are behind.
#[derive(Debug, Default)]
pub(crate) struct StaleReads {
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    lag: Option<Lag>,
    before_the_newest_write: Option<(Ecs, Instant)>,
    stale: u64,
}

impl StaleReads {
    /// Reads are behind from the next write on.
    pub(crate) fn begin(&self, lag: Lag) -> StaleReadsReport {
        let mut plan = self.lock();
        *plan = Plan {
            lag: Some(lag),
            ..Plan::default()
        };
        plan.report()
    }

    /// No read is behind any more.
    pub(crate) fn end(&self) -> StaleReadsReport {
        let mut plan = self.lock();
        plan.lag = None;
        plan.before_the_newest_write = None;
        plan.report()
    }

    pub(crate) fn report(&self) -> StaleReadsReport {
        self.lock().report()
    }

    /// Answers a request of the ECS API, as late in its knowledge as it was asked to be.
    pub(crate) async fn call(
        &self,
        ecs: &Ecs,
        operation: &str,
        request: Value,
    ) -> Result<Value, ApiError> {
        if WRITES.contains(&operation) && self.lock().lag.is_some() {
            let before = ecs.as_it_is_now();
            let answer = ecs.call(operation, request).await;
            if answer.is_ok() {
                let mut plan = self.lock();
                if plan.lag.is_some() {
                    plan.before_the_newest_write = Some((before, Instant::now()));
                }
            }
            return answer;
        }
        let before = READS.contains(&operation).then(|| self.lock().before());
        let Some(before) = before.flatten() else {
            return ecs.call(operation, request).await;
        };
        let current = ecs.call(operation, request.clone()).await;
        let earlier = before.call(operation, request).await;
        if current == earlier || !self.lock().count() {
            return current;
        }
        earlier
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// What reads know at this moment, where that is not the current state.
    fn before(&self) -> Option<Ecs> {
        let (before, written) = self.before_the_newest_write.as_ref()?;
        let knows = match self.lag? {
            Lag::Milliseconds(lag) => written.elapsed() >= Duration::from_millis(lag),
            Lag::Reads(left) => left == 0,
        };
        (!knows).then(|| before.clone())
    }

    /// Counts a stale read; false when there may be none any more.
    fn count(&mut self) -> bool {
        match &mut self.lag {
            None | Some(Lag::Reads(0)) => return false,
            Some(Lag::Reads(left)) => *left -= 1,
            Some(Lag::Milliseconds(_)) => {}
        }
        self.stale += 1;
        true
    }

    fn report(&self) -> StaleReadsReport {
        StaleReadsReport {
            stale: self.stale,
            open: !matches!(self.lag, None | Some(Lag::Reads(0))),
        }
    }
}
