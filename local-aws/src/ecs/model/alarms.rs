//! Deployment alarms: CloudWatch alarms that make a service deployment fail.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html>

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_cloudwatch::types::{AlarmType, MetricAlarm, StateValue};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ecs::ApiError;
use crate::ecs::Ecs;
use crate::ecs::life::scheduler::ServiceKey;
use crate::ecs::model::deployments::{ServiceDeployment, Status};

/// How often the alarms of a deployment are asked for. ECS polls DescribeAlarms; how often is not
/// documented, but no alarm changes faster than metrics of this period are evaluated.
const POLL_PERIOD: Duration = Duration::from_secs(10);

/// DescribeAlarms takes at most so many names.
const NAMES_PER_REQUEST: usize = 100;

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
struct Sight {
    in_alarm: BTreeSet<String>,
    /// The time over which the slowest of them evaluates its metrics.
    evaluation_time: Duration,
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

    /// Takes note of a look at the alarms.
    ///
    /// An alarm in ALARM at the beginning makes ECS ignore all of them for the whole deployment,
    /// so that a deployment can mend what an earlier one broke.
    fn note(&mut self, sight: &Sight) {
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
    }

    /// Whether there is anything left to look for.
    fn is_open(&self) -> bool {
        matches!(self.watch, Watch::Unknown | Watch::Going)
    }
}

impl ServiceDeployment {
    /// Whether its alarms still matter: until it has ended or goes back.
    fn watches_alarms(&self) -> bool {
        let going_forward = matches!(self.status, Status::Pending | Status::InProgress);
        going_forward && self.alarms.as_ref().is_some_and(AlarmMonitor::is_open)
    }
}

impl Ecs {
    /// Watches the alarms of a service deployment from now until it ends or goes back, and wakes
    /// the service when they have been looked at for the first time and when one goes off.
    /// Without alarms there is nothing to do.
    pub(in crate::ecs) fn watch_alarms(&self, key: &ServiceKey, deployment: &ServiceDeployment) {
        let Some(monitor) = deployment.alarms.as_ref().filter(|one| one.is_open()) else {
            return;
        };
        let names = monitor.alarms.alarm_names.clone();
        let (ecs, key, arn) = (self.clone(), key.clone(), deployment.arn.clone());
        let killed = self.inner.killed.clone();
        self.inner.running.spawn(async move {
            let watching = ecs.keep_watching(&key, &arn, &names);
            killed.run_until_cancelled(watching).await;
        });
    }

    async fn keep_watching(&self, key: &ServiceKey, arn: &str, names: &[String]) {
        loop {
            match self.look_at_alarms(names).await {
                Ok(sight) => {
                    if !self.note_alarms(key, arn, &sight) {
                        return;
                    }
                }
                // As with AWS: while CloudWatch does not answer, an alarm may be missed.
                Err(error) => tracing::warn!("alarms cannot be read: {error:#}"),
            }
            self.inner.settings.clock.sleep(POLL_PERIOD).await;
        }
    }

    /// Which of the alarms, metric or composite, are in ALARM now, and over what time they judge.
    async fn look_at_alarms(&self, names: &[String]) -> anyhow::Result<Sight> {
        let mut sight = Sight::default();
        for names in names.chunks(NAMES_PER_REQUEST) {
            let request = self.inner.settings.cloudwatch.describe_alarms();
            let answer = request
                .set_alarm_names(Some(names.to_vec()))
                .alarm_types(AlarmType::MetricAlarm)
                .alarm_types(AlarmType::CompositeAlarm)
                .send()
                .await?;
            let metric = answer.metric_alarms().iter();
            let metric = metric.map(|alarm| (alarm.alarm_name(), alarm.state_value()));
            let composite = answer.composite_alarms().iter();
            let composite = composite.map(|alarm| (alarm.alarm_name(), alarm.state_value()));
            let on = metric
                .chain(composite)
                .filter(|(_, state)| *state == Some(&StateValue::Alarm));
            let names = on.filter_map(|(name, _)| name.map(str::to_owned));
            sight.in_alarm.extend(names);
            let times = answer.metric_alarms().iter().map(evaluation_time);
            let slowest = times.max().unwrap_or_default();
            sight.evaluation_time = sight.evaluation_time.max(slowest);
        }
        Ok(sight)
    }

    /// Takes note of a look at a deployment's alarms; says whether to look again.
    fn note_alarms(&self, key: &ServiceKey, arn: &str, sight: &Sight) -> bool {
        let mut state = self.lock();
        let Some(service) = state.services.get_mut(key) else {
            return false;
        };
        let wake = service.wake.clone();
        let deployment = service.history.iter_mut().find(|one| one.arn == arn);
        let Some(deployment) = deployment.filter(|one| one.watches_alarms()) else {
            return false;
        };
        if let Some(monitor) = &mut deployment.alarms {
            let before = monitor.watch.clone();
            monitor.note(sight);
            if monitor.watch != before {
                wake.notify_one();
            }
        }
        deployment.watches_alarms()
    }
}

/// The time over which an alarm evaluates its metrics.
fn evaluation_time(alarm: &MetricAlarm) -> Duration {
    let of_metrics = alarm.metrics().iter().filter_map(|query| {
        let stat = query.metric_stat();
        query
            .period()
            .or_else(|| stat.and_then(|stat| stat.period()))
    });
    let period = alarm.period().or_else(|| of_metrics.max());
    let periods = alarm.evaluation_periods();
    let [period, periods] = [period, periods].map(|it| u64::try_from(it.unwrap_or(0)).unwrap_or(0));
    Duration::from_secs(period * periods)
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatch::types::{MetricDataQuery, MetricStat};

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
    fn an_alarm_takes_all_its_evaluation_periods() {
        let alarm = || MetricAlarm::builder().evaluation_periods(3);
        let simple = alarm().period(60).build();
        assert_eq!(evaluation_time(&simple), Duration::from_secs(180));
        let query = |period: i32| {
            let stat = MetricStat::builder().period(period).stat("Sum").build();
            MetricDataQuery::builder().metric_stat(stat).build()
        };
        let expression = MetricDataQuery::builder().expression("a + b").build();
        let queries = alarm().metrics(expression);
        let computed = queries.metrics(query(60)).metrics(query(300)).build();
        assert_eq!(evaluation_time(&computed), Duration::from_secs(900));
        assert_eq!(
            evaluation_time(&MetricAlarm::builder().build()),
            Duration::ZERO
        );
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
