//! Requests to what is no API of AWS: an application's own address, or one that an API gave.

use crate::BadEnvironment;
use crate::http::Http1;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use http_body_util::{BodyExt, Limited};
use std::path::PathBuf;
use std::time::Duration;

/// The variable by which OpenSSL is told of other root certificates.
const ROOTS: &str = "SSL_CERT_FILE";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks with the connections and the root certificates of the AWS clients.
#[derive(Debug, Clone)]
pub struct Web(Http1);

impl Web {
    /// Trusts the root certificates of the PEM file that `SSL_CERT_FILE` names, or else Mozilla's.
    ///
    /// # Errors
    /// [`BadEnvironment`] where `SSL_CERT_FILE` names a file whose certificates cannot be used.
    pub fn new() -> Result<Self, BadEnvironment> {
        let file = std::env::var_os(ROOTS).map(PathBuf::from);
        Http1::new(CONNECT_TIMEOUT, file.as_deref())
            .map(Web)
            .map_err(|error| {
                let file = file.unwrap_or_default();
                BadEnvironment(format!(
                    "The root certificates of {ROOTS} ({}) cannot be used: {error}.",
                    file.display()
                ))
            })
    }

    pub(crate) fn http(&self) -> &Http1 {
        &self.0
    }

    /// The status with which `url` answers a GET. A redirection is an answer as any other.
    ///
    /// # Errors
    /// A text for the reader: the URL cannot be used, nobody answers, or not within `limit`.
    pub async fn status(&self, url: &str, limit: Duration) -> Result<u16, String> {
        let asked = async { Ok(self.ask(url).await?.status().as_u16()) };
        within(limit, asked).await
    }

    /// What a GET of `url` answers with 200, in bytes.
    ///
    /// # Errors
    /// A text for the reader, as for [`status`](Self::status); also for another status, and for an
    /// answer of more than `longest` bytes.
    pub async fn get(&self, url: &str, longest: usize, limit: Duration) -> Result<Vec<u8>, String> {
        let asked = async {
            let answer = self.ask(url).await?;
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

    async fn ask(&self, url: &str) -> Result<HttpResponse, String> {
        // An address that an API gave holds the right to use it: it is not told.
        let mut request = HttpRequest::get(url).map_err(|_| "that is not a URL".to_owned())?;
        request.headers_mut().insert("user-agent", "bluegreen");
        let answer = self.0.call(request).await;
        answer.map_err(|error| crate::failure::chain(&error))
    }
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

    #[tokio::test]
    async fn the_status_is_told_whatever_it_is() {
        let url = server(b"HTTP/1.1 302 \r\nLocation: /\r\nContent-Length: 0\r\n\r\n").await;
        let long = Duration::from_secs(60);
        assert_eq!(Web::new().unwrap().status(&url, long).await, Ok(302));
    }

    #[tokio::test]
    async fn an_answer_is_taken_whole_or_not_at_all() {
        let get = async |answer: &'static [u8], longest| {
            let url = server(answer).await;
            let web = Web::new().unwrap();
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
        let problem = Web::new().unwrap().status(&url, LIMIT).await.unwrap_err();
        assert!(problem.contains("200ms"), "{problem}");
    }

    #[tokio::test]
    async fn what_cannot_be_reached_says_why() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", gone.local_addr().unwrap());
        drop(gone);
        let problem = Web::new().unwrap().status(&url, LIMIT).await.unwrap_err();
        assert!(problem.to_lowercase().contains("refused"), "{problem}");
        assert!(
            Web::new()
                .unwrap()
                .status("not a url", LIMIT)
                .await
                .is_err()
        );
    }
}
