//! What load balancers tell CloudWatch, in the namespace `AWS/ApplicationELB`.
//!
//! Counts are told only where there is something to count, as Elastic Load Balancing does. The
//! dimension `AvailabilityZone` is left out: there are no zones here.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use http::StatusCode;
use jiff::Timestamp;

use super::TargetGroup;
use crate::clock::Clock;

pub(crate) const NAMESPACE: &str = "AWS/ApplicationELB";

/// Load balancers send their metrics in intervals of this length.
const INTERVAL: Duration = Duration::from_secs(60);

/// How many values one datum of PutMetricData holds, and how many data one request.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>
const VALUES_IN_A_DATUM: usize = 150;
const DATA_IN_A_REQUEST: usize = 1000;

/// The value of the dimension `LoadBalancer` for a load balancer's ARN: `app/NAME/ID`.
pub(crate) fn load_balancer(arn: &str) -> String {
    let (_, name) = arn.split_once(":loadbalancer/").unwrap_or(("", arn));
    name.to_owned()
}

/// The value of the dimension `TargetGroup` for a target group's ARN: `targetgroup/NAME/ID`.
fn target_group(arn: &str) -> String {
    arn.rsplit(':').next().unwrap_or(arn).to_owned()
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Series {
    name: &'static str,
    load_balancer: String,
    target_group: Option<String>,
}

impl Series {
    fn dimensions(&self) -> Vec<Dimension> {
        let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value);
        let target_group = self.target_group.as_deref();
        target_group
            .map(|value| dimension("TargetGroup", value))
            .into_iter()
            .chain([dimension("LoadBalancer", &self.load_balancer)])
            .map(|builder| builder.build())
            .collect()
    }
}

/// What has happened since the last interval's end.
#[derive(Debug, Default)]
struct Observations {
    counts: HashMap<Series, u64>,
    /// How often each response time was seen, in microseconds of three significant digits.
    times: HashMap<Series, BTreeMap<u64, u64>>,
}

/// Counts what happens at the listeners. Clones share one state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    observations: Arc<Mutex<Observations>>,
}

/// What a group's targets are to one of its load balancers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostCounts {
    pub(crate) load_balancer: String,
    pub(crate) target_group_arn: String,
    pub(crate) healthy: usize,
    pub(crate) unhealthy: usize,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Observations> {
        self.observations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, name: &'static str, load_balancer: &str, target_group_arn: Option<&str>) {
        let series = Series {
            name,
            load_balancer: load_balancer.to_owned(),
            target_group: target_group_arn.map(target_group),
        };
        *self.lock().counts.entry(series).or_default() += 1;
    }

    /// Counts for the load balancer alone, and once more for it and the target group.
    fn count_both(&self, name: &'static str, load_balancer: &str, target_group_arn: &str) {
        self.count(name, load_balancer, None);
        self.count(name, load_balancer, Some(target_group_arn));
    }

    /// A target was chosen for a request.
    pub(crate) fn request(&self, load_balancer: &str, target_group_arn: &str) {
        self.count_both("RequestCount", load_balancer, target_group_arn);
    }

    /// A target began its answer, so long after the request had been sent to it.
    pub(crate) fn target_answered(
        &self,
        load_balancer: &str,
        target_group_arn: &str,
        status: StatusCode,
        after: Duration,
    ) {
        let name = match status.as_u16() {
            200..300 => "HTTPCode_Target_2XX_Count",
            300..400 => "HTTPCode_Target_3XX_Count",
            400..500 => "HTTPCode_Target_4XX_Count",
            _ => "HTTPCode_Target_5XX_Count",
        };
        self.count_both(name, load_balancer, target_group_arn);
        let time = rounded(after);
        for target_group in [None, Some(target_group(target_group_arn))] {
            let series = Series {
                name: "TargetResponseTime",
                load_balancer: load_balancer.to_owned(),
                target_group,
            };
            let mut observations = self.lock();
            let times = observations.times.entry(series).or_default();
            *times.entry(time).or_default() += 1;
        }
    }

    /// No connection to a target came about.
    pub(crate) fn connection_failed(&self, load_balancer: &str, target_group_arn: &str) {
        self.count_both(
            "TargetConnectionErrorCount",
            load_balancer,
            target_group_arn,
        );
    }

    /// The load balancer itself gave the answer to a request that it could not pass on.
    pub(crate) fn failed(&self, load_balancer: &str, status: StatusCode) {
        let own = match status.as_u16() {
            500 => Some("HTTPCode_ELB_500_Count"),
            502 => Some("HTTPCode_ELB_502_Count"),
            503 => Some("HTTPCode_ELB_503_Count"),
            504 => Some("HTTPCode_ELB_504_Count"),
            _ => None,
        };
        let class = if status.is_server_error() {
            "HTTPCode_ELB_5XX_Count"
        } else {
            "HTTPCode_ELB_4XX_Count"
        };
        for name in own.into_iter().chain([class]) {
            self.count(name, load_balancer, None);
        }
    }

    /// A rule's redirect was the answer.
    pub(crate) fn redirected(&self, load_balancer: &str) {
        self.count("HTTP_Redirect_Count", load_balancer, None);
        self.count("HTTPCode_ELB_3XX_Count", load_balancer, None);
    }

    /// A rule's fixed response was the answer.
    pub(crate) fn fixed_response(&self, load_balancer: &str) {
        self.count("HTTP_Fixed_Response_Count", load_balancer, None);
    }

    /// The counts so far of a load balancer alone, by name.
    #[cfg(test)]
    pub(crate) fn counts_of(&self, load_balancer: &str) -> Vec<(&'static str, u64)> {
        let observations = self.lock();
        let of_balancer = observations.counts.iter().filter(|(series, _)| {
            series.load_balancer == load_balancer && series.target_group.is_none()
        });
        let mut counts: Vec<_> = of_balancer.map(|(it, count)| (it.name, *count)).collect();
        counts.sort_unstable();
        counts
    }

    /// All that was observed since the last call, and how the hosts are now, as of `moment`.
    fn take(&self, hosts: &[HostCounts], moment: DateTime) -> Vec<MetricDatum> {
        let observations = std::mem::take(&mut *self.lock());
        let counts = observations.counts.into_iter().map(|(series, count)| {
            let datum = datum(&series, StandardUnit::Count, moment);
            datum.value(count as f64).build()
        });
        let times = observations.times.into_iter().flat_map(|(series, times)| {
            let times: Vec<(u64, u64)> = times.into_iter().collect();
            let data = times.chunks(VALUES_IN_A_DATUM).map(|times| {
                let (seconds, counts) = times
                    .iter()
                    .map(|(time, count)| (*time as f64 / 1e6, *count as f64))
                    .unzip();
                datum(&series, StandardUnit::Seconds, moment)
                    .set_values(Some(seconds))
                    .set_counts(Some(counts))
                    .build()
            });
            data.collect::<Vec<_>>()
        });
        let hosts = hosts.iter().flat_map(|hosts| {
            let of_state = [
                ("HealthyHostCount", hosts.healthy),
                ("UnHealthyHostCount", hosts.unhealthy),
            ];
            of_state.map(|(name, count)| {
                let series = Series {
                    name,
                    load_balancer: hosts.load_balancer.clone(),
                    target_group: Some(target_group(&hosts.target_group_arn)),
                };
                let datum = datum(&series, StandardUnit::Count, moment);
                datum.value(count as f64).build()
            })
        });
        counts.chain(times).chain(hosts).collect()
    }
}

fn datum(
    series: &Series,
    unit: StandardUnit,
    moment: DateTime,
) -> aws_sdk_cloudwatch::types::builders::MetricDatumBuilder {
    MetricDatum::builder()
        .metric_name(series.name)
        .set_dimensions(Some(series.dimensions()))
        .unit(unit)
        .timestamp(moment)
}

/// Microseconds with three significant digits: as exact as an alarm needs, and few values however
/// many requests there are.
fn rounded(time: Duration) -> u64 {
    let mut unit = 1;
    let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    while time / unit >= 1000 {
        unit *= 10;
    }
    time / unit * unit
}

/// Sends the metrics of each interval at its end, forever. Intervals are those in which alarms
/// look at metrics: whole ones since the epoch, at the clock's pace.
pub(crate) async fn publish(
    meter: Meter,
    groups: impl Fn() -> Vec<Arc<TargetGroup>>,
    clock: Clock,
    cloudwatch: aws_sdk_cloudwatch::Client,
) {
    let interval = clock.scaled(INTERVAL).as_secs_f64();
    let mut number = (now() / interval).floor();
    loop {
        let end = (number + 1.0) * interval;
        tokio::time::sleep(Duration::from_secs_f64((end - now()).max(0.0))).await;
        let hosts: Vec<HostCounts> = groups().iter().flat_map(|it| it.host_counts()).collect();
        // Rounded up, so that the moment lies in the interval and not a fraction before it.
        let moment = DateTime::from_millis((number * interval * 1000.0).ceil() as i64);
        let data = meter.take(&hosts, moment);
        for data in data.chunks(DATA_IN_A_REQUEST) {
            let request = cloudwatch.put_metric_data().namespace(NAMESPACE);
            let request = request.set_metric_data(Some(data.to_vec()));
            if let Err(error) = request.send().await {
                let error = anyhow::Error::new(error);
                tracing::error!("CloudWatch did not take the load balancers' metrics: {error:#}");
            }
        }
        // An interval that passed while this one was sent is told with the next.
        number = (number + 1.0).max((now() / interval).floor());
    }
}

/// Seconds since the epoch.
fn now() -> f64 {
    Timestamp::now().as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const BALANCER: &str = "app/web/50dc6c495c0c9188";
    const GROUP: &str =
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/blue/73e2d6bc24d8a067";

    /// Name, dimensions and value or values of each datum, in an order of their own.
    fn told(meter: &Meter, hosts: &[HostCounts]) -> Vec<String> {
        let mut told: Vec<String> = meter
            .take(hosts, DateTime::from_secs(0))
            .iter()
            .map(|datum| {
                let dimensions: Vec<&str> = datum
                    .dimensions()
                    .iter()
                    .map(|dimension| dimension.value().unwrap())
                    .collect();
                let value = match datum.value() {
                    Some(value) => value.to_string(),
                    None => format!("{:?} x {:?}", datum.values(), datum.counts()),
                };
                let name = datum.metric_name().unwrap();
                format!("{name} {} {value}", dimensions.join(","))
            })
            .collect();
        told.sort();
        told
    }

    #[test]
    fn dimensions_are_the_ends_of_arns() {
        let arn = format!("arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/{BALANCER}");
        assert_eq!(load_balancer(&arn), BALANCER);
        assert_eq!(target_group(GROUP), "targetgroup/blue/73e2d6bc24d8a067");
    }

    #[test]
    fn a_request_counts_for_its_load_balancer_and_for_its_target_group() {
        let meter = Meter::default();
        for status in [StatusCode::OK, StatusCode::OK, StatusCode::NOT_FOUND] {
            meter.request(BALANCER, GROUP);
            meter.target_answered(BALANCER, GROUP, status, Duration::from_micros(123_456));
        }
        let group = target_group(GROUP);
        let mut expected = Vec::new();
        for dimensions in [BALANCER.to_owned(), format!("{group},{BALANCER}")] {
            expected.extend([
                format!("HTTPCode_Target_2XX_Count {dimensions} 2"),
                format!("HTTPCode_Target_4XX_Count {dimensions} 1"),
                format!("RequestCount {dimensions} 3"),
                format!("TargetResponseTime {dimensions} [0.123] x [3.0]"),
            ]);
        }
        expected.sort();
        assert_eq!(told(&meter, &[]), expected);
    }

    #[test]
    fn what_did_not_happen_is_not_told() {
        let meter = Meter::default();
        meter.request(BALANCER, GROUP);
        assert_eq!(told(&meter, &[]).len(), 2);
        assert_eq!(told(&meter, &[]), Vec::<String>::new());
    }

    #[test]
    fn an_answer_of_the_load_balancer_itself_is_no_answer_of_a_target() {
        let meter = Meter::default();
        meter.failed(BALANCER, StatusCode::BAD_GATEWAY);
        meter.failed(BALANCER, StatusCode::GATEWAY_TIMEOUT);
        let expected = [
            format!("HTTPCode_ELB_502_Count {BALANCER} 1"),
            format!("HTTPCode_ELB_504_Count {BALANCER} 1"),
            format!("HTTPCode_ELB_5XX_Count {BALANCER} 2"),
        ];
        assert_eq!(told(&meter, &[]), expected);
    }

    #[test]
    fn hosts_are_told_even_if_there_are_none_of_a_kind() {
        let hosts = HostCounts {
            load_balancer: BALANCER.to_owned(),
            target_group_arn: GROUP.to_owned(),
            healthy: 2,
            unhealthy: 0,
        };
        let dimensions = format!("{},{BALANCER}", target_group(GROUP));
        let expected = [
            format!("HealthyHostCount {dimensions} 2"),
            format!("UnHealthyHostCount {dimensions} 0"),
        ];
        assert_eq!(told(&Meter::default(), &[hosts]), expected);
    }

    #[test]
    fn many_response_times_are_told_in_data_that_cloudwatch_takes() {
        let meter = Meter::default();
        for microseconds in 100..500 {
            let time = Duration::from_micros(microseconds);
            meter.target_answered(BALANCER, GROUP, StatusCode::OK, time);
        }
        let data = meter.take(&[], DateTime::from_secs(0));
        let times = data.iter().filter(|datum| datum.value().is_none());
        let sizes: Vec<usize> = times.map(|datum| datum.values().len()).collect();
        assert!(sizes.iter().all(|size| *size <= VALUES_IN_A_DATUM));
        assert_eq!(sizes.iter().sum::<usize>(), 2 * 400);
    }

    #[test]
    fn times_are_kept_with_three_digits() {
        for (time, kept) in [(0, 0), (999, 999), (1234, 1230), (1_999_999, 1_990_000)] {
            assert_eq!(rounded(Duration::from_micros(time)), kept);
        }
    }
}
