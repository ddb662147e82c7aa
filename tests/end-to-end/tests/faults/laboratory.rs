//! The account in which the cases are played, and its stacks, which serve one case after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use end_to_end::account::{Account, AccountOptions};
use libtest_mimic::Failed;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::machine::Machine;
use crate::matrix::{Case, Disturbance};
use crate::play;
use crate::stand::{Kind, Stand};

/// How many times faster than AWS the local AWS replaces tasks and checks health.
pub(crate) const SPEED: f64 = 20.0;
/// After so long a waiting state looks by itself: what is lost is found soon.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Laboratory {
    runtime: Runtime,
    pub(crate) machine: Machine,
    account: OnceCell<Account>,
    stands: AtomicUsize,
    idle: Mutex<BTreeMap<Kind, Vec<Stand>>>,
    /// Reads of ECS are behind for the whole account: one case at a time orders that.
    stale: tokio::sync::Mutex<()>,
    /// Held for writing by a case that no other may be played beside.
    alone: tokio::sync::RwLock<()>,
    results: Mutex<Results>,
}

/// What all cases have brought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    pub(crate) cases: usize,
    pub(crate) rules: usize,
    pub(crate) violations: usize,
    /// States that an execution has come to.
    pub(crate) states: BTreeSet<String>,
}

impl Laboratory {
    pub(crate) fn new(machine: Machine) -> Result<Self> {
        Ok(Self {
            runtime: Runtime::new()?,
            machine,
            account: OnceCell::new(),
            stands: AtomicUsize::new(0),
            idle: Mutex::default(),
            stale: tokio::sync::Mutex::default(),
            alone: tokio::sync::RwLock::default(),
            results: Mutex::default(),
        })
    }

    /// Plays a case on a stack that nothing else happens to.
    pub(crate) fn play(&self, case: &Case) -> Result<(), Failed> {
        let again = format!(
            "To play it alone: cargo test --workspace --test faults -- --exact {}",
            case.name()
        );
        let fail = |seen: String| {
            // At once, since the list of failures comes when the last case is over.
            eprintln!("{}: {seen}", case.name());
            Failed::from(format!("{seen}\n{again}"))
        };
        let played = self.runtime.block_on(self.play_on_a_stand(case));
        let checked = played.map_err(|error| fail(format!("{error:#}")))?;
        let violations = checked.violations.len();
        let mut results = lock(&self.results);
        results.cases += 1;
        results.rules += checked.rules;
        results.violations += violations;
        results.states.extend(checked.states);
        drop(results);
        match violations {
            0 => Ok(()),
            _ => Err(fail(checked.violations.join("\n"))),
        }
    }

    async fn play_on_a_stand(&self, case: &Case) -> Result<crate::rules::Checked> {
        let account = self.account.get_or_try_init(open).await?;
        let mut stand = match self.take_idle(case.kind) {
            Some(stand) => stand,
            None => {
                let number = self.stands.fetch_add(1, Ordering::Relaxed);
                let name = format!("{}{number}", crate::STACKS);
                let stand = Stand::create(account, name, case.kind).await;
                stand.context("no stack could be made for the case")?
            }
        };
        let disturbance = case.disturbed.as_ref().map(|(_, disturbance)| disturbance);
        let stale = match disturbance {
            Some(Disturbance::Stale) => Some(self.stale.lock().await),
            _ => None,
        };
        let (alone, beside) = match disturbance {
            Some(disturbance) if disturbance.is_played_alone() => {
                (Some(self.alone.write().await), None)
            }
            _ => (None, Some(self.alone.read().await)),
        };
        let checked = play::case(account, &self.machine, &mut stand, case).await?;
        drop((stale, alone, beside));
        // A stack that is not in order is nothing to begin another case with.
        if checked.violations.is_empty() {
            lock(&self.idle).entry(case.kind).or_default().push(stand);
        }
        Ok(checked)
    }

    fn take_idle(&self, kind: Kind) -> Option<Stand> {
        lock(&self.idle).get_mut(&kind)?.pop()
    }

    pub(crate) fn results(&self) -> Results {
        lock(&self.results).clone()
    }

    /// Closes the account; no process may survive it.
    pub(crate) fn close(self) -> Result<()> {
        let Some(account) = self.account.into_inner() else {
            return Ok(());
        };
        let mut directories = account.directories();
        let idle = self
            .idle
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        directories.extend(idle.values().flatten().map(Stand::directory));
        if let Some(checked) = self.runtime.block_on(account.close())? {
            eprintln!("{checked}");
        }
        let left = end_to_end::processes::working_in(&directories)?;
        ensure!(left.is_empty(), "processes survived: {left:?}");
        Ok(())
    }
}

async fn open() -> Result<Account> {
    // A migration that does not end is stopped while one looks on. The reconciler comes by once a
    // minute: it asks about every repository of the account.
    let parameters = [
        ("HeartbeatSeconds", HEARTBEAT.as_secs().to_string()),
        ("MigrationTimeoutSeconds", "30".to_owned()),
        ("ReconcileMinutes", format!("{SPEED}")),
    ];
    Account::open(AccountOptions {
        speed: SPEED,
        check_ecs_calls: true,
        pipeline_parameters: parameters
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
    })
    .await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
