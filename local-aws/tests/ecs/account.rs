//! One local AWS for all tests of this binary, and what tests do in it again and again.

use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
use aws_sdk_ecr::types::ImageIdentifier;
use aws_sdk_ecs::error::SdkError;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionError;
use aws_sdk_ecs::types::{
    AdvancedConfiguration, AssignPublicIp, AwsVpcConfiguration, Compatibility, ContainerDefinition,
    LaunchType, LoadBalancer, LogConfiguration, LogDriver, NetworkConfiguration, NetworkMode,
    PortMapping, Service, ServiceDeployment, StopServiceDeploymentStopType, Task,
};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, ProtocolEnum, RuleCondition, TargetGroupAttribute,
    TargetGroupTuple, TargetTypeEnum,
};
use local_aws::client::sdk_config;

use crate::support::{Recorded, digest, eventually_within};

pub(crate) const CLUSTER: &str = "tests";
const LOG_GROUP: &str = "/tests";
const ROLE: &str = "arn:aws:iam::123456789012:role/tests";
const CONTAINER_PORT: i32 = 3000;
/// The server does not start faster because the clock is fast: three seconds.
const GRACE_PERIOD: i32 = 60;
/// Nothing here takes longer than this, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// An HTTP server as a container: it answers with `VERSION`, is unhealthy where `BAD` is set,
/// takes a second at `/slow` and more at `/slow/SECONDS`, and finishes open requests on SIGTERM.
const SERVER: &str = r#"
import http.server, os, signal, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(float(self.path[6:] or 1))
        bad = self.path == "/health" and "BAD" in os.environ
        body = os.environ["VERSION"].encode()
        self.send_response(500 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
server.daemon_threads = False
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
"#;

/// The clients of one test. Each test has a runtime of its own, and so clients of its own.
pub(crate) struct Account {
    endpoint: String,
    pub(crate) ecs: aws_sdk_ecs::Client,
    ecr: aws_sdk_ecr::Client,
    pub(crate) elbv2: aws_sdk_elasticloadbalancingv2::Client,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
    pub(crate) secrets: aws_sdk_secretsmanager::Client,
    pub(crate) ssm: aws_sdk_ssm::Client,
    http: reqwest::Client,
}

/// A load balancer's listener in front of a target group.
pub(crate) struct Balancer {
    pub(crate) target_group: String,
    pub(crate) url: String,
}

/// Two target groups behind a listener for production and one for tests.
pub(crate) struct Pair {
    pub(crate) groups: [String; 2],
    /// The listener's URL.
    pub(crate) production: String,
    pub(crate) production_rule: String,
    /// The listener's URL.
    pub(crate) test: String,
    pub(crate) test_rule: String,
}

impl Pair {
    pub(crate) fn load_balancer(&self) -> LoadBalancer {
        let advanced = AdvancedConfiguration::builder()
            .alternate_target_group_arn(&self.groups[1])
            .production_listener_rule(&self.production_rule)
            .test_listener_rule(&self.test_rule)
            .role_arn(ROLE)
            .build();
        LoadBalancer::builder()
            .target_group_arn(&self.groups[0])
            .container_name("web")
            .container_port(CONTAINER_PORT)
            .advanced_configuration(advanced)
            .build()
    }
}

/// Forwards everything to the first of the groups.
fn forward(groups: &[&str]) -> Action {
    let groups = groups.iter().enumerate().map(|(position, group)| {
        TargetGroupTuple::builder()
            .target_group_arn(*group)
            .weight(i32::from(position == 0))
            .build()
    });
    let config = ForwardActionConfig::builder().set_target_groups(Some(groups.collect()));
    Action::builder()
        .r#type(ActionTypeEnum::Forward)
        .forward_config(config.build())
        .build()
}

static RUNNING: OnceLock<Recorded> = OnceLock::new();

/// The endpoint of the local AWS, which is started for the first test that asks. It ends when
/// this process does, because its standard input then closes.
fn endpoint() -> &'static str {
    let running = RUNNING.get_or_init(|| {
        let start = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(start())
        });
        start.join().unwrap()
    });
    running.aws.endpoint()
}

/// That local AWS, where a test has asked for it.
pub(crate) fn recorded() -> Option<&'static Recorded> {
    RUNNING.get()
}

async fn start() -> Recorded {
    let running = Recorded::start(20.0).await;
    let config = sdk_config(running.aws.endpoint());
    let ecs = aws_sdk_ecs::Client::new(&config);
    ecs.create_cluster()
        .cluster_name(CLUSTER)
        .send()
        .await
        .unwrap();
    let logs = aws_sdk_cloudwatchlogs::Client::new(&config);
    logs.create_log_group()
        .log_group_name(LOG_GROUP)
        .send()
        .await
        .unwrap();
    running
}

/// Waits until something is there.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look).await
}

pub(crate) fn network() -> NetworkConfiguration {
    let vpc = AwsVpcConfiguration::builder()
        .subnets("subnet-12345678")
        .assign_public_ip(AssignPublicIp::Enabled)
        .build()
        .unwrap();
    NetworkConfiguration::builder()
        .awsvpc_configuration(vpc)
        .build()
}

pub(crate) fn container(image: &str) -> aws_sdk_ecs::types::builders::ContainerDefinitionBuilder {
    ContainerDefinition::builder()
        .name("web")
        .image(image)
        .port_mappings(
            PortMapping::builder()
                .container_port(CONTAINER_PORT)
                .build(),
        )
        .log_configuration(log_configuration(LOG_GROUP))
}

pub(crate) fn log_configuration(group: &str) -> LogConfiguration {
    LogConfiguration::builder()
        .log_driver(LogDriver::Awslogs)
        .options("awslogs-group", group)
        .options("awslogs-region", "us-east-1")
        .options("awslogs-stream-prefix", "app")
        .build()
        .unwrap()
}

impl Account {
    pub(crate) fn open() -> Self {
        let endpoint = endpoint().to_owned();
        let config = sdk_config(&endpoint);
        Self {
            ecs: aws_sdk_ecs::Client::new(&config),
            ecr: aws_sdk_ecr::Client::new(&config),
            elbv2: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            secrets: aws_sdk_secretsmanager::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            endpoint,
        }
    }

    /// A configuration for clients that few tests need.
    pub(crate) fn config(&self) -> aws_types::SdkConfig {
        sdk_config(&self.endpoint)
    }

    async fn upload(&self, blob: Vec<u8>) -> String {
        let digest = digest(&blob);
        let url = format!("{}/_local/blobs/{digest}", self.endpoint);
        let answer = self.http.put(url).body(blob).send().await.unwrap();
        assert!(answer.status().is_success());
        digest
    }

    /// Pushes an image whose entry point is the script, and answers its reference by digest.
    pub(crate) async fn push(&self, repository: &str, script: &str, env: &[&str]) -> String {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(script.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, "app/run", script.as_bytes())
            .unwrap();
        let layer = tar.into_inner().unwrap();
        let layer_size = layer.len();
        let layer = self.upload(layer).await;
        let config = serde_json::json!({
            "config": {"Env": env, "Entrypoint": ["/app/run"], "WorkingDir": "/app"},
        });
        let config = config.to_string().into_bytes();
        let config_size = config.len();
        let config = self.upload(config).await;
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config,
                "size": config_size,
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer,
                "size": layer_size,
            }],
        })
        .to_string();
        let digest = digest(manifest.as_bytes());
        // Exists already after the first push.
        let _ = self
            .ecr
            .create_repository()
            .repository_name(repository)
            .send()
            .await;
        self.ecr
            .put_image()
            .repository_name(repository)
            .image_manifest(manifest)
            .image_digest(&digest)
            .image_tag(&digest[7..19])
            .send()
            .await
            .unwrap();
        format!("123456789012.dkr.ecr.us-east-1.amazonaws.com/{repository}@{digest}")
    }

    /// An image of the HTTP server.
    pub(crate) async fn push_server(&self, version: &str, env: &[&str]) -> String {
        let repository = uuid::Uuid::new_v4().to_string();
        self.push_server_to(&repository, version, env).await
    }

    async fn push_server_to(&self, repository: &str, version: &str, env: &[&str]) -> String {
        let version = format!("VERSION={version}");
        let env: Vec<&str> = [version.as_str()].iter().chain(env).copied().collect();
        let script = format!("#!/usr/bin/env python3\n{SERVER}");
        self.push(repository, &script, &env).await
    }

    /// Lets a tag of the repository name an image of the HTTP server; answers the references by
    /// tag and by digest.
    pub(crate) async fn tag_server(&self, repository: &str, version: &str) -> (String, String) {
        const TAG: &str = "live";
        let image = self.push_server_to(repository, version, &[]).await;
        let (name, digest) = image.split_once('@').unwrap();
        let id = ImageIdentifier::builder().image_digest(digest).build();
        let request = self.ecr.batch_get_image().repository_name(repository);
        let answer = request.image_ids(id).send().await.unwrap();
        let manifest = answer.images()[0].image_manifest().unwrap();
        let request = self.ecr.put_image().repository_name(repository);
        let request = request.image_tag(TAG).image_manifest(manifest);
        request.send().await.unwrap();
        (format!("{name}:{TAG}"), image)
    }

    /// Registers a task definition of these containers.
    pub(crate) async fn register(
        &self,
        family: &str,
        containers: Vec<ContainerDefinition>,
    ) -> String {
        self.try_register(family, containers).await.unwrap()
    }

    /// The same, where ECS may refuse it.
    pub(crate) async fn try_register(
        &self,
        family: &str,
        containers: Vec<ContainerDefinition>,
    ) -> Result<String, RegisterTaskDefinitionError> {
        let answer = self
            .ecs
            .register_task_definition()
            .family(family)
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu("256")
            .memory("512")
            .execution_role_arn(ROLE)
            .set_container_definitions(Some(containers))
            .send()
            .await
            .map_err(SdkError::into_service_error)?;
        let definition = answer.task_definition().unwrap();
        Ok(definition.task_definition_arn().unwrap().to_owned())
    }

    /// Registers a task definition of one container.
    pub(crate) async fn define(&self, family: &str, image: &str) -> String {
        self.register(family, vec![container(image).build()]).await
    }

    pub(crate) fn run_task(
        &self,
        definition: &str,
    ) -> aws_sdk_ecs::operation::run_task::builders::RunTaskFluentBuilder {
        self.ecs
            .run_task()
            .cluster(CLUSTER)
            .task_definition(definition)
            .launch_type(LaunchType::Fargate)
            .network_configuration(network())
    }

    /// Starts one task and answers its ARN.
    pub(crate) async fn start(&self, definition: &str) -> String {
        let answer = self.run_task(definition).send().await.unwrap();
        answer.tasks()[0].task_arn().unwrap().to_owned()
    }

    pub(crate) async fn task(&self, arn: &str) -> Task {
        let answer = self
            .ecs
            .describe_tasks()
            .cluster(CLUSTER)
            .tasks(arn)
            .send()
            .await
            .unwrap();
        answer.tasks()[0].clone()
    }

    pub(crate) async fn task_with_status(&self, arn: &str, status: &str) -> Task {
        eventually(status, async || {
            let task = self.task(arn).await;
            (task.last_status() == Some(status)).then_some(task)
        })
        .await
    }

    /// Runs a task to its end.
    pub(crate) async fn run(&self, definition: &str) -> Task {
        let arn = self.start(definition).await;
        self.task_with_status(&arn, "STOPPED").await
    }

    /// The lines a container has written.
    pub(crate) async fn output(&self, task: &Task, container: &str) -> Vec<String> {
        let lines = self.lines(task.task_arn().unwrap(), container).await;
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// Waits until a container has written a line; answers when it did, in milliseconds.
    pub(crate) async fn line(&self, task_arn: &str, container: &str, line: &str) -> i64 {
        eventually(line, async || {
            let lines = self.lines(task_arn, container).await;
            let found = lines.into_iter().find(|(_, written)| written == line);
            found.map(|(time, _)| time)
        })
        .await
    }

    /// The lines a container has written, and when. There are none before it has started.
    async fn lines(&self, task_arn: &str, container: &str) -> Vec<(i64, String)> {
        let id = task_arn.rsplit('/').next().unwrap();
        let answer = self
            .logs
            .get_log_events()
            .log_group_name(LOG_GROUP)
            .log_stream_name(format!("app/{container}/{id}"))
            .send()
            .await;
        let events = match answer {
            Ok(answer) => answer.events.unwrap_or_default(),
            Err(error) => {
                let error = error.into_service_error();
                assert!(error.is_resource_not_found_exception(), "{error}");
                Vec::new()
            }
        };
        let line = |event: OutputLogEvent| (event.timestamp.unwrap(), event.message.unwrap());
        events.into_iter().map(line).collect()
    }

    /// Asks a task to stop.
    pub(crate) async fn stop(&self, arn: &str) {
        let request = self.ecs.stop_task().cluster(CLUSTER).task(arn);
        request.reason("enough").send().await.unwrap();
    }

    /// Puts an object into S3, whose bucket is made for it; answers its ARN.
    pub(crate) async fn put_object(&self, bucket: &str, key: &str, body: &str) -> String {
        let scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
                     SignedHeaders=host, Signature=0";
        for (path, body) in [(bucket.to_owned(), ""), (format!("{bucket}/{key}"), body)] {
            let request = self.http.put(format!("{}/{path}", self.endpoint));
            let request = request.header("authorization", scope).body(body.to_owned());
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{answer:?}");
        }
        format!("arn:aws:s3:::{bucket}/{key}")
    }

    /// Two subnets of the account's default VPC, and the VPC.
    async fn subnets(&self) -> (Vec<String>, String) {
        // Of EC2 only this is needed; the gateway knows a service by the signature's scope.
        let scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ec2/aws4_request, \
                     SignedHeaders=host, Signature=0";
        let answer = self
            .http
            .post(&self.endpoint)
            .header("authorization", scope)
            .header("content-type", "application/x-www-form-urlencoded")
            .body("Action=DescribeSubnets&Version=2016-11-15")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let values = |tag: &str| -> Vec<String> {
            answer
                .split(&format!("<{tag}>"))
                .skip(1)
                .map(|rest| rest.split('<').next().unwrap().to_owned())
                .collect()
        };
        let vpc = values("vpcId").remove(0);
        let mut subnets = values("subnetId");
        subnets.truncate(2);
        (subnets, vpc)
    }

    /// A load balancer without listeners, and its VPC.
    async fn load_balancer(&self, name: &str) -> (String, String) {
        let (subnets, vpc) = self.subnets().await;
        let answer = self
            .elbv2
            .create_load_balancer()
            .name(name)
            .set_subnets(Some(subnets))
            .send()
            .await
            .unwrap();
        let balancer = answer.load_balancers()[0].load_balancer_arn().unwrap();
        (balancer.to_owned(), vpc)
    }

    async fn target_group(&self, name: &str, vpc: &str) -> String {
        let answer = self
            .elbv2
            .create_target_group()
            .name(name)
            .protocol(ProtocolEnum::Http)
            .port(CONTAINER_PORT)
            .vpc_id(vpc)
            .target_type(TargetTypeEnum::Ip)
            .health_check_path("/health")
            .health_check_interval_seconds(10)
            .healthy_threshold_count(2)
            .unhealthy_threshold_count(2)
            .send()
            .await
            .unwrap();
        let target_group = answer.target_groups()[0].target_group_arn().unwrap();
        self.elbv2
            .modify_target_group_attributes()
            .target_group_arn(target_group)
            .attributes(
                TargetGroupAttribute::builder()
                    .key("deregistration_delay.timeout_seconds")
                    .value("120")
                    .build(),
            )
            .send()
            .await
            .unwrap();
        target_group.to_owned()
    }

    /// A listener on a free port: its ARN and its URL.
    async fn listener(&self, balancer: &str, action: Action) -> (String, String) {
        let url = format!("{}/_local/ports", self.endpoint);
        let answer = self.http.post(url).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let port = i32::try_from(answer["port"].as_i64().unwrap()).unwrap();
        let answer = self
            .elbv2
            .create_listener()
            .load_balancer_arn(balancer)
            .protocol(ProtocolEnum::Http)
            .port(port)
            .default_actions(action)
            .send()
            .await
            .unwrap();
        let arn = answer.listeners()[0].listener_arn().unwrap().to_owned();
        (arn, format!("http://127.0.0.1:{port}"))
    }

    pub(crate) async fn balancer(&self, name: &str) -> Balancer {
        let (balancer, vpc) = self.load_balancer(name).await;
        let target_group = self.target_group(name, &vpc).await;
        let (_, url) = self.listener(&balancer, forward(&[&target_group])).await;
        Balancer { target_group, url }
    }

    /// A load balancer with what a service needs that shifts traffic: two target groups, and
    /// listeners for production and for tests. Production has a rule of its own, tests use
    /// their listener's default rule.
    pub(crate) async fn pair(&self, name: &str) -> Pair {
        let (balancer, vpc) = self.load_balancer(name).await;
        let first = self.target_group(&format!("{name}-a"), &vpc).await;
        let second = self.target_group(&format!("{name}-b"), &vpc).await;
        let groups = [first.as_str(), second.as_str()];
        let (listener, production) = self.listener(&balancer, forward(&groups)).await;
        let everything = RuleCondition::builder()
            .field("path-pattern")
            .values("/*")
            .build();
        let answer = self
            .elbv2
            .create_rule()
            .listener_arn(listener)
            .priority(1)
            .conditions(everything)
            .actions(forward(&groups))
            .send()
            .await
            .unwrap();
        let production_rule = answer.rules()[0].rule_arn().unwrap().to_owned();
        let (listener, test) = self.listener(&balancer, forward(&groups)).await;
        let rules = self.elbv2.describe_rules().listener_arn(listener);
        let rules = rules.send().await.unwrap();
        let test_rule = rules.rules()[0].rule_arn().unwrap().to_owned();
        Pair {
            groups: [first, second],
            production,
            production_rule,
            test,
            test_rule,
        }
    }

    pub(crate) fn create_service(
        &self,
        name: &str,
        definition: &str,
        balancer: Option<&Balancer>,
    ) -> aws_sdk_ecs::operation::create_service::builders::CreateServiceFluentBuilder {
        let balancers = balancer.map(|balancer| {
            LoadBalancer::builder()
                .target_group_arn(&balancer.target_group)
                .container_name("web")
                .container_port(CONTAINER_PORT)
                .build()
        });
        self.ecs
            .create_service()
            .cluster(CLUSTER)
            .service_name(name)
            .task_definition(definition)
            .desired_count(2)
            .launch_type(LaunchType::Fargate)
            .network_configuration(network())
            .set_health_check_grace_period_seconds(balancer.map(|_| GRACE_PERIOD))
            .set_load_balancers(balancers.map(|balancer| vec![balancer]))
    }

    pub(crate) fn update_service(
        &self,
        name: &str,
    ) -> aws_sdk_ecs::operation::update_service::builders::UpdateServiceFluentBuilder {
        self.ecs.update_service().cluster(CLUSTER).service(name)
    }

    /// Ends a test's service, so that it does not slow down the others.
    pub(crate) async fn delete_service(&self, name: &str) {
        self.ecs
            .delete_service()
            .cluster(CLUSTER)
            .service(name)
            .force(true)
            .send()
            .await
            .unwrap();
    }

    pub(crate) async fn service(&self, name: &str) -> Service {
        let answer = self
            .ecs
            .describe_services()
            .cluster(CLUSTER)
            .services(name)
            .send()
            .await
            .unwrap();
        answer.services()[0].clone()
    }

    /// The service's deployments, the newest first.
    pub(crate) async fn history(&self, name: &str) -> Vec<ServiceDeployment> {
        let list = self
            .ecs
            .list_service_deployments()
            .cluster(CLUSTER)
            .service(name)
            .send()
            .await
            .unwrap();
        let arns = list.service_deployments().iter();
        let answer = self
            .ecs
            .describe_service_deployments()
            .set_service_deployment_arns(Some(
                arns.map(|one| one.service_deployment_arn().unwrap().to_owned())
                    .collect(),
            ))
            .send()
            .await
            .unwrap();
        answer.service_deployments().to_vec()
    }

    /// Asks ECS to stop a deployment and to go back.
    pub(crate) fn stop_with_rollback(
        &self,
        deployment: &ServiceDeployment,
    ) -> aws_sdk_ecs::operation::stop_service_deployment::builders::StopServiceDeploymentFluentBuilder
    {
        self.ecs
            .stop_service_deployment()
            .service_deployment_arn(deployment.service_deployment_arn().unwrap())
            .stop_type(StopServiceDeploymentStopType::Rollback)
    }

    /// Waits until the newest service deployment has that status.
    pub(crate) async fn newest_deployment(&self, name: &str, status: &str) -> ServiceDeployment {
        eventually(status, async || {
            let newest = self.history(name).await.into_iter().next()?;
            let found = newest.status()?.as_str() == status;
            found.then_some(newest)
        })
        .await
    }

    /// The ARNs of the service's tasks that ECS wants to run.
    pub(crate) async fn tasks_of(&self, name: &str) -> Vec<String> {
        let answer = self
            .ecs
            .list_tasks()
            .cluster(CLUSTER)
            .service_name(name)
            .send()
            .await
            .unwrap();
        answer.task_arns().to_vec()
    }
}
