//! Whether the roles of the pipeline allow what was asked for, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use contract_tests::Template;
use local_aws::permissions::STATE_MACHINES;

/// What AWS's services do with a role by themselves, of which no call is seen here: Lambda writes
/// the function's log.
const BY_LAMBDA: [&str; 2] = ["logs:CreateLogStream", "logs:PutLogEvents"];

/// The same for the invocations that only events start: Lambda keeps what failed in the dead-letter
/// queue.
const BY_LAMBDA_OF_EVENTS: &str = "sqs:SendMessage";

/// Step Functions sets up the delivery of its log.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html>
const FOR_THE_LOG: [&str; 8] = [
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
];

/// It sends traces.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html>
const FOR_TRACES: [&str; 4] = [
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

type Actions = BTreeSet<String>;

/// Compares the roles of `infra/pipeline.yml` with what the functions, by name, and the state
/// machine have asked for. Answers a sentence with the number of actions.
///
/// # Errors
/// A role allows less or more.
pub fn check_both_ways(asked: &BTreeMap<String, Actions>) -> Result<String> {
    check(asked)?;
    let mut superfluous = Vec::new();
    let (mut roles, mut actions) = (0, 0);
    for role in roles_with(asked)? {
        for action in role.allowed.difference(&role.wanted) {
            let name = &role.name;
            superfluous.push(format!("{name} allows {action}, which was never asked for"));
        }
        roles += 1;
        actions += role.allowed.len();
    }
    ensure!(superfluous.is_empty(), "{}", superfluous.join("\n"));
    Ok(format!(
        "{roles} roles allow the {actions} actions that were asked for, and no other"
    ))
}

/// The same for less than all stories, in which not everything is asked for that may be.
///
/// # Errors
/// A role allows less.
pub fn check(asked: &BTreeMap<String, Actions>) -> Result<()> {
    let mut missing = Vec::new();
    for role in roles_with(asked)? {
        for action in role.wanted.difference(&role.allowed) {
            let name = &role.name;
            missing.push(format!(
                "{name} does not allow {action}, which was asked for"
            ));
        }
    }
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}

struct Role {
    name: String,
    allowed: Actions,
    wanted: Actions,
}

fn roles_with(asked: &BTreeMap<String, Actions>) -> Result<Vec<Role>> {
    let pipeline = Template::load("pipeline.yml");
    let roles = pipeline.resources("AWS::IAM::Role");
    let roles = roles.into_iter().map(|(name, _)| {
        let stem = name.strip_suffix("Role").context("a role's name")?;
        let allowed = pipeline.actions(name).into_iter().map(str::to_owned);
        Ok(Role {
            name: name.to_owned(),
            allowed: allowed.collect(),
            wanted: wanted(&pipeline, stem, asked),
        })
    });
    roles.collect()
}

/// What a function, or the state machine, has asked for and what is done for it.
fn wanted(pipeline: &Template, stem: &str, asked: &BTreeMap<String, Actions>) -> Actions {
    if stem == "StateMachine" {
        let mut wanted = asked.get(STATE_MACHINES).cloned().unwrap_or_default();
        wanted.extend(
            FOR_THE_LOG
                .iter()
                .chain(&FOR_TRACES)
                .map(|it| (*it).to_owned()),
        );
        return wanted;
    }
    let function = format!("{stem}Function");
    // CloudFormation puts the stack's name before it and something random behind it.
    let infix = format!("-{function}-");
    let calls = asked.iter().filter(|(caller, _)| caller.contains(&infix));
    let mut wanted: Actions = calls.flat_map(|(_, actions)| actions).cloned().collect();
    wanted.extend(BY_LAMBDA.map(str::to_owned));
    let configurations = pipeline.resources("AWS::Lambda::EventInvokeConfig");
    let keeps_events = configurations.iter().any(|(_, configuration)| {
        let properties = &configuration["Properties"];
        properties["FunctionName"]["Ref"] == function
            && properties["DestinationConfig"]["OnFailure"].is_object()
    });
    if keeps_events {
        wanted.insert(BY_LAMBDA_OF_EVENTS.to_owned());
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(action: &str) -> BTreeMap<String, Actions> {
        let caller = "bluegreen-WaitTaskFunction-1".to_owned();
        BTreeMap::from([(caller, BTreeSet::from([action.to_owned()]))])
    }

    #[test]
    fn what_a_role_does_not_allow_is_named() {
        check(&asked("ecs:DescribeTasks")).unwrap();
        let error = check(&asked("ecs:StopTask")).unwrap_err().to_string();
        assert_eq!(
            error,
            "WaitTaskRole does not allow ecs:StopTask, which was asked for"
        );
    }

    #[test]
    fn what_nobody_asks_for_is_named_after_all_stories_alone() {
        let error = check_both_ways(&asked("ecs:DescribeTasks")).unwrap_err();
        let superfluous = "WaitTaskRole allows ecs:DescribeTasks";
        let error = error.to_string();
        assert!(error.contains("OnAlarmRole allows "), "{error}");
        assert!(!error.contains(superfluous), "{error}");
    }
}
