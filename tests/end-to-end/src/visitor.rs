//! Somebody who keeps reading a page of the application, as its users do during a deploy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Twenty requests a second.
const PACE: Duration = Duration::from_millis(50);
/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is remembered of failures; their number is kept exactly.
const FAILURES_KEPT: usize = 10;

/// What a [`Visitor`] has seen.
#[derive(Clone, Debug, Default)]
pub struct Visits {
    /// Answers by the page's heading.
    pub by_heading: BTreeMap<String, usize>,
    /// Requests without a proper answer.
    pub failed: usize,
    /// Why, of the first of them.
    pub failures: Vec<String>,
    /// The heading of the last answer.
    pub latest: String,
}

impl Visits {
    /// Requests sent and ended, well or badly.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.by_heading.values().sum::<usize>() + self.failed
    }

    fn count(&mut self, outcome: Result<String>) {
        match outcome {
            Ok(heading) => {
                self.latest.clone_from(&heading);
                *self.by_heading.entry(heading).or_default() += 1;
            }
            Err(error) => {
                self.failed += 1;
                if self.failures.len() < FAILURES_KEPT {
                    self.failures.push(format!("{error:#}"));
                }
            }
        }
    }
}

/// A steady stream of requests, each on its own: a slow answer holds up none of the next.
#[derive(Debug)]
pub struct Visitor {
    visits: Arc<Mutex<Visits>>,
    requests: TaskTracker,
    stop: CancellationToken,
}

impl Visitor {
    /// Starts to read the page at `url`.
    #[must_use]
    pub fn start(url: &str) -> Self {
        let visits = Arc::new(Mutex::new(Visits::default()));
        let requests = TaskTracker::new();
        let stop = CancellationToken::new();
        requests.spawn(keep_reading(
            url.to_owned(),
            visits.clone(),
            requests.clone(),
            stop.clone(),
        ));
        Self {
            visits,
            requests,
            stop,
        }
    }

    /// What was seen up to now.
    #[must_use]
    pub fn visits(&self) -> Visits {
        lock(&self.visits).clone()
    }

    /// Waits until the page has had this heading at least once.
    ///
    /// # Errors
    /// It did not within a minute.
    pub async fn sees(&self, heading: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !lock(&self.visits).by_heading.contains_key(heading) {
            ensure!(
                Instant::now() < deadline,
                "the page never said {heading}: {:?}",
                self.visits()
            );
            tokio::time::sleep(PACE).await;
        }
        Ok(())
    }

    /// Sends no further request, waits for the answers to those under way, and tells all.
    pub async fn leave(self) -> Visits {
        self.stop.cancel();
        self.requests.close();
        self.requests.wait().await;
        lock(&self.visits).clone()
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn keep_reading(
    url: String,
    visits: Arc<Mutex<Visits>>,
    requests: TaskTracker,
    stop: CancellationToken,
) {
    let client = reqwest::Client::new();
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let (client, url, visits) = (client.clone(), url.clone(), visits.clone());
        requests.spawn(async move {
            let outcome = heading(&client, &url).await;
            lock(&visits).count(outcome);
        });
    }
}

/// Reads a page and answers the text of its `<h1>`.
///
/// # Errors
/// No answer in time, another status than 200, or a page without a heading.
pub(crate) async fn heading(client: &reqwest::Client, url: &str) -> Result<String> {
    let answer = client.get(url).timeout(PATIENCE).send().await?;
    let status = answer.status();
    let page = answer.text().await?;
    ensure!(status.is_success(), "{url} answered {status}: {page}");
    let heading = page
        .split_once("<h1>")
        .and_then(|(_, rest)| rest.split_once("</h1>"))
        .map(|(heading, _)| heading.to_owned());
    heading.with_context(|| format!("{url} answered a page without a heading: {page}"))
}

fn lock(visits: &Mutex<Visits>) -> MutexGuard<'_, Visits> {
    visits.lock().unwrap_or_else(PoisonError::into_inner)
}
