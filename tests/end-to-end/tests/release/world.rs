//! The accounts that the stories are played in.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use anyhow::{Result, ensure};
use end_to_end::account::{Account, AccountOptions};
use end_to_end::permissions;
use end_to_end::processes::working_in;
use end_to_end::secrecy;
use libtest_mimic::Failed;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// How many times faster than AWS the local AWS replaces tasks and checks health.
const SPEED: f64 = 10.0;
/// So many seconds after a look a waiting state looks again.
const SOON: (&str, &str) = ("HeartbeatSeconds", "5");

/// Accounts, each opened when the first story needs it.
#[derive(Debug)]
pub(crate) struct World {
    runtime: Runtime,
    usual: OnceCell<Account>,
    patient: OnceCell<Account>,
    impatient: OnceCell<Account>,
    reticent: OnceCell<Account>,
    passing: OnceCell<Account>,
    unentitled: OnceCell<Account>,
}

impl Default for World {
    fn default() -> Self {
        // Without threads or files for a runtime there is nothing that could be tested.
        #[expect(clippy::expect_used)]
        let runtime = Runtime::new().expect("a runtime");
        Self {
            runtime,
            usual: OnceCell::new(),
            patient: OnceCell::new(),
            impatient: OnceCell::new(),
            reticent: OnceCell::new(),
            passing: OnceCell::new(),
            unentitled: OnceCell::new(),
        }
    }
}

impl World {
    /// Plays a story in an account.
    pub(crate) fn play<'a, Story>(
        &'a self,
        account: impl Future<Output = Result<&'a Account>>,
        story: Story,
    ) -> Result<(), Failed>
    where
        Story: AsyncFnOnce(&'a Account) -> Result<()>,
    {
        self.runtime
            .block_on(async { story(account.await?).await })
            .map_err(|error| Failed::from(format!("{error:#}")))
    }

    /// An account whose pipeline looks again soon where no event comes.
    pub(crate) async fn usual(&self) -> Result<&Account> {
        open(&self.usual, &[SOON], true).await
    }

    /// An account with the pipeline as it comes: a story there takes a minute longer for each event
    /// that it needs and that does not come.
    pub(crate) async fn patient(&self) -> Result<&Account> {
        open(&self.patient, &[], true).await
    }

    /// An account whose pipeline gives a migration ten seconds, and traces its executions.
    pub(crate) async fn impatient(&self) -> Result<&Account> {
        let parameters = [("MigrationTimeoutSeconds", "10"), ("Tracing", "true"), SOON];
        open(&self.impatient, &parameters, true).await
    }

    /// An account whose ECS leaves out what by its documentation it may, and the check of its answers
    /// would miss; and refuses what it may. Its circuit breaker acts in rolling updates only.
    pub(crate) async fn reticent(&self) -> Result<&Account> {
        self.reticent
            .get_or_try_init(async || {
                let mut account = Account::open(options(&[SOON], false)).await?;
                account.keep_to_the_documentation().await?;
                Ok(account)
            })
            .await
    }

    /// An account whose pipeline may come and go; nobody asks ECS for anything there.
    pub(crate) async fn passing(&self) -> Result<&Account> {
        open(&self.passing, &[], false).await
    }

    /// An account whose pipeline's roles may be changed. They allow the applications' tasks roles of the
    /// path `/shop/`, too.
    pub(crate) async fn unentitled(&self) -> Result<&Account> {
        open(&self.unentitled, &[("TaskRoles", "shop/*"), SOON], true).await
    }

    /// Closes the accounts; no process may survive them. Where the stories are complete, the accounts
    /// have told no password, and the roles allow no more than was asked for.
    pub(crate) fn close(self, is_complete: bool) -> Result<()> {
        let mut asked = BTreeMap::<_, BTreeSet<_>>::new();
        for account in [self.usual, self.patient, self.impatient, self.reticent] {
            let Some(account) = account.into_inner() else {
                continue;
            };
            if is_complete {
                for (caller, actions) in self.runtime.block_on(account.aws().asked())? {
                    asked.entry(caller).or_default().extend(actions);
                }
                let searched = self
                    .runtime
                    .block_on(secrecy::check(account.config(), ""))?;
                eprintln!("{searched}");
            }
            close(&self.runtime, account)?;
        }
        for account in [self.passing, self.unentitled] {
            if let Some(account) = account.into_inner() {
                close(&self.runtime, account)?;
            }
        }
        if is_complete {
            eprintln!("{}", permissions::check_both_ways(&asked)?);
        }
        Ok(())
    }
}

fn close(runtime: &Runtime, account: Account) -> Result<()> {
    let directories = account.directories();
    if let Some(checked) = runtime.block_on(account.close())? {
        eprintln!("{checked}");
    }
    let left = working_in(&directories)?;
    ensure!(left.is_empty(), "processes survived: {left:?}");
    Ok(())
}

async fn open<'a>(
    cell: &'a OnceCell<Account>,
    parameters: &[(&str, &str)],
    check_ecs_calls: bool,
) -> Result<&'a Account> {
    cell.get_or_try_init(|| Account::open(options(parameters, check_ecs_calls)))
        .await
}

fn options(parameters: &[(&str, &str)], check_ecs_calls: bool) -> AccountOptions {
    AccountOptions {
        speed: SPEED,
        check_ecs_calls,
        pipeline_parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}
