//! What the pipeline's functions ask of ECS, for which release and why.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use local_aws::client::LocalAws;
use local_aws::recorder::{Call, REMEMBERED};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The functions that a heartbeat lets look again while a release waits for ECS.
pub(crate) const WAITING: [&str; 2] = ["WaitTask", "VerifyHealth"];

const POLL: Duration = Duration::from_secs(10);
/// A call has the time of its beginning, and is remembered when it ends: no function that waits runs
/// longer.
const LATE: Duration = Duration::from_secs(60);

/// What a release asked of ECS. A call that ECS throttled does nothing, and is told apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// Calls that ECS answered, without those of heartbeats, by function and operation.
    pub(crate) answered: BTreeMap<String, usize>,
    /// Calls that ECS throttled.
    pub(crate) throttled: usize,
    pub(crate) looks: Vec<Look>,
}

impl Asked {
    /// How many calls ECS answered, without those of heartbeats.
    pub(crate) fn calls(&self) -> usize {
        self.answered.values().sum()
    }
}

/// What a function looked at because a heartbeat stayed out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    /// One of [`WAITING`].
    pub(crate) function: &'static str,
    /// Calls that ECS answered.
    pub(crate) calls: usize,
}

/// Keeps all calls that matter here: the local AWS remembers the newest only.
pub(crate) struct Collector {
    end: watch::Sender<bool>,
    calls: JoinHandle<Result<Vec<Call>>>,
}

impl Collector {
    pub(crate) fn start(endpoint: &str) -> Result<Self> {
        let aws = LocalAws::attach(endpoint)?;
        let end = watch::Sender::new(false);
        let ended = end.subscribe();
        let calls = tokio::spawn(collect(aws, ended));
        Ok(Self { end, calls })
    }

    /// All calls since its start, the oldest first.
    ///
    /// # Errors
    /// There were more in a while than the local AWS remembers.
    pub(crate) async fn end(self) -> Result<Vec<Call>> {
        self.end.send_replace(true);
        self.calls.await?
    }
}

async fn collect(aws: LocalAws, mut ended: watch::Receiver<bool>) -> Result<Vec<Call>> {
    let began = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut since = began;
    let mut known = HashSet::new();
    let mut kept = Vec::new();
    loop {
        let ended = ended.wait_for(|ended| *ended);
        let is_last = tokio::time::timeout(POLL, ended).await.is_ok();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let calls = aws.calls_since(since.as_secs_f64()).await?;
        ensure!(
            calls.len() < REMEMBERED,
            "the local AWS was called more often than it remembers"
        );
        for call in calls.iter().filter(|call| matters(call)) {
            let name = (
                call.time.to_bits(),
                call.operation.clone(),
                call.trace.clone(),
            );
            if known.insert(name) {
                kept.push(call.clone());
            }
        }
        if is_last {
            kept.sort_by(|one: &Call, other| one.time.total_cmp(&other.time));
            return Ok(kept);
        }
        since = now.saturating_sub(LATE).max(began);
    }
}

fn matters(call: &Call) -> bool {
    is_of_ecs(call) || question(call).is_some()
}

fn is_of_ecs(call: &Call) -> bool {
    call.service == "ecs" && call.caller.is_some()
}

fn is_throttled(call: &Call) -> bool {
    is_of_ecs(call) && call.status == Some(400)
}

/// What a state of the machine asks a function that waits: the function and the question. An event
/// tells it something and asks nothing.
fn question(call: &Call) -> Option<(&'static str, &Value)> {
    if (&*call.service, &*call.operation) != ("lambda", "Invoke") {
        return None;
    }
    let name = call.request["FunctionName"].as_str()?;
    let function = WAITING.into_iter().find(|waiting| name.contains(waiting))?;
    let asked = &call.request["Payload"]["asked"];
    (!asked.is_null()).then_some((function, asked))
}

/// How often ECS throttled each of its operations.
pub(crate) fn throttled(calls: &[Call]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls.iter().filter(|call| is_throttled(call)) {
        *counts.entry(call.operation.clone()).or_default() += 1;
    }
    counts
}

/// What was asked for each stack. `heartbeat`, in seconds, is how long a state waits before it asks
/// once more; `calls` are sorted by time.
pub(crate) fn by_stack(
    calls: &[Call],
    stacks: &[String],
    heartbeat: f64,
) -> BTreeMap<String, Asked> {
    let stacks: BTreeSet<&str> = stacks.iter().map(String::as_str).collect();
    let mut all: BTreeMap<String, Asked> = BTreeMap::new();
    // Where the invocations that heartbeats led to are among the looks, by their traces.
    let mut looks: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    let mut last_asked: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for call in calls {
        let Some((function, asked)) = question(call) else {
            continue;
        };
        let Some(stack) = word_of(asked, &stacks) else {
            continue;
        };
        let last = last_asked.insert((stack, function), call.time);
        // A state whose function failed asks again sooner.
        if last.is_some_and(|last| call.time - last >= heartbeat) {
            let found = &mut all.entry(stack.to_owned()).or_default().looks;
            looks.insert(&call.trace, (stack, found.len()));
            found.push(Look { function, calls: 0 });
        }
    }
    for call in calls.iter().filter(|call| is_of_ecs(call)) {
        let look = looks.get(&*call.trace);
        let stack = look.map(|(stack, _)| *stack);
        let Some(stack) = stack.or_else(|| word_of(&call.request, &stacks)) else {
            continue;
        };
        let asked = all.entry(stack.to_owned()).or_default();
        match look {
            _ if is_throttled(call) => asked.throttled += 1,
            Some((_, look)) => asked.looks[*look].calls += 1,
            None => *asked.answered.entry(named(call)).or_default() += 1,
        }
    }
    all
}

/// The function, as the template calls it, and the operation.
fn named(call: &Call) -> String {
    let caller = call.caller.as_deref().unwrap_or_default();
    let function = caller
        .split('-')
        .find_map(|part| part.strip_suffix("Function"));
    format!("{} {}", function.unwrap_or(caller), call.operation)
}

/// The first of these words that stands in a text of `value`. Cluster, service and task definition
/// of a stack have its name, and so has its execution.
fn word_of<'a>(value: &Value, words: &BTreeSet<&'a str>) -> Option<&'a str> {
    match value {
        Value::Object(members) => members.values().find_map(|it| word_of(it, words)),
        Value::Array(items) => items.iter().find_map(|it| word_of(it, words)),
        Value::String(text) => text
            .split(|character: char| !character.is_ascii_alphanumeric())
            .find_map(|word| words.get(word).copied()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(time: f64, trace: &str, status: u16, request: Value) -> Call {
        Call {
            time,
            service: "ecs".to_owned(),
            operation: "DescribeTasks".to_owned(),
            caller: Some("bluegreen-WaitTaskFunction-1".to_owned()),
            trace: trace.to_owned(),
            user_agent: String::new(),
            request,
            status: Some(status),
        }
    }

    fn describes(time: f64, trace: &str, stack: &str) -> Call {
        let task = format!("arn:aws:ecs:us-east-1:123456789012:task/{stack}/0af1");
        call(time, trace, 200, json!({"tasks": [task]}))
    }

    fn throttled_once(time: f64, trace: &str, stack: &str) -> Call {
        call(time, trace, 400, json!({"cluster": stack}))
    }

    fn invoked(time: f64, trace: &str, payload: Value) -> Call {
        let function = "bluegreen-WaitTaskFunction-1";
        Call {
            service: "lambda".to_owned(),
            operation: "Invoke".to_owned(),
            caller: None,
            ..call(
                time,
                trace,
                200,
                json!({"FunctionName": function, "Payload": payload}),
            )
        }
    }

    fn asked(time: f64, trace: &str, stack: &str) -> Call {
        let execution = format!("arn:aws:states:execution:release:{stack}-v2-00ff");
        let question = json!({"execution": {"id": execution}});
        invoked(time, trace, json!({"token": "s002", "asked": question}))
    }

    fn of(stack: &str, calls: &[Call]) -> Asked {
        let stacks = ["s001", "s002"].map(str::to_owned);
        let mut all = by_stack(calls, &stacks, 5.0);
        all.remove(stack).unwrap_or_default()
    }

    #[test]
    fn calls_are_counted_for_the_stack_whose_name_they_have() {
        let calls = [
            describes(1.0, "a", "s001"),
            describes(2.0, "b", "s002"),
            describes(3.0, "a", "s001"),
            describes(4.0, "c", "s0011"),
        ];
        assert_eq!(
            (of("s001", &calls).calls(), of("s002", &calls).calls()),
            (2, 1)
        );
    }

    #[test]
    fn a_throttled_call_is_told_apart() {
        let calls = [
            throttled_once(1.0, "a", "s001"),
            describes(2.0, "a", "s001"),
        ];
        let asked = of("s001", &calls);
        assert_eq!((asked.calls(), asked.throttled), (1, 1));
        assert_eq!(throttled(&calls)["DescribeTasks"], 1);
    }

    #[test]
    fn calls_by_nobodys_function_are_none_of_a_release() {
        let by_hand = Call {
            caller: None,
            ..describes(1.0, "a", "s001")
        };
        assert!(!matters(&by_hand));
        assert_eq!(of("s001", &[by_hand]), Asked::default());
    }

    #[test]
    fn only_a_question_that_comes_a_heartbeat_later_is_a_heartbeats() {
        let event = json!({"detail-type": "ECS Task State Change", "detail": {}});
        let calls = [
            asked(0.0, "first", "s001"),
            describes(0.1, "first", "s001"),
            // After a failure, and not because of a heartbeat.
            asked(1.0, "retried", "s001"),
            describes(1.1, "retried", "s001"),
            asked(7.0, "heartbeat", "s001"),
            describes(7.1, "heartbeat", "s001"),
            describes(7.2, "heartbeat", "s001"),
            invoked(13.0, "told", event),
            describes(13.1, "told", "s001"),
        ];
        let asked = of("s001", &calls);
        assert_eq!(
            asked.answered,
            BTreeMap::from([("WaitTask DescribeTasks".to_owned(), 3)])
        );
        let look = Look {
            function: "WaitTask",
            calls: 2,
        };
        assert_eq!(asked.looks, [look]);
        assert!(matters(&calls[0]) && !matters(&calls[7]));
    }

    #[test]
    fn two_stacks_wait_each_for_itself() {
        let calls = [
            asked(0.0, "a", "s001"),
            asked(9.0, "b", "s002"),
            describes(9.1, "b", "s002"),
        ];
        let asked = of("s002", &calls);
        assert_eq!((asked.calls(), asked.looks.len()), (1, 0));
    }
}
