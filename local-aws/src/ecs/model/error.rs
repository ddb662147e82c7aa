//! The exceptions of the ECS API.

use http::StatusCode;
use serde_json::{Value, json};
use thiserror::Error;

/// An answer of the ECS API that is an error: the exception's name as in AWS's API model, its
/// message, and the HTTP status it is sent with.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{name}: {message}")]
pub struct ApiError {
    pub name: &'static str,
    pub message: String,
    pub status: StatusCode,
    /// The `resourceIds` of a ConflictException.
    pub resource_ids: Vec<String>,
}

impl ApiError {
    /// An error the caller caused.
    pub fn client(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            message: message.into(),
            status: StatusCode::BAD_REQUEST,
            resource_ids: Vec::new(),
        }
    }

    /// A parameter has a value the operation does not take.
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::client("InvalidParameterException", message)
    }

    /// The request names something that does not exist or cannot be used that way.
    pub fn client_exception(message: impl Into<String>) -> Self {
        Self::client("ClientException", message)
    }

    /// AWS has it, and this ECS does not.
    pub(crate) fn unsupported(feature: &str) -> Self {
        Self::client(
            "UnsupportedFeatureException",
            format!("The local ECS does not support {feature}."),
        )
    }

    /// The request conflicts with one before it, which made these resources.
    pub fn conflict(message: impl Into<String>, resource_ids: Vec<String>) -> Self {
        Self {
            resource_ids,
            ..Self::client("ConflictException", message)
        }
    }

    /// The cluster does not exist or is not active.
    pub fn cluster_not_found() -> Self {
        Self::client("ClusterNotFoundException", "Cluster not found.")
    }

    /// The service does not exist.
    pub fn service_not_found() -> Self {
        Self::client("ServiceNotFoundException", "Service not found.")
    }

    /// The service is being or has been deleted.
    pub fn service_not_active() -> Self {
        Self::client("ServiceNotActiveException", "Service was not ACTIVE.")
    }

    /// The service deployment does not exist.
    pub fn service_deployment_not_found() -> Self {
        Self::client(
            "ServiceDeploymentNotFoundException",
            "Service deployment not found.",
        )
    }

    /// The local ECS itself failed, for example because moto did not answer.
    pub fn server(message: impl Into<String>) -> Self {
        Self {
            name: "ServerException",
            message: message.into(),
            status: StatusCode::INTERNAL_SERVER_ERROR,
            resource_ids: Vec::new(),
        }
    }

    /// The body of the answer.
    pub(crate) fn to_json(&self) -> Value {
        let mut body = json!({ "__type": self.name, "message": self.message });
        if !self.resource_ids.is_empty() {
            body["resourceIds"] = json!(self.resource_ids);
        }
        body
    }
}
