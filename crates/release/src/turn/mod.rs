//! The turn of a stack: one release has it, one waits next in line.

#[cfg(feature = "line")]
mod look;
mod step;

#[cfg(feature = "line")]
pub use look::{Line, awaited};
pub use step::{Life, Seen, Step, Who, step};

use crate::Item;
use crate::attributes::{number, text};
use bluegreen_contract::{Command, RequestedAction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Key of the item that holds the turn.
pub const TURN: &str = "turn";

/// The stack's own item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    pub holder: Option<Holder>,
    pub waiting: Option<Waiting>,
    /// ARN of an execution that left, or may have left, something in progress.
    pub unsettled: Option<String>,
    pub current: Option<CurrentRelease>,
    /// When the services were last rolled back, milliseconds since 1970.
    pub rolled_back_at: Option<i64>,
    /// The migration that was the last one of the stack to be begun, where it has exited 0 and its image
    /// says which migrations it has.
    pub migrated: Option<Migrated>,
    deployed: BTreeMap<String, String>,
    verified: BTreeMap<String, String>,
    contracts_due: BTreeMap<String, ContractDue>,
    contracted: BTreeMap<String, Contracted>,
}

/// Who has the turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// ARN of the execution.
    pub execution: String,
    /// How often it had been redriven when it took the turn.
    pub redrives: u32,
    /// When it took the turn, RFC 3339.
    pub since: String,
    /// Key of its record.
    pub record: String,
    /// The image that it deploys; `None` for a rollback.
    pub digest: Option<String>,
    /// Its place among the releases; `None` for an alarm, which has none.
    pub order: Option<String>,
    /// The repository, or `*`.
    pub waits_for: Option<String>,
    /// Until when a call of it may change something, milliseconds since 1970; `None`: none is about
    /// to.
    pub changing_until: Option<i64>,
    /// The only call of it that may do so, by its Lambda request's id; `None`: none is about to, or
    /// several that are settling what an earlier release left.
    pub changing_by: Option<String>,
    /// It has begun to take its services back.
    pub goes_back: bool,
}

/// Who is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// ARN of the execution.
    pub execution: String,
    pub order: String,
    /// The image that it is to deploy; `None` for a rollback.
    pub digest: Option<String>,
    /// The repository, or `*`.
    pub waits_for: String,
}

/// The release that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentRelease {
    /// Key of its record.
    pub record: String,
    pub action: RequestedAction,
    /// When its services were updated, milliseconds since 1970.
    pub from: i64,
    /// When it was found to be healthy, milliseconds since 1970.
    pub finished: i64,
}

/// A migration that has exited 0: what it ran, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Migrated {
    /// Name of the execution of its release.
    pub release: String,
    pub repository: String,
    /// The label of its image.
    pub fingerprint: String,
    /// ARN of the service whose task definition it took.
    pub service: String,
    pub container: String,
    /// The words that ran.
    pub line: Vec<String>,
}

impl Migrated {
    /// Whether a release's command would do the very same once more.
    #[must_use]
    pub fn is_by(&self, repository: &str, fingerprint: &str, command: &Command) -> bool {
        let Self {
            repository: of,
            fingerprint: known,
            service,
            container,
            line,
            ..
        } = self;
        (of.as_str(), known.as_str()) == (repository, fingerprint)
            && (service, container, line) == (&command.service, &command.container, &command.line)
    }
}

/// A release whose contract command is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractDue {
    /// Key of its record.
    pub release: String,
    /// When no alarm takes it back by itself any more, milliseconds since 1970.
    pub at: i64,
}

/// A release whose contract command has run, or may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contracted {
    /// Key of its record.
    pub release: String,
    /// Key of the record of the execution that ran the command.
    pub by: String,
}

/// How far the clocks of two calls may be apart.
pub(crate) const CLOCKS_MS: i64 = 2000;

impl Holder {
    /// Until when, by whatever clock, a call of it may change something; `None`: none may any more.
    /// Milliseconds since 1970.
    pub(crate) fn is_changing_until(&self, now: i64) -> Option<i64> {
        let until = self.changing_until? + CLOCKS_MS;
        (now < until).then_some(until)
    }
}

/// What stands for the digest of a release that has none.
pub(crate) const NO_DIGEST: &str = "none";
/// What stands for a contract command that is not due.
pub(crate) const NOT_DUE: &str = "none";
pub(crate) const DEPLOYED: &str = "deployed:";
pub(crate) const VERIFIED: &str = "verified:";
pub(crate) const GOES_BACK: &str = "goesBack";
pub(crate) const MIGRATED: &str = "migrated";
pub(crate) const CONTRACT_DUE: &str = "contractDue:";
pub(crate) const CONTRACTED: &str = "contracted:";

impl Turn {
    /// Reads the stack's item; one that is not there is the turn of a stack without releases.
    #[must_use]
    pub fn from_item(item: &Item) -> Self {
        let digest = |name: &str| text(item, name).filter(|digest| digest != NO_DIGEST);
        Self {
            holder: text(item, "holder").map(|execution| Holder {
                execution,
                redrives: number(item, "heldRedrives")
                    .and_then(|redrives| redrives.try_into().ok())
                    .unwrap_or_default(),
                since: text(item, "heldSince").unwrap_or_default(),
                record: text(item, "heldRecord").unwrap_or_default(),
                digest: digest("heldDigest"),
                order: text(item, "heldOrder"),
                waits_for: text(item, "heldFor"),
                changing_until: number(item, "changingUntil"),
                changing_by: text(item, "changingBy"),
                goes_back: item.contains_key(GOES_BACK),
            }),
            waiting: text(item, "waiting").map(|execution| Waiting {
                execution,
                order: text(item, "waitingOrder").unwrap_or_default(),
                digest: digest("waitingDigest"),
                waits_for: text(item, "waitingFor").unwrap_or_default(),
            }),
            unsettled: text(item, "unsettled"),
            current: text(item, "currentRecord").map(|record| CurrentRelease {
                record,
                action: RequestedAction::of(text(item, "currentAction").as_deref()),
                from: number(item, "currentFrom").unwrap_or_default(),
                finished: number(item, "currentFinished").unwrap_or_default(),
            }),
            rolled_back_at: number(item, "rolledBackAt"),
            migrated: parsed(item, MIGRATED),
            deployed: of_each(item, DEPLOYED, digest),
            verified: of_each(item, VERIFIED, digest),
            contracts_due: of_each(item, CONTRACT_DUE, |name| parsed(item, name)),
            contracted: of_each(item, CONTRACTED, |name| parsed(item, name)),
        }
    }

    /// The order of the newest push of the repository that was ever deployed.
    #[must_use]
    pub fn deployed(&self, repository: &str) -> Option<&str> {
        self.deployed.get(repository).map(String::as_str)
    }

    /// The digest of the repository that was last found to be healthy in all services.
    #[must_use]
    pub fn verified(&self, repository: &str) -> Option<&str> {
        self.verified.get(repository).map(String::as_str)
    }

    /// By repository, the release that serves and whose contract command has not run.
    #[must_use]
    pub fn contracts_due(&self) -> &BTreeMap<String, ContractDue> {
        &self.contracts_due
    }

    /// The release of the repository whose contract command was the last to run, or may have.
    #[must_use]
    pub fn contracted(&self, repository: &str) -> Option<&Contracted> {
        self.contracted.get(repository)
    }
}

fn parsed<T: DeserializeOwned>(item: &Item, name: &str) -> Option<T> {
    serde_json::from_str(&text(item, name)?).ok()
}

/// What the item says of each repository under names with that prefix.
fn of_each<T>(item: &Item, prefix: &str, read: impl Fn(&str) -> Option<T>) -> BTreeMap<String, T> {
    let names = item.keys();
    let known = names.filter_map(|name| {
        let repository = name.strip_prefix(prefix)?;
        Some((repository.to_owned(), read(name)?))
    });
    known.collect()
}
