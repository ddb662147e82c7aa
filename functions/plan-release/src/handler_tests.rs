use super::*;
use aws_sdk_cloudformation::operation::describe_stacks::{
    DescribeStacksError, DescribeStacksOutput,
};
use aws_sdk_cloudformation::operation::list_stack_resources::{
    ListStackResourcesError, ListStackResourcesOutput,
};
use aws_sdk_cloudformation::types::{
    Output, Parameter, ResourceStatus, Stack as CfnStack, StackResourceSummary, StackStatus,
};
use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
use aws_sdk_cloudwatch::types::MetricAlarm;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecr::operation::batch_get_image::BatchGetImageOutput;
use aws_sdk_ecr::operation::get_download_url_for_layer::{
    GetDownloadUrlForLayerError, GetDownloadUrlForLayerOutput,
};
use aws_sdk_ecr::operation::list_tags_for_resource::ListTagsForResourceOutput;
use aws_sdk_ecr::types::error::LayersNotFoundException;
use aws_sdk_ecr::types::{Image, ImageFailure, ImageFailureCode, ImageIdentifier, Tag};
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionOutput;
use aws_sdk_ecs::types::{
    Compatibility, ContainerDefinition, Deployment, DeploymentAlarms, DeploymentCircuitBreaker,
    DeploymentConfiguration, DeploymentController, DeploymentControllerType,
    DeploymentEarlySuccessCriteria, DeploymentRolloutState, DeploymentStrategy,
    ResourceManagementType, RuntimePlatform, Service, ServiceRevisionCleanup, TaskDefinition,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::{Diagnostic, diagnostic};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const REGISTRY: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
const DIGEST: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const CONFIG: &str = "sha256:c0";
const EXECUTION: &str = "arn:aws:states:us-east-1:123456789012:execution:deploy:demo-v2-1";
const START: &str = "2026-01-31T12:00:05.120Z";
const DEFAULTS: Limits = Limits {
    migration_seconds: 1800,
    deployment_seconds: 3600,
    rollback_window_seconds: 600,
    target_health_minutes: 10,
};
const COMMAND: (&str, &str) = ("MigrationCommand", r#"["websvc","migrate"]"#);

fn arn(service: &str) -> String {
    format!("arn:aws:ecs:us-east-1:123456789012:service/demo/{service}")
}

/// A world of one stack. Each test changes what it is about.
#[derive(Clone)]
struct World {
    status: StackStatus,
    outputs: Vec<(&'static str, &'static str)>,
    /// Values of the template's parameters, and what they were resolved to where they are names of
    /// the Parameter Store.
    parameters: Vec<(&'static str, Option<String>)>,
    /// Service, its containers with their images. Its task definition is `<service>:1`.
    services: Vec<(&'static str, Vec<(&'static str, String)>)>,
    /// Whether the stack has a service in Express Mode too.
    has_express_service: bool,
    controller: DeploymentControllerType,
    rollout: DeploymentRolloutState,
    /// Whether tasks of an earlier revision run, and that is no part of the deployment.
    old_tasks: Option<bool>,
    /// Service, the alarms of its deployment configuration, and whether ECS heeds them.
    alarms: Vec<(&'static str, Vec<&'static str>, bool)>,
    /// Whether the services' circuit breaker is on; `None`: they have none.
    circuit_breaker: Option<bool>,
    strategy: Option<DeploymentStrategy>,
    /// Repositories with their tag `bluegreen:stacks`.
    repositories: Vec<(&'static str, &'static str)>,
    in_alarm: Vec<&'static str>,
    /// By its digest, what the repository has: manifests, and the configurations that they name.
    manifests: Vec<(&'static str, Value)>,
    configs: Vec<(&'static str, Value)>,
    /// The entry points of containers in their task definitions.
    entry_points: Vec<(&'static str, Vec<&'static str>)>,
    /// What the task definitions say of the platform.
    platform: Option<RuntimePlatform>,
    compatibilities: Vec<Compatibility>,
    /// Attributes of the stack's item, all of them text.
    turn: Vec<(&'static str, String)>,
    /// The image of the release that serves, as its record says.
    serving: Option<(&'static str, &'static str)>,
}

fn world() -> World {
    World {
        status: StackStatus::UpdateComplete,
        outputs: vec![COMMAND],
        parameters: vec![("/bluegreen/demo/image", Some(image("demo:v1")))],
        services: vec![
            ("worker", vec![("worker", image("demo:v1"))]),
            (
                "web",
                vec![
                    ("proxy", "public.ecr.aws/nginx/nginx:1".to_owned()),
                    ("web", image("demo:v1")),
                ],
            ),
            ("cache", vec![("redis", "redis:7".to_owned())]),
        ],
        has_express_service: false,
        controller: DeploymentControllerType::Ecs,
        rollout: DeploymentRolloutState::Completed,
        old_tasks: None,
        alarms: vec![],
        circuit_breaker: Some(true),
        strategy: None,
        repositories: vec![("demo", "staging demo")],
        in_alarm: vec![],
        manifests: vec![(DIGEST, manifest(CONFIG))],
        configs: vec![(CONFIG, config("amd64", &["tini", "--"]))],
        entry_points: vec![],
        platform: None,
        compatibilities: vec![Compatibility::Fargate],
        turn: vec![],
        serving: None,
    }
}

/// Of an image of one platform, with a configuration of this digest.
fn manifest(config: &str) -> Value {
    json!({"schemaVersion": 2, "config": {"digest": config}, "layers": [{"digest": "sha256:1"}]})
}

fn config(architecture: &str, entry_point: &[&str]) -> Value {
    json!({"os": "linux", "architecture": architecture, "config": {"Entrypoint": entry_point}})
}

/// Where the configurations can be got, each by its digest.
fn served(configs: Vec<(&'static str, Value)>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = connection.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]);
            let config = configs.iter().find(|(digest, _)| request.contains(digest));
            let config = config.unwrap().1.to_string();
            let head = format!("HTTP/1.1 200 \r\nContent-Length: {}\r\n\r\n", config.len());
            connection
                .write_all((head + &config).as_bytes())
                .await
                .unwrap();
        }
    });
    format!("http://{address}/")
}

fn image(reference: &str) -> String {
    format!("{REGISTRY}/{reference}")
}

fn pinned() -> String {
    image(&format!("demo@{DIGEST}"))
}

impl World {
    fn cloudformation(&self) -> aws_sdk_cloudformation::Client {
        use aws_sdk_cloudformation::Client;
        let world = self.clone();
        let stack = mock!(Client::describe_stacks)
            .match_requests(|request| request.stack_name() == Some("demo"))
            .then_output(move || {
                let outputs = world.outputs.iter().map(|(key, value)| {
                    Output::builder()
                        .output_key(*key)
                        .output_value(*value)
                        .build()
                });
                let parameters = world.parameters.iter().map(|(value, resolved)| {
                    Parameter::builder()
                        .parameter_value(*value)
                        .set_resolved_value(resolved.clone())
                        .build()
                });
                DescribeStacksOutput::builder()
                    .stacks(
                        CfnStack::builder()
                            .stack_name("demo")
                            .stack_status(world.status.clone())
                            .set_outputs(Some(outputs.collect()))
                            .set_parameters(Some(parameters.collect()))
                            .build(),
                    )
                    .build()
            });
        let names: Vec<String> = self.services.iter().map(|(name, _)| arn(name)).collect();
        let has_express_service = self.has_express_service;
        let resources = mock!(Client::list_stack_resources).then_compute_output(move |request| {
            // One service a page, after a page without any.
            let at = request
                .next_token()
                .map_or(0, |token| token.parse::<usize>().unwrap());
            let resource = |kind: &str, id: &str, status| {
                StackResourceSummary::builder()
                    .resource_type(kind)
                    .physical_resource_id(id)
                    .resource_status(status)
                    .build()
            };
            let output = ListStackResourcesOutput::builder()
                .stack_resource_summaries(resource(
                    "AWS::ECS::Cluster",
                    "demo",
                    ResourceStatus::CreateComplete,
                ))
                .stack_resource_summaries(resource(
                    "AWS::ECS::Service",
                    &arn("gone"),
                    ResourceStatus::DeleteComplete,
                ))
                .stack_resource_summaries(resource(
                    "AWS::ECS::Service",
                    &arn("left-to-itself"),
                    ResourceStatus::DeleteSkipped,
                ));
            let output = match at {
                0 if has_express_service => output.stack_resource_summaries(resource(
                    "AWS::ECS::ExpressGatewayService",
                    &arn("express"),
                    ResourceStatus::CreateComplete,
                )),
                0 => output,
                at => output.stack_resource_summaries(resource(
                    "AWS::ECS::Service",
                    &names[at - 1],
                    ResourceStatus::CreateComplete,
                )),
            };
            let next = (at < names.len()).then(|| (at + 1).to_string());
            output.set_next_token(next).build()
        });
        mock_client!(
            aws_sdk_cloudformation,
            RuleMode::MatchAny,
            &[&stack, &resources]
        )
    }

    fn deployment_configuration(&self, service: &str) -> DeploymentConfiguration {
        let alarms = self.alarms.iter().find(|(name, ..)| *name == service);
        let circuit_breaker = self.circuit_breaker.map(|enable| {
            DeploymentCircuitBreaker::builder()
                .enable(enable)
                .rollback(true)
                .build()
        });
        DeploymentConfiguration::builder()
            .set_deployment_circuit_breaker(circuit_breaker)
            .set_strategy(self.strategy.clone())
            .set_alarms(alarms.map(|(_, names, enabled)| {
                DeploymentAlarms::builder()
                    .set_alarm_names(Some(names.iter().map(|name| (*name).to_owned()).collect()))
                    .enable(*enabled)
                    .rollback(false)
                    .build()
                    .unwrap()
            }))
            .set_early_success_criteria(self.old_tasks.map(|deferred| {
                DeploymentEarlySuccessCriteria::builder()
                    .enable(true)
                    .healthy_percent(50)
                    .source_service_revision_cleanup(match deferred {
                        true => ServiceRevisionCleanup::Deferred,
                        false => ServiceRevisionCleanup::Blocking,
                    })
                    .build()
            }))
            .build()
    }

    fn deployments(&self) -> Vec<Deployment> {
        let deployment = |status: &str| {
            let deployment = Deployment::builder().status(status);
            deployment.rollout_state(self.rollout.clone()).build()
        };
        let old = self.old_tasks.map(|_| deployment("ACTIVE"));
        std::iter::once(deployment("PRIMARY")).chain(old).collect()
    }

    fn ecs(&self) -> aws_sdk_ecs::Client {
        use aws_sdk_ecs::Client;
        let world = self.clone();
        let services = mock!(Client::describe_services)
            .match_requests(|request| {
                request.cluster() == Some("arn:aws:ecs:us-east-1:123456789012:cluster/demo")
                    && request.services().len() <= 10
            })
            .then_compute_output(move |request| {
                let services = request.services().iter().map(|service| {
                    let name = service.rsplit('/').next().unwrap();
                    Service::builder()
                        .service_arn(service)
                        .status("ACTIVE")
                        .task_definition(format!("{name}:1"))
                        .deployment_configuration(world.deployment_configuration(name))
                        .deployment_controller(
                            DeploymentController::builder()
                                .r#type(world.controller.clone())
                                .build()
                                .unwrap(),
                        )
                        .set_deployments(Some(world.deployments()))
                        .build()
                });
                DescribeServicesOutput::builder()
                    .set_services(Some(services.collect()))
                    .build()
            });
        let world = self.clone();
        let definitions =
            mock!(Client::describe_task_definition).then_compute_output(move |request| {
                let revision = request.task_definition().unwrap();
                let name = revision.split(':').next().unwrap();
                let (_, containers) = world
                    .services
                    .iter()
                    .find(|(service, _)| *service == name)
                    .unwrap();
                let containers = containers.iter().map(|(name, image)| {
                    let own = world.entry_points.iter().find(|(own, _)| own == name);
                    let own = own.map(|(_, words)| words.iter().map(|word| (*word).to_owned()));
                    ContainerDefinition::builder()
                        .name(*name)
                        .image(image)
                        .set_entry_point(own.map(Iterator::collect))
                        .build()
                });
                DescribeTaskDefinitionOutput::builder()
                    .task_definition(
                        TaskDefinition::builder()
                            .task_definition_arn(revision)
                            .family(name)
                            .set_container_definitions(Some(containers.collect()))
                            .set_runtime_platform(world.platform.clone())
                            .set_requires_compatibilities(Some(world.compatibilities.clone()))
                            .build(),
                    )
                    .build()
            });
        mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&services, &definitions])
    }

    /// Has one image, with the tag `v2`.
    fn ecr(&self) -> aws_sdk_ecr::Client {
        use aws_sdk_ecr::Client;
        let world = self.clone();
        let tags = mock!(Client::list_tags_for_resource).then_compute_output(move |request| {
            let repository = request
                .resource_arn()
                .unwrap()
                .strip_prefix("arn:aws:ecr:us-east-1:123456789012:repository/")
                .unwrap();
            let stacks = world
                .repositories
                .iter()
                .filter(|(name, _)| *name == repository)
                .map(|(_, stacks)| {
                    Tag::builder()
                        .key("bluegreen:stacks")
                        .value(*stacks)
                        .build()
                        .unwrap()
                });
            ListTagsForResourceOutput::builder()
                .set_tags(Some(stacks.collect()))
                .build()
        });
        let world = self.clone();
        let images = mock!(Client::batch_get_image).then_compute_output(move |request| {
            let mut answer = BatchGetImageOutput::builder();
            for id in request.image_ids() {
                let tagged = (id.image_tag() == Some("v2")).then_some(DIGEST);
                let digest = id.image_digest().or(tagged);
                let mut stored = world.manifests.iter();
                answer = match stored.find(|(stored, _)| digest == Some(*stored)) {
                    Some((digest, manifest)) => answer.images(
                        Image::builder()
                            .image_id(ImageIdentifier::builder().image_digest(*digest).build())
                            .image_manifest(manifest.to_string())
                            .build(),
                    ),
                    None => answer.failures(
                        ImageFailure::builder()
                            .image_id(id.clone())
                            .failure_code(ImageFailureCode::ImageNotFound)
                            .build(),
                    ),
                };
            }
            answer.build()
        });
        let configs = self.configs.clone();
        let has = move |digest: Option<&str>| configs.iter().any(|(own, _)| digest == Some(*own));
        let downloads = served(self.configs.clone());
        let address = mock!(Client::get_download_url_for_layer)
            .match_requests(move |request| has(request.layer_digest()))
            .then_compute_output(move |request| {
                let digest = request.layer_digest().unwrap();
                GetDownloadUrlForLayerOutput::builder()
                    .download_url(format!("{downloads}{digest}"))
                    .build()
            });
        let unknown = mock!(Client::get_download_url_for_layer).then_error(|| {
            GetDownloadUrlForLayerError::LayersNotFoundException(
                LayersNotFoundException::builder()
                    .meta(
                        aws_sdk_ecr::error::ErrorMetadata::builder()
                            .code("LayersNotFoundException")
                            .build(),
                    )
                    .build(),
            )
        });
        let rules = [&tags, &images, &address, &unknown];
        mock_client!(aws_sdk_ecr, RuleMode::MatchAny, &rules)
    }

    /// Every alarm that is asked about is in ALARM, of those that the world knows so.
    fn cloudwatch(&self) -> aws_sdk_cloudwatch::Client {
        use aws_sdk_cloudwatch::Client;
        let in_alarm = self.in_alarm.clone();
        let rule = mock!(Client::describe_alarms).then_compute_output(move |request| {
            let alarms = request
                .alarm_names()
                .iter()
                .filter(|name| in_alarm.contains(&name.as_str()))
                .map(|name| MetricAlarm::builder().alarm_name(name).build());
            DescribeAlarmsOutput::builder()
                .set_metric_alarms(Some(alarms.collect()))
                .build()
        });
        mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &[&rule])
    }

    /// Has the stack's turn, and the record of the release that serves.
    fn table(&self) -> Table {
        let record = self.serving.map(|(repository, digest)| {
            let texts = [
                ("item", RECORD),
                ("verdict", "succeeded"),
                ("repository", repository),
                ("digest", digest),
                ("tag", "v2"),
            ];
            texts.map(|(name, value)| (name, value.to_owned())).to_vec()
        });
        let turn = item("turn", Some(self.turn.clone()));
        let record = item(RECORD, record);
        let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, &[&turn, &record]);
        Table::new(client, "releases".to_owned())
    }

    fn sources(&self) -> Sources {
        Sources {
            cloudformation: self.cloudformation(),
            cloudwatch: self.cloudwatch(),
            ecr: self.ecr(),
            ecs: self.ecs(),
            table: self.table(),
            web: Web::new().unwrap(),
            defaults: DEFAULTS,
        }
    }

    /// Plans before the turn is asked for.
    async fn plan(&self, request: Value) -> Result<Plan, Failure> {
        handle(&self.sources(), event(request)).await
    }

    async fn refusal(&self, request: Value) -> Diagnostic {
        refusal(&self.sources(), request).await
    }

    /// Plans before the turn is asked for, and then with the turn in hand.
    async fn plan_in_turn(&self, request: Value) -> Result<Plan, Failure> {
        let before = self.plan(request.clone()).await?;
        handle(&self.sources(), event_in_turn(request, &before, taken())).await
    }

    fn all_run(mut self, image: &str) -> Self {
        for (_, containers) in &mut self.services {
            for (_, current) in containers {
                if current.starts_with(REGISTRY) {
                    *current = image.to_owned();
                }
            }
        }
        self
    }
}

/// Key of the record of the release that serves.
const RECORD: &str = "release#2026-01-01T00:00:00.000Z#demo-v2-0";

/// An item of the table, which has no numbers.
fn item(key: &'static str, attributes: Option<Vec<(&'static str, String)>>) -> Rule {
    mock!(aws_sdk_dynamodb::Client::get_item)
        .match_requests(move |request| {
            let asked = request.key().unwrap();
            asked["stack"] == AttributeValue::S("demo".to_owned())
                && asked["item"] == AttributeValue::S(key.to_owned())
                && request.consistent_read() == Some(true)
        })
        .then_output(move || {
            let texts = attributes.clone().map(|attributes| {
                let texts = attributes.into_iter();
                texts
                    .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
                    .collect()
            });
            GetItemOutput::builder().set_item(texts).build()
        })
}

fn event(request: Value) -> Value {
    json!({
        "request": request, "startedAt": START, "turn": null, "plan": null,
        "execution": {"id": EXECUTION, "redrives": 0}
    })
}

fn event_in_turn(request: Value, before: &Plan, turn: Value) -> Value {
    let mut event = event(request);
    event["turn"] = turn;
    event["plan"] = json!(before);
    event
}

fn taken() -> Value {
    json!({"taken": true, "supersededBy": null, "at": 7, "touched": false})
}

async fn refusal(sources: &Sources, request: Value) -> Diagnostic {
    diagnostic(handle(sources, event(request)).await.unwrap_err())
}

fn by_tag() -> Value {
    json!({"stack": "demo", "tag": "v2"})
}

#[tokio::test]
async fn a_tag_is_planned_as_a_digest_for_all_services_of_the_repository() {
    let amd64 = json!({"os": "linux", "architecture": "amd64"});
    let plan = world().plan(by_tag()).await.unwrap();
    assert_eq!(
        serde_json::to_value(plan).unwrap(),
        json!({
            "action": "migrate",
            "reason": format!("2 of 2 services of stack demo do not run {} yet.", pinned()),
            "release": {
                "stack": "demo", "action": "deploy", "repository": "demo", "tag": "v2",
                "digest": DIGEST, "image": pinned(), "imagesBefore": [image("demo:v1")], "commit": null, "commitUrl": null,
                "record": format!("release#{START}#demo-v2-1"),
                "order": format!("2026-01-31T12:00:05#{START}"),
                "startedAt": START, "pushedAt": null, "startedBy": "a person",
                "to": null, "alarm": null, "force": false, "ignoreAlarms": false
            },
            "ending": null,
            "imageParameters": {"demo": "/bluegreen/demo/image"},
            "services": [
                {"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/demo", "service": arn("web"),
                 "taskDefinition": "web:1", "containers": ["web"]},
                {"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/demo", "service": arn("worker"),
                 "taskDefinition": "worker:1", "containers": ["worker"]}
            ],
            "migration": {
                "purpose": "migration",
                "cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/demo", "service": arn("web"),
                "taskDefinition": "web:1", "container": "web", "command": ["websvc", "migrate"],
                "line": ["tini", "--", "websvc", "migrate"], "size": {"cpu": null, "memory": null},
                "timeoutSeconds": 1800
            },
            "migrations": null, "postDeploy": null, "alarms": [], "healthCheckUrl": null,
            "limits": {
                "migrationSeconds": 1800, "deploymentSeconds": 3600, "rollbackWindowSeconds": 600,
                "targetHealthMinutes": 10
            },
            "update": null,
            "revisions": [
                {"taskDefinition": "cache:1", "containers": [{"name": "redis", "image": "redis:7"}], "platform": amd64},
                {"taskDefinition": "web:1", "containers": [
                    {"name": "proxy", "image": "public.ecr.aws/nginx/nginx:1"},
                    {"name": "web", "image": image("demo:v1")}
                ], "platform": amd64},
                {"taskDefinition": "worker:1", "containers": [{"name": "worker", "image": image("demo:v1")}], "platform": amd64}
            ],
            "imageConfigs": [
                {"platform": amd64, "entryPoint": ["tini", "--"], "commit": null, "source": null, "migrations": null}
            ]
        })
    );
}

/// The words that take the place of the container's command, and all that run.
async fn words(world: &World) -> (Vec<String>, Vec<String>) {
    let plan = world.plan(by_tag()).await.unwrap();
    let migration = plan.migration.unwrap();
    (migration.command, migration.line)
}

#[tokio::test]
async fn the_migration_runs_behind_the_entry_point_of_the_image() {
    let mut world = world();
    world.configs = vec![(CONFIG, config("amd64", &["/bin/ash", "-c"]))];
    let (command, line) = words(&world).await;
    assert_eq!(command, ["websvc migrate"]);
    assert_eq!(line, ["/bin/ash", "-c", "websvc migrate"]);
}

#[tokio::test]
async fn an_entry_point_of_the_task_definition_takes_the_place_of_the_images() {
    let mut world = world();
    world.entry_points = vec![("web", vec!["sh", "-c"])];
    let (command, line) = words(&world).await;
    assert_eq!(command, ["websvc migrate"]);
    assert_eq!(line, ["sh", "-c", "websvc migrate"]);

    world.configs = vec![(CONFIG, config("amd64", &["sh", "-c"]))];
    world.entry_points = vec![("web", vec!["tini", "--"])];
    let (command, _) = words(&world).await;
    assert_eq!(command, ["websvc", "migrate"]);
}

#[tokio::test]
async fn a_command_that_the_entry_point_would_not_run_is_refused() {
    let mut world = world();
    world.configs = vec![(CONFIG, config("amd64", &["/bin/sh", "-c", "exec puma"]))];
    for output in ["MigrationCommand", "PostDeployCommand"] {
        world.outputs = vec![(output, r#"["websvc","migrate"]"#)];
        let failure = world.refusal(by_tag()).await;
        assert_eq!(failure.error_type, "EntryPointIgnoresCommand");
        for told in [
            "`websvc migrate`",
            "`/bin/sh -c 'exec puma'`",
            "`exec puma`",
            "container web",
        ] {
            assert!(failure.error_message.contains(told), "{failure:?}");
        }
    }
    // Nothing is to run.
    world.outputs = vec![];
    assert_eq!(world.plan(by_tag()).await.unwrap().action, Action::Deploy);
}

#[tokio::test]
async fn a_migration_may_have_a_size_of_its_own() {
    let mut world = world();
    let sizes = [("MigrationCpu", "2048"), ("MigrationMemory", "8192")];
    world.outputs = [
        &[COMMAND, ("PostDeployCommand", r#"["warm-up"]"#)],
        &sizes[..],
    ]
    .concat();
    let plan = world.plan(by_tag()).await.unwrap();
    let size = plan.migration.unwrap().size;
    assert_eq!((size.cpu, size.memory), (Some(2048), Some(8192)));
    let size = plan.post_deploy.unwrap().size;
    assert_eq!((size.cpu, size.memory), (None, None));

    world.outputs = vec![COMMAND, ("MigrationMemory", "8 GB")];
    let failure = world.refusal(by_tag()).await;
    assert_eq!(failure.error_type, "InvalidStackOutput");
    assert!(
        failure
            .error_message
            .contains("`8 GB` is not a number of MiB"),
        "{failure:?}"
    );
}

/// For amd64 and arm64, with entry points of their own, and an attestation.
fn index() -> World {
    let manifest_of = |digest: &str, os: &str, architecture: &str| json!({"digest": digest, "platform": {"os": os, "architecture": architecture, "variant": "v8"}});
    World {
        manifests: vec![
            (
                DIGEST,
                json!({"manifests": [
                    manifest_of("sha256:a0", "unknown", "unknown"),
                    manifest_of("sha256:a1", "linux", "amd64"),
                    manifest_of("sha256:a2", "linux", "arm64"),
                ]}),
            ),
            ("sha256:a1", manifest("sha256:c1")),
            ("sha256:a2", manifest("sha256:c2")),
        ],
        configs: vec![
            ("sha256:c1", config("amd64", &["amd64"])),
            ("sha256:c2", config("arm64", &["arm64"])),
        ],
        ..world()
    }
}

fn runs_on(architecture: &str) -> Option<RuntimePlatform> {
    let platform = RuntimePlatform::builder().cpu_architecture(architecture.into());
    Some(platform.operating_system_family("LINUX".into()).build())
}

#[tokio::test]
async fn of_an_index_the_image_is_looked_at_that_the_tasks_run() {
    for (platform, compatibility, entry_point) in [
        (runs_on("ARM64"), Compatibility::Fargate, "arm64"),
        (runs_on("X86_64"), Compatibility::Fargate, "amd64"),
        (None, Compatibility::Fargate, "amd64"),
        // Whatever the instances are.
        (None, Compatibility::Ec2, "amd64"),
        (runs_on("ARM64"), Compatibility::Ec2, "arm64"),
    ] {
        let mut world = index();
        (world.platform, world.compatibilities) = (platform, vec![compatibility]);
        let (_, line) = words(&world).await;
        assert_eq!(line[0], entry_point);
    }
}

#[tokio::test]
async fn an_image_for_another_platform_is_refused_before_anything_is_touched() {
    let mut single = world();
    single.platform = runs_on("ARM64");
    let mut windows = index();
    windows.platform = Some(
        RuntimePlatform::builder()
            .cpu_architecture("X86_64".into())
            .operating_system_family("WINDOWS_SERVER_2022_CORE".into())
            .build(),
    );
    for (world, built_for, wanted) in [
        (single, "linux/amd64", "linux/arm64"),
        (windows, "linux/amd64, linux/arm64", "windows/amd64"),
    ] {
        let failure = world.refusal(by_tag()).await;
        assert_eq!(failure.error_type, "ImagePlatformMismatch");
        let told = format!("is built for {built_for}, but the services run on {wanted}");
        assert!(failure.error_message.contains(&told), "{failure:?}");
    }
    // Instances of any kind may run it.
    let mut instances = world();
    instances.configs = vec![(CONFIG, config("arm64", &[]))];
    instances.compatibilities = vec![Compatibility::Ec2];
    assert!(instances.plan(by_tag()).await.is_ok());
}

#[tokio::test]
async fn an_image_of_which_a_part_is_missing_is_refused() {
    let changed = |change: fn(&mut World)| {
        let mut world = index();
        change(&mut world);
        world
    };
    for (world, told) in [
        (
            changed(|world| drop(world.manifests.remove(1))),
            "does not have sha256:a1",
        ),
        (
            changed(|world| world.configs.clear()),
            "does not have sha256:c1",
        ),
        (
            changed(|world| world.manifests[1].1["layers"] = json!([])),
            "sha256:a1 has no layers",
        ),
        (
            changed(|world| world.manifests[0].1 = json!({"blobs": []})),
            "has no layers",
        ),
        (
            changed(|world| world.configs[0].1 = json!({"os": "linux"})),
            "architecture",
        ),
        (
            changed(|world| world.configs[0].1["config"]["Entrypoint"] = json!(["x".repeat(9000)])),
            "more than 8192 bytes",
        ),
    ] {
        let failure = world.refusal(by_tag()).await;
        assert_eq!(failure.error_type, "ImageUnusable", "{failure:?}");
        assert!(failure.error_message.contains(told), "{failure:?}");
    }
}

#[tokio::test]
async fn the_commit_that_an_image_was_built_from_is_the_releases() {
    for (source, url) in [
        (
            "https://github.com/acme/shop.git",
            "https://github.com/acme/shop/commit/0a1b2c",
        ),
        (
            "https://gitlab.acme.example/shop/",
            "https://gitlab.acme.example/shop/-/commit/0a1b2c",
        ),
        (
            "https://git.acme.example/shop",
            "https://git.acme.example/shop",
        ),
    ] {
        let mut world = world();
        world.configs[0].1["config"]["Labels"] = json!({
            "org.opencontainers.image.revision": "0a1b2c", "org.opencontainers.image.source": source
        });
        let release = world.plan(by_tag()).await.unwrap().release;
        assert_eq!(release.commit.as_deref(), Some("0a1b2c"));
        assert_eq!(release.commit_url.as_deref(), Some(url));
    }
    for labels in [
        json!(null),
        json!({"org.opencontainers.image.source": "git@github.com:acme/shop"}),
        json!({"org.opencontainers.image.revision": "\u{1b}[2J"}),
        json!({"org.opencontainers.image.revision": "0".repeat(300)}),
    ] {
        let mut world = world();
        world.configs[0].1["config"]["Labels"] = labels;
        let release = world.plan(by_tag()).await.unwrap().release;
        assert_eq!((release.commit, release.commit_url), (None, None));
    }
}

fn with_migrations(fingerprint: &str) -> World {
    let mut world = world();
    world.configs[0].1["config"]["Labels"] = json!({"bluegreen.migrations": fingerprint});
    world
}

#[tokio::test]
async fn an_image_says_which_migrations_it_has_where_the_stack_has_a_migration() {
    let fingerprint = async |world: &World, request: Value| {
        let plan = world.plan(request).await.unwrap();
        plan.migrations.map(|migrations| migrations.fingerprint)
    };
    let mut world = with_migrations("0a1b");
    let known = fingerprint(&world, by_tag()).await;
    assert_eq!(known.as_deref(), Some("0a1b"));
    let without = json!({"stack": "demo", "tag": "v2", "migrate": false});
    assert_eq!(fingerprint(&world, without).await, None);
    world.outputs = vec![];
    assert_eq!(fingerprint(&world, by_tag()).await, None);
    // As a build writes it that has found no file.
    assert_eq!(fingerprint(&with_migrations(""), by_tag()).await, None);
}

#[tokio::test]
async fn in_the_turn_a_migration_is_left_out_that_the_release_before_has_run() {
    let mut world = with_migrations("0a1b");
    let migrated = json!({
        "release": "demo-v1", "repository": "demo", "fingerprint": "0a1b",
        "service": arn("web"), "container": "web", "line": ["tini", "--", "websvc", "migrate"]
    });
    world.turn = vec![("migrated", migrated.to_string())];

    let plan = world.plan_in_turn(by_tag()).await.unwrap();
    assert_eq!((plan.action, plan.migration), (Action::Deploy, None));
    assert!(plan.reason.contains("demo-v1"), "{}", plan.reason);

    let asked = json!({"stack": "demo", "tag": "v2", "migrate": true});
    let plan = world.plan_in_turn(asked).await.unwrap();
    assert_eq!(plan.action, Action::Migrate);
    assert_eq!(plan.migrations.unwrap().same_as, None);
}

#[tokio::test]
async fn what_the_plan_before_knows_of_the_image_is_not_got_again() {
    let before = world().plan(by_tag()).await.unwrap();
    let mut gone = world();
    gone.configs.clear();
    let event = event_in_turn(by_tag(), &before, taken());
    let again = handle(&gone.sources(), event).await.unwrap();
    assert_eq!(again.migration, before.migration);
    assert!(again.image_configs.is_empty());
}

#[tokio::test]
async fn of_revisions_that_the_plan_before_knows_ecs_is_not_asked_again() {
    let mut before = world().plan(by_tag()).await.unwrap();
    // If they were asked for, they would have the image.
    let sources = world().all_run(&pinned()).sources();
    let event = event_in_turn(by_tag(), &before, taken());
    let again = handle(&sources, event).await.unwrap();
    assert_eq!(again.action, Action::Migrate);
    assert!(again.revisions.is_empty());

    let known = |known: &Revision| known.task_definition != "worker:1";
    before.revisions.retain(known);
    let event = event_in_turn(by_tag(), &before, taken());
    let again = handle(&sources, event).await.unwrap();
    assert!(again.reason.starts_with("1 of 2 services"), "{again:?}");
}

#[tokio::test]
async fn a_tag_that_moves_on_while_a_release_waits_is_the_image_that_it_was() {
    let mut before = world().plan(by_tag()).await.unwrap();
    before.release.digest = Some(format!("sha256:{}", "3".repeat(64)));
    let event = event_in_turn(by_tag(), &before, taken());
    let failure = diagnostic(handle(&world().sources(), event).await.unwrap_err());
    assert_eq!(failure.error_type, "ImageNotFound");
}

#[tokio::test]
async fn without_the_turn_a_release_ends_as_it_is_and_nothing_is_asked_of_aws() {
    let superseded =
        json!({"taken": false, "supersededBy": "arn:newer", "at": 7, "touched": false});
    let before = world().plan(by_tag()).await.unwrap();
    let event = event_in_turn(by_tag(), &before, superseded);
    let plan = handle(&unasked(), event).await.unwrap();
    assert_eq!(plan.release, before.release);
    assert_eq!(plan.action, Action::End);
    let by = Some("arn:newer".to_owned());
    assert_eq!(plan.ending, Some(Ending::Superseded { by }));

    let alarm = on_alarm("disk");
    let before = world().plan(alarm.clone()).await.unwrap();
    let none = json!({"taken": false, "at": 7});
    let event = event_in_turn(alarm, &before, none);
    let plan = handle(&unasked(), event).await.unwrap();
    assert_eq!(plan.action, Action::End);
    assert_eq!(plan.ending, before.ending);
}

fn on_alarm(name: &str) -> Value {
    let alarm = json!({"name": name, "at": "2026-01-31T12:00:00Z"});
    json!({"stack": "demo", "action": "rollback", "alarm": alarm})
}

fn no_reason(plan: Plan) -> AlarmIsNoReason {
    assert_eq!(plan.action, Action::End);
    match plan.ending {
        Some(Ending::NothingToRollBack { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_alarm_that_guards_no_deployment_ends_before_it_asks_for_the_turn() {
    let mut world = world();
    world.alarms = vec![("web", vec!["errors"], true)];
    let plan = world.plan(on_alarm("disk")).await.unwrap();
    assert_eq!(no_reason(plan), AlarmIsNoReason::GuardsNoDeployment);
    let plan = world.plan(on_alarm("errors")).await.unwrap();
    assert_eq!((plan.action, plan.ending), (Action::Rollback, None));
}

#[tokio::test]
async fn the_alarm_of_a_stack_that_is_not_deployed_to_is_none_of_the_pipelines_business() {
    let unlinked = World {
        repositories: vec![],
        ..world()
    };
    let foreign = World {
        controller: DeploymentControllerType::CodeDeploy,
        ..world()
    };
    let empty = World {
        services: vec![],
        ..world()
    };
    let express = World {
        services: vec![],
        has_express_service: true,
        ..world()
    };
    for (world, said) in [
        (unlinked, "bluegreen:stacks"),
        (foreign, "CODE_DEPLOY"),
        (empty, "No ECS service"),
        (express, "Express Mode"),
    ] {
        for plan in [
            world.plan(on_alarm("errors")).await.unwrap(),
            world.plan_in_turn(on_alarm("errors")).await.unwrap(),
        ] {
            match no_reason(plan) {
                AlarmIsNoReason::NotDeployedTo(why) => assert!(why.contains(said), "{why}"),
                other => panic!("{other:?}"),
            }
        }
        // A person has to hear of it.
        let rollback = json!({"stack": "demo", "action": "rollback"});
        assert!(world.plan(rollback).await.is_err());
    }
}

#[tokio::test]
async fn an_alarm_in_alarm_refuses_the_deployment_unless_alarms_are_to_be_ignored() {
    let mut world = world();
    world.alarms = vec![("web", vec!["errors", "latency", "queue"], true)];
    world.in_alarm = vec!["queue", "errors"];
    let failure = diagnostic(world.plan_in_turn(by_tag()).await.unwrap_err());
    assert_eq!(failure.error_type, "AlarmsInAlarm");
    assert_eq!(
        failure.error_message,
        "Before the deployment these alarms of stack demo are in ALARM: errors, queue. ECS would ignore all alarms during the deployment. See to them, or give \"ignoreAlarms\": true in the input."
    );

    let ignoring = json!({"stack": "demo", "tag": "v2", "ignoreAlarms": true});
    let plan = world.plan_in_turn(ignoring).await.unwrap();
    assert_eq!(plan.action, Action::Migrate);
    assert!(plan.alarms.is_empty() && plan.release.ignore_alarms);

    // What changes no service needs no quiet alarms.
    let rollback = json!({"stack": "demo", "action": "rollback"});
    let plan = world.plan_in_turn(rollback).await.unwrap();
    assert_eq!(plan.action, Action::Rollback);
    world.turn = vec![("verified:demo", "sha256:1".to_owned())];
    let plan = world
        .all_run(&pinned())
        .plan_in_turn(by_tag())
        .await
        .unwrap();
    assert_eq!(plan.action, Action::Verify);
}

#[tokio::test]
async fn what_runs_already_is_verified_as_if_it_had_been_updated_now() {
    let mut world = world().all_run(&pinned());
    world.turn = vec![("verified:demo", "sha256:1".to_owned())];
    let began = now();
    let plan = world.plan_in_turn(by_tag()).await.unwrap();
    let update = plan.update.unwrap();
    assert!(update.at >= began);
    assert_eq!((update.deadline - update.at, update.tries), (3_600_000, 1));
    for (updated, planned) in update.services.iter().zip(&plan.services) {
        assert_eq!(updated.service, planned.service);
        assert_eq!(updated.task_definition, planned.task_definition);
        assert_eq!(updated.previous_task_definition, planned.task_definition);
    }
    assert_eq!(update.services.len(), 2);
}

#[tokio::test]
async fn what_runs_already_and_was_found_healthy_is_only_recorded() {
    let mut world = world().all_run(&pinned());
    world.turn = vec![("verified:demo", DIGEST.to_owned())];
    let plan = world.plan_in_turn(by_tag()).await.unwrap();
    assert_eq!(plan.action, Action::Record);
    assert_eq!(plan.ending, Some(Ending::NothingToDeploy));
    assert_eq!(plan.update, None);
}

#[tokio::test]
async fn what_an_earlier_release_left_comes_to_rest_first_and_the_revisions_stay_known() {
    let mut world = world();
    world.turn = vec![("unsettled", "arn:dead".to_owned())];
    let plan = world.plan_in_turn(by_tag()).await.unwrap();
    assert_eq!(plan.action, Action::Settle);
    assert_eq!(plan.revisions.len(), 3);
}

#[tokio::test]
async fn a_push_that_came_too_late_is_stale() {
    let mut world = world();
    world.turn = vec![("deployed:demo", "2026-02-01T00:00:00#".to_owned())];
    let plan = world.plan_in_turn(by_tag()).await.unwrap();
    assert_eq!(plan.action, Action::End);
    assert_eq!(plan.ending, Some(Ending::Stale));
}

#[tokio::test]
async fn a_rollback_is_planned_for_the_services_as_they_are_now() {
    let amd64 = json!({"os": "linux", "architecture": "amd64"});
    let mut world = world().all_run(&pinned());
    world.outputs.push(("PostDeployCommand", r#"["warm-up"]"#));
    world
        .outputs
        .push(("HealthCheckUrl", "https://demo.example.com/health"));
    world.outputs.push(("RollbackWindowSeconds", "900"));
    world.alarms = vec![("web", vec!["demo-5xx"], true)];
    // Both repositories name the stack: a rollback goes back from both.
    world
        .services
        .push(("tools", vec![("tools", image("tools:v1"))]));
    world.repositories.push(("tools", "demo"));
    let plan = world
        .plan(json!({"stack": "demo", "action": "rollback"}))
        .await
        .unwrap();
    assert_eq!(
        serde_json::to_value(plan).unwrap(),
        json!({
            "action": "rollback",
            "reason": "Stack demo is to go back to an earlier release.",
            "release": {
                "stack": "demo", "action": "rollback", "repository": null, "tag": null,
                "digest": null, "image": null,
                "imagesBefore": [pinned(), image("tools:v1")], "commit": null, "commitUrl": null,
                "record": format!("release#{START}#demo-v2-1"),
                "order": format!("2026-01-31T12:00:05#{START}"),
                "startedAt": START, "pushedAt": null, "startedBy": "a person",
                "to": null, "alarm": null, "force": false, "ignoreAlarms": false
            },
            "ending": null,
            "imageParameters": {"demo": "/bluegreen/demo/image"},
            "services": [
                {"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/demo", "service": arn("tools"),
                 "taskDefinition": "tools:1", "containers": ["tools"]},
                {"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/demo", "service": arn("web"),
                 "taskDefinition": "web:1", "containers": ["web"]},
                {"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/demo", "service": arn("worker"),
                 "taskDefinition": "worker:1", "containers": ["worker"]}
            ],
            "migration": null, "migrations": null, "postDeploy": null, "alarms": ["demo-5xx"],
            "healthCheckUrl": "https://demo.example.com/health",
            "limits": {
                "migrationSeconds": 1800, "deploymentSeconds": 3600, "rollbackWindowSeconds": 900,
                "targetHealthMinutes": 10
            },
            "update": null,
            "revisions": [
                {"taskDefinition": "cache:1", "containers": [{"name": "redis", "image": "redis:7"}], "platform": amd64},
                {"taskDefinition": "tools:1", "containers": [{"name": "tools", "image": image("tools:v1")}], "platform": amd64},
                {"taskDefinition": "web:1", "containers": [
                    {"name": "proxy", "image": "public.ecr.aws/nginx/nginx:1"},
                    {"name": "web", "image": pinned()}
                ], "platform": amd64},
                {"taskDefinition": "worker:1", "containers": [{"name": "worker", "image": pinned()}], "platform": amd64}
            ],
            "imageConfigs": []
        })
    );
}

#[tokio::test]
async fn a_rollback_needs_no_command_but_a_repository_that_names_the_stack() {
    let rollback = json!({"stack": "demo", "action": "rollback"});
    let mut world = world();
    world.outputs = vec![("MigrationCommand", "not JSON")];
    assert!(world.plan(rollback.clone()).await.is_ok());

    world.outputs = vec![];
    world.status = StackStatus::UpdateRollbackFailed;
    assert!(world.plan(rollback.clone()).await.is_ok());

    world.repositories = vec![];
    let failure = world.refusal(rollback).await;
    assert_eq!(failure.error_type, "RepositoryNotLinked");
}

#[tokio::test]
async fn what_runs_after_the_deployment_is_an_output_of_the_stack() {
    let mut world = world();
    world
        .outputs
        .push(("PostDeployCommand", r#"["websvc", "warm-up"]"#));
    let after = world.plan(by_tag()).await.unwrap().post_deploy.unwrap();
    assert_eq!(after.container, "web");
    assert_eq!(after.command, ["websvc", "warm-up"]);

    let without_migration = json!({"stack": "demo", "tag": "v2", "migrate": false});
    let plan = world.plan(without_migration).await.unwrap();
    assert!(plan.migration.is_none() && plan.post_deploy.is_some());

    let plan = world.all_run(&pinned()).plan(by_tag()).await.unwrap();
    assert!(plan.migration.is_none() && plan.post_deploy.is_some());
}

/// The contract command of the release that serves, `demo:v2`.
mod a_contract_command {
    use super::*;

    const CONTRACT: (&str, &str) = ("ContractCommand", r#"["websvc", "contract"]"#);

    fn asked() -> Value {
        json!({"stack": "demo", "action": "contract"})
    }

    /// Every service runs version 2, whose window is over.
    fn serving() -> World {
        let mut world = world().all_run(&pinned());
        world.outputs.push(CONTRACT);
        world.serving = Some(("demo", DIGEST));
        let due = json!({"release": RECORD, "at": 7});
        world.turn = vec![("contractDue:demo", due.to_string())];
        world
    }

    fn why(plan: Plan) -> NotContracted {
        assert_eq!(plan.action, Action::End);
        match plan.ending {
            Some(Ending::NothingToContract { why }) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn is_planned_for_the_release_that_serves() {
        let plan = serving().plan_in_turn(asked()).await.unwrap();
        assert_eq!((plan.action, &plan.ending), (Action::Contract, &None));
        let command = plan.contract.unwrap();
        assert_eq!(command.purpose, bluegreen_contract::Purpose::Contract);
        assert_eq!(command.line, ["tini", "--", "websvc", "contract"]);
        assert_eq!((plan.migration, plan.post_deploy), (None, None));
        let release = plan.release;
        assert_eq!(release.contracts.as_deref(), Some(RECORD));
        assert_eq!(release.tag.as_deref(), Some("v2"));
        assert_eq!(release.image, Some(pinned()));
    }

    #[tokio::test]
    async fn is_known_with_the_release_whose_it_is() {
        let mut world = world();
        world.outputs.push(CONTRACT);
        assert!(world.plan(by_tag()).await.unwrap().contract.is_some());
        world.outputs.push(("ContractTimeoutSeconds", "7"));
        let command = world.plan(by_tag()).await.unwrap().contract.unwrap();
        assert_eq!(command.timeout_seconds, 7);
        world.outputs = vec![("ContractCommand", "contract")];
        let failure = world.refusal(by_tag()).await;
        assert_eq!(failure.error_type, "InvalidStackOutput");
    }

    #[tokio::test]
    async fn is_that_of_the_current_release_where_none_is_due() {
        let mut world = serving();
        world.turn = vec![("currentRecord", RECORD.to_owned())];
        let plan = world.plan_in_turn(asked()).await.unwrap();
        assert_eq!(plan.action, Action::Contract);
    }

    #[tokio::test]
    async fn does_not_run_where_the_stack_has_none_or_runs_something_else() {
        let mut without = serving();
        without.outputs.pop();
        let plan = without.plan(asked()).await.unwrap();
        assert_eq!(why(plan), NotContracted::NoCommand);

        let mut other = serving().all_run(&image("demo:v1"));
        other.serving = Some(("demo", DIGEST));
        let NotContracted::NotServing(sentence) = why(other.plan(asked()).await.unwrap()) else {
            panic!("the services run version 1");
        };
        assert!(sentence.contains("2 of 2 services"), "{sentence}");
    }

    #[tokio::test]
    async fn does_not_run_where_no_release_of_the_repository_serves() {
        let mut nobody = serving();
        nobody.turn = vec![];
        let plan = nobody.plan(asked()).await.unwrap();
        assert_eq!(why(plan), NotContracted::NoRelease);

        let mut forgotten = serving();
        forgotten.serving = None;
        let plan = forgotten.plan(asked()).await.unwrap();
        assert_eq!(why(plan), NotContracted::NoRelease);

        let mut of_another = serving();
        of_another.turn = vec![("currentRecord", RECORD.to_owned())];
        let asked = json!({"stack": "demo", "action": "contract", "repository": "worker"});
        let plan = of_another.plan(asked).await.unwrap();
        assert_eq!(why(plan), NotContracted::NoRelease);
    }

    #[tokio::test]
    async fn waits_for_alarms_unless_they_are_to_be_ignored() {
        let mut world = serving();
        world.alarms = vec![("web", vec!["demo-5xx"], true)];
        world.in_alarm = vec!["demo-5xx"];
        let plan = world.plan_in_turn(asked()).await.unwrap();
        assert_eq!(
            why(plan),
            NotContracted::InAlarm(vec!["demo-5xx".to_owned()])
        );

        let all_the_same = json!({"stack": "demo", "action": "contract", "ignoreAlarms": true});
        let plan = world.plan_in_turn(all_the_same).await.unwrap();
        assert_eq!(plan.action, Action::Contract);
    }
}

#[tokio::test]
async fn the_alarms_are_those_that_ecs_heeds_in_the_services_of_the_unit() {
    let mut world = world();
    world.alarms = vec![
        ("worker", vec!["queue-age", "demo-5xx"], true),
        ("web", vec!["latency", "demo-5xx"], true),
        ("cache", vec!["of-another-repository"], true),
    ];
    let plan = world.plan(by_tag()).await.unwrap();
    assert_eq!(plan.alarms, ["demo-5xx", "latency", "queue-age"]);

    world.alarms = vec![("web", vec!["latency"], false)];
    assert!(world.plan(by_tag()).await.unwrap().alarms.is_empty());
}

#[tokio::test]
async fn only_a_parameter_of_ours_that_holds_an_image_of_the_release_is_planned_to_be_written() {
    let foreign = image("demo:v1").replace("us-east-1", "eu-west-1");
    let mut world = world();
    world.parameters = vec![
        ("/bluegreen/demo/not-resolved", None),
        ("/shared/demo/image", Some(image("demo:v1"))),
        ("/bluegreen/demo/tools", Some(image("tools:v1"))),
        ("/bluegreen/demo/subnets", Some("subnet-1".to_owned())),
        ("/bluegreen/demo/foreign", Some(foreign)),
    ];
    let none = world.plan(by_tag()).await.unwrap().image_parameters;
    assert!(none.is_empty(), "{none:?}");

    world
        .parameters
        .push(("/bluegreen/demo/image", Some(pinned())));
    let found = world.plan(by_tag()).await.unwrap().image_parameters;
    assert_eq!(found["demo"], "/bluegreen/demo/image");
    assert_eq!(found.len(), 1);
}

/// Staging must not say what production's next update deploys.
#[tokio::test]
async fn a_parameter_of_another_stack_is_not_written_and_is_told_of() {
    let mut world = world();
    for name in [
        "/bluegreen/shop/image",
        "/bluegreen/demo-production/image",
        "/bluegreen/demo",
        "/bluegreen/image",
    ] {
        world.parameters = vec![(name, Some(image("demo:v1")))];
        let plan = world.plan(by_tag()).await.unwrap();
        assert!(plan.image_parameters.is_empty(), "{name}");
        let [note] = &plan.notes[..] else {
            panic!("{:?}", plan.notes);
        };
        for part in [name, "/bluegreen/demo/image"] {
            assert!(note.contains(part), "{note}");
        }
        let rollback = json!({"stack": "demo", "action": "rollback"});
        let plan = world.plan(rollback).await.unwrap();
        assert!(plan.image_parameters.is_empty(), "{name}");
    }
    world.parameters = vec![("/bluegreen/demo/image", Some(image("demo:v1")))];
    assert!(world.plan(by_tag()).await.unwrap().notes.is_empty());
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>
#[tokio::test]
async fn rolling_services_without_a_circuit_breaker_are_told_of() {
    let mut world = world();
    world.circuit_breaker = None;
    let notes = world.plan(by_tag()).await.unwrap().notes;
    let [note] = &notes[..] else {
        panic!("{notes:?}");
    };
    for part in [
        "service/demo/web",
        "service/demo/worker",
        "3600 seconds",
        "circuit breaker",
    ] {
        assert!(note.contains(part), "{note}");
    }
    assert!(!note.contains("cache"), "{note}");
    world.strategy = Some(DeploymentStrategy::BlueGreen);
    assert!(world.plan(by_tag()).await.unwrap().notes.is_empty());
    world.circuit_breaker = Some(false);
    world.strategy = Some(DeploymentStrategy::Rolling);
    assert_eq!(world.plan(by_tag()).await.unwrap().notes.len(), 1);
}

#[tokio::test]
async fn a_rollback_plans_the_parameter_of_every_repository_that_it_may_go_back_in() {
    let mut world = world();
    world
        .services
        .push(("tools", vec![("tools", image("tools:v1"))]));
    world.repositories.push(("tools", "demo"));
    world
        .parameters
        .push(("/bluegreen/demo/tools", Some(image("tools:v1"))));
    let rollback = json!({"stack": "demo", "action": "rollback"});
    let planned = world.plan(rollback).await.unwrap().image_parameters;
    assert_eq!(
        serde_json::to_value(planned).unwrap(),
        json!({"demo": "/bluegreen/demo/image", "tools": "/bluegreen/demo/tools"})
    );
}

#[tokio::test]
async fn a_digest_is_planned_as_it_is() {
    let event = json!({"stack": "demo", "tag": "moved-on", "digest": DIGEST, "repository": "demo"});
    let plan = world().plan(event).await.unwrap();
    assert_eq!(plan.release.image, Some(pinned()));
    assert_eq!(plan.release.tag.as_deref(), Some("moved-on"));
}

#[tokio::test]
async fn nothing_is_to_be_deployed_when_every_service_runs_the_digest() {
    let plan = world().all_run(&pinned()).plan(by_tag()).await.unwrap();
    assert_eq!(plan.action, Action::Verify);
    assert_eq!(plan.migration, None);
    assert_eq!(plan.services.len(), 2);
}

#[tokio::test]
async fn a_deployment_that_is_not_complete_is_not_running() {
    let mut world = world().all_run(&pinned());
    world.rollout = DeploymentRolloutState::Failed;
    let plan = world.plan(by_tag()).await.unwrap();
    assert_eq!(plan.action, Action::Migrate);
}

/// ECS calls a deployment SUCCESSFUL and leaves the tasks of the revision before for up to two weeks
/// (<https://github.com/kayac/ecspresso/issues/1083>).
#[tokio::test]
async fn a_service_whose_clean_up_is_deferred_runs_its_image() {
    for (deferred, action) in [(true, Action::Verify), (false, Action::Migrate)] {
        let mut world = world().all_run(&pinned());
        world.old_tasks = Some(deferred);
        assert_eq!(world.plan(by_tag()).await.unwrap().action, action);
    }
}

#[tokio::test]
async fn a_tag_in_a_task_definition_is_never_the_digest() {
    let plan = world()
        .all_run(&image("demo:v2"))
        .plan(by_tag())
        .await
        .unwrap();
    assert_eq!(plan.action, Action::Migrate);
}

#[tokio::test]
async fn an_explicit_migrate_migrates_an_image_that_already_runs() {
    let event = json!({"stack": "demo", "tag": "v2", "migrate": true});
    let mut world = world().all_run(&pinned());
    let plan = world.plan(event.clone()).await.unwrap();
    assert_eq!(plan.action, Action::Migrate);
    assert!(plan.migration.is_some());

    world.outputs = vec![];
    assert_eq!(world.plan(event).await.unwrap().action, Action::Verify);
}

#[tokio::test]
async fn no_migration_is_planned_where_none_is_asked_for() {
    let without = json!({"stack": "demo", "tag": "v2", "migrate": false});
    let plan = world().plan(without).await.unwrap();
    assert_eq!((plan.action, plan.migration), (Action::Deploy, None));

    for outputs in [vec![], vec![("MigrationCommand", " ")]] {
        let mut world = world();
        world.outputs = outputs;
        assert_eq!(world.plan(by_tag()).await.unwrap().migration, None);
    }
}

#[tokio::test]
async fn the_migrations_container_can_be_named() {
    let mut world = world();
    world.outputs = vec![COMMAND, ("MigrationContainer", "worker")];
    let migration = world.plan(by_tag()).await.unwrap().migration.unwrap();
    assert_eq!(migration.service, arn("worker"));
    assert_eq!(migration.container, "worker");
}

#[tokio::test]
async fn the_commands_of_another_repository_that_names_the_stack_too_are_not_run() {
    let mut world = world();
    world
        .services
        .push(("tools", vec![("tools", image("tools:v1"))]));
    world.repositories.push(("tools", "demo"));
    world.outputs = vec![
        COMMAND,
        ("PostDeployCommand", r#"["warm-up"]"#),
        ("MigrationContainer", "tools"),
    ];
    let of = |repository| json!({"stack": "demo", "tag": "v2", "repository": repository});
    let plan = world.plan(of("demo")).await.unwrap();
    assert_eq!((plan.migration, plan.post_deploy), (None, None));
    let plan = world.plan(of("tools")).await.unwrap();
    assert_eq!(plan.migration.unwrap().container, "tools");

    // A person who wants the migration has to hear that there is none.
    let mut migrated = of("demo");
    migrated["migrate"] = json!(true);
    let failure = world.refusal(migrated).await;
    assert_eq!(failure.error_type, "InvalidStackOutput");

    // A repository that does not name the stack is none of its: nobody would run the migration.
    world.repositories = vec![("demo", "demo")];
    let failure = world.refusal(of("demo")).await;
    assert_eq!(failure.error_type, "InvalidStackOutput");
}

#[tokio::test]
async fn outputs_that_cannot_be_used_are_invalid_stack_output() {
    let two_containers = vec![(
        "web",
        vec![("web", image("demo:v1")), ("jobs", image("demo:v1"))],
    )];
    let cases = [
        (
            vec![("MigrationCommand", "websvc migrate")],
            world().services,
            "MigrationCommand",
        ),
        (
            vec![COMMAND, ("MigrationContainer", "redis")],
            world().services,
            "MigrationContainer",
        ),
        (vec![COMMAND], two_containers, "web, jobs"),
        (
            vec![("PostDeployCommand", "warm-up")],
            world().services,
            "PostDeployCommand",
        ),
        (
            vec![("HealthCheckUrl", "/health")],
            world().services,
            "HealthCheckUrl",
        ),
        (
            vec![("DeploymentTimeoutSeconds", "4")],
            world().services,
            "DeploymentTimeoutSeconds",
        ),
    ];
    for (outputs, services, named) in cases {
        let mut world = world();
        world.outputs = outputs;
        world.services = services;
        let failure = world.refusal(by_tag()).await;
        assert_eq!(failure.error_type, "InvalidStackOutput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }
}

#[tokio::test]
async fn outputs_that_are_not_told_are_not_taken_for_no_migration() {
    let mut world = world();
    world.status = StackStatus::UpdateRollbackFailed;
    world.outputs = vec![];
    let failure = world.refusal(by_tag()).await;
    assert_eq!(failure.error_type, "InvalidStackOutput");
    assert!(
        failure.error_message.contains("UPDATE_ROLLBACK_FAILED"),
        "{failure:?}"
    );

    let without = json!({"stack": "demo", "tag": "v2", "migrate": false});
    assert_eq!(world.plan(without).await.unwrap().migration, None);
    world.outputs = vec![COMMAND];
    assert!(world.plan(by_tag()).await.unwrap().migration.is_some());
}

#[tokio::test]
async fn a_stack_that_is_being_changed_is_stack_busy() {
    for status in [
        StackStatus::UpdateInProgress,
        StackStatus::UpdateCompleteCleanupInProgress,
        StackStatus::UpdateRollbackInProgress,
    ] {
        let mut world = world();
        world.status = status.clone();
        let failure = world.refusal(by_tag()).await;
        assert_eq!(failure.error_type, "StackBusy");
        assert!(failure.error_message.contains(status.as_str()));
    }
}

fn refused(code: &'static str, message: &'static str) -> aws_sdk_cloudformation::Client {
    use aws_sdk_cloudformation::Client;
    let error = move || {
        let error = aws_sdk_cloudformation::error::ErrorMetadata::builder();
        error.code(code).message(message).build()
    };
    let rule =
        mock!(Client::describe_stacks).then_error(move || DescribeStacksError::generic(error()));
    let resources = mock!(Client::list_stack_resources)
        .then_error(move || ListStackResourcesError::generic(error()));
    let rules = [&resources, &rule];
    mock_client!(aws_sdk_cloudformation, RuleMode::MatchAny, &rules)
}

#[tokio::test]
async fn a_stack_that_does_not_exist_is_stack_not_found_and_other_refusals_are_not() {
    for (code, message, name) in [
        (
            "ValidationError",
            "Stack with id demo does not exist",
            "StackNotFound",
        ),
        ("AccessDenied", "not you", "AwsRequestFailed"),
    ] {
        let sources = Sources {
            cloudformation: refused(code, message),
            ..world().sources()
        };
        let failure = refusal(&sources, by_tag()).await;
        assert_eq!(failure.error_type, name);
    }
}

#[tokio::test]
async fn a_stack_that_runs_no_image_of_the_repository_is_no_services() {
    let mut foreign = world();
    foreign.services = vec![
        ("web", vec![("web", "nginx:1".to_owned())]),
        (
            "other",
            vec![("other", image("demo:v1").replace("us-east-1", "eu-west-1"))],
        ),
    ];
    let failure = foreign.refusal(by_tag()).await;
    assert_eq!(failure.error_type, "NoServices");

    let event = json!({"stack": "demo", "tag": "v2", "repository": "unknown"});
    let failure = world().refusal(event).await;
    assert_eq!(failure.error_type, "NoServices");
    assert!(failure.error_message.contains("unknown"), "{failure:?}");

    let mut empty = world();
    empty.services = vec![];
    assert_eq!(empty.refusal(by_tag()).await.error_type, "NoServices");
}

#[tokio::test]
async fn a_repository_that_does_not_name_the_stack_is_not_linked() {
    for repositories in [vec![], vec![("demo", "demo-2 staging")]] {
        let mut world = world();
        world.repositories = repositories;
        let failure = world.refusal(by_tag()).await;
        assert_eq!(failure.error_type, "RepositoryNotLinked");
        assert!(failure.error_message.contains("bluegreen:stacks"));
    }
}

#[tokio::test]
async fn several_repositories_that_name_the_stack_are_ambiguous_until_one_is_chosen() {
    let mut world = world();
    world
        .services
        .push(("tools", vec![("tools", image("tools:v1"))]));
    world.repositories.push(("tools", "demo"));
    let failure = world.refusal(by_tag()).await;
    assert_eq!(failure.error_type, "AmbiguousRepository");
    assert!(failure.error_message.contains("demo, tools"), "{failure:?}");

    let event = json!({"stack": "demo", "tag": "v2", "repository": "demo"});
    assert_eq!(world.plan(event).await.unwrap().services.len(), 2);

    world.repositories = vec![("demo", "demo")];
    assert_eq!(
        world.plan(by_tag()).await.unwrap().release.repository,
        Some("demo".to_owned())
    );
}

#[tokio::test]
async fn an_image_the_repository_does_not_have_is_image_not_found() {
    let other = format!("sha256:{}", "3".repeat(64));
    for event in [
        json!({"stack": "demo", "tag": "v9"}),
        json!({"stack": "demo", "tag": "v2", "digest": other}),
    ] {
        let failure = world().refusal(event).await;
        assert_eq!(failure.error_type, "ImageNotFound");
    }
}

#[tokio::test]
async fn a_service_that_ecs_does_not_deploy_is_unsupported() {
    let mut world = world();
    world.controller = DeploymentControllerType::CodeDeploy;
    let failure = world.refusal(by_tag()).await;
    assert_eq!(failure.error_type, "UnsupportedDeploymentController");
    assert!(failure.error_message.contains("CODE_DEPLOY"), "{failure:?}");
}

/// <https://github.com/kayac/ecspresso/issues/902>
#[tokio::test]
async fn a_service_in_express_mode_is_said_to_be_one_where_no_other_runs_the_image() {
    let mut world = world();
    world.has_express_service = true;
    assert!(world.plan(by_tag()).await.is_ok());
    let elsewhere = vec![("cache", vec![("redis", "redis:7".to_owned())])];
    for services in [vec![], elsewhere] {
        world.services = services;
        let failure = world.refusal(by_tag()).await;
        assert_eq!(failure.error_type, "UnsupportedService");
        for part in [&*arn("express"), "Express Mode", "the stack demo"] {
            assert!(failure.error_message.contains(part), "{failure:?}");
        }
    }
}

/// A world whose ECS answers as told.
fn with_ecs(services: aws_smithy_mocks::Rule) -> Sources {
    Sources {
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&services]),
        ..world().sources()
    }
}

#[tokio::test]
async fn a_service_without_a_task_definition_is_unsupported() {
    use aws_sdk_ecs::Client;
    for (managed_by, said) in [
        (None, "no task definition"),
        (Some(ResourceManagementType::Customer), "no task definition"),
        (Some(ResourceManagementType::Ecs), "Express Mode"),
    ] {
        let services = mock!(Client::describe_services).then_compute_output(move |request| {
            let services = request.services().iter().map(|service| {
                Service::builder()
                    .service_arn(service)
                    .status("ACTIVE")
                    .set_resource_management_type(managed_by.clone())
                    .build()
            });
            DescribeServicesOutput::builder()
                .set_services(Some(services.collect()))
                .build()
        });
        let failure = refusal(&with_ecs(services), by_tag()).await;
        assert_eq!(failure.error_type, "UnsupportedService");
        assert!(failure.error_message.contains(said), "{failure:?}");
    }
}

/// The ARN of a service of before 2021.
const OLD_ARN: &str = "arn:aws:ecs:us-east-1:123456789012:service/web";

/// A stack with that service, in this world.
fn with_old_service(services: aws_smithy_mocks::Rule, world: &World) -> Sources {
    use aws_sdk_cloudformation::Client;
    let stack = mock!(Client::describe_stacks).then_output(|| {
        let stack = CfnStack::builder().stack_status(StackStatus::CreateComplete);
        DescribeStacksOutput::builder()
            .stacks(stack.build())
            .build()
    });
    let resources = mock!(Client::list_stack_resources).then_output(|| {
        let service = StackResourceSummary::builder()
            .resource_type("AWS::ECS::Service")
            .physical_resource_id(OLD_ARN);
        ListStackResourcesOutput::builder()
            .stack_resource_summaries(service.build())
            .build()
    });
    let definition = mock!(aws_sdk_ecs::Client::describe_task_definition).then_output(|| {
        let container = ContainerDefinition::builder()
            .name("web")
            .image(image("demo:v1"));
        let definition = TaskDefinition::builder()
            .task_definition_arn("web:1")
            .container_definitions(container.build());
        DescribeTaskDefinitionOutput::builder()
            .task_definition(definition.build())
            .build()
    });
    Sources {
        cloudformation: mock_client!(
            aws_sdk_cloudformation,
            RuleMode::MatchAny,
            &[&stack, &resources]
        ),
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&services, &definition]),
        ..world.sources()
    }
}

/// Its cluster is not guessed at (<https://github.com/port-labs/ocean/issues/3940>).
#[tokio::test]
async fn a_service_whose_old_arn_names_no_cluster_is_told_of_unless_the_default_one_has_it() {
    use aws_sdk_ecs::Client;
    use aws_sdk_ecs::operation::describe_services::DescribeServicesError;
    use aws_sdk_ecs::types::error::ClusterNotFoundException;
    let unknown = || {
        mock!(Client::describe_services)
            .match_requests(|request| request.cluster().unwrap().ends_with(":cluster/default"))
    };
    let missing = unknown().then_output(|| DescribeServicesOutput::builder().build());
    let no_cluster = unknown().then_error(|| {
        let error = ClusterNotFoundException::builder()
            .meta(
                aws_sdk_ecs::error::ErrorMetadata::builder()
                    .code("ClusterNotFoundException")
                    .build(),
            )
            .build();
        DescribeServicesError::ClusterNotFoundException(error)
    });
    for services in [missing, no_cluster] {
        let sources = with_old_service(services, &world());
        let failure = refusal(&sources, by_tag()).await;
        assert_eq!(failure.error_type, "UnsupportedService");
        for part in [OLD_ARN, "format of before 2021", "cluster default"] {
            assert!(failure.error_message.contains(part), "{failure:?}");
        }
    }
    // CloudFormation keeps the old ARN of a service that has got a new one.
    let renewed = "arn:aws:ecs:us-east-1:123456789012:service/default/web";
    for told in [OLD_ARN, renewed] {
        let known = unknown().then_output(move || {
            let service = Service::builder()
                .service_arn(told)
                .status("ACTIVE")
                .task_definition("web:1");
            DescribeServicesOutput::builder()
                .services(service.build())
                .build()
        });
        let sources = with_old_service(known, &world());
        let plan = handle(&sources, event(by_tag())).await.unwrap();
        assert_eq!(plan.services[0].service, told);
    }
}

/// <https://github.com/matrix-org/dendrite/issues/806>
#[tokio::test]
async fn a_repository_of_several_images_that_tags_tell_apart_is_refused() {
    let services = |web: &str, nginx: &str| {
        vec![
            ("web", vec![("web", image(web)), ("nginx", image(nginx))]),
            ("worker", vec![("worker", image(web))]),
        ]
    };
    let mut world = world();
    world.outputs = vec![];
    world.services = services("demo:web-12", "demo:nginx-3");
    let failure = world.refusal(by_tag()).await;
    assert_eq!(failure.error_type, "SeveralImages");
    for part in [
        "web has demo:web-12",
        "nginx has demo:nginx-3",
        "the repository demo",
    ] {
        assert!(failure.error_message.contains(part), "{failure:?}");
    }
    let digest = format!("demo@{DIGEST}");
    for (web, nginx) in [
        ("demo:v1", "demo:v1"),
        ("demo:v1", &*digest),
        (&*digest, "demo@sha256:0"),
    ] {
        world.services = services(web, nginx);
        assert!(world.plan(by_tag()).await.is_ok(), "{web} {nginx}");
    }
}

#[tokio::test]
async fn a_service_that_is_gone_from_ecs_is_aws_request_failed() {
    use aws_sdk_ecs::Client;
    let none =
        mock!(Client::describe_services).then_output(|| DescribeServicesOutput::builder().build());
    let sources = Sources {
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&none]),
        ..world().sources()
    };
    let failure = refusal(&sources, by_tag()).await;
    assert_eq!(failure.error_type, "AwsRequestFailed");
    assert!(failure.error_message.contains("MISSING"), "{failure:?}");
}

/// Sources that fail the test where they are asked.
fn unasked() -> Sources {
    let table = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, &[]);
    Sources {
        cloudformation: mock_client!(aws_sdk_cloudformation, RuleMode::MatchAny, &[]),
        cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &[]),
        ecr: mock_client!(aws_sdk_ecr, RuleMode::MatchAny, &[]),
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[]),
        table: Table::new(table, "releases".to_owned()),
        web: Web::new().unwrap(),
        defaults: DEFAULTS,
    }
}

#[tokio::test]
async fn bad_input_is_invalid_input_and_nothing_is_asked_of_aws() {
    let mut planless = event(by_tag());
    planless["turn"] = taken();
    let mut timeless = event(by_tag());
    timeless["startedAt"] = json!("now");
    for (event, named) in [
        (event(json!({"stack": "demo", "tga": "v2"})), "`tga`"),
        (event(json!({"stack": "demo"})), "`tag`"),
        (event(json!({"tag": "v2"})), "`stack`"),
        (event(json!("demo")), "must be an object"),
        (json!({"request": by_tag()}), "`execution`"),
        (planless, "`plan`"),
        (timeless, "`startedAt`"),
    ] {
        let failure = diagnostic(handle(&unasked(), event).await.unwrap_err());
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }
}
