//! What ECS does where AWS's documentation leaves that open: the one, or on demand the other.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ecs::ApiError;

/// The other reading of what AWS's documentation leaves open, for each question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Modes {
    /// A deployment's `rolloutState` is told of rolling updates only, as its documentation says, and not
    /// where traffic is shifted.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html>
    pub rollout_state_of_rolling_updates_only: bool,
    /// ListTasks takes no desired status beside `startedBy`, as its documentation says. Clients that are in
    /// use, such as Airflow's, combine the two.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html>
    pub started_by_is_the_only_filter: bool,
    /// The circuit breaker acts in rolling updates only, as its reference says, and is DISABLED where
    /// traffic is shifted, whatever the service's configuration says. That holds for deployments that
    /// begin from then on.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentCircuitBreaker.html>
    pub circuit_breaker_of_rolling_updates_only: bool,
}

impl Modes {
    /// Why ECS refuses a call in these modes.
    pub(crate) fn refusal(self, operation: &str, request: &Value) -> Option<ApiError> {
        let has = |filter: &str| !request[filter].is_null();
        let combined = has("startedBy") && has("desiredStatus");
        let refused = self.started_by_is_the_only_filter && operation == "ListTasks" && combined;
        refused.then(|| {
            ApiError::invalid_parameter("startedBy must be the only filter that is specified.")
        })
    }

    /// An answer of ECS in these modes.
    pub(crate) fn apply(self, mut answer: Value) -> Value {
        if self.rollout_state_of_rolling_updates_only {
            services(&mut answer).for_each(leave_out_rollout_states);
        }
        answer
    }
}

fn services(answer: &mut Value) -> impl Iterator<Item = &mut Value> {
    let members = answer.as_object_mut().into_iter().flatten();
    members.flat_map(|(name, member)| match (name.as_str(), member) {
        ("service", service) => vec![service],
        ("services", Value::Array(services)) => services.iter_mut().collect(),
        _ => vec![],
    })
}

fn leave_out_rollout_states(service: &mut Value) {
    let strategy = service["deploymentConfiguration"]["strategy"].as_str();
    if strategy.is_none_or(|strategy| strategy == "ROLLING") {
        return;
    }
    let deployments = service["deployments"].as_array_mut();
    for deployment in deployments.into_iter().flatten() {
        if let Some(deployment) = deployment.as_object_mut() {
            deployment.remove("rolloutState");
            deployment.remove("rolloutStateReason");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_desired_status_beside_who_started_tasks_is_refused_only_in_its_mode() {
        let mode = Modes {
            started_by_is_the_only_filter: true,
            ..Modes::default()
        };
        let both = json!({"startedBy": "a", "desiredStatus": "STOPPED"});
        let refused = mode.refusal("ListTasks", &both).unwrap();
        assert_eq!(refused.name, "InvalidParameterException");
        assert_eq!(Modes::default().refusal("ListTasks", &both), None);
        assert_eq!(mode.refusal("DescribeTasks", &both), None);
        for alone in [
            json!({"startedBy": "a"}),
            json!({"desiredStatus": "STOPPED"}),
        ] {
            assert_eq!(mode.refusal("ListTasks", &alone), None);
        }
    }

    #[test]
    fn a_rollout_state_is_left_out_where_traffic_is_shifted_and_only_in_its_mode() {
        let service = |strategy: &str, state: Value| {
            let mut deployment = json!({"status": "PRIMARY", "runningCount": 2});
            if !state.is_null() {
                deployment["rolloutState"] = state;
            }
            json!({
                "deploymentConfiguration": {"strategy": strategy}, "deployments": [deployment]
            })
        };
        let told = || json!("COMPLETED");
        let mode = Modes {
            rollout_state_of_rolling_updates_only: true,
            ..Modes::default()
        };
        for (strategy, in_mode) in [("ROLLING", told()), ("BLUE_GREEN", Value::Null)] {
            for member in ["service", "services"] {
                let answer = |state: Value| match member {
                    "service" => json!({"service": service(strategy, state)}),
                    _ => json!({"services": [service(strategy, state)], "failures": []}),
                };
                assert_eq!(mode.apply(answer(told())), answer(in_mode.clone()));
                assert_eq!(Modes::default().apply(answer(told())), answer(told()));
            }
        }
        let other = json!({"serviceArns": ["arn"]});
        assert_eq!(mode.apply(other.clone()), other);
    }
}
