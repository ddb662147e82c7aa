//! Lambda's Runtime API on the loopback interface, with a clock
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::aws::{Aws, Traffic};

/// What a function made of an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Answer(Value),
    /// The name that the state machine would see.
    Error {
        name: String,
        message: String,
    },
}

/// One event, from being handed out to its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
    pub(crate) traffic: Traffic,
}

/// What one process of a function did.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// When it first asked for an event.
    pub(crate) ready: Option<Instant>,
    pub(crate) invocations: Vec<Invocation>,
    /// It said that it can not start.
    pub(crate) init_error: Option<String>,
    handed_out: Option<Instant>,
    event: Bytes,
    wanted: usize,
    pause: Duration,
}

/// Serves one function process after another.
#[derive(Clone)]
pub(crate) struct RuntimeApi {
    aws: Aws,
    record: Arc<Mutex<Record>>,
    finished: watch::Sender<bool>,
}

impl RuntimeApi {
    /// Serves on a free port of the loopback interface; returns `127.0.0.1:PORT` too. At each
    /// outcome it asks `aws` for the calls that led there.
    pub(crate) async fn start(aws: Aws) -> Result<(Self, String)> {
        let api = Self {
            aws,
            record: Arc::default(),
            finished: watch::Sender::new(false),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(api.clone().accept(listener));
        Ok((api, address))
    }

    /// The next process gets this event so many times, with a pause before each but the first.
    pub(crate) fn begin(&self, event: Bytes, wanted: usize, pause: Duration) {
        self.with_record(|record| {
            *record = Record {
                event,
                wanted,
                pause,
                ..Record::default()
            }
        });
        self.aws.take_traffic();
        self.finished.send_replace(false);
    }

    /// Waits until it was asked for an event and all invocations have an outcome, or the function has said that it can not start.
    pub(crate) async fn finished(&self) {
        // The sender is this value's own, so that it can not be gone.
        let _ = self
            .finished
            .subscribe()
            .wait_for(|finished| *finished)
            .await;
    }

    /// What has happened since [`Self::begin`].
    pub(crate) fn take_record(&self) -> Record {
        self.with_record(std::mem::take)
    }

    fn with_record<T>(&self, act: impl FnOnce(&mut Record) -> T) -> T {
        act(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn accept(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let api = self.clone();
            tokio::spawn(async move {
                // A function that is killed leaves its connections as they are.
                let _ = stream.set_nodelay(true);
                let service = service_fn(|request| api.answer(request));
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let arrived = Instant::now();
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        let path = head.uri.path();
        if head.method == Method::GET && path.ends_with("/invocation/next") {
            return Ok(self.next(arrived).await);
        }
        if path.ends_with("/init/error") {
            let message = String::from_utf8_lossy(&body).into_owned();
            self.with_record(|record| record.init_error = Some(message));
            self.finished.send_replace(true);
        } else {
            let outcome = outcome(path.ends_with("/error"), &body);
            self.finish_invocation(arrived, outcome);
        }
        let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}")));
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }

    async fn next(&self, arrived: Instant) -> Response<Full<Bytes>> {
        let (number, pause) = self.with_record(|record| {
            record.ready.get_or_insert(arrived);
            let number = record.invocations.len();
            let is_first = number == 0 || number >= record.wanted;
            (
                number,
                if is_first {
                    Duration::ZERO
                } else {
                    record.pause
                },
            )
        });
        tokio::time::sleep(pause).await;
        let event = self.with_record(|record| {
            (number < record.wanted).then(|| {
                record.handed_out = Some(Instant::now());
                record.event.clone()
            })
        });
        let Some(event) = event else {
            self.finished.send_replace(true);
            // As in Lambda, a function without an event waits; here until it is killed.
            return std::future::pending().await;
        };
        Response::builder()
            .header("Content-Type", "application/json")
            .header(
                "Lambda-Runtime-Aws-Request-Id",
                format!("00000000-0000-4000-8000-{number:012}"),
            )
            .header("Lambda-Runtime-Deadline-Ms", "4102444800000")
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:us-east-1:123456789012:function:benchmark",
            )
            .header(
                "Lambda-Runtime-Trace-Id",
                "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
            )
            .body(Full::new(event))
            .unwrap_or_default()
    }

    fn finish_invocation(&self, arrived: Instant, outcome: Outcome) {
        let traffic = self.aws.take_traffic();
        let all = self.with_record(|record| {
            if let Some(handed_out) = record.handed_out.take() {
                let took = arrived.duration_since(handed_out);
                record.invocations.push(Invocation {
                    took,
                    outcome,
                    traffic,
                });
            }
            record.invocations.len() >= record.wanted
        });
        if all {
            self.finished.send_replace(true);
        }
    }
}

fn outcome(is_error: bool, body: &[u8]) -> Outcome {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    if !is_error {
        return Outcome::Answer(value);
    }
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Outcome::Error {
        name: text("errorType"),
        message: text("errorMessage"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_json_and_an_error_has_a_name() {
        assert_eq!(
            outcome(false, b"{\"a\":1}"),
            Outcome::Answer(json!({"a": 1}))
        );
        let error = br#"{"errorType":"MigrationFailed","errorMessage":"exit 1","stackTrace":[]}"#;
        assert_eq!(
            outcome(true, error),
            Outcome::Error {
                name: "MigrationFailed".to_owned(),
                message: "exit 1".to_owned()
            }
        );
    }
}
