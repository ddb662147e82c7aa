//! Life-cycle hooks of service deployments: functions that ECS invokes at a stage, and pauses
//! that somebody has to end.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html>

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::ecs::ApiError;
use crate::ecs::Ecs;
use crate::ecs::model::deployments::Status;
use crate::ecs::model::stages::Stage;
use crate::ecs::model::values::{Object, now, parse, put};
use crate::lambda;

/// A service has at most so many hooks of each kind.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html>
/// ("Constraints")
const MAX_HOOKS_OF_A_KIND: usize = 10;

/// How long a hook may take, in minutes, if nothing else is configured.
const DEFAULT_TIMEOUT: u64 = 24 * 60;
/// The longest configurable time for a function, in minutes.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/lambda-lifecycle-hooks.html>
/// ("Timeout configuration")
const LONGEST_FUNCTION: u64 = 24 * 60;
/// The longest configurable time for a pause, in minutes: 14 days.
const LONGEST_PAUSE: u64 = 14 * 24 * 60;

/// When a function that is still at work is asked again, unless it says so itself.
const DEFAULT_CALL_BACK_DELAY: Duration = Duration::from_secs(30);

/// So much of a function's answer is repeated in the reason of a failure.
const QUOTED_CHARACTERS: usize = 300;

/// What becomes of the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Continue,
    Rollback,
}

impl Action {
    /// Reads `CONTINUE` or `ROLLBACK`.
    fn parse(name: &str) -> Result<Self, ApiError> {
        match name {
            "CONTINUE" => Ok(Self::Continue),
            "ROLLBACK" => Ok(Self::Rollback),
            other => Err(ApiError::invalid_parameter(format!(
                "Invalid action {other:?}: use CONTINUE or ROLLBACK."
            ))),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Rollback => "ROLLBACK",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Target {
    Function {
        arn: String,
        /// What the function is told beside the deployment.
        details: Option<Value>,
    },
    Pause,
}

impl Target {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Function { .. } => "AWS_LAMBDA",
            Self::Pause => "PAUSE",
        }
    }
}

/// One of `deploymentConfiguration.lifecycleHooks`.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentLifecycleHook.html>
#[derive(Clone, Debug)]
pub(in crate::ecs) struct Hook {
    target: Target,
    stages: Vec<Stage>,
    timeout: Duration,
    timeout_action: Action,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    target_type: Option<String>,
    hook_target_arn: Option<String>,
    role_arn: Option<String>,
    #[serde(default)]
    lifecycle_stages: Vec<String>,
    hook_details: Option<Value>,
    #[serde(default)]
    timeout_configuration: Timeout,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timeout {
    timeout_in_minutes: Option<u64>,
    action: Option<String>,
}

impl Hook {
    /// Reads `lifecycleHooks` of a `deploymentConfiguration`.
    ///
    /// # Errors
    /// InvalidParameterException that names the field.
    pub(in crate::ecs) fn parse_all(configuration: &Value) -> Result<Vec<Self>, ApiError> {
        let hooks: Vec<Configuration> = match configuration.get("lifecycleHooks") {
            None | Some(Value::Null) => Vec::new(),
            Some(hooks) => parse(hooks)?,
        };
        let hooks: Vec<Self> = hooks.into_iter().map(Self::new).collect::<Result<_, _>>()?;
        let pauses = hooks.iter().filter(|hook| hook.target == Target::Pause);
        let pauses = pauses.count();
        if pauses.max(hooks.len() - pauses) > MAX_HOOKS_OF_A_KIND {
            return Err(invalid(format!(
                "a service has at most {MAX_HOOKS_OF_A_KIND} AWS_LAMBDA and \
                 {MAX_HOOKS_OF_A_KIND} PAUSE hooks"
            )));
        }
        Ok(hooks)
    }

    fn new(configuration: Configuration) -> Result<Self, ApiError> {
        let (target, longest) = match configuration.target_type.as_deref() {
            None | Some("AWS_LAMBDA") => (function(&configuration)?, LONGEST_FUNCTION),
            // A pause has neither a target nor a role nor details; they are ignored, since AWS
            // documents them as not used, not as refused.
            Some("PAUSE") => (Target::Pause, LONGEST_PAUSE),
            Some(other) => {
                return Err(invalid(format!(
                    "the targetType {other:?} is neither AWS_LAMBDA nor PAUSE"
                )));
            }
        };
        let stages = stages(&configuration.lifecycle_stages, &target)?;
        let timeout = configuration.timeout_configuration;
        let minutes = timeout.timeout_in_minutes.unwrap_or(DEFAULT_TIMEOUT);
        if !(1..=longest).contains(&minutes) {
            return Err(invalid(format!(
                "the timeoutInMinutes of a hook of type {} must be between 1 and {longest}",
                target.type_name()
            )));
        }
        let action = timeout.action.as_deref().map(Action::parse);
        Ok(Self {
            target,
            stages,
            timeout: Duration::from_secs(minutes * 60),
            timeout_action: action.transpose()?.unwrap_or(Action::Rollback),
        })
    }

    /// Whether it is configured for the stage.
    pub(in crate::ecs) fn runs_at(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }
}

fn invalid(what: String) -> ApiError {
    ApiError::invalid_parameter(format!("Invalid lifecycleHooks: {what}."))
}

/// The target of an AWS_LAMBDA hook.
///
/// AWS requires a role that may invoke the function
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-permissions.html>).
/// Whether the role exists and may do so shows at the first invocation at the earliest; the local
/// Lambda does not ask for permissions.
fn function(configuration: &Configuration) -> Result<Target, ApiError> {
    let arn = configuration.hook_target_arn.clone().unwrap_or_default();
    if !is_arn_of(&arn, "lambda", "function:") {
        return Err(invalid(format!(
            "an AWS_LAMBDA hook needs the ARN of a Lambda function as hookTargetArn, not {arn:?}"
        )));
    }
    let role = configuration.role_arn.as_deref().unwrap_or_default();
    if !is_arn_of(role, "iam", "role/") {
        return Err(invalid(format!(
            "an AWS_LAMBDA hook needs the ARN of an IAM role as roleArn, not {role:?}"
        )));
    }
    let details = configuration.hook_details.clone();
    Ok(Target::Function { arn, details })
}

/// Whether the text is `arn:PARTITION:SERVICE:REGION:ACCOUNT:KIND…`.
fn is_arn_of(text: &str, service: &str, kind: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, of, _, _, resource] => *of == service && resource.starts_with(kind),
        _ => false,
    }
}

fn stages(names: &[String], target: &Target) -> Result<Vec<Stage>, ApiError> {
    if names.is_empty() {
        return Err(invalid("a hook needs lifecycleStages".to_owned()));
    }
    let named = names.iter().map(|name| {
        let stage = Stage::named(name).filter(|stage| stage.has_hooks());
        let stage = stage.ok_or_else(|| invalid(format!("{name:?} is no stage for a hook")))?;
        let shifts = matches!(
            stage,
            Stage::TestTrafficShift | Stage::ProductionTrafficShift
        );
        if shifts && *target == Target::Pause {
            return Err(invalid(format!(
                "a PAUSE hook cannot be configured at {name}"
            )));
        }
        Ok(stage)
    });
    named.collect()
}

/// The status of one execution of a hook.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentLifecycleHookDetail.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum HookStatus {
    AwaitingAction,
    InProgress,
    Succeeded,
    Failed,
    TimedOut,
}

impl HookStatus {
    pub(in crate::ecs) fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingAction => "AWAITING_ACTION",
            Self::InProgress => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
        }
    }

    fn is_open(self) -> bool {
        matches!(self, Self::AwaitingAction | Self::InProgress)
    }
}

/// One execution of a hook, as `lifecycleHookDetails` tells it.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct HookDetail {
    pub(in crate::ecs) hook_id: String,
    pub(in crate::ecs) stage: Stage,
    pub(in crate::ecs) target_type: &'static str,
    /// The function's ARN; a pause has none.
    pub(in crate::ecs) target_arn: Option<String>,
    pub(in crate::ecs) status: HookStatus,
    /// Seconds since the epoch. It is the moment at which the timeout passes here.
    pub(in crate::ecs) expires_at: f64,
    timeout_action: Action,
}

impl HookDetail {
    /// A pause's id looks as documented. A function's is the `executionId` it is told: both are
    /// "the unique identifier for this hook execution".
    fn begun(hook: &Hook, stage: Stage, limit: Duration) -> Self {
        let (hook_id, target_arn, status) = match &hook.target {
            Target::Function { arn, .. } => (
                Uuid::new_v4().to_string(),
                Some(arn.clone()),
                HookStatus::InProgress,
            ),
            Target::Pause => (unique_pause_id(), None, HookStatus::AwaitingAction),
        };
        Self {
            hook_id,
            stage,
            target_type: hook.target.type_name(),
            target_arn,
            status,
            expires_at: now() + limit.as_secs_f64(),
            timeout_action: hook.timeout_action,
        }
    }

    pub(in crate::ecs) fn describe(&self) -> Value {
        let mut answer = Object::new();
        put(&mut answer, "hookId", Some(self.hook_id.as_str()));
        put(&mut answer, "targetType", Some(self.target_type));
        put(&mut answer, "targetArn", self.target_arn.as_deref());
        put(&mut answer, "status", Some(self.status.as_str()));
        put(&mut answer, "expiresAt", Some(self.expires_at));
        let action = self.timeout_action.as_str();
        put(&mut answer, "timeoutAction", Some(action));
        Value::Object(answer)
    }
}

/// `ecs-pause-` and 43 characters, such as the documentation's
/// `ecs-pause-e7tK9G_WRJqNF_EOMjztDXfKenlJuEUVjsNStf4WLKw`.
fn unique_pause_id() -> String {
    let random = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes);
    format!("ecs-pause-{}", URL_SAFE_NO_PAD.encode(random.concat()))
}

/// Takes note of a hook's new state among a service deployment's hooks.
pub(in crate::ecs) fn note(hooks: &mut Vec<HookDetail>, detail: HookDetail) {
    match hooks.iter_mut().find(|one| one.hook_id == detail.hook_id) {
        Some(known) => *known = detail,
        None => hooks.push(detail),
    }
}

/// Forgets the hooks that will not come to an end, because the deployment has gone on without
/// them: it was stopped, superseded, or is rolled back for another reason.
pub(in crate::ecs) fn abandon(hooks: &mut Vec<HookDetail>) {
    hooks.retain(|hook| !hook.status.is_open());
}

/// What a hook is told of the deployment.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct HookCall {
    pub(in crate::ecs) service_arn: String,
    pub(in crate::ecs) service_deployment_arn: String,
    pub(in crate::ecs) target_revision_arn: String,
    pub(in crate::ecs) stage: Stage,
    /// Percentages by service revision, as they are once the stage has done its work.
    pub(in crate::ecs) test_weights: BTreeMap<String, f64>,
    pub(in crate::ecs) production_weights: BTreeMap<String, f64>,
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

/// How a hook, or all hooks of a stage, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Outcome {
    Succeeded,
    /// The deployment has to be rolled back, for this reason.
    Failed(String),
}

/// Runs the hooks that are configured for a stage side by side until all have succeeded, or one
/// has failed. `report` is told each new state of each of them.
///
/// The deployment rolls back as soon as one hook fails, "regardless of the status of other hooks
/// at that stage"
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html>).
/// The others are then given up, as they are when this future is dropped; [`abandon`] them.
pub(in crate::ecs) async fn run_stage(
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

/// The pauses that wait for somebody, by hook id.
#[derive(Debug, Default)]
pub(in crate::ecs) struct Pauses(Mutex<HashMap<String, oneshot::Sender<Action>>>);

impl Pauses {
    fn change<T>(
        &self,
        change: impl FnOnce(&mut HashMap<String, oneshot::Sender<Action>>) -> T,
    ) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends a pause; says whether it still waited.
    fn end(&self, hook_id: &str, action: Action) -> bool {
        let waiting = self.change(|pauses| pauses.remove(hook_id));
        waiting.is_some_and(|waiting| waiting.send(action).is_ok())
    }
}

/// A pause that waits. Nobody can end it any more once this is dropped.
struct Pause<'a> {
    pauses: &'a Pauses,
    hook_id: &'a str,
    action: oneshot::Receiver<Action>,
}

impl<'a> Pause<'a> {
    fn begin(pauses: &'a Pauses, hook_id: &'a str) -> Self {
        let (sender, action) = oneshot::channel();
        pauses.change(|pauses| pauses.insert(hook_id.to_owned(), sender));
        Self {
            pauses,
            hook_id,
            action,
        }
    }

    async fn ended(mut self) -> Result<(), String> {
        match (&mut self.action).await {
            Ok(Action::Continue) => Ok(()),
            _ => Err("a user chose to roll back".to_owned()),
        }
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.pauses.change(|pauses| pauses.remove(self.hook_id));
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Continue {
    service_deployment_arn: String,
    hook_id: String,
    action: Option<String>,
}

impl Ecs {
    /// Ends a pause of a service deployment, which then goes on (the default) or rolls back.
    ///
    /// "You can continue a deployment that has a pause hook in AWAITING_ACTION status. The
    /// deployment must be in the IN_PROGRESS state"
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/continue-service-deployment.html>).
    /// Which exception says that it is not so is not documented. Of those the operation has, here
    /// an id that the deployment does not know is an InvalidParameterException, and a hook or a
    /// deployment in another state a ClientException.
    pub(in crate::ecs) fn continue_service_deployment(
        &self,
        request: Value,
    ) -> Result<Value, ApiError> {
        let parsed: Continue = parse(&request)?;
        let action = parsed.action.as_deref().map(Action::parse).transpose()?;
        let (arn, hook_id) = (parsed.service_deployment_arn, parsed.hook_id);
        let state = self.lock();
        let mut deployments = state.services.values().flat_map(|service| &service.history);
        let deployment = deployments
            .find(|deployment| deployment.arn == arn)
            .ok_or_else(ApiError::service_deployment_not_found)?;
        let hook = deployment.hooks.iter().find(|hook| hook.hook_id == hook_id);
        let hook = hook.ok_or_else(|| {
            ApiError::invalid_parameter(format!(
                "The service deployment has no lifecycle hook {hook_id:?}."
            ))
        })?;
        if deployment.status != Status::InProgress {
            return Err(ApiError::client_exception(format!(
                "The service deployment is {} and cannot be continued.",
                deployment.status.as_str()
            )));
        }
        let waited = hook.status == HookStatus::AwaitingAction
            && self
                .inner
                .pauses
                .end(&hook_id, action.unwrap_or(Action::Continue));
        if !waited {
            return Err(ApiError::client_exception(format!(
                "The lifecycle hook {hook_id} is not awaiting an action."
            )));
        }
        Ok(json!({ "serviceDeploymentArn": arn }))
    }
}

#[cfg(test)]
mod tests;
