//! Deployment alarms: CloudWatch alarms that make a service deployment fail.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html>

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;

/// `deploymentConfiguration.alarms`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentAlarms {
    alarm_names: Vec<String>,
    enable: bool,
    rollback: bool,
}

/// What is known of the alarms.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Watch {
    /// They have not been looked at yet.
    Unknown,
    /// They do not count: not enabled, or one was in ALARM when the deployment began.
    Ignored,
    Going,
    /// These went into ALARM.
    Triggered(Vec<String>),
}

/// The alarms of one service deployment.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct AlarmMonitor {
    alarms: DeploymentAlarms,
    watch: Watch,
    /// The time over which the slowest of them evaluates its metrics.
    evaluation_time: Duration,
}

/// What a look at the alarms has found.
#[derive(Debug, Default)]
pub(in crate::ecs) struct Sight {
    pub(in crate::ecs) in_alarm: BTreeSet<String>,
    /// The time over which the slowest of them evaluates its metrics.
    pub(in crate::ecs) evaluation_time: Duration,
}

impl AlarmMonitor {
    /// Reads `alarms` of a `deploymentConfiguration`; `None` where there is none.
    ///
    /// That an alarm exists is not required: the documented way to watch a metric of the very
    /// service is to name an alarm that is created after it
    /// (<https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_ecs-readme.html>,
    /// "Deployment alarms"). An alarm that does not exist is never in ALARM.
    ///
    /// # Errors
    /// InvalidParameterException where a required field is missing, or no alarm is named.
    pub(in crate::ecs) fn parse(configuration: &Value) -> Result<Option<Self>, ApiError> {
        let Some(alarms) = configuration.get("alarms").filter(|one| !one.is_null()) else {
            return Ok(None);
        };
        let alarms = DeploymentAlarms::deserialize(alarms)
            .map_err(|error| ApiError::invalid_parameter(format!("alarms: {error}")))?;
        if alarms.enable && alarms.alarm_names.is_empty() {
            return Err(ApiError::invalid_parameter(
                "alarms: alarmNames must name at least one alarm where enable is true.",
            ));
        }
        let watch = match alarms.enable {
            true => Watch::Unknown,
            false => Watch::Ignored,
        };
        Ok(Some(Self {
            alarms,
            watch,
            evaluation_time: Duration::ZERO,
        }))
    }

    /// All that are watched.
    pub(in crate::ecs) fn names(&self) -> &[String] {
        &self.alarms.alarm_names
    }

    /// The alarms that made the deployment fail; none until then.
    pub(in crate::ecs) fn triggered(&self) -> &[String] {
        match &self.watch {
            Watch::Triggered(names) => names,
            _ => &[],
        }
    }

    /// How long a rolling deployment whose tasks have all been replaced still watches its alarms;
    /// `None` as long as they have not been looked at.
    ///
    /// "Amazon ECS computes this time period based on the alarm configuration" (the guide), and
    /// "with multiple different times, the longest is used"
    /// (<https://github.com/aws/copilot-cli/pull/4294>). The formula is not documented: here an
    /// alarm has the time over which it evaluates its metrics, so that what the new version does
    /// can still raise it. Composite alarms, which evaluate no metric, add nothing.
    pub(in crate::ecs) fn bake_time(&self) -> Option<Duration> {
        match self.watch {
            Watch::Unknown => None,
            Watch::Ignored => Some(Duration::ZERO),
            Watch::Going | Watch::Triggered(_) => Some(self.evaluation_time),
        }
    }

    /// Whether a deployment that fails by its alarms is rolled back.
    pub(in crate::ecs) fn rolls_back(&self) -> bool {
        self.alarms.rollback
    }

    /// `ServiceDeployment.alarms`. Before the first look at the alarms there is no status: from
    /// MONITORING on, an alarm that goes into ALARM counts.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeploymentAlarms.html>
    pub(in crate::ecs) fn describe(&self, finished: bool) -> Value {
        let mut answer = json!({
            "alarmNames": self.alarms.alarm_names,
            "triggeredAlarmNames": self.triggered(),
        });
        let status = match &self.watch {
            Watch::Unknown if !finished => return answer,
            Watch::Ignored => "DISABLED",
            Watch::Triggered(_) => "TRIGGERED",
            Watch::Unknown | Watch::Going if finished => "MONITORING_COMPLETE",
            Watch::Unknown | Watch::Going => "MONITORING",
        };
        answer["status"] = json!(status);
        answer
    }

    /// Takes note of a look at the alarms; says whether that changes what they mean.
    ///
    /// An alarm in ALARM at the beginning makes ECS ignore all of them for the whole deployment,
    /// so that a deployment can mend what an earlier one broke.
    pub(in crate::ecs) fn note(&mut self, sight: &Sight) -> bool {
        let before = self.watch.clone();
        self.evaluation_time = sight.evaluation_time;
        let in_alarm = &sight.in_alarm;
        match (&self.watch, in_alarm.is_empty()) {
            (Watch::Unknown, true) => self.watch = Watch::Going,
            (Watch::Unknown, false) => self.watch = Watch::Ignored,
            (Watch::Going, false) => {
                self.watch = Watch::Triggered(in_alarm.iter().cloned().collect());
            }
            (Watch::Going, true) | (Watch::Ignored | Watch::Triggered(_), _) => {}
        }
        self.watch != before
    }

    /// Whether there is anything left to look for.
    pub(in crate::ecs) fn is_open(&self) -> bool {
        matches!(self.watch, Watch::Unknown | Watch::Going)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(enable: bool) -> AlarmMonitor {
        let configuration = json!({
            "alarms": {"alarmNames": ["errors", "latency"], "enable": enable, "rollback": true},
        });
        AlarmMonitor::parse(&configuration).unwrap().unwrap()
    }

    const EVALUATION_TIME: Duration = Duration::from_secs(180);

    fn names(names: &[&str]) -> Sight {
        Sight {
            in_alarm: names.iter().map(|name| (*name).to_owned()).collect(),
            evaluation_time: EVALUATION_TIME,
        }
    }

    fn status(monitor: &AlarmMonitor, finished: bool) -> Value {
        monitor.describe(finished)["status"].clone()
    }

    #[test]
    fn an_alarm_that_goes_off_is_told() {
        let mut monitor = monitor(true);
        assert_eq!(status(&monitor, false), Value::Null);
        monitor.note(&names(&[]));
        assert_eq!(status(&monitor, false), "MONITORING");
        assert_eq!(monitor.triggered(), [""; 0]);
        monitor.note(&names(&["latency"]));
        assert_eq!(monitor.triggered(), ["latency"]);
        let told = json!({
            "status": "TRIGGERED",
            "alarmNames": ["errors", "latency"],
            "triggeredAlarmNames": ["latency"],
        });
        assert_eq!(monitor.describe(false), told);
        // What follows is no news, and the end of the deployment does not change it.
        monitor.note(&names(&[]));
        assert_eq!(monitor.describe(true), told);
    }

    #[test]
    fn alarms_that_stay_quiet_are_complete_at_the_end() {
        let mut monitor = monitor(true);
        monitor.note(&names(&[]));
        assert_eq!(status(&monitor, true), "MONITORING_COMPLETE");
    }

    #[test]
    fn a_rolling_deployment_bakes_as_long_as_its_alarms_take_if_they_count() {
        let mut counting = monitor(true);
        assert_eq!(counting.bake_time(), None);
        counting.note(&names(&[]));
        assert_eq!(counting.bake_time(), Some(EVALUATION_TIME));
        let mut ignored = monitor(true);
        ignored.note(&names(&["errors"]));
        assert_eq!(ignored.bake_time(), Some(Duration::ZERO));
        assert_eq!(monitor(false).bake_time(), Some(Duration::ZERO));
    }

    #[test]
    fn an_alarm_that_is_on_at_the_beginning_disables_all_for_the_whole_deployment() {
        let mut monitor = monitor(true);
        monitor.note(&names(&["errors"]));
        assert_eq!(status(&monitor, false), "DISABLED");
        monitor.note(&names(&[]));
        monitor.note(&names(&["latency"]));
        assert_eq!(status(&monitor, true), "DISABLED");
        assert_eq!(monitor.triggered(), [""; 0]);
        assert!(!monitor.is_open());
    }

    #[test]
    fn alarms_that_are_not_enabled_are_disabled() {
        let monitor = monitor(false);
        assert_eq!(status(&monitor, false), "DISABLED");
        assert!(!monitor.is_open());
    }

    #[test]
    fn a_configuration_needs_all_its_fields_and_a_name() {
        let refused = |alarms: Value| {
            let error = AlarmMonitor::parse(&json!({ "alarms": alarms })).unwrap_err();
            assert_eq!(error.name, "InvalidParameterException");
        };
        refused(json!({"alarmNames": ["a"], "enable": true}));
        refused(json!({"alarmNames": ["a"], "rollback": true}));
        refused(json!({"enable": true, "rollback": true}));
        refused(json!({"alarmNames": [], "enable": true, "rollback": true}));
        let none = json!({"alarms": {"alarmNames": [], "enable": false, "rollback": false}});
        assert!(AlarmMonitor::parse(&none).unwrap().is_some());
        assert!(AlarmMonitor::parse(&json!({})).unwrap().is_none());
    }
}
