//! Which life-cycle hooks a service can have.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html>

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::ecs::model::error::ApiError;
use crate::ecs::model::hooks::{Action, Hook, Target};
use crate::ecs::model::stages::Stage;
use crate::ecs::model::values::parse;

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

/// Reads `lifecycleHooks` of a `deploymentConfiguration`.
///
/// # Errors
/// InvalidParameterException that names the field.
pub(in crate::ecs) fn parse_all(configuration: &Value) -> Result<Vec<Hook>, ApiError> {
    let hooks: Vec<Configuration> = match configuration.get("lifecycleHooks") {
        None | Some(Value::Null) => Vec::new(),
        Some(hooks) => parse(hooks)?,
    };
    let hooks: Vec<Hook> = hooks.into_iter().map(hook).collect::<Result<_, _>>()?;
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

fn hook(configuration: Configuration) -> Result<Hook, ApiError> {
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
    Ok(Hook {
        target,
        stages,
        timeout: Duration::from_secs(minutes * 60),
        timeout_action: action.transpose()?.unwrap_or(Action::Rollback),
    })
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

/// Hooks for tests.
#[cfg(test)]
pub(in crate::ecs) mod samples {
    use serde_json::json;

    use super::*;
    use crate::ecs::model::hooks::HookDetail;

    pub(in crate::ecs) const FUNCTION: &str =
        "arn:aws:lambda:us-east-1:123456789012:function:check";

    pub(in crate::ecs) const ROLE: &str = "arn:aws:iam::123456789012:role/hooks";

    pub(in crate::ecs) fn parse_hooks(hooks: Value) -> Result<Vec<Hook>, ApiError> {
        parse_all(&json!({ "lifecycleHooks": hooks }))
    }

    pub(in crate::ecs) fn function_hook() -> Value {
        json!({
            "hookTargetArn": FUNCTION,
            "roleArn": ROLE,
            "lifecycleStages": ["POST_SCALE_UP"],
        })
    }

    pub(in crate::ecs) fn pause_hook() -> Value {
        json!({"targetType": "PAUSE", "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"]})
    }

    /// The hook with one more, or another, field.
    pub(in crate::ecs) fn with(mut hook: Value, field: &str, value: Value) -> Value {
        hook[field] = value;
        hook
    }

    /// An execution of a hook that has just begun.
    pub(in crate::ecs) fn begun(hook: Value) -> HookDetail {
        let hooks = parse_hooks(json!([hook])).unwrap();
        HookDetail::begun(&hooks[0], Stage::PostScaleUp, Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::samples::{function_hook, parse_hooks, pause_hook, with};
    use super::*;

    fn refused(hook: Value) -> String {
        let error = parse_hooks(json!([hook])).unwrap_err();
        assert_eq!(error.name, "InvalidParameterException");
        error.message
    }

    #[test]
    fn a_hook_is_a_function_that_may_take_a_day_unless_it_says_otherwise() {
        let hooks = parse_hooks(json!([function_hook()])).unwrap();
        assert_eq!(hooks[0].target.type_name(), "AWS_LAMBDA");
        assert_eq!(hooks[0].timeout, Duration::from_secs(24 * 60 * 60));
        assert_eq!(hooks[0].timeout_action, Action::Rollback);
        assert!(hooks[0].runs_at(Stage::PostScaleUp));
        assert!(!hooks[0].runs_at(Stage::PreScaleUp));
        assert!(parse_all(&json!({})).unwrap().is_empty());
    }

    #[test]
    fn a_function_needs_its_arn_and_a_role() {
        for field in ["hookTargetArn", "roleArn"] {
            for value in [
                Value::Null,
                json!(""),
                json!("check"),
                json!("arn:aws:sns:::x"),
            ] {
                let message = refused(with(function_hook(), field, value));
                assert!(message.contains(field), "{message}");
            }
        }
        assert!(parse_hooks(json!([pause_hook()])).is_ok());
    }

    #[test]
    fn a_hook_needs_stages_that_have_hooks() {
        for stages in [
            json!([]),
            json!(["SCALE_UP"]),
            json!(["BAKE_TIME"]),
            json!(["SOON"]),
        ] {
            refused(with(function_hook(), "lifecycleStages", stages));
        }
    }

    // <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html>
    #[test]
    fn a_pause_cannot_stand_where_traffic_shifts() {
        for stage in ["TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT"] {
            refused(with(pause_hook(), "lifecycleStages", json!([stage])));
            let function = with(function_hook(), "lifecycleStages", json!([stage]));
            assert!(parse_hooks(json!([function])).is_ok());
        }
    }

    #[test]
    fn a_function_has_up_to_a_day_and_a_pause_up_to_fourteen() {
        let limited = |hook: Value, minutes: i64| {
            let timeout = json!({"timeoutInMinutes": minutes, "action": "CONTINUE"});
            parse_hooks(json!([with(hook, "timeoutConfiguration", timeout)]))
        };
        for (hook, longest) in [(function_hook(), 1440), (pause_hook(), 20160)] {
            assert!(limited(hook.clone(), 0).is_err());
            assert!(limited(hook.clone(), longest + 1).is_err());
            assert!(limited(hook.clone(), 1).is_ok());
            let hooks = limited(hook, longest).unwrap();
            assert_eq!(hooks[0].timeout_action, Action::Continue);
        }
        refused(with(
            pause_hook(),
            "timeoutConfiguration",
            json!({"action": "WAIT"}),
        ));
    }

    #[test]
    fn there_are_at_most_ten_hooks_of_a_kind() {
        let many = |functions: usize, pauses: usize| {
            let functions = std::iter::repeat_n(function_hook(), functions);
            let pauses = std::iter::repeat_n(pause_hook(), pauses);
            parse_hooks(functions.chain(pauses).collect())
        };
        assert!(many(10, 10).is_ok());
        assert!(many(11, 0).is_err());
        assert!(many(0, 11).is_err());
    }

    #[test]
    fn an_unknown_type_of_hook_is_refused() {
        refused(with(function_hook(), "targetType", json!("AWS_SNS")));
    }
}
