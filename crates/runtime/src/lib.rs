//! What every function does: its AWS clients' configuration, its log, and its calls by Lambda.
//!
//! Region and credentials come from the variables that Lambda sets, without the provider chain that
//! looks for profiles, instance metadata and single sign-on.

mod failure;
mod http;
mod internet;
mod logging;
mod panic;
mod serve;
mod web;

pub use failure::{AwsRequestFailed, failed};
pub use lambda_runtime::{Diagnostic, Error};
pub use logging::init_logging;
pub use serve::{Invocation, LambdaCall, diagnostic, millis, now, serve};
pub use web::Web;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// First try and three more, with the SDK's standard backoff.
const ATTEMPTS: u32 = 4;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// All attempts together; below the functions' own timeout, so that the failure that a person
/// reads is the request's and not Lambda's.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// An environment in which no client can be built. The message is a sentence that names the
/// variable.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadEnvironment(String);

/// `main` prints the error it returns with `Debug`: the log shall show the sentence.
impl fmt::Debug for BadEnvironment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Builds the configuration from the environment.
///
/// Read are `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`,
/// which Lambda sets
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>), and two that are
/// optional: `AWS_ENDPOINT_URL`, an `http://` or `https://` endpoint for every service, and
/// `SSL_CERT_FILE`, a PEM file that replaces the root certificates in the binary.
///
/// # Errors
/// [`BadEnvironment`] where a variable is missing or cannot be used.
pub fn from_env() -> Result<SdkConfig, BadEnvironment> {
    from_env_with(&Web::new()?)
}

/// As [`from_env`], over a client that the function needs for what is not AWS too: the root
/// certificates, whose reading is most of a cold start, are then read once.
///
/// # Errors
/// [`BadEnvironment`] where a variable is missing or cannot be used.
pub fn from_env_with(web: &Web) -> Result<SdkConfig, BadEnvironment> {
    from_variables(web, |name| std::env::var(name).ok())
}

/// Reads a variable that the function cannot do without.
///
/// # Errors
/// [`BadEnvironment`] where it is not set or empty.
pub fn required_variable(name: &str) -> Result<String, BadEnvironment> {
    required(name, &|name| std::env::var(name).ok())
}

/// Reads a number that the function cannot do without.
///
/// # Errors
/// [`BadEnvironment`] where it is not set, or not a number within the bounds.
pub fn required_number(name: &str, bounds: RangeInclusive<u32>) -> Result<u32, BadEnvironment> {
    number(name, bounds, &|name| std::env::var(name).ok())
}

fn from_variables(
    web: &Web,
    read: impl Fn(&str) -> Option<String>,
) -> Result<SdkConfig, BadEnvironment> {
    let region = required("AWS_REGION", &read)?;
    let credentials = Credentials::from_keys(
        required("AWS_ACCESS_KEY_ID", &read)?,
        required("AWS_SECRET_ACCESS_KEY", &read)?,
        optional("AWS_SESSION_TOKEN", &read),
    );
    let endpoint = optional("AWS_ENDPOINT_URL", &read)
        .map(usable_endpoint)
        .transpose()?;
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(web.http().clone())
        .sleep_impl(TokioSleep::new())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        );
    config.set_endpoint_url(endpoint);
    Ok(config.build())
}

fn optional(name: &str, read: &impl Fn(&str) -> Option<String>) -> Option<String> {
    read(name).filter(|value| !value.is_empty())
}

fn required(name: &str, read: &impl Fn(&str) -> Option<String>) -> Result<String, BadEnvironment> {
    optional(name, read).ok_or_else(|| {
        BadEnvironment(format!(
            "The environment variable {name} is not set: the function cannot start without it."
        ))
    })
}

fn number(
    name: &str,
    bounds: RangeInclusive<u32>,
    read: &impl Fn(&str) -> Option<String>,
) -> Result<u32, BadEnvironment> {
    let text = required(name, read)?;
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| {
        BadEnvironment(format!(
            "The environment variable {name} is `{text}`: it must be a number from {} to {}.",
            bounds.start(),
            bounds.end()
        ))
    })
}

fn usable_endpoint(url: String) -> Result<String, BadEnvironment> {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err(BadEnvironment(format!(
            "AWS_ENDPOINT_URL is `{url}`: it must start with http:// or https:// and name a host."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAMBDA: [(&str, &str); 4] = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
    ];

    fn with(changes: &[(&str, &str)]) -> Result<SdkConfig, BadEnvironment> {
        from_variables(&Web::new()?, |name| {
            changes
                .iter()
                .chain(&LAMBDA)
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn lambdas_environment_is_enough() {
        let config = with(&[]).unwrap();
        assert_eq!(config.region().map(AsRef::as_ref), Some("eu-central-1"));
        assert_eq!(config.endpoint_url(), None);
        assert!(config.http_client().is_some());
        assert!(config.sleep_impl().is_some());
        assert_eq!(config.retry_config().unwrap().max_attempts(), ATTEMPTS);
    }

    #[test]
    fn a_missing_variable_is_named_in_a_sentence() {
        for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            let sentence = format!("{:?}", with(&[(name, "")]).unwrap_err());
            assert!(sentence.contains(name), "{sentence}");
            assert!(sentence.ends_with('.'), "{sentence}");
        }
    }

    #[test]
    fn a_number_is_read_within_its_bounds_and_a_bad_one_is_named_in_a_sentence() {
        let read = |value: &str| number("DAYS", 1..=30, &|_| Some(value.to_owned()));
        assert_eq!(read("1").unwrap(), 1);
        assert_eq!(read("30").unwrap(), 30);
        for value in ["", "0", "31", "-1", "a day", "1.5"] {
            let sentence = format!("{:?}", read(value).unwrap_err());
            for part in ["DAYS", value] {
                assert!(sentence.contains(part), "{sentence}");
            }
            assert!(sentence.ends_with('.'), "{sentence}");
        }
    }

    #[test]
    fn an_endpoint_may_be_plain_http() {
        let config = with(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")]).unwrap();
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:4566"));
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused() {
        for url in ["localhost:4566", "http://", "ftp://host"] {
            let error = with(&[("AWS_ENDPOINT_URL", url)]).unwrap_err();
            assert!(error.to_string().contains(url), "{error}");
        }
    }
}
