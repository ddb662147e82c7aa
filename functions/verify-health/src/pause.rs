//! Deployments that pause at a hook until somebody lets them go on.
//!
//! That may take two weeks. While a hook awaits an action it has a limit of its own, and afterwards
//! the deployment has its time once more. What waits stands in the release's record, so that a person
//! finds what to do, and a later look that the deployment has paused
//! (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html>).

use crate::verdict::name;
use aws_sdk_ecs::primitives::{DateTime, DateTimeFormat};
use aws_sdk_ecs::types::{
    DeploymentLifecycleHookAction as Action, DeploymentLifecycleHookDetail as Hook,
    DeploymentLifecycleHookStatus as Status, DeploymentLifecycleHookTargetType as Target,
    ServiceDeployment,
};
use bluegreen_contract::{UpdatedServices, VerifyHealthInput, cut};
use bluegreen_ecs::Seen;
use bluegreen_release::Table;
use bluegreen_runtime::AwsRequestFailed;
use std::fmt;

/// Characters of what stands in the record, which tells of each of many services.
const AWAITS: usize = 10_000;

/// A hook that awaits an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause<'a> {
    deployment: &'a ServiceDeployment,
    hook: &'a Hook,
}

impl fmt::Display for Pause<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deployment = self.deployment.service_deployment_arn().unwrap_or_default();
        let hook = self.hook.hook_id().unwrap_or_default();
        write!(
            formatter,
            "Its deployment pauses until somebody lets it go on: aws ecs continue-service-deployment --service-deployment-arn {deployment} --hook-id {hook} --action CONTINUE"
        )?;
        let at = self.hook.expires_at();
        let at = at.and_then(|at| at.fmt(DateTimeFormat::DateTime).ok());
        let Some(at) = at else {
            return formatter.write_str(".");
        };
        let then = match self.hook.timeout_action() {
            Some(Action::Continue) => "ECS lets it go on",
            _ => "ECS rolls it back",
        };
        write!(formatter, ". If nobody does by {at}, {then}.")
    }
}

/// The pauses of a deployment that somebody has to end.
pub(crate) fn pauses(deployment: &ServiceDeployment) -> impl Iterator<Item = Pause<'_>> {
    hooks(deployment)
        .filter(|hook| hook.status() == Some(&Status::AwaitingAction))
        .map(move |hook| Pause { deployment, hook })
}

/// Ids of the hooks at which nobody let a deployment go on in time.
pub(crate) fn timed_out(deployment: &ServiceDeployment) -> impl Iterator<Item = &str> {
    hooks(deployment)
        .filter(|hook| hook.status() == Some(&Status::TimedOut))
        .filter_map(Hook::hook_id)
}

fn hooks(deployment: &ServiceDeployment) -> impl Iterator<Item = &Hook> {
    let hooks = deployment.lifecycle_hook_details().iter();
    hooks.filter(|hook| hook.target_type() == Some(&Target::Pause))
}

/// Until when the deployments have to be done, milliseconds since 1970, and what they wait for is
/// noted. `now` in the same.
///
/// # Errors
/// [`AwsRequestFailed`] where the record cannot be read. That it cannot be written is no failure: it
/// is written at the next look.
pub(crate) async fn deadline(
    table: &Table,
    input: &VerifyHealthInput,
    seen: &Seen,
    now: i64,
) -> Result<i64, AwsRequestFailed> {
    let update = &input.update;
    let deployments: Vec<&ServiceDeployment> = update
        .services
        .iter()
        .filter_map(|service| seen.deployment(&service.service))
        .collect();
    let has_paused = |deployment: &&ServiceDeployment| hooks(deployment).next().is_some();
    if !deployments.iter().any(has_paused) {
        return Ok(update.deadline);
    }
    let awaits = awaits(update, seen);
    let noted = note(table, input, awaits.as_deref(), now).await?;
    let begins = match awaits {
        Some(_) => deployments
            .iter()
            .flat_map(|deployment| pauses(deployment))
            .map(|pause| expiry(&pause))
            .max(),
        None => noted,
    };
    let seconds = update.deadline - update.at;
    let begins = begins.unwrap_or(update.at);
    Ok(update.deadline.max(begins.saturating_add(seconds)))
}

/// What the services wait for, in sentences.
fn awaits(update: &UpdatedServices, seen: &Seen) -> Option<String> {
    let sentences: Vec<String> = update
        .services
        .iter()
        .filter_map(|service| seen.deployment(&service.service).map(|it| (service, it)))
        .flat_map(|(service, deployment)| {
            let name = name(&service.service);
            pauses(deployment).map(move |pause| format!("Service {name}: {pause}"))
        })
        .collect();
    (!sentences.is_empty()).then(|| cut(&sentences.join(" "), AWAITS))
}

/// When the pause ends at the latest.
fn expiry(pause: &Pause<'_>) -> i64 {
    let expires_at = pause.hook.expires_at().copied();
    expires_at
        .and_then(|at: DateTime| at.to_millis().ok())
        .unwrap_or(i64::MAX)
}

/// Notes in the record what is awaited, where that is news. Answers since when the deployments go on
/// again, where they have paused.
async fn note(
    table: &Table,
    input: &VerifyHealthInput,
    awaits: Option<&str>,
    now: i64,
) -> Result<Option<i64>, AwsRequestFailed> {
    let Some(key) = &input.record else {
        return Ok(None);
    };
    let Some(record) = table.record(&input.stack, key).await? else {
        return Ok(None);
    };
    if record.awaits.as_deref() == awaits {
        return Ok(record.resumed_at);
    }
    let written = table.awaits(&input.stack, key, &input.execution, awaits, now);
    if let Err(failure) = written.await {
        tracing::warn!(%failure, awaits, "the record does not say what the deployment waits for");
    }
    Ok(Some(now))
}
