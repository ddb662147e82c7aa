//! Clients that keep requesting a page while something happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

pub(crate) struct Visitors {
    leaving: Arc<AtomicBool>,
    visits: Vec<JoinHandle<BTreeMap<String, usize>>>,
}

impl Visitors {
    /// Some clients, each with a connection it keeps.
    pub(crate) fn of(url: &str) -> Self {
        let leaving = Arc::new(AtomicBool::new(false));
        let visits = (0..3)
            .map(|_| tokio::spawn(visit(url.to_owned(), leaving.clone())))
            .collect();
        Self { leaving, visits }
    }

    /// How often each answer was seen; failures are counted under what went wrong.
    pub(crate) async fn leave(self) -> BTreeMap<String, usize> {
        self.leaving.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for visit in self.visits {
            for (answer, count) in visit.await.unwrap() {
                *all.entry(answer).or_default() += count;
            }
        }
        all
    }
}

async fn visit(url: String, leaving: Arc<AtomicBool>) -> BTreeMap<String, usize> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut seen = BTreeMap::new();
    while !leaving.load(Ordering::Relaxed) {
        let answer = match client.get(&url).send().await {
            Ok(answer) if answer.status() == 200 => answer.text().await,
            Ok(answer) => Ok(answer.status().to_string()),
            Err(error) => Err(error),
        };
        let answer = answer.unwrap_or_else(|error| format!("{error:?}"));
        *seen.entry(answer).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seen
}
