//! Which release an execution is, and its place among the others of its stack.

use aws_smithy_types::date_time::{DateTime, Format};
use bluegreen_contract::{
    Execution, ExecutionInput, InvalidInput, Release, RequestedAction, parse,
};
use serde_json::Value;

/// Who has asked where the input does not say it.
const SOMEBODY: &str = "a person";

/// The execution's input. What is null was not given.
pub(crate) fn request(mut request: Value) -> Result<ExecutionInput, InvalidInput> {
    if let Value::Object(fields) = &mut request {
        fields.retain(|_, value| !value.is_null());
    }
    let request: ExecutionInput = parse(request)?;
    request.validate()?;
    Ok(request)
}

/// The release of the execution that was started at `started_at`, RFC 3339 in UTC. Its image is not
/// known yet.
pub(crate) fn release(
    request: &ExecutionInput,
    execution: &Execution,
    started_at: &str,
) -> Result<Release, InvalidInput> {
    let start = time(started_at).ok_or_else(|| {
        InvalidInput(format!(
            "`startedAt`: `{started_at}` is not a time in UTC such as 2026-01-31T12:00:00.000Z"
        ))
    })?;
    let pushed = request.pushed_at.as_deref().and_then(time);
    let started_by = request.started_by.as_deref().unwrap_or(SOMEBODY);
    Ok(Release {
        stack: request.stack.clone(),
        action: request.action,
        repository: None,
        tag: request.tag.clone(),
        digest: None,
        image: None,
        images_before: vec![],
        commit: None,
        commit_url: None,
        record: format!("release#{started_at}#{}", execution.name()),
        order: match request.action {
            // It gives way to every release.
            RequestedAction::Contract => format!("0#{started_at}"),
            _ => format!(
                "{}#{started_at}",
                second(pushed.unwrap_or(start).min(start))
            ),
        },
        started_at: started_at.to_owned(),
        pushed_at: request.pushed_at.clone(),
        started_by: started_by.to_owned(),
        to: request.to.clone(),
        contracts: None,
        alarm: request.alarm.clone(),
        force: request.force,
        ignore_alarms: request.ignore_alarms,
    })
}

/// Milliseconds since 1970 of an RFC 3339 time in UTC.
pub(crate) fn millis(text: &str) -> Option<i64> {
    time(text)?.to_millis().ok()
}

fn time(text: &str) -> Option<DateTime> {
    DateTime::from_str(text, Format::DateTime).ok()
}

/// As `2026-01-31T12:00:00`.
fn second(time: DateTime) -> String {
    let whole = DateTime::from_secs(time.secs()).fmt(Format::DateTime);
    whole.unwrap_or_default().trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const START: &str = "2026-01-31T12:00:05.120Z";

    fn of(fields: Value) -> Release {
        let execution = Execution {
            id: "arn:aws:states:us-east-1:123456789012:execution:deploy:demo-v2-1".to_owned(),
            redrives: 0,
        };
        release(&request(fields).unwrap(), &execution, START).unwrap()
    }

    fn order(pushed_at: Option<&str>) -> String {
        of(json!({"stack": "demo", "tag": "v2", "pushedAt": pushed_at})).order
    }

    #[test]
    fn a_push_has_the_second_of_its_event_and_any_other_release_that_of_its_start() {
        assert_eq!(
            order(Some("2026-01-31T11:59:58Z")),
            format!("2026-01-31T11:59:58#{START}")
        );
        assert_eq!(
            order(Some("2026-01-31T11:59:58.900Z")),
            format!("2026-01-31T11:59:58#{START}")
        );
        assert_eq!(order(None), format!("2026-01-31T12:00:05#{START}"));
    }

    #[test]
    fn a_contract_command_comes_before_every_release() {
        let contract = of(json!({"stack": "demo", "action": "contract"})).order;
        assert!(contract < order(Some("2018-01-01T00:00:00Z")), "{contract}");
        assert!(contract.ends_with(START), "{contract}");
    }

    #[test]
    fn no_push_has_a_time_to_come() {
        for later in ["2026-01-31T12:00:05.500Z", "2027-01-01T00:00:00Z"] {
            assert_eq!(order(Some(later)), order(None));
            let told = of(json!({"stack": "demo", "tag": "v2", "pushedAt": later})).pushed_at;
            assert_eq!(told.as_deref(), Some(later));
        }
    }

    #[test]
    fn the_record_has_the_start_and_the_name_of_the_execution() {
        let release = of(json!({"stack": "demo", "tag": "v2"}));
        assert_eq!(release.record, format!("release#{START}#demo-v2-1"));
        assert_eq!(release.started_at, START);
    }

    #[test]
    fn who_has_asked_is_a_person_unless_the_input_says_it() {
        let asked = json!({"stack": "demo", "tag": "v2"});
        assert_eq!(of(asked).started_by, "a person");
        let asked = json!({"stack": "demo", "tag": "v2", "startedBy": "push of demo:v2"});
        assert_eq!(of(asked).started_by, "push of demo:v2");
    }

    #[test]
    fn what_is_null_was_not_given() {
        let asked = json!({
            "stack": "demo", "tag": "v2", "action": null, "force": null, "alarm": null,
            "digest": null, "migrate": null, "startedBy": null
        });
        assert_eq!(of(asked), of(json!({"stack": "demo", "tag": "v2"})));
    }

    #[test]
    fn a_start_that_is_no_time_is_named() {
        let execution = Execution {
            id: "arn".to_owned(),
            redrives: 0,
        };
        let asked = request(json!({"stack": "demo", "tag": "v2"})).unwrap();
        let problem = release(&asked, &execution, "now").unwrap_err().to_string();
        assert!(problem.contains("`startedAt`: `now`"), "{problem}");
    }
}
