use super::*;
use aws_sdk_cloudwatchlogs::operation::get_log_events::GetLogEventsOutput;
use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
use aws_sdk_ecs::operation::describe_services::DescribeServicesOutput;
use aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionOutput;
use aws_sdk_ecs::operation::describe_tasks::DescribeTasksOutput;
use aws_sdk_ecs::operation::list_tasks::{ListTasksError, ListTasksOutput};
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{
    Container, ContainerDefinition, LogConfiguration, LogDriver, ServiceEvent, TaskDefinition,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::diagnostic;
use serde_json::json;

const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";
const SERVICE: &str = "arn:aws:ecs:us-east-1:123456789012:service/demo/web";
const TASK: &str = "arn:aws:ecs:us-east-1:123456789012:task/demo/0123";
const CAUSE: &str = "The deployment was rolled back by ECS.";

fn event() -> Value {
    json!({
        "update": {
            "services": [{
                "cluster": CLUSTER, "service": SERVICE, "taskDefinition": "web:8",
                "previousTaskDefinition": "web:7"
            }],
            "at": 10_000, "deadline": 20_000, "tries": 1
        },
        "health": {"verdict": "rolledBack", "cause": CAUSE, "at": 15_000}
    })
}

fn service() -> Rule {
    mock!(aws_sdk_ecs::Client::describe_services).then_output(|| {
        let trouble = ServiceEvent::builder()
            .created_at(DateTime::from_secs(12))
            .message("(service web) (port 3000) is unhealthy in (target-group t)");
        let service = Service::builder()
            .service_arn(SERVICE)
            .events(trouble.build());
        DescribeServicesOutput::builder()
            .services(service.build())
            .build()
    })
}

fn lists(tasks: &'static [&'static str]) -> Rule {
    mock!(aws_sdk_ecs::Client::list_tasks)
        .match_requests(|request| {
            request.cluster() == Some(CLUSTER)
                && request.service_name() == Some(SERVICE)
                && request.desired_status() == Some(&DesiredStatus::Stopped)
        })
        .then_output(move || {
            let arns = tasks.iter().map(|task| (*task).to_owned()).collect();
            ListTasksOutput::builder().set_task_arns(Some(arns)).build()
        })
}

fn clients(ecs: &[&Rule], logs: &[&Rule]) -> Clients {
    Clients {
        ecs: mock_client!(aws_sdk_ecs, RuleMode::MatchAny, ecs),
        logs: mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, logs),
    }
}

#[tokio::test]
async fn the_cause_says_why_tasks_stopped_and_what_the_container_wrote_last() {
    let tasks = mock!(aws_sdk_ecs::Client::describe_tasks).then_output(|| {
        let container = Container::builder().name("web").exit_code(2);
        let task = Task::builder()
            .task_arn(TASK)
            .task_definition_arn("web:8")
            .stopped_reason("Essential container in task exited")
            .containers(container.build());
        DescribeTasksOutput::builder().tasks(task.build()).build()
    });
    let revision = mock!(aws_sdk_ecs::Client::describe_task_definition)
        .match_requests(|request| request.task_definition() == Some("web:8"))
        .then_output(|| {
            let log = LogConfiguration::builder()
                .log_driver(LogDriver::Awslogs)
                .options("awslogs-group", "/ecs/demo")
                .options("awslogs-stream-prefix", "app");
            let container = ContainerDefinition::builder()
                .name("web")
                .log_configuration(log.build().unwrap());
            let definition = TaskDefinition::builder().container_definitions(container.build());
            DescribeTaskDefinitionOutput::builder()
                .task_definition(definition.build())
                .build()
        });
    let log = mock!(aws_sdk_cloudwatchlogs::Client::get_log_events)
        .match_requests(|request| request.log_stream_name() == Some("app/web/0123"))
        .then_output(|| {
            let line = OutputLogEvent::builder().message("unknown option --prot");
            GetLogEventsOutput::builder().events(line.build()).build()
        });
    let (service, lists) = (service(), lists(&[TASK]));
    let clients = clients(&[&service, &lists, &tasks, &revision], &[&log]);

    let health = handle(&clients, event()).await.unwrap();

    let mut lines = health.cause.lines();
    let first = format!("Container web exited with code 2: unknown option --prot. {CAUSE}");
    assert_eq!(lines.next(), Some(first.as_str()));
    assert_eq!(lines.next(), Some("Service web:"));
    for told in [
        "- 1 task: Essential container in task exited. Container web exited with code 2.",
        "- ECS: (service web) (port 3000) is unhealthy in (target-group t).",
        "unknown option --prot",
    ] {
        assert!(health.cause.contains(told), "{told}: {}", health.cause);
    }
    assert_eq!(health.at, 15_000);
}

#[tokio::test]
async fn what_ecs_says_nothing_of_is_left_as_it_was() {
    let quiet = mock!(aws_sdk_ecs::Client::describe_services)
        .then_output(|| DescribeServicesOutput::builder().build());
    let lists = lists(&[]);
    let health = handle(&clients(&[&quiet, &lists], &[]), event())
        .await
        .unwrap();
    assert_eq!(health.cause, CAUSE);
}

#[tokio::test]
async fn a_refused_request_is_aws_request_failed() {
    let service = service();
    let refused = mock!(aws_sdk_ecs::Client::list_tasks).then_error(|| {
        ListTasksError::generic(
            aws_sdk_ecs::error::ErrorMetadata::builder()
                .code("AccessDeniedException")
                .build(),
        )
    });
    let answer = handle(&clients(&[&service, &refused], &[]), event()).await;
    let failure = diagnostic(answer.unwrap_err());
    assert_eq!(failure.error_type, "AwsRequestFailed");
}

#[tokio::test]
async fn bad_input_is_named() {
    let answer = handle(&clients(&[], &[]), json!({"health": 1})).await;
    let failure = diagnostic(answer.unwrap_err());
    assert_eq!(failure.error_type, "InvalidInput");
}
