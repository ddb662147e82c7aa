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
mod turn;

pub use command::{
    CheckExitCodeInput, Command, ContainerStatus, EndedTask, ExitCode, LogLocation, Purpose,
    RunMigrationInput, StartedTask, StoppedTask, WaitTaskInput,
};
pub use end::{
    Current, EndReleaseInput, FailedStep, Outcome, RecordCurrentInput, ServiceRevision,
    UnwrittenImage,
};
pub use execution::{ExecutionInput, FiredAlarm, RequestedAction, started_by};
pub use plan::{
    Action, AlarmIsNoReason, Container, Ending, Limits, Plan, PlanReleaseInput, PlannedService,
    Revision, TurnTaken,
};
pub use release::{EVERY_REPOSITORY, Execution, Release, name_of};
pub use services::{
    Health, RollBackInput, UpdateServiceInput, UpdatedService, UpdatedServices, Verdict,
    VerifyHealthInput, check_health_check_url,
};
pub use turn::{
    ChooseTargetInput, GoodRelease, ServingImage, SettleReleaseInput, SettledRelease,
    TakeTurnInput, Target, WantedRevision,
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
    use serde_json::json;

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
        let error = parse::<VerifyHealthInput>(json!({"services": [{"cluster": 5}]})).unwrap_err();
        assert!(
            error.to_string().contains("`services[0].cluster`"),
            "{error}"
        );
    }

    #[test]
    fn an_input_that_is_no_object_is_refused() {
        for input in [json!(null), json!("demo"), json!(7), json!(["demo", "v2"])] {
            assert!(parse::<ExecutionInput>(input).is_err());
        }
    }

    #[test]
    fn every_answer_has_the_keys_the_state_machine_reads() {
        let running = TaskStatus {
            stopped: false,
            last_status: "RUNNING".to_owned(),
            task: None,
        };
        assert_eq!(
            serde_json::to_value(running).unwrap(),
            json!({"stopped": false, "lastStatus": "RUNNING"})
        );

        let started = StartedMigration {
            cluster: "c".to_owned(),
            task_arn: "t".to_owned(),
            task_definition: "td:1".to_owned(),
            container: "web".to_owned(),
            log: None,
        };
        assert_eq!(
            serde_json::to_value(started).unwrap(),
            json!({"cluster": "c", "taskArn": "t", "taskDefinition": "td:1", "container": "web", "log": null})
        );

        let plan = Plan {
            action: Action::None,
            reason: "because".to_owned(),
            stack: "demo".to_owned(),
            repository: Some("demo".to_owned()),
            tag: None,
            digest: Some("sha256:0".to_owned()),
            image: Some("r/demo@sha256:0".to_owned()),
            image_parameters: [("demo".to_owned(), "/bluegreen/demo/image".to_owned())].into(),
            services: vec![PlannedService {
                cluster: "c".to_owned(),
                service: "s".to_owned(),
                task_definition: "td:1".to_owned(),
                containers: vec!["web".to_owned()],
            }],
            migration: None,
            post_deploy: None,
            alarms: vec!["demo-5xx".to_owned()],
            health_check_url: None,
            limits: Limits {
                migration_seconds: Some(60),
                ..Limits::default()
            },
            revisions: vec![Revision {
                task_definition: "td:1".to_owned(),
                containers: vec![Container {
                    name: "web".to_owned(),
                    image: "r/demo:v1".to_owned(),
                }],
            }],
        };
        assert_eq!(
            serde_json::to_value(plan).unwrap(),
            json!({
                "action": "none", "reason": "because", "stack": "demo", "repository": "demo",
                "tag": null, "digest": "sha256:0", "image": "r/demo@sha256:0",
                "imageParameters": {"demo": "/bluegreen/demo/image"},
                "services": [{"cluster": "c", "service": "s", "taskDefinition": "td:1", "containers": ["web"]}],
                "migration": null, "postDeploy": null, "alarms": ["demo-5xx"], "healthCheckUrl": null,
                "limits": {
                    "migrationSeconds": 60, "deploymentSeconds": null,
                    "postDeploySeconds": null, "rollbackWindowSeconds": null
                },
                "revisions": [{"taskDefinition": "td:1", "containers": [{"name": "web", "image": "r/demo:v1"}]}]
            })
        );

        let health = Health {
            verdict: Verdict::RolledBack,
            cause: "because".to_owned(),
            services: vec![],
        };
        assert_eq!(
            serde_json::to_value(health).unwrap(),
            json!({"verdict": "rolledBack", "cause": "because", "services": []})
        );

        let settled = SettledRelease {
            settled: false,
            cause: "because".to_owned(),
            tasks: vec!["t".to_owned()],
            deployments: vec![],
        };
        assert_eq!(
            serde_json::to_value(settled).unwrap(),
            json!({"settled": false, "cause": "because", "tasks": ["t"], "deployments": []})
        );
    }

    #[test]
    fn what_one_function_answers_the_next_one_takes() {
        let known = json!([{"taskDefinition": "td:1", "containers": [{"name": "web", "image": "r/demo:v1"}]}]);
        let again = json!({"request": {"stack": "demo", "tag": "v2"}, "revisions": known});
        assert!(parse::<PlanReleaseInput>(again).is_ok());

        let plan = json!({
            "migration": {"cluster": "c", "service": "s", "taskDefinition": "td:1", "container": "web", "command": ["websvc", "migrate"]},
            "image": "i", "repository": "demo", "stack": "demo", "executionId": "arn", "attempt": 0
        });
        assert!(parse::<RunMigrationInput>(plan).is_ok());

        let task = json!({
            "taskArn": "t", "stopCode": "EssentialContainerExited", "stoppedReason": "done",
            "containers": [{"name": "web", "exitCode": null, "reason": null}]
        });
        let status = json!({"stopped": true, "lastStatus": "STOPPED", "task": task});
        let status: TaskStatus = parse(status).unwrap();
        let input = json!({"container": "web", "task": status.task, "log": null});
        assert!(parse::<CheckExitCodeInput>(input).is_ok());

        let services = json!({"services": [{"cluster": "c", "service": "s", "taskDefinition": "td:2", "previousTaskDefinition": "td:1"}]});
        let input: VerifyHealthInput = parse(services).unwrap();
        assert!(!input.rollback && input.health_check_url.is_none());

        let planned = json!([{"cluster": "c", "service": "s", "taskDefinition": "td:1", "containers": ["web"]}]);
        let input = json!({"stack": "demo", "services": planned, "stop": "all"});
        assert!(parse::<SettleReleaseInput>(input).is_ok());

        let wanted = json!([{"cluster": "c", "service": "s", "taskDefinition": "td:1"}]);
        let input = json!({"stack": "demo", "executionId": "arn", "services": wanted});
        assert!(parse::<RollBackInput>(input).is_ok());
    }
}
