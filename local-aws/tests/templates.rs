//! The templates of `infra/` together, in a local AWS with a real ECS and real load balancers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{Capability, Parameter, StackStatus};
use aws_sdk_cloudwatch::types::StateValue;
use aws_sdk_ecs::types::{DeploymentLifecycleHookAction, DeploymentLifecycleHookStatus};
use aws_sdk_ssm::types::ParameterType;
use local_aws::client::LocalAws;
use serde_json::{Value, json};
use support::{NewFunction, eventually, push, python};
use tokio::task::JoinSet;

/// Answers with its version, at `/user` with the database's user and server, at `/fail` with an
/// error, and at `/slow` after a second; is unhealthy once it has been asked for `/sicken`. A worker
/// where it is told no port.
const SERVER: &str = r#"#!/usr/bin/env python3
import http.server, os, signal, sys, threading, time

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
if "PORT" not in os.environ:
    time.sleep(10000)

class Handler(http.server.BaseHTTPRequestHandler):
    sick = False

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path == "/sicken":
            Handler.sick = True
        if self.path == "/slow":
            time.sleep(1)
        failing = self.path == "/fail" or self.path == "/health" and self.sick
        user = "{}@{}".format(os.environ.get("PGUSER"), os.environ.get("PGHOST"))
        body = user if self.path == "/user" else "VERSION"
        self.send_response(500 if failing else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

server = http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"#;

type Texts = BTreeMap<String, String>;

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> Texts {
    let owned = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    BTreeMap::from(owned)
}

/// A local AWS and what a person does with it.
struct World {
    aws: LocalAws,
    stacks: Client,
    http: reqwest::Client,
}

impl World {
    async fn new() -> Self {
        let aws = support::start_at(20.0).await;
        let stacks = Client::new(&aws.sdk_config());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { aws, stacks, http }
    }

    /// Pushes a version of the application; answers its URI.
    async fn push(&self, version: &str) -> String {
        let script = SERVER.replace("VERSION", version);
        push(&self.aws, "shop", version, &script).await
    }

    /// Says which image the application's stack runs.
    async fn name_image(&self, uri: &str) {
        let ssm = aws_sdk_ssm::Client::new(&self.aws.sdk_config());
        let request = ssm.put_parameter().name("/bluegreen/shop/image");
        let request = request.r#type(ParameterType::String).overwrite(true);
        request.value(uri).send().await.unwrap();
    }

    /// Creates a stack of a template; answers its outputs.
    async fn create(&self, stack: &str, template: &str, parameters: Texts) -> Texts {
        let parameters = parameters.into_iter().map(|(key, value)| {
            let parameter = Parameter::builder().parameter_key(key);
            parameter.parameter_value(value).build()
        });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra");
        let url = self.upload(&path.join(template)).await;
        let request = self.stacks.create_stack().stack_name(stack);
        let request = request.capabilities(Capability::CapabilityIam);
        let request = request.template_url(url);
        let request = request.set_parameters(Some(parameters.collect()));
        request.send().await.unwrap();
        self.settled(stack, &StackStatus::CreateComplete).await
    }

    /// Changes some parameters of a stack, and leaves the others; answers its outputs.
    async fn change(&self, stack: &str, changed: Texts) -> Texts {
        let end = StackStatus::UpdateComplete;
        self.change_until(stack, changed, &end).await
    }

    /// The same with an end that is to be another one.
    async fn change_until(&self, stack: &str, changed: Texts, end: &StackStatus) -> Texts {
        let described = self.stacks.describe_stacks().stack_name(stack);
        let described = described.send().await.unwrap();
        let parameters = described.stacks()[0].parameters().iter().map(|parameter| {
            let key = parameter.parameter_key().unwrap();
            let next = Parameter::builder().parameter_key(key);
            match changed.get(key) {
                Some(value) => next.parameter_value(value).build(),
                None => next.use_previous_value(true).build(),
            }
        });
        let request = self.stacks.update_stack().stack_name(stack);
        let request = request.use_previous_template(true);
        let request = request.capabilities(Capability::CapabilityIam);
        let request = request.set_parameters(Some(parameters.collect()));
        request.send().await.unwrap();
        self.settled(stack, end).await
    }

    /// Uploads a template, of which a request takes no more than 51,200 bytes; answers its URL.
    async fn upload(&self, template: &Path) -> String {
        let bucket = format!("{}/templates", self.aws.endpoint());
        self.cli(&["s3api", "create-bucket", "--bucket", "templates"])
            .await;
        let name = template.file_name().unwrap().to_str().unwrap();
        let (from, to) = (template.to_str().unwrap(), format!("s3://templates/{name}"));
        self.cli(&["s3", "cp", from, &to]).await;
        format!("{bucket}/{name}")
    }

    /// What the AWS CLI answers, as text.
    async fn cli(&self, arguments: &[&str]) -> String {
        self.cli_in("text", arguments).await
    }

    /// What it answers to a question, as JSON.
    async fn ask(&self, arguments: &[&str]) -> Value {
        let answer = self.cli_in("json", arguments).await;
        serde_json::from_str(&answer).unwrap()
    }

    async fn cli_in(&self, format: &str, arguments: &[&str]) -> String {
        let output = tokio::process::Command::new(support::venv().join("bin/aws"))
            .args(arguments)
            .args(["--endpoint-url", self.aws.endpoint(), "--output", format])
            .envs(self.aws.environment())
            .output()
            .await
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The physical id of a resource of the stack `shop`.
    async fn resource(&self, name: &str) -> String {
        let asked = ["cloudformation", "describe-stack-resource"];
        let which = ["--stack-name", "shop", "--logical-resource-id", name];
        let answer = self.ask(&[&asked[..], &which].concat()).await;
        let id = answer["StackResourceDetail"]["PhysicalResourceId"].as_str();
        id.unwrap().to_owned()
    }

    /// The actions that a policy of a role of the stack `shop` allows, each with its resource.
    async fn allowed(&self, role: &str, policy: &str) -> Vec<(String, Value)> {
        let role = self.resource(role).await;
        let asked = ["iam", "get-role-policy", "--role-name", &role];
        let answer = self
            .ask(&[&asked[..], &["--policy-name", policy]].concat())
            .await;
        let statements = answer["PolicyDocument"]["Statement"].as_array().unwrap();
        let allowed = statements.iter().flat_map(|statement| {
            let actions = match &statement["Action"] {
                Value::Array(actions) => actions.clone(),
                one => vec![one.clone()],
            };
            let resource = statement["Resource"].clone();
            actions
                .into_iter()
                .map(move |action| (action.as_str().unwrap().to_owned(), resource.clone()))
        });
        allowed.collect()
    }

    /// The attributes of the load balancer of the stack `shop`.
    async fn load_balancer(&self) -> Texts {
        let arn = self.resource("LoadBalancer").await;
        let asked = ["elbv2", "describe-load-balancer-attributes"];
        let asked = [&asked[..], &["--load-balancer-arn", &arn]].concat();
        let answer = self.ask(&asked).await;
        let attributes = answer["Attributes"].as_array().unwrap().iter();
        let attributes = attributes.map(|it| (it["Key"].as_str(), it["Value"].as_str()));
        let owned = |text: Option<&str>| text.unwrap().to_owned();
        attributes
            .map(|(key, value)| (owned(key), owned(value)))
            .collect()
    }

    async fn settled(&self, stack: &str, expected: &StackStatus) -> Texts {
        let described = eventually(async || {
            let answer = self.stacks.describe_stacks().stack_name(stack).send().await;
            let described = answer.unwrap().stacks()[0].clone();
            let status = described.stack_status().unwrap().as_str();
            (!status.ends_with("_IN_PROGRESS")).then_some(described)
        })
        .await;
        let status = described.stack_status();
        assert_eq!(status, Some(expected), "{:?}", self.reasons(stack).await);
        let outputs = described.outputs().iter().map(|output| {
            let (key, value) = (output.output_key(), output.output_value());
            (key.unwrap().to_owned(), value.unwrap().to_owned())
        });
        outputs.collect()
    }

    /// Why resources of a stack could not be made, changed or deleted.
    async fn reasons(&self, stack: &str) -> Vec<String> {
        let answer = self.stacks.describe_stack_events().stack_name(stack);
        let answer = answer.send().await.unwrap();
        let reasons = answer
            .stack_events()
            .iter()
            .filter_map(|event| event.resource_status_reason());
        reasons.map(str::to_owned).collect()
    }

    async fn delete(&self, stack: &str) {
        let request = self.stacks.delete_stack().stack_name(stack);
        request.send().await.unwrap();
        eventually(async || {
            let stacks = self.stacks.describe_stacks().send().await.unwrap();
            let mut here = stacks.stacks().iter();
            let Some(found) = here.find(|it| it.stack_name() == Some(stack)) else {
                return Some(());
            };
            assert_ne!(
                found.stack_status(),
                Some(&StackStatus::DeleteFailed),
                "{:?}",
                self.reasons(stack).await
            );
            None
        })
        .await;
    }

    /// The deployment and the hook of it that wait for a person, once one does.
    async fn awaiting(&self, outputs: &Texts) -> (String, String) {
        let ecs = aws_sdk_ecs::Client::new(&self.aws.sdk_config());
        eventually(async || {
            let listed = ecs.list_service_deployments();
            let listed = listed.cluster(&outputs["ClusterName"]);
            let listed = listed.service(&outputs["ServiceName"]).send().await;
            let listed = listed.unwrap();
            let arn = listed.service_deployments()[0].service_deployment_arn()?;
            let described = ecs.describe_service_deployments();
            let described = described.service_deployment_arns(arn).send().await;
            let described = described.unwrap();
            let hooks = described.service_deployments()[0].lifecycle_hook_details();
            let mut waiting = hooks.iter().filter(|hook| {
                hook.status() == Some(&DeploymentLifecycleHookStatus::AwaitingAction)
            });
            let hook = waiting.next()?.hook_id()?;
            Some((arn.to_owned(), hook.to_owned()))
        })
        .await
    }

    /// Lets a deployment go on that awaits a person.
    async fn goes_on(&self, deployment: String, hook: String) {
        let ecs = aws_sdk_ecs::Client::new(&self.aws.sdk_config());
        let request = ecs.continue_service_deployment().hook_id(hook);
        let request = request.service_deployment_arn(deployment);
        let request = request.action(DeploymentLifecycleHookAction::Continue);
        request.send().await.unwrap();
    }

    /// How many tasks the workers and the web service are to have.
    async fn counts(&self, outputs: &Texts) -> (i32, i32) {
        let ecs = aws_sdk_ecs::Client::new(&self.aws.sdk_config());
        let services = ecs.describe_services().cluster(&outputs["ClusterName"]);
        let services = services.services(&outputs["WorkerServiceName"]);
        let services = services.services(&outputs["ServiceName"]);
        let services = services.send().await.unwrap();
        let [worker, web] = services.services() else {
            panic!("{services:?}");
        };
        (worker.desired_count(), web.desired_count())
    }

    /// Those under the path of `pipeline.yml`'s `TaskRoles`.
    async fn has_roles_that_the_pipeline_may_pass(&self, outputs: &Texts) {
        let ecs = aws_sdk_ecs::Client::new(&self.aws.sdk_config());
        let services = ecs.describe_services().cluster(&outputs["ClusterName"]);
        let services = services.services(&outputs["ServiceName"]).send().await;
        let services = services.unwrap();
        let definition = services.services()[0].task_definition().unwrap();
        let described = ecs.describe_task_definition().task_definition(definition);
        let described = described.send().await.unwrap();
        let definition = described.task_definition().unwrap();
        for role in [definition.task_role_arn(), definition.execution_role_arn()] {
            let passed = "arn:aws:iam::123456789012:role/bluegreen/";
            assert!(role.unwrap().starts_with(passed), "{role:?}");
        }
    }

    /// Creates the stack `shop`, in public subnets and with version 1, and answers its outputs.
    async fn create_shop(&self, more: Texts) -> Texts {
        self.name_image(&self.push("v1").await).await;
        let network = self.create("network", "network.yml", Texts::new()).await;
        let port = self.aws.reserve_port().await.unwrap().to_string();
        let mut parameters = texts([
            ("ImageParameter", "/bluegreen/shop/image"),
            ("VpcId", &network["VpcId"]),
            ("SubnetIds", &network["PublicSubnetIds"]),
            ("ListenerPort", &port),
        ]);
        parameters.extend(more);
        self.create("shop", "cluster.yml", parameters).await
    }

    async fn is_in_state(&self, alarm: &str, state: &StateValue) -> bool {
        let cloudwatch = aws_sdk_cloudwatch::Client::new(&self.aws.sdk_config());
        let described = cloudwatch.describe_alarms().alarm_names(alarm).send().await;
        described.unwrap().metric_alarms()[0].state_value() == Some(state)
    }

    /// The name of the alarm that is this resource of the stack `shop`, once it is quiet.
    async fn quiet_alarm(&self, resource: &str) -> String {
        let alarm = self.resource(resource).await;
        self.has_state(&alarm, StateValue::Ok).await;
        alarm
    }

    async fn has_state(&self, alarm: &str, state: StateValue) {
        eventually(async || self.is_in_state(alarm, &state).await.then_some(())).await;
    }

    async fn read(&self, url: &str) -> String {
        let answer = self.http.get(url).send().await.unwrap();
        answer.text().await.unwrap()
    }
}

#[tokio::test]
async fn an_application_runs_on_a_network_and_a_database_of_its_own() {
    let world = World::new().await;
    world.name_image(&world.push("v1").await).await;
    let network = world.create("network", "network.yml", Texts::new()).await;
    let (vpc, private) = (&network["VpcId"], &network["PrivateSubnetIds"]);
    let database = texts([
        ("VpcId", vpc),
        ("SubnetIds", private),
        ("DeletionProtection", "false"),
    ]);
    let database = world.create("database", "database.yml", database).await;

    let port = world.aws.reserve_port().await.unwrap().to_string();
    let shop = texts([
        ("ImageParameter", "/bluegreen/shop/image"),
        ("VpcId", vpc),
        ("SubnetIds", &network["PublicSubnetIds"]),
        ("TaskSubnetIds", private),
        ("ListenerPort", &port),
        ("DatabaseSecretArn", &database["DatabaseSecretArn"]),
        ("DatabaseHost", &database["DatabaseHost"]),
        (
            "DatabaseSecurityGroupId",
            &database["ClientSecurityGroupId"],
        ),
    ]);
    let outputs = world.create("shop", "cluster.yml", shop).await;
    let url = &outputs["LoadBalancerUrl"];
    assert_eq!(world.read(url).await, "v1");
    let user = world.read(&format!("{url}/user")).await;
    assert_eq!(user, format!("app@{}", database["DatabaseHost"]));
    world.has_roles_that_the_pipeline_may_pass(&outputs).await;

    assert_eq!(
        world.load_balancer().await["access_logs.s3.enabled"],
        "false"
    );

    world
        .cli(&["s3api", "create-bucket", "--bucket", "access-logs"])
        .await;
    let more = texts([
        ("WorkerCommand", "/run"),
        ("Autoscaling", "true"),
        ("MinCount", "1"),
        ("MaxCount", "5"),
        ("ExecuteCommand", "true"),
        ("AccessLogBucket", "access-logs"),
    ]);
    let outputs = world.change("shop", more).await;
    let ecs = aws_sdk_ecs::Client::new(&world.aws.sdk_config());
    let services = ecs.describe_services().cluster(&outputs["ClusterName"]);
    let services = services.services(&outputs["WorkerServiceName"]);
    let services = services.services(&outputs["ServiceName"]);
    let services = services.send().await.unwrap();
    let [worker, web] = services.services() else {
        panic!("{services:?}");
    };
    assert_eq!(worker.running_count(), 1);
    assert!(worker.enable_execute_command() && web.enable_execute_command());
    let allowed = world.allowed("TaskRole", "application").await;
    let channel = ("ssmmessages:CreateControlChannel".to_owned(), json!("*"));
    assert!(allowed.contains(&channel), "{allowed:?}");
    let asked = ["application-autoscaling", "describe-scalable-targets"];
    let asked = [&asked[..], &["--service-namespace", "ecs"]].concat();
    let scaled = &world.ask(&asked).await["ScalableTargets"];
    let (cluster, service) = (&outputs["ClusterName"], &outputs["ServiceName"]);
    let which = format!("service/{cluster}/{service}");
    assert_eq!(scaled.as_array().map(Vec::len), Some(1), "{scaled}");
    assert_eq!(scaled[0]["ResourceId"], which);
    assert_eq!(
        (&scaled[0]["MinCapacity"], &scaled[0]["MaxCapacity"]),
        (&json!(1), &json!(5))
    );
    let attributes = world.load_balancer().await;
    assert_eq!(attributes["access_logs.s3.enabled"], "true");
    assert_eq!(attributes["access_logs.s3.bucket"], "access-logs");
    assert_eq!(attributes["access_logs.s3.prefix"], "shop");
    assert_eq!(world.read(url).await, "v1");

    for stack in ["shop", "database", "network"] {
        world.delete(stack).await;
    }
    let clusters = ecs.list_clusters().send().await.unwrap();
    assert_eq!(clusters.cluster_arns(), [] as [String; 0]);
    world.aws.shut_down().await.unwrap();
}

#[tokio::test]
async fn the_aws_cli_finds_every_template_valid() {
    let world = World::new().await;
    let infra = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra"));
    let paths = infra.unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|it| it == "yml"));
    let mut found = 0;
    for path in paths {
        let url = world.upload(&path).await;
        let validate = [
            "cloudformation",
            "validate-template",
            "--template-url",
            &url,
        ];
        let described = world.cli(&validate).await;
        assert!(described.contains("bluegreen"), "{path:?}: {described}");
        found += 1;
    }
    assert_ne!(found, 0);
    world.aws.shut_down().await.unwrap();
}

#[tokio::test]
async fn an_update_for_another_reason_keeps_the_image_that_was_released_last() {
    let world = World::new().await;
    let outputs = world.create_shop(Texts::new()).await;
    let url = &outputs["LoadBalancerUrl"];
    world.change("shop", texts([("MaxErrors", "20")])).await;
    assert_eq!(world.read(url).await, "v1");

    // A release writes what it has brought into service.
    world.name_image(&world.push("v2").await).await;
    world.change("shop", texts([("MaxErrors", "30")])).await;
    assert_eq!(world.read(url).await, "v2");
    world.aws.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_stack_has_no_task_until_it_is_told_that_it_is_in_service() {
    let world = World::new().await;
    let test_port = world.aws.reserve_port().await.unwrap().to_string();
    let held = texts([
        ("InService", "false"),
        ("WorkerCommand", "/run"),
        ("Strategy", "CANARY"),
        ("CanaryBakeTimeMinutes", "0"),
        ("BakeTimeMinutes", "0"),
        ("TestListenerPort", &test_port),
        ("Hook", "PAUSE"),
    ]);
    let outputs = world.create_shop(held).await;
    let (worker, web) = world.counts(&outputs).await;
    assert_eq!((worker, web), (0, 0));

    // A version for which there is no task goes by nobody.
    world.name_image(&world.push("v2").await).await;
    world.change("shop", texts([("MaxErrors", "20")])).await;
    let in_service = texts([("InService", "true")]);
    let verified = async {
        let (deployment, hook) = world.awaiting(&outputs).await;
        assert_eq!(world.read(&outputs["TestUrl"]).await, "v2");
        world.goes_on(deployment, hook).await;
    };
    tokio::join!(world.change("shop", in_service), verified);
    assert_eq!(world.counts(&outputs).await, (1, 2));
    assert_eq!(world.read(&outputs["LoadBalancerUrl"]).await, "v2");

    let scaled = texts([("Autoscaling", "true"), ("MinCount", "3")]);
    world.change("shop", scaled).await;
    assert_eq!(world.counts(&outputs).await, (1, 3));
    world.change("shop", texts([("InService", "false")])).await;
    assert_eq!(world.counts(&outputs).await, (0, 0));
    world.aws.shut_down().await.unwrap();
}

#[tokio::test]
async fn the_alarms_of_an_application_are_raised_by_its_errors_and_by_its_unhealthy_tasks() {
    let world = World::new().await;
    let one_task = texts([
        ("DesiredCount", "1"),
        // ECS is not to replace it before its alarm is raised.
        ("HealthCheckGracePeriodSeconds", "3600"),
    ]);
    let outputs = world.create_shop(one_task).await;
    let url = &outputs["LoadBalancerUrl"];
    let errors = world.quiet_alarm("ErrorAlarm").await;
    let unhealthy = world.quiet_alarm("UnhealthyHostAlarm").await;

    eventually(async || {
        world.read(&format!("{url}/fail")).await;
        let raised = world.is_in_state(&errors, &StateValue::Alarm).await;
        raised.then_some(())
    })
    .await;
    assert!(world.is_in_state(&unhealthy, &StateValue::Ok).await);
    world.has_state(&errors, StateValue::Ok).await;

    world.read(&format!("{url}/sicken")).await;
    world.has_state(&unhealthy, StateValue::Alarm).await;
    assert!(world.is_in_state(&errors, &StateValue::Ok).await);
    world.aws.shut_down().await.unwrap();
}

/// Asks again and again, by so many visitors, until it is dropped.
fn crowd(url: &str, visitors: usize) -> JoinSet<()> {
    let visit = async |url: String| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        loop {
            client.get(&url).send().await.unwrap();
        }
    };
    (0..visitors).map(|_| visit(url.to_owned())).collect()
}

#[tokio::test]
async fn an_application_that_shifts_traffic_raises_alarms_by_slow_answers_and_by_either_group() {
    let world = World::new().await;
    let test_port = world.aws.reserve_port().await.unwrap().to_string();
    let shifting = texts([
        ("Strategy", "BLUE_GREEN"),
        ("BakeTimeMinutes", "0"),
        ("TestListenerPort", &test_port),
        ("DesiredCount", "1"),
        ("MaxLatencySeconds", "0.5"),
        // ECS is not to replace a task before the alarm that it raises.
        ("HealthCheckGracePeriodSeconds", "3600"),
    ]);
    let outputs = world.create_shop(shifting).await;
    let url = &outputs["LoadBalancerUrl"];
    let slow = world.quiet_alarm("LatencyAlarm").await;
    let unhealthy = world.quiet_alarm("UnhealthyHostAlarm").await;

    // A minute, which is three seconds here, has more than the hundred requests that count.
    let waiting = crowd(&format!("{url}/slow"), 60);
    world.has_state(&slow, StateValue::Alarm).await;
    assert!(world.is_in_state(&unhealthy, &StateValue::Ok).await);
    drop(waiting);
    world.has_state(&slow, StateValue::Ok).await;

    for version in ["v1", "v2"] {
        if version == "v2" {
            world.name_image(&world.push(version).await).await;
            let changed = texts([("MaxErrors", "20")]);
            world.change("shop", changed).await;
        }
        assert_eq!(world.read(url).await, version);
        world.has_state(&unhealthy, StateValue::Ok).await;
        world.read(&format!("{url}/sicken")).await;
        world.has_state(&unhealthy, StateValue::Alarm).await;
    }
    world.aws.shut_down().await.unwrap();
}

#[tokio::test]
async fn every_strategy_brings_a_new_version_into_service_once_somebody_has_verified_it() {
    let world = World::new().await;
    world.name_image(&world.push("v1").await).await;
    let network = world.create("network", "network.yml", Texts::new()).await;
    let port = world.aws.reserve_port().await.unwrap().to_string();
    let test_port = world.aws.reserve_port().await.unwrap().to_string();
    let shop = texts([
        ("ImageParameter", "/bluegreen/shop/image"),
        ("VpcId", &network["VpcId"]),
        ("SubnetIds", &network["PublicSubnetIds"]),
        ("ListenerPort", &port),
        ("TestListenerPort", &test_port),
        ("Strategy", "BLUE_GREEN"),
        ("BakeTimeMinutes", "0"),
        ("CanaryBakeTimeMinutes", "1"),
        ("LinearStepPercent", "50"),
        ("LinearStepBakeTimeMinutes", "1"),
    ]);
    let outputs = world.create("shop", "cluster.yml", shop).await;
    let (url, test_url) = (&outputs["LoadBalancerUrl"], &outputs["TestUrl"]);
    assert_eq!(world.read(url).await, "v1");

    let mut before = "v1";
    for (version, strategy) in [("v2", "BLUE_GREEN"), ("v3", "CANARY"), ("v4", "LINEAR")] {
        world.name_image(&world.push(version).await).await;
        let next = texts([("Strategy", strategy), ("Hook", "PAUSE")]);
        let verified = async {
            let (deployment, hook) = world.awaiting(&outputs).await;
            assert_eq!(world.read(test_url).await, version, "{strategy}");
            assert_eq!(world.read(url).await, before, "{strategy}");
            world.goes_on(deployment, hook).await;
        };
        tokio::join!(world.change("shop", next), verified);
        assert_eq!(world.read(url).await, version, "{strategy}");
        before = version;
    }

    // A function in place of the person: it sees the new version where the test listener shows it.
    support::create_role(world.aws.endpoint()).await;
    let seen = tempfile::NamedTempFile::new().unwrap();
    let verify = format!(
        "seen = [urllib.request.urlopen(url).read().decode() for url in ({test_url:?}, {url:?})]\n\
         with open({:?}, 'a') as file: file.write(json.dumps(seen))\n\
         return {{'hookStatus': 'SUCCEEDED'}}",
        seen.path()
    );
    let new = NewFunction {
        bootstrap: python(&verify),
        ..NewFunction::default()
    };
    let lambda = aws_sdk_lambda::Client::new(&world.aws.sdk_config());
    let name = support::create(&lambda, new).await;
    let function = format!("arn:aws:lambda:us-east-1:123456789012:function:{name}");
    world.name_image(&world.push("v5").await).await;
    let next = texts([
        ("Strategy", "BLUE_GREEN"),
        ("Hook", "LAMBDA"),
        ("HookFunctionArn", &function),
    ]);
    world.change("shop", next).await;
    assert_eq!(world.read(url).await, "v5");
    let seen = std::fs::read_to_string(seen.path()).unwrap();
    assert_eq!(seen, r#"["v5", "v4"]"#);
    let allowed = world.allowed("HookRole", "call-hook").await;
    assert_eq!(
        allowed,
        [("lambda:InvokeFunction".to_owned(), json!(function))]
    );
    world.delete("shop").await;
    world.aws.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_name_and_a_certificate_come_and_go_and_the_pipeline_asks_where_they_hold() {
    let world = World::new().await;
    world.name_image(&world.push("v1").await).await;
    let network = world.create("network", "network.yml", Texts::new()).await;
    let port = world.aws.reserve_port().await.unwrap().to_string();
    let given = texts([
        ("ImageParameter", "/bluegreen/shop/image"),
        ("VpcId", &network["VpcId"]),
        ("SubnetIds", &network["PublicSubnetIds"]),
        ("ListenerPort", &port),
    ]);
    let outputs = world.create("shop", "cluster.yml", given.clone()).await;
    let url = outputs["LoadBalancerUrl"].clone();
    assert_eq!(outputs["HealthCheckUrl"], format!("{url}/health"));
    // Nothing of the sample application is left in the template.
    for output in ["MigrationCommand", "DeploymentTimeoutSeconds"] {
        assert!(!outputs.contains_key(output), "{outputs:?}");
    }

    // No certificate is for the load balancer's own name, so that there is nothing to ask.
    let request = ["acm", "request-certificate", "--domain-name"];
    let asked = [
        &request[..],
        &["shop.example.com"],
        &["--query", "CertificateArn"],
    ];
    let certificate = world.cli(&asked.concat()).await;
    let secured = texts([("CertificateArn", &certificate)]);
    let outputs = world.change("shop", secured).await;
    assert_eq!(outputs["LoadBalancerUrl"], "https://localhost:443");
    assert!(!outputs.contains_key("HealthCheckUrl"), "{outputs:?}");
    let led = reqwest::Client::builder().no_proxy();
    let led = led.redirect(reqwest::redirect::Policy::none()).build();
    let led = led.unwrap().get(format!("{url}/posts?page=2")).send().await;
    let led = led.unwrap();
    assert_eq!(led.status(), 301);
    assert_eq!(
        led.headers()["location"],
        "https://localhost:443/posts?page=2"
    );

    let named = texts([
        ("DomainName", "shop.example.com"),
        ("DeploymentTimeoutSeconds", "9000"),
    ]);
    let outputs = world.change("shop", named).await;
    let address = "https://shop.example.com:443";
    assert_eq!(outputs["LoadBalancerUrl"], address);
    assert_eq!(outputs["HealthCheckUrl"], format!("{address}/health"));
    assert_eq!(outputs["LoadBalancerDnsName"], "localhost");
    assert_eq!(outputs["DeploymentTimeoutSeconds"], "9000");

    // The way back: at once it fails, and changes nothing; after the redirect has gone it works.
    let unsecured = texts([("CertificateArn", ""), ("DomainName", "")]);
    let back = StackStatus::UpdateRollbackComplete;
    world.change_until("shop", unsecured.clone(), &back).await;
    let reasons = world.reasons("shop").await;
    let port_is_taken = |reason: &String| reason.contains("DuplicateListener");
    assert!(reasons.iter().any(port_is_taken), "{reasons:?}");
    let closed = texts([("HttpRedirect", "false")]);
    let outputs = world.change("shop", closed).await;
    assert_eq!(outputs["LoadBalancerUrl"], address);
    let outputs = world.change("shop", unsecured).await;
    assert_eq!(outputs["LoadBalancerUrl"], url);
    assert_eq!(world.read(&url).await, "v1");

    // The pipeline does not reach what is inside of a network.
    let mut inside = given;
    let port = world.aws.reserve_port().await.unwrap().to_string();
    inside.extend(texts([("Scheme", "internal"), ("ListenerPort", &port)]));
    inside.extend(texts([("DesiredCount", "0")]));
    let outputs = world.create("inside", "cluster.yml", inside).await;
    assert!(!outputs.contains_key("HealthCheckUrl"), "{outputs:?}");
    world.aws.shut_down().await.unwrap();
}
