//! The items of a stack in memory: what the conditions of a [`Transaction`] mean, for tests and for
//! the model checker.

use crate::attributes::text;
use crate::turn::TURN;
use crate::{Change, Condition, Effect, Item, Record, Transaction, Turn, Value};
use std::collections::BTreeMap;

/// A stack's items by their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory(BTreeMap<String, Item>);

impl Memory {
    #[must_use]
    pub fn turn(&self) -> Turn {
        self.0.get(TURN).map(Turn::from_item).unwrap_or_default()
    }

    /// The record with this key.
    #[must_use]
    pub fn record(&self, key: &str) -> Option<Record> {
        Record::from_item(self.0.get(key)?)
    }

    /// All records, the oldest first.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.0.values().filter_map(Record::from_item)
    }

    /// The item with this key.
    #[must_use]
    pub fn item(&self, key: &str) -> Option<&Item> {
        self.0.get(key)
    }

    /// A text of an item.
    #[must_use]
    pub fn text(&self, item: &str, name: &str) -> Option<String> {
        text(self.0.get(item)?, name)
    }

    /// Whether an item has this attribute.
    #[must_use]
    pub fn has(&self, item: &str, name: &str) -> bool {
        self.0.get(item).is_some_and(|item| item.contains_key(name))
    }

    /// Does all changes of the transaction, or none where a condition does not hold.
    pub fn write(&mut self, transaction: &Transaction) -> bool {
        let allowed = self.allows(transaction);
        if allowed {
            for change in &transaction.changes {
                self.change(change);
            }
        }
        allowed
    }

    /// Whether all conditions of the transaction hold.
    #[must_use]
    pub fn allows(&self, transaction: &Transaction) -> bool {
        transaction.changes.iter().all(|change| self.holds(change))
    }

    fn holds(&self, change: &Change) -> bool {
        let item = self.0.get(&change.item);
        change.conditions.iter().all(|condition| match condition {
            Condition::Absent(name) => item.is_none_or(|item| !item.contains_key(*name)),
            Condition::Equals(name, value) => {
                item.is_some_and(|item| item.get(*name) == Some(value))
            }
        })
    }

    fn change(&mut self, change: &Change) {
        match &change.effect {
            Effect::Check => {}
            Effect::Delete => {
                self.0.remove(&change.item);
            }
            Effect::Update(attributes) => {
                let item = self.0.entry(change.item.clone()).or_insert_with(|| {
                    let key = Value::Text(change.item.clone());
                    Item::from([("item".to_owned(), key)])
                });
                item.extend(attributes.set.clone());
                for (name, value) in &attributes.first {
                    item.entry(name.clone()).or_insert_with(|| value.clone());
                }
                for name in &attributes.remove {
                    item.remove(*name);
                }
            }
        }
    }
}
