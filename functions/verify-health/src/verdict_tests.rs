use super::*;
use aws_sdk_ecs::types::builders::ServiceDeploymentBuilder;
use aws_sdk_ecs::types::{
    DeploymentAlarms, DeploymentCircuitBreaker, DeploymentConfiguration, Rollback,
    ServiceDeploymentAlarms, ServiceDeploymentCircuitBreaker, ServiceDeploymentStatus,
    ServiceRevisionSummary,
};

const REVISION: &str = "web:8";

fn deployment(status: &str) -> ServiceDeploymentBuilder {
    ServiceDeployment::builder().status(ServiceDeploymentStatus::from(status))
}

fn with_rollback(builder: ServiceDeploymentBuilder, rollback: bool) -> ServiceDeploymentBuilder {
    builder.deployment_configuration(
        DeploymentConfiguration::builder()
            .deployment_circuit_breaker(
                DeploymentCircuitBreaker::builder()
                    .enable(true)
                    .rollback(rollback)
                    .build(),
            )
            .build(),
    )
}

fn triggered(builder: ServiceDeploymentBuilder) -> ServiceDeploymentBuilder {
    builder.deployment_circuit_breaker(
        ServiceDeploymentCircuitBreaker::builder()
            .status(Monitor::Triggered)
            .failure_count(3)
            .threshold(3)
            .build(),
    )
}

fn judge(
    deployment: ServiceDeploymentBuilder,
    newer: Option<&str>,
    tasks: Option<Tasks>,
) -> (Verdict, String) {
    of_deployment(&Observation {
        deployment: &deployment.build(),
        task_definition: REVISION,
        newer,
        tasks,
        failures: None,
    })
}

fn running(task_definition: &str, running: i32, desired: i32) -> Option<Tasks> {
    Some(Tasks {
        task_definition: task_definition.to_owned(),
        running,
        desired,
        are_enough: running == desired,
    })
}

#[test]
fn a_deployment_that_is_not_over_is_in_progress() {
    for status in [
        "PENDING",
        "IN_PROGRESS",
        "STOP_REQUESTED",
        "ROLLBACK_REQUESTED",
        "ROLLBACK_IN_PROGRESS",
        "A_STATUS_OF_TOMORROW",
    ] {
        for newer in [None, Some("newer")] {
            let (verdict, reason) = judge(deployment(status), newer, None);
            assert_eq!(verdict, Verdict::InProgress, "{status}");
            assert!(reason.contains(status), "{reason}");
        }
    }
}

#[test]
fn progress_is_told_in_tasks() {
    let target = ServiceRevisionSummary::builder()
        .requested_task_count(2)
        .running_task_count(1)
        .build();
    let (_, reason) = judge(
        deployment("IN_PROGRESS").target_service_revision(target),
        None,
        None,
    );
    assert_eq!(
        reason,
        "The deployment is IN_PROGRESS with 1 of 2 tasks of the new revision running."
    );
}

#[test]
fn success_is_successful_and_all_tasks_running_the_revision() {
    let judge = |tasks| judge(deployment("SUCCESSFUL"), None, tasks).0;
    assert_eq!(judge(running(REVISION, 2, 2)), Verdict::Succeeded);
    assert_eq!(judge(running(REVISION, 0, 0)), Verdict::Succeeded);
    assert_eq!(judge(running(REVISION, 1, 2)), Verdict::InProgress);
    assert_eq!(judge(running("web:7", 2, 2)), Verdict::InProgress);
    assert_eq!(judge(None), Verdict::InProgress);
}

/// ECS calls a deployment SUCCESSFUL when a part of its tasks is healthy
/// (<https://github.com/kayac/ecspresso/issues/1080>).
#[test]
fn a_part_of_the_tasks_is_success_where_ecs_wants_no_more() {
    let early = |task_definition| {
        let tasks = running(task_definition, 2, 3).map(|tasks| Tasks {
            are_enough: true,
            ..tasks
        });
        judge(deployment("SUCCESSFUL"), None, tasks)
    };
    let (verdict, reason) = early(REVISION);
    assert_eq!(verdict, Verdict::Succeeded);
    assert!(reason.contains("2 of 3 tasks"), "{reason}");
    assert_eq!(early("web:7").0, Verdict::InProgress);
}

#[test]
fn a_later_deployment_does_not_undo_a_success() {
    let verdict = judge(
        deployment("SUCCESSFUL"),
        Some("newer"),
        running("web:9", 1, 2),
    );
    assert_eq!(verdict.0, Verdict::Succeeded);
}

#[test]
fn a_rollback_is_rolled_back_with_its_reason() {
    let rollback = Rollback::builder()
        .reason(
            "Service deployment rolled back because the circuit breaker threshold was exceeded.",
        )
        .build();
    let (verdict, reason) = judge(
        deployment("ROLLBACK_SUCCESSFUL").rollback(rollback),
        None,
        running("web:7", 2, 2),
    );
    assert_eq!(verdict, Verdict::RolledBack);
    assert!(reason.contains("threshold was exceeded."), "{reason}");
    assert!(!reason.contains(".."), "{reason}");
}

#[test]
fn a_rollback_that_failed_is_stalled() {
    let (verdict, reason) = judge(
        deployment("ROLLBACK_FAILED").status_reason("no capacity"),
        None,
        None,
    );
    assert_eq!(verdict, Verdict::Stalled);
    assert!(reason.contains("no capacity"), "{reason}");
}

#[test]
fn a_first_deployment_that_fails_is_stalled_because_there_is_nothing_to_roll_back_to() {
    let first = triggered(with_rollback(deployment("IN_PROGRESS"), true));
    let (verdict, reason) = judge(first, None, None);
    assert_eq!(verdict, Verdict::Stalled);
    assert!(reason.contains("3 tasks"), "{reason}");
}

#[test]
fn a_failure_without_rollback_configured_is_stalled() {
    let source = ServiceRevisionSummary::builder().arn("before").build();
    let failed =
        triggered(with_rollback(deployment("IN_PROGRESS"), false)).source_service_revisions(source);
    assert_eq!(judge(failed, None, None).0, Verdict::Stalled);
}

#[test]
fn rollback_by_alarms_does_not_roll_back_what_the_circuit_breaker_ends() {
    let configuration = DeploymentConfiguration::builder()
        .deployment_circuit_breaker(
            DeploymentCircuitBreaker::builder()
                .enable(true)
                .rollback(false)
                .build(),
        )
        .alarms(
            DeploymentAlarms::builder()
                .alarm_names("http-5xx")
                .enable(true)
                .rollback(true)
                .build()
                .unwrap(),
        )
        .build();
    let failed = || {
        deployment("IN_PROGRESS")
            .deployment_configuration(configuration.clone())
            .source_service_revisions(ServiceRevisionSummary::builder().arn("before").build())
    };
    assert_eq!(judge(triggered(failed()), None, None).0, Verdict::Stalled);

    let alarms = ServiceDeploymentAlarms::builder()
        .status(Monitor::Triggered)
        .build();
    assert_eq!(
        judge(failed().alarms(alarms), None, None).0,
        Verdict::InProgress
    );
}

#[test]
fn a_failure_that_ecs_is_about_to_roll_back_is_waited_for() {
    let source = ServiceRevisionSummary::builder().arn("before").build();
    let failed =
        triggered(with_rollback(deployment("IN_PROGRESS"), true)).source_service_revisions(source);
    assert_eq!(judge(failed, None, None).0, Verdict::InProgress);
}

#[test]
fn a_stopped_deployment_with_a_newer_one_is_superseded() {
    let (verdict, reason) = judge(deployment("STOPPED"), Some("arn:newer"), None);
    assert_eq!(verdict, Verdict::Superseded);
    assert!(reason.contains("arn:newer"), "{reason}");
}

#[test]
fn a_stopped_deployment_without_a_newer_one_was_stopped_by_a_person() {
    let (verdict, reason) = judge(
        deployment("STOPPED").status_reason("Service deployment was stopped by a user."),
        None,
        None,
    );
    assert_eq!(verdict, Verdict::Stopped);
    assert!(reason.contains("stopped by a user."), "{reason}");
}

#[test]
fn a_deployment_that_failed_before_it_was_stopped_has_failed() {
    for newer in [None, Some("newer")] {
        let failed = triggered(deployment("STOPPED"));
        assert_eq!(judge(failed, newer, None).0, Verdict::Stalled);

        let alarms = ServiceDeploymentAlarms::builder()
            .status(Monitor::Triggered)
            .triggered_alarm_names("http-5xx")
            .build();
        let (verdict, reason) = judge(deployment("STOPPED").alarms(alarms), newer, None);
        assert_eq!(verdict, Verdict::Stalled);
        assert!(reason.contains("http-5xx"), "{reason}");

        let rolling_back = deployment("STOPPED").rollback(Rollback::builder().build());
        assert_eq!(judge(rolling_back, newer, None).0, Verdict::RolledBack);
    }
}

fn health(service: &str, verdict: Verdict) -> ServiceHealth {
    ServiceHealth {
        service: format!("arn:aws:ecs:us-east-1:123456789012:service/demo/{service}"),
        verdict,
        reason: format!("{service} is so."),
        alarms: vec![],
        is_over: false,
        finished_at: None,
    }
}

#[test]
fn a_service_that_failed_decides_at_once_and_otherwise_the_worst_when_all_are_decided() {
    use Verdict::{InProgress, RolledBack, Stalled, Stopped, Succeeded, Superseded};
    let cases = [
        (vec![Succeeded, Succeeded], Succeeded),
        (vec![Succeeded, InProgress], InProgress),
        (vec![Superseded, InProgress], InProgress),
        (vec![Stalled, InProgress], Stalled),
        (vec![InProgress, Stopped], Stopped),
        (vec![Succeeded, Superseded], Superseded),
        (vec![Superseded, Stopped], Stopped),
        (vec![RolledBack, Stopped], RolledBack),
        (vec![RolledBack, Stalled, Succeeded], Stalled),
    ];
    for (verdicts, expected) in cases {
        let services = verdicts
            .iter()
            .map(|verdict| health("web", *verdict))
            .collect();
        assert_eq!(of_release(services).verdict, expected, "{verdicts:?}");
    }
}

#[test]
fn a_rollback_is_decided_when_every_service_is() {
    use Verdict::{InProgress, Stalled, Succeeded};
    let verdict = |verdicts: [Verdict; 2]| {
        let services = verdicts.map(|verdict| health("web", verdict));
        of_rollback(services.to_vec()).verdict
    };
    assert_eq!(verdict([Stalled, InProgress]), InProgress);
    assert_eq!(verdict([Stalled, Succeeded]), Stalled);
    assert_eq!(verdict([Succeeded, Succeeded]), Succeeded);
}

#[test]
fn the_cause_names_the_services_that_decided() {
    let health = of_release(vec![
        health("web", Verdict::Succeeded),
        health("worker", Verdict::RolledBack),
    ]);
    assert_eq!(health.cause, "Service demo/worker: worker is so.");
}

#[test]
fn a_service_is_told_with_the_alarms_that_ended_its_deployment() {
    let service = UpdatedService {
        cluster: "c".to_owned(),
        service: "s".to_owned(),
        task_definition: REVISION.to_owned(),
        previous_task_definition: "web:7".to_owned(),
        replaces_tasks: false,
    };
    for (status, named) in [
        (Monitor::Triggered, &["http-5xx"][..]),
        (Monitor::Monitoring, &[]),
    ] {
        let alarms = ServiceDeploymentAlarms::builder()
            .status(status)
            .triggered_alarm_names("http-5xx")
            .build();
        let told = of_service(
            &service,
            &Observation {
                deployment: &deployment("ROLLBACK_SUCCESSFUL").alarms(alarms).build(),
                task_definition: REVISION,
                newer: Some("newer"),
                tasks: None,
                failures: None,
            },
        );
        assert_eq!(told.verdict, Verdict::RolledBack);
        assert_eq!(told.alarms, named);
        assert!(told.is_over);
    }
}
