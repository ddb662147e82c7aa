//! Requests to what is not AWS: an application's own address.

use crate::BadEnvironment;
use crate::http::Http1;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
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
        let mut request = HttpRequest::get(url).map_err(|_| format!("`{url}` is not a URL"))?;
        request.headers_mut().insert("user-agent", "bluegreen");
        match tokio::time::timeout(limit, self.0.call(request)).await {
            Ok(Ok(answer)) => Ok(answer.status().as_u16()),
            Ok(Err(error)) => Err(crate::failure::chain(&error)),
            Err(_) => Err(format!("there was no answer within {limit:?}")),
        }
    }
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
