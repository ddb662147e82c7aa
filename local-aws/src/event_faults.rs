//! Deliveries of events that go wrong on demand, as tests order them.
//!
//! ```no_run
//! # async fn story(aws: local_aws::client::LocalAws) -> anyhow::Result<()> {
//! let pushes = serde_json::json!({"source": ["aws.ecr"]});
//! let fault = aws.events().matching(pushes).deliver_twice(1).await?;
//! // … push an image, and see that it is released once …
//! assert_eq!(fault.struck().await?, 1);
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// Every rule, and every target.
const ANY: &str = "*";

/// The events of a local AWS. Made by [`LocalAws::events`](crate::client::LocalAws::events).
#[derive(Clone, Debug)]
pub struct Events<'a> {
    http: &'a reqwest::Client,
    endpoint: &'a str,
}

/// The events that match a pattern.
#[derive(Clone, Debug)]
pub struct MatchingEvents<'a> {
    events: Events<'a>,
    pattern: Value,
    rule: String,
    target: String,
}

/// What was ordered for the next events that match a pattern. It stays until it is lifted, or
/// has struck as often as was ordered; dropping this changes nothing.
#[derive(Clone, Debug)]
pub struct EventFault<'a> {
    events: Events<'a>,
    id: String,
}

#[derive(Deserialize)]
struct Described {
    id: String,
    struck: usize,
}

impl<'a> Events<'a> {
    pub(crate) fn new(http: &'a reqwest::Client, endpoint: &'a str) -> Self {
        Self { http, endpoint }
    }

    /// The events that match `pattern`, an event pattern of EventBridge. It sees every event,
    /// users' and AWS's, on every bus.
    pub fn matching(self, pattern: Value) -> MatchingEvents<'a> {
        MatchingEvents {
            events: self,
            pattern,
            rule: ANY.to_owned(),
            target: ANY.to_owned(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/_local/events/faults{path}", self.endpoint)
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Described> {
        let answer = self.http.post(self.url(path)).json(body).send().await?;
        if !answer.status().is_success() {
            bail!("the local AWS refused: {}", answer.text().await?);
        }
        Ok(answer.json().await?)
    }
}

impl<'a> MatchingEvents<'a> {
    /// Only where they go to this target: its ARN, or what that ends with behind a colon, such as
    /// a function's or a queue's name; with the wildcards `*` and `?`. Other targets get the events
    /// as ever.
    pub fn for_target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Only where the rule of this name, with wildcards, sends them.
    pub fn by_rule(mut self, rule: &str) -> Self {
        rule.clone_into(&mut self.rule);
        self
    }

    /// The next `times` of them are delivered twice, with the same id.
    pub async fn deliver_twice(self, times: usize) -> anyhow::Result<EventFault<'a>> {
        self.order("TWICE", times, Duration::ZERO).await
    }

    /// The next `times` of them are delivered `by` later, which passes at the pace of the local
    /// clock, as all delays of AWS.
    pub async fn deliver_late(self, times: usize, by: Duration) -> anyhow::Result<EventFault<'a>> {
        self.order("LATE", times, by).await
    }

    /// The next of them is held until the one behind it has been delivered, `times` times.
    pub async fn deliver_out_of_order(self, times: usize) -> anyhow::Result<EventFault<'a>> {
        self.order("OUT_OF_ORDER", times, Duration::ZERO).await
    }

    /// The next `times` of them are lost.
    pub async fn lose(self, times: usize) -> anyhow::Result<EventFault<'a>> {
        self.order("NEVER", times, Duration::ZERO).await
    }

    async fn order(
        self,
        deliver: &str,
        times: usize,
        late_by: Duration,
    ) -> anyhow::Result<EventFault<'a>> {
        let order = json!({
            "pattern": self.pattern,
            "rule": self.rule,
            "target": self.target,
            "deliver": deliver,
            "times": times,
            "seconds": late_by.as_secs_f64(),
        });
        let id = self.events.post("", &order).await?.id;
        Ok(EventFault {
            events: self.events,
            id,
        })
    }
}

impl EventFault<'_> {
    /// How many events it has struck. A test asserts this, so that it cannot pass without the
    /// fault it is about.
    pub async fn struck(&self) -> anyhow::Result<usize> {
        let answer = self.events.http.get(self.events.url("")).send().await?;
        let faults: Vec<Described> = answer.error_for_status()?.json().await?;
        let this = faults.iter().find(|fault| fault.id == self.id);
        Ok(this.context("the fault has been lifted")?.struck)
    }

    /// Ends it, and lets the event go that it may hold. Answers how many events it has struck.
    pub async fn lift(self) -> anyhow::Result<usize> {
        let lifted = self.events.post("/lift", &json!({"id": self.id})).await?;
        Ok(lifted.struck)
    }
}
