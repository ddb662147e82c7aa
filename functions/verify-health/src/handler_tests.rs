use super::*;
use aws_sdk_ecs::operation::describe_service_deployments::DescribeServiceDeploymentsOutput;
use aws_sdk_ecs::operation::describe_service_revisions::DescribeServiceRevisionsOutput;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::list_service_deployments::{
    ListServiceDeploymentsError, ListServiceDeploymentsOutput,
};
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{
    Deployment, Service, ServiceDeploymentBrief, ServiceDeploymentStatus, ServiceRevision,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use lambda_runtime::Diagnostic;
use serde_json::json;

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
    mock!(Client::describe_service_deployments)
        .match_requests(|request| request.service_deployment_arns() == ["d8".to_owned()])
        .then_output(move || {
            DescribeServiceDeploymentsOutput::builder()
                .service_deployments(
                    ServiceDeployment::builder()
                        .service_deployment_arn("d8")
                        .status(ServiceDeploymentStatus::from(status))
                        .build(),
                )
                .build()
        })
}

fn service_runs(task_definition: &'static str) -> Rule {
    mock!(Client::describe_services)
        .match_requests(|request| {
            request.cluster() == Some(CLUSTER) && request.services() == [SERVICE.to_owned()]
        })
        .then_output(|| {
            let deployment = |status: &str, task_definition: &str, running| {
                Deployment::builder()
                    .status(status)
                    .task_definition(task_definition)
                    .running_count(running)
                    .desired_count(2)
                    .build()
            };
            DescribeServicesOutput::builder()
                .services(
                    Service::builder()
                        .service_arn(SERVICE)
                        .deployments(deployment("ACTIVE", "web:0", 1))
                        .deployments(deployment("PRIMARY", task_definition, 2))
                        .build(),
                )
                .build()
        })
}

fn client(rules: &[&Rule]) -> Client {
    mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules)
}

#[tokio::test]
async fn a_completed_deployment_is_succeeded() {
    let (history, revisions, deployment, service) = (
        history(&[7, 8]),
        revisions(),
        deployment_is("SUCCESSFUL"),
        service_runs("web:8"),
    );
    let health = handle(
        &client(&[&history, &revisions, &deployment, &service]),
        event(),
    )
    .await
    .unwrap();
    assert_eq!(
        serde_json::to_value(health).unwrap(),
        json!({
            "verdict": "succeeded",
            "cause": "Service demo/web: The deployment is complete and all 2 tasks run the new revision.",
            "services": [{
                "service": SERVICE, "verdict": "succeeded", "status": "SUCCESSFUL",
                "reason": "The deployment is complete and all 2 tasks run the new revision."
            }]
        })
    );
}

#[tokio::test]
async fn a_rollback_is_never_success_though_the_service_is_stable() {
    let (history, revisions, deployment) = (
        history(&[8, 7]),
        revisions(),
        deployment_is("ROLLBACK_SUCCESSFUL"),
    );
    let health = handle(&client(&[&history, &revisions, &deployment]), event())
        .await
        .unwrap();
    assert_eq!(
        health.services[0].verdict,
        bluegreen_contract::Verdict::RolledBack
    );
}

#[tokio::test]
async fn a_stopped_deployment_before_a_newer_one_is_superseded() {
    let (history, revisions, deployment) =
        (history(&[9, 7, 8]), revisions(), deployment_is("STOPPED"));
    let health = handle(&client(&[&history, &revisions, &deployment]), event())
        .await
        .unwrap();
    assert_eq!(health.verdict, bluegreen_contract::Verdict::Superseded);
    assert!(health.cause.contains("d9"), "{}", health.cause);
}

#[tokio::test]
async fn all_pages_and_all_revisions_are_looked_at() {
    let pages = mock!(Client::list_service_deployments)
        .sequence()
        .output(|| page(&(9..60).collect::<Vec<_>>(), Some("more")))
        .output(|| page(&[7, 8], None))
        .build();
    let (revisions, deployment) = (revisions(), deployment_is("IN_PROGRESS"));
    let health = handle(&client(&[&pages, &revisions, &deployment]), event())
        .await
        .unwrap();
    assert_eq!(health.verdict, bluegreen_contract::Verdict::InProgress);
    assert_eq!((pages.num_calls(), revisions.num_calls()), (2, 3));
}

#[tokio::test]
async fn no_deployment_of_the_revision_is_deployment_not_found() {
    for numbers in [&[][..], &[7]] {
        let (history, revisions) = (history(numbers), revisions());
        let failure: Diagnostic = handle(&client(&[&history, &revisions]), event())
            .await
            .unwrap_err()
            .into();
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
    let failure: Diagnostic = handle(&client(&[&refused]), event())
        .await
        .unwrap_err()
        .into();
    assert_eq!(failure.error_type, "AwsRequestFailed");
    assert!(
        failure.error_message.contains("ecs:ListServiceDeployments"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn bad_input_is_invalid_input_and_names_the_field() {
    let cases = [
        (json!({"services": []}), "`services`"),
        (json!({"services": [{"cluster": CLUSTER}]}), "`services[0]`"),
    ];
    for (event, named) in cases {
        let failure: Diagnostic = handle(&client(&[]), event).await.unwrap_err().into();
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }
}
