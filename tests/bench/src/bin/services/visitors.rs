//! Visitors that keep asking for a page while the service behind it is deployed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is remembered of failures; their number is kept exactly.
const FAILURES_KEPT: usize = 5;

/// What all visitors have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visits {
    pub(crate) seen: usize,
    pub(crate) failed: usize,
    /// Why, of the first of them.
    pub(crate) failures: Vec<String>,
    /// The newest page of each visitor.
    latest: Vec<String>,
}

/// One for each page.
pub(crate) struct Visitors {
    visits: Arc<Mutex<Visits>>,
    leaving: watch::Sender<bool>,
    visitors: JoinSet<()>,
}

impl Visitors {
    /// Lets a visitor ask for each of the pages, again and again at this pace.
    pub(crate) fn start(urls: &[String], pace: Duration) -> Self {
        let visits = Arc::new(Mutex::new(Visits {
            latest: vec![String::new(); urls.len()],
            ..Visits::default()
        }));
        let leaving = watch::Sender::new(false);
        let mut visitors = JoinSet::new();
        for (position, url) in urls.iter().enumerate() {
            // Not all at the same moment.
            let first = pace.mul_f64(position as f64 / urls.len() as f64);
            let (url, visits) = (url.clone(), Arc::clone(&visits));
            let mut leaving = leaving.subscribe();
            visitors.spawn(async move {
                let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
                let client = match client.build() {
                    Ok(client) => client,
                    Err(error) => return lock(&visits).count(position, Err(error.into())),
                };
                let mut ticks = tokio::time::interval_at((Instant::now() + first).into(), pace);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        _ = ticks.tick() => {}
                        _ = leaving.wait_for(|leaving| *leaving) => return,
                    }
                    let page = read(&client, &url).await;
                    lock(&visits).count(position, page);
                }
            });
        }
        Self {
            visits,
            leaving,
            visitors,
        }
    }

    /// Waits until the newest page of every visitor is this one.
    ///
    /// # Errors
    /// Some do not see it within a minute.
    pub(crate) async fn all_see(&self, page: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let others = {
                let visits = lock(&self.visits);
                let latest = visits.latest.iter();
                latest.filter(|latest| *latest != page).count()
            };
            if others == 0 {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{others} listeners do not answer {page:?}; {:?}",
                lock(&self.visits).failures
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sends no further request, waits for the answers to those under way, and tells all.
    pub(crate) async fn leave(mut self) -> Result<Visits> {
        self.leaving.send_replace(true);
        while let Some(left) = self.visitors.join_next().await {
            left.context("a visitor was lost")?;
        }
        Ok(lock(&self.visits).clone())
    }
}

impl Visits {
    fn count(&mut self, visitor: usize, page: Result<String>) {
        self.seen += 1;
        match page {
            Ok(page) => self.latest[visitor] = page,
            Err(error) => {
                self.failed += 1;
                if self.failures.len() < FAILURES_KEPT {
                    self.failures.push(format!("{error:#}"));
                }
            }
        }
    }
}

async fn read(client: &reqwest::Client, url: &str) -> Result<String> {
    let answer = client.get(url).send().await?;
    let status = answer.status();
    let page = answer.text().await?;
    ensure!(status.is_success(), "{url} answered {status}: {page}");
    Ok(page)
}

fn lock(visits: &Mutex<Visits>) -> MutexGuard<'_, Visits> {
    visits.lock().unwrap_or_else(PoisonError::into_inner)
}
