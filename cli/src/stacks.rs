//! CloudFormation's stacks: brought to what a template says, or deleted, while a person watches.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudformation::types::{
    Capability, Change, ChangeAction, ChangeSetStatus, ChangeSetType, Parameter, PolicyAction,
    Replacement, ResourceChange, Stack, StackEvent,
};
use aws_sdk_cloudformation::{Client, types};
use tokio::time::Instant;

use crate::events::{ends, is_of_stack, line, reason_that_matters, status, unfinished};
use crate::say::Say;
use crate::template::Parameters;
use crate::trouble::failed;

/// A quiet minute is told of, so that nobody takes a database's ten for a standstill.
const QUIET: Duration = Duration::from_secs(60);
const CHANGE_SET_PATIENCE: Duration = Duration::from_secs(300);

/// What a stack is to become.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The stack's name.
    pub stack: String,
    /// The template's text.
    pub body: String,
    /// Where CloudFormation finds that text in S3; a small one it takes without.
    pub url: Option<String>,
    /// The template's parameters.
    pub parameters: BTreeSet<String>,
    /// Values that always hold.
    pub always: Parameters,
    /// Values for a stack that does not have these parameters yet. What it has, it keeps: somebody
    /// may have changed it on purpose.
    pub at_first: Parameters,
}

/// What became of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployed {
    /// It is new.
    Created,
    /// It was changed.
    Updated,
    /// It was as wanted.
    Unchanged,
}

/// What has to be done with a stack first.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Create,
    Update,
    /// Something is under way.
    Wait,
    /// Its creation failed; such a stack can only be deleted, and has nothing in it.
    CreateAgain,
    /// A person has to look at it: what to do.
    Refuse(&'static str),
}

/// CloudFormation's statuses and what each allows:
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html>.
fn next(status: Option<&str>) -> Next {
    let Some(status) = status else {
        return Next::Create;
    };
    match status {
        "DELETE_COMPLETE" => Next::Create,
        // The leftover of a change set that nobody executed.
        "REVIEW_IN_PROGRESS" | "ROLLBACK_COMPLETE" => Next::CreateAgain,
        "ROLLBACK_FAILED" | "CREATE_FAILED" | "DELETE_FAILED" => Next::Refuse(
            "Some of its resources could not be deleted, and it can not be used as it is. See in \
             the stack's events which and why, remove the reason, delete the stack \
             (aws cloudformation delete-stack --stack-name STACK), and run make up again.",
        ),
        "UPDATE_FAILED" => Next::Refuse(
            "An update failed and was left as it was. Bring it back with \
             aws cloudformation rollback-stack --stack-name STACK, then run make up again.",
        ),
        "UPDATE_ROLLBACK_FAILED" => Next::Refuse(
            "An update failed, and so did the way back. See in the stack's events why, remove the \
             reason, finish the way back with aws cloudformation continue-update-rollback \
             --stack-name STACK, then run make up again.",
        ),
        "IMPORT_ROLLBACK_FAILED" => Next::Refuse(
            "An import failed, and so did the way back. See in the stack's events why, and \
             finish the import or its way back in the console, then run make up again.",
        ),
        _ if status.ends_with("_IN_PROGRESS") => Next::Wait,
        _ => Next::Update,
    }
}

/// The stacks of an account and region.
#[derive(Clone, Debug)]
pub struct Stacks {
    client: Client,
    say: Say,
    poll: Duration,
}

impl Stacks {
    /// Asks CloudFormation for news each `poll`.
    #[must_use]
    pub fn new(client: Client, say: Say, poll: Duration) -> Self {
        Self { client, say, poll }
    }

    /// A stack as it is; `None` where there is none of that name.
    ///
    /// # Errors
    /// CloudFormation does not answer, or forbids it.
    pub async fn find(&self, name: &str) -> Result<Option<Stack>> {
        match self.client.describe_stacks().stack_name(name).send().await {
            Ok(answer) => Ok(answer.stacks().first().cloned()),
            Err(error) if says(&error, "does not exist") => Ok(None),
            Err(error) => Err(failed(
                error,
                &format!("CloudFormation does not tell of stack {name}"),
            )),
        }
    }

    /// The outputs of a stack; none where there is no such stack.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn outputs(&self, name: &str) -> Result<Parameters> {
        Ok(self
            .find(name)
            .await?
            .map(|stack| outputs(&stack))
            .unwrap_or_default())
    }

    /// The parameters of a stack; `None` where there is no such stack.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn parameters(&self, name: &str) -> Result<Option<Parameters>> {
        Ok(self.find(name).await?.as_ref().map(parameters))
    }

    /// The physical id of a stack's resource.
    ///
    /// # Errors
    /// There is no such stack or resource, or CloudFormation does not answer.
    pub async fn resource(&self, name: &str, logical: &str) -> Result<String> {
        let described = self
            .client
            .describe_stack_resource()
            .stack_name(name)
            .logical_resource_id(logical)
            .send()
            .await
            .map_err(|error| failed(error, &format!("Stack {name} does not tell of {logical}")))?;
        let id = described
            .stack_resource_detail()
            .and_then(|detail| detail.physical_resource_id());
        Ok(id
            .with_context(|| format!("{logical} of stack {name} is not there yet"))?
            .to_owned())
    }

    /// The physical ids of a stack's resources of a type that exist.
    ///
    /// # Errors
    /// There is no such stack, or CloudFormation does not answer.
    pub async fn resources(&self, name: &str, kind: &str) -> Result<Vec<String>> {
        let mut pages = self
            .client
            .list_stack_resources()
            .stack_name(name)
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(resource) = pages.try_next().await? {
            let is_gone =
                resource.resource_status() == Some(&types::ResourceStatus::DeleteComplete);
            if resource.resource_type() == Some(kind) && !is_gone {
                found.extend(resource.physical_resource_id().map(str::to_owned));
            }
        }
        Ok(found)
    }

    /// Brings a stack to what is wanted: creates it, updates it, or finds that nothing differs.
    /// What another has begun is waited for; what was left of a failed creation makes room.
    ///
    /// # Errors
    /// The stack is in a state in which only a person can help, or its creation or update failed:
    /// then with the first reason that matters, and what became of the stack.
    pub async fn deploy(&self, wanted: &Wanted) -> Result<Deployed> {
        self.deploy_when(wanted, async || Ok(())).await
    }

    /// The same, but what exists is updated only once `ready` says so: where there is nothing to
    /// change, it is not asked.
    ///
    /// # Errors
    /// As [`deploy`](Self::deploy), and that of `ready`: then nothing was changed.
    pub async fn deploy_when(
        &self,
        wanted: &Wanted,
        ready: impl AsyncFn() -> Result<()>,
    ) -> Result<Deployed> {
        let name = wanted.stack.as_str();
        for parameter in wanted.always.keys() {
            ensure!(
                wanted.parameters.contains(parameter),
                "The template of stack {name} has no parameter {parameter}. Nothing was changed."
            );
        }
        loop {
            let found = self.find(name).await?;
            let status = found
                .as_ref()
                .map(|stack| status_text(stack.stack_status()).to_owned());
            match (next(status.as_deref()), found) {
                (Next::Update, Some(stack)) => return self.update(&stack, wanted, ready).await,
                (Next::Wait, Some(stack)) => {
                    self.settle(&stack).await?;
                }
                (Next::CreateAgain, Some(stack)) => {
                    self.say.line(format!(
                        "Stack {name}: its creation failed the last time; what is left of it is \
                         deleted, and it is created again"
                    ));
                    self.delete_found(&stack).await?;
                }
                (Next::Refuse(sentence), _) => {
                    let status = status.unwrap_or_default();
                    let advice = sentence.replace("STACK", name);
                    bail!("Stack {name} is {status}. {advice} Nothing was changed.")
                }
                _ => return self.create(wanted).await,
            }
        }
    }

    async fn create(&self, wanted: &Wanted) -> Result<Deployed> {
        let name = wanted.stack.as_str();
        self.say.line(format!("Stack {name}: creating"));
        let parameters = values(wanted, &BTreeMap::new());
        let request = self.client.create_stack().stack_name(name);
        let request = match &wanted.url {
            Some(url) => request.template_url(url),
            None => request.template_body(&wanted.body),
        };
        let answer = request
            .capabilities(Capability::CapabilityIam)
            .set_parameters(Some(parameters))
            .send()
            .await
            .map_err(|error| {
                let happened = format!("CloudFormation refuses to create stack {name}");
                failed(error, &happened).context("Nothing of it exists.")
            })?;
        let id = answer.stack_id().unwrap_or(name).to_owned();
        let events = self.follow(&id, HashSet::new()).await?;
        let end = end(&events);
        ensure!(
            end == "CREATE_COMPLETE",
            "Stack {name} could not be created (it is {end} now): {}. What was made of it was \
             deleted again; the stacks before it stay. Remove the reason and run make up again: \
             it goes on from here.",
            reason(&events)
        );
        Ok(Deployed::Created)
    }

    async fn update(
        &self,
        stack: &Stack,
        wanted: &Wanted,
        ready: impl AsyncFn() -> Result<()>,
    ) -> Result<Deployed> {
        let name = wanted.stack.as_str();
        let has = parameters(stack);
        let deployed = self.client.get_template().stack_name(name).send().await;
        let deployed = deployed.map_err(|error| {
            failed(
                error,
                &format!("CloudFormation does not show the template of stack {name}"),
            )
        })?;
        if deployed.template_body() == Some(&wanted.body) && !differs(wanted, &has) {
            self.say.line(format!("Stack {name}: unchanged"));
            return Ok(Deployed::Unchanged);
        }
        let Some(change_set) = self.change_set(wanted, &has).await? else {
            self.say.line(format!("Stack {name}: unchanged"));
            return Ok(Deployed::Unchanged);
        };
        if let Err(error) = ready().await {
            self.forget(&change_set).await?;
            bail!("Stack {name} was not updated: {error:#}");
        }
        self.say.line(format!("Stack {name}: updating"));
        let id = stack.stack_id().unwrap_or(name).to_owned();
        let seen = self.newest_events(&id).await?;
        self.client
            .execute_change_set()
            .change_set_name(&change_set)
            .send()
            .await
            .map_err(|error| failed(error, &format!("Stack {name} was not updated")))?;
        let events = self.follow(&id, seen).await?;
        self.updated(name, &events)?;
        Ok(Deployed::Updated)
    }

    /// Changes parameters of a stack and leaves all else as it is.
    ///
    /// # Errors
    /// The update failed, or there is nothing to change.
    pub async fn change(&self, name: &str, changed: &[(&str, &str)]) -> Result<()> {
        let stack = self.find(name).await?;
        let stack = stack.with_context(|| format!("there is no stack {name}"))?;
        let given = parameters(&stack).into_keys().map(|key| {
            let new = changed.iter().find(|(changed, _)| *changed == key);
            let parameter = Parameter::builder().parameter_key(&key);
            match new {
                Some((_, value)) => parameter.parameter_value(*value).build(),
                None => parameter.use_previous_value(true).build(),
            }
        });
        let id = stack.stack_id().unwrap_or(name).to_owned();
        let seen = self.newest_events(&id).await?;
        self.client
            .update_stack()
            .stack_name(name)
            .use_previous_template(true)
            .capabilities(Capability::CapabilityIam)
            .set_parameters(Some(given.collect()))
            .send()
            .await
            .map_err(|error| failed(error, &format!("Stack {name} was not updated")))?;
        let events = self.follow(&id, seen).await?;
        self.updated(name, &events)
    }

    fn updated(&self, name: &str, events: &[StackEvent]) -> Result<()> {
        let end = end(events);
        ensure!(
            end == "UPDATE_COMPLETE",
            "Stack {name} could not be updated (it is {end} now): {}. {}",
            reason(events),
            if end == "UPDATE_ROLLBACK_COMPLETE" {
                "It is as it was before. Remove the reason and run make up again."
            } else {
                "The way back failed as well; make up says what to do about it."
            }
        );
        Ok(())
    }

    /// Makes a change set and answers its ARN; `None` where it would change nothing.
    async fn change_set(&self, wanted: &Wanted, has: &Parameters) -> Result<Option<String>> {
        let name = wanted.stack.as_str();
        let request = self
            .client
            .create_change_set()
            .stack_name(name)
            .change_set_name(format!(
                "bluegreen-{}",
                jiff::Timestamp::now().as_millisecond()
            ))
            .change_set_type(ChangeSetType::Update)
            .capabilities(Capability::CapabilityIam)
            .set_parameters(Some(values(wanted, has)));
        let request = match &wanted.url {
            Some(url) => request.template_url(url),
            None => request.template_body(&wanted.body),
        };
        let made = request.send().await.map_err(|error| {
            failed(
                error,
                &format!("CloudFormation refuses to update stack {name}"),
            )
            .context("It is as it was.")
        })?;
        let id = made.id().context("the change set has no ARN")?.to_owned();
        let deadline = Instant::now() + CHANGE_SET_PATIENCE;
        loop {
            let change_set = self
                .client
                .describe_change_set()
                .change_set_name(&id)
                .send()
                .await?;
            match change_set.status() {
                Some(ChangeSetStatus::CreateComplete) => {
                    let lost = self.databases_lost_by(&id).await?;
                    if lost.is_empty() {
                        return Ok(Some(id));
                    }
                    self.forget(&id).await?;
                    bail!(
                        "Stack {name} was not updated: a new, empty database would take the place \
                         of {}, and the data would be left in a snapshot. Take back what was set \
                         for it. If it is what you want, deploy the template by hand and restore \
                         the snapshot.",
                        lost.join(", ")
                    )
                }
                Some(ChangeSetStatus::Failed) => {
                    let reason = change_set.status_reason().unwrap_or("without a reason");
                    self.forget(&id).await?;
                    ensure!(
                        is_empty_change(reason),
                        "Stack {name} can not be updated: {reason} It is as it was."
                    );
                    return Ok(None);
                }
                _ => ensure!(
                    Instant::now() < deadline,
                    "CloudFormation did not say within {CHANGE_SET_PATIENCE:?} what would change \
                     in stack {name}. It is as it was."
                ),
            }
            tokio::time::sleep(self.poll).await;
        }
    }

    /// Deletes a change set that is not to be executed.
    async fn forget(&self, change_set: &str) -> Result<()> {
        let request = self.client.delete_change_set();
        request.change_set_name(change_set).send().await?;
        Ok(())
    }

    /// The databases of which a change set would leave no more than a snapshot.
    async fn databases_lost_by(&self, change_set: &str) -> Result<Vec<String>> {
        let mut lost = Vec::new();
        let mut token = None;
        loop {
            let page = self.client.describe_change_set();
            let page = page.change_set_name(change_set).set_next_token(token);
            let page = page.send().await?;
            let changes = page.changes().iter().filter_map(Change::resource_change);
            lost.extend(changes.filter(|change| loses_a_database(change)).map(|it| {
                format!(
                    "{} ({})",
                    it.logical_resource_id().unwrap_or_default(),
                    it.resource_type().unwrap_or_default()
                )
            }));
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(lost);
            }
        }
    }

    /// Deletes a stack and waits until it is gone. Answers whether there was one.
    ///
    /// # Errors
    /// Something could not be deleted.
    pub async fn delete(&self, name: &str) -> Result<bool> {
        let Some(stack) = self.find(name).await? else {
            return Ok(false);
        };
        if is_busy(&stack) {
            self.settle(&stack).await?;
        }
        self.say.line(format!("Stack {name}: deleting"));
        self.delete_found(&stack).await?;
        Ok(true)
    }

    async fn delete_found(&self, stack: &Stack) -> Result<()> {
        let name = stack.stack_name().unwrap_or_default();
        let id = stack.stack_id().unwrap_or(name).to_owned();
        let seen = self.newest_events(&id).await?;
        self.client
            .delete_stack()
            .stack_name(&id)
            .send()
            .await
            .map_err(|error| failed(error, &format!("Stack {name} was not deleted")))?;
        let events = self.follow(&id, seen).await?;
        let end = end(&events);
        ensure!(
            end == "DELETE_COMPLETE",
            "Stack {name} could not be deleted (it is {end} now): {}. What it still has, its \
             events say. Remove the reason and run the same again.",
            reason(&events)
        );
        Ok(())
    }

    /// Waits for the end of what another has begun.
    async fn settle(&self, stack: &Stack) -> Result<()> {
        let name = stack.stack_name().unwrap_or_default();
        self.say
            .line(format!("Stack {name}: waiting for what is under way"));
        let id = stack.stack_id().unwrap_or(name).to_owned();
        let mut progress = Progress::new(self.say.clone());
        let mut seen = self.newest_events(&id).await?;
        while self.find(&id).await?.is_some_and(|stack| is_busy(&stack)) {
            for event in self.events_since(&id, &mut seen).await? {
                progress.tell(event);
            }
            progress.remind();
            tokio::time::sleep(self.poll).await;
        }
        Ok(())
    }

    /// Tells of every event until one ends the operation; answers those of the operation, the
    /// oldest first. `seen` are events from before.
    async fn follow(&self, id: &str, mut seen: HashSet<String>) -> Result<Vec<StackEvent>> {
        let mut progress = Progress::new(self.say.clone());
        loop {
            for event in self.events_since(id, &mut seen).await? {
                let last = ends(&event);
                progress.tell(event);
                if last {
                    return Ok(progress.events);
                }
            }
            progress.remind();
            tokio::time::sleep(self.poll).await;
        }
    }

    async fn newest_events(&self, id: &str) -> Result<HashSet<String>> {
        let answer = self
            .client
            .describe_stack_events()
            .stack_name(id)
            .send()
            .await?;
        let ids = answer
            .stack_events()
            .iter()
            .filter_map(StackEvent::event_id);
        Ok(ids.map(str::to_owned).collect())
    }

    /// Events that are not among `seen`, the oldest first; CloudFormation gives the newest first.
    async fn events_since(&self, id: &str, seen: &mut HashSet<String>) -> Result<Vec<StackEvent>> {
        let mut pages = self
            .client
            .describe_stack_events()
            .stack_name(id)
            .into_paginator()
            .send();
        let mut news = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                failed(error, "CloudFormation does not tell of the stack's events")
            })?;
            let all = page.stack_events().len();
            let fresh = page
                .stack_events()
                .iter()
                .filter(|event| seen.insert(event.event_id().unwrap_or_default().to_owned()));
            let before = news.len();
            news.extend(fresh.cloned());
            if news.len() - before < all {
                break;
            }
        }
        news.reverse();
        Ok(news)
    }
}

/// The events of an operation, as a person is told of them.
struct Progress {
    say: Say,
    started: Instant,
    told: Instant,
    events: Vec<StackEvent>,
}

impl Progress {
    fn new(say: Say) -> Self {
        let (started, told, events) = (Instant::now(), Instant::now(), Vec::new());
        Self {
            say,
            started,
            told,
            events,
        }
    }

    fn tell(&mut self, event: StackEvent) {
        if let Some(line) = line(&event) {
            self.line(&line);
        }
        self.events.push(event);
    }

    /// After a quiet minute, what is being waited for.
    fn remind(&mut self) {
        let waiting = unfinished(&self.events).join(", ");
        if self.told.elapsed() >= QUIET && !waiting.is_empty() {
            self.line(&format!("waiting for {waiting}"));
        }
    }

    fn line(&mut self, text: &str) {
        self.told = Instant::now();
        let seconds = self.started.elapsed().as_secs();
        self.say.line(format!("  {seconds:>4} s  {text}"));
    }
}

/// Whether CloudFormation is working on a stack.
fn is_busy(stack: &Stack) -> bool {
    matches!(next(Some(status_text(stack.stack_status()))), Next::Wait)
}

/// The outputs of a stack by their names.
fn outputs(stack: &Stack) -> Parameters {
    let outputs = stack.outputs().iter().filter_map(|output| {
        let value = output.output_value()?.to_owned();
        Some((output.output_key()?.to_owned(), value))
    });
    outputs.collect()
}

/// The parameters of a stack by their names.
fn parameters(stack: &Stack) -> Parameters {
    let parameters = stack.parameters().iter().filter_map(|parameter| {
        let value = parameter.parameter_value().unwrap_or_default().to_owned();
        Some((parameter.parameter_key()?.to_owned(), value))
    });
    parameters.collect()
}

/// The parameters of a request for a stack that has `has` already.
fn values(wanted: &Wanted, has: &Parameters) -> Vec<Parameter> {
    let given = wanted.parameters.iter().filter_map(|name| {
        let parameter = Parameter::builder().parameter_key(name);
        if let Some(value) = wanted.always.get(name) {
            Some(parameter.parameter_value(value).build())
        } else if has.contains_key(name) {
            Some(parameter.use_previous_value(true).build())
        } else {
            let value = wanted.at_first.get(name)?;
            Some(parameter.parameter_value(value).build())
        }
    });
    given.collect()
}

/// Whether a parameter of the stack is to have another value.
fn differs(wanted: &Wanted, has: &Parameters) -> bool {
    wanted
        .always
        .iter()
        .any(|(name, value)| has.get(name) != Some(value))
}

/// Whether a change takes a database away. `Conditional` replacement does not count: CloudFormation
/// says so of many a setting of a database, such as `MultiAZ`, that it changes in place. Nor does
/// one that the template lets go without a snapshot, such as the reader of a cluster.
///
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceChange.html>
fn loses_a_database(change: &ResourceChange) -> bool {
    let holds_data = matches!(
        change.resource_type(),
        Some("AWS::RDS::DBInstance" | "AWS::RDS::DBCluster")
    );
    let is_left = change.action() == Some(&ChangeAction::Remove)
        || change.replacement() == Some(&Replacement::True);
    let is_dispensable = matches!(
        change.policy_action(),
        Some(PolicyAction::Delete | PolicyAction::ReplaceAndDelete)
    );
    holds_data && is_left && !is_dispensable
}

/// How CloudFormation and its `Transform`s say that a change set changes nothing, as the AWS CLI
/// knows it too (awscli/customizations/cloudformation/deployer.py).
fn is_empty_change(reason: &str) -> bool {
    reason.contains("didn't contain changes") || reason.contains("No updates are to be performed")
}

/// How the operation ended.
fn end(events: &[StackEvent]) -> String {
    let last = events.iter().rev().find(|event| is_of_stack(event));
    last.map_or("gone", status).to_owned()
}

fn reason(events: &[StackEvent]) -> String {
    let reason = reason_that_matters(events);
    let reason = reason.unwrap_or_else(|| "CloudFormation gives no reason".to_owned());
    reason.trim_end().trim_end_matches('.').to_owned()
}

fn status_text(status: Option<&types::StackStatus>) -> &str {
    status.map_or("", |status| status.as_str())
}

fn says<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, words: &str) -> bool {
    let message = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::message);
    message.is_some_and(|message| message.contains(words))
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::operation::create_change_set::CreateChangeSetOutput;
    use aws_sdk_cloudformation::operation::delete_change_set::DeleteChangeSetOutput;
    use aws_sdk_cloudformation::operation::describe_change_set::DescribeChangeSetOutput;
    use aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksOutput;
    use aws_sdk_cloudformation::operation::get_template::GetTemplateOutput;
    use aws_sdk_cloudformation::types::StackStatus;
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            stack: "demo".to_owned(),
            body: "new".to_owned(),
            parameters: ["Always", "AtFirst", "Other"].map(str::to_owned).into(),
            always: [("Always".to_owned(), "1".to_owned())].into(),
            at_first: [("AtFirst".to_owned(), "2".to_owned())].into(),
            ..Wanted::default()
        }
    }

    fn stack(status: &str) -> Rule {
        let status = status.to_owned();
        mock!(Client::describe_stacks).then_output(move || {
            let always = Parameter::builder()
                .parameter_key("Always")
                .parameter_value("1");
            let stack = Stack::builder()
                .stack_id("arn:stack")
                .stack_name("demo")
                .stack_status(StackStatus::from(status.as_str()))
                .parameters(always.build())
                .creation_time(aws_sdk_cloudformation::primitives::DateTime::from_secs(0));
            DescribeStacksOutput::builder()
                .stacks(stack.build())
                .build()
        })
    }

    fn template(body: &'static str) -> Rule {
        mock!(Client::get_template)
            .then_output(move || GetTemplateOutput::builder().template_body(body).build())
    }

    async fn deploy(rules: &[&Rule]) -> Result<Deployed> {
        let client = mock_client!(aws_sdk_cloudformation, RuleMode::MatchAny, rules);
        let stacks = Stacks::new(client, Say::to(std::io::sink()), Duration::ZERO);
        stacks.deploy(&wanted()).await
    }

    #[test]
    fn each_status_of_a_stack_allows_one_thing() {
        for (status, expected) in [
            (None, Next::Create),
            (Some("DELETE_COMPLETE"), Next::Create),
            (Some("ROLLBACK_COMPLETE"), Next::CreateAgain),
            (Some("REVIEW_IN_PROGRESS"), Next::CreateAgain),
            (Some("CREATE_IN_PROGRESS"), Next::Wait),
            (Some("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"), Next::Wait),
            (Some("CREATE_COMPLETE"), Next::Update),
            (Some("UPDATE_COMPLETE"), Next::Update),
            (Some("UPDATE_ROLLBACK_COMPLETE"), Next::Update),
            (Some("IMPORT_COMPLETE"), Next::Update),
        ] {
            assert_eq!(next(status), expected, "{status:?}");
        }
        // Every status that CloudFormation has and in which an update is refused.
        for status in StackStatus::values() {
            if status.ends_with("_FAILED") {
                let next = next(Some(status));
                assert!(matches!(next, Next::Refuse(_)), "{status}: {next:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_stack_that_only_a_person_can_help_is_left_alone_and_said_what_to_do() {
        let error = deploy(&[&stack("UPDATE_ROLLBACK_FAILED")])
            .await
            .unwrap_err()
            .to_string();
        for words in [
            "Stack demo is UPDATE_ROLLBACK_FAILED",
            "continue-update-rollback --stack-name demo",
            "Nothing was changed",
        ] {
            assert!(error.contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_not_ready_is_not_updated_and_its_change_set_is_thrown_away() {
        let made = mock!(Client::create_change_set)
            .then_output(|| CreateChangeSetOutput::builder().id("arn:set").build());
        let described = mock!(Client::describe_change_set).then_output(|| {
            DescribeChangeSetOutput::builder()
                .status(ChangeSetStatus::CreateComplete)
                .build()
        });
        let deleted = mock!(Client::delete_change_set)
            .match_requests(|request| request.change_set_name() == Some("arn:set"))
            .then_output(|| DeleteChangeSetOutput::builder().build());
        let (stack, template) = (stack("UPDATE_COMPLETE"), template("old"));
        let rules = [&stack, &template, &made, &described, &deleted];
        let client = mock_client!(aws_sdk_cloudformation, RuleMode::MatchAny, &rules);
        let stacks = Stacks::new(client, Say::to(std::io::sink()), Duration::ZERO);
        let not_ready = async || bail!("somebody is at work");
        let deployed = stacks.deploy_when(&wanted(), not_ready).await;
        let error = deployed.unwrap_err().to_string();
        assert_eq!(error, "Stack demo was not updated: somebody is at work");
        assert_eq!(deleted.num_calls(), 1);
    }

    #[tokio::test]
    async fn the_same_template_with_the_same_parameters_changes_nothing() {
        let deployed = deploy(&[&stack("CREATE_COMPLETE"), &template("new")])
            .await
            .unwrap();
        assert_eq!(deployed, Deployed::Unchanged);
    }

    #[tokio::test]
    async fn a_change_set_without_changes_changes_nothing_and_is_not_left_behind() {
        let made = mock!(Client::create_change_set)
            .then_output(|| CreateChangeSetOutput::builder().id("arn:set").build());
        let described = mock!(Client::describe_change_set).then_output(|| {
            DescribeChangeSetOutput::builder()
                .status(ChangeSetStatus::Failed)
                .status_reason("The submitted information didn't contain changes.")
                .build()
        });
        let deleted = mock!(Client::delete_change_set)
            .match_requests(|request| request.change_set_name() == Some("arn:set"))
            .then_output(|| DeleteChangeSetOutput::builder().build());
        let (stack, template) = (stack("UPDATE_COMPLETE"), template("old"));
        let deployed = deploy(&[&stack, &template, &made, &described, &deleted]).await;
        assert_eq!(deployed.unwrap(), Deployed::Unchanged);
        assert_eq!(deleted.num_calls(), 1);
    }

    fn change(kind: &str, action: ChangeAction, policy: PolicyAction) -> ResourceChange {
        ResourceChange::builder()
            .logical_resource_id("Instance")
            .resource_type(kind)
            .action(action)
            .policy_action(policy)
            .build()
    }

    #[tokio::test]
    async fn a_change_set_that_would_replace_a_database_is_refused_by_its_name_and_thrown_away() {
        let made = mock!(Client::create_change_set)
            .then_output(|| CreateChangeSetOutput::builder().id("arn:set").build());
        let page = |token: Option<&'static str>, changes: &'static [&'static str]| {
            DescribeChangeSetOutput::builder()
                .status(ChangeSetStatus::CreateComplete)
                .set_next_token(token.map(str::to_owned))
                .set_changes(Some(
                    changes
                        .iter()
                        .map(|kind| {
                            let modify = ChangeAction::Modify;
                            let mut change = change(kind, modify, PolicyAction::ReplaceAndSnapshot);
                            change.replacement = Some(Replacement::True);
                            Change::builder().resource_change(change).build()
                        })
                        .collect(),
                ))
                .build()
        };
        let first = mock!(Client::describe_change_set)
            .match_requests(|request| request.next_token().is_none())
            .then_output(move || page(Some("more"), &["AWS::RDS::DBParameterGroup"]));
        let second = mock!(Client::describe_change_set)
            .match_requests(|request| request.next_token() == Some("more"))
            .then_output(move || page(None, &["AWS::RDS::DBInstance"]));
        let deleted = mock!(Client::delete_change_set)
            .match_requests(|request| request.change_set_name() == Some("arn:set"))
            .then_output(|| DeleteChangeSetOutput::builder().build());
        let (stack, template) = (stack("UPDATE_COMPLETE"), template("old"));
        let rules = [&stack, &template, &made, &first, &second, &deleted];
        let error = deploy(&rules).await.unwrap_err().to_string();
        for words in [
            "Stack demo was not updated",
            "place of Instance (AWS::RDS::DBInstance), and",
        ] {
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(deleted.num_calls(), 1);
    }

    #[test]
    fn a_database_is_lost_when_it_is_replaced_or_removed_and_leaves_a_snapshot() {
        let (instance, cluster) = ("AWS::RDS::DBInstance", "AWS::RDS::DBCluster");
        let modified = |kind, policy, replacement| {
            let mut change = change(kind, ChangeAction::Modify, policy);
            change.replacement = Some(replacement);
            loses_a_database(&change)
        };
        let removed = |kind, policy| loses_a_database(&change(kind, ChangeAction::Remove, policy));
        assert!(modified(
            cluster,
            PolicyAction::ReplaceAndSnapshot,
            Replacement::True
        ));
        assert!(removed(instance, PolicyAction::Snapshot));
        // Changed in place, as far as CloudFormation can tell beforehand.
        assert!(!modified(
            instance,
            PolicyAction::ReplaceAndSnapshot,
            Replacement::Conditional
        ));
        assert!(!modified(
            instance,
            PolicyAction::ReplaceAndSnapshot,
            Replacement::False
        ));
        // The reader or the writer of a cluster, which has the data.
        assert!(!removed(instance, PolicyAction::Delete));
        assert!(!modified(
            instance,
            PolicyAction::ReplaceAndDelete,
            Replacement::True
        ));
        assert!(!removed(
            "AWS::RDS::DBParameterGroup",
            PolicyAction::Snapshot
        ));
    }

    #[test]
    fn an_update_keeps_what_a_person_has_changed() {
        let has = [("AtFirst", "7"), ("Other", "8"), ("Gone", "9")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let given = values(&wanted(), &has.into());
        let given: Vec<_> = given
            .iter()
            .map(|it| {
                (
                    it.parameter_key().unwrap(),
                    it.parameter_value(),
                    it.use_previous_value(),
                )
            })
            .collect();
        assert_eq!(
            given,
            [
                ("Always", Some("1"), None),
                ("AtFirst", None, Some(true)),
                ("Other", None, Some(true)),
            ]
        );
        let given = values(&wanted(), &Parameters::new());
        let keys: Vec<_> = given.iter().filter_map(Parameter::parameter_key).collect();
        assert_eq!(keys, ["Always", "AtFirst"]);
    }

    #[tokio::test]
    async fn a_value_that_no_parameter_takes_is_refused_before_anything_is_asked() {
        let client = mock_client!(aws_sdk_cloudformation, []);
        let stacks = Stacks::new(client, Say::to(std::io::sink()), Duration::ZERO);
        let mut wanted = wanted();
        wanted.always.insert("Misspelt".to_owned(), String::new());
        let error = stacks.deploy(&wanted).await.unwrap_err().to_string();
        assert!(error.contains("no parameter Misspelt"), "{error}");
    }
}
