//! Whether the roles of the pipeline allow what was asked for, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use consistency::Template;
use consistency::strings;
use local_aws::permissions::{Need, STATE_MACHINES};
use serde_json::Value;
use wildmatch::WildMatch;

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

/// What the AWS CLI is asked for the roles that there are, each with its own policies.
pub const ROLES: [&str; 6] = [
    "iam",
    "get-account-authorization-details",
    "--filter",
    "Role",
    "--output",
    "json",
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
    check_actions(asked)?;
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

/// The same for less than all stories, in which not everything is asked for that may be; and whether
/// the `roles` as they are deployed, an answer to [`ROLES`], allow each action on the very resource
/// that it was asked for, under the conditions that they make.
///
/// # Errors
/// A role allows less, or the answer is none of the AWS CLI's.
pub fn check(asked: &Asked, roles: &str) -> Result<()> {
    check_actions(asked)?;
    check_resources(asked, roles)
}

fn check_actions(asked: &Asked) -> Result<()> {
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

/// A role that is not among them was deleted with the pipeline.
fn check_resources(asked: &Asked, roles: &str) -> Result<()> {
    let pipeline = Template::load("pipeline.yml");
    let roles: Value = serde_json::from_str(roles).context("no answer of the AWS CLI")?;
    let roles = roles["RoleDetailList"].as_array().into_iter().flatten();
    let mut denied = BTreeMap::new();
    for role in roles {
        let name = role["RoleName"].as_str().context("a role has no name")?;
        let Some(stem) = stem(&pipeline, name) else {
            continue;
        };
        let policies = role["RolePolicyList"].as_array().into_iter().flatten();
        let statements: Vec<_> = policies
            .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array())
            .flatten()
            .collect();
        for need in asked_by(stem, asked) {
            if !statements.iter().any(|statement| allows(statement, need)) {
                denied.entry((stem, &need.action)).or_insert(need);
            }
        }
    }
    let denied: Vec<_> = denied
        .iter()
        .map(|((stem, action), need)| {
            let Need {
                resource, context, ..
            } = need;
            format!("{stem}Role does not allow {action} on {resource} with {context:?}")
        })
        .collect();
    ensure!(denied.is_empty(), "{}", denied.join("\n"));
    Ok(())
}

/// The stem of the pipeline's role of which CloudFormation has made this name, by putting the stack's
/// before it and something random behind it.
fn stem<'a>(pipeline: &'a Template, name: &str) -> Option<&'a str> {
    let roles = pipeline.resources("AWS::IAM::Role").into_iter();
    let mut stems = roles.filter_map(|(role, _)| role.strip_suffix("Role"));
    stems.find(|stem| name.contains(&format!("-{stem}Role-")))
}

/// Whether a statement allows what is needed. One with a condition that is not known here does not.
fn allows(statement: &Value, need: &Need) -> bool {
    // `*` is any text and `?` any character, as IAM has it.
    let any = |of: &Value, text: &str| {
        strings(of)
            .iter()
            .any(|it| WildMatch::new(it).matches(text))
    };
    statement["Effect"] == "Allow"
        && any(&statement["Action"], &need.action)
        && any(&statement["Resource"], &need.resource)
        && holds(&statement["Condition"], &need.context)
}

fn holds(condition: &Value, context: &BTreeMap<String, String>) -> bool {
    let operators = condition.as_object().into_iter().flatten();
    let mut tests = operators.flat_map(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, values)| (operator.as_str(), context.get(key), values))
    });
    tests.all(|(operator, has, values)| match operator {
        "Null" => strings(values) == [if has.is_none() { "true" } else { "false" }],
        "StringEquals" => has.is_some_and(|has| strings(values).contains(&has.as_str())),
        _ => false,
    })
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
    use serde_json::json;

    use super::*;

    fn need(action: &str, resource: &str, context: &[(&str, &str)]) -> Need {
        let context = context.iter();
        Need {
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: context
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn asked_on(action: &str, resource: &str) -> Asked {
        let caller = "bluegreen-WaitTaskFunction-1".to_owned();
        Asked::from([(caller, BTreeSet::from([need(action, resource, &[])]))])
    }

    fn asked(action: &str) -> Asked {
        asked_on(action, "*")
    }

    #[test]
    fn a_role_allows_an_action_on_the_resources_that_its_policies_name() {
        let statement = json!({
            "Effect": "Allow", "Action": "ecs:DescribeTasks", "Resource": "arn:ecs:task/shop/*"
        });
        let policy = json!({"PolicyDocument": {"Statement": [statement]}});
        let role = json!({"RoleName": "bluegreen-WaitTaskRole-2", "RolePolicyList": [policy]});
        let other = json!({"RoleName": "shop-TaskRole-3", "RolePolicyList": []});
        let roles = json!({"RoleDetailList": [role, other]}).to_string();
        check_resources(
            &asked_on("ecs:DescribeTasks", "arn:ecs:task/shop/1"),
            &roles,
        )
        .unwrap();
        let denied = asked_on("ecs:DescribeTasks", "arn:ecs:task/other/1");
        let error = check_resources(&denied, &roles).unwrap_err().to_string();
        assert_eq!(
            error,
            "WaitTaskRole does not allow ecs:DescribeTasks on arn:ecs:task/other/1 with {}"
        );
    }

    #[test]
    fn a_pattern_is_for_what_iam_says_it_is_for() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("role/bluegreen/*", "role/bluegreen/shop-TaskRole-1", true),
            ("role/bluegreen/*", "role/shop-TaskRole-1", false),
            ("*:log-stream:*", "g:log-stream:web/1", true),
        ] {
            let statement = json!({"Effect": "Allow", "Action": "*", "Resource": pattern});
            let allowed = allows(&statement, &need("iam:PassRole", text, &[]));
            assert_eq!(allowed, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_condition_holds_for_the_keys_that_the_request_has() {
        let tagged = json!({"Null": {"aws:RequestTag/a": "false"}});
        let created = json!({"StringEquals": {"ecs:CreateAction": ["RunTask", "CreateService"]}});
        let unknown = json!({"StringLike": {"aws:RequestTag/a": "*"}});
        for (condition, context, expected) in [
            (&Value::Null, &[][..], true),
            (&tagged, &[("aws:RequestTag/a", "1")], true),
            (&tagged, &[("aws:RequestTag/b", "1")], false),
            (&created, &[("ecs:CreateAction", "RunTask")], true),
            (
                &created,
                &[("ecs:CreateAction", "RegisterTaskDefinition")],
                false,
            ),
            (&created, &[], false),
            (&unknown, &[("aws:RequestTag/a", "1")], false),
        ] {
            let context = need("", "", context).context;
            assert_eq!(
                holds(condition, &context),
                expected,
                "{condition} {context:?}"
            );
        }
    }

    #[test]
    fn what_a_role_does_not_allow_is_named() {
        check_actions(&asked("ecs:DescribeTasks")).unwrap();
        let error = check_actions(&asked("ecs:RunTask"))
            .unwrap_err()
            .to_string();
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
