//! One listener: it accepts connections, matches rules and forwards requests to targets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header,
};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::metrics::Meter;
use super::rules::{self, Action, Forward, Redirect, Rule};
use super::target_group::{Lease, TargetGroup};
use crate::protocol::{TRACE_ID, trace_root};

/// How long a load balancer tries to connect to a target.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers that concern one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

type Failure = Box<dyn std::error::Error + Send + Sync>;
type AnswerBody = BoxBody<Bytes, Failure>;

/// What a listener does; replaced as a whole when the configuration changes.
#[derive(Debug)]
pub(crate) struct Routes {
    /// The listener's load balancer, as metrics name it.
    pub(crate) load_balancer: String,
    /// In the order of their priority, the default rule last.
    pub(crate) rules: Vec<Rule>,
    /// The target groups the rules forward to.
    pub(crate) groups: Vec<Arc<TargetGroup>>,
    /// How long a target may stay silent before the client gets a 504.
    pub(crate) idle_timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) port: u16,
    routes: RwLock<Arc<Routes>>,
    meter: Meter,
    /// No new connections; open ones end after the request they are serving.
    closed: CancellationToken,
    /// Ends open connections at once.
    killed: CancellationToken,
    tasks: TaskTracker,
    /// Cancelled when the socket is closed.
    port_free: CancellationToken,
}

impl Listener {
    /// Starts to serve on a socket that listens at `port`.
    pub(crate) fn start(
        socket: TcpListener,
        port: u16,
        routes: Routes,
        meter: Meter,
        killed: CancellationToken,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        let listener = Arc::new(Self {
            port,
            routes: RwLock::new(Arc::new(routes)),
            meter,
            closed: killed.child_token(),
            killed,
            tasks: tasks.clone(),
            port_free: CancellationToken::new(),
        });
        let accepting = Arc::clone(&listener);
        tasks.spawn(async move {
            accepting.accept(&socket).await;
            drop(socket);
            accepting.port_free.cancel();
        });
        listener
    }

    pub(crate) fn configure(&self, routes: Routes) {
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
    }

    /// Gives it other rules, which forward to no other target groups than those it has.
    pub(crate) fn change_rules(&self, rules: Vec<Rule>) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        *routes = Arc::new(Routes {
            load_balancer: routes.load_balancer.clone(),
            rules,
            groups: routes.groups.clone(),
            idle_timeout: routes.idle_timeout,
        });
    }

    /// Closes the socket; requests that are being answered are finished afterwards.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        self.port_free.cancelled().await;
    }

    async fn accept(self: &Arc<Self>, socket: &TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = self.closed.cancelled() => return,
            };
            match accepted {
                Ok((stream, client)) => {
                    self.tasks.spawn(Arc::clone(self).serve(stream, client));
                }
                Err(error) => {
                    tracing::warn!(port = self.port, %error, "cannot accept a connection");
                    // Too many open files, most likely: some may be closed in a moment.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, client: SocketAddr) {
        // Small answers must not wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        let listener = &self;
        let service = service_fn(move |request| async move {
            Ok::<_, std::convert::Infallible>(listener.answer(request, client).await)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.killed.cancelled() => return,
            () = self.closed.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.killed.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(port = self.port, %error, "a client's connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>, client: SocketAddr) -> Response<AnswerBody> {
        let routes = Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner));
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let rule = rules::matching(&routes.rules, method, uri, headers, client.ip());
        let Some(rule) = rule else {
            return self.fail(&routes, StatusCode::SERVICE_UNAVAILABLE);
        };
        match &rule.action {
            Action::Forward(forward) => {
                match self.forward(&routes, forward, request, client).await {
                    Ok(answer) => answer,
                    Err(status) => self.fail(&routes, status),
                }
            }
            Action::Redirect(to) => match self.redirect(to, &request) {
                Some(answer) => {
                    self.meter.redirected(&routes.load_balancer);
                    answer
                }
                None => self.fail(&routes, StatusCode::BAD_REQUEST),
            },
            Action::FixedResponse {
                status,
                content_type,
                body,
            } => {
                self.meter.fixed_response(&routes.load_balancer);
                fixed(*status, content_type.as_deref(), body.clone())
            }
        }
    }

    /// The answer to a request that cannot be passed on.
    fn fail(&self, routes: &Routes, status: StatusCode) -> Response<AnswerBody> {
        self.meter.failed(&routes.load_balancer, status);
        own_answer(status)
    }

    /// `None` when the request cannot be made a URL.
    fn redirect(&self, to: &Redirect, request: &Request<Incoming>) -> Option<Response<AnswerBody>> {
        let host = rules::host_of(request.uri(), request.headers());
        let location = to.location(request.uri(), host, self.port);
        let status = if to.permanent {
            StatusCode::MOVED_PERMANENTLY
        } else {
            StatusCode::FOUND
        };
        let location = HeaderValue::try_from(location).ok()?;
        let mut answer = own_answer(status);
        answer.headers_mut().insert(header::LOCATION, location);
        Some(answer)
    }

    /// A target's answer, or the status with which the load balancer answers in its place.
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>
    async fn forward(
        &self,
        routes: &Routes,
        forward: &Forward,
        mut request: Request<Incoming>,
        client: SocketAddr,
    ) -> Result<Response<AnswerBody>, StatusCode> {
        let group = forward
            .next_group()
            .and_then(|arn| routes.groups.iter().find(|group| group.arn == arn))
            .ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let lease = group.lease().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let (meter, load_balancer) = (&self.meter, routes.load_balancer.as_str());
        meter.request(load_balancer, &group.arn);
        self.prepare(&mut request, client);
        let target = lease.address();
        let unanswered = |error: io::Error| {
            tracing::debug!(port = self.port, %target, %error, "a target gave no answer");
            match error.kind() {
                io::ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            }
        };
        let stream = connect(target).await.map_err(|error| {
            meter.connection_failed(load_balancer, &group.arn);
            unanswered(error)
        })?;
        let sent = Instant::now();
        let answer = exchange(stream, lease, request, routes.idle_timeout);
        let answer = answer.await.map_err(unanswered)?;
        meter.target_answered(load_balancer, &group.arn, answer.status(), sent.elapsed());
        Ok(answer)
    }

    /// Turns the client's request into the one the target gets.
    fn prepare(&self, request: &mut Request<Incoming>, client: SocketAddr) {
        let path = request.uri().path_and_query().cloned();
        if let Some(authority) = request.uri().authority()
            && let Ok(host) = HeaderValue::try_from(authority.as_str())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        remove_hop_by_hop(headers);
        let forwarded_for = match headers.get("x-forwarded-for").map(HeaderValue::to_str) {
            Some(Ok(earlier)) => format!("{earlier}, {}", client.ip()),
            _ => client.ip().to_string(),
        };
        let mut set = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        set("x-forwarded-for", forwarded_for);
        set("x-forwarded-proto", "http".to_owned());
        set("x-forwarded-port", self.port.to_string());
        if !headers.contains_key(TRACE_ID)
            && let Ok(value) = HeaderValue::try_from(trace_root())
        {
            headers.insert(TRACE_ID, value);
        }
    }
}

/// A connection for one request.
///
/// Idle connections to targets are not kept: a target that is about to end could close one in
/// the moment in which a request is written to it, and that request would be lost.
async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends the request and answers as soon as the answer's head is there; its body is passed on as
/// it comes.
async fn exchange(
    stream: TcpStream,
    lease: Lease,
    request: Request<Incoming>,
    idle_timeout: Duration,
) -> io::Result<Response<AnswerBody>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let cut_off = lease.cut_off().clone();
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = cut_off.run_until_cancelled(connection).await;
    }));
    let answer = timeout(idle_timeout, sender.send_request(request))
        .await?
        .map_err(io::Error::other)?;
    let (mut head, body) = answer.into_parts();
    remove_hop_by_hop(&mut head.headers);
    head.version = Version::HTTP_11;
    let body = Leased {
        body,
        _driver: driver,
        _lease: lease,
    };
    Ok(Response::from_parts(head, body.boxed()))
}

/// An answer's body that holds its target until it has been passed on completely.
struct Leased {
    body: Incoming,
    // Fields are dropped in this order: the connection is gone before the target is let go.
    _driver: AbortOnDropHandle<()>,
    _lease: Lease,
}

impl Body for Leased {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        Pin::new(&mut self.body)
            .poll_frame(context)
            .map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn fixed(status: u16, content_type: Option<&str>, body: String) -> Response<AnswerBody> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed());
    *answer.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("awselb/2.0"));
    if let Some(content_type) = content_type.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    answer
}

/// An answer of the load balancer itself.
fn own_answer(status: StatusCode) -> Response<AnswerBody> {
    let text = format!(
        "{} {}",
        status.as_str(),
        status.canonical_reason().unwrap_or_default()
    );
    let body = format!(
        "<html>\r\n<head><title>{text}</title></head>\r\n<body>\r\n\
         <center><h1>{text}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    fixed(status.as_u16(), Some("text/html"), body)
}
