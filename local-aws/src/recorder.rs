//! A record of the calls of AWS's APIs: in memory for tests that ask who called what how often, and
//! calls of ECS in full in a file, one JSON line a call, for a checker to read.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::faults::{contains, mentions};

/// So many calls are remembered, the newest.
pub const REMEMBERED: usize = 20_000;

/// One call of an AWS API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// When it came, in seconds since the epoch.
    pub time: f64,
    /// The service's signing name, such as `ecs` or `states`; empty where nobody signed.
    pub service: String,
    pub operation: String,
    /// The function that called, if one did.
    pub caller: Option<String>,
    /// X-Ray's trace of the invocation that the call is made in, or that it makes; empty where there
    /// is none.
    pub trace: String,
    pub user_agent: String,
    /// The parameters, as far as the local AWS reads them.
    pub request: Value,
    /// The HTTP status of the answer; none where the connection was closed instead.
    pub status: Option<u16>,
}

/// Calls, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls(Vec<Call>);

impl Calls {
    /// Calls of an operation, named as for a [fault](crate::faults::Fault::of).
    pub fn of(&self, service: &str, operation: &str) -> Self {
        self.only(|call| call.service == service && call.operation == operation)
    }

    /// Calls whose parameters contain this
    /// ([`where_request_contains`](crate::faults::CallFault::where_request_contains)).
    pub fn containing(&self, fragment: &Value) -> Self {
        self.only(|call| contains(&call.request, fragment))
    }

    /// Calls that have this word in a text of their parameters
    /// ([`where_request_mentions`](crate::faults::CallFault::where_request_mentions)).
    pub fn mentioning(&self, word: &str) -> Self {
        self.only(|call| mentions(&call.request, word))
    }

    /// Calls that are so and so.
    pub fn only(&self, is_wanted: impl Fn(&Call) -> bool) -> Self {
        Self(
            self.0
                .iter()
                .filter(|call| is_wanted(call))
                .cloned()
                .collect(),
        )
    }

    /// The most calls that came within one second, wherever that second starts.
    pub fn most_in_one_second(&self) -> usize {
        let second = Duration::from_secs(1).as_secs_f64();
        let from = |first: usize| {
            let end = self.0[first].time + second;
            self.0[first..]
                .iter()
                .take_while(|call| call.time < end)
                .count()
        };
        (0..self.0.len()).map(from).max().unwrap_or(0)
    }
}

impl From<Vec<Call>> for Calls {
    fn from(mut calls: Vec<Call>) -> Self {
        calls.sort_by(|a, b| a.time.total_cmp(&b.time));
        Self(calls)
    }
}

impl std::ops::Deref for Calls {
    type Target = [Call];

    fn deref(&self) -> &[Call] {
        &self.0
    }
}

/// Remembers calls, and writes those of ECS into a file if there is one.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    calls: Mutex<VecDeque<Call>>,
    ecs: Option<tokio::sync::Mutex<File>>,
}

impl Recorder {
    /// Starts a new record, with a file for calls of ECS.
    pub(crate) async fn with_file(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path)
            .await
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self {
            ecs: Some(tokio::sync::Mutex::new(file)),
            ..Self::default()
        })
    }

    /// Remembers a call.
    pub(crate) fn remember(&self, call: Call) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() == REMEMBERED {
            calls.pop_front();
        }
        calls.push_back(call);
    }

    /// The calls since then, in seconds since the epoch.
    pub(crate) fn calls_since(&self, time: f64) -> Vec<Call> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls
            .iter()
            .filter(|call| call.time >= time)
            .cloned()
            .collect()
    }

    /// Adds a call of ECS, with its answer, to the file; afterwards it is there. A caller whose
    /// answer waits for this finds all its calls there. `call` is not asked for without a file.
    pub(crate) async fn write_ecs(&self, call: impl FnOnce() -> Value) -> io::Result<()> {
        let Some(file) = &self.ecs else {
            return Ok(());
        };
        let line = format!("{}\n", call());
        let mut file = file.lock().await;
        file.write_all(line.as_bytes()).await?;
        file.flush().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(time: f64, operation: &str, service: &str) -> Call {
        Call {
            time,
            service: "ecs".to_owned(),
            operation: operation.to_owned(),
            caller: None,
            trace: String::new(),
            user_agent: String::new(),
            request: json!({ "service": service }),
            status: Some(200),
        }
    }

    #[tokio::test]
    async fn a_call_is_in_the_file_when_it_has_been_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls");
        let recorder = Recorder::with_file(&path).await.unwrap();
        for (call, expected) in [(1, "1\n"), (2, "1\n2\n")] {
            recorder.write_ecs(|| json!(call)).await.unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn the_busiest_second_may_start_anywhere() {
        let times = [0.0, 0.6, 0.9, 1.5, 1.59, 3.0];
        let calls: Vec<_> = times.map(|time| call(time, "DescribeTasks", "web")).into();
        assert_eq!(Calls::from(calls).most_in_one_second(), 4);
        assert_eq!(Calls::default().most_in_one_second(), 0);
    }

    #[test]
    fn calls_are_found_by_operation_and_by_what_they_concern() {
        let calls = Calls::from(vec![
            call(1.0, "DescribeServices", "web"),
            call(2.0, "DescribeServices", "worker"),
            call(3.0, "UpdateService", "web"),
        ]);
        let described = calls.of("ecs", "DescribeServices");
        assert_eq!(described.len(), 2);
        assert_eq!(described.containing(&json!({"service": "web"})).len(), 1);
    }

    #[test]
    fn only_the_newest_calls_are_remembered() {
        let recorder = Recorder::default();
        for time in 0..=REMEMBERED {
            recorder.remember(call(time as f64, "DescribeTasks", "web"));
        }
        let calls = recorder.calls_since(0.0);
        assert_eq!((calls.len(), calls[0].time), (REMEMBERED, 1.0));
        assert_eq!(recorder.calls_since(REMEMBERED as f64).len(), 1);
    }
}
