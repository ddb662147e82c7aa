//! The way of our own parts' events into the account's event bus, which is moto's.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// moto is asked again after this time when it did not take an event.
const PAUSE: Duration = Duration::from_millis(200);

/// An event of an AWS service.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event {
    pub(crate) account: String,
    pub(crate) region: String,
    /// `aws.ecs`
    pub(crate) source: &'static str,
    pub(crate) detail_type: &'static str,
    /// ARNs.
    pub(crate) resources: Vec<String>,
    pub(crate) detail: Value,
    /// When it happened, in seconds since the epoch.
    pub(crate) moment: f64,
}

#[derive(Debug)]
enum Entry {
    Event(Box<Event>),
    Flush(oneshot::Sender<()>),
}

/// Takes events at once and delivers them one after the other, in the order in which they came.
/// Clones share one queue.
#[derive(Clone, Debug)]
pub struct EventBus {
    queue: mpsc::UnboundedSender<Entry>,
}

impl EventBus {
    /// The event bus of the moto at `authority`, which is `host:port`.
    pub(crate) fn of_moto(authority: &str) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{authority}/_glue/events");
        let (queue, entries) = mpsc::unbounded_channel();
        tokio::spawn(deliver(http, url, entries));
        Ok(Self { queue })
    }

    pub(crate) fn put(&self, event: Event) {
        // Nobody takes events any more once this process ends.
        self.queue.send(Entry::Event(Box::new(event))).ok();
    }

    /// Resolves when everything put so far has been delivered.
    pub(crate) async fn flush(&self) {
        let (flushed, wait) = oneshot::channel();
        if self.queue.send(Entry::Flush(flushed)).is_ok() {
            wait.await.ok();
        }
    }
}

async fn deliver(http: reqwest::Client, url: String, mut entries: mpsc::UnboundedReceiver<Entry>) {
    while let Some(entry) = entries.recv().await {
        match entry {
            Entry::Event(event) => deliver_one(&http, &url, &event).await,
            Entry::Flush(flushed) => {
                flushed.send(()).ok();
            }
        }
    }
}

/// Tries until moto has taken the event: a test that waits for it would wait for ever.
async fn deliver_one(http: &reqwest::Client, url: &str, event: &Event) {
    loop {
        let sent = http.post(url).json(&[event]).send().await;
        match sent.and_then(reqwest::Response::error_for_status) {
            Ok(_) => return,
            Err(error) => tracing::warn!("an event was not taken: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What has been put into a bus.
    #[derive(Debug)]
    pub(crate) struct Put(mpsc::UnboundedReceiver<Entry>);

    impl Put {
        /// A bus of which a test takes the events.
        pub(crate) fn bus() -> (EventBus, Self) {
            let (queue, entries) = mpsc::unbounded_channel();
            (EventBus { queue }, Self(entries))
        }

        /// The next event.
        pub(crate) async fn next(&mut self) -> Event {
            loop {
                if let Some(Entry::Event(event)) = self.0.recv().await {
                    return *event;
                }
            }
        }
    }
}
