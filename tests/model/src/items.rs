use bluegreen_release::memory::Memory;
use bluegreen_release::turn::Turn;
use bluegreen_release::{Record, Transaction, verdict};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A value that many states share, with its hash: most of what happens leaves it as it is.
#[derive(Debug, Clone)]
pub struct Shared<T> {
    value: Arc<T>,
    hash: u64,
}

impl<T: Hash> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self {
            value: Arc::new(value),
            hash: hasher.finish(),
        }
    }
}

impl<T> std::ops::Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Shared<T> {
    /// The checker itself tells states apart by their hashes.
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

/// The items of the stack, and what is to be known of them in every state.
#[derive(Debug, Clone)]
pub struct Items {
    memory: Memory,
    pub(crate) turn: Turn,
    /// Every record that is open is the one of who has the turn.
    pub(crate) is_closed_behind: bool,
    /// The record of the release that serves says that it succeeded.
    pub(crate) is_good: bool,
}

impl Hash for Items {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.memory.hash(hasher);
    }
}

impl Items {
    pub(crate) fn new(memory: Memory) -> Shared<Self> {
        let turn = memory.turn();
        let holder = turn.holder.as_ref().map(|holder| holder.record.as_str());
        let is_closed_behind = memory
            .records()
            .all(|record| record.is_closed() || Some(record.key.as_str()) == holder);
        let is_good = turn.current.as_ref().is_none_or(|current| {
            let record = memory.record(&current.record);
            record.is_some_and(|record| record.verdict == verdict::SUCCEEDED)
        });
        Shared::new(Self {
            memory,
            turn,
            is_closed_behind,
            is_good,
        })
    }

    pub(crate) fn record(&self, key: &str) -> Option<Record> {
        self.memory.record(key)
    }

    pub(crate) fn allows(&self, transaction: &Transaction) -> bool {
        self.memory.allows(transaction)
    }

    /// The items after the transaction; `None`: a condition does not hold.
    pub(crate) fn after(&self, transaction: &Transaction) -> Option<Shared<Self>> {
        if !self.allows(transaction) {
            return None;
        }
        let mut memory = self.memory.clone();
        memory.write(transaction);
        Some(Self::new(memory))
    }
}
