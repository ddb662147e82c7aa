//! When the circuit breaker of a deployment trips.

use crate::ecs::model::deployments::CircuitBreaker;

/// Whether a task that becomes healthy makes the earlier failures forgotten.
pub(super) fn resets(breaker: &CircuitBreaker) -> bool {
    breaker.reset_on_healthy_task.unwrap_or(true)
}

/// How many failed tasks make the deployment a failed one: by default half the desired
/// count, but at least 3 and at most 200.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>
pub(in crate::ecs) fn threshold(breaker: &CircuitBreaker, desired: usize) -> u64 {
    let desired = desired as u64;
    match &breaker.threshold_configuration {
        Some(configuration) => {
            let part = (desired * configuration.value).div_ceil(100);
            match configuration.r#type.as_str() {
                "COUNT" => configuration.value.max(1),
                "UNBOUNDED_PERCENT" => part.max(1),
                _ => part.clamp(3, 200),
            }
        }
        None => desired.div_ceil(2).clamp(3, 200),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circuit_breaker_trips_at_half_the_tasks_within_bounds() {
        let breaker = CircuitBreaker::default();
        for (desired, expected) in [
            (0, 3),
            (1, 3),
            (6, 3),
            (7, 4),
            (25, 13),
            (400, 200),
            (900, 200),
        ] {
            assert_eq!(threshold(&breaker, desired), expected, "{desired}");
        }
    }

    #[test]
    fn the_threshold_can_be_configured() {
        let configured = |kind: &str, value: u64, desired: usize| {
            let breaker: CircuitBreaker = serde_json::from_value(serde_json::json!({
                "enable": true,
                "rollback": false,
                "thresholdConfiguration": {"type": kind, "value": value},
            }))
            .unwrap();
            threshold(&breaker, desired)
        };
        assert_eq!(configured("COUNT", 1, 10), 1);
        assert_eq!(configured("BOUNDED_PERCENT", 10, 10), 3);
        assert_eq!(configured("UNBOUNDED_PERCENT", 10, 10), 1);
        assert_eq!(configured("UNBOUNDED_PERCENT", 100, 900), 900);
    }
}
