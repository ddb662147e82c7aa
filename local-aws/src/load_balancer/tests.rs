//! A listener in front of real servers of this process.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State as AppState};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::health::{HealthCheck, Matcher};
use super::metrics::Meter;
use super::proxy::{Listener, Routes};
use super::rules::{Action, Forward, Rule};
use super::target_group::{Registration, TargetGroup, TargetGroupConfig};
use super::{TargetState, open};
use crate::clock::Clock;

const BALANCER: &str = "app/test/1";
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server that says its name and can be made unhealthy.
struct Server {
    port: u16,
    healthy: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct App {
    name: &'static str,
    healthy: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
}

async fn serve(name: &'static str) -> Server {
    let app = App {
        name,
        healthy: Arc::new(AtomicBool::new(true)),
        requests: Arc::default(),
    };
    let (healthy, requests) = (app.healthy.clone(), app.requests.clone());
    let router = Router::new()
        .route("/health", get(health))
        .route("/slow/{milliseconds}", get(slow))
        .route("/headers", get(headers))
        .fallback(say_name)
        .with_state(app);
    let socket = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(socket, router).await });
    Server {
        port,
        healthy,
        requests,
    }
}

async fn health(AppState(app): AppState<App>) -> StatusCode {
    if app.healthy.load(Ordering::Relaxed) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn slow(AppState(app): AppState<App>, Path(milliseconds): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    app.name
}

async fn headers(headers: HeaderMap) -> String {
    format!("{headers:?}")
}

async fn say_name(AppState(app): AppState<App>) -> &'static str {
    app.requests.fetch_add(1, Ordering::Relaxed);
    app.name
}

/// A listener that forwards to one target group.
struct Balancer {
    group: Arc<TargetGroup>,
    listener: Arc<Listener>,
    meter: Meter,
    url: String,
}

fn config(deregistration_delay: Duration) -> TargetGroupConfig {
    TargetGroupConfig {
        port: 80,
        health_check: HealthCheck {
            port: None,
            path: "/health".to_owned(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: Matcher::parse("200"),
        },
        deregistration_delay,
        slow_start: Duration::ZERO,
        load_balancers: BTreeSet::from([BALANCER.to_owned()]),
    }
}

/// Delays pass twenty times as fast: a second is 50 milliseconds.
fn balancer(deregistration_delay: Duration, idle_timeout: Duration) -> Balancer {
    let (tasks, killed) = (TaskTracker::new(), CancellationToken::new());
    let group = TargetGroup::new(
        "group",
        config(deregistration_delay),
        Clock::new(20.0),
        tasks.clone(),
        killed.clone(),
    );
    let meter = Meter::default();
    let routes = Routes {
        load_balancer: BALANCER.to_owned(),
        rules: vec![Rule {
            conditions: vec![],
            action: Action::Forward(Forward::new(vec![("group".to_owned(), 1)])),
        }],
        groups: vec![Arc::clone(&group)],
        idle_timeout,
    };
    let socket = open(None, 0).unwrap();
    let port = socket.local_addr().unwrap().port();
    Balancer {
        group,
        listener: Listener::start(socket, port, routes, meter.clone(), killed, tasks),
        meter,
        url: format!("http://127.0.0.1:{port}"),
    }
}

fn usual() -> Balancer {
    balancer(Duration::from_secs(60), Duration::from_secs(60))
}

impl Balancer {
    async fn add(&self, port: u16) -> Registration {
        let mut registration = self.group.register(LOCALHOST, port);
        while registration.state() != TargetState::Healthy {
            registration.changed().await;
        }
        registration
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    fn state_of(&self, port: u16) -> (TargetState, Option<&'static str>) {
        let only = [("127.0.0.1".to_owned(), Some(port))];
        let description = self.group.describe(&only).remove(0);
        (description.state, description.reason)
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server that accepts connections and closes them without a word.
async fn closing_server() -> u16 {
    let socket = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let _ = stream.read(&mut [0; 16]).await;
        }
    });
    port
}

#[tokio::test]
async fn requests_go_round_robin_to_the_healthy_targets() {
    let balancer = usual();
    let (one, two) = (serve("one").await, serve("two").await);
    balancer.add(one.port).await;
    balancer.add(two.port).await;
    for _ in 0..10 {
        assert_eq!(balancer.get("/").await.0, 200);
    }
    assert_eq!(one.requests.load(Ordering::Relaxed), 5);
    assert_eq!(two.requests.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn without_targets_the_answer_is_503() {
    assert_eq!(usual().get("/").await.0, 503);
}

#[tokio::test]
async fn a_target_that_refuses_or_closes_the_connection_gives_502() {
    let balancer = usual();
    let free = {
        let socket = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
        socket.local_addr().unwrap().port()
    };
    let refusing = balancer.group.register(LOCALHOST, free);
    assert_eq!(balancer.get("/").await.0, 502);
    refusing.deregister();
    balancer.group.register(LOCALHOST, closing_server().await);
    assert_eq!(balancer.get("/").await.0, 502);
}

#[tokio::test]
async fn a_target_that_stays_silent_gives_504() {
    let balancer = balancer(Duration::from_secs(60), Duration::from_millis(100));
    let server = serve("slow").await;
    balancer.add(server.port).await;
    assert_eq!(balancer.get("/slow/2000").await.0, 504);
}

#[tokio::test]
async fn a_target_becomes_unhealthy_and_healthy_again_by_its_health_checks() {
    let balancer = usual();
    let (one, two) = (serve("one").await, serve("two").await);
    balancer.add(one.port).await;
    balancer.add(two.port).await;
    one.healthy.store(false, Ordering::Relaxed);
    until("unhealthy", || {
        balancer.state_of(one.port) == (TargetState::Unhealthy, Some("Target.ResponseCodeMismatch"))
    })
    .await;
    for _ in 0..4 {
        assert_eq!(balancer.get("/").await.1, "two");
    }
    one.healthy.store(true, Ordering::Relaxed);
    until("healthy", || {
        balancer.state_of(one.port) == (TargetState::Healthy, None)
    })
    .await;
}

#[tokio::test]
async fn when_no_target_is_healthy_all_of_them_get_requests() {
    let balancer = usual();
    let server = serve("one").await;
    balancer.add(server.port).await;
    server.healthy.store(false, Ordering::Relaxed);
    until("unhealthy", || {
        balancer.state_of(server.port).0 == TargetState::Unhealthy
    })
    .await;
    assert_eq!(balancer.get("/").await, (200, "one".to_owned()));
}

#[tokio::test]
async fn a_draining_target_finishes_its_requests_and_gets_no_new_ones() {
    let balancer = usual();
    let (old, new) = (serve("old").await, serve("new").await);
    let registration = balancer.add(old.port).await;
    let url = format!("{}/slow/300", balancer.url);
    let slow = tokio::spawn(async move { reqwest::get(url).await?.text().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    balancer.add(new.port).await;
    registration.deregister();
    assert_eq!(
        balancer.state_of(old.port),
        (
            TargetState::Draining,
            Some("Target.DeregistrationInProgress")
        )
    );
    for _ in 0..4 {
        assert_eq!(balancer.get("/").await.1, "new");
    }
    registration.drained().await;
    assert_eq!(slow.await.unwrap().unwrap(), "old");
}

#[tokio::test]
async fn draining_ends_at_once_when_no_request_is_open() {
    let balancer = balancer(Duration::from_secs(3600), Duration::from_secs(60));
    let server = serve("one").await;
    let registration = balancer.add(server.port).await;
    // The answer has been read to its end; the client's connection stays open.
    assert_eq!(balancer.get("/").await.0, 200);
    registration.deregister();
    let started = Instant::now();
    registration.drained().await;
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(balancer.state_of(server.port).0, TargetState::Draining);
}

#[tokio::test]
async fn after_the_deregistration_delay_open_requests_are_cut_off() {
    let balancer = balancer(Duration::from_secs(4), Duration::from_secs(60));
    let server = serve("one").await;
    let registration = balancer.add(server.port).await;
    let url = format!("{}/slow/10000", balancer.url);
    let slow = tokio::spawn(async move { reqwest::get(url).await.map(|a| a.status()) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    registration.deregister();
    registration.drained().await;
    assert_eq!(slow.await.unwrap().unwrap(), 502);
    until("unused", || {
        balancer.state_of(server.port) == (TargetState::Unused, Some("Target.NotRegistered"))
    })
    .await;
}

#[tokio::test]
async fn no_request_is_lost_while_targets_come_and_go() {
    let balancer = usual();
    let first = serve("first").await;
    let mut current = balancer.add(first.port).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (url, stop) = (balancer.url.clone(), stop.clone());
            tokio::spawn(async move {
                let client = reqwest::Client::new();
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get(&url).send().await;
                    answers.push(answer.map(|a| a.status().as_u16()).unwrap_or(0));
                }
                answers
            })
        })
        .collect();
    for _ in 0..10 {
        let next = serve("next").await;
        let registration = balancer.add(next.port).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        current.deregister();
        current.drained().await;
        current = registration;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let answers = client.await.unwrap();
        assert!(answers.len() > 10);
        assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    }
}

#[tokio::test]
async fn requests_answers_and_failures_are_counted() {
    let balancer = usual();
    assert_eq!(balancer.get("/").await.0, 503);
    let server = serve("one").await;
    let registration = balancer.add(server.port).await;
    assert_eq!(balancer.get("/").await.0, 200);
    server.healthy.store(false, Ordering::Relaxed);
    assert_eq!(balancer.get("/health").await.0, 503);
    registration.deregister();
    let free = {
        let socket = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
        socket.local_addr().unwrap().port()
    };
    balancer.group.register(LOCALHOST, free);
    assert_eq!(balancer.get("/").await.0, 502);
    let expected = [
        ("HTTPCode_ELB_502_Count", 1),
        ("HTTPCode_ELB_503_Count", 1),
        ("HTTPCode_ELB_5XX_Count", 2),
        ("HTTPCode_Target_2XX_Count", 1),
        ("HTTPCode_Target_5XX_Count", 1),
        ("RequestCount", 3),
        ("TargetConnectionErrorCount", 1),
    ];
    assert_eq!(balancer.meter.counts_of(BALANCER), expected);
}

#[tokio::test]
async fn hosts_are_counted_by_their_health_for_each_load_balancer() {
    let balancer = usual();
    assert_eq!(balancer.group.host_counts(), []);
    let (one, two) = (serve("one").await, serve("two").await);
    balancer.add(one.port).await;
    balancer.add(two.port).await;
    one.healthy.store(false, Ordering::Relaxed);
    until("unhealthy", || {
        balancer.state_of(one.port).0 == TargetState::Unhealthy
    })
    .await;
    let counts = balancer.group.host_counts();
    let counts: Vec<_> = counts
        .iter()
        .map(|it| (it.load_balancer.as_str(), it.healthy, it.unhealthy))
        .collect();
    assert_eq!(counts, [(BALANCER, 1, 1)]);
}

#[tokio::test]
async fn in_slow_start_a_new_target_gets_a_growing_share_of_requests() {
    let balancer = usual();
    let warm = serve("warm").await;
    balancer.group.configure(TargetGroupConfig {
        // Three minutes here: long enough for the share to stay small during the test.
        slow_start: Duration::from_secs(3600),
        ..config(Duration::ZERO)
    });
    balancer.add(warm.port).await;
    assert_eq!(
        balancer.get("/").await.1,
        "warm",
        "the first has no slow start"
    );
    let new = serve("new").await;
    balancer.add(new.port).await;
    let share = async || {
        let before = new.requests.load(Ordering::Relaxed);
        for _ in 0..40 {
            assert_eq!(balancer.get("/").await.0, 200);
        }
        new.requests.load(Ordering::Relaxed) - before
    };
    let at_first = share().await;
    assert!(at_first < 15, "{at_first} of 40");
    balancer.group.configure(TargetGroupConfig {
        slow_start: Duration::from_millis(1),
        ..config(Duration::ZERO)
    });
    assert_eq!(share().await, 20, "its full share when the time is over");
}

#[tokio::test]
async fn a_target_that_does_not_answer_its_health_check_in_time_is_unhealthy() {
    let balancer = usual();
    let mut impatient = config(Duration::ZERO);
    impatient.health_check.path = "/slow/60000".to_owned();
    impatient.health_check.timeout = Duration::from_millis(100);
    balancer.group.configure(impatient);
    let server = serve("one").await;
    balancer.group.register(LOCALHOST, server.port);
    until("timed out", || {
        balancer.state_of(server.port) == (TargetState::Unhealthy, Some("Target.Timeout"))
    })
    .await;
}

#[tokio::test]
async fn a_target_that_refuses_its_health_check_has_failed_it() {
    let balancer = usual();
    balancer.group.register(LOCALHOST, closing_server().await);
    let reason = || balancer.group.describe(&[])[0].reason;
    until("failed", || reason() == Some("Target.FailedHealthChecks")).await;
}

#[tokio::test]
async fn a_health_check_can_go_to_a_port_of_its_own() {
    let balancer = usual();
    let (served, checked) = (serve("served").await, serve("checked").await);
    checked.healthy.store(false, Ordering::Relaxed);
    let mut elsewhere = config(Duration::ZERO);
    elsewhere.health_check.port = Some(checked.port);
    balancer.group.configure(elsewhere);
    balancer.group.register(LOCALHOST, served.port);
    until("unhealthy", || {
        balancer.state_of(served.port).0 == TargetState::Unhealthy
    })
    .await;
    checked.healthy.store(true, Ordering::Relaxed);
    until("healthy", || {
        balancer.state_of(served.port).0 == TargetState::Healthy
    })
    .await;
    let description = balancer.group.describe(&[]).remove(0);
    assert_eq!(description.health_check_port, checked.port.to_string());
}

#[tokio::test]
async fn a_target_is_deregistered_at_one_port_or_at_all() {
    let balancer = usual();
    let ports = [(); 3].map(|()| serve("one"));
    let servers = futures_util::future::join_all(ports).await;
    for server in &servers {
        balancer.add(server.port).await;
    }
    let states = || servers.iter().map(|it| balancer.state_of(it.port).0);
    use TargetState::{Draining, Healthy};
    balancer
        .group
        .deregister_at(LOCALHOST, Some(servers[1].port));
    assert!(states().eq([Healthy, Draining, Healthy]));
    balancer.group.deregister_at(LOCALHOST, None);
    assert!(states().eq([Draining, Draining, Draining]));
}

#[tokio::test]
async fn a_target_of_an_unused_group_is_not_checked() {
    let balancer = usual();
    balancer.group.configure(TargetGroupConfig {
        load_balancers: BTreeSet::new(),
        ..config(Duration::ZERO)
    });
    let server = serve("one").await;
    balancer.group.register(LOCALHOST, server.port);
    assert_eq!(
        balancer.state_of(server.port),
        (TargetState::Unused, Some("Target.NotInUse"))
    );
    balancer.group.configure(config(Duration::ZERO));
    until("healthy", || {
        balancer.state_of(server.port).0 == TargetState::Healthy
    })
    .await;
}

#[tokio::test]
async fn the_target_learns_where_the_request_came_from() {
    let balancer = usual();
    let server = serve("one").await;
    balancer.add(server.port).await;
    let answer = reqwest::Client::new()
        .get(format!("{}/headers", balancer.url))
        .header("host", "app.test")
        .header("x-forwarded-for", "10.0.0.1")
        .header("connection", "x-private")
        .header("x-private", "secret")
        .send()
        .await
        .unwrap();
    let headers = answer.text().await.unwrap();
    for expected in [
        "\"host\": \"app.test\"",
        "\"x-forwarded-for\": \"10.0.0.1, 127.0.0.1\"",
        "\"x-forwarded-proto\": \"http\"",
        "\"x-amzn-trace-id\": \"Root=1-",
    ] {
        assert!(headers.contains(expected), "{expected} in {headers}");
    }
    assert!(!headers.contains("x-private"), "{headers}");
}

#[tokio::test]
async fn a_closed_listener_frees_its_port_and_finishes_what_it_serves() {
    let balancer = usual();
    let server = serve("one").await;
    balancer.add(server.port).await;
    let url = format!("{}/slow/300", balancer.url);
    let slow = tokio::spawn(async move { reqwest::get(url).await?.text().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    balancer.listener.close().await;
    assert!(reqwest::get(&balancer.url).await.is_err());
    open(None, balancer.listener.port).unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), "one");
}
