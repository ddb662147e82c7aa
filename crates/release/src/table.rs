//! The table in DynamoDB.

use crate::attributes::item_of;
use crate::record::RELEASES;
use crate::search::{self, LAST, SEARCHES};
use crate::turn::TURN;
use crate::{
    Beginning, CallInProgress, End, Item, Record, Search, SeenTags, Serves, Transaction, Turn,
    rfc3339, transactions,
};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::AttributeValue;
use bluegreen_contract::{Command, Execution, Migrations, Release};
use bluegreen_runtime::{AwsRequestFailed, LambdaCall, failed, now};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const WRITE: &str = "dynamodb:TransactWriteItems";
/// How often a change is decided anew whose conditions do not hold any more, or that met another
/// one: every time somebody else has written.
const TRIES: u32 = 8;
/// The longest pause after the first try; it doubles.
const PAUSE: Duration = Duration::from_millis(40);
/// Records that one request reads.
const PAGE: i32 = 100;

/// The table of releases.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: String,
}

/// For how long records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub days: u32,
}

impl Retention {
    /// The days that the pipeline's parameter allows.
    #[cfg(feature = "line")]
    pub(crate) const DAYS: std::ops::RangeInclusive<u32> = 30..=3653;

    /// When a record that is written now may be forgotten, seconds since 1970.
    pub(crate) fn expiry(self, now: i64) -> i64 {
        now.div_euclid(1000) + i64::from(self.days) * 86_400
    }
}

/// Why a change was not written.
#[derive(Debug, thiserror::Error)]
pub enum TableFailure {
    #[error(transparent)]
    AwsRequestFailed(#[from] AwsRequestFailed),
    /// This try of the execution has not, or no longer, the turn of the stack.
    #[error(
        "The execution {execution} has not the turn of stack {stack}: it was redriven, or another release has taken its turn over. This call has changed nothing."
    )]
    ExecutionRedriven { execution: String, stack: String },
}

/// Why a call may not change anything.
#[derive(Debug, thiserror::Error)]
pub enum BeginFailure {
    #[error(transparent)]
    Table(#[from] TableFailure),
    #[error(transparent)]
    CallInProgress(#[from] CallInProgress),
}

/// Why the turn was not given back.
#[derive(Debug, thiserror::Error)]
pub enum EndFailure {
    #[error(transparent)]
    AwsRequestFailed(#[from] AwsRequestFailed),
    #[error(transparent)]
    CallInProgress(#[from] CallInProgress),
}

impl From<AwsRequestFailed> for BeginFailure {
    fn from(failure: AwsRequestFailed) -> Self {
        BeginFailure::Table(failure.into())
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Done,
    /// A condition does not hold.
    Refused,
}

impl Table {
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Who has the turn, who waits for it and what serves.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn turn(&self, stack: &str) -> Result<Turn, AwsRequestFailed> {
        let item = self.item(stack, TURN).await?;
        Ok(item.as_ref().map(Turn::from_item).unwrap_or_default())
    }

    /// The record with this key.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn record(&self, stack: &str, key: &str) -> Result<Option<Record>, AwsRequestFailed> {
        let item = self.item(stack, key).await?;
        Ok(item.as_ref().and_then(Record::from_item))
    }

    /// All records of a stack, the newest first.
    #[must_use]
    pub fn records(&self, stack: &str) -> Records<'_> {
        self.records_to(stack, None)
    }

    /// The records of the releases that began before a time, milliseconds since 1970; the newest first.
    #[must_use]
    pub fn records_before(&self, stack: &str, time: i64) -> Records<'_> {
        self.records_to(stack, Some(format!("{RELEASES}{}", rfc3339(time))))
    }

    fn records_to(&self, stack: &str, last: Option<String>) -> Records<'_> {
        Records {
            table: self,
            stack: stack.to_owned(),
            last,
            page: PAGE,
            read: VecDeque::new(),
            next: Next::First,
        }
    }

    /// Proves that this try of the execution has the turn and that no other call of it changes
    /// anything, and writes what this one is about to change, at once. To be called before the first
    /// request that changes anything, and again when more is known of it; what was written before and
    /// is not given again stays. After it, however the call ends, comes [`Table::finish`].
    ///
    /// # Errors
    /// [`BeginFailure`]; then nothing may be changed.
    pub async fn begin(
        &self,
        release: &Release,
        execution: &Execution,
        beginning: &Beginning<'_>,
    ) -> Result<(), BeginFailure> {
        let begun = self.change_own(&release.stack, execution, async |turn| {
            let decided = transactions::begin(turn, release, execution, beginning, now());
            Ok::<_, BeginFailure>(decided?)
        });
        self.finish_if_unknown(begun.await, &release.stack, beginning.call)
            .await
    }

    /// Proves that this try of the execution has the turn, and writes that it is about to stop what
    /// an earlier release left. `until` is when Lambda ends the call, milliseconds since 1970.
    ///
    /// # Errors
    /// [`TableFailure::ExecutionRedriven`] where it has not the turn or nothing is left: then nothing
    /// may be stopped.
    pub async fn begin_settling(
        &self,
        release: &Release,
        execution: &Execution,
        until: i64,
    ) -> Result<(), TableFailure> {
        self.change_own(&release.stack, execution, async |turn| {
            Ok::<_, TableFailure>(transactions::begin_settling(
                turn, release, execution, until,
            ))
        })
        .await
    }

    /// Notes that a call that was begun changes nothing any more, so that nobody waits for the end of
    /// its time. Where that fails they do, and nothing else comes of it.
    pub async fn finish(&self, stack: &str, call: &LambdaCall) {
        let finished = self.write(&transactions::finish(stack, &call.id)).await;
        if let Err(failure) = finished {
            let until = call.until;
            tracing::warn!(%failure, stack, until, "it is not noted that this call has finished");
        }
    }

    /// A call of which it is not known whether it was begun ends here.
    async fn finish_if_unknown(
        &self,
        begun: Result<(), BeginFailure>,
        stack: &str,
        call: &LambdaCall,
    ) -> Result<(), BeginFailure> {
        if let Err(BeginFailure::Table(TableFailure::AwsRequestFailed(_))) = begun {
            self.finish(stack, call).await;
        }
        begun
    }

    /// Notes the task that runs the migration.
    ///
    /// # Errors
    /// [`TableFailure`].
    pub async fn started_migration(
        &self,
        release: &Release,
        execution: &Execution,
        task: &str,
        line: &[String],
    ) -> Result<(), TableFailure> {
        self.change_own(&release.stack, execution, async |turn| {
            Ok::<_, TableFailure>(transactions::started_migration(
                turn, release, execution, task, line,
            ))
        })
        .await
    }

    /// Notes which migrations the stack's database has: those of this release, whose `command` has exited
    /// 0, or whose migration was left out for the same ones.
    ///
    /// # Errors
    /// [`TableFailure`].
    pub async fn migrated(
        &self,
        release: &Release,
        execution: &Execution,
        migrations: &Migrations,
        command: Option<&Command>,
    ) -> Result<(), TableFailure> {
        self.change_own(&release.stack, execution, async |turn| {
            Ok::<_, TableFailure>(transactions::migrated(
                turn, release, execution, migrations, command,
            ))
        })
        .await
    }

    /// Notes what the deployment of a release waits for that somebody has to do, or that it goes on
    /// since `now`, in milliseconds since 1970. `record` is the key of the release's record.
    ///
    /// # Errors
    /// [`TableFailure`].
    pub async fn awaits(
        &self,
        stack: &str,
        record: &str,
        execution: &Execution,
        awaits: Option<&str>,
        now: i64,
    ) -> Result<(), TableFailure> {
        self.change_own(stack, execution, async |turn| {
            Ok::<_, TableFailure>(transactions::awaits(
                turn, stack, record, execution, awaits, now,
            ))
        })
        .await
    }

    /// Notes that nothing of an earlier release is in progress any more.
    ///
    /// # Errors
    /// [`TableFailure`].
    pub async fn settled(&self, stack: &str, execution: &Execution) -> Result<(), TableFailure> {
        self.change_own(stack, execution, async |turn| {
            Ok::<_, TableFailure>(transactions::settled(turn, stack, execution))
        })
        .await
    }

    /// Notes what serves, in the stack's item and in the records, as [`Table::begin`] does: the call
    /// may write a parameter afterwards, and [`Table::finish`] comes last. `now` in milliseconds since
    /// 1970.
    ///
    /// # Errors
    /// As [`Table::begin`].
    pub async fn serves(
        &self,
        release: &Release,
        execution: &Execution,
        serves: &Serves<'_>,
        call: &LambdaCall,
        now: i64,
    ) -> Result<(), BeginFailure> {
        let begun = self.change_own(&release.stack, execution, async |turn| {
            let former = match (&turn.current, serves) {
                (Some(current), Serves::Rollback { .. }) => {
                    self.record(&release.stack, &current.record).await?
                }
                _ => None,
            };
            let decided =
                transactions::serves(turn, former.as_ref(), release, execution, serves, call, now);
            Ok::<_, BeginFailure>(decided?)
        });
        self.finish_if_unknown(begun.await, &release.stack, call)
            .await
    }

    /// Notes from when on, milliseconds since 1970, the contract command of the release is to run, which
    /// serves.
    ///
    /// # Errors
    /// [`TableFailure`].
    pub async fn contract_due(
        &self,
        release: &Release,
        execution: &Execution,
        at: i64,
    ) -> Result<(), TableFailure> {
        self.change_own(&release.stack, execution, async |turn| {
            Ok::<_, TableFailure>(transactions::contract_due(turn, release, execution, at))
        })
        .await
    }

    /// Closes the record and gives the turn back, or leaves the line. A record that another release
    /// has closed stays as it is. `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`EndFailure`].
    pub async fn end(
        &self,
        release: &Release,
        execution: &Execution,
        end: &End<'_>,
        now: i64,
        retention: Retention,
    ) -> Result<(), EndFailure> {
        let stack = &release.stack;
        let decide = async |turn: &Turn| {
            let record = self.record(stack, &release.record).await?;
            let record = record.as_ref();
            let decided = transactions::end(turn, record, release, execution, end, now, retention);
            Ok::<_, EndFailure>(decided?)
        };
        self.change(stack, decide).await.map(|_| ())
    }

    /// How far the last search for lost pushes has come.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn last_search(&self) -> Result<Search, AwsRequestFailed> {
        let item = self.item(SEARCHES, LAST).await?;
        Ok(item.as_ref().map(Search::from_item).unwrap_or_default())
    }

    /// Notes how far this one has come.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn note_search(&self, search: &Search) -> Result<(), AwsRequestFailed> {
        self.write(&search::came_to(search)).await.map(|_| ())
    }

    /// The tags of a repository, as the last look at it has found them.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn seen_tags(&self, repository: &str) -> Result<SeenTags, AwsRequestFailed> {
        let item = self.item(SEARCHES, &search::tags_of(repository)).await?;
        Ok(item.as_ref().map(SeenTags::from_item).unwrap_or_default())
    }

    /// Notes the tags that this look has found, where no other one has since `before` was read.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn note_seen_tags(
        &self,
        repository: &str,
        before: &SeenTags,
        seen: &SeenTags,
    ) -> Result<(), AwsRequestFailed> {
        let noted = self.write(&search::sees(repository, before, seen)).await?;
        if noted == Written::Refused {
            tracing::info!(repository, "another search has seen its tags meanwhile");
        }
        Ok(())
    }

    async fn change_own<E: From<TableFailure> + From<AwsRequestFailed>>(
        &self,
        stack: &str,
        execution: &Execution,
        decide: impl AsyncFn(&Turn) -> Result<Option<Transaction>, E>,
    ) -> Result<(), E> {
        if self.change(stack, decide).await? {
            return Ok(());
        }
        let redriven = TableFailure::ExecutionRedriven {
            execution: execution.id.clone(),
            stack: stack.to_owned(),
        };
        Err(redriven.into())
    }

    /// Writes what is decided on the turn as it is read; `false`: nothing is to be written. Where
    /// it has changed meanwhile it is read, and the change decided, anew.
    async fn change<E: From<AwsRequestFailed>>(
        &self,
        stack: &str,
        decide: impl AsyncFn(&Turn) -> Result<Option<Transaction>, E>,
    ) -> Result<bool, E> {
        for tried in 0..TRIES {
            let turn = self.turn(stack).await?;
            let Some(transaction) = decide(&turn).await? else {
                return Ok(false);
            };
            if self.write(&transaction).await? == Written::Done {
                return Ok(true);
            }
            pause(tried).await;
        }
        let failure = AwsRequestFailed {
            action: WRITE,
            resource: self.name.clone(),
            code: "ConditionalCheckFailed".to_owned(),
            message: format!("The items of stack {stack} changed between each read and write"),
            refused: false,
        };
        Err(failure.into())
    }

    pub(crate) async fn write(
        &self,
        transaction: &Transaction,
    ) -> Result<Written, AwsRequestFailed> {
        let mut tried = 0;
        loop {
            let error = match self.send(transaction).await {
                Ok(()) => return Ok(Written::Done),
                Err(error) => error,
            };
            tried += 1;
            match what_came_of(&error) {
                Met::Condition => return Ok(Written::Refused),
                Met::Another if tried < TRIES => pause(tried).await,
                _ => return Err(failed(WRITE, &self.name)(error)),
            }
        }
    }

    async fn send(
        &self,
        transaction: &Transaction,
    ) -> Result<(), SdkError<TransactWriteItemsError>> {
        let items = transaction
            .items(&self.name)
            .map_err(SdkError::construction_failure)?;
        self.client
            .transact_write_items()
            .set_transact_items(Some(items))
            .send()
            .await
            .map(|_| ())
    }

    async fn item(&self, stack: &str, key: &str) -> Result<Option<Item>, AwsRequestFailed> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("stack", AttributeValue::S(stack.to_owned()))
            .key("item", AttributeValue::S(key.to_owned()))
            .consistent_read(true)
            .send()
            .await
            .map_err(failed("dynamodb:GetItem", &self.name))?;
        Ok(answer.item.map(item_of))
    }
}

/// What a transaction that was not written has met.
enum Met {
    Condition,
    /// Another transaction, or too many requests: the same one may be written a moment later.
    Another,
    Failure,
}

fn what_came_of(error: &SdkError<TransactWriteItemsError>) -> Met {
    let Some(error) = error.as_service_error() else {
        return Met::Failure;
    };
    let reasons = match error {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            cancelled.cancellation_reasons()
        }
        TransactWriteItemsError::TransactionInProgressException(_) => return Met::Another,
        _ => return Met::Failure,
    };
    let codes: Vec<_> = reasons.iter().filter_map(|reason| reason.code()).collect();
    if codes.contains(&"ConditionalCheckFailed") {
        return Met::Condition;
    }
    let is_passing = |code: &&str| {
        matches!(
            *code,
            "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"
        )
    };
    match codes.iter().any(is_passing) {
        true => Met::Another,
        false => Met::Failure,
    }
}

/// A random part of a pause that doubles.
async fn pause(tried: u32) {
    let longest = PAUSE * 2_u32.saturating_pow(tried.min(6));
    tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
}

/// Reads records page by page, as far as the reader goes.
#[derive(Debug)]
pub struct Records<'a> {
    table: &'a Table,
    stack: String,
    /// No key is behind it; `None`: all are read.
    last: Option<String>,
    page: i32,
    read: VecDeque<Record>,
    next: Next,
}

/// The page that comes next.
#[derive(Debug)]
enum Next {
    First,
    After(HashMap<String, AttributeValue>),
    None,
}

impl Records<'_> {
    /// The same, read in pages of so many, for whoever wants no more.
    #[must_use]
    pub fn in_pages_of(self, records: usize) -> Self {
        let page = i32::try_from(records).unwrap_or(PAGE).clamp(1, PAGE);
        Self { page, ..self }
    }

    /// The next record, or `None` after the last.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn next(&mut self) -> Result<Option<Record>, AwsRequestFailed> {
        loop {
            if let Some(record) = self.read.pop_front() {
                return Ok(Some(record));
            }
            let after = match std::mem::replace(&mut self.next, Next::None) {
                Next::First => None,
                Next::After(key) => Some(key),
                Next::None => return Ok(None),
            };
            self.read_page(after).await?;
        }
    }

    async fn read_page(
        &mut self,
        after: Option<HashMap<String, AttributeValue>>,
    ) -> Result<(), AwsRequestFailed> {
        let name = &self.table.name;
        let query = self.table.client.query().table_name(name);
        let query = match &self.last {
            None => {
                query.key_condition_expression("#stack = :stack AND begins_with(#item, :releases)")
            }
            Some(last) => query
                .key_condition_expression("#stack = :stack AND #item BETWEEN :releases AND :last")
                .expression_attribute_values(":last", AttributeValue::S(last.clone())),
        };
        let answer = query
            .expression_attribute_names("#stack", "stack")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":stack", AttributeValue::S(self.stack.clone()))
            .expression_attribute_values(":releases", AttributeValue::S(RELEASES.to_owned()))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(self.page)
            .set_exclusive_start_key(after)
            .send()
            .await
            .map_err(failed("dynamodb:Query", name))?;
        let items = answer.items.unwrap_or_default().into_iter().map(item_of);
        self.read
            .extend(items.filter_map(|item| Record::from_item(&item)));
        self.next = answer.last_evaluated_key.map_or(Next::None, Next::After);
        Ok(())
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
