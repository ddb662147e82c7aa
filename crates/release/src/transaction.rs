//! A change of the table as a value, and that value in DynamoDB's words.

use crate::Value;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, TransactWriteItem, Update};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Changes of a stack's items that happen all together, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transaction {
    pub stack: String,
    /// At most one for each item.
    pub changes: Vec<Change>,
}

/// A change of one item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// Key of the item within its stack.
    pub item: String,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    pub effect: Effect,
}

/// What must be true of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Condition {
    Absent(&'static str),
    Equals(&'static str, Value),
}

/// What becomes of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing: its conditions are all that counts.
    Check,
    Delete,
    Update(Attributes),
}

/// What becomes of an item's attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Attributes {
    pub set: BTreeMap<String, Value>,
    /// Set where the item does not have the attribute yet.
    pub first: BTreeMap<String, Value>,
    pub remove: BTreeSet<&'static str>,
}

impl Condition {
    /// That an attribute is as it was seen.
    pub(crate) fn as_seen(name: &'static str, seen: Option<impl Into<Value>>) -> Self {
        match seen {
            Some(value) => Condition::Equals(name, value.into()),
            None => Condition::Absent(name),
        }
    }

    pub(crate) fn equals(name: &'static str, value: impl Into<Value>) -> Self {
        Condition::Equals(name, value.into())
    }
}

impl Attributes {
    pub(crate) fn set(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set.insert(name.into(), value.into());
        self
    }

    pub(crate) fn set_some(self, name: impl Into<String>, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    pub(crate) fn first(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.first.insert(name.into(), value.into());
        self
    }

    pub(crate) fn first_some(
        self,
        name: impl Into<String>,
        value: Option<impl Into<Value>>,
    ) -> Self {
        match value {
            Some(value) => self.first(name, value),
            None => self,
        }
    }

    /// All that is set here is set only where the item does not have it yet.
    pub(crate) fn all_first(mut self) -> Self {
        self.first.append(&mut self.set);
        self
    }

    pub(crate) fn and(mut self, mut other: Attributes) -> Self {
        self.set.append(&mut other.set);
        self.first.append(&mut other.first);
        self.remove.append(&mut other.remove);
        self
    }

    pub(crate) fn remove(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        self.remove.extend(names);
        self
    }
}

impl Transaction {
    pub(crate) fn items(&self, table: &str) -> Result<Vec<TransactWriteItem>, BuildError> {
        self.changes
            .iter()
            .map(|change| change.in_table(table, &self.stack))
            .collect()
    }
}

impl Change {
    fn in_table(&self, table: &str, stack: &str) -> Result<TransactWriteItem, BuildError> {
        let mut words = Words::default();
        let condition = words.condition(&self.conditions);
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let item = TransactWriteItem::builder();
        let item = match &self.effect {
            Effect::Check => item.condition_check(
                ConditionCheck::builder()
                    .table_name(table)
                    .key("stack", text(stack))
                    .key("item", text(&self.item))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(words.names())
                    .set_expression_attribute_values(words.values())
                    .build()?,
            ),
            Effect::Delete => item.delete(
                Delete::builder()
                    .table_name(table)
                    .key("stack", text(stack))
                    .key("item", text(&self.item))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(words.names())
                    .set_expression_attribute_values(words.values())
                    .build()?,
            ),
            Effect::Update(attributes) => item.update(
                Update::builder()
                    .table_name(table)
                    .key("stack", text(stack))
                    .key("item", text(&self.item))
                    .update_expression(words.update(attributes))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(words.names())
                    .set_expression_attribute_values(words.values())
                    .build()?,
            ),
        };
        Ok(item.build())
    }
}

/// The names and values of an expression. Every name has a placeholder, since many are words that
/// DynamoDB keeps for itself
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html>).
#[derive(Default)]
struct Words {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Words {
    fn name(&mut self, name: &str) -> String {
        let known = self.names.iter().find(|(_, known)| *known == name);
        if let Some((placeholder, _)) = known {
            return placeholder.clone();
        }
        let placeholder = format!("#n{}", self.names.len());
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: &Value) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value.into());
        placeholder
    }

    fn condition(&mut self, conditions: &[Condition]) -> Option<String> {
        let texts: Vec<_> = conditions
            .iter()
            .map(|condition| match condition {
                Condition::Absent(name) => format!("attribute_not_exists({})", self.name(name)),
                Condition::Equals(name, value) => {
                    format!("{} = {}", self.name(name), self.value(value))
                }
            })
            .collect();
        (!texts.is_empty()).then(|| texts.join(" AND "))
    }

    fn update(&mut self, attributes: &Attributes) -> String {
        let mut sets: Vec<_> = attributes
            .set
            .iter()
            .map(|(name, value)| format!("{} = {}", self.name(name), self.value(value)))
            .collect();
        sets.extend(attributes.first.iter().map(|(name, value)| {
            let name = self.name(name);
            format!("{name} = if_not_exists({name}, {})", self.value(value))
        }));
        let removes: Vec<_> = attributes
            .remove
            .iter()
            .map(|name| self.name(name))
            .collect();
        [("SET", sets), ("REMOVE", removes)]
            .into_iter()
            .filter(|(_, parts)| !parts.is_empty())
            .map(|(verb, parts)| format!("{verb} {}", parts.join(", ")))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(effect: Effect, conditions: Vec<Condition>) -> TransactWriteItem {
        let item = "turn".to_owned();
        let changes = vec![Change {
            item,
            conditions,
            effect,
        }];
        let stack = "shop".to_owned();
        let items = Transaction { stack, changes }.items("releases").unwrap();
        items.into_iter().next().unwrap()
    }

    #[test]
    fn an_update_sets_keeps_and_removes_under_all_its_conditions() {
        let attributes = Attributes::default()
            .set("holder", "me")
            .first("touched", 0_u32)
            .remove(["waiting"]);
        let conditions = vec![
            Condition::Absent("holder"),
            Condition::equals("waiting", "me"),
        ];
        let item = written(Effect::Update(attributes), conditions);
        let update = item.update().unwrap();
        assert_eq!(
            update.condition_expression(),
            Some("attribute_not_exists(#n0) AND #n1 = :v0")
        );
        assert_eq!(
            update.update_expression(),
            "SET #n0 = :v1, #n2 = if_not_exists(#n2, :v2) REMOVE #n1"
        );
        let names = update.expression_attribute_names().unwrap();
        assert_eq!(names["#n0"], "holder");
        assert_eq!(names["#n1"], "waiting");
        assert_eq!(names["#n2"], "touched");
        let values = update.expression_attribute_values().unwrap();
        assert_eq!(values[":v2"], AttributeValue::N("0".to_owned()));
        assert_eq!(update.key()["item"], AttributeValue::S("turn".to_owned()));
    }

    #[test]
    fn what_has_no_conditions_names_none() {
        let attributes = Attributes::default().remove(["unsettled"]);
        let item = written(Effect::Update(attributes), vec![]);
        let update = item.update().unwrap();
        assert_eq!(update.condition_expression(), None);
        assert_eq!(update.update_expression(), "REMOVE #n0");
        assert_eq!(update.expression_attribute_values(), None);
    }

    #[test]
    fn an_item_is_checked_or_deleted_under_its_conditions() {
        let conditions = || vec![Condition::equals("verdict", "inProgress")];
        let check = written(Effect::Check, conditions());
        let check = check.condition_check().unwrap();
        assert_eq!(check.condition_expression(), "#n0 = :v0");
        let delete = written(Effect::Delete, conditions());
        let delete = delete.delete().unwrap();
        assert_eq!(delete.condition_expression(), Some("#n0 = :v0"));
    }
}
