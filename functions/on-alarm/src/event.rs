//! CloudWatch's event about an alarm
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html>).

use crate::failure::Failure;
use aws_smithy_types::date_time::{DateTime, Format};
use bluegreen_contract::{FiredAlarm, InvalidInput, parse};
use serde::Deserialize;
use serde_json::Value;

/// What EventBridge delivers. AWS adds keys over time, so unknown ones are no error here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope {
    source: String,
    detail_type: String,
    account: String,
    region: String,
    #[serde(default)]
    detail: Detail,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Detail {
    alarm_name: Option<String>,
    state: State,
    previous_state: State,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct State {
    value: Option<String>,
    timestamp: Option<String>,
}

/// An alarm that went into ALARM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fired {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) alarm: FiredAlarm,
}

/// Reads the event; `Err` holds a sentence about an event of an alarm that did not just fire.
///
/// # Errors
/// `InvalidEvent` names the field.
pub(crate) fn read(event: Value) -> Result<Result<Fired, String>, Failure> {
    let envelope: Envelope =
        parse(event).map_err(|InvalidInput(problem)| Failure::InvalidEvent(problem))?;
    if (envelope.source.as_str(), envelope.detail_type.as_str())
        != ("aws.cloudwatch", "CloudWatch Alarm State Change")
    {
        return Ok(Err(format!(
            "{} from {} is no CloudWatch Alarm State Change.",
            envelope.detail_type, envelope.source
        )));
    }
    let detail = envelope.detail;
    let name = required("alarmName", detail.alarm_name)?;
    let state = required("state.value", detail.state.value)?;
    if state != "ALARM" {
        return Ok(Err(format!("The alarm {name} is {state}, not ALARM.")));
    }
    if detail.previous_state.value.as_deref() == Some("ALARM") {
        return Ok(Err(format!("The alarm {name} was in ALARM before.")));
    }
    let timestamp = required("state.timestamp", detail.state.timestamp)?;
    Ok(Ok(Fired {
        account: envelope.account,
        region: envelope.region,
        alarm: FiredAlarm {
            name,
            at: in_utc(&timestamp)?,
        },
    }))
}

/// CloudWatch writes its offset without a colon, e.g. `2026-01-31T12:00:00.123+0000`.
fn in_utc(timestamp: &str) -> Result<String, Failure> {
    let invalid = || {
        Failure::InvalidEvent(format!(
            "`detail.state.timestamp`: `{timestamp}` is no time"
        ))
    };
    let length = timestamp.len();
    let spelt = match timestamp.get(length.saturating_sub(5)..) {
        Some(offset) if offset.starts_with(['+', '-']) && !offset.contains(':') => {
            format!("{}:{}", &timestamp[..length - 2], &timestamp[length - 2..])
        }
        _ => timestamp.to_owned(),
    };
    let time = DateTime::from_str(&spelt, Format::DateTimeWithOffset).map_err(|_| invalid())?;
    time.fmt(Format::DateTime).map_err(|_| invalid())
}

fn required(key: &str, value: Option<String>) -> Result<String, Failure> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Failure::InvalidEvent(format!("`detail.{key}`: missing or empty")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A metric alarm that fires, as CloudWatch tells of it.
    pub(crate) fn fired() -> Value {
        json!({
            "version": "0", "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
            "detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch",
            "account": "123456789012", "time": "2026-01-31T12:00:01Z", "region": "us-east-1",
            "resources": ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:demo-5xx"],
            "detail": {
                "alarmName": "demo-5xx",
                "configuration": {"metrics": []},
                "previousState": {"value": "OK", "timestamp": "2026-01-31T11:00:00.000+0000"},
                "state": {
                    "value": "ALARM", "reason": "Threshold Crossed", "reasonData": "{}",
                    "timestamp": "2026-01-31T12:00:00.123+0000"
                }
            }
        })
    }

    #[test]
    fn an_alarm_that_fires_is_read_with_its_time_in_utc() {
        let read = read(fired()).unwrap().unwrap();
        assert_eq!(read.alarm.name, "demo-5xx");
        assert_eq!(read.alarm.at, "2026-01-31T12:00:00.123Z");
        for (told, utc) in [
            ("2026-01-31T12:00:00.000+0000", "2026-01-31T12:00:00Z"),
            ("2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ] {
            assert_eq!(in_utc(told).unwrap(), utc, "{told}");
        }
    }

    #[test]
    fn every_other_change_is_ignored_with_a_reason() {
        let with = |pointer: &str, value: &str| {
            let mut event = fired();
            *event.pointer_mut(pointer).unwrap() = json!(value);
            event
        };
        for (event, reason) in [
            (with("/detail/state/value", "OK"), "is OK"),
            (
                with("/detail/state/value", "INSUFFICIENT_DATA"),
                "INSUFFICIENT_DATA",
            ),
            (with("/detail/previousState/value", "ALARM"), "before"),
            (
                with("/detail-type", "CloudWatch Alarm Contributor State Change"),
                "Contributor",
            ),
            (with("/source", "aws.ecr"), "aws.ecr"),
        ] {
            let ignored = read(event).unwrap().unwrap_err();
            assert!(ignored.contains(reason), "{ignored}");
        }
    }

    #[test]
    fn an_event_without_what_an_alarm_has_names_the_field() {
        for (pointer, value, field) in [
            ("/detail/alarmName", Value::Null, "detail.alarmName"),
            ("/detail/state/value", json!(""), "detail.state.value"),
            (
                "/detail/state/timestamp",
                json!("noon"),
                "detail.state.timestamp",
            ),
            ("/region", Value::Null, "region"),
        ] {
            let mut event = fired();
            *event.pointer_mut(pointer).unwrap() = value;
            let failure = read(event).unwrap_err();
            assert_eq!(<&str>::from(&failure), "InvalidEvent");
            assert!(failure.to_string().contains(field), "{failure}");
        }
    }
}
