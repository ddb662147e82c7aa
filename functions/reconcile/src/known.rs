//! What the table of releases says of a stack.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::collections::{HashMap, HashSet};

/// The turn of the stack comes first, then its newest releases.
const NEWEST: i32 = 100;
/// Digits of an RFC 3339 time up to the second.
const TO_THE_SECOND: usize = 19;

/// The releases of one stack.
#[derive(Debug, Default)]
pub(crate) struct Known {
    turn: HashMap<String, AttributeValue>,
    digests: HashSet<String>,
}

impl Known {
    pub(crate) async fn load(
        client: &Client,
        table: &str,
        stack: &str,
    ) -> Result<Self, AwsRequestFailed> {
        let answer = client
            .query()
            .table_name(table)
            .key_condition_expression("stack = :stack")
            .expression_attribute_values(":stack", AttributeValue::S(stack.to_owned()))
            .scan_index_forward(false)
            .limit(NEWEST)
            .send()
            .await
            .map_err(failed("dynamodb:Query", table))?;
        let mut known = Self::default();
        for item in answer.items.unwrap_or_default() {
            if text(&item, "item") == Some("turn") {
                let at_work = ["heldDigest", "waitingDigest"];
                let digests = at_work.iter().filter_map(|name| text(&item, name));
                known.digests.extend(digests.map(str::to_owned));
                known.turn = item;
            } else {
                known
                    .digests
                    .extend(text(&item, "digest").map(str::to_owned));
            }
        }
        Ok(known)
    }

    /// Whether there is, or was, a release of the image.
    pub(crate) fn has(&self, digest: &str) -> bool {
        self.digests.contains(digest)
    }

    /// Whether an image of the repository was pushed after the one that was deployed last. A stack
    /// that has never had a release of the repository is nobody's to deploy to: the first release
    /// is a person's, or a push's that was heard of.
    pub(crate) fn is_newer(&self, repository: &str, pushed_at: &str) -> bool {
        text(&self.turn, &format!("deployed:{repository}"))
            .and_then(|order| order.get(..TO_THE_SECOND))
            .zip(pushed_at.get(..TO_THE_SECOND))
            .is_some_and(|(deployed, pushed)| pushed >= deployed)
    }
}

fn text<'a>(item: &'a HashMap<String, AttributeValue>, name: &str) -> Option<&'a str> {
    let value = item.get(name)?.as_s().ok()?;
    Some(value)
}
