//! One TLS endpoint for every AWS service, which answers from files.
//!
//! `fixtures/common/ecs.DescribeTasks.json` answers that action of that service, unless the
//! directory of the function that is measured has a file of that name. A read of one item of a table
//! has the item's kind behind it, `dynamodb.GetItem.turn.json`; with a number behind all,
//! `dynamodb.GetItem.turn.1.json`, a file answers only the first such call of an invocation.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::authority::HOST;

#[derive(Default)]
struct State {
    fixtures: BTreeMap<String, Fixture>,
    traffic: Traffic,
    /// So many calls are answered; `None`: all.
    answered: Option<usize>,
}

/// What an invocation asked of AWS.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Traffic {
    /// As `service.Action`, sorted: a function may have two on the way at once.
    pub(crate) calls: Vec<String>,
    /// What it told Step Functions for a task token.
    pub(crate) told: Vec<Value>,
}

#[derive(Clone)]
struct Fixture {
    body: Bytes,
    is_xml: bool,
}

/// The endpoint; it serves for as long as the runtime does.
#[derive(Clone)]
pub(crate) struct Aws {
    state: Arc<Mutex<State>>,
    held: watch::Sender<bool>,
}

impl Aws {
    fn new() -> Self {
        Self {
            state: Arc::default(),
            held: watch::Sender::new(false),
        }
    }

    /// Serves on a free port of the loopback interface; returns the URL too.
    pub(crate) async fn start(tls: Arc<ServerConfig>) -> Result<(Self, String)> {
        let aws = Self::new();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{HOST}:{}", listener.local_addr()?.port());
        tokio::spawn(aws.clone().accept(listener, TlsAcceptor::from(tls)));
        Ok((aws, url))
    }

    /// From now on answers from these directories, the later before the earlier.
    pub(crate) fn answer_from(&self, directories: &[&Path]) -> Result<()> {
        let mut fixtures = BTreeMap::new();
        for directory in directories.iter().filter(|directory| directory.is_dir()) {
            load(directory, &mut fixtures)?;
        }
        self.with_state(|state| state.fixtures = fixtures);
        Ok(())
    }

    /// From now on answers so many calls and leaves the next one without an answer; `None`: all.
    pub(crate) fn answer_only(&self, calls: Option<usize>) {
        self.with_state(|state| state.answered = calls);
        self.held.send_replace(false);
    }

    /// Waits until there is a call that gets no answer.
    pub(crate) async fn held(&self) {
        // The sender is this value's own, so that it can not be gone.
        let _ = self.held.subscribe().wait_for(|held| *held).await;
    }

    /// What was asked since this was last called.
    pub(crate) fn take_traffic(&self) -> Traffic {
        let mut traffic = self.with_state(|state| std::mem::take(&mut state.traffic));
        traffic.calls.sort();
        traffic
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn accept(self, listener: TcpListener, acceptor: TlsAcceptor) {
        while let Ok((stream, _)) = listener.accept().await {
            let (aws, acceptor) = (self.clone(), acceptor.clone());
            tokio::spawn(async move {
                // A function that is killed leaves its connections as they are.
                let _ = stream.set_nodelay(true);
                if let Ok(stream) = acceptor.accept(stream).await {
                    let service = service_fn(|request| aws.answer(request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                }
            });
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        let name = operation(head.uri.path(), &head.headers, &body);
        let name = name.unwrap_or_else(|| "unknown".to_owned());
        let Some(fixture) = self.with_state(|state| state.answer_to(&name, &body)) else {
            self.held.send_replace(true);
            return std::future::pending().await;
        };
        let content_type = head.headers.get(CONTENT_TYPE).cloned();
        let is_cbor = content_type.as_ref().is_some_and(|it| it == CBOR);
        let response = Response::builder();
        let response = match fixture {
            Some(Fixture { body, is_xml: true }) => response
                .header(CONTENT_TYPE, "text/xml")
                .body(Full::new(body)),
            Some(Fixture { body, .. }) if is_cbor => response
                .header(CONTENT_TYPE, CBOR)
                .header("smithy-protocol", "rpc-v2-cbor")
                .body(Full::new(cbor(&body))),
            Some(Fixture { body, .. }) => content_type
                .into_iter()
                .fold(response, |response, value| {
                    response.header(CONTENT_TYPE, value)
                })
                .body(Full::new(body)),
            None => response
                .status(StatusCode::BAD_REQUEST)
                .header("x-amzn-errortype", "NoFixture")
                .body(Full::new(Bytes::from(format!(
                    "{{\"message\":\"there is no fixture {name}\"}}"
                )))),
        };
        // Only a header from a fixture could be malformed, and there is none.
        Ok(response.unwrap_or_default())
    }
}

impl State {
    /// `None`: the call gets no answer.
    fn answer_to(&mut self, name: &str, body: &[u8]) -> Option<Option<Fixture>> {
        if self.answered == Some(self.traffic.calls.len()) {
            return None;
        }
        self.traffic.calls.push(name.to_owned());
        let number = self.traffic.calls.iter().filter(|call| *call == name);
        let numbered = format!("{name}.{}", number.count());
        if name == "states.SendTaskSuccess" {
            self.traffic.told.push(output(body));
        }
        let found = self.fixtures.get(&numbered);
        Some(found.or_else(|| self.fixtures.get(name)).cloned())
    }
}

/// The content type of Smithy's RPC protocol in CBOR, in which CloudWatch is asked.
const CBOR: &str = "application/cbor";

/// A fixture's JSON in CBOR.
fn cbor(json: &[u8]) -> Bytes {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    let mut bytes = Vec::new();
    // A vector takes whatever is written, and JSON has nothing that CBOR lacks.
    ciborium::into_writer(&value, &mut bytes).ok();
    bytes.into()
}

/// What a SendTaskSuccess tells.
fn output(body: &[u8]) -> Value {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let output = request["output"].as_str().unwrap_or_default();
    serde_json::from_str(output).unwrap_or_default()
}

fn load(directory: &Path, fixtures: &mut BTreeMap<String, Fixture>) -> Result<()> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let Some((name, extension)) = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.rsplit_once('.'))
        else {
            continue;
        };
        let body = Bytes::from(std::fs::read(&path)?);
        fixtures.insert(
            name.to_owned(),
            Fixture {
                body,
                is_xml: extension == "xml",
            },
        );
    }
    Ok(())
}

/// `service.Action` of a request in one of the AWS JSON protocols, the CBOR protocol or the query
/// protocol. The service is the one that the request is signed for.
fn operation(path: &str, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let scope = authorization
        .split_once("Credential=")?
        .1
        .split(',')
        .next()?;
    let service = scope.split('/').nth(3)?;
    let action = match (headers.get("x-amz-target"), path.split_once("/operation/")) {
        (Some(target), _) => target.to_str().ok()?.rsplit('.').next()?,
        (None, Some((_, action))) => action,
        (None, None) => std::str::from_utf8(body)
            .ok()?
            .split('&')
            .find_map(|field| field.strip_prefix("Action="))?,
    };
    let name = format!("{service}.{action}");
    Some(match kind_of_item(&name, body) {
        Some(kind) => format!("{name}.{kind}"),
        None => name,
    })
}

/// Of a read of one item, what that is: the turn of a stack, the record of a release, or a task
/// token.
fn kind_of_item(name: &str, body: &[u8]) -> Option<&'static str> {
    if name != "dynamodb.GetItem" {
        return None;
    }
    let request: Value = serde_json::from_slice(body).ok()?;
    match request["Key"]["item"]["S"].as_str() {
        Some("turn") => Some("turn"),
        Some(_) => Some("record"),
        None => Some("token"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(target: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let authorization = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/ecs/aws4_request, \
                             SignedHeaders=host, Signature=0";
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        if let Some(target) = target {
            headers.insert("x-amz-target", target.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_operation_of_a_json_request_is_its_target() {
        let headers = headers(Some("AmazonEC2ContainerServiceV20141113.DescribeTasks"));
        assert_eq!(
            operation("/", &headers, b"{}").as_deref(),
            Some("ecs.DescribeTasks")
        );
    }

    #[test]
    fn the_operation_of_a_query_request_is_its_action() {
        let body = b"Version=2010-05-15&Action=DescribeStacks&StackName=demo";
        assert_eq!(
            operation("/", &headers(None), body).as_deref(),
            Some("ecs.DescribeStacks")
        );
        assert_eq!(operation("/", &headers(None), b""), None);
        assert_eq!(operation("/", &HeaderMap::new(), body), None);
    }

    #[test]
    fn the_operation_of_a_cbor_request_stands_in_its_path() {
        let path = "/service/GraniteServiceVersion20100801/operation/DescribeAlarms";
        assert_eq!(
            operation(path, &headers(None), b"\xa0").as_deref(),
            Some("ecs.DescribeAlarms")
        );
    }

    #[test]
    fn a_read_of_an_item_is_told_by_what_it_is() {
        let kind = |body: &str| kind_of_item("dynamodb.GetItem", body.as_bytes());
        assert_eq!(kind(r#"{"Key":{"item":{"S":"turn"}}}"#), Some("turn"));
        assert_eq!(
            kind(r#"{"Key":{"item":{"S":"release#t"}}}"#),
            Some("record")
        );
        assert_eq!(kind(r#"{"Key":{"awaited":{"S":"f#e"}}}"#), Some("token"));
        assert_eq!(kind_of_item("dynamodb.Query", b"{}"), None);
    }

    #[test]
    fn a_numbered_fixture_answers_one_call_of_an_invocation() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("ecs.A.1", "first"), ("ecs.A", "later")] {
            std::fs::write(directory.path().join(format!("{name}.json")), text).unwrap();
        }
        let aws = Aws::new();
        aws.answer_from(&[directory.path()]).unwrap();
        let ask = || {
            let answer = aws.with_state(|state| state.answer_to("ecs.A", b""));
            answer.flatten().map(|fixture| fixture.body)
        };
        for _ in 0..2 {
            assert_eq!(ask().unwrap(), "first");
            assert_eq!(ask().unwrap(), "later");
            assert_eq!(aws.take_traffic().calls, ["ecs.A", "ecs.A"]);
        }
        aws.answer_only(Some(1));
        assert!(ask().is_some());
        assert!(ask().is_none());
    }

    #[test]
    fn what_a_token_is_answered_with_is_kept() {
        let aws = Aws::new();
        let body = br#"{"taskToken":"t","output":"{\"at\":1}"}"#;
        aws.with_state(|state| state.answer_to("states.SendTaskSuccess", body));
        assert_eq!(aws.take_traffic().told, [serde_json::json!({"at": 1})]);
    }

    #[test]
    fn a_functions_own_fixture_comes_before_the_common_one() {
        let directory = tempfile::tempdir().unwrap();
        let (common, own) = (
            directory.path().join("common"),
            directory.path().join("own"),
        );
        for (path, text) in [(&common, "common"), (&own, "own")] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("ecs.DescribeTasks.json"), text).unwrap();
        }
        std::fs::write(common.join("cloudformation.DescribeStacks.xml"), "<x/>").unwrap();
        let aws = Aws::new();
        aws.answer_from(&[&common, &own, &directory.path().join("absent")])
            .unwrap();
        aws.with_state(|state| {
            assert_eq!(state.fixtures["ecs.DescribeTasks"].body, "own");
            assert!(state.fixtures["cloudformation.DescribeStacks"].is_xml);
        });
    }
}
