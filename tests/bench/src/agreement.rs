//! Whether two invocations did the same.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::runtime_api::{Invocation, Outcome};

/// Sentences for people may be worded differently.
const PROSE: [&str; 2] = ["reason", "cause"];
/// When something was seen or done, and what is reckoned from it.
const TIMES: [&str; 2] = ["at", "deadline"];

/// Whether a later invocation of the same process did what its first one did, at another time.
pub(crate) fn repeats(later: &Invocation, first: &Invocation) -> bool {
    agree(later, first, &TIMES) && message(later) == message(first)
}

/// Checks that the counterpart in Python makes the same calls and gives the same answer: its own,
/// and what it tells Step Functions for a task token.
///
/// # Errors
/// It does not, or there is no call.
pub(crate) fn compare(ours: &Invocation, python: &Invocation) -> Result<()> {
    if ours.traffic.calls.is_empty() {
        bail!(
            "it makes no AWS call: there is nothing to measure over TLS: {:?}",
            ours.outcome
        );
    }
    let different = [&PROSE[..], &TIMES[..]].concat();
    if agree(ours, python, &different) {
        return Ok(());
    }
    bail!("its counterpart in Python is another function:\nours: {ours:?}\nPython: {python:?}")
}

fn agree(one: &Invocation, other: &Invocation, without: &[&str]) -> bool {
    let told = |invocation: &Invocation| -> Vec<Value> {
        let told = invocation.traffic.told.iter();
        told.map(|answer| reduced(answer, without)).collect()
    };
    let outcomes_agree = match (&one.outcome, &other.outcome) {
        (Outcome::Answer(one), Outcome::Answer(other)) => {
            reduced(one, without) == reduced(other, without)
        }
        (Outcome::Error { name: one, .. }, Outcome::Error { name: other, .. }) => one == other,
        _ => false,
    };
    outcomes_agree && one.traffic.calls == other.traffic.calls && told(one) == told(other)
}

fn message(invocation: &Invocation) -> Option<&str> {
    match &invocation.outcome {
        Outcome::Error { message, .. } => Some(message),
        Outcome::Answer(_) => None,
    }
}

fn reduced(value: &Value, without: &[&str]) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| !without.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), reduced(value, without)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| reduced(item, without)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::aws::Traffic;
    use serde_json::json;

    fn invocation(outcome: Outcome, calls: &[&str], told: &[Value]) -> Invocation {
        Invocation {
            took: Duration::ZERO,
            outcome,
            traffic: Traffic {
                calls: calls.iter().map(|&call| call.to_owned()).collect(),
                told: told.to_vec(),
            },
        }
    }

    fn answer(value: Value, calls: &[&str]) -> Invocation {
        invocation(Outcome::Answer(value), calls, &[])
    }

    fn error(name: &str, message: &str) -> Invocation {
        let (name, message) = (name.to_owned(), message.to_owned());
        invocation(
            Outcome::Error { name, message },
            &["logs.GetLogEvents"],
            &[],
        )
    }

    #[test]
    fn a_counterpart_gives_the_same_answer_in_its_own_words_and_at_its_own_time() {
        let calls = ["ecs.DescribeTasks"];
        let ours = answer(
            json!({"stopped": true, "cause": "It stopped.", "at": 1}),
            &calls,
        );
        let same = answer(
            json!({"stopped": true, "cause": "stopped", "at": 2}),
            &calls,
        );
        let other = answer(
            json!({"stopped": false, "cause": "It stopped.", "at": 1}),
            &calls,
        );
        assert!(compare(&ours, &same).is_ok());
        assert!(compare(&ours, &other).is_err());
        assert!(compare(&error("A", "x"), &error("A", "y")).is_ok());
        assert!(compare(&error("A", "x"), &error("B", "x")).is_err());
        assert!(compare(&ours, &error("A", "x")).is_err());
    }

    #[test]
    fn a_counterpart_makes_the_same_calls() {
        let one = answer(json!(1), &["ecs.DescribeTasks"]);
        let two = answer(json!(1), &["ecs.DescribeTasks", "ecs.RunTask"]);
        let none = answer(json!(1), &[]);
        assert!(compare(&one, &one).is_ok());
        assert!(compare(&one, &two).is_err());
        assert!(compare(&none, &none).is_err());
    }

    #[test]
    fn a_counterpart_tells_step_functions_the_same() {
        let told = |overdue: bool, at: i64| {
            let told = [json!({"overdue": overdue, "at": at})];
            invocation(
                Outcome::Answer(Value::Null),
                &["states.SendTaskSuccess"],
                &told,
            )
        };
        assert!(compare(&told(false, 1), &told(false, 2)).is_ok());
        assert!(compare(&told(false, 1), &told(true, 1)).is_err());
    }

    #[test]
    fn a_process_repeats_itself_word_by_word() {
        let at = |at: i64, reason: &str| answer(json!({"at": at, "reason": reason}), &["ecs.A"]);
        assert!(repeats(&at(2, "so"), &at(1, "so")));
        assert!(!repeats(&at(1, "so"), &at(1, "otherwise")));
        assert!(repeats(&error("A", "x"), &error("A", "x")));
        assert!(!repeats(&error("A", "y"), &error("A", "x")));
    }
}
