//! Failed tasks of deployments that shift traffic, in which ECS's circuit breaker may not act.
//!
//! AWS's pages contradict one another: by the [API reference] it is for rolling updates only, by the
//! [developer guide] for rolling updates and blue/green deployments, and neither names canary and linear
//! ones. Where it does not act ECS starts a version that crashes again and again, for a day in each
//! stage, while the release has the stack's turn.
//!
//! [API reference]: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentCircuitBreaker.html
//! [developer guide]: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-failure-detection.html

use aws_sdk_ecs::types::{
    DeploymentCircuitBreaker, DeploymentStrategy, Service, ServiceDeployment, ThresholdType,
};
use bluegreen_contract::UpdatedService;
use bluegreen_ecs::{percent_of, primary};

/// As many tasks of a deployment have failed one after the other as make it a failed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyFailures {
    pub(crate) failed: i32,
    pub(crate) threshold: i32,
}

/// `None` where fewer have failed, or where ECS counts them: in a rolling update it does if the
/// service wants it to. Where traffic is shifted a service that wants it cannot be told from one
/// that leaves it out because it would do nothing, so that it is counted for both.
pub(crate) fn too_many_failures(
    service: &Service,
    wanted: &UpdatedService,
    deployment: &ServiceDeployment,
) -> Option<TooManyFailures> {
    let configuration = deployment.deployment_configuration()?;
    let strategy = configuration.strategy()?;
    let primary = primary(service)?;
    if *strategy == DeploymentStrategy::Rolling
        || primary.task_definition() != Some(&wanted.task_definition)
    {
        return None;
    }
    let threshold = threshold(
        configuration.deployment_circuit_breaker(),
        service.desired_count(),
    );
    let failed = primary.failed_tasks();
    (failed >= threshold).then_some(TooManyFailures { failed, threshold })
}

/// ECS's formula: half the desired tasks, rounded up, but at least 3 and at most 200, where the
/// service does not configure another threshold
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>,
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ThresholdConfiguration.html>).
fn threshold(breaker: Option<&DeploymentCircuitBreaker>, desired: i32) -> i32 {
    let configured = breaker.and_then(DeploymentCircuitBreaker::threshold_configuration);
    let value = configured.map_or(50, |configured| configured.value());
    let part = percent_of(desired, value);
    match configured.map(|configured| configured.r#type()) {
        Some(ThresholdType::Count) => value.max(1),
        Some(ThresholdType::UnboundedPercent) => part.max(1),
        _ => part.clamp(3, 200),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::{Deployment, DeploymentConfiguration, ThresholdConfiguration};

    fn breaker(kind: ThresholdType, value: i32) -> DeploymentCircuitBreaker {
        let threshold = ThresholdConfiguration::builder().r#type(kind).value(value);
        DeploymentCircuitBreaker::builder()
            .enable(false)
            .rollback(false)
            .threshold_configuration(threshold.build().unwrap())
            .build()
    }

    #[test]
    fn the_threshold_is_ecss_formula() {
        for (desired, expected) in [
            (0, 3),
            (1, 3),
            (6, 3),
            (7, 4),
            (25, 13),
            (400, 200),
            (900, 200),
        ] {
            assert_eq!(threshold(None, desired), expected, "{desired}");
        }
        use ThresholdType::{BoundedPercent, Count, UnboundedPercent};
        for (kind, value, desired, expected) in [
            (Count, 1, 10, 1),
            (BoundedPercent, 10, 10, 3),
            (BoundedPercent, 50, 10, 5),
            (UnboundedPercent, 10, 10, 1),
            (UnboundedPercent, 100, 900, 900),
        ] {
            let breaker = breaker(kind, value);
            assert_eq!(threshold(Some(&breaker), desired), expected, "{breaker:?}");
        }
    }

    fn judge(
        strategy: Option<DeploymentStrategy>,
        revision: &str,
        failed: i32,
    ) -> Option<TooManyFailures> {
        let primary = Deployment::builder()
            .status("PRIMARY")
            .task_definition(revision)
            .failed_tasks(failed);
        let service = Service::builder()
            .desired_count(8)
            .deployments(primary.build())
            .build();
        let configuration = DeploymentConfiguration::builder().set_strategy(strategy);
        let deployment = ServiceDeployment::builder()
            .deployment_configuration(configuration.build())
            .build();
        let wanted = UpdatedService {
            cluster: "c".to_owned(),
            service: "s".to_owned(),
            task_definition: "web:8".to_owned(),
            previous_task_definition: "web:7".to_owned(),
            replaces_tasks: true,
        };
        too_many_failures(&service, &wanted, &deployment)
    }

    #[test]
    fn failed_tasks_are_counted_where_traffic_is_shifted() {
        use DeploymentStrategy::{BlueGreen, Canary, Linear, Rolling};
        let too_many = Some(TooManyFailures {
            failed: 4,
            threshold: 4,
        });
        for strategy in [BlueGreen, Canary, Linear] {
            assert_eq!(judge(Some(strategy.clone()), "web:8", 4), too_many);
            assert_eq!(judge(Some(strategy), "web:8", 3), None);
        }
        assert_eq!(judge(Some(Rolling), "web:8", 4), None);
        assert_eq!(judge(None, "web:8", 4), None);
        assert_eq!(judge(Some(BlueGreen), "web:7", 4), None, "of a rollback");
    }
}
