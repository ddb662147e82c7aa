//! What the state machine says of itself, of the functions and of the contract.

use consistency::{Machine, State, Template, contract_enum, contract_struct, errors, functions};
use serde_json::Value;
use std::collections::BTreeSet;

/// The states that call a function.
fn calls(machine: &Machine) -> Vec<State<'_>> {
    let states = machine.of_type("Task");
    let calling: Vec<_> = states
        .into_iter()
        .filter(|state| state.function().is_some())
        .collect();
    assert!(!calling.is_empty(), "no state calls a function");
    calling
}

/// The stem of the function that a state calls.
fn stem<'a>(state: &State<'a>) -> &'a str {
    state
        .stem()
        .unwrap_or_else(|| panic!("{} calls no function by its ARN", state.name))
}

/// The names under which the function that a state calls can fail.
fn failures(state: &State<'_>) -> BTreeSet<String> {
    let stem = stem(state);
    functions()
        .iter()
        .find(|function| function.stem() == stem)
        .unwrap_or_else(|| panic!("no function has the stem {stem}"))
        .failures()
}

/// The states without which the release ends as it ends all the same: what they write is for people
/// and for the release after it.
const NOTES: [&str; 3] = ["RecordAbandoned", "RecordRolledBack", "GiveTurnBack"];

/// The states without which the release ends at once: its turn is not given back, and whoever takes it
/// over closes the record.
const LAST_NOTES: [&str; 2] = ["RecordCurrent", "RecordVerdict"];

/// The states that say why something failed, and the one that first sees whether the release can do
/// without what failed.
const EXPLAINED: [&str; 5] = [
    "DecideOnUnread",
    "ExplainFailure",
    "ExplainPostDeploy",
    "ExplainUnwrittenImage",
    "ExplainRollbackFailure",
];

#[test]
fn the_machine_and_every_state_say_what_they_are_for() {
    let machine = Machine::load();
    assert!(machine.definition()["Comment"].is_string());
    for state in machine.states() {
        let comment = state.definition["Comment"].as_str().unwrap_or("");
        assert!(
            comment.ends_with('.'),
            "{} has no sentence as its Comment",
            state.name
        );
    }
}

#[test]
fn the_query_language_is_jsonata_throughout() {
    let machine = Machine::load();
    assert_eq!(machine.definition()["QueryLanguage"], "JSONata");
    for state in machine.states() {
        assert_eq!(
            state.definition["QueryLanguage"],
            Value::Null,
            "{}",
            state.name
        );
    }
}

#[test]
fn every_task_has_a_time_limit_and_tries_again_with_jitter_and_a_longest_delay() {
    for state in Machine::load().of_type("Task") {
        assert!(
            state.definition["TimeoutSeconds"].is_u64(),
            "{} has no TimeoutSeconds",
            state.name
        );
        assert!(!state.retriers().is_empty(), "{} has no Retry", state.name);
        for retrier in state.retriers() {
            for key in [
                "IntervalSeconds",
                "MaxAttempts",
                "BackoffRate",
                "MaxDelaySeconds",
            ] {
                assert!(
                    retrier[key].is_number(),
                    "{}: a retrier without {key}",
                    state.name
                );
            }
            assert_eq!(retrier["JitterStrategy"], "FULL", "{}", state.name);
        }
    }
}

#[test]
fn transient_errors_are_retried_before_those_of_the_domain() {
    let machine = Machine::load();
    for state in calls(&machine) {
        let is_domain = |retrier: &Value| errors(retrier).iter().any(|name| !name.contains('.'));
        assert!(
            state.retriers().iter().map(is_domain).is_sorted(),
            "{} retries a domain error before a transient one",
            state.name
        );
        let first: BTreeSet<&str> = errors(&state.retriers()[0]).into_iter().collect();
        for name in [
            "Lambda.ClientExecutionTimeoutException",
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.TooManyRequestsException",
        ] {
            assert!(
                first.contains(name),
                "{} does not retry {name} first",
                state.name
            );
        }
    }
}

#[test]
fn whatever_no_name_catches_is_explained_as_a_fault_of_the_pipeline() {
    for state in Machine::load().of_type("Task") {
        let last = state.catchers().last().unwrap_or(&Value::Null);
        assert_eq!(
            errors(last),
            ["States.ALL"],
            "{}: the last catcher",
            state.name
        );
        let next = last["Next"].as_str().unwrap_or("");
        if NOTES.contains(&state.name) {
            assert_eq!(next, state.definition["Next"], "{}", state.name);
        } else if LAST_NOTES.contains(&state.name) {
            assert_eq!(next, "DecideOnEnd", "{}", state.name);
        } else {
            assert!(EXPLAINED.contains(&next), "{}: {next}", state.name);
            assert_eq!(last["Output"]["phase"], state.name, "{}", state.name);
        }
    }
}

#[test]
fn a_redriven_execution_asks_for_its_turn_again_before_it_changes_anything() {
    let machine = Machine::load();
    for state in calls(&machine) {
        let payload = |key: &str| state.payload().and_then(|keys| keys.get(key)?.as_str());
        // SettleRelease changes nothing in its execution's name, but may stop what another has begun.
        let guarded = match (payload("executionId"), payload("stop")) {
            (Some(execution), _) => execution,
            (None, Some(_)) => payload("stack").unwrap_or_default(),
            (None, None) => continue,
        };
        assert!(
            guarded.contains("RedriveCount = $redrives ? ") && guarded.contains("$error("),
            "{} changes something for an execution that was redriven",
            state.name
        );
        let first = &state.catchers()[0];
        assert_eq!(errors(first), ["States.QueryEvaluationError"]);
        assert_eq!(first["Next"], "DecideOnRedrive", "{}", state.name);
    }
}

#[test]
fn every_function_that_the_machine_calls_has_a_state_of_its_stem() {
    let machine = Machine::load();
    let calls = calls(&machine);
    for state in &calls {
        let stem = stem(state);
        assert!(
            calls.iter().any(|other| other.name == stem),
            "{} calls a function whose stem no state has: {stem}",
            state.name
        );
    }
}

#[test]
fn every_error_that_is_retried_is_one_the_function_can_fail_with() {
    let machine = Machine::load();
    for state in calls(&machine) {
        let unknown: Vec<_> = state
            .retried()
            .difference(&failures(&state))
            .cloned()
            .collect();
        assert!(
            unknown.is_empty(),
            "{} retries what nothing raises: {unknown:?}",
            state.name
        );
    }
}

#[test]
fn every_failure_of_a_function_is_caught_under_its_name_and_no_other_is() {
    let machine = Machine::load();
    for state in calls(&machine) {
        assert_eq!(state.caught(), failures(&state), "{}", state.name);
    }
}

#[test]
fn a_state_that_calls_no_function_names_no_domain_error() {
    for state in Machine::load().states() {
        if state.function().is_none() {
            let named: BTreeSet<_> = state.caught().union(&state.retried()).cloned().collect();
            assert!(named.is_empty(), "{} names {named:?}", state.name);
        }
    }
}

#[test]
fn every_fail_state_has_an_error_and_a_cause() {
    let machine = Machine::load();
    let states = machine.of_type("Fail");
    assert!(!states.is_empty());
    for state in states {
        for key in ["Error", "Cause"] {
            assert!(
                state.definition[key].is_string(),
                "{} has no {key}",
                state.name
            );
        }
    }
}

#[test]
fn every_function_gets_the_keys_its_input_has() {
    let machine = Machine::load();
    for state in calls(&machine) {
        if let Some(payload) = state.payload() {
            let given: BTreeSet<String> = payload.keys().cloned().collect();
            assert_eq!(
                given,
                contract_struct(&format!("{}Input", stem(&state))),
                "{}",
                state.name
            );
        }
    }
}

#[test]
fn every_verdict_is_decided_on_but_the_one_that_is_waited_on() {
    let machine = Machine::load();
    let choices = machine.state("DecideOnHealth").definition["Choices"].to_string();
    let decided: BTreeSet<String> = contract_enum("Verdict")
        .into_iter()
        .filter(|verdict| choices.contains(&format!("$health.verdict = '{verdict}'")))
        .collect();
    let mut expected = contract_enum("Verdict");
    assert!(expected.remove("inProgress"));
    assert_eq!(decided, expected);
    assert_eq!(
        machine.state("DecideOnHealth").definition["Default"],
        "PauseForHealth"
    );
}

#[test]
fn only_a_plan_without_a_migration_and_an_exit_code_lead_to_the_services() {
    let machine = Machine::load();
    let states = machine.states();
    let before: BTreeSet<&str> = states
        .iter()
        .filter(|state| state.next().contains("UpdateService"))
        .map(|state| state.name)
        .collect();
    assert_eq!(
        before,
        BTreeSet::from(["DecideOnAlarms", "DecideOnMigration", "DecideOnUpdate"])
    );
    assert_eq!(
        conditions(&machine.state("DecideOnAlarms"), "UpdateService"),
        [r#""{% $migrated != null %}""#]
    );
    let migrated = states.iter().filter(|state| {
        let assigned = &state.definition["Assign"]["migrated"];
        !assigned.is_null()
    });
    assert!(migrated.map(|state| state.name).eq(["CheckExitCode"]));
    let after_the_exit_code = states
        .iter()
        .filter(|state| state.next().contains("DecideOnUpdate"));
    assert!(
        after_the_exit_code
            .map(|state| state.name)
            .eq(["CheckExitCode"])
    );
    let judged = machine.state("CheckExitCode");
    for catcher in judged.catchers() {
        assert_ne!(catcher["Next"], "DecideOnUpdate");
    }
    let decision = machine.state("DecideOnMigration").definition;
    assert_eq!(
        decision["Choices"][0]["Condition"],
        "{% $plan.migration != null %}"
    );
    assert_eq!(decision["Choices"][0]["Next"], "RunMigration");
    assert_eq!(decision["Default"], "UpdateService");
}

/// The conditions under which a state goes on to `next`.
fn conditions(state: &State<'_>, next: &str) -> Vec<String> {
    let choices = state.definition["Choices"].as_array();
    choices
        .into_iter()
        .flatten()
        .filter(|choice| choice["Next"] == next)
        .map(|choice| choice["Condition"].to_string())
        .collect()
}

#[test]
fn only_a_verdict_of_success_leads_to_success() {
    let machine = Machine::load();
    let states = machine.states();
    // What says that a release succeeded: a choice, or a state as a whole.
    let succeeds = |value: &Value| value["outcome"]["verdict"] == "succeeded";
    let mut said_by = BTreeSet::new();
    for state in &states {
        for choice in state.definition["Choices"].as_array().into_iter().flatten() {
            if succeeds(&choice["Assign"]) {
                let condition = choice["Condition"].as_str().unwrap_or("");
                assert!(
                    condition.contains("$health.verdict = 'succeeded'"),
                    "{}: {condition}",
                    state.name
                );
                said_by.insert(state.name);
            }
        }
        if succeeds(&state.definition["Assign"]) {
            said_by.insert(state.name);
        }
    }
    assert_eq!(
        said_by,
        BTreeSet::from([
            "CheckPostDeploy",
            "DecideOnRollback",
            "ExplainPostDeploy",
            "ReleaseHealthy"
        ])
    );
    let leading = |next: &str| -> BTreeSet<&str> {
        let states = states.iter().filter(|state| state.next().contains(next));
        states.map(|state| state.name).collect()
    };
    // Only a release that ECS calls successful comes to any of them.
    for after in ["ReleaseHealthy", "RunPostDeploy"] {
        assert_eq!(leading(after), BTreeSet::from(["DecideOnPostDeploy"]));
    }
    assert_eq!(
        leading("DecideOnPostDeploy"),
        BTreeSet::from(["DecideOnServing"])
    );
    assert_eq!(
        conditions(&machine.state("DecideOnServing"), "DecideOnPostDeploy"),
        [r#""{% $outcome = null %}""#]
    );
    assert_eq!(
        leading("DecideOnServing"),
        BTreeSet::from(["DecideOnImage", "ExplainUnwrittenImage", "WriteImage"])
    );
    assert_eq!(
        leading("DecideOnVerifiedAlarms"),
        BTreeSet::from(["VerifyAlarms"])
    );
    assert_eq!(leading("VerifyAlarms"), BTreeSet::from(["DecideOnHealth"]));
    let healthy = conditions(&machine.state("DecideOnHealth"), "VerifyAlarms");
    assert_eq!(healthy.len(), 1);
    assert!(healthy[0].contains("$health.verdict = 'succeeded'"));
    assert_eq!(leading("Succeeded"), BTreeSet::from(["DecideOnEnd"]));
    assert_eq!(
        conditions(&machine.state("DecideOnEnd"), "Succeeded"),
        [r#""{% $outcome.verdict = 'succeeded' %}""#]
    );
}

/// What is written there is brought into service by the next update of the stack.
#[test]
fn an_image_is_written_for_the_stack_only_when_it_serves() {
    let machine = Machine::load();
    let mut leading: Vec<(&str, String, bool)> = Vec::new();
    for state in machine.states() {
        for choice in state.definition["Choices"].as_array().into_iter().flatten() {
            if choice["Next"] == "DecideOnImage" {
                let decided = !choice["Assign"]["outcome"].is_null();
                leading.push((state.name, choice["Condition"].to_string(), decided));
            }
        }
        if state.definition["Next"] == "DecideOnImage" {
            leading.push((state.name, String::new(), false));
        }
    }
    leading.sort();
    let names: Vec<&str> = leading.iter().map(|(name, ..)| *name).collect();
    assert_eq!(
        names,
        [
            "DecideOnHealth",
            "DecideOnPlan",
            "DecideOnRollback",
            "DecideOnRollback"
        ]
    );
    for (name, condition, decided) in &leading {
        let serves = match *name {
            "DecideOnPlan" => "$plan.action = 'none'",
            _ => "$health.verdict = 'succeeded'",
        };
        assert!(condition.contains(serves), "{name}: {condition}");
        // Only a deployment may have a command to run before its outcome is known.
        assert_eq!(*decided, *name != "DecideOnHealth", "{name}: {condition}");
    }
    let alarms = machine.state("DecideOnVerifiedAlarms").definition;
    assert_eq!(alarms["Default"], "DecideOnImage");
    let write = machine.state("WriteImage");
    let image = write.definition["Arguments"]["Value"]
        .as_str()
        .unwrap_or("");
    assert!(image.contains("RedriveCount = $redrives ? $serving.image : $error("));
    assert_eq!(write.catchers()[0]["Next"], "DecideOnRedrive");
}

#[test]
fn a_task_waits_longer_than_its_function_may_run() {
    let machine = Machine::load();
    let pipeline = Template::load("pipeline.yml");
    for state in calls(&machine) {
        let function = pipeline.properties(&format!("{}Function", stem(&state)));
        let limits = (
            state.definition["TimeoutSeconds"].as_u64(),
            function["Timeout"].as_u64(),
        );
        assert!(
            limits.0 > limits.1 && limits.1.is_some(),
            "{}: {limits:?}",
            state.name
        );
    }
}

#[test]
fn the_machine_outlives_the_longest_migration_and_the_longest_deployment() {
    let pipeline = Template::load("pipeline.yml");
    let longest: u64 = ["MigrationTimeoutSeconds", "DeploymentTimeoutSeconds"]
        .iter()
        .map(|name| {
            pipeline.document()["Parameters"][name]["MaxValue"]
                .as_u64()
                .unwrap_or(0)
        })
        .sum();
    assert!(longest > 0);
    let machine = Machine::load();
    assert!(
        machine.definition()["TimeoutSeconds"]
            .as_u64()
            .is_some_and(|limit| limit > longest)
    );
}
