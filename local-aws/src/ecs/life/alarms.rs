//! Watching the deployment alarms.

use std::time::Duration;

use aws_sdk_cloudwatch::types::{AlarmType, MetricAlarm, StateValue};

use super::control_plane::Ecs;
use crate::ecs::model::alarms::{AlarmMonitor, Sight};
use crate::ecs::model::deployments::{ServiceDeployment, Status};
use crate::ecs::model::state::ServiceKey;

/// How often the alarms of a deployment are asked for. ECS polls DescribeAlarms; how often is not
/// documented, but no alarm changes faster than metrics of this period are evaluated.
const POLL_PERIOD: Duration = Duration::from_secs(10);

/// DescribeAlarms takes at most so many names.
const NAMES_PER_REQUEST: usize = 100;

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
    pub(super) fn watch_alarms(&self, key: &ServiceKey, deployment: &ServiceDeployment) {
        let Some(monitor) = deployment.alarms.as_ref().filter(|one| one.is_open()) else {
            return;
        };
        let names = monitor.names().to_vec();
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
        if let Some(monitor) = &mut deployment.alarms
            && monitor.note(sight)
        {
            wake.notify_one();
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
}
