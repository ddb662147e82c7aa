//! Whether the roles of the pipeline allow what was asked for, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use consistency::Template;
use local_aws::permissions::{Need, STATE_MACHINES};

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

/// What was asked for, by who asked.
pub type Asked = BTreeMap<String, BTreeSet<Need>>;

type Actions = BTreeSet<String>;

/// Compares the roles of `infra/pipeline.yml` with what the functions, by name, and the state
/// machine have asked for. Answers a sentence with the number of actions.
///
/// # Errors
/// A role allows less or more.
pub fn check_both_ways(asked: &Asked) -> Result<String> {
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
pub fn check(asked: &Asked) -> Result<()> {
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

/// Whether IAM has refused nothing, neither for its resource nor for a condition.
///
/// # Errors
/// It has refused something.
pub fn check_refused(refused: &Asked) -> Result<()> {
    let refused: Vec<_> = refused
        .iter()
        .flat_map(|(caller, needs)| needs.iter().map(move |need| (caller, need)))
        .map(|(caller, need)| {
            let Need {
                action,
                resource,
                context,
            } = need;
            format!("{caller} may not {action} on {resource} with {context:?}")
        })
        .collect();
    ensure!(refused.is_empty(), "{}", refused.join("\n"));
    Ok(())
}

struct Role {
    name: String,
    allowed: Actions,
    wanted: Actions,
}

fn roles_with(asked: &Asked) -> Result<Vec<Role>> {
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
fn wanted(pipeline: &Template, stem: &str, asked: &Asked) -> Actions {
    let mut wanted: Actions = asked_by(stem, asked)
        .map(|need| need.action.clone())
        .collect();
    if stem == "StateMachine" {
        wanted.extend(
            FOR_THE_LOG
                .iter()
                .chain(&FOR_TRACES)
                .map(|it| (*it).to_owned()),
        );
        return wanted;
    }
    let function = format!("{stem}Function");
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

/// What the function of a stem, or the state machine, has asked for.
fn asked_by<'a>(stem: &str, asked: &'a Asked) -> impl Iterator<Item = &'a Need> {
    let is_machine = stem == "StateMachine";
    // As of roles: the name is made of the function's.
    let infix = format!("-{stem}Function-");
    let calls = asked.iter().filter(move |(caller, _)| match is_machine {
        true => *caller == STATE_MACHINES,
        false => caller.contains(&infix),
    });
    calls.flat_map(|(_, needs)| needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(action: &str) -> Asked {
        let need = Need {
            action: action.to_owned(),
            resource: "*".to_owned(),
            context: BTreeMap::new(),
        };
        let caller = "bluegreen-WaitTaskFunction-1".to_owned();
        Asked::from([(caller, BTreeSet::from([need]))])
    }

    #[test]
    fn what_iam_has_refused_is_named() {
        check_refused(&Asked::new()).unwrap();
        let error = check_refused(&asked("ecs:RunTask")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bluegreen-WaitTaskFunction-1 may not ecs:RunTask on * with {}"
        );
    }

    #[test]
    fn what_a_role_does_not_allow_is_named() {
        check(&asked("ecs:DescribeTasks")).unwrap();
        let error = check(&asked("ecs:RunTask")).unwrap_err().to_string();
        assert_eq!(
            error,
            "WaitTaskRole does not allow ecs:RunTask, which was asked for"
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
