//! Requests to what is no API of AWS: an application's own address, or one that an API gave.

use crate::BadEnvironment;
use crate::http::{self, Http1};
use crate::internet::Reach;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use http_body_util::{BodyExt, Limited};
use hyper::Uri;
use rustls::ClientConfig;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The variable by which OpenSSL is told of other root certificates.
const ROOTS: &str = "SSL_CERT_FILE";
/// The variable by which an SDK is told of an AWS elsewhere.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
const NO_URL: &str = "that is not a URL";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks with the root certificates of the AWS clients.
#[derive(Debug, Clone)]
pub struct Web {
    http: Http1,
    tls: ClientConfig,
    /// Where an address may lead that a stack gives.
    reach: Reach,
}

impl Web {
    /// Trusts the root certificates of the PEM file that `SSL_CERT_FILE` names, or else Mozilla's.
    ///
    /// # Errors
    /// [`BadEnvironment`] where `SSL_CERT_FILE` names a file whose certificates cannot be used.
    pub fn new() -> Result<Self, BadEnvironment> {
        let endpoint = std::env::var(ENDPOINT).unwrap_or_default();
        Self::beside(&endpoint)
    }

    /// The same beside an AWS at this address. Lambda says none. An AWS on this machine is the local one, and
    /// its applications are here too: their addresses are then asked as if they were of the internet.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn beside(endpoint: &str) -> Result<Self, BadEnvironment> {
        let file = std::env::var_os(ROOTS).map(PathBuf::from);
        let tls = http::tls(file.as_deref()).map_err(|error| {
            let file = file.unwrap_or_default();
            BadEnvironment(format!(
                "The root certificates of {ROOTS} ({}) cannot be used: {error}.",
                file.display()
            ))
        })?;
        let host = endpoint.parse::<Uri>().ok();
        let is_here = host.is_some_and(|uri| match address(&uri) {
            Some(address) => address.is_loopback(),
            None => uri.host() == Some("localhost"),
        });
        Ok(Self {
            http: Http1::new(CONNECT_TIMEOUT, tls.clone(), Reach::Everything),
            tls,
            reach: match is_here {
                true => Reach::InternetAndThisMachine,
                false => Reach::Internet,
            },
        })
    }

    pub(crate) fn http(&self) -> &Http1 {
        &self.http
    }

    /// Checks that `url` does not name an address outside the internet. What a name stands for is found when it
    /// is asked.
    ///
    /// # Errors
    /// A text for the reader.
    pub fn check(&self, url: &str) -> Result<(), String> {
        let uri = url.parse::<Uri>().map_err(|_| NO_URL.to_owned())?;
        address(&uri).map_or(Ok(()), |address| self.reach.check(address))
    }

    /// The status with which `url`, which must lead to the internet, answers a GET. A redirection is an answer
    /// as any other.
    ///
    /// # Errors
    /// A text for the reader: the URL cannot be used, leads elsewhere, nobody answers, or not within `limit`.
    pub async fn status(&self, url: &str, limit: Duration) -> Result<u16, String> {
        // A literal address is connected to without a resolver.
        self.check(url)?;
        let http = Http1::new(CONNECT_TIMEOUT, self.tls.clone(), self.reach);
        let asked = async { Ok(ask(&http, url).await?.status().as_u16()) };
        within(limit, asked).await
    }

    /// What a GET of `url` answers with 200, in bytes.
    ///
    /// # Errors
    /// A text for the reader, as for [`status`](Self::status); also for another status, and for an
    /// answer of more than `longest` bytes.
    pub async fn get(&self, url: &str, longest: usize, limit: Duration) -> Result<Vec<u8>, String> {
        let asked = async {
            let answer = ask(&self.http, url).await?;
            match answer.status().as_u16() {
                200 => {}
                status => return Err(format!("the answer has status {status}")),
            }
            let body = Limited::new(answer.into_body(), longest).collect().await;
            let body = body.map_err(|error| crate::failure::chain(&*error))?;
            Ok(body.to_bytes().to_vec())
        };
        within(limit, asked).await
    }
}

async fn ask(http: &Http1, url: &str) -> Result<HttpResponse, String> {
    // An address that an API gave holds the right to use it: it is not told.
    let mut request = HttpRequest::get(url).map_err(|_| NO_URL.to_owned())?;
    request.headers_mut().insert("user-agent", "bluegreen");
    let answer = http.call(request).await;
    answer.map_err(|error| crate::failure::chain(&error))
}

/// Where the host is one, and no name.
fn address(uri: &Uri) -> Option<IpAddr> {
    let host = uri.host()?;
    host.trim_matches(['[', ']']).parse().ok()
}

async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let answer = tokio::time::timeout(limit, asked).await;
    answer.unwrap_or_else(|_| Err(format!("there was no answer within {limit:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::server;
    use tokio::net::TcpListener;

    const LIMIT: Duration = Duration::from_millis(200);

    /// As functions have it in the local AWS.
    fn here() -> Web {
        Web::beside("http://127.0.0.1:4566").unwrap()
    }

    /// An application's own address might be the Runtime API's, whose events it would take.
    #[tokio::test]
    async fn what_is_not_of_the_internet_is_not_asked() {
        let long = Duration::from_secs(60);
        let here = server(b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n").await;
        let by_name = here.replace("127.0.0.1", "localhost");
        let by_number = here.replace("127.0.0.1", "2130706433");
        let elsewhere = "https://ecs.us-east-1.amazonaws.com";
        for endpoint in [
            "",
            elsewhere,
            "http://10.0.0.1:4566",
            "http://localhost.example.com",
        ] {
            let web = Web::beside(endpoint).unwrap();
            for url in [&here, &by_name, &by_number] {
                let problem = web.status(url, long).await.unwrap_err();
                assert!(
                    problem.contains("not an address of the internet"),
                    "{problem}"
                );
            }
            assert!(web.check(&here).is_err());
            assert!(web.check("http://[::ffff:127.0.0.1]:9001/").is_err());
            assert!(web.check("http://169.254.169.254/").is_err());
            assert_eq!(web.check("https://shop.example.com/health"), Ok(()));
        }
        for endpoint in [
            "http://127.0.0.1:4566",
            "https://localhost:1",
            "http://[::1]:1",
        ] {
            let web = Web::beside(endpoint).unwrap();
            assert_eq!(web.status(&here, long).await, Ok(200));
            assert_eq!(web.status(&by_name, long).await, Ok(200));
            assert!(web.check("http://10.0.0.1/").is_err());
        }
    }

    /// What an API gives is not a stack's word.
    #[tokio::test]
    async fn an_address_that_an_api_gave_may_lead_anywhere() {
        let url = server(b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n").await;
        let web = Web::beside("").unwrap();
        assert_eq!(web.get(&url, 1, Duration::from_secs(60)).await, Ok(vec![]));
    }

    #[tokio::test]
    async fn the_status_is_told_whatever_it_is() {
        let url = server(b"HTTP/1.1 302 \r\nLocation: /\r\nContent-Length: 0\r\n\r\n").await;
        let long = Duration::from_secs(60);
        assert_eq!(here().status(&url, long).await, Ok(302));
    }

    #[tokio::test]
    async fn an_answer_is_taken_whole_or_not_at_all() {
        let get = async |answer: &'static [u8], longest| {
            let url = server(answer).await;
            let web = here();
            web.get(&url, longest, Duration::from_secs(60)).await
        };
        let found = b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(get(found, 5).await, Ok(b"hello".to_vec()));
        assert!(get(found, 4).await.is_err());
        let cut = b"HTTP/1.1 200 \r\nContent-Length: 6\r\n\r\nhello";
        assert!(get(cut, 6).await.is_err());
        let gone = b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n";
        assert!(get(gone, 5).await.unwrap_err().contains("404"));
    }

    #[tokio::test]
    async fn silence_ends_with_the_limit() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let problem = here().status(&url, LIMIT).await.unwrap_err();
        assert!(problem.contains("200ms"), "{problem}");
    }

    #[tokio::test]
    async fn what_cannot_be_reached_says_why() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", gone.local_addr().unwrap());
        drop(gone);
        let problem = here().status(&url, LIMIT).await.unwrap_err();
        assert!(problem.to_lowercase().contains("refused"), "{problem}");
        assert!(here().status("not a url", LIMIT).await.is_err());
    }
}
