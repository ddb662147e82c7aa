//! Which operation of which service a request is for, and who calls it.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::lambda;
use crate::protocol::{MACHINE_ROLE, Protocol, RPC_V2_CBOR, SMITHY_PROTOCOL, TRACE_ID};

/// No request whose body is read here is larger: parts of image layers in JSON.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

const LAMBDA_FUNCTIONS: &str = "/2015-03-31/functions";

/// A request of an AWS API.
#[derive(Clone, Debug)]
pub(crate) struct ApiCall {
    /// The service's signing name, such as `ecs`; empty for a request that nobody signed.
    pub(crate) service: String,
    /// The operation's name; for an operation of a REST API that is not known here its method and
    /// path.
    pub(crate) operation: String,
    pub(crate) protocol: Protocol,
    /// The request's parameters as far as they are read here: the body of JSON, CBOR and query
    /// protocols; of REST APIs what stands in the path, and Invoke's `Payload`.
    pub(crate) parameters: Result<Value, String>,
    /// The access key of the signature: it tells functions apart.
    pub(crate) access_key: String,
    /// The ARN of the role in which a state machine calls.
    pub(crate) machine_role: Option<String>,
    pub(crate) user_agent: String,
    /// X-Ray's trace that it is part of.
    pub(crate) trace: String,
}

impl ApiCall {
    /// Reads what a request is for; the request comes back whole.
    ///
    /// # Errors
    /// The answer to a request whose body cannot be read.
    pub(crate) async fn read(request: Request) -> Result<(Self, Request), Response> {
        let (parts, body) = request.into_parts();
        let signature = Signature::of(&parts.headers, &parts.uri);
        let path = parts.uri.path();
        let service = if path.starts_with(LAMBDA_FUNCTIONS) {
            "lambda".to_owned()
        } else {
            signature.service
        };
        let mut call = Self {
            protocol: protocol(&parts.headers, &service),
            service,
            operation: String::new(),
            parameters: Ok(Value::Null),
            access_key: signature.access_key,
            machine_role: Some(text(&parts.headers, MACHINE_ROLE.as_str()).to_owned())
                .filter(|role| !role.is_empty()),
            user_agent: text(&parts.headers, "user-agent").to_owned(),
            trace: text(&parts.headers, TRACE_ID.as_str()).to_owned(),
        };
        let body = match call.protocol {
            Protocol::RestJson | Protocol::RestXml => {
                let (operation, parameters) =
                    rest_operation(&call.service, &parts.method, &parts.uri, &parts.headers);
                call.operation = operation;
                let mut body = body;
                if call.is("lambda", "Invoke") {
                    let bytes = read(body, lambda::PAYLOAD_LIMIT)
                        .await
                        .map_err(|_| too_large(&call, lambda::PAYLOAD_LIMIT))?;
                    call.parameters = Ok(with_payload(parameters, &bytes));
                    body = Body::from(bytes);
                } else {
                    call.parameters = Ok(parameters);
                }
                body
            }
            _ => {
                let bytes = read(body, BODY_LIMIT)
                    .await
                    .map_err(|_| too_large(&call, BODY_LIMIT))?;
                call.read_rpc(&parts.headers, path, &bytes);
                Body::from(bytes)
            }
        };
        Ok((call, Request::from_parts(parts, body)))
    }

    pub(crate) fn is(&self, service: &str, operation: &str) -> bool {
        self.service == service && self.operation == operation
    }

    /// An error of the local AWS or of a service, as the caller's SDK understands it.
    pub(crate) fn error(&self, status: StatusCode, name: &str, message: &str) -> Response {
        self.protocol.error(status, name, message)
    }

    fn read_rpc(&mut self, headers: &HeaderMap, path: &str, body: &[u8]) {
        match self.protocol {
            Protocol::Json(_) => {
                let target = text(headers, "x-amz-target");
                let operation = target.rsplit_once('.').map_or("", |(_, name)| name);
                self.operation = operation.to_owned();
                self.parameters = serde_json::from_slice(body).map_err(|error| error.to_string());
            }
            Protocol::Cbor => {
                // /service/NAME/operation/OPERATION
                let operation = path.rsplit('/').next().unwrap_or_default();
                self.operation = operation.to_owned();
                self.parameters = crate::protocol::json_of_cbor(body);
            }
            _ => {
                let mut form: Map<String, Value> = form_urlencoded::parse(body)
                    .map(|(name, value)| (name.into_owned(), json!(value)))
                    .collect();
                if let Some(Value::String(action)) = form.remove("Action") {
                    self.operation = action;
                }
                self.parameters = Ok(Value::Object(form));
            }
        }
    }
}

async fn read(body: Body, limit: usize) -> Result<Bytes, axum::Error> {
    to_bytes(body, limit).await
}

fn too_large(call: &ApiCall, limit: usize) -> Response {
    call.error(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestTooLargeException",
        &format!("Request must be smaller than {limit} bytes"),
    )
}

/// What an AWS signature, version 4, says: `Credential=KEY/DATE/REGION/SERVICE/aws4_request`, in a
/// header or, in a presigned address, in the query.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-signing-elements.html>
#[derive(Debug, Default, PartialEq, Eq)]
struct Signature {
    access_key: String,
    service: String,
}

impl Signature {
    fn of(headers: &HeaderMap, uri: &Uri) -> Self {
        let authorization = text(headers, header::AUTHORIZATION.as_str());
        let signed = authorization.split_once("Credential=");
        match signed {
            Some((_, rest)) => Self::parse(rest.split([',', ' ']).next().unwrap_or_default()),
            None => query(uri)
                .find(|(name, _)| name == "X-Amz-Credential")
                .map(|(_, credential)| Self::parse(&credential))
                .unwrap_or_default(),
        }
    }

    fn parse(credential: &str) -> Self {
        let mut from_the_end = credential.rsplit('/');
        let service = from_the_end.nth(1).unwrap_or_default();
        Self {
            access_key: from_the_end.nth(2).unwrap_or_default().to_owned(),
            service: service.to_owned(),
        }
    }
}

fn protocol(headers: &HeaderMap, service: &str) -> Protocol {
    let content_type = text(headers, header::CONTENT_TYPE.as_str());
    if text(headers, SMITHY_PROTOCOL.as_str()) == RPC_V2_CBOR {
        Protocol::Cbor
    } else if headers.contains_key("x-amz-target") {
        let version = content_type.rsplit_once("x-amz-json-");
        Protocol::Json(version.map_or("1.1", |(_, version)| version).to_owned())
    } else if content_type.starts_with("application/x-www-form-urlencoded") {
        match service {
            "ec2" => Protocol::Ec2Query,
            _ => Protocol::Query,
        }
    } else if service == "s3" {
        Protocol::RestXml
    } else {
        Protocol::RestJson
    }
}

/// The operation of a REST API and the parameters that its path has.
fn rest_operation(
    service: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> (String, Value) {
    let known = match service {
        "lambda" => lambda_operation(method, uri.path()),
        "s3" => s3_operation(method, uri, headers),
        _ => None,
    };
    match known {
        Some((operation, parameters)) => (operation.to_owned(), parameters),
        None => (format!("{method} {}", uri.path()), Value::Null),
    }
}

fn lambda_operation(method: &Method, path: &str) -> Option<(&'static str, Value)> {
    let rest = path.strip_prefix(LAMBDA_FUNCTIONS)?;
    let mut segments = rest.split('/').skip(1);
    let function = segments.next().filter(|name| !name.is_empty());
    let Some(function) = function else {
        let operation = match method.as_str() {
            "POST" => "CreateFunction",
            "GET" => "ListFunctions",
            _ => return None,
        };
        return Some((operation, Value::Null));
    };
    let operation = match (method.as_str(), segments.next()) {
        ("POST", Some("invocations")) => "Invoke",
        ("GET", None) => "GetFunction",
        ("DELETE", None) => "DeleteFunction",
        ("PUT", Some("code")) => "UpdateFunctionCode",
        ("PUT", Some("configuration")) => "UpdateFunctionConfiguration",
        _ => return None,
    };
    Some((operation, json!({ "FunctionName": decoded(function) })))
}

/// Objects only, addressed by path: `/BUCKET/KEY`.
fn s3_operation(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<(&'static str, Value)> {
    let (bucket, key) = uri.path().strip_prefix('/')?.split_once('/')?;
    // `?tagging`, `?uploads` and the like make other operations.
    let plain = query(uri).all(|(name, _)| {
        name.starts_with("X-Amz-")
            || name.starts_with("response-")
            || ["x-id", "versionId"].contains(&name.as_ref())
    });
    if key.is_empty() || !plain {
        return None;
    }
    let operation = match method.as_str() {
        "GET" => "GetObject",
        "HEAD" => "HeadObject",
        "PUT" if headers.contains_key("x-amz-copy-source") => "CopyObject",
        "PUT" => "PutObject",
        "DELETE" => "DeleteObject",
        _ => return None,
    };
    let parameters = json!({ "Bucket": decoded(bucket), "Key": decoded(key) });
    Some((operation, parameters))
}

fn with_payload(mut parameters: Value, payload: &[u8]) -> Value {
    if let Ok(payload) = serde_json::from_slice::<Value>(payload) {
        parameters["Payload"] = payload;
    }
    parameters
}

fn query(uri: &Uri) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, service: &str, headers: &[(&str, &str)]) -> Request {
        request_with(method, uri, service, headers, "")
    }

    fn request_with(
        method: &str,
        uri: &str,
        service: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> Request {
        let mut request = Request::builder().method(method).uri(uri).header(
            "Authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/{service}/aws4_request, \
                 SignedHeaders=host, Signature=0"
            ),
        );
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(body)).unwrap()
    }

    async fn call(request: Request) -> ApiCall {
        ApiCall::read(request).await.unwrap().0
    }

    #[tokio::test]
    async fn json_names_its_operation_in_a_header() {
        let headers = [
            ("X-Amz-Target", "AmazonSQS.SendMessage"),
            ("Content-Type", "application/x-amz-json-1.0"),
        ];
        let call = call(request_with("POST", "/", "sqs", &headers, r#"{"a":1}"#)).await;
        assert!(call.is("sqs", "SendMessage"), "{call:?}");
        assert_eq!(call.protocol, Protocol::Json("1.0".to_owned()));
        assert_eq!(call.parameters, Ok(json!({"a": 1})));
        assert_eq!(call.access_key, "KEY");
    }

    #[tokio::test]
    async fn a_form_names_its_action() {
        let headers = [(
            "Content-Type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )];
        let body = "Action=Publish&TopicArn=arn%3Aa";
        let call = call(request_with("POST", "/", "sns", &headers, body)).await;
        assert!(call.is("sns", "Publish"), "{call:?}");
        assert_eq!(call.parameters, Ok(json!({"TopicArn": "arn:a"})));
    }

    #[tokio::test]
    async fn cbor_names_its_operation_in_the_path() {
        let headers = [("Smithy-Protocol", "rpc-v2-cbor")];
        let path = "/service/GraniteServiceVersion20100801/operation/DescribeAlarms";
        let call = call(request("POST", path, "monitoring", &headers)).await;
        assert!(call.is("monitoring", "DescribeAlarms"), "{call:?}");
    }

    #[tokio::test]
    async fn an_invocation_names_its_function_in_the_path() {
        let path = "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations";
        let call = call(request_with("POST", path, "lambda", &[], r#"{"n":1}"#)).await;
        assert!(call.is("lambda", "Invoke"), "{call:?}");
        let expected = json!({"FunctionName": "arn:aws:lambda", "Payload": {"n": 1}});
        assert_eq!(call.parameters, Ok(expected));
    }

    #[tokio::test]
    async fn objects_are_read_and_written_by_path() {
        for (method, uri, operation) in [
            ("GET", "/b/k/l?x-id=GetObject", "GetObject"),
            ("PUT", "/b/k/l", "PutObject"),
            ("GET", "/b/k/l?tagging", "GET /b/k/l"),
            ("GET", "/b/", "GET /b/"),
        ] {
            let call = call(request(method, uri, "s3", &[])).await;
            assert_eq!(call.operation, operation);
            assert_eq!(call.protocol, Protocol::RestXml);
        }
    }

    #[tokio::test]
    async fn a_presigned_address_is_signed_in_its_query() {
        let uri = "/b/k?X-Amz-Credential=KEY%2F20260101%2Fus-east-1%2Fs3%2Faws4_request";
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        let call = call(request).await;
        assert!(call.is("s3", "GetObject"), "{call:?}");
        assert_eq!(call.access_key, "KEY");
    }

    #[tokio::test]
    async fn an_unsigned_request_names_no_service() {
        let request = Request::builder().uri("/").body(Body::empty()).unwrap();
        assert_eq!(call(request).await.service, "");
    }
}
