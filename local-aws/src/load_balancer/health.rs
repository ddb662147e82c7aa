//! Health checks: their settings, their verdicts, and what a run of verdicts means.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::TargetState;

/// A target group's health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    /// `None` is `traffic-port`: the port the target is registered with.
    pub(crate) port: Option<u16>,
    pub(crate) path: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) healthy_threshold: u32,
    pub(crate) unhealthy_threshold: u32,
    pub(crate) matcher: Matcher,
}

/// Status codes that mean healthy, such as `200`, `200,202` or `200-299`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Matcher(Vec<(u16, u16)>);

impl Matcher {
    /// Parts that are no code and no range are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let range = |part: &str| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
        };
        Self(text.split(',').filter_map(range).collect())
    }

    fn matches(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&status))
    }
}

/// What one health check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// The target answered with this status, which the matcher does not contain.
    WrongStatus(u16),
    TimedOut,
    /// Refused, reset or not HTTP.
    Failed,
}

/// A target's state and the run of equal verdicts that may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) state: TargetState,
    /// The last verdict that was not `Passed`, while it explains the state.
    pub(crate) failure: Option<Verdict>,
    /// Whether a check has been sent yet.
    checked: bool,
    passed: u32,
    failed: u32,
}

impl Health {
    /// A target that is registered and not yet checked.
    pub(crate) fn initial() -> Self {
        Self {
            state: TargetState::Initial,
            failure: None,
            checked: false,
            passed: 0,
            failed: 0,
        }
    }

    /// A check is on its way to the target.
    pub(crate) fn checking(self) -> Self {
        Self {
            checked: true,
            ..self
        }
    }

    /// Counts one more verdict.
    ///
    /// A new target is healthy after its first passed check; afterwards the thresholds decide.
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>
    pub(crate) fn after(self, verdict: Verdict, check: &HealthCheck) -> Self {
        if verdict == Verdict::Passed {
            let passed = self.passed.saturating_add(1);
            let healthy = match self.state {
                TargetState::Initial | TargetState::Healthy => true,
                _ => passed >= check.healthy_threshold,
            };
            return Self {
                state: if healthy {
                    TargetState::Healthy
                } else {
                    self.state
                },
                failure: if healthy { None } else { self.failure },
                checked: true,
                passed,
                failed: 0,
            };
        }
        let failed = self.failed.saturating_add(1);
        let unhealthy = failed >= check.unhealthy_threshold;
        Self {
            state: if unhealthy {
                TargetState::Unhealthy
            } else {
                self.state
            },
            failure: if unhealthy {
                Some(verdict)
            } else {
                self.failure
            },
            checked: true,
            passed: 0,
            failed,
        }
    }

    /// The reason code and description that go with the state.
    ///
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>
    pub(crate) fn explanation(&self) -> (Option<&'static str>, Option<String>) {
        match (self.state, self.failure) {
            (TargetState::Healthy, _) => (None, None),
            (TargetState::Initial, _) if !self.checked => (
                Some("Elb.RegistrationInProgress"),
                Some("Target registration is in progress".to_owned()),
            ),
            (TargetState::Initial, _) => (
                Some("Elb.InitialHealthChecking"),
                Some("Initial health checks in progress".to_owned()),
            ),
            (_, Some(Verdict::WrongStatus(status))) => (
                Some("Target.ResponseCodeMismatch"),
                Some(format!("Health checks failed with these codes: [{status}]")),
            ),
            (_, Some(Verdict::TimedOut)) => {
                (Some("Target.Timeout"), Some("Request timed out".to_owned()))
            }
            _ => (
                Some("Target.FailedHealthChecks"),
                Some("Health checks failed".to_owned()),
            ),
        }
    }
}

/// Makes one health check; `patience` bounds all of it.
pub(crate) async fn check(address: SocketAddr, check: &HealthCheck, patience: Duration) -> Verdict {
    match timeout(patience, status(address, &check.path)).await {
        Err(_) => Verdict::TimedOut,
        Ok(None) => Verdict::Failed,
        Ok(Some(status)) if check.matcher.matches(status) => Verdict::Passed,
        Ok(Some(status)) => Verdict::WrongStatus(status),
    }
}

async fn status(address: SocketAddr, path: &str) -> Option<u16> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, "ELB-HealthChecker/2.0")
        .header(header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())
        .ok()?;
    let answer = sender.send_request(request);
    // The end of the connection is no verdict: the answer may have arrived with it. If none
    // has, the request resolves with an error.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => Some(answer.ok()?.status().as_u16()),
        () = drive => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(healthy: u32, unhealthy: u32) -> HealthCheck {
        HealthCheck {
            port: None,
            path: "/".to_owned(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            healthy_threshold: healthy,
            unhealthy_threshold: unhealthy,
            matcher: Matcher::parse("200"),
        }
    }

    fn state_after(verdicts: &[Verdict], check: &HealthCheck) -> TargetState {
        verdicts
            .iter()
            .fold(Health::initial(), |health, verdict| {
                health.after(*verdict, check)
            })
            .state
    }

    #[test]
    fn a_matcher_lists_codes_and_ranges() {
        let matcher = Matcher::parse("200,202, 300-302");
        for status in [200, 202, 300, 301, 302] {
            assert!(matcher.matches(status), "{status}");
        }
        for status in [201, 299, 303, 500] {
            assert!(!matcher.matches(status), "{status}");
        }
    }

    #[test]
    fn one_passed_check_makes_a_new_target_healthy() {
        assert_eq!(
            state_after(&[Verdict::Failed, Verdict::Passed], &settings(5, 2)),
            TargetState::Healthy
        );
    }

    #[test]
    fn a_run_of_failures_makes_a_target_unhealthy() {
        use Verdict::{Failed, Passed, TimedOut};
        let check = settings(2, 3);
        assert_eq!(state_after(&[Failed, Failed], &check), TargetState::Initial);
        assert_eq!(
            state_after(&[Failed, TimedOut, Failed], &check),
            TargetState::Unhealthy
        );
        assert_eq!(
            state_after(&[Passed, Failed, Failed, Passed, Failed, Failed], &check),
            TargetState::Healthy
        );
    }

    #[test]
    fn an_unhealthy_target_has_to_pass_as_often_as_the_threshold_says() {
        use Verdict::{Failed, Passed};
        let check = settings(3, 1);
        assert_eq!(
            state_after(&[Failed, Passed, Passed], &check),
            TargetState::Unhealthy
        );
        assert_eq!(
            state_after(&[Failed, Passed, Passed, Passed], &check),
            TargetState::Healthy
        );
    }

    #[test]
    fn a_new_target_is_being_registered_until_its_first_check_is_sent() {
        let reason = |health: Health| (health.state, health.explanation().0);
        let new = Health::initial();
        let registering = Some("Elb.RegistrationInProgress");
        assert_eq!(reason(new), (TargetState::Initial, registering));
        let checking = Some("Elb.InitialHealthChecking");
        assert_eq!(reason(new.checking()), (TargetState::Initial, checking));
        let failed_once = new.checking().after(Verdict::Failed, &settings(2, 2));
        assert_eq!(reason(failed_once), (TargetState::Initial, checking));
    }

    #[test]
    fn an_unhealthy_target_says_why() {
        let unhealthy = |verdict| {
            Health::initial()
                .after(verdict, &settings(1, 1))
                .explanation()
        };
        assert_eq!(
            unhealthy(Verdict::WrongStatus(500)),
            (
                Some("Target.ResponseCodeMismatch"),
                Some("Health checks failed with these codes: [500]".to_owned())
            )
        );
        assert_eq!(unhealthy(Verdict::TimedOut).0, Some("Target.Timeout"));
        assert_eq!(
            unhealthy(Verdict::Failed).0,
            Some("Target.FailedHealthChecks")
        );
    }
}
