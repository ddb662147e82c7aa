//! Answers of the registry, and its refusals.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>

use std::borrow::Cow;
use std::fmt::Display;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Every answer tells clients by it that this is a registry.
pub(super) const VERSION: [(&str, &str); 1] = [("docker-distribution-api-version", "registry/2.0")];
/// The digest of what is answered, or was taken.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Why a request was not carried out. Nothing was changed, unless the message says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// A header that says how to go on.
    header: Option<(HeaderName, String)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            header: None,
        }
    }

    /// The same with a header.
    pub(super) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// ECR asks for basic authentication, and clients log in by what it asks for.
    pub(super) fn unauthorized(endpoint: &str) -> Self {
        let how = format!("Basic realm=\"{endpoint}/\",service=\"ecr.amazonaws.com\"");
        let message = "Not Authorized: log in with the name AWS and the password that aws ecr get-login-password prints.";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
            .with(header::WWW_AUTHENTICATE, how)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let errors = json!({"errors": [{"code": self.code, "message": self.message}]});
        let mut response = (self.status, VERSION, Json(errors)).into_response();
        if let Some((name, value)) = self.header
            && let Ok(value) = HeaderValue::from_str(&value)
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What is this machine's or moto's failure and not the client's.
pub(super) fn unexpected(error: &(impl Display + ?Sized)) -> Refusal {
    tracing::warn!("the registry could not answer: {error}");
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "UNKNOWN",
        error.to_string(),
    )
}

/// The value of a parameter in the query.
pub(super) fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}
