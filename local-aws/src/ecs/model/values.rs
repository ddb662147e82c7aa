//! Reading requests: typed where ECS acts on a field, as they are where it only keeps it.

use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::ecs::ApiError;

pub(in crate::ecs) type Object = Map<String, Value>;

/// Reads the fields of a request that ECS acts on; others are ignored.
pub(in crate::ecs) fn parse<T: DeserializeOwned>(request: &Value) -> Result<T, ApiError> {
    T::deserialize(request)
        .map_err(|error| ApiError::client("SerializationException", error.to_string()))
}

/// Seconds since the epoch, with milliseconds, as ECS writes time stamps in JSON.
pub(in crate::ecs) fn now() -> f64 {
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A tag of any ECS resource.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(in crate::ecs) struct Tag {
    pub(in crate::ecs) key: String,
    #[serde(default)]
    pub(in crate::ecs) value: String,
}

impl Tag {
    /// One of the tags that ECS adds itself where `enableECSManagedTags` is set.
    pub(in crate::ecs) fn managed(key: &str, value: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }
}

pub(in crate::ecs) fn tags_to_json(tags: &[Tag]) -> Value {
    tags.iter()
        .map(|tag| serde_json::json!({"key": tag.key, "value": tag.value}))
        .collect()
}

/// A name and a value, as in `environment`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(in crate::ecs) struct KeyValue {
    pub(in crate::ecs) name: String,
    #[serde(default)]
    pub(in crate::ecs) value: String,
}

/// Puts a field into an answer unless it has no value.
pub(in crate::ecs) fn put(object: &mut Object, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

/// Whether `include` asks for something, such as `TAGS`.
pub(in crate::ecs) fn includes(include: &[String], what: &str) -> bool {
    include.iter().any(|item| item == what)
}

/// Cuts one page out of a list. The token is the position of the next page's first item.
///
/// Items may appear or vanish between two pages, as with AWS.
pub(in crate::ecs) fn page<T>(
    items: Vec<T>,
    max_results: Option<i64>,
    next_token: Option<&str>,
    largest: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let size = match max_results {
        None => largest,
        Some(size) => usize::try_from(size)
            .ok()
            .filter(|size| (1..=largest).contains(size))
            .ok_or_else(|| {
                ApiError::invalid_parameter(format!("maxResults must be between 1 and {largest}."))
            })?,
    };
    let start = match next_token {
        None => 0,
        Some(token) => token
            .parse::<usize>()
            .map_err(|_| ApiError::invalid_parameter("Invalid token."))?,
    };
    let next = (start + size < items.len()).then(|| (start + size).to_string());
    Ok((items.into_iter().skip(start).take(size).collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_cut_into_pages() {
        let list = || vec![1, 2, 3];
        let (first, token) = page(list(), Some(2), None, 100).unwrap();
        assert_eq!((first, token.as_deref()), (vec![1, 2], Some("2")));
        let (second, token) = page(list(), Some(2), token.as_deref(), 100).unwrap();
        assert_eq!((second, token), (vec![3], None));
        assert!(page(list(), Some(0), None, 100).is_err());
        assert!(page(list(), Some(101), None, 100).is_err());
        assert!(page(list(), None, Some("x"), 100).is_err());
    }
}
