//! Running life-cycle hooks: functions that ECS invokes at a stage, and pauses that somebody has to
//! end.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html>

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value, json};

use super::control_plane::Ecs;
use super::pauses::Pause;
use crate::ecs::model::hooks::{Action, Hook, HookDetail, HookStatus, Outcome, Target};
use crate::ecs::model::stages::Stage;
use crate::ecs::model::values::Object;
use crate::lambda;

/// When a function that is still at work is asked again, unless it says so itself.
const DEFAULT_CALL_BACK_DELAY: Duration = Duration::from_secs(30);

/// So much of a function's answer is repeated in the reason of a failure.
const QUOTED_CHARACTERS: usize = 300;

/// What a hook is told of the deployment.
#[derive(Clone, Debug)]
pub(super) struct HookCall {
    pub(super) service_arn: String,
    pub(super) service_deployment_arn: String,
    pub(super) target_revision_arn: String,
    pub(super) stage: Stage,
    /// Percentages by service revision, as they are once the stage has done its work.
    pub(super) test_weights: BTreeMap<String, f64>,
    pub(super) production_weights: BTreeMap<String, f64>,
}

impl HookCall {
    /// The event of a function. As in the documented examples, weights are told only at the
    /// stages that are about them.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/lambda-lifecycle-hooks.html>
    /// ("Lifecycle payloads")
    fn payload(&self, execution_id: &str, details: Option<&Value>) -> Value {
        let tells_test = self.stage == Stage::TestTrafficShift;
        let tells_production = matches!(
            self.stage,
            Stage::PreProductionTrafficShift | Stage::ProductionTrafficShift
        );
        let weights = |told: bool, weights: &BTreeMap<String, f64>| -> Map<String, Value> {
            let weights = weights.iter().filter(|_| told);
            weights
                .map(|(revision, weight)| (revision.clone(), percentage(*weight)))
                .collect()
        };
        let mut payload = json!({
            "executionId": execution_id,
            "lifecycleStage": self.stage.as_str(),
            "resourceArn": self.service_deployment_arn,
            "executionDetails": {
                "serviceArn": self.service_arn,
                "targetServiceRevisionArn": self.target_revision_arn,
                "testTrafficWeights": weights(tells_test, &self.test_weights),
                "productionTrafficWeights": weights(tells_production, &self.production_weights),
            },
        });
        if let Some(details) = details {
            payload["hookDetails"] = details.clone();
        }
        payload
    }
}

/// 100, not 100.0.
fn percentage(weight: f64) -> Value {
    if weight.fract() == 0.0 {
        json!(weight as i64)
    } else {
        json!(weight)
    }
}

/// Runs the hooks that are configured for a stage side by side until all have succeeded, or one
/// has failed. `report` is told each new state of each of them.
///
/// The deployment rolls back as soon as one hook fails, "regardless of the status of other hooks
/// at that stage"
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html>).
/// The others are then given up, as they are when this future is dropped; [`abandon`](crate::ecs::model::hooks::abandon) them.
pub(super) async fn run_stage(
    ecs: &Ecs,
    hooks: &[Hook],
    call: &HookCall,
    report: impl Fn(HookDetail),
) -> Outcome {
    let due = hooks.iter().filter(|hook| hook.runs_at(call.stage));
    let mut running: FuturesUnordered<_> = due.map(|hook| run(ecs, hook, call, &report)).collect();
    while let Some(outcome) = running.next().await {
        if outcome != Outcome::Succeeded {
            return outcome;
        }
    }
    Outcome::Succeeded
}

/// Runs one hook to its end: invokes the function, again while it is at work, or waits for
/// ContinueServiceDeployment; no longer than its timeout.
async fn run(ecs: &Ecs, hook: &Hook, call: &HookCall, report: &impl Fn(HookDetail)) -> Outcome {
    let limit = ecs.inner.settings.clock.scaled(hook.timeout);
    let mut detail = HookDetail::begun(hook, call.stage, limit);
    let ended = match &hook.target {
        Target::Function { arn, details } => {
            report(detail.clone());
            let invoked = invoke(ecs, arn, details.clone(), call, &detail.hook_id);
            tokio::time::timeout(limit, invoked).await
        }
        Target::Pause => {
            // Before anybody can know the id.
            let pause = Pause::begin(&ecs.inner.pauses, &detail.hook_id);
            report(detail.clone());
            tokio::time::timeout(limit, pause.ended()).await
        }
    };
    let outcome;
    (detail.status, outcome) = match ended {
        Ok(Ok(())) => (HookStatus::Succeeded, Ok(())),
        Ok(Err(reason)) => (HookStatus::Failed, Err(reason)),
        Err(_) => (HookStatus::TimedOut, timed_out(hook)),
    };
    report(detail.clone());
    match outcome {
        Ok(()) => Outcome::Succeeded,
        Err(reason) => {
            let name = detail.target_arn.as_ref().unwrap_or(&detail.hook_id);
            let stage = call.stage.as_str();
            Outcome::Failed(format!(
                "The lifecycle hook {name} failed at the stage {stage}: {reason}."
            ))
        }
    }
}

fn timed_out(hook: &Hook) -> Result<(), String> {
    match hook.timeout_action {
        Action::Continue => Ok(()),
        Action::Rollback => Err(format!(
            "it did not end within {} min",
            hook.timeout.as_secs() / 60
        )),
    }
}

/// Invokes a function until it says how the hook ended. The error says why it failed.
async fn invoke(
    ecs: &Ecs,
    arn: &str,
    mut details: Option<Value>,
    call: &HookCall,
    execution_id: &str,
) -> Result<(), String> {
    loop {
        let payload = call.payload(execution_id, details.as_ref());
        let answer = invoke_once(ecs, arn, &payload).await?;
        match Answer::read(&answer)? {
            Answer::Succeeded => return Ok(()),
            Answer::Failed => return Err(format!("it answered {}", quoted(&answer))),
            Answer::InProgress {
                delay,
                details: told,
            } => {
                merge(&mut details, told);
                ecs.inner.settings.clock.sleep(delay).await;
            }
        }
    }
}

async fn invoke_once(ecs: &Ecs, arn: &str, payload: &Value) -> Result<Bytes, String> {
    let service = &ecs.inner.settings.lambda;
    let (name, qualifier) = unqualified(arn);
    let function = service.find(name, qualifier).await;
    let function = function.map_err(|error| format!("it cannot be invoked: {error}"))?;
    let request = lambda::Request::new(Bytes::from(payload.to_string()));
    let completion = service.invoke(function, request).await;
    let completion = completion.map_err(|error| format!("it cannot be invoked: {error}"))?;
    match completion.failed {
        true => Err(format!(
            "its function failed with {}",
            quoted(&completion.payload)
        )),
        false => Ok(completion.payload),
    }
}

/// A function's ARN and the version or alias at its end, if there is one.
fn unqualified(arn: &str) -> (&str, Option<&str>) {
    match arn.match_indices(':').nth(6) {
        Some((end, _)) => (&arn[..end], Some(&arn[end + 1..])),
        None => (arn, None),
    }
}

fn quoted(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer)
        .chars()
        .take(QUOTED_CHARACTERS)
        .collect()
}

/// Details that a function answers are merged into those it was told. Those that are no object
/// replace them.
fn merge(details: &mut Option<Value>, told: Option<Value>) {
    match (details, told) {
        (_, None) => {}
        (Some(Value::Object(known)), Some(Value::Object(told))) => known.extend(told),
        (details, told) => *details = told,
    }
}

/// What a function answers.
#[derive(Debug, PartialEq)]
enum Answer {
    Succeeded,
    Failed,
    /// It wants to be asked again.
    InProgress {
        delay: Duration,
        details: Option<Value>,
    },
}

impl Answer {
    /// Reads a function's answer; the error says what is wrong with it.
    ///
    /// A deployment whose hook gives no valid `hookStatus` rolls back. Limits of `callBackDelay`
    /// are not documented: here it is any number of seconds that is not negative, and anything
    /// else is an invalid answer.
    fn read(answer: &[u8]) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what} in its answer {}", quoted(answer));
        let fields: Object = serde_json::from_slice(answer)
            .map_err(|_| format!("its answer {} is no JSON object", quoted(answer)))?;
        match fields.get("hookStatus").and_then(Value::as_str) {
            Some("SUCCEEDED") => Ok(Self::Succeeded),
            Some("FAILED") => Ok(Self::Failed),
            Some("IN_PROGRESS") => {
                let delay = match fields.get("callBackDelay") {
                    None | Some(Value::Null) => Some(DEFAULT_CALL_BACK_DELAY),
                    Some(seconds) => seconds
                        .as_f64()
                        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
                };
                Ok(Self::InProgress {
                    delay: delay.ok_or_else(|| wrong("there is no valid callBackDelay"))?,
                    details: fields.get("hookDetails").filter(|d| !d.is_null()).cloned(),
                })
            }
            _ => Err(wrong("there is no valid hookStatus")),
        }
    }
}

#[cfg(test)]
mod tests;
