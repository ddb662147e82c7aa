//! Life-cycle hooks of service deployments: those that are configured, and their executions.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use uuid::Uuid;

use super::error::ApiError;
use super::stages::Stage;
use super::values::{Object, now, put};

/// What becomes of the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Action {
    Continue,
    Rollback,
}

impl Action {
    /// Reads `CONTINUE` or `ROLLBACK`.
    pub(in crate::ecs) fn parse(name: &str) -> Result<Self, ApiError> {
        match name {
            "CONTINUE" => Ok(Self::Continue),
            "ROLLBACK" => Ok(Self::Rollback),
            other => Err(ApiError::invalid_parameter(format!(
                "Invalid action {other:?}: use CONTINUE or ROLLBACK."
            ))),
        }
    }

    pub(in crate::ecs) fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Rollback => "ROLLBACK",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::ecs) enum Target {
    Function {
        arn: String,
        /// What the function is told beside the deployment.
        details: Option<Value>,
    },
    Pause,
}

impl Target {
    pub(in crate::ecs) fn type_name(&self) -> &'static str {
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
    pub(in crate::ecs) target: Target,
    pub(in crate::ecs) stages: Vec<Stage>,
    pub(in crate::ecs) timeout: Duration,
    pub(in crate::ecs) timeout_action: Action,
}

impl Hook {
    /// Whether it is configured for the stage.
    pub(in crate::ecs) fn runs_at(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }
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
    pub(in crate::ecs) fn begun(hook: &Hook, stage: Stage, limit: Duration) -> Self {
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

/// How a hook, or all hooks of a stage, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Outcome {
    Succeeded,
    /// The deployment has to be rolled back, for this reason.
    Failed(String),
}
