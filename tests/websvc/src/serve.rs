//! `websvc serve`: the HTTP server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::page::{self, Post};

/// A load balancer's health check gives up after a few seconds; answering 503 before that tells
/// more than silence.
const DATABASE_PATIENCE: Duration = Duration::from_secs(3);
const CONNECTIONS: u32 = 5;
const X_VERSION: HeaderName = HeaderName::from_static("x-version");

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Address to listen on
    #[arg(long, env = "HOST", default_value = "0.0.0.0")]
    host: IpAddr,
    /// Port to listen on
    #[arg(long, env = "PORT", default_value_t = 3000)]
    port: u16,
    /// Heading of the page
    #[arg(long, env = "TITLE", default_value = "Posts")]
    title: String,
    /// Sent with every page as the header x-version
    #[arg(long, env = "VERSION")]
    release: Option<HeaderValue>,
}

struct Service {
    pool: PgPool,
    title: String,
    release: Option<HeaderValue>,
}

/// Serves until SIGTERM or SIGINT, then finishes the requests that are open.
pub(crate) async fn run(database: PgConnectOptions, options: Options) -> anyhow::Result<()> {
    // Before anything can reach this process: a signal it does not wait for would end it at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let address = SocketAddr::new(options.host, options.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!("listening on {}", listener.local_addr()?);

    // Connects at the first request: /health says 503 until the database is there, and a
    // database that comes later than this process does not end it.
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(DATABASE_PATIENCE)
        .connect_lazy_with(database);
    let router = router(Service {
        pool: pool.clone(),
        title: options.title,
        release: options.release,
    });
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping: finishing the requests that are open");
        })
        .await?;
    pool.close().await;
    tracing::info!("stopped");
    Ok(())
}

fn router(service: Service) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/posts") }))
        .route("/posts", get(posts))
        .route("/health", get(health))
        .with_state(Arc::new(service))
}

async fn posts(State(service): State<Arc<Service>>) -> Response {
    match read_posts(&service.pool).await {
        Ok(posts) => {
            let mut response = Html(page::render(&service.title, &posts)).into_response();
            if let Some(release) = &service.release {
                response.headers_mut().insert(X_VERSION, release.clone());
            }
            response
        }
        Err(error) => unavailable(&error),
    }
}

async fn health(State(service): State<Arc<Service>>) -> Response {
    match sqlx::query("SELECT 1").execute(&service.pool).await {
        Ok(_) => "ok\n".into_response(),
        Err(error) => unavailable(&error),
    }
}

/// The row is read as a document, so that the same build works before and after the migration
/// that adds `author`: while a release rolls out both are true for it.
async fn read_posts(pool: &PgPool) -> sqlx::Result<Vec<Post>> {
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT title, to_jsonb(posts) ->> 'author' FROM posts ORDER BY id LIMIT 100",
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(title, author)| Post { title, author })
        .collect())
}

/// The reason goes to the log, not to the public.
fn unavailable(error: &sqlx::Error) -> Response {
    tracing::error!(%error, "the database did not answer");
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the database did not answer\n",
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// A port of this host on which nothing listens any more.
    fn closed_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    }

    /// The server with a database that is not there; its address.
    async fn start() -> SocketAddr {
        let url = format!("postgres://nobody@127.0.0.1:{}/none", closed_port());
        let pool = PgPoolOptions::new()
            .acquire_timeout(Duration::from_millis(200))
            .connect_lazy_with(PgConnectOptions::from_str(&url).unwrap());
        let router = router(Service {
            pool,
            title: "Posts".to_owned(),
            release: None,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn without_its_database_it_is_not_healthy() {
        let address = start().await;
        for path in ["/health", "/posts"] {
            let answer = get(address, path).await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
        }
    }

    #[tokio::test]
    async fn an_unknown_path_is_not_found_and_the_root_leads_to_the_posts() {
        let address = start().await;
        assert!(get(address, "/cats").await.starts_with("HTTP/1.1 404 "));
        let root = get(address, "/").await;
        assert!(root.starts_with("HTTP/1.1 307 "), "{root}");
        assert!(root.contains("location: /posts\r\n"), "{root}");
    }
}
