//! What load balancers measure, the alarms of a stack that watch it, and the events of those alarms.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_cloudformation::types::Stack;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Statistic};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use local_aws::client::LocalAws;
use serde_json::{Value, json};
use support::eventually;
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

/// A minute lasts one second.
const SPEED: f64 = 60.0;

async fn local_aws() -> &'static LocalAws {
    static SHARED: OnceCell<LocalAws> = OnceCell::const_new();
    SHARED.get_or_init(|| support::start_at(SPEED)).await
}

/// How a target behaves, which a test may change at any time.
#[derive(Debug)]
struct Behaviour {
    status: AtomicU16,
    health: AtomicU16,
    milliseconds: AtomicU64,
}

async fn serve(behaviour: Arc<Behaviour>) -> u16 {
    async fn answer(State(behaviour): State<Arc<Behaviour>>) -> StatusCode {
        let pause = behaviour.milliseconds.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        StatusCode::from_u16(behaviour.status.load(Ordering::Relaxed)).unwrap()
    }
    async fn health(State(behaviour): State<Arc<Behaviour>>) -> StatusCode {
        StatusCode::from_u16(behaviour.health.load(Ordering::Relaxed)).unwrap()
    }
    let router = Router::new()
        .route("/health", get(health))
        .fallback(answer)
        .with_state(behaviour);
    let socket = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let socket = socket.await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(socket, router).await });
    port
}

/// A load balancer in front of one target, its alarms, and a queue of the alarms' events.
fn template() -> Value {
    let alarm = |metric: &str, dimensions: Value, rest: Value| {
        let mut properties = json!({
            "Namespace": "AWS/ApplicationELB",
            "MetricName": metric,
            "Dimensions": dimensions,
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 0,
            "ComparisonOperator": "GreaterThanThreshold",
        });
        let rest = rest.as_object().unwrap().clone();
        properties.as_object_mut().unwrap().extend(rest);
        json!({"Type": "AWS::CloudWatch::Alarm", "Properties": properties})
    };
    let attribute = |resource: &str, name: &str| json!({"Fn::GetAtt": [resource, name]});
    let balancer = json!({
        "Name": "LoadBalancer",
        "Value": attribute("Balancer", "LoadBalancerFullName"),
    });
    let group = json!({
        "Name": "TargetGroup",
        "Value": attribute("Group", "TargetGroupFullName"),
    });
    let subnet = |number: u8| {
        json!({
            "Type": "AWS::EC2::Subnet",
            "Properties": {
                "VpcId": {"Ref": "Vpc"},
                "CidrBlock": format!("10.0.{number}.0/24"),
                "AvailabilityZone": {"Fn::Select": [number, {"Fn::GetAZs": ""}]},
            },
        })
    };
    json!({
        "Parameters": {"Port": {"Type": "Number"}},
        "Resources": {
            "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
            "SubnetA": subnet(0),
            "SubnetB": subnet(1),
            "Balancer": {
                "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
                "Properties": {"Subnets": [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}]},
            },
            "Group": {
                "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
                "Properties": {
                    "VpcId": {"Ref": "Vpc"},
                    "Protocol": "HTTP",
                    "Port": 80,
                    "TargetType": "ip",
                    "HealthCheckPath": "/health",
                    "HealthCheckIntervalSeconds": 5,
                    "UnhealthyThresholdCount": 2,
                    "HealthyThresholdCount": 2,
                },
            },
            "Listener": {
                "Type": "AWS::ElasticLoadBalancingV2::Listener",
                "Properties": {
                    "LoadBalancerArn": {"Ref": "Balancer"},
                    "Port": {"Ref": "Port"},
                    "Protocol": "HTTP",
                    "DefaultActions": [
                        {"Type": "forward", "TargetGroupArn": {"Ref": "Group"}},
                    ],
                },
            },
            "Errors": alarm(
                "HTTPCode_Target_5XX_Count",
                json!([balancer]),
                json!({"Statistic": "Sum", "TreatMissingData": "notBreaching"}),
            ),
            "Unhealthy": alarm(
                "UnHealthyHostCount",
                json!([balancer, group]),
                json!({"Statistic": "Maximum"}),
            ),
            "Latency": alarm(
                "TargetResponseTime",
                json!([balancer, group]),
                json!({"ExtendedStatistic": "p90", "Threshold": 0.5}),
            ),
            "ErrorRate": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": {
                    "EvaluationPeriods": 1,
                    "Threshold": 10,
                    "ComparisonOperator": "GreaterThanThreshold",
                    "Metrics": [
                        {
                            "Id": "rate",
                            "Expression": "100 * FILL(errors, 0) / requests",
                            "Label": "Requests that failed, in percent",
                        },
                        query("errors", "HTTPCode_Target_5XX_Count", &balancer),
                        query("requests", "RequestCount", &balancer),
                    ],
                },
            },
            "Anything": {
                "Type": "AWS::CloudWatch::CompositeAlarm",
                "Properties": {
                    "AlarmRule": {
                        "Fn::Sub": "ALARM(\"${Unhealthy}\") OR ALARM(\"${Latency}\")",
                    },
                },
            },
            "Queue": {"Type": "AWS::SQS::Queue"},
            "QueuePolicy": {
                "Type": "AWS::SQS::QueuePolicy",
                "Properties": {
                    "Queues": [{"Ref": "Queue"}],
                    "PolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [{
                            "Effect": "Allow",
                            "Principal": {"Service": "events.amazonaws.com"},
                            "Action": "sqs:SendMessage",
                            "Resource": attribute("Queue", "Arn"),
                        }],
                    },
                },
            },
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "EventPattern": {
                        "source": ["aws.cloudwatch"],
                        "detail-type": ["CloudWatch Alarm State Change"],
                        "resources": [
                            attribute("Errors", "Arn"),
                            attribute("Unhealthy", "Arn"),
                            attribute("Latency", "Arn"),
                            attribute("ErrorRate", "Arn"),
                            attribute("Anything", "Arn"),
                        ],
                    },
                    "Targets": [{"Id": "queue", "Arn": attribute("Queue", "Arn")}],
                },
            },
        },
        "Outputs": {
            "Group": {"Value": {"Ref": "Group"}},
            "BalancerName": {"Value": attribute("Balancer", "LoadBalancerFullName")},
            "GroupName": {"Value": attribute("Group", "TargetGroupFullName")},
            "Queue": {"Value": {"Ref": "Queue"}},
            "Errors": {"Value": {"Ref": "Errors"}},
            "ErrorsArn": {"Value": attribute("Errors", "Arn")},
            "Unhealthy": {"Value": {"Ref": "Unhealthy"}},
            "Latency": {"Value": {"Ref": "Latency"}},
            "ErrorRate": {"Value": {"Ref": "ErrorRate"}},
            "Anything": {"Value": {"Ref": "Anything"}},
        },
    })
}

fn query(id: &str, metric: &str, dimension: &Value) -> Value {
    json!({
        "Id": id,
        "ReturnData": false,
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/ApplicationELB",
                "MetricName": metric,
                "Dimensions": [dimension],
            },
            "Period": 60,
            "Stat": "Sum",
        },
    })
}

/// A deployed stack, its target, and a visitor who never stops.
struct Site {
    aws: &'static LocalAws,
    behaviour: Arc<Behaviour>,
    stack: Stack,
    _visitor: AbortOnDropHandle<()>,
}

impl Site {
    async fn deploy(name: &str) -> Self {
        let aws = local_aws().await;
        let config = aws.sdk_config();
        let client = aws_sdk_cloudformation::Client::new(&config);
        let port = aws.reserve_port().await.unwrap();
        let parameter = aws_sdk_cloudformation::types::Parameter::builder()
            .parameter_key("Port")
            .parameter_value(port.to_string());
        let request = client.create_stack().stack_name(name);
        let request = request.template_body(template().to_string());
        let request = request.parameters(parameter.build());
        request.send().await.unwrap();
        let stack = eventually(async || {
            let answer = client.describe_stacks().stack_name(name).send().await;
            let stack = answer.unwrap().stacks()[0].clone();
            let status = stack.stack_status().unwrap().as_str();
            (!status.ends_with("_IN_PROGRESS")).then_some(stack)
        })
        .await;
        assert_eq!(stack.stack_status().unwrap().as_str(), "CREATE_COMPLETE");

        let behaviour = Arc::new(Behaviour {
            status: AtomicU16::new(200),
            health: AtomicU16::new(200),
            milliseconds: AtomicU64::new(0),
        });
        let target = aws_sdk_elasticloadbalancingv2::types::TargetDescription::builder()
            .id(Ipv4Addr::LOCALHOST.to_string())
            .port(serve(Arc::clone(&behaviour)).await.into())
            .build();
        let elbv2 = aws_sdk_elasticloadbalancingv2::Client::new(&config);
        let site = Self {
            aws,
            behaviour,
            stack,
            _visitor: AbortOnDropHandle::new(tokio::spawn(visit(port))),
        };
        let request = elbv2.register_targets().targets(target);
        let request = request.target_group_arn(site.output("Group"));
        request.send().await.unwrap();
        site
    }

    fn output(&self, key: &str) -> &str {
        let mut outputs = self.stack.outputs().iter();
        let found = outputs.find(|output| output.output_key() == Some(key));
        found.unwrap().output_value().unwrap()
    }

    /// The detail of the next event that tells that an alarm has come into a state; events before
    /// it are dropped.
    async fn event(&self, alarm: &str, state: &str) -> Value {
        let sqs = aws_sdk_sqs::Client::new(&self.aws.sdk_config());
        let queue = self.output("Queue");
        eventually(async || {
            let request = sqs.receive_message().queue_url(queue);
            let answer = request.max_number_of_messages(1).send().await.unwrap();
            let message = answer.messages().first()?;
            let receipt = message.receipt_handle().unwrap();
            let done = sqs.delete_message().queue_url(queue);
            done.receipt_handle(receipt).send().await.unwrap();
            let event: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            let is_it = event["detail"]["alarmName"] == self.output(alarm)
                && event["detail"]["state"]["value"] == state;
            is_it.then_some(event)
        })
        .await
    }

    async fn alarm_state(&self, alarm: &str) -> String {
        let cloudwatch = aws_sdk_cloudwatch::Client::new(&self.aws.sdk_config());
        let request = cloudwatch.describe_alarms();
        let answer = request.alarm_names(self.output(alarm)).send().await;
        let answer = answer.unwrap();
        let state = answer.metric_alarms()[0].state_value().unwrap();
        state.as_str().to_owned()
    }

    /// The sum of a metric so far.
    async fn sum(&self, metric: &str, of_group: bool) -> f64 {
        let cloudwatch = aws_sdk_cloudwatch::Client::new(&self.aws.sdk_config());
        let dimension = |name: &str, output: &str| {
            let value = self.output(output);
            Dimension::builder().name(name).value(value).build()
        };
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);
        let mut request = cloudwatch
            .get_metric_statistics()
            .namespace("AWS/ApplicationELB")
            .metric_name(metric)
            .dimensions(dimension("LoadBalancer", "BalancerName"))
            .statistics(Statistic::Sum)
            .period(3600)
            .start_time(DateTime::from(now - hour))
            .end_time(DateTime::from(now + hour));
        if of_group {
            request = request.dimensions(dimension("TargetGroup", "GroupName"));
        }
        let answer = request.send().await.unwrap();
        let sums = answer.datapoints().iter().map(|it| it.sum().unwrap());
        sums.sum()
    }
}

async fn visit(port: u16) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    loop {
        client
            .get(format!("http://127.0.0.1:{port}/"))
            .send()
            .await
            .ok();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_target_that_answers_500_raises_the_alarm_of_its_stack_until_it_is_well_again() {
    let site = Site::deploy("errors").await;
    // Without requests there are no errors: the alarm may have been OK before the stack had its rule.
    eventually(async || (site.alarm_state("Errors").await == "OK").then_some(())).await;
    site.behaviour.status.store(500, Ordering::Relaxed);
    let event = site.event("Errors", "ALARM").await;
    assert_eq!(event["source"], "aws.cloudwatch");
    assert_eq!(event["resources"], json!([site.output("ErrorsArn")]));
    let detail = &event["detail"];
    assert_eq!(detail["previousState"]["value"], "OK");
    let metric = &detail["configuration"]["metrics"][0]["metricStat"]["metric"];
    assert_eq!(metric["name"], "HTTPCode_Target_5XX_Count");
    let balancer = json!({"LoadBalancer": site.output("BalancerName")});
    assert_eq!(metric["dimensions"], balancer);
    let data: Value =
        serde_json::from_str(detail["state"]["reasonData"].as_str().unwrap()).unwrap();
    assert!(
        data["recentDatapoints"][0].as_f64().unwrap() > 0.0,
        "{data}"
    );
    assert_eq!(site.alarm_state("Errors").await, "ALARM");

    site.behaviour.status.store(200, Ordering::Relaxed);
    site.event("Errors", "OK").await;
}

#[tokio::test]
async fn a_share_of_errors_over_the_threshold_raises_an_alarm_on_an_expression() {
    let site = Site::deploy("rate").await;
    site.event("ErrorRate", "OK").await;
    site.behaviour.status.store(503, Ordering::Relaxed);
    let detail = site.event("ErrorRate", "ALARM").await["detail"].take();
    let metrics = detail["configuration"]["metrics"].as_array().unwrap();
    assert_eq!(metrics[0]["expression"], "100 * FILL(errors, 0) / requests");
    assert_eq!(metrics[0]["returnData"], true);
    site.behaviour.status.store(200, Ordering::Relaxed);
    site.event("ErrorRate", "OK").await;
}

#[tokio::test]
async fn a_target_that_fails_its_health_checks_raises_the_alarm_of_unhealthy_hosts() {
    let site = Site::deploy("unhealthy").await;
    site.event("Unhealthy", "OK").await;
    site.behaviour.health.store(500, Ordering::Relaxed);
    site.event("Unhealthy", "ALARM").await;
    let detail = site.event("Anything", "ALARM").await["detail"].take();
    let reason = detail["state"]["reason"].as_str().unwrap();
    assert!(reason.contains(site.output("Unhealthy")), "{reason}");
    site.behaviour.health.store(200, Ordering::Relaxed);
    site.event("Unhealthy", "OK").await;
    site.event("Anything", "OK").await;
}

#[tokio::test]
async fn slow_answers_raise_the_alarm_of_latency() {
    let site = Site::deploy("latency").await;
    site.event("Latency", "OK").await;
    site.behaviour.milliseconds.store(1000, Ordering::Relaxed);
    site.event("Latency", "ALARM").await;
    site.behaviour.milliseconds.store(0, Ordering::Relaxed);
    site.event("Latency", "OK").await;
}

#[tokio::test]
async fn a_client_reads_the_metrics_of_load_balancer_and_target_group() {
    let site = Site::deploy("metrics").await;
    for of_group in [false, true] {
        for metric in [
            "RequestCount",
            "HTTPCode_Target_2XX_Count",
            "TargetResponseTime",
        ] {
            eventually(async || (site.sum(metric, of_group).await > 0.0).then_some(())).await;
        }
    }
    eventually(async || (site.sum("HealthyHostCount", true).await > 0.0).then_some(())).await;
    // What never happened has no datapoint.
    assert_eq!(site.sum("HTTPCode_Target_4XX_Count", false).await, 0.0);
}
