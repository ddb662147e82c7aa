//! Whether anything that an account tells, to whoever may look, has one of its passwords in it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use aws_sdk_ecs::types::DesiredStatus;
use aws_types::SdkConfig;
use serde_json::Value;

// The SDK's types do not show to whoever prints them what may be sensitive: those members are read
// one by one below.

/// Nothing shorter is a password here: it would be found everywhere.
const SHORTEST: usize = 16;

/// Reads all that templates, parameters, outputs and events of stacks, task definitions, tasks'
/// overrides, functions' environments, logs, executions and their histories, tables, queues and
/// parameters say, and `screen`, what a person was shown, and looks for each password that Secrets
/// Manager keeps. Answers a sentence with how much was read.
///
/// # Errors
/// A password was found, and where; there is none to look for; or a kind of text is missing, so that
/// the search would prove nothing.
pub async fn check(config: &SdkConfig, screen: &str) -> Result<String> {
    let passwords = passwords(config).await?;
    ensure!(!passwords.is_empty(), "there is no password to look for");
    let mut search = Search {
        passwords,
        read: Vec::new(),
        found: Vec::new(),
    };
    search.look("screen", "of the person", screen);
    stacks(config, &mut search).await?;
    task_definitions(config, &mut search).await?;
    tasks(config, &mut search).await?;
    functions(config, &mut search).await?;
    logs(config, &mut search).await?;
    executions(config, &mut search).await?;
    tables(config, &mut search).await?;
    queues(config, &mut search).await?;
    parameters(config, &mut search).await?;
    search.conclude()
}

struct Search {
    passwords: BTreeSet<String>,
    /// Kinds of places, with the number of texts and of their bytes.
    read: Vec<(&'static str, usize, usize)>,
    /// Places that have a password.
    found: Vec<String>,
}

impl Search {
    fn look(&mut self, kind: &'static str, place: &str, text: &str) {
        match self.read.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, texts, bytes)) => {
                *texts += 1;
                *bytes += text.len();
            }
            None => self.read.push((kind, 1, text.len())),
        }
        if self
            .passwords
            .iter()
            .any(|password| text.contains(password))
        {
            self.found.push(format!("{kind} {place}"));
        }
    }

    fn conclude(self) -> Result<String> {
        ensure!(
            self.found.is_empty(),
            "a password is told by: {}",
            self.found.join(", ")
        );
        let texts: usize = self.read.iter().map(|(_, texts, _)| texts).sum();
        let bytes: usize = self.read.iter().map(|(.., bytes)| bytes).sum();
        let kinds: Vec<_> = self.read.iter().map(|(kind, ..)| *kind).collect();
        for kind in [STACK, TASK_DEFINITION, FUNCTION, LOG, EXECUTION, TABLE] {
            ensure!(kinds.contains(&kind), "nothing was read of any {kind}");
        }
        Ok(format!(
            "none of {} passwords is in {texts} texts of {} KiB",
            self.passwords.len(),
            bytes / 1024
        ))
    }
}

const STACK: &str = "stack";
const TASK_DEFINITION: &str = "task definition";
const FUNCTION: &str = "function";
const LOG: &str = "log";
const EXECUTION: &str = "execution";
const TABLE: &str = "table";

/// The passwords in the account's secrets: their own, and that of each URL.
async fn passwords(config: &SdkConfig) -> Result<BTreeSet<String>> {
    let client = aws_sdk_secretsmanager::Client::new(config);
    let mut pages = client.list_secrets().into_paginator().send();
    let mut passwords = BTreeSet::new();
    while let Some(page) = pages.try_next().await? {
        for secret in page.secret_list() {
            let request = client.get_secret_value().set_secret_id(secret.arn.clone());
            let value = request.send().await?;
            let password = password_in(value.secret_string().unwrap_or_default());
            let password = password.context("a secret without a password")?;
            ensure!(password.len() >= SHORTEST, "a password is too short");
            passwords.insert(password);
        }
    }
    Ok(passwords)
}

/// That of `{"password": "…"}` or of `scheme://user:password@host`.
fn password_in(secret: &str) -> Option<String> {
    if let Ok(Value::Object(members)) = serde_json::from_str(secret) {
        return Some(members.get("password")?.as_str()?.to_owned());
    }
    let url = reqwest::Url::parse(secret).ok()?;
    Some(url.password()?.to_owned())
}

async fn stacks(config: &SdkConfig, search: &mut Search) -> Result<()> {
    let client = aws_sdk_cloudformation::Client::new(config);
    let mut stacks = client.describe_stacks().into_paginator().items().send();
    while let Some(stack) = stacks.try_next().await? {
        let name = stack.stack_name().unwrap_or_default();
        search.look(STACK, name, &format!("{stack:?}"));
        let template = client.get_template().stack_name(name).send().await?;
        search.look(STACK, name, template.template_body().unwrap_or_default());
        let events = client.describe_stack_events().stack_name(name);
        let mut events = events.into_paginator().items().send();
        while let Some(event) = events.try_next().await? {
            search.look(STACK, name, &format!("{event:?}"));
        }
    }
    Ok(())
}

async fn task_definitions(config: &SdkConfig, search: &mut Search) -> Result<()> {
    let client = aws_sdk_ecs::Client::new(config);
    let mut arns = client
        .list_task_definitions()
        .into_paginator()
        .items()
        .send();
    while let Some(arn) = arns.try_next().await? {
        let request = client.describe_task_definition().task_definition(&arn);
        let answer = request.send().await?;
        let definition = answer.task_definition();
        search.look(TASK_DEFINITION, &arn, &format!("{definition:?}"));
        let containers = definition.map_or(&[][..], |it| it.container_definitions());
        for container in containers {
            let environment = container.environment();
            search.look(TASK_DEFINITION, &arn, &format!("{environment:?}"));
        }
    }
    Ok(())
}

/// What running and stopped tasks were told beyond their task definitions.
async fn tasks(config: &SdkConfig, search: &mut Search) -> Result<()> {
    let client = aws_sdk_ecs::Client::new(config);
    let mut clusters = client.list_clusters().into_paginator().items().send();
    while let Some(cluster) = clusters.try_next().await? {
        for status in [DesiredStatus::Running, DesiredStatus::Stopped] {
            let tasks = client.list_tasks().cluster(&cluster).desired_status(status);
            let mut arns = tasks.into_paginator().items().send();
            while let Some(arn) = arns.try_next().await? {
                let described = client.describe_tasks().cluster(&cluster).tasks(arn);
                for task in described.send().await?.tasks() {
                    let arn = task.task_arn().unwrap_or_default();
                    let overrides = task.overrides().map(|it| it.container_overrides());
                    for container in overrides.unwrap_or_default() {
                        let (command, variables) = (container.command(), container.environment());
                        search.look("task", arn, &format!("{command:?} {variables:?}"));
                    }
                }
            }
        }
    }
    Ok(())
}

async fn functions(config: &SdkConfig, search: &mut Search) -> Result<()> {
    let client = aws_sdk_lambda::Client::new(config);
    let mut functions = client.list_functions().into_paginator().items().send();
    while let Some(function) = functions.try_next().await? {
        let name = function.function_name().unwrap_or_default();
        let variables = function.environment().and_then(|it| it.variables());
        search.look(FUNCTION, name, &format!("{function:?} {variables:?}"));
    }
    Ok(())
}

async fn logs(config: &SdkConfig, search: &mut Search) -> Result<()> {
    let client = aws_sdk_cloudwatchlogs::Client::new(config);
    let mut groups = client.describe_log_groups().into_paginator().items().send();
    while let Some(group) = groups.try_next().await? {
        let name = group.log_group_name().unwrap_or_default();
        let events = client.filter_log_events().log_group_name(name);
        let mut pages = events.into_paginator().send();
        while let Some(page) = pages.try_next().await? {
            for event in page.events() {
                search.look(LOG, name, event.message().unwrap_or_default());
            }
        }
    }
    Ok(())
}

async fn executions(config: &SdkConfig, search: &mut Search) -> Result<()> {
    let client = aws_sdk_sfn::Client::new(config);
    let mut machines = client.list_state_machines().into_paginator().items().send();
    while let Some(machine) = machines.try_next().await? {
        let executions = client
            .list_executions()
            .state_machine_arn(machine.state_machine_arn());
        let mut executions = executions.into_paginator().items().send();
        while let Some(execution) = executions.try_next().await? {
            let arn = execution.execution_arn();
            let described = client.describe_execution().execution_arn(arn).send();
            let described = described.await?;
            search.look(EXECUTION, arn, described.input().unwrap_or_default());
            search.look(EXECUTION, arn, described.output().unwrap_or_default());
            search.look(EXECUTION, arn, described.cause().unwrap_or_default());
            history(&client, arn, search).await?;
        }
    }
    Ok(())
}

async fn history(client: &aws_sdk_sfn::Client, arn: &str, search: &mut Search) -> Result<()> {
    let history = client.get_execution_history().execution_arn(arn);
    let mut events = history.into_paginator().items().send();
    while let Some(event) = events.try_next().await? {
        let entered = event.state_entered_event_details();
        let exited = event.state_exited_event_details();
        let scheduled = event.task_scheduled_event_details();
        let succeeded = event.task_succeeded_event_details();
        let failed = event.task_failed_event_details();
        let texts = [
            entered.and_then(|details| details.input()),
            exited.and_then(|details| details.output()),
            scheduled.map(|details| details.parameters()),
            succeeded.and_then(|details| details.output()),
            failed.and_then(|details| details.cause()),
        ];
        for text in texts.into_iter().flatten() {
            search.look(EXECUTION, arn, text);
        }
    }
    Ok(())
}

async fn tables(config: &SdkConfig, search: &mut Search) -> Result<()> {
    let client = aws_sdk_dynamodb::Client::new(config);
    let mut tables = client.list_tables().into_paginator().items().send();
    while let Some(table) = tables.try_next().await? {
        let mut items = client
            .scan()
            .table_name(&table)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = items.try_next().await? {
            search.look(TABLE, &table, &format!("{item:?}"));
        }
    }
    Ok(())
}

async fn queues(config: &SdkConfig, search: &mut Search) -> Result<()> {
    let client = aws_sdk_sqs::Client::new(config);
    let mut queues = client.list_queues().into_paginator().items().send();
    while let Some(queue) = queues.try_next().await? {
        let messages = client
            .receive_message()
            .queue_url(&queue)
            .max_number_of_messages(10)
            .visibility_timeout(0)
            .send()
            .await?;
        for message in messages.messages() {
            search.look("queue", &queue, message.body().unwrap_or_default());
        }
    }
    Ok(())
}

async fn parameters(config: &SdkConfig, search: &mut Search) -> Result<()> {
    let client = aws_sdk_ssm::Client::new(config);
    let parameters = client.get_parameters_by_path().path("/").recursive(true);
    let mut pages = parameters.into_paginator().send();
    while let Some(page) = pages.try_next().await? {
        for parameter in page.parameters() {
            let name = parameter.name().unwrap_or_default();
            search.look("parameter", name, parameter.value().unwrap_or_default());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stands_in_a_document_or_in_a_url() {
        let found = |secret| password_in(secret).unwrap_or_default();
        assert_eq!(found(r#"{"username": "a", "password": "b"}"#), "b");
        assert_eq!(found("postgres://a:b@127.0.0.1:5432/c"), "b");
        assert_eq!(password_in("b"), None);
    }

    #[test]
    fn a_text_with_a_password_is_named() {
        let mut search = Search {
            passwords: BTreeSet::from(["0123456789abcdef".to_owned()]),
            read: Vec::new(),
            found: Vec::new(),
        };
        search.look(LOG, "/app", "connected as 0123456789abcdef");
        search.look(LOG, "/other", "connected");
        let error = search.conclude().unwrap_err().to_string();
        assert_eq!(error, "a password is told by: log /app");
    }
}
