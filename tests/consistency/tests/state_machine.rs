//! What the state machine says of itself, of the functions and of the contract.

use consistency::{
    Contract, Crate, Machine, State, Template, contract_enum, errors, expression, functions, paths,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The states that call a function: all that do anything.
fn calls(machine: &Machine) -> Vec<State<'_>> {
    let states = machine.of_type("Task");
    assert!(!states.is_empty(), "no state calls a function");
    states
}

/// The stem of the function that a state calls.
fn stem<'a>(state: &State<'a>) -> &'a str {
    state
        .stem()
        .unwrap_or_else(|| panic!("{} calls no function by its ARN", state.name))
}

/// The function that a state calls.
fn function(state: &State<'_>) -> Crate {
    let stem = stem(state);
    functions()
        .into_iter()
        .find(|function| function.stem() == stem)
        .unwrap_or_else(|| panic!("no function has the stem {stem}"))
}

/// Of an execution that was redriven, this says that its turn is to be taken again.
const REDRIVEN: &str = "ExecutionRedriven";

/// An earlier call of the same state may still change something.
const IN_PROGRESS: &str = "CallInProgress";

/// The last state that does anything: where no other can help.
const LAST: &str = "EndRelease";

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

/// The order of a release is the machine's; what is decided and what is said is Rust's.
#[test]
fn the_machine_stays_one_that_a_person_reads() {
    let machine = Machine::load();
    let states = machine.states();
    assert!(states.len() <= 28, "{} states", states.len());
    let mut all = 0;
    for state in &states {
        for text in state.expressions() {
            let length = text.chars().count();
            assert!(length <= 160, "{}: {length} characters: {text}", state.name);
            all += length;
        }
    }
    assert!(all <= 6_000, "{all} characters of JSONata");
    for state in states {
        let kind = state.definition["Type"].as_str().unwrap_or("");
        let known = ["Task", "Choice", "Succeed", "Fail"];
        assert!(known.contains(&kind), "{} is a {kind}", state.name);
    }
}

#[test]
fn every_task_is_a_lambda_function() {
    let machine = Machine::load();
    for state in calls(&machine) {
        let resource = state.definition["Resource"].as_str().unwrap_or("");
        let resource = resource.trim_end_matches(".waitForTaskToken");
        assert_eq!(
            resource, "arn:${Partition}:states:::lambda:invoke",
            "{}",
            state.name
        );
        assert!(!stem(&state).is_empty());
    }
}

#[test]
fn a_state_that_waits_gives_its_token_and_what_it_asks_and_no_other_state_has_one() {
    let machine = Machine::load();
    let token = "$states.context.Task.Token";
    for state in calls(&machine) {
        let payload = &state.definition["Arguments"]["Payload"];
        if state.waits() {
            assert_eq!(expression(&payload["token"]), Some(token), "{}", state.name);
            let keys: BTreeSet<&str> = payload
                .as_object()
                .into_iter()
                .flat_map(|it| it.keys().map(String::as_str))
                .collect();
            assert_eq!(keys, ["asked", "token"].into(), "{}", state.name);
        } else {
            assert!(!state.expressions().contains(&token), "{}", state.name);
        }
    }
}

#[test]
fn every_task_has_a_time_limit_and_one_that_waits_a_heartbeat_below_it() {
    let machine = Machine::load();
    let pipeline = Template::load("pipeline.yml");
    let longest = pipeline.document()["Parameters"]["HeartbeatSeconds"]["MaxValue"].as_u64();
    for state in calls(&machine) {
        let limit = state.definition["TimeoutSeconds"].as_u64();
        assert!(limit.is_some(), "{} has no TimeoutSeconds", state.name);
        let heartbeat = expression(&state.definition["HeartbeatSeconds"]);
        assert_eq!(heartbeat.is_some(), state.waits(), "{}", state.name);
        if let Some(heartbeat) = heartbeat {
            assert!(heartbeat.contains("${HeartbeatSeconds}"), "{}", state.name);
            assert!(limit > longest && longest.is_some(), "{}", state.name);
        }
    }
}

/// Whether a retrier is the one by which a state that waits asks again.
fn asks_again(retrier: &Value) -> bool {
    errors(retrier) == ["States.HeartbeatTimeout"]
}

#[test]
fn every_task_tries_again_with_jitter_and_a_longest_delay() {
    for state in Machine::load().of_type("Task") {
        assert!(!state.retriers().is_empty(), "{} has no Retry", state.name);
        // Nothing has failed where a state only asks again.
        for retrier in state.retriers().iter().filter(|it| !asks_again(it)) {
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

/// `States.Timeout` is a heartbeat's other name: its retrier would count them as failures.
#[test]
fn a_state_that_waits_asks_again_before_anything_else_is_retried() {
    for state in Machine::load().of_type("Task") {
        let found: Vec<bool> = state.retriers().iter().map(asks_again).collect();
        let expected: Vec<bool> = (0..found.len())
            .map(|number| number == 0 && state.waits())
            .collect();
        assert_eq!(found, expected, "{}", state.name);
    }
}

#[test]
fn transient_errors_are_retried_before_those_of_the_domain() {
    let machine = Machine::load();
    for state in calls(&machine) {
        let failures = state.retriers().iter().filter(|it| !asks_again(it));
        let failures: Vec<&Value> = failures.collect();
        let is_domain = |retrier: &&Value| errors(retrier).iter().all(|name| !name.contains('.'));
        assert!(
            failures.iter().map(is_domain).is_sorted(),
            "{} retries a domain error before a transient one",
            state.name
        );
        // A state that waits may wait for days, in which what is not the function's fault adds up: its
        // retrier for that is one of its own.
        let transient = if state.waits() { 2 } else { 1 };
        let first: BTreeSet<&str> = failures[..transient]
            .iter()
            .flat_map(|retrier| errors(retrier))
            .collect();
        for name in [
            "Lambda.ClientExecutionTimeoutException",
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.TooManyRequestsException",
            // A function that stopped at its time limit, or crashed, goes on where it was.
            "Sandbox.Timedout",
            "Runtime.ExitError",
            "States.Timeout",
        ] {
            assert!(
                first.contains(name),
                "{} does not retry {name} first",
                state.name
            );
        }
    }
}

/// States whose failure fails nothing, and where the release goes on: how it ended is known by then.
const WITHOUT: [(&str, &str); 2] = [
    ("DeregisterRevisions", LAST),
    ("ExplainFailure", "ChooseTarget"),
];

#[test]
fn whatever_fails_is_handed_on_with_the_name_of_its_state() {
    let machine = Machine::load();
    let handed_on = "$merge([$states.errorOutput, {'step': $states.context.State.Name";
    for state in calls(&machine) {
        let last = state.catchers().last().unwrap_or(&Value::Null);
        assert_eq!(
            errors(last),
            ["States.ALL"],
            "{}: the last catcher",
            state.name
        );
        let next = last["Next"].as_str().unwrap_or("");
        if state.name == LAST {
            assert_eq!(next, "ReleaseFailed");
            assert_eq!(last["Assign"]["outcome"]["error"], "PipelineFault");
        } else if let Some((_, goes_on)) = WITHOUT.iter().find(|(name, _)| state.name == *name) {
            assert_eq!(
                *last,
                json!({"ErrorEquals": ["States.ALL"], "Next": goes_on})
            );
        } else {
            assert!(
                ["DecideOnFailure", LAST].contains(&next),
                "{}: {next}",
                state.name
            );
            let failure = expression(&last["Assign"]["failure"]).unwrap_or("");
            assert!(failure.starts_with(handed_on), "{}: {failure}", state.name);
        }
    }
}

#[test]
fn a_redriven_execution_takes_its_turn_again_before_it_changes_anything() {
    let machine = Machine::load();
    let mut found = 0;
    for state in calls(&machine) {
        let can_tell = function(&state).failures().contains(REDRIVEN);
        assert_eq!(
            state.caught().contains(REDRIVEN),
            can_tell,
            "{}",
            state.name
        );
        if can_tell {
            found += 1;
            let first = &state.catchers()[0];
            assert_eq!(errors(first), [REDRIVEN], "{}", state.name);
            assert_eq!(first["Next"], "TakeTurn", "{}", state.name);
        }
    }
    assert!(found > 0, "no function can tell that it was redriven");
}

/// A delay is a random part of its longest, on average the half of it. Some dozens of them together
/// hardly ever come to less than three fifths of their average.
#[test]
fn a_state_waits_for_an_earlier_call_for_as_long_as_it_may_last() {
    let machine = Machine::load();
    let pipeline = Template::load("pipeline.yml");
    let limit = |state: &State<'_>| {
        let function = pipeline.properties(&format!("{}Function", stem(state)));
        function["Timeout"].as_f64().unwrap()
    };
    let can_tell = |state: &State<'_>| function(state).failures().contains(IN_PROGRESS);
    let calls = calls(&machine);
    let longest = calls.iter().filter(|it| can_tell(it)).map(limit);
    let longest = longest.fold(0.0, f64::max);
    assert!(longest > 0.0, "no function tells of an earlier call");
    for state in calls {
        let of_it = |retrier: &&Value| errors(retrier) == [IN_PROGRESS];
        let retrier = state.retriers().iter().find(of_it);
        assert_eq!(retrier.is_some(), can_tell(&state), "{}", state.name);
        let Some(retrier) = retrier else {
            continue;
        };
        let number = |key: &str| retrier[key].as_f64().unwrap();
        let delays = std::iter::successors(Some(number("IntervalSeconds")), |delay| {
            Some((delay * number("BackoffRate")).min(number("MaxDelaySeconds")))
        });
        let attempts = usize::try_from(retrier["MaxAttempts"].as_u64().unwrap()).unwrap();
        let average = delays.take(attempts).sum::<f64>() / 2.0;
        assert!(average * 0.6 > longest, "{}", state.name);
    }
}

#[test]
fn every_function_knows_which_try_of_the_execution_calls() {
    let machine = Machine::load();
    let execution = json!({
        "id": "{% $states.context.Execution.Id %}",
        "redrives": "{% $states.context.Execution.RedriveCount %}"
    });
    // They change nothing.
    let others = ["CheckExitCode", "ExplainFailure"];
    for state in calls(&machine) {
        let given = &state.payload()["execution"];
        let expected = if others.contains(&stem(&state)) {
            &Value::Null
        } else {
            &execution
        };
        assert_eq!(given, expected, "{}", state.name);
    }
}

#[test]
fn a_turn_that_is_taken_again_knows_nothing_of_the_try_before() {
    let machine = Machine::load();
    let every: BTreeSet<&str> = machine
        .states()
        .iter()
        .flat_map(State::assigned)
        .map(|(name, _)| name)
        .collect();
    let of = |name: &str| -> BTreeSet<String> {
        let assigned = machine.state(name).definition["Assign"].as_object();
        assigned
            .into_iter()
            .flat_map(|it| it.keys().cloned())
            .collect()
    };
    let missing = |name: &str| -> BTreeSet<&str> {
        let own = of(name);
        every
            .iter()
            .copied()
            .filter(|it| !own.contains(*it))
            .collect()
    };
    assert_eq!(missing("PlanRelease"), BTreeSet::from(["outcome"]));
    assert_eq!(missing("TakeTurn"), BTreeSet::from(["outcome", "plan"]));
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
fn every_error_that_the_machine_names_is_one_the_function_can_fail_with() {
    let machine = Machine::load();
    for state in calls(&machine) {
        let named: BTreeSet<String> = state.retried().union(&state.caught()).cloned().collect();
        let unknown: Vec<_> = named
            .difference(&function(&state).failures())
            .cloned()
            .collect();
        assert!(
            unknown.is_empty(),
            "{} names what nothing raises: {unknown:?}",
            state.name
        );
    }
}

/// A state by which, or an error by which, the machine decides.
#[test]
fn a_failure_is_decided_on_by_states_and_errors_that_there_are() {
    let machine = Machine::load();
    let decision = machine.state("DecideOnFailure");
    let names: BTreeSet<&str> = machine.states().iter().map(|state| state.name).collect();
    let failures = functions()
        .iter()
        .flat_map(Crate::failures)
        .collect::<BTreeSet<_>>();
    for choice in decision.choices() {
        let condition = expression(&choice["Condition"]).unwrap_or("");
        for word in condition.split('\'').skip(1).step_by(2) {
            assert!(names.contains(word) || failures.contains(word), "{word}");
        }
    }
    let text = decision.definition.to_string();
    assert!(text.contains("$failure.step = 'UpdateService' and $failure.Error != 'AlarmsInAlarm'"));
    assert!(
        function(&machine.state("UpdateService"))
            .failures()
            .contains("AlarmsInAlarm")
    );
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

/// What every variable of the machine holds: a type of the contract.
fn variables(machine: &Machine, contract: &Contract) -> BTreeMap<String, String> {
    let mut found = BTreeMap::from([("failure".to_owned(), "FailedStep".to_owned())]);
    for state in calls(machine) {
        let result = if state.waits() {
            "$states.result"
        } else {
            "$states.result.Payload"
        };
        for (variable, value) in state.assigned() {
            if expression(value).is_some_and(|text| text.starts_with("$states.result")) {
                assert_eq!(expression(value), Some(result), "{}", state.name);
                let held = contract.answer_of(&function(&state).name);
                let before = found.insert(variable.to_owned(), held.clone());
                assert!(
                    before.is_none_or(|it| it == held),
                    "{}: {variable}",
                    state.name
                );
            }
        }
    }
    found
}

/// What a path such as `plan.release.stack` holds.
fn holds(
    path: &str,
    variables: &BTreeMap<String, String>,
    contract: &Contract,
) -> Result<String, String> {
    let parts: Vec<&str> = path.split('.').collect();
    let start = variables
        .get(parts[0])
        .ok_or_else(|| format!("there is no variable {}", parts[0]))?;
    // What a Catch hands on has Step Functions' own names.
    contract.resolve(start, &parts[1..])
}

#[test]
fn every_answer_has_what_the_machine_reads_of_it() {
    let machine = Machine::load();
    let contract = Contract::load();
    let variables = variables(&machine, &contract);
    for state in machine.states() {
        for text in state.expressions() {
            // Functions of JSONata, and what Step Functions gives.
            let read = paths(text).into_iter().filter(|path| {
                !path.starts_with("states") && !["max", "merge", "exists"].contains(path)
            });
            for path in read {
                let found = holds(path, &variables, &contract);
                assert!(found.is_ok(), "{}: ${path}: {found:?}", state.name);
            }
        }
        for (variable, value) in state.assigned() {
            let path = expression(value).and_then(|text| text.strip_prefix('$'));
            if let Some(path) = path.filter(|it| !it.contains("states.")) {
                let found = holds(path, &variables, &contract);
                assert_eq!(found.as_ref(), Ok(&variables[variable]), "{}", state.name);
            }
        }
    }
}

/// Compares what is given, key by key, with the fields of a struct of the contract.
fn check_given(
    place: &str,
    given: &Value,
    wanted: &str,
    variables: &BTreeMap<String, String>,
    contract: &Contract,
) {
    let Some(members) = given.as_object() else {
        let path = expression(given).and_then(|text| text.strip_prefix('$'));
        let whole = path.filter(|it| it.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'));
        if let Some(path) = whole.filter(|it| !it.starts_with("states.")) {
            let found = holds(path, variables, contract);
            assert_eq!(found.as_deref(), Ok(wanted), "{place}: ${path}");
        }
        return;
    };
    let fields = contract.fields(wanted);
    let fields = fields.unwrap_or_else(|| panic!("{place}: {wanted} has no fields"));
    let names: BTreeSet<&String> = fields.keys().collect();
    assert_eq!(members.keys().collect::<BTreeSet<_>>(), names, "{place}");
    for (key, value) in members {
        let place = format!("{place}.{key}");
        check_given(&place, value, &fields[key], variables, contract);
    }
}

/// The fields of an input that a state may leave out, because they have a default.
const LEFT_OUT: [(&str, &str); 3] = [
    ("VerifyRollback", "alarms"),
    ("VerifyRollback", "healthCheckUrl"),
    ("VerifyRollback", "targetHealthMinutes"),
];

#[test]
fn every_function_gets_what_its_input_is_made_of() {
    let machine = Machine::load();
    let contract = Contract::load();
    let variables = variables(&machine, &contract);
    for state in calls(&machine) {
        let mut given = state.payload().clone();
        for (_, key) in LEFT_OUT.iter().filter(|(name, _)| *name == state.name) {
            assert!(given[*key].is_null(), "{} gives {key}", state.name);
            given[*key] = Value::Null;
        }
        let input = contract.input_of(&function(&state).name);
        check_given(state.name, &given, &input, &variables, &contract);
    }
}

/// The conditions under which a state goes on to `next`.
fn conditions(state: &State<'_>, next: &str) -> Vec<String> {
    state
        .choices()
        .iter()
        .filter(|choice| choice["Next"] == next)
        .filter_map(|choice| Some(expression(&choice["Condition"])?.to_owned()))
        .collect()
}

/// The states that may lead to `next`, and how: by which conditions, or `[]` by a `Next` or a
/// `Default`.
fn leading<'a>(machine: &'a Machine, next: &str) -> BTreeMap<&'a str, Vec<String>> {
    let states = machine.states().into_iter();
    states
        .filter(|state| state.next().contains(next))
        .map(|state| (state.name, conditions(&state, next)))
        .collect()
}

fn ways<const N: usize>(
    expected: [(&'static str, &[&str]); N],
) -> BTreeMap<&'static str, Vec<String>> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    expected
        .into_iter()
        .map(|(name, texts)| (name, owned(texts)))
        .collect()
}

#[test]
fn every_action_of_a_plan_is_decided_on_but_the_one_that_has_nothing_to_do() {
    let machine = Machine::load();
    let decision = machine.state("DecideOnPlan");
    let mut actions = contract_enum("Action");
    assert!(actions.remove("end"));
    let expected: Vec<String> = actions
        .iter()
        .map(|action| format!("$plan.action = '{action}'"))
        .collect();
    let mut found: Vec<&str> = decision
        .choices()
        .iter()
        .filter_map(|choice| expression(&choice["Condition"]))
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(decision.definition["Default"], LAST);
}

#[test]
fn whatever_verdict_is_not_success_takes_the_services_back_unless_somebody_deployed_anew() {
    let machine = Machine::load();
    let verdicts = contract_enum("Verdict");
    for (name, default, decided) in [
        (
            "DecideOnHealth",
            "ExplainFailure",
            [("succeeded", "RecordCurrent"), ("superseded", LAST)],
        ),
        (
            "DecideOnRollback",
            LAST,
            [("succeeded", "RecordCurrent"), ("again", "RollBack")],
        ),
    ] {
        let state = machine.state(name);
        assert_eq!(state.choices().len(), decided.len(), "{name}");
        for (verdict, next) in decided {
            assert!(verdicts.contains(verdict));
            let of = if name == "DecideOnHealth" {
                "health"
            } else {
                "rollback"
            };
            let expected = format!("${of}.verdict = '{verdict}'");
            assert_eq!(conditions(&state, next), [expected], "{name}");
        }
        assert_eq!(state.definition["Default"], default, "{name}");
    }
}

#[test]
fn only_a_plan_without_a_migration_and_an_exit_code_lead_to_the_services() {
    let machine = Machine::load();
    assert_eq!(
        leading(&machine, "UpdateService"),
        ways([
            ("CheckExitCode", &[]),
            ("DecideOnPlan", &["$plan.action = 'deploy'"])
        ])
    );
    let judged = machine.state("CheckExitCode");
    for catcher in judged.catchers() {
        assert_ne!(catcher["Next"], "UpdateService");
    }
    assert_eq!(
        leading(&machine, "RunMigration"),
        // A task that never started is followed by another one.
        ways([
            ("CheckExitCode", &[]),
            ("DecideOnPlan", &["$plan.action = 'migrate'"])
        ])
    );
    assert_eq!(
        leading(&machine, "CheckExitCode"),
        ways([("WaitTask", &[])])
    );
    assert_eq!(leading(&machine, "WaitTask"), ways([("RunMigration", &[])]));
    let migrated = machine.states().into_iter().filter(|state| {
        let assigned = &state.definition["Assign"]["migrated"];
        !assigned.is_null()
    });
    assert!(migrated.map(|state| state.name).eq(["CheckExitCode"]));
}

/// What is recorded is what the next rollback goes back to, and what the next update of the stack
/// brings into service.
#[test]
fn an_image_is_recorded_only_when_it_serves() {
    let machine = Machine::load();
    assert_eq!(
        leading(&machine, "RecordCurrent"),
        ways([
            ("DecideOnHealth", &["$health.verdict = 'succeeded'"]),
            ("DecideOnPlan", &["$plan.action = 'record'"]),
            ("DecideOnRollback", &["$rollback.verdict = 'succeeded'"]),
        ])
    );
    assert_eq!(
        leading(&machine, "DecideOnHealth"),
        ways([("VerifyHealth", &[])])
    );
    assert_eq!(
        leading(&machine, "DecideOnRollback"),
        ways([("VerifyRollback", &[])])
    );
}

#[test]
fn a_command_runs_only_after_the_image_is_recorded_or_where_one_serves() {
    let machine = Machine::load();
    assert_eq!(
        leading(&machine, "RunPostDeploy"),
        ways([
            ("CheckPostDeploy", &[]),
            ("DecideOnPlan", &["$plan.action = 'contract'"]),
            ("DecideOnPostDeploy", &["$current.postDeploy != null"]),
        ])
    );
    assert_eq!(
        leading(&machine, "DecideOnPostDeploy"),
        ways([("RecordCurrent", &[])])
    );
    let after = ["RunPostDeploy", "WaitPostDeploy", "CheckPostDeploy"];
    for name in after {
        let caught: BTreeSet<&str> = machine
            .state(name)
            .catchers()
            .iter()
            .filter_map(|catcher| catcher["Next"].as_str())
            .filter(|next| !["RunPostDeploy", "TakeTurn"].contains(next))
            .collect();
        // The release stays, whatever came of the command.
        assert_eq!(caught, BTreeSet::from([LAST]), "{name}");
    }
}

#[test]
fn what_a_release_registered_and_what_does_not_serve_is_deregistered_before_it_ends() {
    let machine = Machine::load();
    assert_eq!(
        leading(&machine, "DeregisterRevisions"),
        ways([
            (
                "DecideOnFailure",
                &["$migration != null or $failure.step in ['RunMigration', 'UpdateService']"]
            ),
            ("DecideOnPostDeploy", &["$rolledBack != null"]),
        ])
    );
    assert_eq!(
        machine.state("DeregisterRevisions").definition["Next"],
        LAST
    );
}

#[test]
fn an_execution_ends_by_the_state_that_closes_its_release_and_well_only_without_an_error() {
    let machine = Machine::load();
    assert_eq!(leading(&machine, "DecideOnEnd"), ways([(LAST, &[])]));
    assert_eq!(leading(&machine, "Succeeded"), ways([("DecideOnEnd", &[])]));
    assert_eq!(
        leading(&machine, "ReleaseFailed"),
        ways([("DecideOnEnd", &["$exists($outcome.error)"]), (LAST, &[])])
    );
    let ends = machine.states().into_iter().filter(|state| {
        let kind = state.definition["Type"].as_str();
        kind.is_some_and(|kind| ["Succeed", "Fail"].contains(&kind))
    });
    let ends: BTreeSet<&str> = ends.map(|state| state.name).collect();
    assert_eq!(ends, BTreeSet::from(["ReleaseFailed", "Succeeded"]));
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

/// What a function waits for beyond a limit, until what it has stopped has stopped.
const GRACE: u64 = 900;

/// Seconds of 20160 minutes, the longest that ECS lets a hook wait
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentLifecycleHookTimeoutConfiguration.html>).
const LONGEST_PAUSE: u64 = 20_160 * 60;

#[test]
fn the_machine_outlives_the_longest_release_with_all_its_rollbacks() {
    let pipeline = Template::load("pipeline.yml");
    let most = |name: &str| {
        let parameter = &pipeline.document()["Parameters"][name];
        parameter["MaxValue"].as_u64().unwrap_or(0)
    };
    let task = most("MigrationTimeoutSeconds") + GRACE;
    let deployment = most("DeploymentTimeoutSeconds");
    assert!(task > GRACE && deployment > 0);
    // An alarm that makes ECS take a rollback back makes it begin again, with a deadline of its own.
    let conclusion = include_str!("../../../functions/verify-health/src/conclusion.rs");
    let tries = conclusion.split_once("const TRIES: u32 = ").unwrap().1;
    let tries: u64 = tries.split_once(';').unwrap().0.parse().unwrap();
    // A hook may pause a deployment, which then has its time once more.
    let paused = LONGEST_PAUSE + deployment;
    let targets = most("TargetHealthMinutes") * 60;
    assert!(targets > 0);
    // What an earlier release left, the migration, the deployment, the rollbacks and a command.
    let longest = task + task + deployment + paused + targets + tries * deployment + task;
    let machine = Machine::load();
    let limit = machine.definition()["TimeoutSeconds"].as_u64();
    assert!(limit > Some(longest), "{limit:?}, {longest}");
}
