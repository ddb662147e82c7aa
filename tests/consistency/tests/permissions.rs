//! What the functions ask AWS for, and what their roles allow.

use consistency::{Crate, Template, functions, read, strings};
use serde_json::json;
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

/// IAM knows no action for a transaction: it takes those of the parts.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
const TRANSACTION: &str = "dynamodb:TransactWriteItems";
const PARTS: [&str; 4] = [
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
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
        let allowed = allowed(&function);
        let denied = asked.difference(&allowed).filter(|it| *it != TRANSACTION);
        let denied: Vec<_> = denied.cloned().collect();
        assert!(denied.is_empty(), "{} may not do {denied:?}", function.name);
    }
}

#[test]
fn every_action_that_a_role_allows_is_one_its_function_asks_for() {
    for function in functions() {
        let mut asked = function.actions();
        asked.extend(function.actions_of_dependencies());
        asked.extend(INDIRECT.map(str::to_owned));
        if asked.contains(TRANSACTION) {
            asked.extend(PARTS.map(str::to_owned));
        }
        let unused: Vec<_> = allowed(&function).difference(&asked).cloned().collect();
        assert!(
            unused.is_empty(),
            "{} does not need {unused:?}",
            function.name
        );
    }
}

/// Who may change the table of releases does it in a transaction on what it has read.
#[test]
fn whoever_writes_the_table_of_releases_reads_it_and_nobody_puts_a_whole_item() {
    let pipeline = Template::load("pipeline.yml");
    let table = json!({"Fn::GetAtt": "ReleasesTable.Arn"});
    for function in functions() {
        let statements = pipeline.statements(&(function.stem() + "Role"));
        let on_it = statements.iter().filter(|it| it["Resource"] == table);
        let actions: BTreeSet<&str> = on_it.flat_map(|it| strings(&it["Action"])).collect();
        let writes = PARTS.iter().any(|part| actions.contains(part));
        assert!(
            !writes || actions.contains("dynamodb:GetItem"),
            "{}: {actions:?}",
            function.name
        );
        assert!(!actions.contains("dynamodb:PutItem"), "{}", function.name);
    }
}

/// The functions that may change what a stack runs.
fn changing() -> Vec<Crate> {
    let changes = [
        "ecs:RunTask",
        "ecs:StopServiceDeployment",
        "ecs:StopTask",
        "ecs:UpdateService",
    ];
    functions()
        .into_iter()
        .filter(|function| changes.iter().any(|it| allowed(function).contains(*it)))
        .collect()
}

/// Nobody stops a function whose execution was stopped, or to which the connection was lost: others
/// wait until it has finished, at the longest for the end of its time. A minute is enough where
/// nothing grows with the stack, and five to roll two hundred services back one after the other. Two
/// functions register revisions, of which an account may register one a second, however many stacks
/// deploy at once.
#[test]
fn a_function_that_changes_a_stack_has_no_more_time_than_ecss_limits_make_it_take() {
    let pipeline = Template::load("pipeline.yml");
    let changing = changing();
    let names: Vec<&str> = changing.iter().map(|it| it.name.as_str()).collect();
    let expected = [
        "roll-back",
        "run-migration",
        "settle-release",
        "update-service",
        "wait-task",
    ];
    assert_eq!(names, expected);
    for function in changing {
        let properties = pipeline.properties(&(function.stem() + "Function"));
        let limit = properties["Timeout"].as_u64();
        let most = match function.name.as_str() {
            "run-migration" | "update-service" => 600,
            "roll-back" => 300,
            _ => 60,
        };
        assert!(limit <= Some(most) && limit.is_some(), "{}", function.name);
    }
}

/// What take-turn leaves itself for its last look, and what clocks may be apart.
const LAST_LOOK_SECONDS: u64 = 15 + 2;

/// No event tells that the time of such a function is over.
#[test]
fn who_takes_a_turn_over_can_wait_for_the_longest_call_that_changes_a_stack() {
    let pipeline = Template::load("pipeline.yml");
    let limit = |stem: &str| pipeline.properties(&format!("{stem}Function"))["Timeout"].as_u64();
    let waits = limit("TakeTurn").unwrap();
    for function in changing() {
        let longest = limit(&function.stem()).unwrap() + LAST_LOOK_SECONDS;
        assert!(waits >= longest, "{}", function.name);
    }
}

/// The tasks of a service may get the tags of their task definition: a tag that revisions have too
/// would let a function stop those tasks.
#[test]
fn a_task_may_be_stopped_by_a_tag_that_only_a_one_off_task_gets() {
    let run = tag_asked_for("RunMigrationRole", "ecs:RunTask", "aws:RequestTag/");
    let mut stopping = 0;
    for function in functions() {
        if allowed(&function).contains("ecs:StopTask") {
            let role = function.stem() + "Role";
            assert_eq!(
                tag_asked_for(&role, "ecs:StopTask", "aws:ResourceTag/"),
                run
            );
            stopping += 1;
        }
    }
    assert!(stopping > 0);
    let named = format!("\"{run}\"");
    assert!(read("functions/run-migration/src/task.rs").contains(&named));
    assert!(!read("crates/ecs/src/task_definition.rs").contains(&named));
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
