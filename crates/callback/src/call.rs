use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use bluegreen_contract::{InvalidInput, parse};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An event of EventBridge whose detail is read by whoever knows it.
pub type Event = EventBridgeEvent<Value>;

/// What calls a function that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call<T> {
    /// A state of the machine, `{"token": "…", "asked": {…}}`: it goes on once the token is answered.
    Asked { token: String, asked: T },
    /// EventBridge: something changed that somebody may wait for.
    Told(Box<Event>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question<T> {
    token: String,
    asked: T,
}

impl<T: DeserializeOwned> Call<T> {
    /// Reads the payload with which Lambda calls.
    ///
    /// # Errors
    /// [`InvalidInput`] that names the field.
    pub fn parse(payload: Value) -> Result<Self, InvalidInput> {
        if payload.get("detail-type").is_some() {
            return parse(payload).map(Box::new).map(Call::Told);
        }
        let Question { token, asked } = parse(payload)?;
        Ok(Call::Asked { token, asked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Asked {
        task: String,
    }

    #[test]
    fn a_state_asks_with_its_token() {
        let call = Call::parse(json!({"token": "t", "asked": {"task": "arn"}})).unwrap();
        let asked = Asked {
            task: "arn".to_owned(),
        };
        let token = "t".to_owned();
        assert_eq!(call, Call::Asked { token, asked });
    }

    #[test]
    fn an_event_tells() {
        let event = json!({
            "version": "0", "id": "1", "detail-type": "ECS Task State Change", "source": "aws.ecs",
            "account": "123456789012", "time": "2026-01-31T12:00:00Z", "region": "us-east-1",
            "resources": ["arn"], "detail": {"taskArn": "arn"}
        });
        let Call::Told(event) = Call::<Asked>::parse(event).unwrap() else {
            panic!("an event is no question");
        };
        assert_eq!(event.detail_type, "ECS Task State Change");
        assert_eq!(event.detail, json!({"taskArn": "arn"}));
    }

    #[test]
    fn what_is_neither_is_refused_by_the_name_of_its_field() {
        for (payload, field) in [
            (json!({"asked": {"task": "arn"}}), "`token`"),
            (json!({"token": "t", "asked": {"task": 5}}), "`asked.task`"),
            (
                json!({"token": "t", "asked": {"task": "arn"}, "tsk": 1}),
                "`tsk`",
            ),
            (json!({"detail-type": "x", "detail": {}}), "`source`"),
            (json!(["t"]), "must be an object"),
        ] {
            let problem = Call::<Asked>::parse(payload).unwrap_err().to_string();
            assert!(problem.contains(field), "{problem}");
        }
    }
}
