//! The accounts that the stories are played in.

use std::future::Future;

use anyhow::{Result, ensure};
use end_to_end::account::{Account, AccountOptions};
use end_to_end::processes::working_in;
use libtest_mimic::Failed;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// How many times faster than AWS the local AWS replaces tasks and checks health.
const SPEED: f64 = 10.0;

/// Accounts, each opened when the first story needs it.
#[derive(Debug)]
pub(crate) struct World {
    runtime: Runtime,
    usual: OnceCell<Account>,
    impatient: OnceCell<Account>,
}

impl Default for World {
    fn default() -> Self {
        // Without threads or files for a runtime there is nothing that could be tested.
        #[expect(clippy::expect_used)]
        let runtime = Runtime::new().expect("a runtime");
        Self {
            runtime,
            usual: OnceCell::new(),
            impatient: OnceCell::new(),
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

    /// An account with the pipeline as it comes.
    pub(crate) async fn usual(&self) -> Result<&Account> {
        open(&self.usual, &[]).await
    }

    /// An account whose pipeline gives a migration ten seconds.
    pub(crate) async fn impatient(&self) -> Result<&Account> {
        open(&self.impatient, &[("MigrationTimeoutSeconds", "10")]).await
    }

    /// Closes the accounts; no process may survive them.
    pub(crate) fn close(self) -> Result<()> {
        for account in [self.usual, self.impatient] {
            if let Some(account) = account.into_inner() {
                let directories = account.directories();
                if let Some(checked) = self.runtime.block_on(account.close())? {
                    eprintln!("{checked}");
                }
                let left = working_in(&directories)?;
                ensure!(left.is_empty(), "processes survived: {left:?}");
            }
        }
        Ok(())
    }
}

async fn open<'a>(cell: &'a OnceCell<Account>, parameters: &[(&str, &str)]) -> Result<&'a Account> {
    cell.get_or_try_init(|| {
        Account::open(AccountOptions {
            speed: SPEED,
            check_ecs_calls: true,
            pipeline_parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        })
    })
    .await
}
