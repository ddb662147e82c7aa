//! What EventBridge is told of real tasks, deployments and pushes, as a rule's targets get it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::VecDeque;
use std::time::Duration;

use aws_sdk_ecs::operation::create_service::builders::CreateServiceFluentBuilder;
use aws_sdk_ecs::types::{
    AwsVpcConfiguration, Compatibility, ContainerDefinition, DeploymentCircuitBreaker,
    DeploymentConfiguration, DeploymentLifecycleHook, DeploymentLifecycleHookStage,
    DeploymentLifecycleHookTargetType, DeploymentStrategy, LaunchType, NetworkConfiguration,
    NetworkMode,
};
use local_aws::client::LocalAws;
use local_aws::ecs::Interruption;
use serde_json::{Value, json};
use support::{ROLE, eventually, push, settled, shared};

/// A queue that a rule fills.
struct Listener {
    sqs: aws_sdk_sqs::Client,
    url: String,
    arrived: VecDeque<Value>,
}

impl Listener {
    /// The next event, which takes as long as it takes.
    async fn next(&mut self) -> Value {
        while self.arrived.is_empty() {
            let (sqs, url) = (&self.sqs, &self.url);
            let messages = eventually(async || {
                let request = sqs.receive_message().queue_url(url);
                let request = request.max_number_of_messages(10);
                let messages = request.send().await.unwrap().messages.unwrap_or_default();
                (!messages.is_empty()).then_some(messages)
            })
            .await;
            for message in messages {
                let body = message.body().unwrap();
                self.arrived.push_back(serde_json::from_str(body).unwrap());
                let delete = sqs.delete_message().queue_url(url);
                let delete = delete.receipt_handle(message.receipt_handle().unwrap());
                delete.send().await.unwrap();
            }
        }
        self.arrived.pop_front().unwrap()
    }

    /// The events up to the first one that is `last`.
    async fn until(&mut self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            events.push(self.next().await);
            if events.last().is_some_and(&last) {
                return events;
            }
        }
    }
}

fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

/// Deploys a stack, and answers its outputs as an object.
async fn deploy(aws: &LocalAws, resources: Value, outputs: Value) -> Value {
    let client = aws_sdk_cloudformation::Client::new(&aws.sdk_config());
    let name = unique("stack");
    let template = json!({"Resources": resources, "Outputs": outputs});
    let request = client.create_stack().stack_name(&name);
    let request = request.template_body(template.to_string());
    request.send().await.unwrap();
    let stack = settled(&client, &name).await;
    let status = stack.stack_status().unwrap().as_str();
    assert_eq!(status, "CREATE_COMPLETE", "{stack:?}");
    stack
        .outputs()
        .iter()
        .map(|output| {
            let value = json!(output.output_value().unwrap());
            (output.output_key().unwrap().to_owned(), value)
        })
        .collect()
}

/// A queue that EventBridge may fill.
fn queue() -> Value {
    json!({
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Policy": {
            "Type": "AWS::SQS::QueuePolicy",
            "Properties": {
                "Queues": [{"Ref": "Queue"}],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{
                        "Effect": "Allow",
                        "Principal": {"Service": "events.amazonaws.com"},
                        "Action": "sqs:SendMessage",
                        "Resource": "*",
                    }],
                },
            },
        },
    })
}

async fn listener(aws: &LocalAws, mut resources: Value) -> Listener {
    let parts = queue();
    for (name, resource) in parts.as_object().unwrap() {
        resources[name] = resource.clone();
    }
    let outputs = json!({"Url": {"Value": {"Ref": "Queue"}}});
    let outputs = deploy(aws, resources, outputs).await;
    Listener {
        sqs: aws_sdk_sqs::Client::new(&aws.sdk_config()),
        url: outputs["Url"].as_str().unwrap().to_owned(),
        arrived: VecDeque::new(),
    }
}

/// A queue that gets the events that match a pattern.
async fn listen(aws: &LocalAws, pattern: Value) -> Listener {
    listener(aws, json!({"Rule": rule_for_the_queue(pattern)})).await
}

fn rule_for_the_queue(pattern: Value) -> Value {
    let queue = json!({"Fn::GetAtt": ["Queue", "Arn"]});
    json!({
        "Type": "AWS::Events::Rule",
        "Properties": {"EventPattern": pattern, "Targets": [{"Id": "queue", "Arn": queue}]},
    })
}

fn role(service: &str, action: &str) -> Value {
    json!({
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [{
                    "Effect": "Allow",
                    "Principal": {"Service": service},
                    "Action": "sts:AssumeRole",
                }],
            },
            "Policies": [{
                "PolicyName": "one-thing",
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}],
                },
            }],
        },
    })
}

/// A state machine that makes one call of an AWS service, as the role `MachineRole`.
fn machine(call: &str, arguments: Value) -> Value {
    json!({
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "RoleArn": {"Fn::GetAtt": ["MachineRole", "Arn"]},
            "Definition": {
                "QueryLanguage": "JSONata",
                "StartAt": "Call",
                "States": {
                    "Call": {
                        "Type": "Task",
                        "Resource": format!("arn:aws:states:::aws-sdk:{call}"),
                        "Arguments": arguments,
                        "End": true,
                    },
                },
            },
            "DefinitionSubstitutions": {"QueueUrl": {"Ref": "Queue"}},
        },
    })
}

/// A rule that starts the state machine `Machine`, as the role `RuleRole`.
fn rule_for_the_machine(pattern: Value, input: Value) -> Value {
    json!({
        "Type": "AWS::Events::Rule",
        "Properties": {
            "EventPattern": pattern,
            "Targets": [{
                "Id": "machine",
                "Arn": {"Ref": "Machine"},
                "RoleArn": {"Fn::GetAtt": ["RuleRole", "Arn"]},
                "InputTransformer": input,
            }],
        },
    })
}

/// A cluster of its own, and a way to run shell scripts in it.
struct Cluster {
    ecs: aws_sdk_ecs::Client,
    name: String,
    arn: String,
}

impl Cluster {
    async fn create(aws: &LocalAws) -> Self {
        let ecs = aws_sdk_ecs::Client::new(&aws.sdk_config());
        let name = unique("cluster");
        let request = ecs.create_cluster().cluster_name(&name);
        let created = request.send().await.unwrap();
        let arn = created.cluster().unwrap().cluster_arn().unwrap().to_owned();
        Self { ecs, name, arn }
    }

    /// Registers a task definition whose one container, `app`, runs a script.
    async fn register(&self, aws: &LocalAws, script: &str) -> String {
        let image = push(aws, &self.name, &unique("v"), script).await;
        let container = ContainerDefinition::builder().name("app").image(image);
        let request = self.ecs.register_task_definition().family(&self.name);
        let request = request
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu("256")
            .memory("512")
            .execution_role_arn(ROLE)
            .container_definitions(container.build());
        let registered = request.send().await.unwrap();
        let definition = registered.task_definition().unwrap();
        definition.task_definition_arn().unwrap().to_owned()
    }

    /// Runs a script as a task, and answers its ARN.
    async fn run(&self, aws: &LocalAws, script: &str) -> String {
        let definition = self.register(aws, script).await;
        let request = self.ecs.run_task().cluster(&self.name);
        let request = request
            .task_definition(definition)
            .launch_type(LaunchType::Fargate)
            .network_configuration(network())
            .started_by("tests");
        let started = request.send().await.unwrap();
        started.tasks()[0].task_arn().unwrap().to_owned()
    }

    fn pattern(&self, detail_type: &str) -> Value {
        json!({
            "source": ["aws.ecs"],
            "detail-type": [detail_type],
            "detail": {"clusterArn": [self.arn]},
        })
    }

    /// The ARN of the service `web`, which does not have to exist.
    fn service(&self) -> String {
        let service = self.arn.replace(":cluster/", ":service/");
        format!("{service}/web")
    }

    /// Creates the service `web`, of one task.
    fn create_service(&self, definition: &str) -> CreateServiceFluentBuilder {
        let request = self.ecs.create_service().cluster(&self.name);
        request
            .service_name("web")
            .task_definition(definition)
            .desired_count(1)
            .launch_type(LaunchType::Fargate)
            .network_configuration(network())
    }

    async fn delete_service(&self) {
        let delete = self.ecs.delete_service().cluster(&self.name);
        delete.service("web").force(true).send().await.unwrap();
    }
}

fn network() -> NetworkConfiguration {
    let vpc = AwsVpcConfiguration::builder().subnets("subnet-1");
    let vpc = vpc.build().unwrap();
    NetworkConfiguration::builder()
        .awsvpc_configuration(vpc)
        .build()
}

fn names(object: &Value) -> Vec<&str> {
    let fields = object.as_object().unwrap();
    let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Asserts that an object has every one of the fields.
fn assert_has(object: &Value, fields: &[&str]) {
    let names = names(object);
    for field in fields {
        assert!(names.contains(field), "no {field} in {object:#}");
    }
}

/// The fields of the documented example, beside those that only a task has that ran.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html>
const TASK_FIELDS: [&str; 15] = [
    "attachments",
    "availabilityZone",
    "clusterArn",
    "containers",
    "createdAt",
    "launchType",
    "cpu",
    "memory",
    "desiredStatus",
    "group",
    "lastStatus",
    "overrides",
    "updatedAt",
    "taskArn",
    "version",
];
const RUNNING_TASK_FIELDS: [&str; 7] = [
    "connectivity",
    "connectivityAt",
    "pullStartedAt",
    "pullStoppedAt",
    "startedAt",
    "taskDefinitionArn",
    "platformVersion",
];
const CONTAINER_FIELDS: [&str; 9] = [
    "containerArn",
    "lastStatus",
    "name",
    "image",
    "imageDigest",
    "runtimeId",
    "taskArn",
    "networkInterfaces",
    "cpu",
];
/// The envelope of every event.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>
const ENVELOPE: [&str; 9] = [
    "account",
    "detail",
    "detail-type",
    "id",
    "region",
    "resources",
    "source",
    "time",
    "version",
];

fn is_stopped(event: &Value) -> bool {
    event["detail"]["lastStatus"] == "STOPPED"
}

fn text(event: &Value, field: &str) -> String {
    event["detail"][field].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_change_of_a_task_reaches_a_queue_in_order_with_the_documented_fields() {
    let aws = shared().await;
    let cluster = Cluster::create(aws).await;
    let mut queue = listen(aws, cluster.pattern("ECS Task State Change")).await;
    let task = cluster.run(aws, "exit 3").await;
    let events = queue.until(is_stopped).await;
    let mut statuses: Vec<String> = Vec::new();
    let mut version = 0;
    for event in &events {
        assert_eq!(names(event), ENVELOPE);
        assert_eq!(event["version"], "0");
        assert_eq!(event["resources"], json!([task]));
        let detail = &event["detail"];
        assert_has(detail, &TASK_FIELDS);
        assert!(detail["version"].as_u64().unwrap() > version, "{detail:#}");
        version = detail["version"].as_u64().unwrap();
        let status = text(event, "lastStatus");
        if statuses.last() != Some(&status) {
            statuses.push(status);
        }
    }
    let life = [
        "PROVISIONING",
        "PENDING",
        "ACTIVATING",
        "RUNNING",
        "DEACTIVATING",
        "STOPPING",
        "DEPROVISIONING",
        "STOPPED",
    ];
    assert_eq!(statuses, life);
    let running = |event: &&Value| event["detail"]["lastStatus"] == "RUNNING";
    let running = &events.iter().find(running).unwrap()["detail"];
    assert_has(running, &RUNNING_TASK_FIELDS);
    assert_has(&running["containers"][0], &CONTAINER_FIELDS);
    assert_eq!(running["attachments"][0]["type"], "eni");
    assert_eq!(running["startedBy"], "tests");
    let created = running["createdAt"].as_str().unwrap();
    created.parse::<jiff::Timestamp>().unwrap();
    let stopped = &events.last().unwrap()["detail"];
    assert_eq!(stopped["containers"][0]["exitCode"], 3);
    assert_eq!(stopped["stopCode"], "EssentialContainerExited");
    let described = cluster.ecs.describe_tasks().cluster(&cluster.name);
    let described = described.tasks(&task).send().await.unwrap();
    assert_eq!(stopped["version"], described.tasks()[0].version());
}

#[tokio::test]
async fn a_task_that_aws_interrupts_gets_sigterm_and_its_event_says_why() {
    let aws = shared().await;
    let cluster = Cluster::create(aws).await;
    let mut queue = listen(aws, cluster.pattern("ECS Task State Change")).await;
    let script = "trap 'exit 7' TERM; while true; do sleep 0.1; done";
    let task = cluster.run(aws, script).await;
    queue
        .until(|event| event["detail"]["lastStatus"] == "RUNNING")
        .await;
    let spot = Interruption::SpotInterruption;
    let reason = "Your Spot Task was interrupted.";
    aws.interrupt(&task, spot, reason).await.unwrap();
    let events = queue.until(is_stopped).await;
    let stopped = events.last().unwrap();
    assert_eq!(text(stopped, "stopCode"), "SpotInterruption");
    assert_eq!(text(stopped, "stoppedReason"), reason);
    assert_eq!(stopped["detail"]["containers"][0]["exitCode"], 7);
    aws.interrupt(&task, spot, reason).await.unwrap_err();
}

#[tokio::test]
async fn a_deployment_tells_of_its_start_its_end_its_failure_and_its_rollback() {
    let aws = shared().await;
    let cluster = Cluster::create(aws).await;
    let service = cluster.service();
    let pattern = json!({
        "source": ["aws.ecs"],
        "detail-type": ["ECS Deployment State Change"],
        "resources": [service],
    });
    let mut queue = listen(aws, pattern).await;
    let mut actions = listen(aws, cluster.pattern("ECS Service Action")).await;
    let good = cluster.register(aws, "exec sleep 1000").await;
    let breaker = DeploymentCircuitBreaker::builder()
        .enable(true)
        .rollback(true);
    let configuration =
        DeploymentConfiguration::builder().deployment_circuit_breaker(breaker.build());
    let request = cluster.create_service(&good);
    let request = request.deployment_configuration(configuration.build());
    request.send().await.unwrap();
    let started = queue.next().await;
    assert_eq!(names(&started), ENVELOPE);
    // https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
    let fields = [
        "deploymentId",
        "eventName",
        "eventType",
        "reason",
        "updatedAt",
    ];
    assert_eq!(names(&started["detail"]), fields);
    assert_eq!(
        text(&started, "eventName"),
        "SERVICE_DEPLOYMENT_IN_PROGRESS"
    );
    let first = text(&started, "deploymentId");
    let reason = format!("ECS deployment {first} in progress.");
    assert_eq!(text(&started, "reason"), reason);
    let completed = queue.next().await;
    assert_eq!(
        text(&completed, "eventName"),
        "SERVICE_DEPLOYMENT_COMPLETED"
    );
    assert_eq!(text(&completed, "deploymentId"), first);

    let bad = cluster.register(aws, "exit 1").await;
    let update = cluster.ecs.update_service().cluster(&cluster.name);
    let update = update.service("web").task_definition(&bad);
    update.send().await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = queue.next().await;
        assert_eq!(event["resources"], json!([service]));
        seen.push((
            text(&event, "eventType"),
            text(&event, "eventName"),
            text(&event, "deploymentId"),
            text(&event, "reason"),
        ));
    }
    let names: Vec<(&str, &str)> = seen
        .iter()
        .map(|(kind, name, ..)| (kind.as_str(), name.as_str()))
        .collect();
    let expected = [
        ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS"),
        ("ERROR", "SERVICE_DEPLOYMENT_FAILED"),
        ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS"),
        ("INFO", "SERVICE_DEPLOYMENT_COMPLETED"),
    ];
    assert_eq!(names, expected);
    // What tells a rollback from another start is the reason alone.
    assert_eq!(seen[1].2, seen[0].2);
    assert_eq!(seen[2].2, first);
    let rolling_back = format!("rolling back to deploymentId {first}.");
    assert!(seen[2].3.contains(&rolling_back), "{}", seen[2].3);

    let steady = actions
        .until(|event| event["detail"]["eventName"] == "SERVICE_STEADY_STATE")
        .await;
    let steady = steady.last().unwrap();
    assert_eq!(steady["resources"], json!([service]));
    // https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_events.html
    let fields = ["clusterArn", "createdAt", "eventName", "eventType"];
    assert_eq!(self::names(&steady["detail"]), fields);
    cluster.delete_service().await;
}

#[tokio::test]
async fn a_state_machine_is_started_with_what_the_rule_makes_of_a_tasks_event() {
    let aws = shared().await;
    let cluster = Cluster::create(aws).await;
    let mut pattern = cluster.pattern("ECS Task State Change");
    pattern["detail"]["lastStatus"] = json!(["STOPPED"]);
    pattern["detail"]["containers"] = json!({"exitCode": [{"numeric": [">", 0]}]});
    let resources = json!({
        "MachineRole": role("states.amazonaws.com", "sqs:SendMessage"),
        "Machine": machine("sqs:sendMessage", json!({
            "QueueUrl": "${QueueUrl}",
            "MessageBody": "{% $string($states.input) %}",
        })),
        "RuleRole": role("events.amazonaws.com", "states:StartExecution"),
        "Rule": rule_for_the_machine(pattern, json!({
            "InputPathsMap": {
                "task": "$.detail.taskArn",
                "code": "$.detail.containers[0].exitCode",
            },
            "InputTemplate": r#"{"task": <task>, "code": <code>, "text": "<code>!"}"#,
        })),
    });
    let mut queue = listener(aws, resources).await;
    cluster.run(aws, "exit 0").await;
    let failed = cluster.run(aws, "exit 4").await;
    let told = queue.next().await;
    assert_eq!(told, json!({"task": failed, "code": 4, "text": "4!"}));
}

/// A state machine in place of a person: what it needs to know is in the event.
#[tokio::test]
async fn a_hook_that_awaits_action_reaches_a_queue_and_a_state_machine_that_continues_it() {
    let aws = shared().await;
    let cluster = Cluster::create(aws).await;
    let hooks = cluster.pattern("ECS Hook State Change");
    let mut awaiting = hooks.clone();
    awaiting["detail"]["eventName"] = json!(["HOOK_AWAITING_ACTION"]);
    let go_on = json!({
        "ServiceDeploymentArn": "{% $states.input.deployment %}",
        "HookId": "{% $states.input.hook %}",
        "Action": "CONTINUE",
    });
    let resources = json!({
        "MachineRole": role("states.amazonaws.com", "ecs:ContinueServiceDeployment"),
        "Machine": machine("ecs:continueServiceDeployment", go_on),
        "RuleRole": role("events.amazonaws.com", "states:StartExecution"),
        "Rule": rule_for_the_machine(awaiting, json!({
            "InputPathsMap": {
                "deployment": "$.detail.serviceDeploymentArn",
                "hook": "$.detail.hookId",
            },
            "InputTemplate": r#"{"deployment": <deployment>, "hook": <hook>}"#,
        })),
        "Told": rule_for_the_queue(hooks),
    });
    let mut queue = listener(aws, resources).await;
    let definition = cluster.register(aws, "exec sleep 1000").await;
    let pause = DeploymentLifecycleHook::builder()
        .target_type(DeploymentLifecycleHookTargetType::Pause)
        .lifecycle_stages(DeploymentLifecycleHookStage::PostScaleUp);
    let configuration = DeploymentConfiguration::builder()
        .strategy(DeploymentStrategy::BlueGreen)
        .bake_time_in_minutes(0)
        .lifecycle_hooks(pause.build());
    let request = cluster.create_service(&definition);
    let request = request.deployment_configuration(configuration.build());
    request.send().await.unwrap();

    let waiting = queue.next().await;
    assert_eq!(names(&waiting), ENVELOPE);
    assert_eq!(text(&waiting, "eventName"), "HOOK_AWAITING_ACTION");
    assert_eq!(text(&waiting, "lifecycleStage"), "POST_SCALE_UP");
    let deployment = text(&waiting, "serviceDeploymentArn");
    assert_eq!(waiting["resources"], json!([deployment]));
    let continued = queue.next().await;
    assert_eq!(text(&continued, "eventName"), "HOOK_SUCCEEDED");
    assert_eq!(text(&continued, "hookId"), text(&waiting, "hookId"));
    eventually(async || {
        let request = cluster.ecs.describe_service_deployments();
        let request = request.service_deployment_arns(&deployment);
        let described = request.send().await.unwrap();
        let status = described.service_deployments()[0].status().unwrap();
        (status.as_str() == "SUCCESSFUL").then_some(())
    })
    .await;
    cluster.delete_service().await;
}

#[tokio::test]
async fn a_function_is_invoked_with_a_pushs_event() {
    let aws = shared().await;
    let repository = unique("repository");
    let lambda = aws_sdk_lambda::Client::new(&aws.sdk_config());
    let new = support::NewFunction {
        bootstrap: support::python("print(json.dumps(event), flush=True)"),
        ..support::NewFunction::default()
    };
    let function = support::create(&lambda, new).await;
    let arn = format!("arn:aws:lambda:us-east-1:123456789012:function:{function}");
    let resources = json!({
        "Rule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventPattern": {
                    "source": ["aws.ecr"],
                    "detail": {"repository-name": [repository]},
                },
                "Targets": [{"Id": "function", "Arn": arn}],
            },
        },
        "Permission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "Action": "lambda:InvokeFunction",
                "FunctionName": function,
                "Principal": "events.amazonaws.com",
                "SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]},
            },
        },
    });
    deploy(aws, resources, json!({"Name": {"Value": "x"}})).await;
    push(aws, &repository, "v1", "exit 0").await;
    let logs = aws_sdk_cloudwatchlogs::Client::new(&aws.sdk_config());
    let group = format!("/aws/lambda/{function}");
    let line = eventually(async || {
        let answer = logs.filter_log_events().log_group_name(&group).send().await;
        let answer = answer.ok()?;
        let mut messages = answer.events().iter().filter_map(|event| event.message());
        messages
            .find(|message| message.starts_with('{'))
            .map(str::to_owned)
    })
    .await;
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["detail-type"], "ECR Image Action");
    assert_eq!(event["detail"]["image-tag"], "v1");
}

#[tokio::test]
async fn a_push_is_told_twice_on_demand() {
    let aws = shared().await;
    let repository = unique("repository");
    let pattern = json!({
        "source": ["aws.ecr"],
        "detail": {"repository-name": [repository]},
    });
    let mut queue = listen(aws, pattern.clone()).await;
    let fault = aws
        .events()
        .matching(pattern)
        .deliver_twice(1)
        .await
        .unwrap();
    push(aws, &repository, "v1", "exit 0").await;
    push(aws, &repository, "v2", "exit 1").await;
    let first = queue.next().await;
    assert_eq!(queue.next().await, first);
    assert_eq!(first["detail"]["image-tag"], "v1");
    assert_eq!(queue.next().await["detail"]["image-tag"], "v2");
    assert_eq!(fault.struck().await.unwrap(), 1);
}

#[tokio::test]
async fn a_push_is_lost_on_demand() {
    let aws = shared().await;
    let repository = unique("repository");
    let pattern = json!({
        "source": ["aws.ecr"],
        "detail": {"repository-name": [repository]},
    });
    let mut queue = listen(aws, pattern.clone()).await;
    let fault = aws.events().matching(pattern).lose(1).await.unwrap();
    push(aws, &repository, "v1", "exit 0").await;
    push(aws, &repository, "v2", "exit 1").await;
    assert_eq!(queue.next().await["detail"]["image-tag"], "v2");
    assert_eq!(fault.lift().await.unwrap(), 1);
}

#[tokio::test]
async fn a_tasks_events_come_out_of_order_and_late_on_demand() {
    let aws = shared().await;
    let cluster = Cluster::create(aws).await;
    let pattern = cluster.pattern("ECS Task State Change");
    let mut queue = listen(aws, pattern.clone()).await;
    let mut provisioning = pattern.clone();
    provisioning["detail"]["lastStatus"] = json!(["PROVISIONING", "PENDING"]);
    let swapped = aws.events().matching(provisioning);
    let swapped = swapped.deliver_out_of_order(1).await.unwrap();
    let mut running = pattern;
    running["detail"]["lastStatus"] = json!(["RUNNING"]);
    running["detail"]["desiredStatus"] = json!(["RUNNING"]);
    // Ten minutes at AWS's pace: three seconds here, and the task is over before.
    let late = aws.events().matching(running);
    let late = late
        .deliver_late(1, Duration::from_secs(600))
        .await
        .unwrap();
    cluster.run(aws, "exit 0").await;
    let mut events = queue.until(is_stopped).await;
    events.push(queue.next().await);
    let statuses: Vec<String> = events
        .iter()
        .map(|event| text(event, "lastStatus"))
        .collect();
    assert_eq!(statuses[..2], ["PENDING", "PROVISIONING"], "{statuses:?}");
    assert_eq!(statuses.last().unwrap(), "RUNNING", "{statuses:?}");
    assert_eq!(swapped.lift().await.unwrap(), 1);
    assert_eq!(late.lift().await.unwrap(), 1);
}
