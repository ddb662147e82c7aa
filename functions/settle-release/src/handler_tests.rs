use super::*;
use aws_sdk_ecs::operation::describe_service_deployments::DescribeServiceDeploymentsOutput;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::describe_tasks::DescribeTasksOutput;
use aws_sdk_ecs::operation::list_tasks::{ListTasksError, ListTasksOutput};
use aws_sdk_ecs::operation::stop_service_deployment::{
    StopServiceDeploymentError, StopServiceDeploymentOutput,
};
use aws_sdk_ecs::operation::stop_task::StopTaskOutput;
use aws_sdk_ecs::types::{DesiredStatus, Service, ServiceDeploymentStatus, Task};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use lambda_runtime::Diagnostic;
use serde_json::json;

const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";
const SERVICE: &str = "arn:aws:ecs:us-east-1:123456789012:service/demo/web";

fn event(stop: &str) -> Value {
    json!({
        "stack": "demo", "stop": stop,
        "services": [{
            "cluster": CLUSTER, "service": SERVICE, "taskDefinition": "web:7", "containers": ["web"]
        }]
    })
}

/// ARNs of the stack's tasks that are to run and of those that are to stop.
fn listed(running: &'static [&str], stopping: &'static [&str]) -> Rule {
    mock!(Client::list_tasks)
        .match_requests(|request| {
            request.cluster() == Some(CLUSTER) && request.started_by() == Some("bluegreen/demo")
        })
        .then_compute_output(move |request| {
            let arns = match request.desired_status() {
                Some(DesiredStatus::Stopped) => stopping,
                _ => running,
            };
            ListTasksOutput::builder()
                .set_task_arns(Some(arns.iter().map(|arn| (*arn).to_owned()).collect()))
                .build()
        })
}

/// A task's ARN is its last status in lower case; it is to stop where it is none of a running one.
fn tasks() -> Rule {
    mock!(Client::describe_tasks).then_compute_output(|request| {
        let tasks = request.tasks().iter().map(|arn| {
            let status = arn.to_uppercase();
            let desired = match status.as_str() {
                "RUNNING" | "PROVISIONING" => "RUNNING",
                _ => "STOPPED",
            };
            Task::builder()
                .task_arn(arn)
                .last_status(status)
                .desired_status(desired)
                .build()
        });
        DescribeTasksOutput::builder()
            .set_tasks(Some(tasks.collect()))
            .build()
    })
}

fn service(deployment: Option<&'static str>) -> Rule {
    mock!(Client::describe_services).then_output(move || {
        DescribeServicesOutput::builder()
            .services(
                Service::builder()
                    .service_arn(SERVICE)
                    .set_current_service_deployment(deployment.map(str::to_owned))
                    .build(),
            )
            .build()
    })
}

fn deployment(status: &'static str) -> Rule {
    mock!(Client::describe_service_deployments).then_output(move || {
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

fn stops_task(arn: &'static str) -> Rule {
    mock!(Client::stop_task)
        .match_requests(move |request| {
            request.cluster() == Some(CLUSTER) && request.task() == Some(arn)
        })
        .then_output(|| StopTaskOutput::builder().build())
}

fn rolls_back() -> Rule {
    mock!(Client::stop_service_deployment)
        .match_requests(|request| {
            request.service_deployment_arn() == Some("d8")
                && request.stop_type() == Some(&StopServiceDeploymentStopType::Rollback)
        })
        .then_output(|| StopServiceDeploymentOutput::builder().build())
}

fn client(rules: &[&Rule]) -> Client {
    mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules)
}

#[tokio::test(start_paused = true)]
async fn a_stack_without_tasks_and_deployments_is_settled() {
    let (listed, tasks, service) = (listed(&[], &["stopped"]), tasks(), service(None));
    let answer = handle(&client(&[&listed, &tasks, &service]), event("all"))
        .await
        .unwrap();
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({
            "settled": true, "cause": "Nothing of an earlier release is at work in stack demo.",
            "tasks": [], "deployments": []
        })
    );
}

#[tokio::test]
async fn what_is_at_work_is_stopped_once_and_told() {
    let (listed, tasks, service, deployment) = (
        listed(&["running"], &["stopped", "deactivating"]),
        tasks(),
        service(Some("d8")),
        deployment("IN_PROGRESS"),
    );
    let (stops, back) = (stops_task("running"), rolls_back());
    let rules = [&listed, &tasks, &service, &deployment, &stops, &back];
    let answer = handle(&client(&rules), event("all")).await.unwrap();
    assert_eq!((stops.num_calls(), back.num_calls()), (1, 1));
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({
            "settled": false,
            "cause": "An earlier release is still at work in stack demo. Task running is RUNNING and was told to stop. Task deactivating is DEACTIVATING and is stopping. Service deployment d8 is IN_PROGRESS and was told to roll back.",
            "tasks": ["running", "deactivating"], "deployments": ["d8"]
        })
    );
}

#[tokio::test]
async fn only_a_look_is_taken_where_nothing_is_to_be_stopped() {
    let (listed, tasks, service, deployment) = (
        listed(&["provisioning"], &[]),
        tasks(),
        service(Some("d8")),
        deployment("PENDING"),
    );
    let rules = [&listed, &tasks, &service, &deployment];
    let answer = handle(&client(&rules), event("nothing")).await.unwrap();
    assert!(!answer.settled);
    assert_eq!(answer.tasks, ["provisioning"]);
    assert_eq!(answer.deployments, ["d8"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ecs_does_not_list_yet_is_not_missed() {
    let looks = mock!(Client::list_tasks)
        .sequence()
        .output(|| ListTasksOutput::builder().build())
        .times(2)
        .output(|| ListTasksOutput::builder().task_arns("running").build())
        .output(|| ListTasksOutput::builder().build())
        .build();
    let (tasks, service, stops) = (tasks(), service(None), stops_task("running"));
    let answer = handle(&client(&[&looks, &tasks, &service, &stops]), event("all"))
        .await
        .unwrap();
    assert!(!answer.settled);
    assert_eq!(stops.num_calls(), 1);
}

#[tokio::test]
async fn a_deployment_on_its_way_back_is_waited_for() {
    let (listed, service, deployment) = (
        listed(&[], &[]),
        service(Some("d8")),
        deployment("ROLLBACK_IN_PROGRESS"),
    );
    let answer = handle(&client(&[&listed, &service, &deployment]), event("all"))
        .await
        .unwrap();
    assert!(!answer.settled);
    assert!(answer.cause.contains("ROLLBACK_IN_PROGRESS"), "{answer:?}");
}

#[tokio::test]
async fn a_deployment_that_cannot_go_back_is_told_with_ecss_reason() {
    let refuses = mock!(Client::stop_service_deployment).then_error(|| {
        StopServiceDeploymentError::generic(
            aws_sdk_ecs::error::ErrorMetadata::builder()
                .code("ConflictException")
                .message("There is nothing to go back to.")
                .build(),
        )
    });
    let (listed, service, deployment) = (
        listed(&[], &[]),
        service(Some("d8")),
        deployment("IN_PROGRESS"),
    );
    let rules = [&listed, &service, &deployment, &refuses];
    let answer = handle(&client(&rules), event("all")).await.unwrap();
    assert!(!answer.settled);
    assert!(
        answer.cause.contains("There is nothing to go back to."),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_refused_request_is_aws_request_failed() {
    let refused = mock!(Client::list_tasks).then_error(|| {
        ListTasksError::generic(
            aws_sdk_ecs::error::ErrorMetadata::builder()
                .code("AccessDeniedException")
                .message("not you")
                .build(),
        )
    });
    let failure: Diagnostic = handle(&client(&[&refused]), event("nothing"))
        .await
        .unwrap_err()
        .into();
    assert_eq!(failure.error_type, "AwsRequestFailed");
    assert!(
        failure.error_message.contains("ecs:ListTasks"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn bad_input_is_invalid_input_and_nothing_is_asked_of_aws() {
    for (key, value, named) in [
        ("services", json!([]), "`services`"),
        ("stop", json!("some"), "`stop`"),
        ("extra", json!(1), "`extra`"),
    ] {
        let mut event = event("all");
        event[key] = value;
        let failure: Diagnostic = handle(&client(&[]), event).await.unwrap_err().into();
        assert_eq!(failure.error_type, "InvalidInput");
        assert!(failure.error_message.contains(named), "{failure:?}");
    }
}
