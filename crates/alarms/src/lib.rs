//! Which of a stack's alarms are in ALARM.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::types::{AlarmType, StateValue};
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::collections::BTreeSet;

/// DescribeAlarms takes no more names at once
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>).
const BATCH: usize = 100;

/// A stack that is in alarm is not deployed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Before the deployment these alarms of stack {stack} are in ALARM: {}. ECS would ignore all alarms during the deployment. See to them, or give \"ignoreAlarms\": true in the input.",
    alarms.join(", ")
)]
pub struct AlarmsInAlarm {
    pub stack: String,
    /// Their names, at least one.
    pub alarms: Vec<String>,
}

/// Names of those of the alarms, metric alarms and composite ones, that are in ALARM, in order. A
/// name that CloudWatch does not know is not among them; without a name nobody is asked.
///
/// # Errors
/// [`AwsRequestFailed`].
pub async fn in_alarm(client: &Client, names: &[String]) -> Result<Vec<String>, AwsRequestFailed> {
    let mut found = BTreeSet::new();
    for batch in names.chunks(BATCH) {
        let mut next_token = None;
        loop {
            let page = client
                .describe_alarms()
                .set_alarm_names(Some(batch.to_vec()))
                // Without the types CloudWatch answers metric alarms alone.
                .alarm_types(AlarmType::MetricAlarm)
                .alarm_types(AlarmType::CompositeAlarm)
                .state_value(StateValue::Alarm)
                .set_next_token(next_token)
                .send()
                .await
                .map_err(failed("cloudwatch:DescribeAlarms", batch.join(", ")))?;
            let metric = page.metric_alarms.into_iter().flatten();
            let composite = page.composite_alarms.into_iter().flatten();
            found.extend(metric.filter_map(|alarm| alarm.alarm_name));
            found.extend(composite.filter_map(|alarm| alarm.alarm_name));
            next_token = page.next_token.filter(|token| !token.is_empty());
            if next_token.is_none() {
                break;
            }
        }
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatch::operation::describe_alarms::{
        DescribeAlarmsError, DescribeAlarmsOutput,
    };
    use aws_sdk_cloudwatch::types::{CompositeAlarm, MetricAlarm};
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    fn metric(name: &str) -> MetricAlarm {
        MetricAlarm::builder().alarm_name(name).build()
    }

    #[tokio::test]
    async fn metric_and_composite_alarms_are_told_from_all_pages_in_their_order() {
        let rule = mock!(Client::describe_alarms)
            .match_requests(|request| {
                request.state_value() == Some(&StateValue::Alarm)
                    && request.alarm_types() == [AlarmType::MetricAlarm, AlarmType::CompositeAlarm]
            })
            .then_compute_output(|request| {
                let page = DescribeAlarmsOutput::builder();
                match request.next_token() {
                    None => page
                        .metric_alarms(metric("slow"))
                        .next_token("second")
                        .build(),
                    Some(_) => page
                        .metric_alarms(metric("5xx"))
                        .composite_alarms(CompositeAlarm::builder().alarm_name("all").build())
                        .build(),
                }
            });
        let client = mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &[&rule]);
        let names = ["slow", "quiet", "5xx", "all"].map(str::to_owned);
        assert_eq!(
            in_alarm(&client, &names).await.unwrap(),
            ["5xx", "all", "slow"]
        );
        assert_eq!(rule.num_calls(), 2);
    }

    #[tokio::test]
    async fn more_alarms_than_a_call_takes_are_asked_for_in_several() {
        let rule = mock!(Client::describe_alarms)
            .match_requests(|request| request.alarm_names().len() <= 100)
            .then_compute_output(|request| {
                DescribeAlarmsOutput::builder()
                    .metric_alarms(metric(&request.alarm_names()[0]))
                    .build()
            });
        let client = mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &[&rule]);
        let names: Vec<String> = (0..201).map(|n| format!("alarm-{n:03}")).collect();
        assert_eq!(
            in_alarm(&client, &names).await.unwrap(),
            ["alarm-000", "alarm-100", "alarm-200"]
        );
    }

    #[tokio::test]
    async fn without_an_alarm_nobody_is_asked() {
        let client = mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &[]);
        assert!(in_alarm(&client, &[]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_refused_request_names_the_alarms() {
        let rule = mock!(Client::describe_alarms).then_error(|| {
            DescribeAlarmsError::generic(
                aws_sdk_cloudwatch::error::ErrorMetadata::builder()
                    .code("AccessDenied")
                    .build(),
            )
        });
        let client = mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &[&rule]);
        let failure = in_alarm(&client, &["5xx".to_owned()]).await.unwrap_err();
        assert_eq!(failure.action, "cloudwatch:DescribeAlarms");
        assert_eq!(failure.resource, "5xx");
    }
}
