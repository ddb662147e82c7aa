//! The deployment strategy of a service: what `deploymentConfiguration` says about it.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html>

use std::time::Duration;

use serde_json::{Value, json};

use crate::ecs::model::error::ApiError;
use crate::ecs::model::traffic::Share;
use crate::ecs::model::values::Object;

/// Minutes that any bake time may last.
const MAX_BAKE_MINUTES: u64 = 1440;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum Strategy {
    Rolling,
    BlueGreen,
    Canary { share: Share, bake: Duration },
    Linear { step: Share, bake: Duration },
}

impl Strategy {
    /// What a configuration says that [`validate`] accepts.
    pub(in crate::ecs) fn of(configuration: &Value) -> Self {
        Self::parse(configuration).unwrap_or(Self::Rolling)
    }

    fn parse(configuration: &Value) -> Result<Self, ApiError> {
        match configuration["strategy"].as_str() {
            Some("ROLLING") => Ok(Self::Rolling),
            Some("BLUE_GREEN") => Ok(Self::BlueGreen),
            Some("CANARY") => {
                let canary = &configuration["canaryConfiguration"];
                Ok(Self::Canary {
                    share: share(canary, "canaryPercent", 0.1)?,
                    bake: minutes(canary, "canaryBakeTimeInMinutes")?,
                })
            }
            Some("LINEAR") => {
                let linear = &configuration["linearConfiguration"];
                Ok(Self::Linear {
                    step: share(linear, "stepPercent", 3.0)?,
                    bake: minutes(linear, "stepBakeTimeInMinutes")?,
                })
            }
            _ => Err(ApiError::invalid_parameter(format!(
                "Invalid deployment strategy {}: use ROLLING, BLUE_GREEN, CANARY or LINEAR.",
                configuration["strategy"]
            ))),
        }
    }

    /// Whether the new revision runs beside the old one until all traffic has been shifted.
    pub(in crate::ecs) fn is_side_by_side(self) -> bool {
        self != Self::Rolling
    }

    /// How production traffic comes to the new revision: its share after each step, and how long
    /// that is looked at before the next step.
    pub(in crate::ecs) fn steps(self) -> Vec<(Share, Duration)> {
        let last = (Share::ALL, Duration::ZERO);
        match self {
            Self::Rolling => Vec::new(),
            Self::BlueGreen => vec![last],
            Self::Canary { share, bake } => vec![(share, bake), last],
            Self::Linear { step, bake } => {
                let shares = (1..step.count()).map(|number| (step.times(number), bake));
                shares.chain([last]).collect()
            }
        }
    }
}

/// When a rolling deployment is complete before all its tasks are there.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/early-success-criteria.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) struct EarlySuccess {
    healthy_percent: usize,
    /// The tasks of the revision before are stopped when the deployment is complete, and not before.
    pub(in crate::ecs) is_clean_up_deferred: bool,
}

impl EarlySuccess {
    /// What a configuration says that [`validate`] accepts.
    pub(in crate::ecs) fn of(configuration: &Value) -> Option<Self> {
        Self::parse(configuration).unwrap_or_default()
    }

    /// So many of the desired tasks have to be healthy, and one at least.
    pub(in crate::ecs) fn enough(self, desired: usize) -> usize {
        let part = (desired * self.healthy_percent).div_ceil(100);
        part.max(1).min(desired)
    }

    fn parse(configuration: &Value) -> Result<Option<Self>, ApiError> {
        let criteria = &configuration["earlySuccessCriteria"];
        if criteria["enable"] != json!(true) {
            return Ok(None);
        }
        if Strategy::parse(configuration)? != Strategy::Rolling {
            return Err(ApiError::invalid_parameter(
                "earlySuccessCriteria are only valid when the deployment strategy is ROLLING.",
            ));
        }
        let least = configuration["minimumHealthyPercent"].as_u64();
        let percent = criteria["healthyPercent"].as_u64();
        let percent = percent.filter(|percent| *percent <= 100 && Some(*percent) >= least);
        let percent = percent.and_then(|percent| usize::try_from(percent).ok());
        let healthy_percent = percent.ok_or_else(|| {
            ApiError::invalid_parameter(
                "Invalid healthyPercent: use a number from minimumHealthyPercent to 100.",
            )
        })?;
        let is_clean_up_deferred = match criteria["sourceServiceRevisionCleanup"].as_str() {
            Some("BLOCKING") => false,
            Some("DEFERRED") => true,
            _ => {
                return Err(ApiError::invalid_parameter(
                    "Invalid sourceServiceRevisionCleanup: use BLOCKING or DEFERRED.",
                ));
            }
        };
        Ok(Some(Self {
            healthy_percent,
            is_clean_up_deferred,
        }))
    }
}

/// How long both revisions go on running after the last shift; without a value not at all.
pub(super) fn bake_time(configuration: &Value) -> Duration {
    minutes(configuration, "bakeTimeInMinutes").unwrap_or_default()
}

fn share(configuration: &Value, name: &str, smallest: f64) -> Result<Share, ApiError> {
    configuration[name]
        .as_f64()
        .and_then(|percent| Share::of_percent(percent, smallest))
        .ok_or_else(|| {
            ApiError::invalid_parameter(format!(
                "Invalid {name}: use a multiple of 0.1 from {smallest:.1} to 100.0."
            ))
        })
}

/// No value is no time.
fn minutes(configuration: &Value, name: &str) -> Result<Duration, ApiError> {
    match &configuration[name] {
        Value::Null => Some(0),
        value => value
            .as_u64()
            .filter(|minutes| *minutes <= MAX_BAKE_MINUTES),
    }
    .map(|minutes| Duration::from_secs(minutes * 60))
    .ok_or_else(|| {
        ApiError::invalid_parameter(format!(
            "Invalid {name}: use whole minutes from 0 to {MAX_BAKE_MINUTES}."
        ))
    })
}

/// The parts of the configuration that belong to one strategy only.
const PARTS: [(&str, &str); 2] = [
    ("CANARY", "canaryConfiguration"),
    ("LINEAR", "linearConfiguration"),
];

/// Adds the values that ECS fills in.
pub(in crate::ecs) fn complete(configuration: &mut Object) {
    let mut default = |name: &str, value: Value| {
        configuration.entry(name).or_insert(value);
    };
    default("maximumPercent", json!(200));
    default("minimumHealthyPercent", json!(100));
    default("strategy", json!("ROLLING"));
    default(
        "deploymentCircuitBreaker",
        json!({"enable": false, "rollback": false}),
    );
    let (part, defaults) = match configuration["strategy"].as_str() {
        Some("CANARY") => (
            "canaryConfiguration",
            json!({"canaryPercent": 5.0, "canaryBakeTimeInMinutes": 10}),
        ),
        Some("LINEAR") => (
            "linearConfiguration",
            json!({"stepPercent": 10.0, "stepBakeTimeInMinutes": 6}),
        ),
        _ => return,
    };
    let given = configuration.entry(part).or_insert_with(|| json!({}));
    if let (Some(given), Value::Object(defaults)) = (given.as_object_mut(), defaults) {
        for (name, value) in defaults {
            given.entry(name).or_insert(value);
        }
    }
}

/// What UpdateService makes of a configuration. A part that is not given stays as it is, but
/// what belongs to the strategy alone goes with the strategy.
pub(in crate::ecs) fn change(known: &mut Object, change: Object) {
    let strategy = change.get("strategy").cloned();
    if let Some(strategy) = strategy.filter(|strategy| Some(strategy) != known.get("strategy")) {
        for (owner, part) in PARTS {
            if strategy != owner {
                known.remove(part);
            }
        }
    }
    known.extend(change);
    complete(known);
}

/// Refuses what ECS refuses, as far as it does not depend on the service's load balancers.
pub(in crate::ecs) fn validate(configuration: &Value) -> Result<(), ApiError> {
    let strategy = configuration["strategy"].as_str();
    Strategy::parse(configuration)?;
    for (owner, part) in PARTS {
        if strategy != Some(owner) && configuration.get(part).is_some() {
            return Err(ApiError::invalid_parameter(format!(
                "{part} is only valid when the deployment strategy is {owner}."
            )));
        }
    }
    if strategy == Some("BLUE_GREEN") && configuration["bakeTimeInMinutes"].is_null() {
        return Err(ApiError::invalid_parameter(
            "bakeTimeInMinutes must be provided when the deployment strategy is BLUE_GREEN.",
        ));
    }
    EarlySuccess::parse(configuration)?;
    minutes(configuration, "bakeTimeInMinutes").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(configuration: Value) -> Value {
        let mut configuration = configuration.as_object().unwrap().clone();
        complete(&mut configuration);
        Value::Object(configuration)
    }

    fn steps(configuration: Value) -> Vec<(f64, u64)> {
        let configuration = completed(configuration);
        validate(&configuration).unwrap();
        let steps = Strategy::of(&configuration).steps();
        let steps = steps.into_iter();
        steps
            .map(|(share, bake)| (share.percent(), bake.as_secs() / 60))
            .collect()
    }

    fn refusal(configuration: Value) -> String {
        validate(&completed(configuration)).unwrap_err().message
    }

    #[test]
    fn blue_green_shifts_everything_at_once() {
        assert_eq!(
            steps(json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0})),
            [(100.0, 0)]
        );
    }

    #[test]
    fn a_canary_shifts_its_share_and_then_the_rest() {
        assert_eq!(
            steps(json!({"strategy": "CANARY"})),
            [(5.0, 10), (100.0, 0)]
        );
        let configuration = json!({
            "strategy": "CANARY",
            "canaryConfiguration": {"canaryPercent": 0.1, "canaryBakeTimeInMinutes": 1440},
        });
        assert_eq!(steps(configuration), [(0.1, 1440), (100.0, 0)]);
    }

    #[test]
    fn a_linear_deployment_shifts_equal_steps_and_does_not_bake_after_the_last() {
        let linear = |percent: f64| {
            json!({
                "strategy": "LINEAR",
                "linearConfiguration": {"stepPercent": percent, "stepBakeTimeInMinutes": 2},
            })
        };
        assert_eq!(steps(linear(50.0)), [(50.0, 2), (100.0, 0)]);
        assert_eq!(steps(linear(33.4)), [(33.4, 2), (66.8, 2), (100.0, 0)]);
        assert_eq!(steps(linear(100.0)), [(100.0, 0)]);
        assert_eq!(steps(json!({"strategy": "LINEAR"})).len(), 10);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let canary = |percent: f64, bake: i64| {
            refusal(json!({
                "strategy": "CANARY",
                "canaryConfiguration": {"canaryPercent": percent, "canaryBakeTimeInMinutes": bake},
            }))
        };
        for percent in [0.0, -5.0, 0.15, 100.1] {
            assert!(canary(percent, 1).starts_with("Invalid canaryPercent"));
        }
        for bake in [-1, 1441] {
            assert!(canary(5.0, bake).starts_with("Invalid canaryBakeTimeInMinutes"));
        }
        for percent in [2.9, 100.1] {
            let linear = json!({
                "strategy": "LINEAR",
                "linearConfiguration": {"stepPercent": percent},
            });
            assert!(refusal(linear).starts_with("Invalid stepPercent"));
        }
        let bake = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1441});
        assert!(refusal(bake).starts_with("Invalid bakeTimeInMinutes"));
    }

    #[test]
    fn parts_of_another_strategy_are_refused() {
        let mixed = json!({"strategy": "ROLLING", "canaryConfiguration": {}});
        assert!(refusal(mixed).contains("only valid when the deployment strategy is CANARY"));
        let mixed = json!({"strategy": "CANARY", "linearConfiguration": {}});
        assert!(refusal(mixed).contains("only valid when the deployment strategy is LINEAR"));
        assert!(refusal(json!({"strategy": "GRADUAL"})).contains("GRADUAL"));
    }

    fn early(criteria: Value) -> Value {
        completed(json!({"minimumHealthyPercent": 50, "earlySuccessCriteria": criteria}))
    }

    /// The examples of
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/early-success-criteria.html>.
    #[test]
    fn a_part_of_the_tasks_is_enough_for_an_early_success() {
        for (percent, desired, enough) in [(50, 2, 1), (50, 3, 2), (80, 10, 8), (90, 100, 90)] {
            let criteria = json!({
                "enable": true,
                "healthyPercent": percent,
                "sourceServiceRevisionCleanup": "BLOCKING",
            });
            let configuration = early(criteria);
            validate(&configuration).unwrap();
            let early = EarlySuccess::of(&configuration).unwrap();
            assert_eq!(early.enough(desired), enough);
            assert!(!early.is_clean_up_deferred);
        }
        assert_eq!(EarlySuccess::of(&early(json!({"enable": false}))), None);
        assert_eq!(EarlySuccess::of(&completed(json!({}))), None);
    }

    #[test]
    fn criteria_of_an_early_success_are_whole_and_of_rolling_deployments() {
        let refused = |criteria: Value| {
            let refused = validate(&early(criteria)).unwrap_err();
            refused.message
        };
        let of = |percent: Value, cleanup: Value| json!({"enable": true, "healthyPercent": percent, "sourceServiceRevisionCleanup": cleanup});
        for percent in [json!(null), json!(49), json!(101)] {
            let message = refused(of(percent, json!("DEFERRED")));
            assert!(message.starts_with("Invalid healthyPercent"), "{message}");
        }
        for cleanup in [json!(null), json!("IMMEDIATE")] {
            let message = refused(of(json!(50), cleanup));
            assert!(message.starts_with("Invalid sourceService"), "{message}");
        }
        let shifting = json!({
            "strategy": "CANARY",
            "earlySuccessCriteria": of(json!(100), json!("DEFERRED")),
        });
        assert!(refusal(shifting).contains("ROLLING"));
    }

    #[test]
    fn blue_green_needs_a_bake_time() {
        assert!(refusal(json!({"strategy": "BLUE_GREEN"})).contains("bakeTimeInMinutes"));
    }

    #[test]
    fn another_strategy_leaves_behind_what_belonged_to_the_old_one() {
        let mut known = completed(json!({"strategy": "CANARY", "bakeTimeInMinutes": 3}));
        let known = known.as_object_mut().unwrap();
        change(
            known,
            json!({"strategy": "LINEAR"}).as_object().unwrap().clone(),
        );
        assert_eq!(known.get("canaryConfiguration"), None);
        assert_eq!(known["linearConfiguration"]["stepPercent"], 10.0);
        assert_eq!(known["bakeTimeInMinutes"], 3);
    }
}
