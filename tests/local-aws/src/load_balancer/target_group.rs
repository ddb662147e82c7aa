//! A target group at work: registered targets, their health, the requests they are serving.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::health::{self, Health, HealthCheck};
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
    /// Whether a listener forwards to it.
    pub(crate) in_use: bool,
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
    turn: usize,
}

#[derive(Debug)]
struct Member {
    target: Target,
    address: SocketAddr,
    health: watch::Sender<Health>,
    in_flight: watch::Sender<usize>,
    /// Ends the health checks: the target is no longer registered.
    deregistered: CancellationToken,
    /// Ends the requests still open: the deregistration delay is over.
    cut_off: CancellationToken,
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
            || !self.group.config.borrow().in_use
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
        self.config.borrow().in_use
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

    async fn watch_health(self: Arc<Self>, member: Arc<Member>) {
        let mut config = self.config.subscribe();
        let checks = async {
            loop {
                let settings = config.borrow_and_update().clone();
                if !settings.in_use {
                    if config.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                self.check(&member, &settings.health_check).await;
                self.clock.sleep(settings.health_check.interval).await;
            }
        };
        member.deregistered.run_until_cancelled(checks).await;
    }

    async fn check(&self, member: &Member, settings: &HealthCheck) {
        let address = SocketAddr::new(
            member.address.ip(),
            settings.port.unwrap_or(member.address.port()),
        );
        let floor = SHORTEST_PATIENCE.min(settings.timeout);
        let patience = self.clock.scaled(settings.timeout).max(floor);
        let verdict = health::check(address, settings, patience).await;
        member.health.send_if_modified(|health| {
            let before = *health;
            *health = before.after(verdict, settings);
            (before.state, before.failure) != (health.state, health.failure)
        });
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
        let healthy = || {
            members
                .registered
                .iter()
                .filter(|m| m.health.borrow().state == TargetState::Healthy)
        };
        let member = match healthy().count() {
            0 => members
                .registered
                .get(turn.checked_rem(members.registered.len())?)?,
            count => healthy().nth(turn % count)?,
        };
        // Counted while the members are locked: a target that is deregistered afterwards knows
        // of this request and waits for it.
        member.in_flight.send_modify(|count| *count += 1);
        Some(Lease {
            member: Arc::clone(member),
        })
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
    } else if !config.in_use {
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
