use super::*;
use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
use aws_sdk_cloudwatch::types::MetricAlarm;
use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemOutput;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsError, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::operation::describe_service_deployments::DescribeServiceDeploymentsOutput;
use aws_sdk_ecs::operation::describe_service_revisions::DescribeServiceRevisionsOutput;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::list_service_deployments::{
    ListServiceDeploymentsError, ListServiceDeploymentsOutput,
};
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::builders::ServiceDeploymentBuilder;
use aws_sdk_ecs::types::{
    Deployment, DeploymentConfiguration, DeploymentEarlySuccessCriteria,
    DeploymentLifecycleHookAction, DeploymentLifecycleHookDetail, DeploymentLifecycleHookStatus,
    DeploymentLifecycleHookTargetType, DeploymentRolloutState, DeploymentStrategy, LoadBalancer,
    Service, ServiceCurrentRevisionSummary, ServiceDeployment, ServiceDeploymentAlarms,
    ServiceDeploymentBrief, ServiceDeploymentLifecycleStage,
    ServiceDeploymentRollbackMonitorsStatus as Monitor, ServiceDeploymentStatus, ServiceRevision,
    ServiceRevisionCleanup, ServiceRevisionSummary,
};
use aws_sdk_elasticloadbalancingv2::operation::describe_target_health::DescribeTargetHealthOutput;
use aws_sdk_elasticloadbalancingv2::types::{
    TargetHealth, TargetHealthDescription, TargetHealthStateEnum,
};
use aws_sdk_sfn::operation::send_task_success::SendTaskSuccessOutput;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_contract::parse;
use bluegreen_runtime::{Diagnostic, diagnostic};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";
const SERVICE: &str = "arn:aws:ecs:us-east-1:123456789012:service/demo/web";

const EXECUTION: &str = "arn:aws:states:us-east-1:123456789012:execution:deploy:1";

/// The services were updated.
const BEGAN: i64 = 1_000_000;
/// ECS tells of every update by now.
const LATER: i64 = BEGAN + 120_000;
const DEADLINE: i64 = BEGAN + 600_000;

fn asked() -> Value {
    json!({
        "stack": "demo",
        "execution": {"id": EXECUTION, "redrives": 0},
        "update": {
            "services": [{
                "cluster": CLUSTER, "service": SERVICE,
                "taskDefinition": "web:8", "previousTaskDefinition": "web:7"
            }],
            "at": BEGAN, "deadline": DEADLINE, "tries": 1
        },
        "rollback": false
    })
}

/// Deployment `d<n>` was created in second n and has the target `r<n>`, whose task definition is
/// `web:<n>`.
fn brief(n: i64) -> ServiceDeploymentBrief {
    ServiceDeploymentBrief::builder()
        .service_deployment_arn(format!("d{n}"))
        .target_service_revision_arn(format!("r{n}"))
        .created_at(DateTime::from_secs(n))
        .build()
}

fn page(numbers: &[i64], next: Option<&str>) -> ListServiceDeploymentsOutput {
    ListServiceDeploymentsOutput::builder()
        .set_service_deployments(Some(numbers.iter().map(|n| brief(*n)).collect()))
        .set_next_token(next.map(str::to_owned))
        .build()
}

fn history(numbers: &'static [i64]) -> Rule {
    mock!(Client::list_service_deployments)
        .match_requests(|request| {
            request.cluster() == Some(CLUSTER) && request.service() == Some(SERVICE)
        })
        .then_output(|| page(numbers, None))
}

fn revisions() -> Rule {
    mock!(Client::describe_service_revisions)
        .match_requests(|request| (1..=20).contains(&request.service_revision_arns().len()))
        .then_compute_output(|request| {
            let revisions = request.service_revision_arns().iter().map(|arn| {
                ServiceRevision::builder()
                    .service_revision_arn(arn)
                    .task_definition(arn.replace('r', "web:"))
                    .build()
            });
            DescribeServiceRevisionsOutput::builder()
                .set_service_revisions(Some(revisions.collect()))
                .build()
        })
}

fn deployment_is(status: &'static str) -> Rule {
    deployment_is_ended(status, None)
}

/// It is in progress, and more is said of it.
fn deployment_with(
    more: impl Fn(ServiceDeploymentBuilder) -> ServiceDeploymentBuilder + Send + Sync + 'static,
) -> Rule {
    mock!(Client::describe_service_deployments)
        .match_requests(|request| request.service_deployment_arns() == ["d8".to_owned()])
        .then_output(move || {
            let target = ServiceRevisionSummary::builder().arn("r8").build();
            let deployment = ServiceDeployment::builder()
                .service_deployment_arn("d8")
                .status(ServiceDeploymentStatus::InProgress)
                .target_service_revision(target);
            DescribeServiceDeploymentsOutput::builder()
                .service_deployments(more(deployment).build())
                .build()
        })
}

fn deployment_is_ended(status: &'static str, by: Option<ServiceDeploymentAlarms>) -> Rule {
    mock!(Client::describe_service_deployments)
        .match_requests(|request| request.service_deployment_arns() == ["d8".to_owned()])
        .then_output(move || {
            DescribeServiceDeploymentsOutput::builder()
                .service_deployments(
                    ServiceDeployment::builder()
                        .service_deployment_arn("d8")
                        .status(ServiceDeploymentStatus::from(status))
                        .target_service_revision(
                            ServiceRevisionSummary::builder().arn("r8").build(),
                        )
                        .set_alarms(by.clone())
                        .build(),
                )
                .build()
        })
}

/// The service at rest, with two tasks of the task definition behind a load balancer.
fn service(task_definition: &str) -> Service {
    Service::builder()
        .service_arn(SERVICE)
        .task_definition(task_definition)
        .running_count(2)
        .desired_count(2)
        .load_balancers(LoadBalancer::builder().target_group_arn("group").build())
        .deployments(
            Deployment::builder()
                .status("PRIMARY")
                .task_definition(task_definition)
                .running_count(2)
                .desired_count(2)
                .rollout_state(DeploymentRolloutState::Completed)
                .build(),
        )
        .build()
}

fn service_is(service: impl Fn() -> Service + Send + Sync + 'static) -> Rule {
    mock!(Client::describe_services)
        .match_requests(|request| {
            request.cluster() == Some(CLUSTER) && request.services() == [SERVICE.to_owned()]
        })
        .then_output(move || {
            DescribeServicesOutput::builder()
                .services(service())
                .build()
        })
}

fn service_runs(task_definition: &'static str) -> Rule {
    service_is(move || service(task_definition))
}

/// The service while its deployment `d8` is in progress.
fn service_moves() -> Rule {
    service_is(|| {
        let mut service = service("web:8");
        service.current_service_deployment = Some("d8".to_owned());
        service
    })
}

fn target_group(healthy: usize) -> aws_sdk_elasticloadbalancingv2::Client {
    use aws_sdk_elasticloadbalancingv2::Client;
    let rule = mock!(Client::describe_target_health).then_output(move || {
        let target = || {
            let health = TargetHealth::builder().state(TargetHealthStateEnum::Healthy);
            TargetHealthDescription::builder()
                .target_health(health.build())
                .build()
        };
        DescribeTargetHealthOutput::builder()
            .set_target_health_descriptions(Some((0..healthy).map(|_| target()).collect()))
            .build()
    });
    mock_client!(aws_sdk_elasticloadbalancingv2, RuleMode::MatchAny, &[&rule])
}

/// ECS as the rules say, an application that is well, and nobody who waits.
fn clients(rules: &[&Rule]) -> Clients {
    Clients {
        table: table(&[]),
        waits: waits(&[], &[]),
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules),
        elb: target_group(2),
        cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &[]),
        web: Web::beside("http://127.0.0.1:4566").unwrap(),
    }
}

fn table(dynamodb: &[&Rule]) -> Table {
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, dynamodb);
    Table::new(client, "releases".to_owned())
}

fn waits(dynamodb: &[&Rule], sfn: &[&Rule]) -> Waits {
    Waits::new(
        mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, dynamodb),
        mock_client!(aws_sdk_sfn, RuleMode::MatchAny, sfn),
        "waits".to_owned(),
        "verify-health",
    )
}

fn alarms(in_alarm: &'static [&'static str]) -> aws_sdk_cloudwatch::Client {
    let rule = mock!(aws_sdk_cloudwatch::Client::describe_alarms).then_output(move || {
        let alarms = in_alarm
            .iter()
            .map(|name| MetricAlarm::builder().alarm_name(*name).build());
        DescribeAlarmsOutput::builder()
            .set_metric_alarms(Some(alarms.collect()))
            .build()
    });
    mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &[&rule])
}

/// What ECS answers about a deployment that is complete.
fn completed() -> [Rule; 4] {
    [
        history(&[7, 8]),
        revisions(),
        deployment_is("SUCCESSFUL"),
        service_runs("web:8"),
    ]
}

/// An application that answers every request with this status line.
async fn application(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/health")
}

async fn at(clients: &Clients, asked: Value, now: i64) -> Result<Option<Health>, Failure> {
    look(clients, &parse(asked).unwrap(), false, now).await
}

async fn health(clients: &Clients, asked: Value) -> Health {
    at(clients, asked, LATER).await.unwrap().unwrap()
}

/// There is no verdict in time; says why not.
async fn undecided(clients: &Clients, asked: Value) -> String {
    let in_time = at(clients, asked.clone(), LATER).await.unwrap();
    assert_eq!(in_time, None);
    let overdue = at(clients, asked, DEADLINE + 1).await.unwrap().unwrap();
    assert_eq!(overdue.verdict, Verdict::Stalled);
    overdue.cause
}

async fn failure(clients: &Clients, asked: Value) -> Diagnostic {
    diagnostic(at(clients, asked, LATER).await.unwrap_err())
}

#[tokio::test]
async fn a_completed_deployment_is_succeeded() {
    let rules = completed();
    let health = health(&clients(&rules.each_ref()), asked()).await;
    assert_eq!(
        serde_json::to_value(health).unwrap(),
        json!({
            "verdict": "succeeded",
            "cause": "Service demo/web: The deployment is complete and all 2 tasks run the new revision.",
            "at": LATER
        })
    );
}

/// The case of <https://github.com/kayac/ecspresso/issues/1080>: SUCCESSFUL with two of three tasks,
/// and the three of the revision before still run.
#[tokio::test]
async fn a_deployment_that_ecs_calls_successful_early_is_succeeded() {
    let early = || {
        let criteria = DeploymentEarlySuccessCriteria::builder()
            .enable(true)
            .healthy_percent(50)
            .source_service_revision_cleanup(ServiceRevisionCleanup::Deferred);
        let configuration =
            DeploymentConfiguration::builder().early_success_criteria(criteria.build());
        let mut service = service("web:8");
        service.deployment_configuration = Some(configuration.build());
        service.desired_count = 3;
        service.running_count = 5;
        let deployments = service.deployments.get_or_insert_default();
        deployments[0].desired_count = 3;
        let before = Deployment::builder().status("ACTIVE").running_count(3);
        deployments.push(before.task_definition("web:7").build());
        service
    };
    let (revisions, service) = (revisions(), service_is(early));
    let successful = mock!(Client::list_service_deployments).then_output(|| {
        let mut page = page(&[7, 8], None);
        for brief in page.service_deployments.iter_mut().flatten() {
            brief.status = Some(ServiceDeploymentStatus::Successful);
        }
        page
    });
    let health = health(&clients(&[&successful, &revisions, &service]), asked()).await;
    assert_eq!(health.verdict, Verdict::Succeeded, "{}", health.cause);
    assert!(health.cause.contains("2 of 3 tasks"), "{}", health.cause);
}

#[tokio::test]
async fn a_deployment_in_progress_is_found_without_asking_for_the_services_history() {
    let (service, deployment, revisions) =
        (service_moves(), deployment_is("IN_PROGRESS"), revisions());
    let cause = undecided(&clients(&[&service, &deployment, &revisions]), asked()).await;
    assert!(cause.contains("is IN_PROGRESS"), "{cause}");
}

#[tokio::test]
async fn a_rollback_is_never_success_though_the_service_is_stable() {
    let rules = [
        history(&[8, 7]),
        revisions(),
        deployment_is("ROLLBACK_SUCCESSFUL"),
        service_runs("web:7"),
    ];
    let health = health(&clients(&rules.each_ref()), asked()).await;
    assert_eq!(health.verdict, Verdict::RolledBack);
}

#[tokio::test]
async fn a_stopped_deployment_before_a_newer_one_is_superseded() {
    let rules = [
        history(&[9, 7, 8]),
        revisions(),
        deployment_is("STOPPED"),
        service_runs("web:9"),
    ];
    let health = health(&clients(&rules.each_ref()), asked()).await;
    assert_eq!(health.verdict, Verdict::Superseded);
    assert!(health.cause.contains("d9"), "{}", health.cause);
}

#[tokio::test]
async fn all_pages_and_all_revisions_are_looked_at() {
    let pages = mock!(Client::list_service_deployments)
        .sequence()
        .output(|| page(&(9..60).collect::<Vec<_>>(), Some("more")))
        .output(|| page(&[7, 8], None))
        .build();
    let (revisions, deployment, service) = (
        revisions(),
        deployment_is("STOPPED"),
        service_runs("web:60"),
    );
    let health = health(
        &clients(&[&pages, &revisions, &deployment, &service]),
        asked(),
    )
    .await;
    assert_eq!(health.verdict, Verdict::Superseded);
    assert_eq!((pages.num_calls(), revisions.num_calls()), (2, 3));
}

#[tokio::test]
async fn deployments_of_long_ago_are_asked_for_only_where_no_recent_one_is_the_releases() {
    let recent = mock!(Client::list_service_deployments)
        .match_requests(|request| {
            let since = request.created_at().and_then(|created| created.after());
            since.is_some_and(|since| since.to_millis().unwrap() == BEGAN - 24 * 60 * 60 * 1000)
        })
        .then_output(|| page(&[9], None));
    let whole = mock!(Client::list_service_deployments)
        .match_requests(|request| request.created_at().is_none())
        .then_output(|| page(&[9, 7, 8], None));
    let (revisions, deployment) = (revisions(), deployment_is("STOPPED"));
    let runs = service_runs("web:9");
    let rules = [&recent, &whole, &revisions, &deployment, &runs];
    let health = health(&clients(&rules), asked()).await;
    assert_eq!(health.verdict, Verdict::Superseded);
    assert!(health.cause.contains("d9"), "{}", health.cause);
    assert_eq!((recent.num_calls(), whole.num_calls()), (1, 1));
}

#[tokio::test]
async fn traffic_that_does_not_reach_all_tasks_yet_is_waited_for() {
    let rules = completed();
    let mut clients = clients(&rules.each_ref());
    clients.elb = target_group(1);
    assert_eq!(at(&clients, asked(), LATER).await.unwrap(), None);
}

/// A good version is not rolled back for them: ECS itself has found its tasks healthy.
#[tokio::test]
async fn targets_that_are_slow_to_become_healthy_are_waited_for_in_a_time_of_their_own() {
    const MINUTES: i64 = 60_000;
    let (revisions, service) = (revisions(), service_runs("web:8"));
    let finished = |at: Option<i64>| {
        mock!(Client::list_service_deployments).then_output(move || {
            let mut page = page(&[7, 8], None);
            for brief in page.service_deployments.iter_mut().flatten() {
                brief.status = Some(ServiceDeploymentStatus::Successful);
                brief.finished_at = at.map(DateTime::from_millis);
            }
            page
        })
    };
    for (finished_at, minutes, until) in [
        // Two hours may have passed by then, and more.
        (Some(DEADLINE - 1), None, DEADLINE - 1 + 10 * MINUTES),
        (Some(LATER), Some(3), LATER + 3 * MINUTES),
        (None, None, DEADLINE + 10 * MINUTES),
    ] {
        let history = finished(finished_at);
        let mut clients = clients(&[&history, &revisions, &service]);
        clients.elb = target_group(1);
        let mut asked = asked();
        if let Some(minutes) = minutes {
            asked["targetHealthMinutes"] = json!(minutes);
        }
        assert_eq!(at(&clients, asked.clone(), until).await.unwrap(), None);
        let health = at(&clients, asked.clone(), until + 1)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(health.verdict, Verdict::Succeeded);
        let told = "1 of 2 targets of group are healthy";
        assert!(health.cause.contains(told), "{}", health.cause);

        clients.cloudwatch = alarms(&["5xx"]);
        asked["alarms"] = json!(["5xx"]);
        let health = at(&clients, asked, until + 1).await.unwrap().unwrap();
        assert_eq!(health.verdict, Verdict::Unhealthy);
    }
}

/// A version that crashes in a deployment that shifts traffic, where by
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentCircuitBreaker.html> ECS's
/// circuit breaker does not act.
#[tokio::test]
async fn a_version_that_crashes_is_stalled_where_ecs_does_not_count_its_failures() {
    for (strategy, failed, verdict) in [
        (DeploymentStrategy::BlueGreen, 3, Some(Verdict::Stalled)),
        (DeploymentStrategy::BlueGreen, 2, None),
        (DeploymentStrategy::Rolling, 3, None),
    ] {
        let service = service_is(move || {
            let mut service = service("web:8");
            service.current_service_deployment = Some("d8".to_owned());
            for deployment in service.deployments.iter_mut().flatten() {
                deployment.failed_tasks = failed;
            }
            service
        });
        let configuration = DeploymentConfiguration::builder()
            .strategy(strategy)
            .build();
        let deployment = deployment_with(move |deployment| {
            deployment.deployment_configuration(configuration.clone())
        });
        let revisions = revisions();
        let clients = clients(&[&service, &deployment, &revisions]);
        let health = at(&clients, asked(), LATER).await.unwrap();
        assert_eq!(health.as_ref().map(|health| health.verdict), verdict);
        if let Some(health) = health {
            assert!(health.cause.contains("3 tasks"), "{}", health.cause);
        }
        let mut back = asked();
        back["rollback"] = json!(true);
        assert_eq!(at(&clients, back, LATER).await.unwrap(), None);
    }
}

const RECORD: &str = "release#2026-01-30T12:00:00.000Z#1";
/// When the pause of the deployment times out: long after the deadline.
const EXPIRES: i64 = DEADLINE + 86_400_000;

/// The deployment with a pause after its test traffic was shifted
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html>).
fn pauses(status: &'static str) -> Rule {
    deployment_with(move |deployment| {
        let hook = DeploymentLifecycleHookDetail::builder()
            .hook_id("ecs-pause-e7")
            .target_type(DeploymentLifecycleHookTargetType::Pause)
            .status(DeploymentLifecycleHookStatus::from(status))
            .expires_at(DateTime::from_millis(EXPIRES))
            .timeout_action(DeploymentLifecycleHookAction::Rollback);
        deployment
            .lifecycle_stage(ServiceDeploymentLifecycleStage::PostTestTrafficShift)
            .lifecycle_hook_details(hook.build())
    })
}

/// The turn is the execution's, and the record of its release has these attributes.
fn record(attributes: &[(&'static str, AttributeValue)]) -> Rule {
    let attributes = attributes.to_vec();
    mock!(aws_sdk_dynamodb::Client::get_item).then_compute_output(move |request| {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let key = request.key().unwrap()["item"].as_s().unwrap().clone();
        let item = GetItemOutput::builder().item("item", text(&key));
        match key.as_str() {
            "turn" => item.item("holder", text(EXECUTION)).build(),
            _ => attributes
                .iter()
                .fold(item, |item, (name, value)| item.item(*name, value.clone()))
                .item("verdict", text("inProgress"))
                .build(),
        }
    })
}

/// The record is told something that these are parts of.
fn notes(parts: &'static [&'static str]) -> Rule {
    mock!(aws_sdk_dynamodb::Client::transact_write_items)
        .match_requests(move |request| {
            let sent = format!("{:?}", request.transact_items());
            sent.contains(RECORD) && parts.iter().all(|part| sent.contains(part))
        })
        .then_output(|| TransactWriteItemsOutput::builder().build())
}

fn asked_with_record() -> Value {
    let mut asked = asked();
    asked["record"] = json!(RECORD);
    asked
}

/// What was a stall two hours after the update
/// (<https://github.com/hashicorp/terraform-provider-aws/issues/48128>).
#[tokio::test]
async fn while_a_hook_awaits_an_action_the_deployment_is_not_overdue() {
    let command = "aws ecs continue-service-deployment --service-deployment-arn d8 --hook-id ecs-pause-e7 --action CONTINUE";
    let (service, deployment, revisions) =
        (service_moves(), pauses("AWAITING_ACTION"), revisions());
    let (record, notes) = (record(&[]), notes(&["ecs-pause-e7", "awaits"]));
    let mut clients = clients(&[&service, &deployment, &revisions]);
    clients.table = table(&[&record, &notes]);
    let seconds = DEADLINE - BEGAN;
    for now in [LATER, DEADLINE + 1, EXPIRES, EXPIRES + seconds] {
        let looked = at(&clients, asked_with_record(), now).await.unwrap();
        assert_eq!(looked, None, "{now}");
    }
    assert_eq!(notes.num_calls(), 4, "nobody has noted it");
    let overdue = at(&clients, asked_with_record(), EXPIRES + seconds + 1);
    let overdue = overdue.await.unwrap().unwrap();
    assert_eq!(overdue.verdict, Verdict::Stalled);
    for told in [command, "POST_TEST_TRAFFIC_SHIFT", "1970-01-02T00:26:40Z"] {
        assert!(overdue.cause.contains(told), "{}", overdue.cause);
    }
}

#[tokio::test]
async fn what_is_noted_already_is_not_noted_again_and_a_failure_to_is_none() {
    let text = "Service demo/web: Its deployment pauses until somebody lets it go on: aws ecs continue-service-deployment --service-deployment-arn d8 --hook-id ecs-pause-e7 --action CONTINUE. If nobody does by 1970-01-02T00:26:40Z, ECS rolls it back.";
    let (service, deployment, revisions) =
        (service_moves(), pauses("AWAITING_ACTION"), revisions());
    let mut clients = clients(&[&service, &deployment, &revisions]);
    let noted = record(&[("awaits", AttributeValue::S(text.to_owned()))]);
    clients.table = table(&[&noted]);
    let looked = at(&clients, asked_with_record(), DEADLINE + 1).await;
    assert_eq!(looked.unwrap(), None);

    let refuses = mock!(aws_sdk_dynamodb::Client::transact_write_items).then_error(|| {
        TransactWriteItemsError::generic(
            aws_sdk_dynamodb::error::ErrorMetadata::builder()
                .code("AccessDeniedException")
                .build(),
        )
    });
    let record = record(&[]);
    clients.table = table(&[&record, &refuses]);
    let looked = at(&clients, asked_with_record(), DEADLINE + 1).await;
    assert_eq!(looked.unwrap(), None);
    assert_eq!(refuses.num_calls(), 1);
}

#[tokio::test]
async fn a_deployment_that_has_paused_has_its_time_once_more() {
    let (service, deployment, revisions) = (service_moves(), pauses("SUCCEEDED"), revisions());
    let mut clients = clients(&[&service, &deployment, &revisions]);
    let resumed = DEADLINE + 50_000;
    let (paused, notes) = (
        record(&[("awaits", AttributeValue::S("You.".to_owned()))]),
        notes(&["resumedAt", "REMOVE"]),
    );
    clients.table = table(&[&paused, &notes]);
    let looked = at(&clients, asked_with_record(), resumed).await.unwrap();
    assert_eq!(looked, None);
    assert_eq!(notes.num_calls(), 1);

    let until = resumed + (DEADLINE - BEGAN);
    let goes_on = record(&[("resumedAt", AttributeValue::N(resumed.to_string()))]);
    clients.table = table(&[&goes_on]);
    let looked = at(&clients, asked_with_record(), until).await.unwrap();
    assert_eq!(looked, None);
    let overdue = at(&clients, asked_with_record(), until + 1).await.unwrap();
    assert_eq!(overdue.unwrap().verdict, Verdict::Stalled);
}

#[tokio::test]
async fn a_pause_that_nobody_ended_is_named_by_the_cause() {
    let deployment = || {
        let hook = DeploymentLifecycleHookDetail::builder()
            .hook_id("ecs-pause-e7")
            .target_type(DeploymentLifecycleHookTargetType::Pause)
            .status(DeploymentLifecycleHookStatus::TimedOut);
        ServiceDeployment::builder()
            .service_deployment_arn("d8")
            .status(ServiceDeploymentStatus::RollbackSuccessful)
            .lifecycle_hook_details(hook.build())
            .build()
    };
    let details = mock!(Client::describe_service_deployments).then_output(move || {
        DescribeServiceDeploymentsOutput::builder()
            .service_deployments(deployment())
            .build()
    });
    let rules = [history(&[7, 8]), revisions(), service_runs("web:7")];
    let [history, revisions, service] = rules.each_ref();
    let health = health(&clients(&[history, revisions, service, &details]), asked()).await;
    assert_eq!(health.verdict, Verdict::RolledBack);
    let told = "Nobody ended its pause at the hook ecs-pause-e7 in time.";
    assert!(health.cause.contains(told), "{}", health.cause);
}

/// Of a hook that awaits somebody no service tells, not in the first minute either.
#[tokio::test]
async fn what_a_hook_awaits_is_noted_as_soon_as_an_event_tells_of_it() {
    let (service, deployment, revisions) = (
        service_rolls_out(Some("d8")),
        pauses("AWAITING_ACTION"),
        revisions(),
    );
    let (record, notes) = (record(&[]), notes(&["ecs-pause-e7"]));
    let mut clients = clients(&[&service, &deployment, &revisions]);
    clients.table = table(&[&record, &notes]);
    let asked: VerifyHealthInput = parse(asked_with_record()).unwrap();
    for (of_hook, calls) in [(false, 0), (true, 1)] {
        let looked = look(&clients, &asked, of_hook, BEGAN + 2_000).await;
        assert_eq!(looked.unwrap(), None);
        assert_eq!(notes.num_calls(), calls);
    }
}

#[tokio::test]
async fn an_application_that_answers_its_health_check_with_2xx_is_well() {
    let rules = completed();
    let clients = clients(&rules.each_ref());
    for (status, expected) in [
        ("204 No Content", Verdict::Succeeded),
        ("503 Service Unavailable", Verdict::Unhealthy),
        ("302 Found", Verdict::Unhealthy),
    ] {
        let url = application(status).await;
        let mut asked = asked();
        asked["healthCheckUrl"] = json!(url);
        let health = health(&clients, asked).await;
        assert_eq!(health.verdict, expected, "{status}");
        if expected == Verdict::Unhealthy {
            assert!(health.cause.contains(&url), "{health:?}");
            assert!(health.cause.contains(&status[..3]), "{health:?}");
        }
    }
}

/// A web service that is stopped at night while its worker runs
/// (<https://github.com/aws/containers-roadmap/issues/458>).
#[test]
fn an_application_whose_services_behind_load_balancers_are_scaled_to_zero_answers_nobody() {
    let scaled = |behind_one: bool, desired: i32| {
        let mut service = service("web:8");
        service.desired_count = desired;
        service.load_balancers = service.load_balancers.filter(|_| behind_one);
        service
    };
    for (services, expected) in [
        (vec![scaled(true, 0), scaled(false, 1)], true),
        (vec![scaled(true, 2), scaled(false, 0)], false),
        (vec![scaled(true, 0), scaled(true, 1)], false),
        (vec![scaled(false, 0), scaled(false, 1)], false),
        (vec![scaled(false, 0), scaled(false, 0)], true),
    ] {
        let services: Vec<_> = services.iter().collect();
        assert_eq!(answers_nobody(&services), expected, "{services:?}");
    }
}

#[tokio::test]
async fn an_application_is_not_judged_once_a_newer_deployment_has_begun() {
    let rules = [
        history(&[9, 8]),
        revisions(),
        deployment_is("SUCCESSFUL"),
        service_runs("web:9"),
    ];
    let mut clients = clients(&rules.each_ref());
    clients.elb = target_group(0);
    assert_eq!(health(&clients, asked()).await.verdict, Verdict::Succeeded);
}

fn back() -> Value {
    let mut asked = asked();
    asked["rollback"] = json!(true);
    asked["update"]["services"][0]["taskDefinition"] = json!("web:7");
    asked["update"]["services"][0]["previousTaskDefinition"] = json!("web:8");
    asked
}

#[tokio::test]
async fn a_service_that_is_back_at_its_revision_is_succeeded() {
    let service = service_runs("web:7");
    let mut clients = clients(&[&service]);
    clients.elb = target_group(0);
    assert_eq!(health(&clients, back()).await.verdict, Verdict::Succeeded);
}

#[tokio::test]
async fn a_service_that_is_rolled_back_is_in_progress() {
    for status in ["ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS", "IN_PROGRESS"] {
        let (service, deployment, revisions) =
            (service_moves(), deployment_is(status), revisions());
        let cause = undecided(&clients(&[&service, &deployment, &revisions]), back()).await;
        assert!(cause.contains(status), "{cause}");
    }
}

#[tokio::test]
async fn a_rollback_that_failed_is_stalled() {
    let rules = [
        history(&[7, 8]),
        revisions(),
        deployment_is("ROLLBACK_FAILED"),
        service_runs("web:8"),
    ];
    let health = health(&clients(&rules.each_ref()), back()).await;
    assert_eq!(health.verdict, Verdict::Stalled);
}

#[tokio::test]
async fn a_rollback_that_an_alarm_made_ecs_take_back_is_begun_again_and_no_other() {
    let alarms = |status| {
        let alarms = ServiceDeploymentAlarms::builder().status(status);
        alarms.triggered_alarm_names("errors").build()
    };
    for (by, expected) in [
        (Monitor::Triggered, Verdict::Again),
        (Monitor::Monitoring, Verdict::RolledBack),
    ] {
        let rules = [
            history(&[8, 7]),
            revisions(),
            deployment_is_ended("ROLLBACK_SUCCESSFUL", Some(alarms(by))),
            service_runs("web:7"),
        ];
        let mut back_to_8 = asked();
        back_to_8["rollback"] = json!(true);
        let health = health(&clients(&rules.each_ref()), back_to_8).await;
        assert_eq!(health.verdict, expected);
    }
}

#[tokio::test]
async fn a_deployment_of_long_ago_is_no_rollback() {
    let rules = [
        history(&[7, 8]),
        revisions(),
        deployment_is("SUCCESSFUL"),
        service_runs("web:8"),
    ];
    let failure = failure(&clients(&rules.each_ref()), back()).await;
    assert_eq!(failure.error_type, "DeploymentNotFound");
    assert!(failure.error_message.contains("web:7"), "{failure:?}");
}

#[tokio::test]
async fn no_deployment_of_the_revision_is_deployment_not_found() {
    for numbers in [&[][..], &[7]] {
        let (history, revisions, service) = (history(numbers), revisions(), service_runs("web:7"));
        let failure = failure(&clients(&[&history, &revisions, &service]), asked()).await;
        assert_eq!(failure.error_type, "DeploymentNotFound");
        assert!(failure.error_message.contains("web:8"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_refused_request_is_aws_request_failed() {
    let refused = mock!(Client::list_service_deployments).then_error(|| {
        ListServiceDeploymentsError::generic(
            aws_sdk_ecs::error::ErrorMetadata::builder()
                .code("AccessDeniedException")
                .message("not you")
                .build(),
        )
    });
    let service = service_runs("web:8");
    let failure = failure(&clients(&[&service, &refused]), asked()).await;
    assert_eq!(failure.error_type, "AwsRequestFailed");
    assert!(
        failure.error_message.contains("ecs:ListServiceDeployments"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn bad_input_is_invalid_input_and_names_the_field() {
    let mut none = asked();
    none["update"]["services"] = json!([]);
    let mut no_url = asked();
    no_url["healthCheckUrl"] = json!("demo/health");
    for (asked, named) in [(none, "`update.services`"), (no_url, "`healthCheckUrl`")] {
        let failure = failure(&clients(&[]), asked).await;
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }
    let mut half = asked();
    half["update"]["services"][0] = json!({"cluster": CLUSTER});
    let payload = json!({"token": "t", "asked": half});
    let failure = handle(&clients(&[]), payload, || LATER).await.unwrap_err();
    let failure = diagnostic(failure);
    assert_eq!(failure.error_type, "InvalidInput");
    assert!(
        failure.error_message.contains("`asked.update.services[0]`"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn what_ecs_may_not_tell_yet_is_waited_for() {
    for asked in [asked(), back()] {
        let rules = [history(&[6]), revisions(), service_runs("web:6")];
        let details = mock!(Client::describe_service_deployments)
            .then_output(|| DescribeServiceDeploymentsOutput::builder().build());
        let [history, revisions, service] = rules.each_ref();
        let clients = clients(&[history, revisions, service, &details]);
        let soon = at(&clients, asked.clone(), BEGAN + 59_999).await.unwrap();
        assert_eq!(soon, None);
        let failure = at(&clients, asked, BEGAN + 60_000).await.unwrap_err();
        let failure = diagnostic(failure);
        assert_eq!(failure.error_type, "DeploymentNotFound");
    }
}

/// As a service is for most of its deployment.
fn service_rolls_out(current: Option<&'static str>) -> Rule {
    service_is(move || {
        let mut service = service("web:8");
        service.current_service_deployment = current.map(str::to_owned);
        for deployment in service.deployments.iter_mut().flatten() {
            deployment.rollout_state = Some(DeploymentRolloutState::InProgress);
        }
        service
    })
}

#[tokio::test]
async fn soon_after_the_update_one_call_shows_that_it_is_not_complete() {
    let service = service_rolls_out(Some("d8"));
    let soon = at(&clients(&[&service]), asked(), BEGAN + 1_000).await;
    assert_eq!(soon.unwrap(), None);
    assert_eq!(service.num_calls(), 1);
}

#[tokio::test]
async fn soon_after_the_update_all_is_asked_where_tasks_have_failed() {
    let service = service_is(|| {
        let mut service = service("web:8");
        service.current_service_deployment = Some("d8".to_owned());
        for deployment in service.deployments.iter_mut().flatten() {
            deployment.rollout_state = Some(DeploymentRolloutState::InProgress);
            deployment.failed_tasks = 3;
        }
        service
    });
    let configuration = DeploymentConfiguration::builder();
    let configuration = configuration.strategy(DeploymentStrategy::Canary).build();
    let deployment = deployment_with(move |deployment| {
        deployment.deployment_configuration(configuration.clone())
    });
    let revisions = revisions();
    let clients = clients(&[&service, &deployment, &revisions]);
    let soon = at(&clients, asked(), BEGAN + 1_000).await.unwrap();
    assert_eq!(soon.unwrap().verdict, Verdict::Stalled);
}

#[tokio::test]
async fn a_deployment_that_a_person_has_stopped_is_found_though_the_service_still_moves() {
    let rules = [history(&[7, 8]), revisions(), deployment_is("STOPPED")];
    let [history, revisions, deployment] = rules.each_ref();
    let stopped = service_rolls_out(None);
    let clients = clients(&[history, revisions, deployment, &stopped]);
    assert_eq!(health(&clients, asked()).await.verdict, Verdict::Stopped);
}

#[tokio::test]
async fn a_verdict_of_success_needs_three_calls_of_ecs() {
    let (history, revisions, service) = (every_history(), revisions(), service_runs("web:8"));
    let rules = [&history, &revisions, &service];
    let health = health(&clients(&rules), asked()).await;
    assert_eq!(health.verdict, Verdict::Succeeded);
    for rule in rules {
        assert_eq!(rule.num_calls(), 1);
    }
}

#[tokio::test]
async fn where_the_service_tells_its_only_revision_nobody_is_asked_what_that_runs() {
    let history = every_history();
    let service = service_is(|| {
        let mut service = service("web:8");
        let revision = ServiceCurrentRevisionSummary::builder().arn("r8").build();
        service.current_service_revisions = Some(vec![revision]);
        service
    });
    let rules = [&history, &service];
    let health = health(&clients(&rules), asked()).await;
    assert_eq!(health.verdict, Verdict::Succeeded);
    assert_eq!((history.num_calls(), service.num_calls()), (1, 1));
}

/// Service `<n>` of many has revision `web:8`; ECS is done with those from `moving` on.
fn many(moving: usize, count: usize) -> (Value, Rule) {
    let arn = |n: usize| format!("{SERVICE}{n:03}");
    let mut asked = asked();
    let services = (0..count).map(|n| {
        json!({
            "cluster": CLUSTER, "service": arn(n),
            "taskDefinition": "web:8", "previousTaskDefinition": "web:7"
        })
    });
    asked["update"]["services"] = services.collect();
    let rule = mock!(Client::describe_services).then_compute_output(move |request| {
        let services = request.services().iter().map(|arn| {
            let mut service = service("web:8");
            service.service_arn = Some(arn.clone());
            let number: usize = arn[SERVICE.len()..].parse().unwrap();
            service.current_service_deployment = (number < moving).then(|| "d8".to_owned());
            service
        });
        DescribeServicesOutput::builder()
            .set_services(Some(services.collect()))
            .build()
    });
    (asked, rule)
}

fn every_history() -> Rule {
    mock!(Client::list_service_deployments).then_output(|| {
        let mut page = page(&[7, 8], None);
        for brief in page.service_deployments.iter_mut().flatten() {
            brief.status = Some(ServiceDeploymentStatus::Successful);
        }
        page
    })
}

#[tokio::test]
async fn services_that_have_moved_are_not_asked_about_before_all_have() {
    let (asked, services) = many(1, 30);
    let (history, revisions, deployment) =
        (every_history(), revisions(), deployment_is("IN_PROGRESS"));
    let clients = clients(&[&services, &history, &revisions, &deployment]);
    assert_eq!(at(&clients, asked, LATER).await.unwrap(), None);
    assert_eq!(history.num_calls(), 0);
    assert_eq!((services.num_calls(), deployment.num_calls()), (3, 1));
}

#[tokio::test]
async fn the_revisions_of_many_services_are_asked_for_together() {
    let (asked, services) = many(0, 30);
    let (history, revisions) = (every_history(), revisions());
    let mut clients = clients(&[&services, &history, &revisions]);
    clients.elb = target_group(60);
    assert_eq!(health(&clients, asked).await.verdict, Verdict::Succeeded);
    assert_eq!((history.num_calls(), revisions.num_calls()), (30, 1));
}

#[tokio::test]
async fn a_release_that_is_in_alarm_at_its_end_is_unhealthy() {
    let rules = completed();
    let mut clients = clients(&rules.each_ref());
    clients.cloudwatch = alarms(&["5xx", "slow"]);
    let mut asked = asked();
    asked["alarms"] = json!(["5xx", "quiet", "slow"]);
    let health = health(&clients, asked).await;
    assert_eq!(health.verdict, Verdict::Unhealthy);
    assert_eq!(
        health.cause,
        "The deployment is complete, but these alarms of stack demo are in ALARM: 5xx, slow."
    );
}

#[tokio::test]
async fn a_release_whose_alarms_are_quiet_is_succeeded() {
    let rules = completed();
    let mut clients = clients(&rules.each_ref());
    clients.cloudwatch = alarms(&[]);
    let mut asked = asked();
    asked["alarms"] = json!(["5xx"]);
    assert_eq!(health(&clients, asked).await.verdict, Verdict::Succeeded);
}

fn stores() -> [Rule; 3] {
    use aws_sdk_dynamodb::Client;
    [
        mock!(Client::put_item).then_output(|| PutItemOutput::builder().build()),
        mock!(Client::batch_write_item)
            .match_requests(|request| {
                let writes = &request.request_items().unwrap()["waits"];
                let item = writes[0].put_request().unwrap().item();
                item["awaited"] == AttributeValue::S(SERVICE.to_owned())
            })
            .then_output(|| BatchWriteItemOutput::builder().build()),
        mock!(Client::transact_write_items)
            .then_output(|| TransactWriteItemsOutput::builder().build()),
    ]
}

/// The state machine is told that the release has succeeded.
fn succeeds() -> Rule {
    mock!(aws_sdk_sfn::Client::send_task_success)
        .match_requests(|request| {
            let output: Value = serde_json::from_str(request.output().unwrap()).unwrap();
            request.task_token() == Some("t") && output["verdict"] == "succeeded"
        })
        .then_output(|| SendTaskSuccessOutput::builder().build())
}

#[tokio::test]
async fn a_question_whose_answer_is_known_is_answered_at_once() {
    let (rules, stores, succeeds) = (completed(), stores(), succeeds());
    let mut clients = clients(&rules.each_ref());
    clients.waits = waits(&stores.each_ref(), &[&succeeds]);
    let payload = json!({"token": "t", "asked": asked()});
    handle(&clients, payload, || LATER).await.unwrap();
    assert_eq!(succeeds.num_calls(), 1);
}

#[tokio::test]
async fn a_deployment_that_has_just_begun_is_not_looked_at_before_an_event_tells_of_it() {
    let mut asked = asked();
    for (replaces, calls) in [(true, 0), (false, 1)] {
        asked["update"]["services"][0]["replacesTasks"] = json!(replaces);
        let (stores, moves) = (stores(), service_rolls_out(Some("d8")));
        let mut clients = clients(&[&moves]);
        clients.waits = waits(&stores.each_ref(), &[]);
        let payload = json!({"token": "t", "asked": asked});
        handle(&clients, payload, || BEGAN + 400).await.unwrap();
        assert_eq!(moves.num_calls(), calls);
    }
}

#[tokio::test]
async fn who_waits_for_a_service_is_answered_when_an_event_tells_of_it() {
    use aws_sdk_dynamodb::Client;
    let deployment = "arn:aws:ecs:us-east-1:123456789012:service-deployment/demo/web/d8";
    for (detail_type, resource, detail) in [
        (
            "ECS Deployment State Change",
            SERVICE,
            json!({"eventName": "SERVICE_DEPLOYMENT_COMPLETED"}),
        ),
        (
            "ECS Hook State Change",
            deployment,
            json!({"eventName": "HOOK_FAILED", "serviceArn": SERVICE}),
        ),
    ] {
        let pointers = mock!(Client::query)
            .match_requests(|request| {
                let values = request.expression_attribute_values().unwrap();
                values[":awaited"] == AttributeValue::S(SERVICE.to_owned())
            })
            .then_output(|| {
                let waiter = AttributeValue::S(format!("verify-health#{EXECUTION}"));
                QueryOutput::builder()
                    .items([("waiter".to_owned(), waiter)].into())
                    .build()
            });
        let counted = mock!(Client::update_item).then_output(|| {
            UpdateItemOutput::builder()
                .attributes("token", AttributeValue::S("t".to_owned()))
                .attributes("asked", AttributeValue::S(asked().to_string()))
                .attributes("events", AttributeValue::N("1".to_owned()))
                .build()
        });
        let (rules, [_, _, forgets], succeeds) = (completed(), stores(), succeeds());
        let mut clients = clients(&rules.each_ref());
        clients.waits = waits(&[&pointers, &counted, &forgets], &[&succeeds]);
        let event = json!({
            "version": "0", "id": "1", "detail-type": detail_type, "source": "aws.ecs",
            "account": "123456789012", "time": "2026-01-31T12:00:00Z", "region": "us-east-1",
            "resources": [resource], "detail": detail
        });
        handle(&clients, event, || LATER).await.unwrap();
        assert_eq!(succeeds.num_calls(), 1, "{detail_type}");
    }
}
