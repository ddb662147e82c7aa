use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::{BTreeMap, HashMap};

/// An item of the table.
pub type Item = BTreeMap<String, Value>;

/// The value of an attribute. The table holds no other kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Number(number.into())
    }
}

impl From<&Value> for AttributeValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Text(text) => AttributeValue::S(text.clone()),
            Value::Number(number) => AttributeValue::N(number.to_string()),
        }
    }
}

/// The attributes that are texts or whole numbers; nobody writes others.
pub(crate) fn item_of(attributes: HashMap<String, AttributeValue>) -> Item {
    let value = |attribute| match attribute {
        AttributeValue::S(text) => Some(Value::Text(text)),
        AttributeValue::N(number) => number.parse().ok().map(Value::Number),
        _ => None,
    };
    attributes
        .into_iter()
        .filter_map(|(name, attribute)| Some((name, value(attribute)?)))
        .collect()
}

pub(crate) fn text(item: &Item, name: &str) -> Option<String> {
    match item.get(name)? {
        Value::Text(text) => Some(text.clone()),
        Value::Number(_) => None,
    }
}

pub(crate) fn number(item: &Item, name: &str) -> Option<i64> {
    match item.get(name)? {
        Value::Number(number) => Some(*number),
        Value::Text(_) => None,
    }
}
