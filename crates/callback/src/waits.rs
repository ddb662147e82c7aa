//! The table of those who wait, and the answers to their tokens.
//!
//! | `awaited` | `waiter` | |
//! |---|---|---|
//! | `FUNCTION#EXECUTION` | `token` | the task token, the question, all that is waited for, and how many events came while somebody looks |
//! | what is waited for | `FUNCTION#EXECUTION` | points to the item above |
//!
//! A token is written before what points to it, and goes in one transaction with that: a pointer
//! whose question was asked anew in the meantime stays.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, PutRequest, ReturnValue, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, WriteRequest,
};
use aws_types::SdkConfig;
use bluegreen_runtime::{AwsRequestFailed, BadEnvironment, failed, required_variable};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// BatchWriteItem takes no more at once
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>).
const BATCH: usize = 25;
/// TransactWriteItems takes no more at once
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>).
const TRANSACTION: usize = 100;
/// How often a batch is sent before its unprocessed items are a failure, and the first pause.
const TRIES: u32 = 7;
const PAUSE: Duration = Duration::from_millis(50);
/// An execution lives 32 days at most.
const KEPT: Duration = Duration::from_secs(33 * 24 * 60 * 60);

/// Those who wait for a function's answer.
#[derive(Debug, Clone)]
pub struct Waits {
    dynamodb: aws_sdk_dynamodb::Client,
    sfn: aws_sdk_sfn::Client,
    table: String,
    function: &'static str,
}

/// An execution that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its ARN.
    pub execution: String,
    pub token: String,
    /// The question, as it was stored.
    pub asked: Value,
    awaited: Vec<String>,
}

impl Waits {
    /// `function` is the stem of the function that waits, e.g. `wait-task`; whoever answers in its
    /// place gives that name too.
    #[must_use]
    pub fn new(
        dynamodb: aws_sdk_dynamodb::Client,
        sfn: aws_sdk_sfn::Client,
        table: String,
        function: &'static str,
    ) -> Self {
        Self {
            dynamodb,
            sfn,
            table,
            function,
        }
    }

    /// With the table that `WAITS_TABLE` names.
    ///
    /// # Errors
    /// [`BadEnvironment`] where it names none.
    pub fn from_env(config: &SdkConfig, function: &'static str) -> Result<Self, BadEnvironment> {
        Ok(Self::new(
            aws_sdk_dynamodb::Client::new(config),
            aws_sdk_sfn::Client::new(config),
            required_variable("WAITS_TABLE")?,
            function,
        ))
    }

    /// Stores that an execution waits for each of `awaited`; a token that it stored before is
    /// replaced.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn store(
        &self,
        awaited: &[String],
        execution: &str,
        token: &str,
        asked: &impl Serialize,
    ) -> Result<Waiting, AwsRequestFailed> {
        let asked = serde_json::to_value(asked)
            .map_err(|error| self.unsendable("dynamodb:PutItem", error))?;
        let awaited: BTreeSet<String> = awaited.iter().cloned().collect();
        let waiting = Waiting {
            execution: execution.to_owned(),
            token: token.to_owned(),
            asked,
            awaited: awaited.into_iter().collect(),
        };
        let expires_at = AttributeValue::N(expires_at());
        let all = waiting.awaited.iter().cloned().map(AttributeValue::S);
        self.dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.token_key(execution)))
            .item("token", text(token))
            .item("asked", text(waiting.asked.to_string()))
            .item("awaits", AttributeValue::L(all.collect()))
            .item("expiresAt", expires_at.clone())
            .send()
            .await
            .map_err(failed("dynamodb:PutItem", &self.table))?;
        let mut pointers = Vec::new();
        for awaited in &waiting.awaited {
            let mut item = self.pointer_key(awaited, execution);
            item.insert("expiresAt".to_owned(), expires_at.clone());
            let put = PutRequest::builder().set_item(Some(item)).build();
            let put = put.map_err(|error| self.unsendable(WRITE, error))?;
            pointers.push(WriteRequest::builder().put_request(put).build());
        }
        for batch in pointers.chunks(BATCH) {
            self.write(batch.to_vec()).await?;
        }
        Ok(waiting)
    }

    /// Writes all of the requests: DynamoDB may answer that it has left some out.
    async fn write(&self, mut requests: Vec<WriteRequest>) -> Result<(), AwsRequestFailed> {
        for tried in 0..TRIES {
            if tried > 0 {
                tokio::time::sleep(PAUSE * 2_u32.pow(tried - 1)).await;
            }
            let mut left = self
                .dynamodb
                .batch_write_item()
                .request_items(&self.table, requests)
                .send()
                .await
                .map_err(failed(WRITE, &self.table))?
                .unprocessed_items
                .unwrap_or_default();
            requests = left.remove(&self.table).unwrap_or_default();
            if requests.is_empty() {
                return Ok(());
            }
        }
        Err(AwsRequestFailed {
            action: WRITE,
            resource: self.table.clone(),
            code: "UnprocessedItems".to_owned(),
            message: format!("{} items were not written in {TRIES} tries", requests.len()),
            refused: false,
        })
    }

    /// The executions, by their ARNs and in the order of these, that may wait for `awaited`: which of
    /// them still does, its token's item says. What was stored before this call is seen.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn waiting_for(&self, awaited: &str) -> Result<Vec<String>, AwsRequestFailed> {
        let prefix = self.waiter("");
        let pointers = self
            .dynamodb
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("awaited = :awaited AND begins_with(waiter, :function)")
            .expression_attribute_values(":awaited", text(awaited))
            .expression_attribute_values(":function", text(&prefix))
            .projection_expression("waiter")
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .map_err(failed("dynamodb:Query", &self.table))?;
        let waiters = pointers
            .iter()
            .filter_map(|pointer| string(pointer, "waiter"));
        let executions = waiters.filter_map(|waiter| waiter.strip_prefix(&prefix));
        Ok(executions.map(str::to_owned).collect())
    }

    /// Takes an execution's token out of the table, for an answer that is no function's; `None`: it does
    /// not wait.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn take(&self, execution: &str) -> Result<Option<Waiting>, AwsRequestFailed> {
        let taken = self
            .dynamodb
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(self.token_key(execution)))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .map_err(failed("dynamodb:DeleteItem", &self.table))?;
        let item = taken.attributes;
        Ok(item.and_then(|item| waiting(execution, &item)))
    }

    /// Counts an event for an execution that may wait. What it waits for, where this call has to look:
    /// it waits, and no other call looks already, or will once more.
    ///
    /// A call that dies leaves the count. So no event leads to a look until the state asks again,
    /// which counts anew.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub(crate) async fn begin_to_look(
        &self,
        execution: &str,
    ) -> Result<Option<Waiting>, AwsRequestFailed> {
        let counted = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(self.token_key(execution)))
            .update_expression("ADD events :one")
            .condition_expression("attribute_exists(#token)")
            .expression_attribute_names("#token", "token")
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match counted {
            Ok(counted) => {
                let item = counted.attributes.unwrap_or_default();
                let is_first = events(&item) == Some(1);
                Ok(is_first.then(|| waiting(execution, &item)).flatten())
            }
            Err(error) if is_condition_failed(&error) => Ok(None),
            Err(error) => Err(failed(UPDATE, &self.table)(error)),
        }
    }

    /// Ends the looks of this call, which has seen what `events` events were about, or nothing where
    /// that is `None`. How many there are by now, if there are more.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub(crate) async fn stop_looking(
        &self,
        waiting: &Waiting,
        events_seen: Option<u64>,
    ) -> Result<Option<u64>, AwsRequestFailed> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(self.token_key(&waiting.execution)))
            .update_expression("REMOVE events")
            .expression_attribute_names("#token", "token")
            .expression_attribute_values(":token", text(&waiting.token));
        let update = match events_seen {
            None => update.condition_expression("#token = :token"),
            Some(seen) => update
                .condition_expression("#token = :token AND events = :seen")
                .expression_attribute_values(":seen", number(seen)),
        };
        let update = update
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let is_mine = |item: &&Item| string(item, "token") == Some(&waiting.token);
                    Ok(failed.item().filter(is_mine).and_then(events))
                }
                _ => Err(failed(UPDATE, &self.table)(error)),
            },
        }
    }

    /// Lets the state go on with `output`. `false`: the token is an old one, whose state goes on
    /// without this answer.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn succeed(
        &self,
        waiting: &Waiting,
        output: &impl Serialize,
    ) -> Result<bool, AwsRequestFailed> {
        const ACTION: &str = "states:SendTaskSuccess";
        let output = serde_json::to_string(output);
        let output = output.map_err(|error| self.unsendable(ACTION, error))?;
        let answer = self
            .sfn
            .send_task_success()
            .task_token(&waiting.token)
            .output(output)
            .send()
            .await
            .map_err(failed(ACTION, &waiting.execution));
        self.answered(waiting, answer.map(drop)).await
    }

    async fn answered(
        &self,
        waiting: &Waiting,
        answer: Result<(), AwsRequestFailed>,
    ) -> Result<bool, AwsRequestFailed> {
        let taken = match answer {
            Ok(()) => true,
            Err(failure) if is_of_an_old_token(&failure) => false,
            Err(failure) => return Err(failure),
        };
        self.forget(waiting).await;
        Ok(taken)
    }

    /// Deletes the token, as long as it is still this one, and what points to it.
    ///
    /// The answer counts, whatever becomes of this: a token that stays is found to be an old one by
    /// the next event, or expires.
    pub(crate) async fn forget(&self, waiting: &Waiting) {
        if let Err(failure) = self.try_to_forget(waiting).await {
            tracing::warn!(%failure, "a token that needs no answer any more stays in the table");
        }
    }

    async fn try_to_forget(&self, waiting: &Waiting) -> Result<(), AwsRequestFailed> {
        const ACTION: &str = "dynamodb:TransactWriteItems";
        let unsendable = |error| self.unsendable(ACTION, error);
        // At least once, for a token to which nothing points.
        let mut left = waiting.awaited.as_slice();
        loop {
            let (these, others) = left.split_at(left.len().min(TRANSACTION - 1));
            let token = self.delete_token(waiting).map_err(unsendable)?;
            let mut request = self.dynamodb.transact_write_items().transact_items(token);
            for awaited in these {
                let pointer = self.pointer_key(awaited, &waiting.execution);
                let delete = Delete::builder().table_name(&self.table);
                let delete = delete.set_key(Some(pointer)).build().map_err(unsendable)?;
                request =
                    request.transact_items(TransactWriteItem::builder().delete(delete).build());
            }
            match request.send().await {
                Ok(_) => {}
                Err(error) if was_stored_anew(&error) => return Ok(()),
                Err(error) => return Err(failed(ACTION, &self.table)(error)),
            }
            if others.is_empty() {
                return Ok(());
            }
            left = others;
        }
    }

    /// As long as it is this one, or gone already.
    fn delete_token(&self, waiting: &Waiting) -> Result<TransactWriteItem, BuildError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(self.token_key(&waiting.execution)))
            .condition_expression("attribute_not_exists(#token) OR #token = :token")
            .expression_attribute_names("#token", "token")
            .expression_attribute_values(":token", text(&waiting.token))
            .build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    fn waiter(&self, execution: &str) -> String {
        format!("{}#{execution}", self.function)
    }

    fn token_key(&self, execution: &str) -> Item {
        key(self.waiter(execution), "token")
    }

    fn pointer_key(&self, awaited: &str, execution: &str) -> Item {
        key(awaited, self.waiter(execution))
    }

    fn unsendable(&self, action: &'static str, error: impl std::fmt::Display) -> AwsRequestFailed {
        AwsRequestFailed {
            action,
            resource: self.table.clone(),
            code: "InvalidRequest".to_owned(),
            message: error.to_string(),
            refused: true,
        }
    }
}

const WRITE: &str = "dynamodb:BatchWriteItem";
const UPDATE: &str = "dynamodb:UpdateItem";

type Item = HashMap<String, AttributeValue>;

fn key(awaited: impl Into<String>, waiter: impl Into<String>) -> Item {
    HashMap::from([
        ("awaited".to_owned(), text(awaited)),
        ("waiter".to_owned(), text(waiter)),
    ])
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// What an execution waits for, as its item says.
fn waiting(execution: &str, item: &Item) -> Option<Waiting> {
    let awaits = item.get("awaits").and_then(|list| list.as_l().ok());
    let awaited = awaits
        .into_iter()
        .flatten()
        .filter_map(|one| one.as_s().ok());
    Some(Waiting {
        execution: execution.to_owned(),
        token: string(item, "token")?.to_owned(),
        asked: serde_json::from_str(string(item, "asked")?).ok()?,
        awaited: awaited.cloned().collect(),
    })
}

/// How many events came since somebody began to look.
fn events(item: &Item) -> Option<u64> {
    item.get("events")?.as_n().ok()?.parse().ok()
}

fn is_condition_failed<R>(error: &SdkError<UpdateItemError, R>) -> bool {
    let error = error.as_service_error();
    error.is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}

fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// Seconds since 1970, as DynamoDB reads them.
fn expires_at() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    (now.unwrap_or_default() + KEPT).as_secs().to_string()
}

/// A heartbeat that was missed closes a token and the state asks with a new one; an execution that
/// has ended has none.
fn is_of_an_old_token(failure: &AwsRequestFailed) -> bool {
    matches!(
        failure.code.as_str(),
        "TaskTimedOut" | "TaskDoesNotExist" | "InvalidToken"
    )
}

fn was_stored_anew<R>(error: &SdkError<TransactWriteItemsError, R>) -> bool {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => canceled
            .cancellation_reasons()
            .iter()
            .any(|reason| reason.code() == Some("ConditionalCheckFailed")),
        _ => false,
    }
}

#[cfg(test)]
#[path = "waits_tests.rs"]
mod tests;
