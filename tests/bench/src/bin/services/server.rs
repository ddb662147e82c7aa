//! What the services' tasks run: a small web server.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Answers every request, of health checks as well, with `VERSION`; on SIGTERM finishes those
/// under way and ends.
///
/// # Errors
/// `HOST`, `PORT` or `VERSION` is missing, or the address cannot be listened at.
pub(crate) async fn serve() -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let version = Bytes::from(variable("VERSION")?);
    let address: SocketAddr = format!("{}:{}", variable("HOST")?, variable("PORT")?).parse()?;
    let listener = TcpListener::bind(address).await?;
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = terminated.recv() => break,
        };
        let version = version.clone();
        let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
            let version = version.clone();
            async move { Ok::<_, Infallible>(Response::new(Full::new(version))) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), answer);
        let connection = connections.watch(connection);
        // A client may leave as it likes.
        tokio::spawn(async { connection.await.ok() });
    }
    connections.shutdown().await;
    Ok(())
}
