//! The wire formats of AWS's APIs, as far as a request or an error says which one it is in.
//!
//! Errors: <https://smithy.io/2.0/aws/protocols/index.html>, each protocol's section on errors.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// The header in which JSON protocols name an error's type.
pub(crate) const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The header in which JSON and CBOR have an error's name of the query protocol, and whose fault it is,
/// where a service had that protocol before.
pub(crate) const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

/// The header of a request's id in the JSON protocols.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The header of X-Ray's trace that a request is part of.
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
pub(crate) const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// The header in which moto's Step Functions names the role in which a state machine calls;
/// `moto/glue/interpreter_reuse.py` sets it.
pub(crate) const MACHINE_ROLE: HeaderName = HeaderName::from_static("x-local-aws-role");

/// The root of a new trace.
pub(crate) fn trace_root() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("Root=1-{}-{}", &id[..8], &id[8..])
}

/// How an API writes its requests and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// awsJson, with the version as the request's content type has it, such as `1.1`.
    Json(String),
    /// awsQuery: a form, answered in XML.
    Query,
    /// EC2's kind of awsQuery, which differs in its errors.
    Ec2Query,
    /// Smithy RPC v2 CBOR: CloudWatch, as newer SDKs ask it.
    Cbor,
    RestJson,
    RestXml,
}

impl Protocol {
    /// An error answer that the SDKs of this protocol understand.
    pub(crate) fn error(&self, status: StatusCode, name: &str, message: &str) -> Response {
        self.error_with(status, name, message, &Map::new())
    }

    /// The same, with what else the error has; of which only awsJson knows here.
    pub(crate) fn error_with(
        &self,
        status: StatusCode,
        name: &str,
        message: &str,
        members: &Map<String, Value>,
    ) -> Response {
        let id = uuid::Uuid::new_v4().to_string();
        let (content_type, body): (String, Vec<u8>) = match self {
            Self::Json(version) => {
                let mut body = members.clone();
                body.insert("__type".to_owned(), name.into());
                body.insert("message".to_owned(), message.into());
                (
                    format!("application/x-amz-json-{version}"),
                    Value::Object(body).to_string().into(),
                )
            }
            Self::RestJson => (
                "application/json".to_owned(),
                json!({ "Type": sender_or_receiver(status, "User", "Service"), "message": message })
                    .to_string()
                    .into(),
            ),
            Self::Cbor => (
                "application/cbor".to_owned(),
                cbor(&json!({ "__type": name, "message": message })),
            ),
            Self::Query => ("text/xml".to_owned(), query(status, name, message, &id).into()),
            Self::Ec2Query => (
                "text/xml".to_owned(),
                format!(
                    "<Response><Errors><Error>{}</Error></Errors>{}</Response>",
                    code_and_message(name, message),
                    element("RequestID", &id)
                )
                .into(),
            ),
            Self::RestXml => (
                "application/xml".to_owned(),
                format!(
                    "<Error>{}{}</Error>",
                    code_and_message(name, message),
                    element("RequestId", &id)
                )
                .into(),
            ),
        };
        let mut response = (status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        let mut set = |header: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(header, value);
            }
        };
        set(header::CONTENT_TYPE, &content_type);
        set(REQUEST_ID, &id);
        match self {
            Self::Json(_) | Self::RestJson => set(ERROR_TYPE, name),
            Self::Cbor => set(SMITHY_PROTOCOL, RPC_V2_CBOR),
            Self::Query | Self::Ec2Query | Self::RestXml => {}
        }
        response
    }
}

/// The header that tells Smithy RPC v2 CBOR from other protocols, and its value.
pub(crate) const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
pub(crate) const RPC_V2_CBOR: &str = "rpc-v2-cbor";

fn sender_or_receiver<'a>(status: StatusCode, sender: &'a str, receiver: &'a str) -> &'a str {
    if status.is_server_error() {
        receiver
    } else {
        sender
    }
}

fn query(status: StatusCode, name: &str, message: &str, id: &str) -> String {
    format!(
        "<ErrorResponse><Error>{}{}</Error>{}</ErrorResponse>",
        element("Type", sender_or_receiver(status, "Sender", "Receiver")),
        code_and_message(name, message),
        element("RequestId", id)
    )
}

fn code_and_message(name: &str, message: &str) -> String {
    element("Code", name) + &element("Message", message)
}

fn element(name: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<{name}>{text}</{name}>")
}

fn cbor(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A vector takes whatever is written, and JSON has nothing that CBOR lacks.
    ciborium::into_writer(value, &mut bytes).ok();
    bytes
}

/// A CBOR document as the JSON it corresponds to; time stamps become seconds.
///
/// # Errors
/// A sentence when it is no CBOR, or has keys that are no text.
pub(crate) fn json_of_cbor(bytes: &[u8]) -> Result<Value, String> {
    let value: ciborium::Value =
        ciborium::from_reader(bytes).map_err(|error| format!("The body is no CBOR: {error}"))?;
    json_of(value)
}

fn json_of(value: ciborium::Value) -> Result<Value, String> {
    use ciborium::Value as Cbor;
    match value {
        Cbor::Tag(_, inner) => json_of(*inner),
        Cbor::Array(items) => items.into_iter().map(json_of).collect(),
        Cbor::Map(entries) => entries
            .into_iter()
            .map(|(key, value)| match key {
                Cbor::Text(key) => Ok((key, json_of(value)?)),
                other => Err(format!("The body has the key {other:?}, which is no text")),
            })
            .collect(),
        other => other
            .deserialized()
            .map_err(|error| format!("The body has a value that JSON cannot have: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn body(protocol: Protocol) -> Vec<u8> {
        let response = protocol.error(StatusCode::BAD_REQUEST, "Throttling", "Rate < 1");
        to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap()
            .to_vec()
    }

    #[tokio::test]
    async fn cbor_errors_name_their_type() {
        let json = json_of_cbor(&body(Protocol::Cbor).await).unwrap();
        assert_eq!(json, json!({"__type": "Throttling", "message": "Rate < 1"}));
    }

    #[tokio::test]
    async fn xml_errors_escape_their_message() {
        for protocol in [Protocol::Query, Protocol::Ec2Query, Protocol::RestXml] {
            let xml = String::from_utf8(body(protocol).await).unwrap();
            let expected = "<Code>Throttling</Code><Message>Rate &lt; 1</Message>";
            assert!(xml.contains(expected), "{xml}");
        }
    }

    #[test]
    fn a_time_stamp_in_cbor_becomes_its_seconds() {
        use ciborium::Value as Cbor;
        let time = Cbor::Tag(1, Box::new(Cbor::Float(1.5)));
        let map = Cbor::Map(vec![(Cbor::Text("Timestamp".to_owned()), time)]);
        let mut bytes = Vec::new();
        ciborium::into_writer(&map, &mut bytes).unwrap();
        assert_eq!(json_of_cbor(&bytes), Ok(json!({"Timestamp": 1.5})));
    }
}
