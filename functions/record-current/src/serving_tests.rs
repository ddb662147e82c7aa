use super::*;
use crate::samples::{deployed, event, restored, restored_before, rolled_back};
use bluegreen_contract::parse;
use serde_json::{Value, json};

fn input(event: Value) -> RecordCurrentInput {
    parse(event).unwrap()
}

#[test]
fn a_release_that_updated_its_services_serves_its_own_image() {
    let input = input(deployed());
    let served = Served::of(&input).unwrap();
    assert!(matches!(served, Served::Deployment(_)));
    assert_eq!(served.services()[0].task_definition, "web:2");
    assert_eq!(
        served.image(&input).unwrap().image,
        "registry/shop@sha256:2"
    );
}

#[test]
fn a_rollback_that_was_asked_for_serves_the_image_of_its_target() {
    let input = input(restored());
    let served = Served::of(&input).unwrap();
    assert!(matches!(served, Served::Rollback { .. }));
    assert_eq!(served.services()[0].task_definition, "web:1");
    assert_eq!(
        served.image(&input).unwrap().image,
        "registry/shop@sha256:1"
    );
}

#[test]
fn a_rollback_to_what_ran_before_the_first_release_serves_the_image_of_then() {
    let mut event = restored_before();
    let before = input(event.clone());
    let served = Served::of(&before).unwrap();
    let Served::Rollback {
        target: Goal::Before(first),
        ..
    } = served
    else {
        panic!("{served:?}");
    };
    assert_eq!(first.tag.as_deref(), Some("v1"));
    assert_eq!(served.image(&before).unwrap().image, "registry/shop:old");
    assert_eq!(served.post_deploy(&before), None);
    // Several images ran.
    event["target"]["serving"] = Value::Null;
    let several = input(event);
    assert_eq!(Served::of(&several).unwrap().image(&several), None);
}

#[test]
fn of_a_release_that_was_rolled_back_only_that_is_told() {
    let mut event = rolled_back();
    let rolled_back = input(event.clone());
    let served = Served::of(&rolled_back).unwrap();
    assert!(matches!(served, Served::Before { .. }));
    let image = served.image(&rolled_back).unwrap().image;
    assert_eq!(image, "registry/shop@sha256:1");
    event["target"]["serving"] = Value::Null;
    let unknown = input(event);
    assert_eq!(Served::of(&unknown).unwrap().image(&unknown), None);
}

#[test]
fn what_runs_already_is_only_asked_for_again() {
    let input = input(event(json!({})));
    let served = Served::of(&input).unwrap();
    assert_eq!(served, Served::Same);
    assert_eq!(served.services(), []);
    assert_eq!(
        served.image(&input).unwrap().image,
        "registry/shop@sha256:2"
    );
}

#[test]
fn only_a_deployment_has_a_command_to_run_now_with_the_revision_that_serves() {
    for (event, expected) in [
        (deployed(), Some("web:2")),
        (rolled_back(), None),
        (restored(), None),
        (event(json!({})), None),
    ] {
        let input = input(event);
        let command = Served::of(&input).unwrap().post_deploy(&input);
        let revision = command.map(|command| command.task_definition);
        assert_eq!(revision.as_deref(), expected);
    }
}

#[test]
fn a_contract_command_is_due_after_a_deployment_when_its_window_is_over() {
    for (event, expected) in [
        (deployed(), Some(67_000)),
        (rolled_back(), None),
        (restored(), None),
        (event(json!({})), None),
    ] {
        let mut input = input(event);
        assert_eq!(Served::of(&input).unwrap().contract_due(&input, 7000), None);
        input.plan.contract = input.plan.post_deploy.clone();
        let due = Served::of(&input).unwrap().contract_due(&input, 7000);
        assert_eq!(due, expected);
    }
}

#[test]
fn a_rollback_that_does_not_say_what_it_did_is_refused_by_name() {
    for field in ["rolledBack", "target.release"] {
        let mut event = restored();
        let pointer = format!("/{}", field.replace('.', "/"));
        *event.pointer_mut(&pointer).unwrap() = Value::Null;
        let problem = Served::of(&input(event)).unwrap_err().to_string();
        assert!(problem.contains(&format!("`{field}`")), "{problem}");
    }
}
