//! Values of requests and answers: typed where ECS acts on a field, as they are where it only
//! keeps it.

use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ApiError;

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

/// A moment in seconds since the epoch; ECS counts milliseconds.
pub(in crate::ecs) fn timestamp(moment: f64) -> jiff::Timestamp {
    let milliseconds = (moment * 1000.0).round() as i64;
    jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}
