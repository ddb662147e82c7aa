//! What a story needs to be there before it begins, and what ECS says of it afterwards.

use aws_sdk_ecs::types::{
    AwsVpcConfiguration, CapacityProviderStrategyItem, Compatibility, ContainerDefinition,
    LoadBalancer, NetworkConfiguration, NetworkMode, PortMapping, Service, Task, TaskDefinition,
};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ProtocolEnum, TargetGroupAttribute, TargetTypeEnum,
};
use serde_json::json;

use crate::account::shared;
use crate::program::aws;
use crate::support::{digest, eventually};

/// An HTTP server as a container: it answers with `VERSION`, and is unhealthy where that is `bad`.
const SERVER: &str = r#"#!/usr/bin/env python3
import http.server, os, signal, threading

VERSION = os.environ["VERSION"]

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.send_response(500 if VERSION == "bad" else 200)
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION.encode())

server = http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"#;
const PORT: i32 = 3000;
const SUBNET: &str = "subnet-12345678";
/// The same for the CLI.
pub(crate) const NETWORK: &str = "awsvpcConfiguration={subnets=[subnet-12345678]}";

/// A cluster for one story, whose tasks run on Fargate unless told otherwise.
pub(crate) struct World {
    /// The name of the cluster, and of everything else in this world.
    pub(crate) name: &'static str,
    pub(crate) ecs: aws_sdk_ecs::Client,
    ecr: aws_sdk_ecr::Client,
    elbv2: aws_sdk_elasticloadbalancingv2::Client,
    http: reqwest::Client,
}

impl World {
    pub(crate) async fn create(name: &'static str) -> Self {
        let config = shared().await.sdk_config();
        let world = Self {
            name,
            ecs: aws_sdk_ecs::Client::new(&config),
            ecr: aws_sdk_ecr::Client::new(&config),
            elbv2: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let fargate = CapacityProviderStrategyItem::builder()
            .capacity_provider("FARGATE")
            .weight(1)
            .build()
            .unwrap();
        let cluster = world.ecs.create_cluster().cluster_name(name);
        cluster
            .capacity_providers("FARGATE")
            .default_capacity_provider_strategy(fargate)
            .send()
            .await
            .unwrap();
        let repository = world.ecr.create_repository().repository_name(name);
        repository.send().await.unwrap();
        world
    }

    async fn upload(&self, blob: Vec<u8>) -> serde_json::Value {
        let (digest, size) = (digest(&blob), blob.len());
        let url = format!("{}/_local/blobs/{digest}", shared().await.endpoint());
        let answer = self.http.put(url).body(blob).send().await.unwrap();
        assert!(answer.status().is_success());
        json!({"digest": digest, "size": size})
    }

    /// Pushes an image of a script, and answers its reference.
    pub(crate) async fn push(&self, script: &str, environment: &[&str]) -> String {
        self.push_file(script, 0o755, environment).await
    }

    /// Pushes an image whose only file nobody may execute.
    pub(crate) async fn push_what_cannot_start(&self) -> String {
        self.push_file(SERVER, 0o644, &[]).await
    }

    async fn push_file(&self, script: &str, mode: u32, environment: &[&str]) -> String {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(script.len() as u64);
        header.set_mode(mode);
        tar.append_data(&mut header, "run", script.as_bytes())
            .unwrap();
        let mut layer = self.upload(tar.into_inner().unwrap()).await;
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
        let config = json!({"config": {"Env": environment, "Entrypoint": ["/run"]}});
        let mut config = self.upload(config.to_string().into_bytes()).await;
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer],
        })
        .to_string();
        let digest = digest(manifest.as_bytes());
        let image = self.ecr.put_image().repository_name(self.name);
        image
            .image_manifest(manifest)
            .image_digest(&digest)
            .send()
            .await
            .unwrap();
        let name = self.name;
        format!("123456789012.dkr.ecr.us-east-1.amazonaws.com/{name}@{digest}")
    }

    /// Pushes an image of the server.
    pub(crate) async fn push_server(&self, version: &str) -> String {
        self.push(SERVER, &[&format!("VERSION={version}")]).await
    }

    /// Registers a task definition of one container, `web`.
    pub(crate) async fn define(&self, image: &str) -> String {
        let port = PortMapping::builder().container_port(PORT).build();
        let container = ContainerDefinition::builder()
            .name("web")
            .image(image)
            .port_mappings(port)
            .stop_timeout(120);
        let request = self.ecs.register_task_definition().family(self.name);
        let answer = request
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu("256")
            .memory("512")
            .execution_role_arn(crate::support::ROLE)
            .container_definitions(container.build())
            .send()
            .await
            .unwrap();
        let definition = answer.task_definition().unwrap();
        definition.task_definition_arn().unwrap().to_owned()
    }

    /// A service of two tasks that serve version 1, with ECS's defaults: no circuit breaker.
    /// Answers its task definition and the load balancer's URL.
    pub(crate) async fn serve_version_1(&self) -> (String, String) {
        let definition = self.define(&self.push_server("1").await).await;
        let (target_group, url) = self.load_balancer().await;
        let vpc = AwsVpcConfiguration::builder().subnets(SUBNET).build();
        let network = NetworkConfiguration::builder()
            .awsvpc_configuration(vpc.unwrap())
            .build();
        let load_balancer = LoadBalancer::builder()
            .target_group_arn(target_group)
            .container_name("web")
            .container_port(PORT)
            .build();
        let service = self.ecs.create_service().cluster(self.name);
        service
            .service_name(self.name)
            .task_definition(&definition)
            .desired_count(2)
            .network_configuration(network)
            // Nothing starts faster because the clock is fast.
            .health_check_grace_period_seconds(1200)
            .load_balancers(load_balancer)
            .send()
            .await
            .unwrap();
        self.deployed().await;
        (definition, url)
    }

    /// A target group behind a listener, and the listener's URL.
    async fn load_balancer(&self) -> (String, String) {
        let found = aws("ec2 describe-subnets --query Subnets[:2].[SubnetId,VpcId] --output text");
        let found = found.await;
        let found: Vec<&str> = found.split_whitespace().collect();
        let [one, vpc, other, _] = found[..] else {
            panic!("two subnets: {found:?}");
        };
        let balancer = self.elbv2.create_load_balancer().name(self.name);
        let balancer = balancer.subnets(one).subnets(other).send().await.unwrap();
        let balancer = balancer.load_balancers()[0].load_balancer_arn().unwrap();
        let group = self.elbv2.create_target_group().name(self.name);
        let group = group
            .protocol(ProtocolEnum::Http)
            .port(PORT)
            .vpc_id(vpc)
            .target_type(TargetTypeEnum::Ip)
            // On the fast clock half a second, in which a busy machine can answer.
            .health_check_timeout_seconds(100)
            .health_check_interval_seconds(120)
            .healthy_threshold_count(2)
            .unhealthy_threshold_count(2)
            .send()
            .await
            .unwrap();
        let group = group.target_groups()[0].target_group_arn().unwrap();
        let drain = TargetGroupAttribute::builder()
            .key("deregistration_delay.timeout_seconds")
            .value("200")
            .build();
        let attributes = self.elbv2.modify_target_group_attributes();
        let attributes = attributes.target_group_arn(group).attributes(drain);
        attributes.send().await.unwrap();
        let url = format!("{}/_local/ports", shared().await.endpoint());
        let answer = self.http.post(url).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let port = i32::try_from(answer["port"].as_i64().unwrap()).unwrap();
        let forward = Action::builder()
            .r#type(ActionTypeEnum::Forward)
            .target_group_arn(group)
            .build();
        let listener = self.elbv2.create_listener().load_balancer_arn(balancer);
        listener
            .protocol(ProtocolEnum::Http)
            .port(port)
            .default_actions(forward)
            .send()
            .await
            .unwrap();
        (group.to_owned(), format!("http://127.0.0.1:{port}"))
    }

    pub(crate) async fn service(&self) -> Service {
        let request = self.ecs.describe_services().cluster(self.name);
        let answer = request.services(self.name).send().await.unwrap();
        answer.services()[0].clone()
    }

    /// The statuses of the service's deployments, the newest first.
    pub(crate) async fn deployments(&self) -> Vec<String> {
        let request = self.ecs.list_service_deployments().cluster(self.name);
        let answer = request.service(self.name).send().await.unwrap();
        let deployments = answer.service_deployments().iter();
        deployments
            .map(|one| one.status().unwrap().as_str().to_owned())
            .collect()
    }

    /// Waits until the service's newest deployment is successful.
    pub(crate) async fn deployed(&self) {
        eventually(async || (self.deployments().await[0] == "SUCCESSFUL").then_some(())).await;
    }

    /// Ends the service, so that it does not slow down others.
    pub(crate) async fn delete_service(&self) {
        let request = self.ecs.delete_service().cluster(self.name);
        let request = request.service(self.name).force(true);
        request.send().await.unwrap();
    }

    pub(crate) async fn task_definition(&self, name: &str) -> TaskDefinition {
        let request = self.ecs.describe_task_definition().task_definition(name);
        request.send().await.unwrap().task_definition.unwrap()
    }

    /// The ARNs of the service's tasks that ECS wants to run.
    pub(crate) async fn tasks(&self) -> Vec<String> {
        let request = self.ecs.list_tasks().cluster(self.name);
        let request = request.service_name(self.name);
        request.send().await.unwrap().task_arns().to_vec()
    }

    /// A task, once it has that status.
    pub(crate) async fn task(&self, arn: &str, status: &str) -> Task {
        eventually(async || {
            let request = self.ecs.describe_tasks().cluster(self.name).tasks(arn);
            let task = request.send().await.unwrap().tasks()[0].clone();
            (task.last_status() == Some(status)).then_some(task)
        })
        .await
    }
}
