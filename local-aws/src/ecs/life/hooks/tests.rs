use std::sync::Mutex;

use super::*;
use crate::ecs::in_process;
use crate::ecs::life::pauses::{Pause, Pauses};
use crate::ecs::model::hooks::{Action, abandon, note};
use crate::ecs::model::values::now;
use crate::ecs::rules::hooks::samples::{
    FUNCTION, begun, function_hook, parse_hooks, pause_hook, with,
};

fn call(stage: Stage) -> HookCall {
    let weights = |green: f64| {
        let weights = [("blue", 100.0 - green), ("green", green)];
        weights
            .map(|(name, weight)| (name.to_owned(), weight))
            .into()
    };
    HookCall {
        service_arn: "service".to_owned(),
        service_deployment_arn: "deployment".to_owned(),
        target_revision_arn: "green".to_owned(),
        stage,
        test_weights: weights(100.0),
        production_weights: weights(12.5),
    }
}

// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/lambda-lifecycle-hooks.html>
// ("Lifecycle payloads")
#[test]
fn a_function_is_told_the_deployment_the_stage_and_the_weights_the_stage_is_about() {
    let payload = |stage| call(stage).payload("execution", None);
    assert_eq!(
        payload(Stage::PostScaleUp),
        json!({
            "executionId": "execution",
            "lifecycleStage": "POST_SCALE_UP",
            "resourceArn": "deployment",
            "executionDetails": {
                "serviceArn": "service",
                "targetServiceRevisionArn": "green",
                "testTrafficWeights": {},
                "productionTrafficWeights": {},
            },
        })
    );
    let weights = |stage| {
        let details = payload(stage)["executionDetails"].clone();
        (
            details["testTrafficWeights"].clone(),
            details["productionTrafficWeights"].clone(),
        )
    };
    let test = json!({"blue": 0, "green": 100});
    let production = json!({"blue": 87.5, "green": 12.5});
    assert_eq!(weights(Stage::TestTrafficShift), (test, json!({})));
    for stage in [
        Stage::PreProductionTrafficShift,
        Stage::ProductionTrafficShift,
    ] {
        assert_eq!(weights(stage), (json!({}), production.clone()));
    }
}

#[test]
fn a_functions_answer_succeeds_fails_or_asks_for_another_call() {
    let read = |answer: &str| Answer::read(answer.as_bytes());
    assert_eq!(read(r#"{"hookStatus":"SUCCEEDED"}"#), Ok(Answer::Succeeded));
    assert_eq!(read(r#"{"hookStatus":"FAILED"}"#), Ok(Answer::Failed));
    let again = |seconds, details| Answer::InProgress {
        delay: Duration::from_secs(seconds),
        details,
    };
    assert_eq!(read(r#"{"hookStatus":"IN_PROGRESS"}"#), Ok(again(30, None)));
    assert_eq!(
        read(r#"{"hookStatus":"IN_PROGRESS","callBackDelay":60,"hookDetails":{"a":1}}"#),
        Ok(again(60, Some(json!({"a": 1}))))
    );
}

#[test]
fn an_answer_that_is_missing_misspelt_or_garbage_is_wrong_and_is_quoted() {
    for answer in [
        "",
        "null",
        "true",
        "[]",
        "\"SUCCEEDED\"",
        "{}",
        r#"{"hookstatus":"SUCCEEDED"}"#,
        r#"{"hookStatus":"Succeeded"}"#,
        r#"{"hookStatus":true}"#,
        r#"{"hookStatus":"IN_PROGRESS","callBackDelay":-1}"#,
        r#"{"hookStatus":"IN_PROGRESS","callBackDelay":"soon"}"#,
    ] {
        let wrong = Answer::read(answer.as_bytes()).unwrap_err();
        assert!(wrong.contains(answer), "{wrong}");
    }
}

#[test]
fn a_function_gets_back_the_details_it_answered_merged_into_those_of_the_configuration() {
    let merged = |configured: Option<Value>, told: Option<Value>| {
        let mut details = configured;
        merge(&mut details, told);
        details
    };
    assert_eq!(
        merged(Some(json!({"a": 1, "b": 1})), Some(json!({"b": 2, "c": 2}))),
        Some(json!({"a": 1, "b": 2, "c": 2}))
    );
    assert_eq!(merged(Some(json!({"a": 1})), None), Some(json!({"a": 1})));
    assert_eq!(merged(None, Some(json!({"a": 1}))), Some(json!({"a": 1})));
    assert_eq!(merged(Some(json!([1])), Some(json!("x"))), Some(json!("x")));
}

#[test]
fn a_function_may_be_named_with_a_version_or_an_alias() {
    assert_eq!(unqualified(FUNCTION), (FUNCTION, None));
    let live = format!("{FUNCTION}:live");
    assert_eq!(unqualified(&live), (FUNCTION, Some("live")));
    let hook = with(function_hook(), "hookTargetArn", json!(live));
    assert!(parse_hooks(json!([hook])).is_ok());
}

#[test]
fn a_pause_is_told_with_its_id_its_end_and_what_happens_then() {
    let before = now();
    let described = begun(pause_hook()).describe();
    let id = described["hookId"].as_str().unwrap();
    assert_eq!(
        id.len(),
        "ecs-pause-e7tK9G_WRJqNF_EOMjztDXfKenlJuEUVjsNStf4WLKw".len()
    );
    assert!(id.starts_with("ecs-pause-"), "{id}");
    assert!(described["expiresAt"].as_f64().unwrap() >= before + 60.0);
    let mut rest = described.clone();
    for told in ["hookId", "expiresAt"] {
        rest.as_object_mut().unwrap().remove(told);
    }
    assert_eq!(
        rest,
        json!({
            "targetType": "PAUSE",
            "status": "AWAITING_ACTION",
            "timeoutAction": "ROLLBACK",
        })
    );
}

#[test]
fn a_function_is_told_with_its_arn() {
    let described = begun(function_hook()).describe();
    assert_eq!(described["targetType"], "AWS_LAMBDA");
    assert_eq!(described["targetArn"], FUNCTION);
    assert_eq!(described["status"], "IN_PROGRESS");
}

#[test]
fn a_hooks_newest_state_replaces_the_one_before_and_an_open_one_can_be_abandoned() {
    let mut hooks = Vec::new();
    let (pause, mut function) = (begun(pause_hook()), begun(function_hook()));
    note(&mut hooks, pause);
    note(&mut hooks, function.clone());
    function.status = HookStatus::Succeeded;
    note(&mut hooks, function.clone());
    assert_eq!(hooks.len(), 2);
    abandon(&mut hooks);
    let left: Vec<_> = hooks.iter().map(|hook| &hook.hook_id).collect();
    assert_eq!(left, [&function.hook_id]);
}

#[tokio::test]
async fn a_pause_ends_once_and_only_while_it_waits() {
    let pauses = Pauses::default();
    assert!(!pauses.end("a", Action::Continue));
    let pause = Pause::begin(&pauses, "a");
    assert!(pauses.end("a", Action::Continue));
    assert!(!pauses.end("a", Action::Rollback));
    assert_eq!(pause.ended().await, Ok(()));

    let pause = Pause::begin(&pauses, "b");
    assert!(pauses.end("b", Action::Rollback));
    assert!(pause.ended().await.is_err());

    drop(Pause::begin(&pauses, "c"));
    assert!(!pauses.end("c", Action::Continue));
}

/// Runs hooks at POST_TEST_TRAFFIC_SHIFT on a clock on which a minute is a moment.
async fn run_overdue(hooks: Value) -> (Outcome, Vec<HookStatus>) {
    let ecs = in_process::ecs(6000.0).await;
    let hooks = parse_hooks(hooks).unwrap();
    let told = Mutex::new(Vec::new());
    let report = |detail: HookDetail| told.lock().unwrap().push(detail.status);
    let outcome = run_stage(&ecs, &hooks, &call(Stage::PostTestTrafficShift), report).await;
    (outcome, told.into_inner().unwrap())
}

fn overdue(action: &str) -> Value {
    let timeout = json!({"timeoutInMinutes": 1, "action": action});
    with(pause_hook(), "timeoutConfiguration", timeout)
}

#[tokio::test]
async fn a_pause_that_nobody_ends_does_what_its_timeout_says() {
    use HookStatus::{AwaitingAction, TimedOut};
    let (outcome, told) = run_overdue(json!([overdue("CONTINUE")])).await;
    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(told, [AwaitingAction, TimedOut]);
    let (outcome, told) = run_overdue(json!([overdue("ROLLBACK")])).await;
    assert_eq!(told, [AwaitingAction, TimedOut]);
    let Outcome::Failed(reason) = outcome else {
        panic!("it went on");
    };
    assert!(reason.contains("POST_TEST_TRAFFIC_SHIFT"), "{reason}");
    assert!(reason.contains("did not end within 1 min"), "{reason}");
}

#[tokio::test]
async fn one_failed_hook_ends_the_stage_while_another_still_waits() {
    let patient = with(
        pause_hook(),
        "timeoutConfiguration",
        json!({"timeoutInMinutes": 20160}),
    );
    let (outcome, _) = run_overdue(json!([patient, overdue("ROLLBACK")])).await;
    assert!(matches!(outcome, Outcome::Failed(_)));
}

#[tokio::test]
async fn a_stage_without_hooks_succeeds_at_once() {
    let elsewhere = with(function_hook(), "lifecycleStages", json!(["PRE_SCALE_UP"]));
    let (outcome, told) = run_overdue(json!([elsewhere])).await;
    assert_eq!((outcome, told), (Outcome::Succeeded, Vec::new()));
}
