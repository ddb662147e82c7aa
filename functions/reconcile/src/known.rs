//! What the table of releases says of a stack.

use bluegreen_release::{ContractDue, Table, Turn};
use bluegreen_runtime::AwsRequestFailed;

use crate::images::Image;

/// Digits of an RFC 3339 time up to the second.
const TO_THE_SECOND: usize = 19;

/// The releases of one stack.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    table: &'a Table,
    stack: &'a str,
    turn: Turn,
}

impl<'a> Known<'a> {
    pub(crate) async fn load(table: &'a Table, stack: &'a str) -> Result<Self, AwsRequestFailed> {
        let turn = table.turn(stack).await?;
        Ok(Self { table, stack, turn })
    }

    /// Whether there is, or was, a release of the image since it was pushed, or got its tag: the records
    /// are read as far as that.
    pub(crate) async fn has(&self, image: &Image) -> Result<bool, AwsRequestFailed> {
        let Turn {
            holder, waiting, ..
        } = &self.turn;
        let holds = holder.as_ref().and_then(|holder| holder.digest.as_ref());
        let waits = waiting.as_ref().and_then(|waiting| waiting.digest.as_ref());
        if [holds, waits].contains(&Some(&image.digest)) {
            return Ok(true);
        }
        let mut records = self.table.records(self.stack);
        while let Some(record) = records.next().await? {
            let begun = record.started_at.as_deref().and_then(to_the_second);
            if begun.is_some_and(|begun| Some(begun) < to_the_second(&image.pushed_at)) {
                return Ok(false);
            }
            if record.digest.as_ref() == Some(&image.digest) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The release of the repository whose contract command is to run.
    pub(crate) fn contract_due(&self, repository: &str) -> Option<&ContractDue> {
        self.turn.contracts_due().get(repository)
    }

    /// Whether an image of the repository was pushed after the one that was deployed last. A stack
    /// that has never had a release of the repository is nobody's to deploy to: the first release
    /// is a person's, or a push's that was heard of.
    pub(crate) fn is_newer(&self, repository: &str, pushed_at: &str) -> bool {
        let deployed = self.turn.deployed(repository).and_then(to_the_second);
        deployed
            .zip(to_the_second(pushed_at))
            .is_some_and(|(deployed, pushed)| pushed >= deployed)
    }
}

fn to_the_second(time: &str) -> Option<&str> {
    time.get(..TO_THE_SECOND)
}
