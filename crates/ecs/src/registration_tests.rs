use super::*;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionInput;
use aws_sdk_ecs::types::TaskDefinition;
use std::collections::BTreeSet;

/// The names of a struct's fields, as `{:#?}` shows them.
fn fields(debug: &str) -> BTreeSet<String> {
    let of_the_struct = debug.lines().filter_map(|line| line.strip_prefix("    "));
    let named = of_the_struct.filter_map(|field| field.split_once(": "));
    named.map(|(name, _)| name.to_owned()).collect()
}

/// `taskRoleArn` as the SDK writes it, `task_role_arn`.
fn in_rust(member: &str) -> String {
    let mut name = String::new();
    for letter in member.chars() {
        if letter.is_uppercase() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// Fails when a new version of the SDK knows a member that ECS adds and `MADE_BY_ECS` lacks.
#[test]
fn what_ecs_adds_is_what_no_request_takes() {
    let described = format!("{:#?}", TaskDefinition::builder().build());
    let request = RegisterTaskDefinitionInput::builder().build().unwrap();
    let taken = fields(&format!("{request:#?}"));
    assert!(taken.len() >= 18, "{taken:?}");
    let added: BTreeSet<_> = fields(&described).difference(&taken).cloned().collect();
    assert_eq!(added, MADE_BY_ECS.map(in_rust).into());
}

#[test]
fn what_is_no_description_of_a_task_definition_registers_nothing() {
    for answer in ["", "no JSON", "[]", "{}", r#"{"taskDefinition": null}"#] {
        assert_eq!(Registration::of(answer.as_bytes(), &[]), None, "{answer}");
    }
}
