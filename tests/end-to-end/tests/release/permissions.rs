//! Whether the roles of the pipeline allow what was asked for in all the stories, and nothing else.

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
pub(crate) fn check(asked: &BTreeMap<String, Actions>) -> Result<String> {
    let pipeline = Template::load("pipeline.yml");
    let mut differences = Vec::new();
    let (mut roles, mut actions) = (0, 0);
    for (role, _) in pipeline.resources("AWS::IAM::Role") {
        let stem = role.strip_suffix("Role").context("a role's name")?;
        let wanted = wanted(&pipeline, stem, asked);
        let allowed = pipeline.actions(role).into_iter().map(str::to_owned);
        let allowed: Actions = allowed.collect();
        for action in wanted.difference(&allowed) {
            differences.push(format!(
                "{role} does not allow {action}, which was asked for"
            ));
        }
        for action in allowed.difference(&wanted) {
            differences.push(format!("{role} allows {action}, which was never asked for"));
        }
        roles += 1;
        actions += allowed.len();
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(format!(
        "{roles} roles allow the {actions} actions that were asked for, and no other"
    ))
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
