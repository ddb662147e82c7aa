//! Whether an alarm has fired.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::types::{AlarmType, StateValue};
use bluegreen_sdk_config::{AwsRequestFailed, failed};

/// DescribeAlarms takes no more names at once
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>).
const BATCH: usize = 100;

/// A sentence for each of the alarms that is in ALARM. An alarm that does not exist is in none.
pub(crate) async fn firing(
    client: &Client,
    names: &[String],
) -> Result<Vec<String>, AwsRequestFailed> {
    let mut firing = Vec::new();
    for batch in names.chunks(BATCH) {
        let answer = client
            .describe_alarms()
            .set_alarm_names(Some(batch.to_vec()))
            // Without their types, only metric alarms are told.
            .alarm_types(AlarmType::MetricAlarm)
            .alarm_types(AlarmType::CompositeAlarm)
            .state_value(StateValue::Alarm)
            .max_records(100)
            .send()
            .await
            .map_err(failed("cloudwatch:DescribeAlarms", batch.join(", ")))?;
        let metric = answer.metric_alarms().iter().map(|alarm| {
            (
                alarm.alarm_name(),
                alarm.state_value(),
                alarm.state_reason(),
            )
        });
        let composite = answer.composite_alarms().iter().map(|alarm| {
            (
                alarm.alarm_name(),
                alarm.state_value(),
                alarm.state_reason(),
            )
        });
        firing.extend(
            metric
                .chain(composite)
                .filter(|(_, state, _)| *state == Some(&StateValue::Alarm))
                .map(|(name, _, reason)| sentence(name.unwrap_or_default(), reason)),
        );
    }
    Ok(firing)
}

fn sentence(name: &str, reason: Option<&str>) -> String {
    match reason
        .map(|reason| reason.trim().trim_end_matches('.'))
        .filter(|reason| !reason.is_empty())
    {
        Some(reason) => format!("The alarm {name} is in ALARM: {reason}."),
        None => format!("The alarm {name} is in ALARM."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
    use aws_sdk_cloudwatch::types::{CompositeAlarm, MetricAlarm};
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    #[tokio::test]
    async fn alarms_of_both_kinds_are_told_with_their_reason() {
        let rule = mock!(Client::describe_alarms)
            .match_requests(|request| {
                request.alarm_types().len() == 2 && request.alarm_names().len() <= BATCH
            })
            .then_output(|| {
                DescribeAlarmsOutput::builder()
                    .metric_alarms(
                        MetricAlarm::builder()
                            .alarm_name("latency")
                            .state_value(StateValue::Ok)
                            .build(),
                    )
                    .metric_alarms(
                        MetricAlarm::builder()
                            .alarm_name("demo-5xx")
                            .state_value(StateValue::Alarm)
                            .state_reason("Threshold Crossed.")
                            .build(),
                    )
                    .composite_alarms(
                        CompositeAlarm::builder()
                            .alarm_name("demo")
                            .state_value(StateValue::Alarm)
                            .build(),
                    )
                    .build()
            });
        let client = mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &[&rule]);
        assert_eq!(
            firing(&client, &["demo-5xx".to_owned()]).await.unwrap(),
            [
                "The alarm demo-5xx is in ALARM: Threshold Crossed.",
                "The alarm demo is in ALARM."
            ]
        );

        let many: Vec<String> = (0..150).map(|n| format!("a{n}")).collect();
        firing(&client, &many).await.unwrap();
        assert_eq!(rule.num_calls(), 3);
        assert!(firing(&client, &[]).await.unwrap().is_empty());
        assert_eq!(rule.num_calls(), 3);
    }
}
