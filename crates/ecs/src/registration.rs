//! What registers a task definition: the document by which ECS describes it.
//!
//! The SDK knows the members that ECS had when the SDK was made, and drops all others without a word. So
//! the document of an answer goes into the request as it came. A member has the same name in both, and
//! the same form: none of those that a request takes is a timestamp
//! (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html>).

use aws_sdk_ecs::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_ecs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecs::error::BoxError;
use aws_sdk_ecs::types::Tag;
use aws_smithy_types::body::SdkBody;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// What ECS adds when it registers, and takes back from nobody
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskDefinition.html>).
const MADE_BY_ECS: [&str; 9] = [
    "compatibilities",
    "deleteRequestedAt",
    "deregisteredAt",
    "registeredAt",
    "registeredBy",
    "requiresAttributes",
    "revision",
    "status",
    "taskDefinitionArn",
];

/// Keeps the answer to a request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct AsItCame(Arc<Mutex<Vec<u8>>>);

impl AsItCame {
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for AsItCame {
    fn name(&self) -> &'static str {
        "AsItCame"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().body().bytes().unwrap_or_default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = body.to_vec();
        Ok(())
    }
}

/// The request, which takes the place of the one that the SDK writes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Registration(Map<String, Value>);

impl Registration {
    /// The one that registers what an answer to DescribeTaskDefinition describes; `None` where it
    /// describes nothing.
    pub(crate) fn of(answer: &[u8], tags: &[Tag]) -> Option<Self> {
        let mut answer: Map<String, Value> = serde_json::from_slice(answer).ok()?;
        let Some(Value::Object(mut document)) = answer.remove("taskDefinition") else {
            return None;
        };
        document.retain(|member, _| !MADE_BY_ECS.contains(&member.as_str()));
        // ECS refuses an empty list of tags.
        if !tags.is_empty() {
            let tags = tags.iter().map(|tag| match tag.value() {
                Some(value) => json!({"key": tag.key(), "value": value}),
                None => json!({"key": tag.key()}),
            });
            document.insert("tags".to_owned(), tags.collect());
        }
        Some(Self(document))
    }

    pub(crate) fn family(&self) -> &str {
        self.0
            .get("family")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn set(&mut self, member: &str, value: String) {
        self.0.insert(member.to_owned(), value.into());
    }

    pub(crate) fn containers(&mut self) -> impl Iterator<Item = &mut Map<String, Value>> {
        let containers = self.0.get_mut("containerDefinitions");
        let containers = containers.and_then(Value::as_array_mut);
        let containers = containers.into_iter().flatten();
        containers.filter_map(Value::as_object_mut)
    }
}

impl Intercept for Registration {
    fn name(&self) -> &'static str {
        "Registration"
    }

    /// Before the request is signed, and once for all its attempts.
    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = serde_json::to_string(&self.0)?;
        let request = context.request_mut();
        let length = body.len().to_string();
        request.headers_mut().insert("content-length", length);
        *request.body_mut() = SdkBody::from(body);
        Ok(())
    }
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
