//! A target group at work: registered targets, their health, the requests they are serving.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::health::{self, Health, HealthCheck};
use super::metrics::HostCounts;
use super::rules::choose_by_weight;
use super::{Target, TargetHealthDescription, TargetState};
use crate::clock::Clock;

/// A busy machine does not answer faster because the clock is fast: a health check waits at least
/// this long for its answer, unless the target group itself asks for less. A target that refuses
/// connections or answers wrongly is found out just as fast.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(5);

/// What moto knows about a target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetGroupConfig {
    pub(crate) port: u16,
    pub(crate) health_check: HealthCheck,
    pub(crate) deregistration_delay: Duration,
    /// How long a target that has become healthy gets a growing share of requests; zero: at once
    /// its full share.
    pub(crate) slow_start: Duration,
    /// The load balancers that forward to it, as the dimension `LoadBalancer` names them.
    pub(crate) load_balancers: BTreeSet<String>,
}

impl TargetGroupConfig {
    /// Whether a listener forwards to it.
    pub(crate) fn in_use(&self) -> bool {
        !self.load_balancers.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct TargetGroup {
    pub(crate) arn: String,
    clock: Clock,
    tasks: TaskTracker,
    /// Ends every health check and timer of the group.
    closed: CancellationToken,
    config: watch::Sender<TargetGroupConfig>,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    registered: Vec<Arc<Member>>,
    draining: Vec<Arc<Member>>,
    /// The turn of the round robin.
    turn: u32,
}

#[derive(Debug)]
struct Member {
    target: Target,
    address: SocketAddr,
    health: watch::Sender<Health>,
    /// When its slow start began, until that is over.
    warming: Mutex<Option<Instant>>,
    in_flight: watch::Sender<usize>,
    /// Ends the health checks: the target is no longer registered.
    deregistered: CancellationToken,
    /// Ends the requests still open: the deregistration delay is over.
    cut_off: CancellationToken,
}

/// The weight of a target that gets its full share of requests.
const FULL_SHARE: u32 = 1000;

impl Member {
    fn is_healthy(&self) -> bool {
        self.health.borrow().state == TargetState::Healthy
    }

    fn warming(&self) -> MutexGuard<'_, Option<Instant>> {
        self.warming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its weight among the healthy targets, at most [`FULL_SHARE`]; `slow_start` is how long it
    /// takes to get there.
    fn share(&self, slow_start: Duration) -> u32 {
        let mut warming = self.warming();
        let Some(begun) = *warming else {
            return FULL_SHARE;
        };
        let part = begun.elapsed().as_secs_f64() / slow_start.as_secs_f64();
        if part < 1.0 {
            ((part * f64::from(FULL_SHARE)) as u32).max(1)
        } else {
            *warming = None;
            FULL_SHARE
        }
    }
}

/// A request's hold on a target, from its choice until the last byte of the answer.
#[derive(Debug)]
pub(crate) struct Lease {
    member: Arc<Member>,
}

impl Lease {
    pub(crate) fn address(&self) -> SocketAddr {
        self.member.address
    }

    /// Cancelled when the target's deregistration delay is over.
    pub(crate) fn cut_off(&self) -> &CancellationToken {
        &self.member.cut_off
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member.in_flight.send_modify(|count| *count -= 1);
    }
}

/// A target as its owner sees it: its health and the way to take it out again.
#[derive(Debug)]
pub struct Registration {
    group: Arc<TargetGroup>,
    member: Arc<Member>,
    health: watch::Receiver<Health>,
}

impl Registration {
    /// The target's state now.
    pub fn state(&self) -> TargetState {
        let members = self.group.lock();
        if members
            .draining
            .iter()
            .any(|m| Arc::ptr_eq(m, &self.member))
        {
            return TargetState::Draining;
        }
        if !members
            .registered
            .iter()
            .any(|m| Arc::ptr_eq(m, &self.member))
            || !self.group.in_use()
        {
            return TargetState::Unused;
        }
        self.health.borrow().state
    }

    /// Why the target is not healthy; empty while it is.
    pub fn reason(&self) -> String {
        let (_, description) = self.health.borrow().explanation();
        description.unwrap_or_default()
    }

    pub fn target_group_arn(&self) -> &str {
        &self.group.arn
    }

    /// Waits until the target's health has changed.
    pub async fn changed(&mut self) {
        if self.health.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Takes the target out of rotation: from now on it gets no new request.
    pub fn deregister(&self) {
        self.group.deregister(&self.member);
    }

    /// After `deregister`, waits until no request is open at the target, or until the
    /// deregistration delay is over, at which the open ones are cut off.
    ///
    /// A load balancer ends a deregistration at once when the target has neither requests in
    /// flight nor open connections. This one keeps no idle connections to targets.
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#deregistration-delay>
    pub async fn drained(&self) {
        let mut in_flight = self.member.in_flight.subscribe();
        tokio::select! {
            _ = in_flight.wait_for(|count| *count == 0) => {}
            () = self.member.cut_off.cancelled() => {}
        }
    }
}

impl TargetGroup {
    pub(crate) fn new(
        arn: &str,
        config: TargetGroupConfig,
        clock: Clock,
        tasks: TaskTracker,
        closed: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            arn: arn.to_owned(),
            clock,
            tasks,
            closed,
            config: watch::Sender::new(config),
            members: Mutex::default(),
        })
    }

    pub(crate) fn configure(&self, config: TargetGroupConfig) {
        self.config.send_if_modified(|current| {
            let changed = *current != config;
            *current = config;
            changed
        });
    }

    pub(crate) fn in_use(&self) -> bool {
        self.config.borrow().in_use()
    }

    /// Ends the group's health checks, when moto has deleted it.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a target and starts its health checks. A target that is registered already is
    /// left as it is.
    pub(crate) fn register(self: &Arc<Self>, address: IpAddr, port: u16) -> Registration {
        let target = Target {
            id: address.to_string(),
            port,
        };
        let mut members = self.lock();
        let known = members.registered.iter().find(|m| m.target == target);
        let member = match known {
            Some(member) => Arc::clone(member),
            None => {
                let member = Arc::new(Member {
                    target,
                    address: SocketAddr::new(address, port),
                    health: watch::Sender::new(Health::initial()),
                    warming: Mutex::default(),
                    in_flight: watch::Sender::new(0),
                    deregistered: self.closed.child_token(),
                    cut_off: CancellationToken::new(),
                });
                members.registered.push(Arc::clone(&member));
                let watched = Arc::clone(self).watch_health(Arc::clone(&member));
                self.tasks.spawn(watched);
                member
            }
        };
        Registration {
            group: Arc::clone(self),
            health: member.health.subscribe(),
            member,
        }
    }

    /// The port of targets that are registered without one.
    pub(crate) fn port(&self) -> u16 {
        self.config.borrow().port
    }

    /// Takes a target out of rotation; without a port, at every one.
    pub(crate) fn deregister_at(self: &Arc<Self>, address: IpAddr, port: Option<u16>) {
        let is_meant = |member: &&Arc<Member>| {
            member.address.ip() == address && port.is_none_or(|port| member.target.port == port)
        };
        let registered = self.lock().registered.clone();
        for member in registered.iter().filter(is_meant) {
            self.deregister(member);
        }
    }

    async fn watch_health(self: Arc<Self>, member: Arc<Member>) {
        let mut config = self.config.subscribe();
        let checks = async {
            loop {
                let settings = config.borrow_and_update().clone();
                if !settings.in_use() {
                    if config.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                self.check(&member, &settings).await;
                self.clock.sleep(settings.health_check.interval).await;
            }
        };
        member.deregistered.run_until_cancelled(checks).await;
    }

    async fn check(&self, member: &Member, config: &TargetGroupConfig) {
        let settings = &config.health_check;
        let address = SocketAddr::new(
            member.address.ip(),
            settings.port.unwrap_or(member.address.port()),
        );
        let floor = SHORTEST_PATIENCE.min(settings.timeout);
        let patience = self.clock.scaled(settings.timeout).max(floor);
        // Not told to those who wait for a change: the state is the same.
        member.health.send_if_modified(|health| {
            *health = health.checking();
            false
        });
        let verdict = health::check(address, settings, patience).await;
        let mut warms_up = false;
        member.health.send_if_modified(|health| {
            let before = *health;
            *health = before.after(verdict, settings);
            let new = before.state == TargetState::Initial;
            warms_up = new && health.state == TargetState::Healthy;
            (before.state, before.failure) != (health.state, health.failure)
        });
        if warms_up && !config.slow_start.is_zero() {
            self.begin_slow_start(member);
        }
        if !member.is_healthy() {
            *member.warming() = None;
        }
    }

    /// A new target warms up only beside one that is warm already: the first targets of a group
    /// have nobody to leave requests to.
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#slow-start-mode>
    fn begin_slow_start(&self, member: &Member) {
        let members = self.lock();
        let mut others = members.registered.iter();
        if others.any(|other| {
            other.target != member.target && other.is_healthy() && other.warming().is_none()
        }) {
            *member.warming() = Some(Instant::now());
        }
    }

    fn deregister(self: &Arc<Self>, member: &Arc<Member>) {
        {
            let mut members = self.lock();
            let Some(position) = members
                .registered
                .iter()
                .position(|m| Arc::ptr_eq(m, member))
            else {
                return;
            };
            let member = members.registered.remove(position);
            members.draining.push(member);
        }
        member.deregistered.cancel();
        let group = Arc::clone(self);
        let member = Arc::clone(member);
        self.tasks.spawn(async move {
            let delay = group.config.borrow().deregistration_delay;
            // A target stays "draining" for the whole delay, even if it has drained before.
            let waited = group.closed.run_until_cancelled(group.clock.sleep(delay));
            waited.await;
            member.cut_off.cancel();
            group.lock().draining.retain(|m| !Arc::ptr_eq(m, &member));
        });
    }

    /// Chooses the target for the next request, round robin over the healthy ones; if none is
    /// healthy, over all that are registered, as a load balancer "fails open".
    ///
    /// `None` when no target is registered.
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-health>
    pub(crate) fn lease(&self) -> Option<Lease> {
        let mut members = self.lock();
        let turn = members.turn;
        members.turn = turn.wrapping_add(1);
        let mut chosen_from: Vec<_> = members.registered.iter().collect();
        if chosen_from.iter().any(|member| member.is_healthy()) {
            chosen_from.retain(|member| member.is_healthy());
        }
        let slow_start = self.clock.scaled(self.config.borrow().slow_start);
        let shares: Vec<u32> = chosen_from
            .iter()
            .map(|member| member.share(slow_start))
            .collect();
        let chosen = if shares.iter().all(|share| *share == FULL_SHARE) {
            (turn as usize).checked_rem(shares.len())?
        } else {
            choose_by_weight(&shares, turn)?
        };
        let member = *chosen_from.get(chosen)?;
        // Counted while the members are locked: a target that is deregistered afterwards knows
        // of this request and waits for it.
        member.in_flight.send_modify(|count| *count += 1);
        Some(Lease {
            member: Arc::clone(member),
        })
    }

    /// How many targets are healthy and unhealthy, for each load balancer that uses the group;
    /// nothing while no target is registered.
    pub(crate) fn host_counts(&self) -> Vec<HostCounts> {
        let load_balancers = self.config.borrow().load_balancers.clone();
        let members = self.lock();
        if members.registered.is_empty() {
            return Vec::new();
        }
        let count = |state: TargetState| {
            let targets = members.registered.iter();
            let in_state = targets.filter(|member| member.health.borrow().state == state);
            in_state.count()
        };
        let (healthy, unhealthy) = (count(TargetState::Healthy), count(TargetState::Unhealthy));
        load_balancers
            .into_iter()
            .map(|load_balancer| HostCounts {
                load_balancer,
                target_group_arn: self.arn.clone(),
                healthy,
                unhealthy,
            })
            .collect()
    }

    pub(crate) fn describe(&self, only: &[(String, Option<u16>)]) -> Vec<TargetHealthDescription> {
        let config = self.config.borrow().clone();
        let members = self.lock();
        let registered = members
            .registered
            .iter()
            .map(|m| describe(m, &config, false));
        let draining = members.draining.iter().map(|m| describe(m, &config, true));
        let mut all: Vec<_> = registered.chain(draining).collect();
        if only.is_empty() {
            return all;
        }
        only.iter()
            .map(|(id, port)| {
                let port = port.unwrap_or(config.port);
                let wanted =
                    |d: &TargetHealthDescription| d.target.id == *id && d.target.port == port;
                match all.iter().position(wanted) {
                    Some(position) => all.swap_remove(position),
                    None => TargetHealthDescription {
                        target: Target {
                            id: id.clone(),
                            port,
                        },
                        health_check_port: health_check_port(&config, port),
                        state: TargetState::Unused,
                        reason: Some("Target.NotRegistered"),
                        description: Some(
                            "Target is not registered to the target group".to_owned(),
                        ),
                    },
                }
            })
            .collect()
    }
}

fn health_check_port(config: &TargetGroupConfig, port: u16) -> String {
    config.health_check.port.unwrap_or(port).to_string()
}

fn describe(
    member: &Member,
    config: &TargetGroupConfig,
    draining: bool,
) -> TargetHealthDescription {
    let health = *member.health.borrow();
    let (state, (reason, description)) = if draining {
        (
            TargetState::Draining,
            (
                Some("Target.DeregistrationInProgress"),
                Some("Target deregistration is in progress".to_owned()),
            ),
        )
    } else if !config.in_use() {
        (
            TargetState::Unused,
            (
                Some("Target.NotInUse"),
                Some(
                    "Target group is not configured to receive traffic from the load balancer"
                        .to_owned(),
                ),
            ),
        )
    } else {
        (health.state, health.explanation())
    };
    TargetHealthDescription {
        target: member.target.clone(),
        health_check_port: health_check_port(config, member.target.port),
        state,
        reason,
        description,
    }
}
