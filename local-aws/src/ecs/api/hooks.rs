//! ContinueServiceDeployment.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::deployments::Status;
use crate::ecs::model::error::ApiError;
use crate::ecs::model::hooks::{Action, HookStatus};
use crate::ecs::model::values::parse;

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
    pub(super) fn continue_service_deployment(&self, request: Value) -> Result<Value, ApiError> {
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
mod tests {
    use super::*;
    use crate::ecs::in_process;
    use crate::ecs::life::pauses::Pause;
    use crate::ecs::model::hooks::HookDetail;
    use crate::ecs::rules::hooks::samples::{begun, function_hook, pause_hook};

    /// An ECS with a service deployment that is in progress and has these hooks noted.
    async fn with_deployment(speed: f64, hooks: Vec<HookDetail>) -> (Ecs, String) {
        let ecs = in_process::ecs(speed).await;
        in_process::register(&ecs, "web").await;
        let service = json!({
            "cluster": in_process::CLUSTER,
            "serviceName": "web",
            "taskDefinition": "web",
            "desiredCount": 1,
            "launchType": "FARGATE",
            "networkConfiguration": in_process::network(),
        });
        ecs.call("CreateService", service).await.unwrap();
        let mut state = ecs.lock();
        let service = state.services.values_mut().next().unwrap();
        let deployment = &mut service.history[0];
        deployment.set_status(Status::InProgress, None);
        deployment.hooks = hooks;
        let arn = deployment.arn.clone();
        drop(state);
        (ecs, arn)
    }

    async fn go_on(ecs: &Ecs, deployment: &str, hook: &str) -> Result<Value, ApiError> {
        let request = json!({"serviceDeploymentArn": deployment, "hookId": hook});
        ecs.call("ContinueServiceDeployment", request).await
    }

    #[tokio::test]
    async fn a_deployment_cannot_be_continued_but_at_a_pause_that_waits() {
        let (waiting, function) = (begun(pause_hook()), begun(function_hook()));
        let mut ended = begun(pause_hook());
        ended.status = HookStatus::Succeeded;
        let hooks = vec![waiting.clone(), function.clone(), ended.clone()];
        let (ecs, deployment) = with_deployment(1.0, hooks).await;
        let pause = Pause::begin(&ecs.inner.pauses, &waiting.hook_id);

        let refusal = async |deployment: &str, hook: &str| {
            let refused = go_on(&ecs, deployment, hook).await;
            refused.unwrap_err().name
        };
        assert_eq!(
            refusal("arn:aws:ecs:::service-deployment/none", &waiting.hook_id).await,
            "ServiceDeploymentNotFoundException"
        );
        assert_eq!(
            refusal(&deployment, "none").await,
            "InvalidParameterException"
        );
        for hook in [&function, &ended] {
            assert_eq!(refusal(&deployment, &hook.hook_id).await, "ClientException");
        }
        let request = json!({
            "serviceDeploymentArn": deployment,
            "hookId": waiting.hook_id,
            "action": "STAY",
        });
        let refused = ecs.call("ContinueServiceDeployment", request).await;
        assert_eq!(refused.unwrap_err().name, "InvalidParameterException");

        let answer = go_on(&ecs, &deployment, &waiting.hook_id).await.unwrap();
        assert_eq!(answer, json!({"serviceDeploymentArn": deployment}));
        assert_eq!(pause.ended().await, Ok(()));
        assert_eq!(
            refusal(&deployment, &waiting.hook_id).await,
            "ClientException"
        );
    }

    #[tokio::test]
    async fn a_deployment_that_rolls_back_cannot_be_continued() {
        let waiting = begun(pause_hook());
        let (ecs, deployment) = with_deployment(1.0, vec![waiting.clone()]).await;
        let _pause = Pause::begin(&ecs.inner.pauses, &waiting.hook_id);
        for service in ecs.lock().services.values_mut() {
            service.history[0].set_status(Status::RollbackInProgress, None);
        }
        let refused = go_on(&ecs, &deployment, &waiting.hook_id).await;
        assert_eq!(refused.unwrap_err().name, "ClientException");
    }
}
