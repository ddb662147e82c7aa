//! CloudWatch's event about an alarm
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html>).

use crate::failure::Failure;
use aws_lambda_events::event::cloudwatch_alarms::{
    CloudWatchAlarmData, CloudWatchAlarmState, CloudWatchAlarmStateValue,
};
use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use bluegreen_contract::{FiredAlarm, InvalidInput, parse};
use serde_json::Value;

/// AWS adds keys over time: unknown ones are no error. Neither the configuration nor the reason's
/// data says anything that is needed here.
type AlarmEvent = EventBridgeEvent<CloudWatchAlarmData<Option<Value>, Value>>;
type State = CloudWatchAlarmState<Value>;

/// In UTC, with as many digits of a second as are needed.
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// An alarm that went into ALARM.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fired {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) alarm: FiredAlarm,
}

/// Reads the event; `Err` holds a sentence about one that tells of no alarm that has just fired.
///
/// # Errors
/// `InvalidEvent` names the field.
pub(crate) fn read(event: Value) -> Result<Result<Fired, String>, Failure> {
    let event: AlarmEvent =
        parse(event).map_err(|InvalidInput(problem)| Failure::InvalidEvent(problem))?;
    let kind = (event.source.as_str(), event.detail_type.as_str());
    if kind != ("aws.cloudwatch", "CloudWatch Alarm State Change") {
        return Ok(Err(format!(
            "{} from {} is no CloudWatch Alarm State Change.",
            event.detail_type, event.source
        )));
    }
    let name = event.detail.alarm_name;
    let state = required("detail.state", event.detail.state)?;
    match state.value {
        CloudWatchAlarmStateValue::Alarm => {}
        CloudWatchAlarmStateValue::Ok => return Ok(Err(format!("The alarm {name} is OK."))),
        _ => return Ok(Err(format!("The alarm {name} has too little data."))),
    }
    if let Some(by) = suppressed_by(&state) {
        return Ok(Err(format!(
            "The actions of the alarm {name} are suppressed by {by}."
        )));
    }
    // It is told once more when its actions are suppressed no longer.
    let was_told = |previous: &State| {
        previous.value == CloudWatchAlarmStateValue::Alarm && suppressed_by(previous).is_none()
    };
    if event.detail.previous_state.as_ref().is_some_and(was_told) {
        return Ok(Err(format!("The alarm {name} was in ALARM before.")));
    }
    Ok(Ok(Fired {
        account: required("account", event.account)?,
        region: required("region", event.region)?,
        alarm: FiredAlarm {
            name,
            at: state.timestamp.format(RFC_3339).to_string(),
        },
    }))
}

/// Who suppresses the actions of a composite alarm: an alarm, or the time before or after it
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-suppression.html>).
fn suppressed_by(state: &State) -> Option<&str> {
    let by = state.actions_suppressed_by.as_deref();
    by.filter(|by| !by.is_empty())
}

fn required<T>(key: &str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::InvalidEvent(format!("`{key}`: missing")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// An alarm that fired, as CloudWatch tells of it.
    pub(crate) fn fired() -> Value {
        json!({
            "version": "0", "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
            "detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch",
            "account": "123456789012", "time": "2026-01-11T17:04:40Z", "region": "us-east-1",
            "resources": ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:demo-5xx"],
            "detail": {
                "alarmName": "demo-5xx",
                "configuration": {"description": "Too many errors", "metrics": []},
                "previousState": {"reason": "quiet", "timestamp": "2026-01-11T17:00:00.000+0000", "value": "OK"},
                "state": {"reason": "loud", "reasonData": "{}", "timestamp": "2026-01-11T17:04:40.985+0000", "value": "ALARM"}
            }
        })
    }

    #[test]
    fn an_alarm_that_fired_is_read_with_its_time_in_utc() {
        let fired = read(fired()).unwrap().unwrap();
        assert_eq!(fired.alarm.name, "demo-5xx");
        assert_eq!(fired.alarm.at, "2026-01-11T17:04:40.985Z");

        let mut elsewhere = self::fired();
        elsewhere["detail"]["state"]["timestamp"] = json!("2026-01-11T19:04:40+02:00");
        let fired = read(elsewhere).unwrap().unwrap();
        assert_eq!(fired.alarm.at, "2026-01-11T17:04:40Z");
    }

    #[test]
    fn an_alarm_of_which_little_is_told_is_read() {
        let mut event = fired();
        let detail = event["detail"].as_object_mut().unwrap();
        detail.remove("previousState");
        detail.remove("configuration");
        assert!(read(event).unwrap().is_ok());
    }

    /// As CloudWatch tells of a composite alarm in a maintenance window, and after it
    /// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-suppression.html>).
    #[test]
    fn an_alarm_whose_actions_are_suppressed_fires_when_they_are_so_no_longer() {
        let suppressed = |mut event: Value, state: &str| {
            let state = &mut event["detail"][state];
            state["actionsSuppressedBy"] = json!("WaitPeriod");
            state["actionsSuppressedReason"] = json!("Actions suppressed by WaitPeriod");
            event
        };
        let mut still = fired();
        still["detail"]["previousState"]["value"] = json!("ALARM");
        for event in [
            suppressed(fired(), "state"),
            suppressed(suppressed(still.clone(), "state"), "previousState"),
        ] {
            let ignored = read(event).unwrap().unwrap_err();
            assert!(ignored.contains("suppressed by WaitPeriod"), "{ignored}");
        }
        let no_longer = suppressed(still, "previousState");
        assert_eq!(read(no_longer).unwrap().unwrap().alarm.name, "demo-5xx");
    }

    #[test]
    fn everything_else_is_ignored_with_a_reason() {
        let with = |pointer: &str, value: Value| {
            let mut event = fired();
            *event.pointer_mut(pointer).unwrap() = value;
            event
        };
        for (event, reason) in [
            (with("/detail/state/value", json!("OK")), "is OK"),
            (
                with("/detail/state/value", json!("INSUFFICIENT_DATA")),
                "too little data",
            ),
            (
                with("/detail/previousState/value", json!("ALARM")),
                "was in ALARM before",
            ),
            (
                with(
                    "/detail-type",
                    json!("CloudWatch Alarm Contributor State Change"),
                ),
                "Contributor",
            ),
            (with("/source", json!("aws.ec2")), "aws.ec2"),
        ] {
            let ignored = read(event).unwrap().unwrap_err();
            assert!(ignored.contains(reason), "{ignored}");
        }
    }

    #[test]
    fn an_event_without_what_an_alarm_has_names_the_field() {
        let mut nameless = fired();
        nameless["detail"]["alarmName"] = json!(null);
        let mut timeless = fired();
        timeless["detail"]["state"]["timestamp"] = json!("yesterday");
        let without = |pointer: &str, key: &str| {
            let mut event = fired();
            let parent = event.pointer_mut(pointer).unwrap();
            parent.as_object_mut().unwrap().remove(key);
            event
        };
        for (event, field) in [
            (json!({}), "`detail-type`"),
            (without("", "source"), "`source`"),
            (without("", "account"), "`account`"),
            (without("", "region"), "`region`"),
            (without("", "detail"), "`detail`"),
            (without("/detail", "state"), "`detail.state`"),
            (nameless, "detail.alarmName"),
            (timeless, "detail.state.timestamp"),
        ] {
            let failure = read(event).unwrap_err();
            assert_eq!(<&str>::from(&failure), "InvalidEvent");
            assert!(failure.to_string().contains(field), "{failure}");
        }
    }
}
