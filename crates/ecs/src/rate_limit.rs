//! A client of ECS that leaves the account's request limits to others.

use aws_sdk_ecs::Client;
use aws_sdk_ecs::config::retry::RetryConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::SdkConfig;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What one API may be called: at once, and then within a second.
///
/// ECS's own limits are an account's and a region's, and the applications and their scaling live on
/// the same allowance
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html>). So a part
/// of it is taken: RegisterTaskDefinition has a burst of 20 and one call a second, UpdateService 50
/// and five, every other API that is called here at least 50 and 20.
#[derive(Debug, Clone, Copy)]
struct Limit {
    burst: u32,
    per_second: u32,
}

fn limit(api: &str) -> Limit {
    let (burst, per_second) = match api.rsplit('.').next() {
        Some("RegisterTaskDefinition") => (10, 1),
        Some("UpdateService") => (20, 3),
        _ => (20, 5),
    };
    Limit { burst, per_second }
}

/// ECS names the API in this header.
const API: &str = "x-amz-target";

/// More than there is time for: others of the account may have used up a limit. The standard backoff
/// grows to 20 seconds between two of them.
const ATTEMPTS: u32 = 100;
/// All attempts of a request together, where the function has a minute.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// The same where the function has ten minutes, because it registers revisions: an account may
/// register one a second, so that the last of 500 stacks that deploy at once waits for eight.
pub const PATIENCE_TO_REGISTER: Duration = Duration::from_secs(540);

/// A client that calls each API of ECS in a burst at first, and then at a rate that is a part of
/// what an account may; the SDK's own retries are counted too. No call waits as long as fewer are
/// made than the burst and the rate allow: those that a stack of a few services needs never do.
///
/// A request that ECS throttles is sent again for as long as `patience` lasts; the function's own
/// limit has to be longer.
///
/// A call's wait is part of the time that an attempt may take. So make the calls of one API one
/// after the other: a call then waits for no more than the second in which the next one is free.
#[must_use]
pub fn rate_limited_client(config: &SdkConfig, patience: Duration) -> Client {
    let mut builder = aws_sdk_ecs::config::Builder::from(config);
    builder.set_http_client(config.http_client().map(|inner| {
        SharedHttpClient::new(RateLimited {
            inner,
            calls: Calls::default(),
        })
    }));
    if let Some(timeouts) = config.timeout_config() {
        let timeouts = timeouts.to_builder().operation_timeout(patience);
        builder.set_timeout_config(Some(timeouts.build()));
    }
    let retries = config.retry_config().cloned();
    let retries = retries.unwrap_or_else(RetryConfig::standard);
    builder.set_retry_config(Some(retries.with_max_attempts(ATTEMPTS)));
    Client::from_conf(builder.build())
}

/// When the allowance of each API is whole again.
type Calls = Arc<Mutex<HashMap<String, Instant>>>;

#[derive(Debug, Clone)]
struct RateLimited<Inner> {
    inner: Inner,
    calls: Calls,
}

impl HttpClient for RateLimited<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(RateLimited {
            inner: self.inner.http_connector(settings, components),
            calls: self.calls.clone(),
        })
    }
}

impl HttpConnector for RateLimited<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let limited = self.clone();
        HttpConnectorFuture::new(async move { limited.send(request).await })
    }
}

impl RateLimited<SharedHttpConnector> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        if let Some(at) = request.headers().get(API).and_then(|api| self.book(api)) {
            sleep_until(at).await;
        }
        self.inner.call(request).await
    }

    /// Books a call of the API; the moment at which it may be made, where that is not now. A call
    /// that is given up before has used its part of the allowance nevertheless.
    fn book(&self, api: &str) -> Option<Instant> {
        let Limit { burst, per_second } = limit(api);
        let one = Duration::from_secs(1) / per_second;
        let now = Instant::now();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = calls.entry(api.to_owned()).or_insert(now);
        *whole = (*whole).max(now) + one;
        whole.checked_sub(one * burst).filter(|free| *free > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_sdk_ecs::config::timeout::TimeoutConfig;
    use aws_sdk_ecs::config::{BehaviorVersion, Region};
    use aws_smithy_async::rt::sleep::TokioSleep;
    use aws_smithy_types::body::SdkBody;

    /// Answers every request at once, the first `throttled` ones by a refusal.
    #[derive(Debug, Clone, Default)]
    struct Ecs {
        throttled: usize,
        calls: Arc<Mutex<Vec<String>>>,
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
            let mut calls = self.calls.lock().unwrap();
            calls.push(request.headers().get(API).unwrap().to_owned());
            let (status, answer) = match calls.len() <= self.throttled {
                true => (400, r#"{"__type": "ThrottlingException"}"#),
                false => (200, "{}"),
            };
            let answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(answer));
            HttpConnectorFuture::ready(Ok(answer))
        }
    }

    fn client(ecs: &Ecs) -> Client {
        rate_limited_client(
            &SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
                .http_client(ecs.clone())
                .sleep_impl(TokioSleep::new())
                .retry_config(RetryConfig::standard().with_max_attempts(4))
                .timeout_config(
                    TimeoutConfig::builder()
                        .operation_attempt_timeout(Duration::from_secs(5))
                        .operation_timeout(Duration::from_secs(15))
                        .build(),
                )
                .build(),
            PATIENCE_TO_REGISTER,
        )
    }

    async fn describe(client: &Client) {
        let request = client.describe_services().services("web");
        request.send().await.unwrap();
    }

    async fn update(client: &Client) {
        let request = client.update_service().service("web");
        request.send().await.unwrap();
    }

    async fn register(client: &Client) {
        let request = client.register_task_definition().family("web");
        request
            .container_definitions(aws_sdk_ecs::types::ContainerDefinition::builder().build())
            .send()
            .await
            .unwrap();
    }

    /// How long `count` calls, one after the other, take.
    async fn taken(count: usize, call: impl AsyncFn()) -> Duration {
        let began = Instant::now();
        for _ in 0..count {
            call().await;
        }
        began.elapsed()
    }

    fn about(taken: Duration) -> u128 {
        taken.as_millis().div_ceil(100) * 100
    }

    #[tokio::test(start_paused = true)]
    async fn calls_wait_only_where_there_were_more_than_the_burst() {
        let client = client(&Ecs::default());
        assert_eq!(
            taken(20, async || describe(&client).await).await,
            Duration::ZERO
        );
        assert_eq!(
            about(taken(10, async || describe(&client).await).await),
            2000
        );
    }

    #[tokio::test(start_paused = true)]
    async fn different_apis_do_not_wait_for_each_other() {
        let client = client(&Ecs::default());
        taken(25, async || describe(&client).await).await;
        assert_eq!(
            taken(20, async || update(&client).await).await,
            Duration::ZERO
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_warm_function_of_a_few_services_never_waits() {
        let client = client(&Ecs::default());
        for _ in 0..100 {
            assert_eq!(
                taken(5, async || describe(&client).await).await,
                Duration::ZERO
            );
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_services_are_registered_and_updated_within_ecss_limits() {
        let client = client(&Ecs::default());
        let registered = taken(200, async || register(&client).await).await;
        assert_eq!(about(registered), 190_000);
        let updated = taken(200, async || update(&client).await).await;
        assert_eq!(about(updated), 60_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_call_is_made_again_for_as_long_as_its_patience_lasts() {
        let ecs = Ecs {
            throttled: 40,
            ..Ecs::default()
        };
        let began = Instant::now();
        describe(&client(&ecs)).await;
        assert_eq!(ecs.calls.lock().unwrap().len(), 41);
        assert!(began.elapsed() > Duration::from_secs(60));

        let ecs = Ecs {
            throttled: usize::MAX,
            ..Ecs::default()
        };
        let request = client(&ecs).describe_services().services("web");
        let (began, answer) = (Instant::now(), request.send().await);
        assert!(answer.is_err());
        assert!(began.elapsed() <= PATIENCE_TO_REGISTER);
    }
}
