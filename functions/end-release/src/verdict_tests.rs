use super::*;
use crate::samples::{
    before, contract, failure, health, input, migration, plan, post_deploy, record, rollback,
    target,
};
use serde_json::{Value, json};

/// Verdict, verdict of the record, error, and whether something was left running.
type Short = (&'static str, &'static str, Option<String>, bool);

fn ended(more: Value, record: Option<&Record>) -> Short {
    let input = input(more);
    let facts = Facts {
        input: &input,
        record,
        serves: None,
    };
    let ended = facts.ended().unwrap();
    (
        ended.verdict,
        ended.recorded,
        ended.error.map(str::to_owned),
        ended.left_running,
    )
}

/// Of a release that no try touched a service of.
fn of(more: Value) -> Short {
    ended(more, None)
}

fn short(verdict: &'static str, error: &str, left_running: bool) -> Short {
    let error = (!error.is_empty()).then(|| error.to_owned());
    (verdict, verdict, error, left_running)
}

#[test]
fn a_release_that_is_healthy_has_succeeded() {
    let healthy = json!({"health": health("succeeded"), "current": {}});
    assert_eq!(of(healthy), short("succeeded", "", false));
}

#[test]
fn a_failure_that_touched_no_service_is_recorded_as_it_is() {
    let failed = json!({"failure": failure("CheckExitCode", "MigrationFailed", "It failed.")});
    assert_eq!(of(failed), short("failed", "MigrationFailed", false));
    let unplanned = json!({
        "plan": null, "turn": null, "failure": failure("PlanRelease", "StackNotFound", "No.")
    });
    assert_eq!(of(unplanned), short("failed", "StackNotFound", false));
}

#[test]
fn an_error_that_no_function_names_is_a_fault_of_the_pipeline() {
    for error in [
        "States.Timeout",
        "States.DataLimitExceeded",
        "Lambda.Unknown",
        "Runtime.ExitError",
        "Sandbox.Timedout",
        "alloc::string::String",
        "",
    ] {
        let fault = json!({"failure": {"step": "PlanInTurn", "Error": error, "Cause": ""}});
        assert_eq!(
            of(fault),
            short("failed", "PipelineFault", false),
            "{error}"
        );
    }
}

#[test]
fn a_failure_that_was_rolled_back_is_recorded_with_the_error_that_began_it() {
    for (verdict, error) in [
        ("rolledBack", "DeploymentRolledBack"),
        ("stopped", "DeploymentStopped"),
        ("unhealthy", "DeploymentUnhealthy"),
        ("stalled", "DeploymentStalled"),
    ] {
        let rolled_back = json!({
            "health": health(verdict), "target": before(false), "rollback": health("succeeded"),
            "current": {}
        });
        assert_eq!(of(rolled_back), short("rolledBack", error, false));
    }
    let refused = json!({
        "failure": failure("UpdateService", "ServiceUpdateRefused", "ECS refused it."),
        "target": target(false), "rollback": health("succeeded"), "current": {}
    });
    let expected = short("rolledBack", "ServiceUpdateRefused", false);
    assert_eq!(of(refused), expected);
}

/// The next release that fails looks further back.
#[test]
fn nobody_vouches_for_what_ran_before_where_the_table_could_not_be_read() {
    let unread = json!({
        "health": health("unhealthy"), "target": before(true), "rollback": health("succeeded"),
        "current": {}
    });
    assert_eq!(of(unread), short("failed", "DeploymentUnhealthy", false));
}

#[test]
fn a_rollback_that_fails_needs_a_person_and_may_have_left_something_in_progress() {
    let expected = short("failed", "RollbackFailed", true);
    for step in ["ChooseTarget", "RollBack", "VerifyRollback"] {
        let failed = json!({
            "health": health("unhealthy"), "failure": failure(step, "AwsRequestFailed", "No.")
        });
        assert_eq!(of(failed), expected, "{step}");
    }
    for verdict in ["stopped", "rolledBack", "stalled", "superseded"] {
        let failed = json!({
            "health": health("unhealthy"), "target": target(false), "rollback": health(verdict)
        });
        assert_eq!(of(failed), expected, "{verdict}");
    }
    let asked_for = json!({
        "plan": rollback(), "target": target(true), "rollback": health("stalled")
    });
    assert_eq!(of(asked_for), expected);
}

#[test]
fn what_made_a_rollback_necessary_is_known_also_where_the_rollback_failed() {
    let mut failed = failure("RollBack", "RollbackRefused", "No.");
    failed["began"] = failure("UpdateService", "ServiceUpdateRefused", "ECS refused it.");
    let input = input(json!({"failure": failed, "target": target(false)}));
    let facts = Facts {
        input: &input,
        record: None,
        serves: None,
    };
    let What::RollbackFailed {
        began: Some(Began::Failure(began)),
        ..
    } = facts.ended().unwrap().what
    else {
        panic!("{:?}", facts.ended());
    };
    assert_eq!(began.error, "ServiceUpdateRefused");
}

#[test]
fn a_rollback_that_was_asked_for_and_leads_nowhere_has_changed_nothing() {
    for error in ["NothingToGoBackTo", "AwsRequestFailed"] {
        let nowhere = json!({"plan": rollback(), "failure": failure("ChooseTarget", error, "No.")});
        assert_eq!(of(nowhere), short("failed", error, false));
    }
}

#[test]
fn a_rollback_that_was_asked_for_succeeds() {
    let restored = json!({
        "plan": rollback(), "target": target(true), "rollback": health("succeeded"), "current": {}
    });
    assert_eq!(of(restored), short("succeeded", "", false));
}

#[test]
fn what_is_not_known_to_be_in_service_is_not_recorded_as_a_success() {
    let failure = failure("RecordCurrent", "AwsRequestFailed", "No.");
    let healthy = json!({"health": health("succeeded"), "failure": failure});
    let restored = json!({
        "plan": rollback(), "target": target(true), "rollback": health("succeeded"),
        "failure": failure
    });
    let told = Record {
        verdict: "succeeded".to_owned(),
        ..record(Some(0))
    };
    for served in [healthy, restored] {
        let open = ended(served.clone(), Some(&record(Some(0))));
        assert_eq!(open, short("abandoned", "AwsRequestFailed", false));
        let closed = ended(served, Some(&told));
        assert_eq!(closed, short("succeeded", "AwsRequestFailed", false));
    }
}

#[test]
fn a_failure_keeps_its_error_where_its_rollback_could_not_be_recorded() {
    let mut failed = failure("RecordCurrent", "AwsRequestFailed", "No.");
    failed["began"] = failure("VerifyHealth", "DeploymentNotFound", "Gone.");
    let rolled_back = json!({
        "failure": failed, "target": before(false), "rollback": health("succeeded")
    });
    let expected = short("rolledBack", "DeploymentNotFound", false);
    assert_eq!(of(rolled_back), expected);
    let unwell = json!({
        "failure": failure("RecordCurrent", "AwsRequestFailed", "No."),
        "health": health("unhealthy"), "target": before(false), "rollback": health("succeeded")
    });
    assert_eq!(
        of(unwell),
        short("rolledBack", "DeploymentUnhealthy", false)
    );
}

#[test]
fn an_image_parameter_that_was_not_written_fails_a_release_by_name_that_stays_healthy() {
    let unwritten = json!({"unwritten": {
        "parameter": "/bluegreen/shop/image", "reason": "not you",
        "serving": {"repository": "shop", "image": "registry/shop@sha256:2"}
    }});
    let healthy = json!({"health": health("succeeded"), "current": unwritten});
    assert_eq!(
        of(healthy),
        short("succeeded", "ImageParameterNotWritten", false)
    );

    let plan = plan(json!({"action": "record", "ending": {"verdict": "nothingToDeploy"}}));
    let nothing = json!({"plan": plan, "current": unwritten});
    let expected = short("nothingToDeploy", "ImageParameterNotWritten", false);
    assert_eq!(of(nothing), expected);

    // A release that failed before keeps its error.
    let failed = json!({
        "health": health("rolledBack"), "target": before(false), "rollback": health("succeeded"),
        "current": unwritten
    });
    assert_eq!(
        of(failed),
        short("rolledBack", "DeploymentRolledBack", false)
    );
}

#[test]
fn a_healthy_release_stays_whatever_came_of_its_post_deploy_command() {
    for (step, error, left_running) in [
        ("RunPostDeploy", "TaskNotStarted", false),
        ("RunPostDeploy", "CapacityUnavailable", false),
        ("RunPostDeploy", "AwsRequestFailed", true),
        ("WaitPostDeploy", "TaskNotFound", true),
        ("CheckPostDeploy", "MigrationFailed", false),
        ("CheckPostDeploy", "MigrationTimedOut", true),
    ] {
        let failed = json!({
            "health": health("succeeded"), "current": {}, "postDeploy": post_deploy(),
            "failure": failure(step, error, "No.")
        });
        let expected = short("succeeded", "PostDeployFailed", left_running);
        assert_eq!(of(failed), expected, "{step} {error}");
    }
}

#[test]
fn a_migration_that_may_still_run_is_left_to_the_next_release() {
    let stopped = json!({"stopCode": null, "stoppedReason": null, "containers": []});
    for (step, error, stopped, left_running) in [
        ("RunMigration", "CommandNotOfStack", &Value::Null, false),
        ("RunMigration", "TaskNotStarted", &Value::Null, false),
        ("RunMigration", "CapacityUnavailable", &Value::Null, false),
        ("RunMigration", "AwsRequestFailed", &Value::Null, true),
        ("RunMigration", "States.Timeout", &Value::Null, true),
        ("WaitTask", "AwsRequestFailed", &Value::Null, true),
        ("WaitTask", "TaskNotFound", &Value::Null, true),
        ("CheckExitCode", "MigrationTimedOut", &Value::Null, true),
        ("CheckExitCode", "MigrationTimedOut", &stopped, false),
        ("CheckExitCode", "MigrationFailed", &stopped, false),
    ] {
        let failed = json!({
            "migration": migration(), "failure": failure(step, error, "No."),
            "migrationEnded": {
                "lastStatus": "RUNNING", "overdue": true, "at": 1, "stopped": stopped
            }
        });
        let (verdict, _, _, left) = of(failed);
        assert_eq!((verdict, left), ("failed", left_running), "{step} {error}");
    }
}

/// It was an earlier try, before the execution was redriven, that had changed the services.
#[test]
fn a_migration_that_may_still_run_is_left_to_the_next_release_also_where_the_services_are_back() {
    for (step, error, left_running) in [
        ("RunMigration", "TaskNotStarted", false),
        ("RunMigration", "AwsRequestFailed", true),
        ("WaitTask", "AwsRequestFailed", true),
        ("PlanInTurn", "ImageNotFound", false),
    ] {
        let failure = failure(step, error, "No.");
        let rolled_back = json!({
            "migration": migration(), "failure": failure, "target": target(false),
            "rollback": health("succeeded"), "current": {}
        });
        let expected = short("rolledBack", error, left_running);
        assert_eq!(of(rolled_back.clone()), expected, "{step} {error}");

        let mut unrecorded = rolled_back;
        let mut failed = self::failure("RecordCurrent", "AwsRequestFailed", "No.");
        failed["began"] = failure;
        unrecorded["failure"] = failed;
        assert_eq!(of(unrecorded), expected, "{step} {error}");
    }
}

#[test]
fn a_newer_deployment_takes_over_without_an_error() {
    let taken_over = json!({"health": health("superseded")});
    assert_eq!(of(taken_over), short("superseded", "", false));
}

fn planned(ending: Value) -> Value {
    json!({"plan": plan(json!({"action": "end", "ending": ending}))})
}

#[test]
fn what_there_was_nothing_to_do_for_ends_as_its_plan_says() {
    let no_reason = json!({"verdict": "nothingToRollBack", "why": "noRelease"});
    let no_contract = json!({"verdict": "nothingToContract", "why": "noCommand"});
    for (ending, verdict) in [
        (json!({"verdict": "nothingToDeploy"}), "nothingToDeploy"),
        (json!({"verdict": "stale"}), "stale"),
        (json!({"verdict": "superseded", "by": "arn"}), "superseded"),
        (no_reason, "nothingToRollBack"),
        (no_contract, "nothingToContract"),
    ] {
        assert_eq!(of(planned(ending)), short(verdict, "", false));
    }
}

/// As after an execution that was aborted: nobody found healthy what the services run.
#[test]
fn what_an_earlier_try_touched_is_left_to_the_next_release_where_it_cannot_be_rolled_back() {
    let expected = short("abandoned", "AwsRequestFailed", true);
    let no_turn = json!({"failure": failure("TakeTurn", "AwsRequestFailed", "No.")});
    assert_eq!(ended(no_turn, Some(&record(Some(0)))), expected);
    let asked_for = json!({
        "plan": rollback(), "failure": failure("PlanInTurn", "AwsRequestFailed", "No."),
        "turn": {"taken": true, "at": 1, "touched": true}
    });
    assert_eq!(of(asked_for), expected);
}

/// What an earlier try came to is still there where the turn was not taken once more.
#[test]
fn a_redriven_release_without_its_turn_has_not_succeeded_again() {
    let stale = json!({
        "failure": failure("TakeTurn", "States.Timeout", "No."), "health": health("unhealthy"),
        "updatedAt": 1, "target": target(false), "rollback": health("succeeded")
    });
    assert_eq!(of(stale), short("abandoned", "PipelineFault", true));
}

#[test]
fn a_release_that_gives_way_vouches_for_nothing_that_an_earlier_try_deployed() {
    for ending in [
        json!({"verdict": "superseded", "by": "arn"}),
        json!({"verdict": "stale"}),
        json!({"verdict": "nothingToRollBack", "why": "noRelease"}),
    ] {
        let verdict = ending["verdict"].as_str().unwrap().to_owned();
        let untouched = ended(planned(ending.clone()), Some(&record(None)));
        assert_eq!((untouched.0, untouched.1), (&*verdict, &*verdict));
        let touched = ended(planned(ending), Some(&record(Some(0))));
        assert_eq!((touched.0, touched.1), (&*verdict, "abandoned"));
    }
    let redriven = json!({
        "execution": {"id": "arn", "redrives": 1}, "health": health("superseded"), "updatedAt": 1
    });
    let touched = ended(redriven.clone(), Some(&record(Some(0))));
    assert_eq!((touched.0, touched.1), ("superseded", "abandoned"));
    // This try's own deployment was overtaken, and is not what runs.
    let own = ended(redriven, Some(&record(Some(1))));
    assert_eq!((own.0, own.1), ("superseded", "superseded"));
    let succeeded = json!({
        "execution": {"id": "arn", "redrives": 1}, "health": health("succeeded"), "current": {}
    });
    let succeeded = ended(succeeded, Some(&record(Some(0))));
    assert_eq!((succeeded.0, succeeded.1), ("succeeded", "succeeded"));
}

#[test]
fn an_input_that_says_nothing_is_refused() {
    for more in [
        json!({}),
        json!({"plan": null}),
        json!({"target": target(false)}),
    ] {
        let input = input(more);
        let facts = Facts {
            input: &input,
            record: None,
            serves: None,
        };
        assert!(facts.ended().is_err(), "{input:?}");
    }
}

#[test]
fn a_contract_command_that_exited_0_has_succeeded() {
    let ran = json!({"plan": contract(json!({})), "postDeploy": post_deploy(), "current": {}});
    assert_eq!(of(ran), short("succeeded", "", false));
}

#[test]
fn a_contract_command_that_failed_is_no_success_of_the_release() {
    for (step, error, left_running) in [
        ("RunPostDeploy", "TaskNotStarted", false),
        ("WaitPostDeploy", "TaskNotFound", true),
        ("CheckPostDeploy", "MigrationFailed", false),
        ("CheckPostDeploy", "MigrationTimedOut", true),
    ] {
        let failed = json!({
            "plan": contract(json!({})), "postDeploy": post_deploy(), "current": {},
            "failure": failure(step, error, "No.")
        });
        let expected = short("failed", "ContractFailed", left_running);
        assert_eq!(of(failed), expected, "{step} {error}");
    }
    let unplanned = json!({
        "plan": contract(json!({})), "failure": failure("PlanInTurn", "ImageNotFound", "No.")
    });
    assert_eq!(of(unplanned), short("failed", "ImageNotFound", false));
}
