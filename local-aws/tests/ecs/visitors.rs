//! Clients that keep requesting a page while something happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct Visitors {
    leaving: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    visits: Vec<JoinHandle<Vec<Visit>>>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
    /// The page, or what went wrong.
    pub(crate) answer: String,
}

/// All requests in the order in which they were answered.
pub(crate) struct Visits(Vec<Visit>);

impl Visitors {
    /// Some clients, each with a connection it keeps.
    pub(crate) fn of(url: &str) -> Self {
        let leaving = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let visits = (0..3)
            .map(|_| tokio::spawn(visit(url.to_owned(), leaving.clone(), answered.clone())))
            .collect();
        Self {
            leaving,
            answered,
            visits,
        }
    }

    /// Waits until so many more requests have been answered.
    pub(crate) async fn stay_for(&self, requests: usize) {
        let enough = self.answered.load(Ordering::Relaxed) + requests;
        while self.answered.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// How often each answer was seen; failures are counted under what went wrong.
    pub(crate) async fn leave(self) -> BTreeMap<String, usize> {
        self.report().await.counts()
    }

    /// What they have seen, and when. Each asks once more, after all that a test waited for.
    pub(crate) async fn report(self) -> Visits {
        self.leaving.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for visit in self.visits {
            all.extend(visit.await.unwrap());
        }
        all.sort_by_key(|visit| visit.answered);
        Visits(all)
    }
}

impl Visits {
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for visit in &self.0 {
            *counts.entry(visit.answer.clone()).or_default() += 1;
        }
        counts
    }

    /// Those that were asked and answered between two moments.
    pub(crate) fn between(&self, from: Instant, until: Instant) -> Self {
        let within = |visit: &&Visit| visit.asked >= from && visit.answered <= until;
        Self(self.0.iter().filter(within).cloned().collect())
    }

    /// The part of the answers that were this one; NaN of none.
    pub(crate) fn share(&self, answer: &str) -> f64 {
        let count = self.0.iter().filter(|visit| visit.answer == answer).count();
        count as f64 / self.0.len() as f64
    }

    /// The moments of the first and of the last of these answers.
    pub(crate) fn first(&self, answer: &str) -> Option<Instant> {
        let mut visits = self.0.iter();
        let first = visits.find(|visit| visit.answer == answer);
        first.map(|visit| visit.answered)
    }

    pub(crate) fn last(&self, answer: &str) -> Option<Instant> {
        let mut visits = self.0.iter().rev();
        let last = visits.find(|visit| visit.answer == answer);
        last.map(|visit| visit.asked)
    }
}

async fn visit(url: String, leaving: Arc<AtomicBool>, answered: Arc<AtomicUsize>) -> Vec<Visit> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut seen = Vec::new();
    loop {
        let last = leaving.load(Ordering::Relaxed);
        let asked = Instant::now();
        let answer = match client.get(&url).send().await {
            Ok(answer) if answer.status() == 200 => answer.text().await,
            Ok(answer) => Ok(answer.status().to_string()),
            Err(error) => Err(error),
        };
        let answer = answer.unwrap_or_else(|error| format!("{error:?}"));
        seen.push(Visit {
            asked,
            answered: Instant::now(),
            answer,
        });
        answered.fetch_add(1, Ordering::Relaxed);
        if last {
            return seen;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
