//! The IAM actions that calls of AWS's APIs ask for: what a role must allow, and all that it need
//! allow.
//!
//! Only of those who call: functions and state machines. What the local ECS does in a role that it
//! would assume (execution role, task role, those of load balancers and hooks) is no call to this
//! endpoint in that role's name, so that nothing here says whether the role allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::api_call::ApiCall;

/// Who asks where a state machine does: the service that calls with the machine's role.
pub const STATE_MACHINES: &str = "states.amazonaws.com";

/// The access key with which moto's interpreter signs what it asks other services for.
const STATE_MACHINES_KEY: &str = "ak";

/// Remembers who has ever asked for what.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<BTreeMap<String, BTreeSet<String>>>);

impl Asked {
    /// Notes what a function's or a state machine's call asks for, whatever the answer will be.
    pub(crate) fn note(&self, call: &ApiCall, function: Option<&str>) {
        let machine = (call.access_key == STATE_MACHINES_KEY).then_some(STATE_MACHINES);
        let Some(caller) = function.or(machine) else {
            return;
        };
        let actions = actions(call);
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.entry(caller.to_owned()).or_default().extend(actions);
    }

    /// The actions, by function name or [`STATE_MACHINES`].
    pub(crate) fn all(&self) -> BTreeMap<String, BTreeSet<String>> {
        let asked = self.0.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The call's own action and, for ECS, those that ECS checks beside it.
///
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html>,
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html>
fn actions(call: &ApiCall) -> Vec<String> {
    // IAM names CloudWatch otherwise than its requests' signatures do.
    let prefix = match call.service.as_str() {
        "monitoring" => "cloudwatch",
        "lambda" if call.operation == "Invoke" => return vec!["lambda:InvokeFunction".to_owned()],
        service => service,
    };
    let mut actions = vec![format!("{prefix}:{}", call.operation)];
    if call.service == "ecs" {
        let parameters = call.parameters.as_ref().unwrap_or(&Value::Null);
        let has = |name: &str| match &parameters[name] {
            Value::Null => false,
            Value::Array(members) => !members.is_empty(),
            _ => true,
        };
        if ["RegisterTaskDefinition", "RunTask"].contains(&call.operation.as_str()) && has("tags") {
            actions.push("ecs:TagResource".to_owned());
        }
        let passes_roles = match call.operation.as_str() {
            "RegisterTaskDefinition" => has("taskRoleArn") || has("executionRoleArn"),
            // The roles are those of the task definition.
            "RunTask" | "UpdateService" => has("taskDefinition"),
            _ => false,
        };
        if passes_roles {
            actions.push("iam:PassRole".to_owned());
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::Protocol;

    fn call(service: &str, operation: &str, access_key: &str, parameters: Value) -> ApiCall {
        ApiCall {
            service: service.to_owned(),
            operation: operation.to_owned(),
            protocol: Protocol::Json("1.1".to_owned()),
            parameters: Ok(parameters),
            access_key: access_key.to_owned(),
            user_agent: String::new(),
        }
    }

    #[test]
    fn what_functions_and_state_machines_ask_for_is_remembered_and_nobody_elses() {
        let asked = Asked::default();
        let describe = |key| call("monitoring", "DescribeAlarms", key, json!({}));
        asked.note(&describe("KEY"), Some("plan"));
        asked.note(&describe(STATE_MACHINES_KEY), None);
        asked.note(&describe("a person's"), None);
        let action = BTreeSet::from(["cloudwatch:DescribeAlarms".to_owned()]);
        let callers = ["plan", STATE_MACHINES].map(str::to_owned);
        let expected: BTreeMap<_, _> = callers.map(|caller| (caller, action.clone())).into();
        assert_eq!(asked.all(), expected);
    }

    #[test]
    fn an_invocation_is_an_action_of_another_name() {
        let invoke = call("lambda", "Invoke", "", json!({"FunctionName": "plan"}));
        assert_eq!(actions(&invoke), ["lambda:InvokeFunction"]);
    }

    #[test]
    fn ecs_checks_tags_and_roles_beside_its_own_actions() {
        let register = |parameters| actions(&call("ecs", "RegisterTaskDefinition", "", parameters));
        let action = "ecs:RegisterTaskDefinition";
        assert_eq!(register(json!({"tags": [], "taskRoleArn": null})), [action]);
        assert_eq!(
            register(json!({"tags": [{"key": "a"}], "executionRoleArn": "arn"})),
            [action, "ecs:TagResource", "iam:PassRole"]
        );
        let update = |parameters| actions(&call("ecs", "UpdateService", "", parameters));
        assert_eq!(update(json!({"service": "web"})), ["ecs:UpdateService"]);
        assert_eq!(
            update(json!({"service": "web", "taskDefinition": "web:2"})),
            ["ecs:UpdateService", "iam:PassRole"]
        );
    }
}
