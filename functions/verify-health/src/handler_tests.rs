use super::*;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::operation::describe_service_deployments::DescribeServiceDeploymentsOutput;
use aws_sdk_ecs::operation::describe_service_revisions::DescribeServiceRevisionsOutput;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::list_service_deployments::{
    ListServiceDeploymentsError, ListServiceDeploymentsOutput,
};
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{
    Deployment, DeploymentRolloutState, LoadBalancer, Service, ServiceDeployment,
    ServiceDeploymentAlarms, ServiceDeploymentBrief,
    ServiceDeploymentRollbackMonitorsStatus as Monitor, ServiceDeploymentStatus, ServiceRevision,
    ServiceRevisionSummary,
};
use aws_sdk_elasticloadbalancingv2::operation::describe_target_health::DescribeTargetHealthOutput;
use aws_sdk_elasticloadbalancingv2::types::{
    TargetHealth, TargetHealthDescription, TargetHealthStateEnum,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use lambda_runtime::Diagnostic;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";
const SERVICE: &str = "arn:aws:ecs:us-east-1:123456789012:service/demo/web";

fn event() -> Value {
    json!({"services": [{
        "cluster": CLUSTER, "service": SERVICE,
        "taskDefinition": "web:8", "previousTaskDefinition": "web:7"
    }]})
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

/// ECS as the rules say, and an application that is well.
fn clients(rules: &[&Rule]) -> Clients {
    Clients {
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules),
        elb: target_group(2),
        web: Web::new().unwrap(),
    }
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

async fn health(clients: &Clients, event: Value) -> Health {
    handle(clients, event).await.unwrap()
}

async fn failure(clients: &Clients, event: Value) -> Diagnostic {
    handle(clients, event).await.unwrap_err().into()
}

#[tokio::test]
async fn a_completed_deployment_is_succeeded() {
    let rules = completed();
    let health = health(&clients(&rules.each_ref()), event()).await;
    assert_eq!(
        serde_json::to_value(health).unwrap(),
        json!({
            "verdict": "succeeded",
            "cause": "Service demo/web: The deployment is complete and all 2 tasks run the new revision.",
            "services": [{
                "service": SERVICE, "verdict": "succeeded", "status": "SUCCESSFUL",
                "reason": "The deployment is complete and all 2 tasks run the new revision.",
                "alarms": []
            }]
        })
    );
}

#[tokio::test]
async fn a_deployment_in_progress_is_found_without_asking_for_the_services_history() {
    let (service, deployment, revisions) =
        (service_moves(), deployment_is("IN_PROGRESS"), revisions());
    let health = health(&clients(&[&service, &deployment, &revisions]), event()).await;
    assert_eq!(health.verdict, Verdict::InProgress);
    assert_eq!(health.services[0].status, "IN_PROGRESS");
}

#[tokio::test]
async fn a_rollback_is_never_success_though_the_service_is_stable() {
    let rules = [
        history(&[8, 7]),
        revisions(),
        deployment_is("ROLLBACK_SUCCESSFUL"),
        service_runs("web:7"),
    ];
    let health = health(&clients(&rules.each_ref()), event()).await;
    assert_eq!(health.services[0].verdict, Verdict::RolledBack);
}

#[tokio::test]
async fn a_stopped_deployment_before_a_newer_one_is_superseded() {
    let rules = [
        history(&[9, 7, 8]),
        revisions(),
        deployment_is("STOPPED"),
        service_runs("web:9"),
    ];
    let health = health(&clients(&rules.each_ref()), event()).await;
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
        event(),
    )
    .await;
    assert_eq!(health.verdict, Verdict::Superseded);
    assert_eq!((pages.num_calls(), revisions.num_calls()), (2, 3));
}

#[tokio::test]
async fn traffic_that_does_not_reach_all_tasks_yet_is_waited_for() {
    let rules = completed();
    let mut clients = clients(&rules.each_ref());
    clients.elb = target_group(1);
    let health = health(&clients, event()).await;
    assert_eq!(health.verdict, Verdict::InProgress);
    assert!(
        health.cause.contains("1 of 2 targets of group"),
        "{health:?}"
    );
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
        let mut event = event();
        event["healthCheckUrl"] = json!(url);
        let health = health(&clients, event).await;
        assert_eq!(health.verdict, expected, "{status}");
        if expected == Verdict::Unhealthy {
            assert!(health.cause.contains(&url), "{health:?}");
            assert!(health.cause.contains(&status[..3]), "{health:?}");
        }
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
    assert_eq!(health(&clients, event()).await.verdict, Verdict::Succeeded);
}

fn back() -> Value {
    let mut event = event();
    event["rollback"] = json!(true);
    event["services"][0]["taskDefinition"] = json!("web:7");
    event["services"][0]["previousTaskDefinition"] = json!("web:8");
    event
}

#[tokio::test]
async fn a_service_that_is_back_at_its_revision_is_succeeded() {
    let service = service_runs("web:7");
    let mut clients = clients(&[&service]);
    clients.elb = target_group(0);
    assert_eq!(health(&clients, back()).await.verdict, Verdict::Succeeded);
}

#[tokio::test]
async fn a_service_on_its_way_back_is_in_progress() {
    for status in ["ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS", "IN_PROGRESS"] {
        let (service, deployment, revisions) =
            (service_moves(), deployment_is(status), revisions());
        let health = health(&clients(&[&service, &deployment, &revisions]), back()).await;
        assert_eq!(health.verdict, Verdict::InProgress, "{status}");
        assert!(health.cause.contains(status), "{health:?}");
    }
}

#[tokio::test]
async fn a_way_back_that_failed_is_stalled() {
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
async fn a_way_back_that_ecs_has_taken_back_names_the_alarms_by_which_it_did() {
    let alarms = |status| {
        let alarms = ServiceDeploymentAlarms::builder().status(status);
        alarms.triggered_alarm_names("errors").build()
    };
    for (by, named) in [
        (Monitor::Triggered, &["errors"][..]),
        (Monitor::Monitoring, &[]),
    ] {
        let rules = [
            history(&[8, 7]),
            revisions(),
            deployment_is_ended("ROLLBACK_SUCCESSFUL", Some(alarms(by))),
            service_runs("web:7"),
        ];
        let mut back_to_8 = event();
        back_to_8["rollback"] = json!(true);
        let health = health(&clients(&rules.each_ref()), back_to_8).await;
        assert_eq!(health.verdict, Verdict::RolledBack);
        assert_eq!(health.services[0].alarms, named);
    }
}

#[tokio::test]
async fn a_deployment_of_long_ago_is_no_way_back() {
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
        let failure = failure(&clients(&[&history, &revisions, &service]), event()).await;
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
    let failure = failure(&clients(&[&service, &refused]), event()).await;
    assert_eq!(failure.error_type, "AwsRequestFailed");
    assert!(
        failure.error_message.contains("ecs:ListServiceDeployments"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn bad_input_is_invalid_input_and_names_the_field() {
    let mut no_url = event();
    no_url["healthCheckUrl"] = json!("demo/health");
    let cases = [
        (json!({"services": []}), "`services`"),
        (json!({"services": [{"cluster": CLUSTER}]}), "`services[0]`"),
        (no_url, "`healthCheckUrl`"),
    ];
    for (event, named) in cases {
        let failure = failure(&clients(&[]), event).await;
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }
}
