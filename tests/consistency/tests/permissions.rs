//! What the functions ask AWS for, and what their roles allow.

use consistency::{Crate, Template, functions, read, strings};
use std::collections::BTreeSet;

/// What a role allows for the sake of another action: ECS checks it when a task definition is
/// registered or a task is run, Lambda writes logs and leaves failed events behind.
const INDIRECT: [&str; 5] = [
    "ecs:TagResource",
    "iam:PassRole",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:SendMessage",
];

fn allowed(function: &Crate) -> BTreeSet<String> {
    let pipeline = Template::load("pipeline.yml");
    let actions = pipeline.actions(&(function.stem() + "Role"));
    actions.into_iter().map(str::to_owned).collect()
}

#[test]
fn every_action_that_a_function_names_is_allowed_to_its_role() {
    for function in functions() {
        let asked = function.actions();
        assert!(
            !asked.is_empty() || !function.actions_of_dependencies().is_empty(),
            "{} asks AWS for nothing",
            function.name
        );
        let denied: Vec<_> = asked.difference(&allowed(&function)).cloned().collect();
        assert!(denied.is_empty(), "{} may not do {denied:?}", function.name);
    }
}

#[test]
fn every_action_that_a_role_allows_is_one_its_function_asks_for() {
    for function in functions() {
        let mut asked = function.actions();
        asked.extend(function.actions_of_dependencies());
        asked.extend(INDIRECT.map(str::to_owned));
        let unused: Vec<_> = allowed(&function).difference(&asked).cloned().collect();
        assert!(
            unused.is_empty(),
            "{} does not need {unused:?}",
            function.name
        );
    }
}

/// The tasks of a service may get the tags of their task definition: a tag that revisions have too
/// would let the state machine stop those tasks.
#[test]
fn a_task_may_be_stopped_by_a_tag_that_only_the_migration_gets() {
    let (run, stop) = (
        tag_asked_for("RunMigrationRole", "ecs:RunTask", "aws:RequestTag/"),
        tag_asked_for("StateMachineRole", "ecs:StopTask", "aws:ResourceTag/"),
    );
    assert_eq!(run, stop);
    let named = format!("\"{stop}\"");
    assert!(read("functions/run-migration/src/task.rs").contains(&named));
    assert!(!read("functions/task-definition/src/register.rs").contains(&named));
}

/// The tag that must be there for the role to be allowed the action.
fn tag_asked_for(role: &str, action: &str, key: &str) -> String {
    let pipeline = Template::load("pipeline.yml");
    let tags: Vec<String> = pipeline
        .statements(role)
        .into_iter()
        .filter(|statement| strings(&statement["Action"]).contains(&action))
        .filter_map(|statement| statement["Condition"]["Null"].as_object())
        .flatten()
        .filter(|(_, absent)| *absent == "false")
        .filter_map(|(tag, _)| Some(tag.strip_prefix(key)?.to_owned()))
        .collect();
    assert_eq!(tags.len(), 1, "{role}: {action} asks for {tags:?}");
    tags.concat()
}
