//! A client of ECS that does not use up the account's request limits.

use aws_sdk_ecs::Client;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::SdkConfig;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// How many calls of one API there may be in a [`WINDOW`].
///
/// The limits are an account's and a region's: RegisterTaskDefinition may be called once a second,
/// UpdateService five times, and the applications and their scaling live on the same allowance
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html>).
const CALLS: usize = 2;
const WINDOW: Duration = Duration::from_secs(1);

/// ECS names the API in this header.
const API: &str = "x-amz-target";

/// A client that calls one API at most twice within a second, the SDK's own retries included. The
/// calls of one API follow each other; different APIs do not wait for each other.
pub fn paced_client(config: &SdkConfig) -> Client {
    let mut builder = aws_sdk_ecs::config::Builder::from(config);
    builder.set_http_client(config.http_client().map(|inner| {
        SharedHttpClient::new(Paced {
            inner,
            turns: Turns::default(),
        })
    }));
    Client::from_conf(builder.build())
}

/// The last calls of each API, the oldest first: when they were answered. Held by the call that has
/// its turn.
type Turns = Arc<Mutex<HashMap<String, Arc<Mutex<VecDeque<Instant>>>>>>;

#[derive(Debug, Clone)]
struct Paced<Inner> {
    inner: Inner,
    turns: Turns,
}

impl HttpClient for Paced<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Paced {
            inner: self.inner.http_connector(settings, components),
            turns: self.turns.clone(),
        })
    }
}

impl HttpConnector for Paced<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let paced = self.clone();
        HttpConnectorFuture::new(async move { paced.send(request).await })
    }
}

impl Paced<SharedHttpConnector> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let Some(api) = request.headers().get(API).map(str::to_owned) else {
            return self.inner.call(request).await;
        };
        let turn = self.turns.lock().await.entry(api).or_default().clone();
        let mut last = turn.lock().await;
        while last.len() >= CALLS {
            sleep_until(last[0] + WINDOW).await;
            last.pop_front();
        }
        // Also for a call that is given up before its answer.
        last.push_back(Instant::now());
        let answer = self.inner.call(request).await;
        if let Some(this) = last.back_mut() {
            *this = Instant::now();
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_sdk_ecs::config::{BehaviorVersion, Region};
    use aws_smithy_async::rt::sleep::TokioSleep;
    use aws_smithy_types::body::SdkBody;
    use std::sync::Mutex as Record;

    /// Answers every request after 100 ms and keeps when it came.
    #[derive(Debug, Clone)]
    struct Ecs {
        began: Instant,
        calls: Arc<Record<Vec<(String, u128)>>>,
    }

    impl HttpClient for Ecs {
        fn http_connector(
            &self,
            _: &HttpConnectorSettings,
            _: &RuntimeComponents,
        ) -> SharedHttpConnector {
            SharedHttpConnector::new(self.clone())
        }
    }

    impl HttpConnector for Ecs {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let api = request.headers().get(API).unwrap();
            let api = api.rsplit('.').next().unwrap().to_owned();
            let at = self.began.elapsed().as_millis();
            self.calls.lock().unwrap().push((api, at));
            HttpConnectorFuture::new(async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let ok = 200.try_into().unwrap();
                Ok(HttpResponse::new(ok, SdkBody::from("{}")))
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_is_called_twice_a_second_and_different_ones_do_not_wait_for_each_other() {
        let ecs = Ecs {
            began: Instant::now(),
            calls: Arc::default(),
        };
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
            .http_client(ecs.clone())
            .sleep_impl(TokioSleep::new())
            .build();
        let client = paced_client(&config);

        let describe = || client.describe_services().services("web").send();
        let (first, second) = tokio::join!(describe(), describe());
        assert!(first.is_ok() && second.is_ok());
        client.list_tasks().send().await.unwrap();
        describe().await.unwrap();
        describe().await.unwrap();

        let called = |api: &str, at| (api.to_owned(), at);
        assert_eq!(
            *ecs.calls.lock().unwrap(),
            [
                called("DescribeServices", 0),
                called("DescribeServices", 100),
                called("ListTasks", 200),
                called("DescribeServices", 1100),
                called("DescribeServices", 1200),
            ]
        );
    }
}
