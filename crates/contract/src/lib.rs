//! The data of the state machine: what crosses from one function to the next.
//!
//! All JSON is camelCase. Inputs refuse keys they do not know, so that a misspelt key is an error
//! that names it and never a setting that is silently ignored. Every function takes a
//! [`serde_json::Value`] and turns it into its own input with [`parse`]: a failure then has the
//! stable name `InvalidInput`, where Lambda's own deserialisation error has a Rust type path.

mod command;
mod end;
mod execution;
mod plan;
mod release;
mod services;
mod text;
mod turn;

pub use command::{
    CheckExitCodeInput, Command, ContainerStatus, EndedTask, ExitCode, LogLocation, Purpose,
    RunMigrationInput, StartedTask, StoppedTask, TaskSize, WaitTaskInput,
};
pub use end::{
    Current, EndReleaseInput, FailedStep, Outcome, RecordCurrentInput, ServiceRevision,
    UnwrittenImage,
};
pub use execution::{ExecutionInput, FiredAlarm, RequestedAction, started_by};
pub use plan::{
    Action, AlarmIsNoReason, Container, Ending, ImageConfig, Limits, Migrations, NotContracted,
    Plan, PlanReleaseInput, PlannedService, Platform, Revision, TurnTaken,
};
pub use release::{EVERY_REPOSITORY, Execution, Release, name_in, name_of};
pub use services::{
    DeregisterRevisionsInput, DeregisteredRevisions, ExplainFailureInput, Health, RollBackInput,
    UpdateServiceInput, UpdatedService, UpdatedServices, Verdict, VerifyHealthInput,
    check_health_check_url,
};
pub use text::{cut, printable, sentence};
pub use turn::{
    ChooseTargetInput, Goal, GoodRelease, NamedRelease, ServingImage, SettleReleaseInput,
    SettledRelease, TakeTurnInput, Target, WantedRevision,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The ECR tag by which a repository says which app stacks run its images.
pub const STACKS_TAG: &str = "bluegreen:stacks";

/// The stacks that a value of [`STACKS_TAG`] names: separated by spaces, each once.
pub fn stacks_named_by(tag: &str) -> Vec<&str> {
    let mut stacks = Vec::new();
    for stack in tag.split_whitespace() {
        if !stacks.contains(&stack) {
            stacks.push(stack);
        }
    }
    stacks
}

/// An input that is not what the function takes. Its message names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The input is not valid: {0}.")]
pub struct InvalidInput(pub String);

/// Reads `input` as a `T`.
///
/// # Errors
/// [`InvalidInput`] with the path of the field that is missing, unknown or of the wrong type.
pub fn parse<T: DeserializeOwned>(input: Value) -> Result<T, InvalidInput> {
    // An array would be read as the fields in their order.
    if !input.is_object() {
        return Err(InvalidInput(format!("it must be an object, not {input}")));
    }
    serde_path_to_error::deserialize(input).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        InvalidInput(match path.as_str() {
            "." => cause.to_string(),
            _ => format!("`{path}`: {cause}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;
    use serde_json::{Map, json};

    const MACHINE: &str = include_str!("../../../statemachine/deploy.asl.json");

    #[test]
    fn stacks_are_separated_by_any_space_and_named_once() {
        assert_eq!(stacks_named_by(" web  staging web "), ["web", "staging"]);
        assert!(stacks_named_by(" ").is_empty());
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = parse::<ExecutionInput>(json!({"stack": "demo", "tga": "v2"})).unwrap_err();
        assert!(error.to_string().contains("`tga`"), "{error}");
    }

    #[test]
    fn a_missing_key_is_named() {
        let error = parse::<ExecutionInput>(json!({"tag": "v2"})).unwrap_err();
        assert!(error.to_string().contains("`stack`"), "{error}");
    }

    #[test]
    fn a_nested_field_of_the_wrong_type_is_named_by_its_path() {
        let input = json!({"execution": {"id": "arn", "redrives": "none"}});
        let error = parse::<WaitTaskInput>(input).unwrap_err();
        assert!(
            error.to_string().contains("`execution.redrives`"),
            "{error}"
        );
    }

    #[test]
    fn an_input_that_is_no_object_is_refused() {
        for input in [json!(null), json!("demo"), json!(7), json!(["demo", "v2"])] {
            assert!(parse::<ExecutionInput>(input).is_err());
        }
    }

    /// An answer as its function writes it.
    fn answer<T: Serialize + DeserializeOwned>(sample: Value) -> Value {
        let answer: T = parse(sample).unwrap_or_else(|error| panic!("{error}"));
        serde_json::to_value(answer).unwrap()
    }

    fn accepts<T: DeserializeOwned>(value: Value) -> Result<(), InvalidInput> {
        parse::<T>(value).map(drop)
    }

    type Accepts = fn(Value) -> Result<(), InvalidInput>;

    /// Every variable of the machine: an answer, and the type that it has. What need not be there is
    /// not there, unless the machine reads on in it.
    fn variables() -> Vec<(&'static str, Value, Accepts)> {
        let service = json!({"cluster": "c", "service": "s", "taskDefinition": "td:1", "containers": ["web"]});
        let command = json!({
            "purpose": "migration", "cluster": "c", "service": "s", "taskDefinition": "td:1",
            "container": "web", "command": ["websvc", "migrate"], "line": ["tini", "--", "websvc", "migrate"],
            "timeoutSeconds": 60
        });
        let platform = json!({"os": "linux", "architecture": "arm64"});
        let release = json!({
            "stack": "demo", "action": "deploy", "record": "release#t#n", "order": "t#t", "startedAt": "t",
            "startedBy": "me", "force": false, "ignoreAlarms": false
        });
        let plan = answer::<Plan>(json!({
            "action": "migrate", "reason": "because", "release": release, "imageParameters": {},
            "services": [service], "migration": command,
            "migrations": {"fingerprint": "0a1b", "sameAs": null}, "postDeploy": command, "alarms": ["demo-5xx"],
            "limits": {"migrationSeconds": 1, "deploymentSeconds": 2, "rollbackWindowSeconds": 3},
            "revisions": [{
                "taskDefinition": "td:1", "containers": [{"name": "web", "image": "i"}],
                "platform": platform
            }],
            "imageConfigs": [{"platform": platform, "entryPoint": ["tini", "--"]}]
        }));
        let task = answer::<StartedTask>(json!({
            "purpose": "migration", "stack": "demo", "image": "i", "cluster": "c", "service": "s",
            "taskArn": "t", "taskDefinition": "td:2", "container": "web", "at": 1, "timeoutSeconds": 60
        }));
        let ended = answer::<EndedTask>(json!({
            "lastStatus": "STOPPED", "overdue": false, "at": 2,
            "stopped": {"stopCode": null, "stoppedReason": null, "containers": [{"name": "web"}]}
        }));
        let moved = json!({
            "cluster": "c", "service": "s", "taskDefinition": "td:2", "previousTaskDefinition": "td:1"
        });
        let updated = answer::<UpdatedServices>(
            json!({"services": [moved], "at": 1, "deadline": 2, "tries": 1}),
        );
        let health =
            answer::<Health>(json!({"verdict": "rolledBack", "cause": "because", "at": 3}));
        let turn = answer::<TurnTaken>(json!({"taken": true, "at": 1}));
        let settled = answer::<SettledRelease>(json!({"foundDeployment": false}));
        let migrated = answer::<ExitCode>(json!({"exitCode": 0, "at": 2}));
        let target = answer::<Target>(json!({
            "requested": false, "services": [{"cluster": "c", "service": "s", "taskDefinition": "td:1"}],
            "migrations": [], "unread": false
        }));
        let current = answer::<Current>(json!({"postDeploy": command}));
        let failure = json!({"Error": "MigrationFailed", "Cause": "{}", "step": "CheckExitCode"});
        let outcome = answer::<Outcome>(
            json!({"verdict": "failed", "reason": "because", "error": "MigrationFailed"}),
        );
        vec![
            ("plan", plan, accepts::<Plan>),
            ("turn", turn, accepts::<TurnTaken>),
            ("settled", settled, accepts::<SettledRelease>),
            ("migration", task.clone(), accepts::<StartedTask>),
            ("migrationEnded", ended.clone(), accepts::<EndedTask>),
            ("migrated", migrated, accepts::<ExitCode>),
            ("update", updated.clone(), accepts::<UpdatedServices>),
            ("health", health.clone(), accepts::<Health>),
            ("target", target, accepts::<Target>),
            ("rolledBack", updated, accepts::<UpdatedServices>),
            ("rollback", health, accepts::<Health>),
            ("current", current, accepts::<Current>),
            ("postDeploy", task, accepts::<StartedTask>),
            ("postDeployEnded", ended, accepts::<EndedTask>),
            ("failure", failure, accepts::<FailedStep>),
            ("outcome", outcome, accepts::<Outcome>),
        ]
    }

    /// By its stem, what a function takes.
    const INPUTS: [(&str, Accepts); 14] = [
        ("PlanRelease", accepts::<PlanReleaseInput>),
        ("TakeTurn", accepts::<TakeTurnInput>),
        ("SettleRelease", accepts::<SettleReleaseInput>),
        ("DeregisterRevisions", accepts::<DeregisterRevisionsInput>),
        ("ExplainFailure", accepts::<ExplainFailureInput>),
        ("RunMigration", accepts::<RunMigrationInput>),
        ("WaitTask", accepts::<WaitTaskInput>),
        ("CheckExitCode", accepts::<CheckExitCodeInput>),
        ("UpdateService", accepts::<UpdateServiceInput>),
        ("VerifyHealth", accepts::<VerifyHealthInput>),
        ("ChooseTarget", accepts::<ChooseTargetInput>),
        ("RollBack", accepts::<RollBackInput>),
        ("RecordCurrent", accepts::<RecordCurrentInput>),
        ("EndRelease", accepts::<EndReleaseInput>),
    ];

    /// What the machine's expressions read, as the roots of their paths.
    fn known(without: &[&str]) -> Value {
        let mut known = Map::new();
        for (name, sample, _) in variables() {
            let value = if without.contains(&name) {
                Value::Null
            } else {
                sample
            };
            known.insert(name.to_owned(), value);
        }
        known.insert(
            "states".to_owned(),
            json!({"context": {
                "Execution": {
                    "Id": "arn", "Input": {"stack": "demo", "tag": "v2"}, "RedriveCount": 0,
                    "StartTime": "2026-01-31T12:00:00.000Z"
                },
                "State": {"Name": "S", "RetryCount": 0},
                "Task": {"Token": "token"}
            }}),
        );
        Value::Object(known)
    }

    /// The value of an expression such as those of the payloads: a path, `null`,
    /// `PATH ? PATH : null`, `PATH ? null : PATH` or `PATH != null or PATH != null`.
    fn evaluate(expression: &str, known: &Value) -> Value {
        if let Some((condition, then)) = expression.split_once(" ? ") {
            let (then, otherwise) = then.split_once(" : ").expect(expression);
            return match evaluate(condition, known) {
                Value::Null => evaluate(otherwise, known),
                _ => evaluate(then, known),
            };
        }
        if expression == "null" {
            return Value::Null;
        }
        if expression.contains("!= null") {
            let is_known = |part: &str| {
                let path = part.strip_suffix(" != null").expect(expression);
                !evaluate(path, known).is_null()
            };
            return json!(expression.split(" or ").any(is_known));
        }
        let path = expression.strip_prefix('$').expect(expression);
        let pointer = format!("/{}", path.replace('.', "/"));
        // What is not there at all fails an execution.
        known.pointer(&pointer).expect(expression).clone()
    }

    fn filled_in(template: &Value, known: &Value) -> Value {
        match template {
            Value::Object(members) => members
                .iter()
                .map(|(key, value)| (key.clone(), filled_in(value, known)))
                .collect(),
            Value::String(text) => match text.strip_prefix("{% ") {
                Some(rest) => evaluate(rest.strip_suffix(" %}").expect(text), known),
                None => template.clone(),
            },
            _ => template.clone(),
        }
    }

    /// Whether the function takes what the state gives it, where the variables `without` are `null`.
    fn give(state: &Value, without: &[&str]) -> Result<(), InvalidInput> {
        let arguments = &state["Arguments"];
        let stem = arguments["FunctionName"].as_str().unwrap();
        let stem = stem
            .trim_start_matches("${")
            .trim_end_matches("FunctionArn}");
        let (_, takes) = INPUTS.iter().find(|(name, _)| *name == stem).expect(stem);
        let payload = filled_in(&arguments["Payload"], &known(without));
        match payload.get("asked") {
            Some(asked) => takes(asked.clone()),
            None => takes(payload),
        }
    }

    fn states() -> Map<String, Value> {
        let machine: Value = serde_json::from_str(MACHINE).unwrap();
        machine["States"].as_object().unwrap().clone()
    }

    #[test]
    fn what_one_function_answers_the_next_one_takes() {
        let states = states();
        let tasks: Vec<_> = states
            .iter()
            .filter(|(_, it)| it["Type"] == "Task")
            .collect();
        assert!(!tasks.is_empty());
        for (name, state) in tasks {
            assert_eq!(give(state, &[]), Ok(()), "{name}");
        }
    }

    /// The same for a stack of so many services, with names as CloudFormation makes them.
    fn of_many(value: &Value, services: usize, number: usize) -> Value {
        let arn = |rest: &str| json!(format!("arn:aws:ecs:us-east-1:123456789012:{rest}"));
        let many = |one: &Value| (0..services).map(|n| of_many(one, services, n)).collect();
        let text = |key: &str, text: &Value| match key {
            "cluster" => arn("cluster/shop-Cluster-AbCdEfGhIjKl"),
            "service" => arn(&format!(
                "service/shop-Cluster-AbCdEfGhIjKl/shop-Service{number:03}-AbCdEfGhIjKl"
            )),
            "taskDefinition" | "previousTaskDefinition" => arn(&format!(
                "task-definition/shop-TaskDefinition{number:03}-AbCdEfGhIjKl:1234"
            )),
            _ => text.clone(),
        };
        match value {
            Value::Object(members) => members
                .iter()
                .map(|(key, value)| match (key.as_str(), value) {
                    ("services" | "revisions", Value::Array(list)) => (key.clone(), many(&list[0])),
                    (_, Value::String(_)) => (key.clone(), text(key, value)),
                    _ => (key.clone(), of_many(value, services, number)),
                })
                .collect(),
            other => other.clone(),
        }
    }

    /// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>: 256 KiB as UTF-8,
    /// and no catcher gets a release on that has more.
    #[test]
    fn what_a_state_hands_on_of_two_hundred_services_is_not_too_long_for_step_functions() {
        let known = of_many(&known(&[]), 200, 0);
        assert_eq!(known["plan"]["services"].as_array().unwrap().len(), 200);
        for (name, state) in states() {
            if let Some(payload) = state["Arguments"].get("Payload") {
                let bytes = filled_in(payload, &known).to_string().len();
                assert!(bytes < 256 * 1024, "{name}: {bytes}");
            }
        }
    }

    #[test]
    fn a_release_may_come_to_a_function_without_having_been_everywhere() {
        let every = variables();
        let every: Vec<&str> = every.iter().map(|(name, ..)| *name).collect();
        for (state, without) in [
            ("PlanRelease", every.as_slice()),
            ("UpdateService", &["migration"]),
            ("ChooseTarget", &["failure", "health"]),
            ("RollBack", &["rolledBack"]),
            ("RecordCurrent", &["update", "target", "rolledBack"]),
            ("EndRelease", &every),
        ] {
            assert_eq!(give(&states()[state], without), Ok(()), "{state}");
        }
    }

    #[test]
    fn a_word_by_which_the_machine_decides_is_one_that_an_answer_can_have() {
        let mut decided = 0;
        for (name, state) in states() {
            for choice in state["Choices"].as_array().into_iter().flatten() {
                let condition = choice["Condition"].as_str().unwrap();
                for part in condition.split(&['(', ')', '{', '}', '%']) {
                    for comparison in part.split(" or ").flat_map(|part| part.split(" and ")) {
                        let Some((path, word)) = comparison.split_once(" = '") else {
                            continue;
                        };
                        let path = path.trim().trim_start_matches('$');
                        let (variable, field) = path.split_once('.').expect(path);
                        let mut all = variables().into_iter();
                        let found = all.find(|(known, ..)| *known == variable);
                        let (_, mut answer, accepts) = found.expect(variable);
                        answer[field] = json!(word.trim_end().trim_end_matches('\''));
                        assert_eq!(accepts(answer), Ok(()), "{name}: {condition}");
                        decided += 1;
                    }
                }
            }
        }
        assert!(decided > 0);
    }

    #[test]
    fn an_execution_that_ended_well_has_no_error_in_its_output() {
        let outcome: Outcome = parse(json!({"verdict": "succeeded", "reason": "because"})).unwrap();
        assert_eq!(
            serde_json::to_value(outcome).unwrap(),
            json!({"verdict": "succeeded", "reason": "because"})
        );
    }
}
