//! One TLS endpoint for every AWS service, which answers from files.
//!
//! `fixtures/common/ecs.DescribeTasks.json` answers that action of that service, unless the
//! directory of the function that is measured has a file of that name.

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
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::authority::HOST;

#[derive(Default)]
struct State {
    fixtures: BTreeMap<String, Fixture>,
    calls: Vec<String>,
}

#[derive(Clone)]
struct Fixture {
    body: Bytes,
    is_xml: bool,
}

/// The endpoint; it serves for as long as the runtime does.
#[derive(Clone, Default)]
pub(crate) struct Aws {
    state: Arc<Mutex<State>>,
}

impl Aws {
    /// Serves on a free port of the loopback interface; returns the URL too.
    pub(crate) async fn start(tls: Arc<ServerConfig>) -> Result<(Self, String)> {
        let aws = Self::default();
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

    /// The calls since this was last asked, as `service.Action`, sorted: a function may have two
    /// on the way at once.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        let mut calls = self.with_state(|state| std::mem::take(&mut state.calls));
        calls.sort();
        calls
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
        let name = operation(&head.headers, &body).unwrap_or_else(|| "unknown".to_owned());
        let fixture = self.with_state(|state| {
            state.calls.push(name.clone());
            state.fixtures.get(&name).cloned()
        });
        let json = head.headers.get(CONTENT_TYPE).cloned();
        let response = match fixture {
            Some(Fixture { body, is_xml: true }) => Response::builder()
                .header(CONTENT_TYPE, "text/xml")
                .body(Full::new(body)),
            Some(Fixture {
                body,
                is_xml: false,
            }) => {
                let response = Response::builder();
                json.into_iter()
                    .fold(response, |response, value| {
                        response.header(CONTENT_TYPE, value)
                    })
                    .body(Full::new(body))
            }
            None => Response::builder()
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

/// `service.Action` of a request in one of the AWS JSON protocols or the query protocol. The
/// service is the one that the request is signed for.
fn operation(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let scope = authorization
        .split_once("Credential=")?
        .1
        .split(',')
        .next()?;
    let service = scope.split('/').nth(3)?;
    let action = match headers.get("x-amz-target") {
        Some(target) => target.to_str().ok()?.rsplit('.').next()?,
        None => std::str::from_utf8(body)
            .ok()?
            .split('&')
            .find_map(|field| field.strip_prefix("Action="))?,
    };
    Some(format!("{service}.{action}"))
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
            operation(&headers, b"{}").as_deref(),
            Some("ecs.DescribeTasks")
        );
    }

    #[test]
    fn the_operation_of_a_query_request_is_its_action() {
        let body = b"Version=2010-05-15&Action=DescribeStacks&StackName=demo";
        assert_eq!(
            operation(&headers(None), body).as_deref(),
            Some("ecs.DescribeStacks")
        );
        assert_eq!(operation(&headers(None), b""), None);
        assert_eq!(operation(&HeaderMap::new(), body), None);
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
        let aws = Aws::default();
        aws.answer_from(&[&common, &own, &directory.path().join("absent")])
            .unwrap();
        aws.with_state(|state| {
            assert_eq!(state.fixtures["ecs.DescribeTasks"].body, "own");
            assert!(state.fixtures["cloudformation.DescribeStacks"].is_xml);
        });
    }
}
