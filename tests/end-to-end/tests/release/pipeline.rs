//! The pipeline's own stack.

use anyhow::Result;
use end_to_end::account::{Account, PIPELINE};
use serde_json::{Value, json};

/// What the CLI prints as JSON.
async fn told(account: &Account, arguments: &[&str]) -> Result<Value> {
    let arguments = arguments.iter().chain(&["--output", "json"]);
    let answer = account.cli().run(arguments).await?;
    Ok(serde_json::from_str(&answer)?)
}

pub(crate) async fn its_stack_is_updated_and_deleted_and_leaves_the_records(
    account: &Account,
) -> Result<()> {
    let machine = account.state_machine().to_owned();
    let group = account.resource(PIPELINE, "PlanReleaseLogGroup").await?;
    let rule = account.resource(PIPELINE, "ReconcileRule").await?;
    let function = account.resource(PIPELINE, "PlanReleaseFunction").await?;
    let role = account.resource(PIPELINE, "StateMachineRole").await?;

    let parameters = [
        ("MigrationTimeoutSeconds", "1234"),
        ("ReconcileMinutes", "7"),
        ("LogRetentionDays", "14"),
        ("Tracing", "true"),
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    account.update_pipeline(&parameters).await?;

    let states = ["stepfunctions", "describe-state-machine"];
    let described = [&states[..], &["--state-machine-arn", &machine]].concat();
    let described = told(account, &described).await?;
    assert_eq!(described["tracingConfiguration"], json!({"enabled": true}));
    let definition = described["definition"].as_str().unwrap_or_default();
    assert!(definition.contains("1234"), "the new limit");
    let groups = ["logs", "describe-log-groups", "--log-group-name-prefix"];
    let groups = told(account, &[&groups[..], &[&group]].concat()).await?;
    assert_eq!(groups["logGroups"][0]["retentionInDays"], 14);
    let described = told(account, &["events", "describe-rule", "--name", &rule]).await?;
    assert_eq!(described["ScheduleExpression"], "rate(7 minutes)");
    let policies = ["iam", "list-role-policies", "--role-name", &role];
    let policies = told(account, &policies).await?;
    let policies = policies["PolicyNames"].as_array().into_iter().flatten();
    assert!(policies.into_iter().any(|name| name == "tracing"));

    let stack = ["--stack-name", PIPELINE];
    let verbs = ["delete-stack", "wait stack-delete-complete"];
    for verb in verbs {
        let verb = verb.split(' ');
        let command = ["cloudformation"].into_iter().chain(verb).chain(stack);
        account.cli().run(command).await?;
    }
    let functions = told(account, &["lambda", "list-functions"]).await?;
    assert_eq!(functions["Functions"], json!([]), "{function} was one");
    let machines = told(account, &["stepfunctions", "list-state-machines"]).await?;
    assert_eq!(machines["stateMachines"], json!([]));
    let rules = told(account, &["events", "list-rules"]).await?;
    assert_eq!(rules["Rules"], json!([]));
    let roles = told(account, &["iam", "list-roles"]).await?;
    assert!(!roles.to_string().contains(&role), "{role} is there");
    let queues = told(account, &["sqs", "list-queues"]).await;
    assert!(queues.is_err() || queues.is_ok_and(|it| it["QueueUrls"].is_null()));
    // Whether a stack was ever migrated, and what it can go back to, is told by the records alone.
    let tables = told(account, &["dynamodb", "list-tables"]).await?;
    assert_eq!(tables["TableNames"], json!([account.releases_table()]));
    Ok(())
}
