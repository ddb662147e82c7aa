//! The data plane of Elastic Load Balancing: listeners, health checks, draining.
//!
//! Load balancers, listeners, rules and target groups are created in moto's ELBv2, which carries
//! no traffic. [`LoadBalancers::sync`] makes this side agree with them. Targets are registered
//! here, by the ECS service scheduler.

mod health;
mod metrics;
mod ports;
mod proxy;
mod rules;
mod sync;
mod target_group;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use target_group::Registration;
pub use weights::RuleTarget;

use crate::clock::Clock;
use metrics::Meter;
use proxy::{Listener, Routes};
use target_group::TargetGroup;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// All load balancers of the account. Clones share one state.
#[derive(Clone, Debug)]
pub struct LoadBalancers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Clock,
    elbv2: aws_sdk_elasticloadbalancingv2::Client,
    /// How many times `sync` has been asked for.
    requested: AtomicU64,
    /// The request up to which the configuration is known; held while reading it.
    synced: tokio::sync::Mutex<u64>,
    state: Mutex<State>,
    meter: Meter,
    tasks: TaskTracker,
    /// Ends everything.
    killed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// Sockets that are bound but do not listen yet, by their port.
    reserved: HashMap<u16, TcpSocket>,
    /// By the listener's ARN.
    listeners: HashMap<String, Arc<Listener>>,
    /// By the target group's ARN.
    groups: HashMap<String, Arc<TargetGroup>>,
}

/// One target of a target group: an address (an `ip` target's Id) and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub id: String,
    pub port: u16,
}

/// A target's state as `DescribeTargetHealth` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Draining,
    Unused,
}

impl TargetState {
    /// The value in the API's answers, such as `healthy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Unused => "unused",
        }
    }
}

/// One member of `TargetHealthDescriptions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealthDescription {
    pub target: Target,
    pub health_check_port: String,
    pub state: TargetState,
    /// Absent while healthy, else a code such as `Target.ResponseCodeMismatch`.
    pub reason: Option<&'static str>,
    pub description: Option<String>,
}

/// moto has no such target group.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("One or more target groups not found")]
pub struct TargetGroupNotFound;

impl LoadBalancers {
    pub fn new(clock: Clock, elbv2: aws_sdk_elasticloadbalancingv2::Client) -> Self {
        Self {
            inner: Arc::new(Inner {
                clock,
                elbv2,
                requested: AtomicU64::new(0),
                synced: tokio::sync::Mutex::new(0),
                state: Mutex::default(),
                meter: Meter::default(),
                tasks: TaskTracker::new(),
                killed: CancellationToken::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what happens at the load balancers to CloudWatch, until they are shut down.
    pub fn publish_metrics(&self, cloudwatch: aws_sdk_cloudwatch::Client) {
        let (balancers, killed) = (self.clone(), self.inner.killed.clone());
        let meter = self.inner.meter.clone();
        self.inner.tasks.spawn(async move {
            let groups = || balancers.lock().groups.values().cloned().collect();
            let publishing = metrics::publish(meter, groups, balancers.inner.clock, cloudwatch);
            killed.run_until_cancelled(publishing).await;
        });
    }

    /// Reserves a free port of 127.0.0.1; it stays bound until a listener with that port exists.
    pub async fn reserve_port(&self) -> io::Result<u16> {
        // Without SO_REUSEADDR: two sockets that have it may be given the same port.
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let port = socket.local_addr()?.port();
        self.lock().reserved.insert(port, socket);
        Ok(port)
    }

    /// Reads load balancers, listeners, rules and target groups from moto and opens and closes
    /// listeners accordingly. To be called after every request that may have changed them.
    ///
    /// A listener whose port cannot be opened is logged and tried again at the next call.
    pub async fn sync(&self) -> anyhow::Result<()> {
        let ticket = self.inner.requested.fetch_add(1, Ordering::AcqRel) + 1;
        let mut synced = self.inner.synced.lock().await;
        if *synced >= ticket {
            // While this call waited, another one read a configuration at least as new.
            return Ok(());
        }
        let newest = self.inner.requested.load(Ordering::Acquire);
        let configuration = sync::read(&self.inner.elbv2).await?;
        self.apply(configuration).await;
        *synced = newest;
        Ok(())
    }

    /// Follows the rules of one listener, which forward to the target groups they did before. To
    /// read everything, as [`sync`](Self::sync) does, takes a request for every listener and
    /// target group of the account, and a deployment shifts weights again and again.
    async fn sync_rules(&self, listener_arn: &str) -> anyhow::Result<()> {
        // What is being read now may be older than the change, and is applied before it.
        let _synced = self.inner.synced.lock().await;
        let rules = sync::read_rules(&self.inner.elbv2, listener_arn).await?;
        if let Some(listener) = self.lock().listeners.get(listener_arn) {
            listener.change_rules(rules);
        }
        Ok(())
    }

    async fn apply(&self, configuration: sync::Configuration) {
        if self.inner.killed.is_cancelled() {
            return;
        }
        // First of all, so that a new listener can have the port of one that is gone.
        for listener in self.take_unwanted_listeners(&configuration) {
            listener.close().await;
        }
        let mut state = self.lock();
        state.groups.retain(|arn, group| {
            let kept = configuration.target_groups.contains_key(arn);
            if !kept {
                group.close();
            }
            kept
        });
        for (arn, config) in configuration.target_groups {
            match state.groups.get(&arn) {
                Some(group) => group.configure(config),
                None => {
                    let group = TargetGroup::new(
                        &arn,
                        config,
                        self.inner.clock,
                        self.inner.tasks.clone(),
                        self.inner.killed.child_token(),
                    );
                    state.groups.insert(arn, group);
                }
            }
        }
        for config in configuration.listeners {
            self.apply_listener(&mut state, config);
        }
    }

    /// Takes out the listeners that moto does not have any more, or not at that port.
    fn take_unwanted_listeners(&self, configuration: &sync::Configuration) -> Vec<Arc<Listener>> {
        let wanted: HashSet<(&str, u16)> = configuration
            .listeners
            .iter()
            .map(|listener| (listener.arn.as_str(), listener.port))
            .collect();
        self.lock()
            .listeners
            .extract_if(|arn, listener| !wanted.contains(&(arn.as_str(), listener.port)))
            .map(|(_, listener)| listener)
            .collect()
    }

    fn apply_listener(&self, state: &mut State, config: sync::ListenerConfig) {
        let groups = config
            .target_groups()
            .filter_map(|arn| state.groups.get(arn).cloned())
            .collect();
        let routes = Routes {
            load_balancer: config.load_balancer,
            rules: config.rules,
            groups,
            idle_timeout: config.idle_timeout,
        };
        if let Some(listener) = state.listeners.get(&config.arn) {
            listener.configure(routes);
            return;
        }
        match open(state.reserved.remove(&config.port), config.port) {
            Ok(socket) => {
                let listener = Listener::start(
                    socket,
                    config.port,
                    routes,
                    self.inner.meter.clone(),
                    self.inner.killed.clone(),
                    self.inner.tasks.clone(),
                );
                state.listeners.insert(config.arn, listener);
            }
            Err(error) => {
                tracing::error!(arn = config.arn, port = config.port, %error, "cannot open a listener");
            }
        }
    }

    async fn group(&self, arn: &str) -> Result<Arc<TargetGroup>, TargetGroupNotFound> {
        if let Some(group) = self.lock().groups.get(arn) {
            return Ok(Arc::clone(group));
        }
        if let Err(error) = self.sync().await {
            tracing::error!(error = format!("{error:#}"), "cannot read load balancers");
        }
        self.lock()
            .groups
            .get(arn)
            .cloned()
            .ok_or(TargetGroupNotFound)
    }

    /// Whether a listener forwards to the target group.
    pub async fn is_target_group_in_use(&self, arn: &str) -> Result<bool, TargetGroupNotFound> {
        if self.group(arn).await?.in_use() {
            return Ok(true);
        }
        if let Err(error) = self.sync().await {
            tracing::error!(error = format!("{error:#}"), "cannot read load balancers");
        }
        Ok(self.group(arn).await?.in_use())
    }

    /// Registers a target and starts its health checks.
    pub async fn register(
        &self,
        target_group_arn: &str,
        address: IpAddr,
        port: u16,
    ) -> Result<Registration, TargetGroupNotFound> {
        Ok(self.group(target_group_arn).await?.register(address, port))
    }

    /// Registers a target as RegisterTargets does: without a port, at the group's own.
    pub async fn register_at(
        &self,
        target_group_arn: &str,
        address: IpAddr,
        port: Option<u16>,
    ) -> Result<Registration, TargetGroupNotFound> {
        let group = self.group(target_group_arn).await?;
        let port = port.unwrap_or_else(|| group.port());
        Ok(group.register(address, port))
    }

    /// Takes a target out of rotation as DeregisterTargets does: without a port, it is taken out
    /// at every port. A target that is not registered is none of its business.
    pub async fn deregister(
        &self,
        target_group_arn: &str,
        address: IpAddr,
        port: Option<u16>,
    ) -> Result<(), TargetGroupNotFound> {
        let group = self.group(target_group_arn).await?;
        group.deregister_at(address, port);
        Ok(())
    }

    /// The health of a target group's targets; `only` limits the answer to those targets (a
    /// target that is not registered is then described as unused), empty means all.
    pub async fn describe_target_health(
        &self,
        target_group_arn: &str,
        only: &[(String, Option<u16>)],
    ) -> Result<Vec<TargetHealthDescription>, TargetGroupNotFound> {
        Ok(self.group(target_group_arn).await?.describe(only))
    }

    /// Closes every listener and ends every health check.
    pub async fn shut_down(&self) {
        self.inner.killed.cancel();
        {
            let mut state = self.lock();
            state.reserved.clear();
            state.listeners.clear();
        }
        self.inner.tasks.close();
        // Nothing of it blocks for long; the limit keeps a mistake here from hanging the end.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.inner.tasks.wait()).await;
    }
}

/// Listens on the reserved socket, or on a new one bound to the port.
fn open(reserved: Option<TcpSocket>, port: u16) -> io::Result<TcpListener> {
    let socket = match reserved {
        Some(socket) => {
            // So that the port can be opened again while connections of it fade away.
            socket.set_reuseaddr(true)?;
            socket
        }
        None => {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
            socket
        }
    };
    socket.listen(BACKLOG)
}
