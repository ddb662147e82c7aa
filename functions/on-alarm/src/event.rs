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
    detail: Detail,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    alarm_name: String,
    state: State,
    previous_state: Option<PreviousState>,
}

#[derive(Deserialize)]
struct State {
    value: String,
    timestamp: String,
}

#[derive(Deserialize)]
struct PreviousState {
    value: Option<String>,
}

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
    let envelope: Envelope =
        parse(event).map_err(|InvalidInput(problem)| Failure::InvalidEvent(problem))?;
    let kind = (envelope.source.as_str(), envelope.detail_type.as_str());
    if kind != ("aws.cloudwatch", "CloudWatch Alarm State Change") {
        return Ok(Err(format!(
            "{} from {} is no CloudWatch Alarm State Change.",
            envelope.detail_type, envelope.source
        )));
    }
    let Detail {
        alarm_name,
        state,
        previous_state,
    } = envelope.detail;
    if state.value != "ALARM" {
        return Ok(Err(format!("The alarm {alarm_name} is {}.", state.value)));
    }
    if previous_state.and_then(|state| state.value).as_deref() == Some("ALARM") {
        return Ok(Err(format!("The alarm {alarm_name} was in ALARM before.")));
    }
    Ok(Ok(Fired {
        account: envelope.account,
        region: envelope.region,
        alarm: FiredAlarm {
            name: alarm_name,
            at: in_utc(&state.timestamp)?,
        },
    }))
}

/// CloudWatch writes `2019-10-02T17:04:40.985+0000`; everybody else RFC 3339.
fn in_utc(timestamp: &str) -> Result<String, Failure> {
    let rfc_3339 = timestamp
        .strip_suffix("+0000")
        .map_or_else(|| timestamp.to_owned(), |local| format!("{local}Z"));
    DateTime::from_str(&rfc_3339, Format::DateTimeWithOffset)
        .ok()
        .and_then(|time| time.fmt(Format::DateTime).ok())
        .ok_or_else(|| {
            Failure::InvalidEvent(format!(
                "`detail.state.timestamp`: `{timestamp}` is no time"
            ))
        })
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
        assert_eq!(
            in_utc("2026-01-11T19:04:40+02:00").unwrap(),
            "2026-01-11T17:04:40Z"
        );
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
        for (event, field) in [
            (json!({}), "source"),
            (nameless, "detail.alarmName"),
            (timeless, "detail.state.timestamp"),
        ] {
            let failure = read(event).unwrap_err();
            assert_eq!(<&str>::from(&failure), "InvalidEvent");
            assert!(failure.to_string().contains(field), "{failure}");
        }
    }
}
