//! The HTTP client under the AWS clients: HTTP/1.1 over rustls with ring.
//!
//! Two measured reasons not to take the one that comes with the SDK. Its TLS provider spends tens
//! of milliseconds gathering entropy before the first handshake, which on a small Lambda is most of
//! a cold start. And it carries an HTTP/2 implementation, which no API called here needs, into the
//! binary: a function with the SDKs of ECS, CloudFormation and ECR is 2.08 MB zipped with it and
//! 1.84 MB without.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector as SdkConnector, HttpConnectorFuture, HttpConnectorSettings,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::internet::{Reach, Resolver};

/// Shorter than the time after which AWS's servers close an idle connection, so that a function
/// that was frozen between two events does not try one that is gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

type TcpConnector = HttpConnector<Resolver>;

/// Keeps its connections: built once, used by every client of a function.
#[derive(Clone, Debug)]
pub(crate) struct Http1(Client<HttpsConnector<TcpConnector>, SdkBody>);

impl Http1 {
    /// The time to connect is bounded here; the SDK bounds each attempt as a whole.
    pub(crate) fn new(connect_timeout: Duration, tls: ClientConfig, reach: Reach) -> Self {
        let mut tcp = TcpConnector::new_with_resolver(Resolver::new(reach));
        tcp.set_connect_timeout(Some(connect_timeout));
        tcp.set_nodelay(true);
        // The TLS layer above decides by the scheme; an endpoint may be plain HTTP.
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Self(
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .build(connector),
        )
    }
}

/// Trusts the root certificates of the file `roots` (PEM), or else Mozilla's, which stand
/// decoded in the binary: decoding the system's at each start was three quarters of the
/// instructions up to the first answer.
pub(crate) fn tls(roots: Option<&Path>) -> io::Result<ClientConfig> {
    let trusted = match roots {
        Some(file) => roots_of(file)?,
        None => RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        },
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(tls)
}

/// A file without a certificate that can be used would trust nobody.
fn roots_of(file: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    match roots.is_empty() {
        true => Err(io::Error::other("it holds no certificate")),
        false => Ok(roots),
    }
}

impl HttpClient for Http1 {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl SdkConnector for Http1 {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let response = client
                .request(request)
                .await
                .map_err(|error| classify(error.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Tells the SDK's retries what may be tried again, by the same rules as the SDK's own client.
fn classify(error: BoxError) -> ConnectorError {
    if let Some(io) = cause::<io::Error>(error.as_ref())
        && io.kind() == io::ErrorKind::TimedOut
    {
        return ConnectorError::timeout(error);
    }
    match cause::<hyper::Error>(error.as_ref()) {
        Some(hyper) if hyper.is_timeout() => ConnectorError::timeout(error),
        Some(hyper) if hyper.is_user() => ConnectorError::user(error),
        Some(hyper) if hyper.is_closed() || hyper.is_canceled() => ConnectorError::io(error),
        // The server closed a kept connection at the moment it was used again.
        Some(hyper) if hyper.is_incomplete_message() => {
            ConnectorError::other(error, Some(ErrorKind::TransientError))
        }
        _ if cause::<io::Error>(error.as_ref()).is_some() || is_connect(error.as_ref()) => {
            ConnectorError::io(error)
        }
        _ => ConnectorError::other(error, None),
    }
}

fn is_connect(error: &(dyn Error + 'static)) -> bool {
    cause::<hyper_util::client::legacy::Error>(error).is_some_and(|error| error.is_connect())
}

/// The first error of that type in the chain.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn client() -> Http1 {
        Http1::new(
            Duration::from_secs(3),
            tls(None).unwrap(),
            Reach::Everything,
        )
    }

    /// Answers every connection with these bytes and closes it.
    pub(crate) async fn server(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = connection.read(&mut request).await;
                let _ = connection.write_all(answer).await;
            }
        });
        format!("http://{address}/")
    }

    async fn get(client: &Http1, url: &str) -> Result<HttpResponse, ConnectorError> {
        client.call(HttpRequest::get(url).unwrap()).await
    }

    #[tokio::test]
    async fn a_plain_http_endpoint_is_reached() {
        let url = server(b"HTTP/1.1 418 \r\nContent-Length: 0\r\n\r\n").await;
        let response = get(&client(), &url).await.unwrap();
        assert_eq!(response.status().as_u16(), 418);
    }

    #[tokio::test]
    async fn a_port_nobody_listens_on_is_an_io_error_that_is_retried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        assert!(get(&client(), &url).await.unwrap_err().is_io());
    }

    #[tokio::test]
    async fn a_connection_that_ends_before_the_answer_is_transient() {
        let url = server(b"").await;
        let error = get(&client(), &url).await.unwrap_err();
        assert!(
            error.is_io() || error.as_other() == Some(ErrorKind::TransientError),
            "{error:?}"
        );
    }

    #[test]
    fn a_file_without_a_certificate_is_refused_lest_nobody_be_trusted() {
        let file = std::env::current_exe().unwrap();
        assert!(tls(Some(&file)).is_err());
        let missing = file.with_extension("no-such-file");
        assert!(tls(Some(&missing)).is_err());
    }

    #[tokio::test]
    async fn a_handshake_that_fails_is_an_io_error() {
        let url = server(b"not TLS").await.replace("http:", "https:");
        assert!(get(&client(), &url).await.unwrap_err().is_io());
    }
}
