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

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sight {
    asked: Instant,
    heading: String,
}

/// What a [`Visitor`] has seen.
#[derive(Clone, Default)]
pub struct Visits {
    /// Answers by the page's heading.
    pub by_heading: BTreeMap<String, usize>,
    /// Requests without a proper answer.
    pub failed: usize,
    /// Why, of the first of them.
    pub failures: Vec<String>,
    /// The heading of the last answer.
    pub latest: String,
    sights: Vec<Sight>,
}

/// Without the single answers, of which there are hundreds.
impl std::fmt::Debug for Visits {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut visits = formatter.debug_struct("Visits");
        visits.field("by_heading", &self.by_heading);
        visits.field("failed", &self.failed);
        visits.field("failures", &self.failures);
        visits.field("latest", &self.latest).finish_non_exhaustive()
    }
}

impl Visits {
    /// Requests sent and ended, well or badly.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.by_heading.values().sum::<usize>() + self.failed
    }

    /// What part of the answers had this heading, of the time from the first answer with it to the
    /// last one with another, cut into so many stretches of equal length. Empty where no answer
    /// had another heading after the first with this: the change came at once.
    #[must_use]
    pub fn shares_while_mixed(&self, heading: &str, stretches: u32) -> Vec<f64> {
        let Some((first, last)) = self.mixed(heading) else {
            return Vec::new();
        };
        let length = (last - first) / stretches;
        let share = |stretch: u32| {
            let begin = first + length * stretch;
            let within = |sight: &&Sight| (begin..begin + length).contains(&sight.asked);
            let sights: Vec<_> = self.sights.iter().filter(within).collect();
            let found = sights.iter().filter(|it| it.heading == heading).count();
            found as f64 / sights.len().max(1) as f64
        };
        (0..stretches).map(share).collect()
    }

    /// How long both this heading and others were answered; zero where the change came at once.
    #[must_use]
    pub fn mixed_for(&self, heading: &str) -> Duration {
        let mixed = self.mixed(heading);
        mixed.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// From the first answer with this heading to the last one with another.
    fn mixed(&self, heading: &str) -> Option<(Instant, Instant)> {
        let asked = |is_it: bool| {
            let sights = self.sights.iter();
            let wanted = sights.filter(move |sight| (sight.heading == heading) == is_it);
            wanted.map(|sight| sight.asked)
        };
        let mixed = asked(true).min().zip(asked(false).max());
        mixed.filter(|(first, last)| first < last)
    }

    fn count(&mut self, asked: Instant, outcome: Result<String>) {
        match outcome {
            Ok(heading) => {
                self.sights.push(Sight {
                    asked,
                    heading: heading.clone(),
                });
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
    url: String,
    visits: Arc<Mutex<Visits>>,
    requests: TaskTracker,
    stop: CancellationToken,
}

impl Visitor {
    /// Starts to read the page at `url`.
    #[must_use]
    pub fn start(url: &str) -> Self {
        Self::start_at(url, PACE)
    }

    /// Starts to read the page at `url` once in so long.
    #[must_use]
    pub fn start_at(url: &str, pace: Duration) -> Self {
        let visits = Arc::new(Mutex::new(Visits::default()));
        let requests = TaskTracker::new();
        let stop = CancellationToken::new();
        requests.spawn(keep_reading(
            url.to_owned(),
            visits.clone(),
            requests.clone(),
            stop.clone(),
            pace,
        ));
        Self {
            url: url.to_owned(),
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

    /// Waits for the answers to the requests under way, sends a last one, and tells all. What is seen
    /// latest was asked for after all that happened before this call.
    pub async fn leave(self) -> Visits {
        self.stop.cancel();
        self.requests.close();
        self.requests.wait().await;
        visit(&reqwest::Client::new(), &self.url, &self.visits).await;
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
    pace: Duration,
) {
    let client = reqwest::Client::new();
    let mut ticks = tokio::time::interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let (client, url, visits) = (client.clone(), url.clone(), visits.clone());
        requests.spawn(async move { visit(&client, &url, &visits).await });
    }
}

async fn visit(client: &reqwest::Client, url: &str, visits: &Mutex<Visits>) {
    let asked = Instant::now();
    let outcome = heading(client, url).await;
    lock(visits).count(asked, outcome);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers a second apart: `a` or `b`.
    fn seen(headings: &str) -> Visits {
        let mut visits = Visits::default();
        let begun = Instant::now();
        for (second, heading) in (0..).zip(headings.chars()) {
            let asked = begun + Duration::from_secs(second);
            visits.count(asked, Ok(heading.to_string()));
        }
        visits
    }

    #[test]
    fn the_mix_lasts_from_the_first_of_the_new_to_the_last_of_the_old() {
        assert_eq!(seen("aabab").mixed_for("b"), Duration::from_secs(1));
        assert_eq!(seen("aabb").mixed_for("b"), Duration::ZERO);
        assert_eq!(seen("aa").mixed_for("b"), Duration::ZERO);
    }

    #[test]
    fn the_share_of_the_new_is_told_by_stretches_of_that_time() {
        let shares = seen("aabaaabbabbab").shares_while_mixed("b", 3);
        assert_eq!(shares, [1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0]);
        assert!(seen("aabb").shares_while_mixed("b", 3).is_empty());
    }
}
