use super::*;
use crate::samples::{
    RECORD, before, command, contract, failure, health, input, migration, plan, post_deploy,
    record, release, rollback, target,
};
use bluegreen_contract::EndReleaseInput;
use bluegreen_release::Record;
use serde_json::json;

const UNTOUCHED: &str = "No service was touched: stack shop runs what it ran before.";
/// How the words of a release that failed begin.
const NOT_DEPLOYED: &str = "v2 was not deployed to stack shop: ";

fn told(input: &EndReleaseInput, record: Option<&Record>) -> String {
    let facts = Facts {
        input,
        record,
        serves: None,
    };
    let ended = facts.ended().unwrap();
    reason(&facts, &ended)
}

/// What is said of a release of which `more` is known.
fn said(more: Value) -> String {
    told(&input(more), None)
}

fn ending(ending: Value) -> Value {
    json!({"plan": plan(json!({"action": "end", "ending": ending}))})
}

#[test]
fn a_release_that_is_healthy() {
    let mut healthy = json!({"health": health("succeeded"), "current": {}});
    assert_eq!(
        said(healthy.clone()),
        "Stack shop runs v2 and is healthy. Service demo/web: it is so."
    );
    healthy["postDeploy"] = post_deploy();
    assert_eq!(
        said(healthy),
        "Stack shop runs v2 and is healthy. Service demo/web: it is so. The post-deploy command exited 0."
    );
}

#[test]
fn a_release_whose_migrations_had_run_already() {
    let with = |same_as: &str, more: Value| {
        let migrations = json!({"fingerprint": "0a1b", "sameAs": same_as});
        let mut input = json!({"plan": plan(json!({"migrations": migrations}))});
        for (key, value) in more.as_object().unwrap() {
            input[key] = value.clone();
        }
        said(input)
    };
    let healthy = json!({"health": health("succeeded"), "current": {}});
    assert_eq!(
        with("shop-v1-1", healthy.clone()),
        "Stack shop runs v2 and is healthy. Service demo/web: it is so. This release has the same migrations as the release shop-v1-1: they were not run again."
    );
    assert_eq!(
        with("shop-v2-1", healthy),
        "Stack shop runs v2 and is healthy. Service demo/web: it is so. An earlier try of this release has run its migrations: they were not run again."
    );
    assert_eq!(
        with("shop-v1-1", json!({"health": health("superseded")})),
        "Service demo/web: it is so. This release has the same migrations as the release shop-v1-1: they were not run again."
    );
}

#[test]
fn what_is_worth_to_be_known_stands_behind_the_end_of_a_deployment() {
    let noted = plan(json!({"notes": ["No circuit breaker.", "No parameter."]}));
    let healthy = json!({"plan": noted, "health": health("succeeded"), "current": {}});
    assert_eq!(
        said(healthy),
        "Stack shop runs v2 and is healthy. Service demo/web: it is so.\nNo circuit breaker.\nNo parameter."
    );
    let refused =
        json!({"plan": noted, "failure": failure("RunMigration", "TaskNotStarted", "It is so.")});
    assert!(!said(refused).contains("No circuit breaker."));
}

#[test]
fn a_rollback_that_was_asked_for() {
    let mut target = target(true);
    let restored = |target: &Value| {
        said(json!({
            "plan": rollback(), "target": target, "rollback": health("succeeded"), "current": {}
        }))
    };
    assert_eq!(
        restored(&target),
        "Stack shop runs the release v1 (shop-v1-1) again. The rollback was asked for by a person."
    );
    target["migrations"] = json!(["v3 (task t3)", "v2 (task t2)"]);
    assert_eq!(
        restored(&target),
        "Stack shop runs the release v1 (shop-v1-1) again. The rollback was asked for by a person. These migrations stay in the database: v3 (task t3), v2 (task t2)."
    );
}

/// A list shows the first line.
#[test]
fn a_rollback_names_who_asked_for_it_and_the_release_that_was_taken_back() {
    let mut target = target(true);
    target["takenBack"] = json!({
        "record": RECORD, "repository": "shop", "tag": "v2", "digest": "sha256:2"
    });
    let restored = |asked: Value| {
        let mut plan = rollback();
        let release = plan["release"].as_object_mut().unwrap();
        release.extend(asked.as_object().unwrap().clone());
        said(json!({
            "plan": plan, "target": target, "rollback": health("succeeded"), "current": {}
        }))
    };
    let runs = "Stack shop runs the release v1 (shop-v1-1) again.";
    let alarm = json!({"name": "shop-5xx", "at": "2026-01-01T00:00:00Z"});
    for (asked, by) in [
        (json!({}), "a person"),
        (json!({"startedBy": "ann@example.com"}), "ann@example.com"),
        (
            json!({"startedBy": "alarm shop-5xx", "alarm": alarm}),
            "the alarm shop-5xx",
        ),
    ] {
        assert_eq!(
            restored(asked),
            format!("{runs} The release v2 (shop-v2-1) was taken back by {by}.")
        );
    }
}

/// Of a service that was there before the pipeline.
#[test]
fn a_rollback_to_what_ran_before_the_first_release() {
    let first = json!({
        "record": RECORD, "repository": "shop", "tag": "v2", "digest": "sha256:2"
    });
    let mut target = before(false);
    target["requested"] = json!(true);
    target["first"] = first.clone();
    target["takenBack"] = first;
    let restored = |target: &Value| {
        said(json!({
            "plan": rollback(), "target": target, "rollback": health("succeeded"), "current": {}
        }))
    };
    let runs = "Stack shop runs again what ran before its first release v2 (shop-v2-1). The release v2 (shop-v2-1) was taken back by a person.";
    assert_eq!(restored(&target), runs);
    // Several images ran: none of them alone can stand in the parameter.
    target["serving"] = Value::Null;
    assert_eq!(
        restored(&target),
        format!(
            "{runs} The parameter /bluegreen/shop/image still holds the image that was taken back, because several images ran before, or nobody knows which: write what is to run into it before you update the stack."
        )
    );
    target["requested"] = json!(false);
    let failed = said(json!({
        "health": health("rolledBack"), "target": target, "rollback": health("succeeded"),
        "current": {}
    }));
    assert_eq!(
        failed,
        "v2 was rolled back in stack shop: Service demo/web: it is so. What ran before the first release runs again.\nNo migration was run. All services of stack shop are rolled back to what they ran before the first release v2 (shop-v2-1). Mend the image and push it again."
    );
}

mod first_line {
    use super::*;

    /// The release that the turn calls current, and the image of the services.
    fn first_line(more: Value, image: &str) -> String {
        let mut plan = plan(json!({}));
        plan["release"]["imagesBefore"] = json!([image]);
        let mut all = json!({"plan": plan});
        let members = all.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        let input = input(all);
        let serves = Record {
            key: "release#2025-12-01T00:00:00.000Z#shop-v1-1".to_owned(),
            verdict: "succeeded".to_owned(),
            tag: Some("v1".to_owned()),
            digest: Some("sha256:1".to_owned()),
            ..Record::default()
        };
        let facts = Facts {
            input: &input,
            record: None,
            serves: Some(&serves),
        };
        let reason = reason(&facts, &facts.ended().unwrap());
        reason.lines().next().unwrap().to_owned()
    }

    const RUNS: &str = "registry/shop@sha256:1";

    #[test]
    fn it_has_the_image_that_failed_its_error_and_what_runs_on() {
        let own = "The migration failed with exit code 1: relation exists\nContainer web of task arn:task/1 exited with code 1.";
        let failed = json!({"failure": failure("CheckExitCode", "MigrationFailed", own)});
        assert_eq!(
            first_line(failed, RUNS),
            "v2 was not deployed to stack shop: The migration failed with exit code 1: relation exists. v1 (shop-v1-1) runs on."
        );
        let rolled_back = json!({
            "health": health("rolledBack"), "target": before(false),
            "rollback": health("succeeded"), "current": {}
        });
        assert_eq!(
            first_line(rolled_back, RUNS),
            "v2 was rolled back in stack shop: Service demo/web: it is so. v1 (shop-v1-1) runs again."
        );
    }

    #[test]
    fn it_names_nothing_that_may_not_run() {
        let failed = json!({"failure": failure("UpdateService", "AlarmsInAlarm", "Alarm.")});
        let mut settled = failed.clone();
        settled["settled"] = json!({"foundDeployment": true});
        // Somebody has deployed another image by other means.
        for (more, image) in [(failed, "registry/shop:hotfix"), (settled, RUNS)] {
            assert_eq!(
                first_line(more, image),
                "v2 was not deployed to stack shop: Alarm."
            );
        }
    }
}

#[test]
fn nothing_to_deploy() {
    assert_eq!(
        said(ending(json!({"verdict": "nothingToDeploy"}))),
        "Every service of stack shop already runs registry/shop@sha256:2 in a completed deployment."
    );
    let ending = json!({"verdict": "nothingToDeploy"});
    let with_command = plan(json!({"ending": ending, "postDeploy": command()}));
    for (redrives, not_run) in [
        (0, ""),
        (
            1,
            " After a redrive the post-deploy command is not run: run it by hand unless the try before did.",
        ),
    ] {
        let execution = json!({"id": "arn", "redrives": redrives});
        assert_eq!(
            said(json!({"plan": with_command, "execution": execution})),
            format!(
                "Every service of stack shop already runs registry/shop@sha256:2 in a completed deployment.{not_run}"
            )
        );
    }
}

#[test]
fn a_push_that_is_stale() {
    assert_eq!(
        said(ending(json!({"verdict": "stale"}))),
        format!(
            "A later push to shop has been deployed to stack shop already. {UNTOUCHED} To deploy this older image all the same, give \"force\": true in the input."
        )
    );
}

#[test]
fn a_release_that_a_newer_one_replaced() {
    let by = "arn:aws:states:us-east-1:123456789012:execution:bluegreen:shop-v3-1";
    assert_eq!(
        said(ending(json!({"verdict": "superseded", "by": by}))),
        format!(
            "The newer release shop-v3-1 ({by}) of stack shop takes the place of this one. {UNTOUCHED}"
        )
    );
    assert_eq!(
        said(ending(json!({"verdict": "superseded", "by": null}))),
        format!("A newer release of stack shop takes the place of this one. {UNTOUCHED}")
    );
}

#[test]
fn a_newer_deployment_that_took_over() {
    assert_eq!(
        said(json!({"health": health("superseded")})),
        "Service demo/web: it is so. No migration was run."
    );
}

#[test]
fn an_alarm_that_is_no_reason_to_go_back() {
    let fired = json!({"name": "shop-5xx", "at": "2026-01-01T00:00:00Z"});
    for (why, expected) in [
        (
            json!({"notDeployedTo": "No service is linked."}),
            "but the pipeline does not deploy to that stack. No service is linked.",
        ),
        (
            json!("guardsNoDeployment"),
            "but it is not among the deployment alarms of its services.",
        ),
        (
            json!("noRelease"),
            "but there is no release that it could come from.",
        ),
        (
            json!("justRolledBack"),
            "but the stack has been rolled back since its newest deployment.",
        ),
        (
            json!("beforeTheRelease"),
            "but that was before the newest release was deployed.",
        ),
        (
            json!({"afterTheWindow": {"seconds": 300}}),
            "but the newest release was deployed more than 300 seconds before.",
        ),
    ] {
        let release = release(json!({
            "action": "rollback", "repository": null, "tag": null, "digest": null, "image": null,
            "alarm": fired
        }));
        let ending = json!({"verdict": "nothingToRollBack", "why": why});
        let plan = plan(json!({"action": "end", "ending": ending, "release": release}));
        assert_eq!(
            said(json!({ "plan": plan })),
            format!(
                "Alarm shop-5xx of stack shop went into ALARM at 2026-01-01T00:00:00Z, {expected} Nothing was changed."
            )
        );
    }
}

#[test]
fn a_release_that_was_never_planned() {
    let failure = failure("PlanRelease", "StackNotFound", "There is no stack shop.");
    assert_eq!(
        said(json!({"plan": null, "turn": null, "failure": failure})),
        "There is no stack shop.\nNothing was changed. Correct `stack` in the input, or the repository's tag `bluegreen:stacks`."
    );
}

#[test]
fn a_failure_before_any_service_was_touched() {
    let mut failed = json!({
        "failure": failure("UpdateService", "AlarmsInAlarm", "Alarm shop-5xx is in ALARM.")
    });
    let expected = format!("{NOT_DEPLOYED}Alarm shop-5xx is in ALARM.\n{UNTOUCHED}");
    assert_eq!(said(failed.clone()), expected);

    failed["migration"] = migration();
    failed["migrated"] = json!({"exitCode": 0, "at": 1});
    assert_eq!(
        said(failed),
        format!("{expected} The migration of this release has run and stays in the database.")
    );
}

#[test]
fn a_failure_that_no_function_named() {
    let fault = |cause: &str| {
        said(json!({
            "failure": {"step": "PlanInTurn", "Error": "Runtime.ExitError", "Cause": cause}
        }))
    };
    let to_do = format!("{UNTOUCHED} Look at the log of that function, then start again.");
    assert_eq!(
        fault(r#"{"errorType":"Runtime.ExitError","errorMessage":"exit status 101"}"#),
        format!(
            "{NOT_DEPLOYED}The pipeline failed in PlanInTurn with Runtime.ExitError: exit status 101\n{to_do}"
        )
    );
    // A text that is no function's is shown as it is.
    for cause in [
        "It { crashed }.",
        r#"{"other": 1}"#,
        "{",
        "[1]",
        "null",
        "3",
    ] {
        assert_eq!(
            fault(cause),
            format!(
                "{NOT_DEPLOYED}The pipeline failed in PlanInTurn with Runtime.ExitError: {cause}\n{to_do}"
            )
        );
    }
    assert_eq!(
        fault(""),
        format!("{NOT_DEPLOYED}The pipeline failed in PlanInTurn with Runtime.ExitError.\n{to_do}")
    );
}

#[test]
fn a_migration_that_may_still_run() {
    let failed = |step: &str, error: &str| {
        said(json!({"migration": migration(), "failure": failure(step, error, "No.")}))
    };
    let to_do = "If AWS refused the request, give the role or the resource what it lacks; then start again.";
    assert_eq!(
        failed("RunMigration", "AwsRequestFailed"),
        format!(
            "{NOT_DEPLOYED}No.\n{UNTOUCHED} A migration may have been started: the next release of the stack waits for it. {to_do}"
        )
    );
    assert_eq!(
        failed("WaitTask", "AwsRequestFailed"),
        format!(
            "{NOT_DEPLOYED}No.\n{UNTOUCHED} The migration was not stopped and may still be running: task arn:task/1. The next release of the stack waits for it. {to_do}"
        )
    );
    assert_eq!(
        failed("RunMigration", "TaskNotStarted"),
        format!("{NOT_DEPLOYED}No.\n{UNTOUCHED} Remove the reason, then start again.")
    );
    assert_eq!(
        failed("WaitTask", "TaskNotFound"),
        format!(
            "{NOT_DEPLOYED}No.\n{UNTOUCHED} If the migration still runs, the next release of the stack waits for it. Look at the log of the task, then start again: a migration tool runs no migration twice."
        )
    );
}

/// A mistake in a parameter of the pipeline, and the way out of it.
#[test]
fn a_role_that_the_pipeline_may_not_give_to_tasks() {
    let user = "arn:aws:sts::1:assumed-role/bluegreen-RunMigrationRole-1/run-migration";
    let denied = format!(
        "ecs:RegisterTaskDefinition on shop failed with AccessDeniedException: User: {user} is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/shop because no identity-based policy allows the iam:PassRole action."
    );
    for (step, error) in [
        ("RunMigration", "AwsRequestFailed"),
        ("UpdateService", "ServiceUpdateRefused"),
    ] {
        let told = said(json!({"failure": failure(step, error, &denied)}));
        assert!(
            told.starts_with(&format!("{NOT_DEPLOYED}{denied}\n{UNTOUCHED}")),
            "{told}"
        );
        let to_do = " Name that role in the parameter TaskRoles of the pipeline's stack, or in InfrastructureRoles if ECS manages volumes by it; then start again.";
        assert!(told.ends_with(to_do), "{told}");
    }
}

#[test]
fn a_migration_that_does_not_stop() {
    let failed = |stopped: Value| {
        said(json!({
            "migration": migration(), "failure": failure("CheckExitCode", "MigrationTimedOut", "No."),
            "migrationEnded": {
                "lastStatus": "RUNNING", "overdue": true, "at": 1, "stopped": stopped
            }
        }))
    };
    assert_eq!(
        failed(Value::Null),
        format!(
            "{NOT_DEPLOYED}No.\n{UNTOUCHED} If the migration still runs, the next release of the stack waits for it."
        )
    );
    let stopped = json!({"stopCode": null, "stoppedReason": null, "containers": []});
    assert_eq!(failed(stopped), format!("{NOT_DEPLOYED}No.\n{UNTOUCHED}"));
}

/// Nobody has entered what a later state was given.
#[test]
fn an_input_is_a_persons_only_where_it_is_planned() {
    let refused = |step: &str| said(json!({"failure": failure(step, "InvalidInput", "No.")}));
    for step in ["PlanRelease", "PlanInTurn"] {
        assert_eq!(
            refused(step),
            format!("{NOT_DEPLOYED}No.\n{UNTOUCHED} Correct the input and start again.")
        );
    }
    assert_eq!(
        refused("RunMigration"),
        format!(
            "{NOT_DEPLOYED}The pipeline failed in RunMigration with InvalidInput: No.\n{UNTOUCHED} Look at the log of that function, then start again."
        )
    );
}

#[test]
fn every_error_says_what_to_do() {
    // The functions' own messages say it for these.
    for error in [
        "AlarmsInAlarm",
        "AmbiguousRepository",
        "CommandNotOfStack",
        "EntryPointIgnoresCommand",
        "ImagePlatformMismatch",
        "ImageUnusable",
        "MigrationFailed",
        "MigrationStopped",
        "MigrationTimedOut",
        "NoServices",
        "RepositoryNotLinked",
        "RollbackImageNotFound",
        "SeveralImages",
        "UnsupportedDeploymentController",
        "UnsupportedService",
    ] {
        let failed = json!({"failure": failure("PlanInTurn", error, "Do this.")});
        let expected = format!("{NOT_DEPLOYED}Do this.\n{UNTOUCHED}");
        assert_eq!(said(failed), expected, "{error}");
    }
    for error in [
        "InvalidInput",
        "StackNotFound",
        "StackBusy",
        "ImageNotFound",
        "InvalidStackOutput",
        "TaskNotStarted",
        "CapacityUnavailable",
        "TaskNotFound",
        "MigrationNotStarted",
        "ServiceUpdateRefused",
        "DeploymentNotFound",
        "EarlierReleaseUnsettled",
        "NothingToGoBackTo",
        "AwsRequestFailed",
    ] {
        let failed = json!({"failure": failure("PlanInTurn", error, "It is so.")});
        let said = said(failed);
        let to_do = said.strip_prefix(&format!("{NOT_DEPLOYED}It is so.\n{UNTOUCHED} "));
        assert!(to_do.is_some_and(|to_do| to_do.ends_with('.')), "{said}");
    }
}

/// settle-release stops what a dead release has left, also where nothing follows then.
#[test]
fn nobody_is_told_that_the_stack_runs_what_it_ran_where_a_deployment_was_found() {
    let mut failed = json!({
        "failure": failure("PlanInTurn", "AlarmsInAlarm", "Alarm."),
        "settled": {"foundDeployment": true}
    });
    assert_eq!(
        said(failed.clone()),
        "v2 was not deployed to stack shop: Alarm.\nThis release touched no service, but found a deployment of an earlier one in progress in stack shop: what runs may not be what ran before."
    );
    failed["settled"]["foundDeployment"] = json!(false);
    assert_eq!(said(failed), format!("{NOT_DEPLOYED}Alarm.\n{UNTOUCHED}"));
}

#[test]
fn nobody_is_told_that_the_stack_runs_what_it_ran_where_an_earlier_release_is_not_settled() {
    let failed = |error: &str| said(json!({"failure": failure("SettleRelease", error, "No.")}));
    let earlier = "This release touched no service, but an earlier one may have left a deployment in progress in stack shop: what runs may not be what ran before.";
    assert_eq!(
        failed("EarlierReleaseUnsettled"),
        format!("{NOT_DEPLOYED}No.\n{earlier} Stop it in ECS, then start again.")
    );
    assert!(failed("AwsRequestFailed").starts_with(&format!("{NOT_DEPLOYED}No.\n{earlier} ")));
}

#[test]
fn nobody_is_told_that_nothing_was_touched_where_an_earlier_try_may_have() {
    let touched = record(Some(0));
    for more in [
        ending(json!({"verdict": "stale"})),
        ending(json!({"verdict": "superseded", "by": "arn"})),
        ending(json!({"verdict": "nothingToRollBack", "why": "noRelease"})),
        json!({"failure": failure("TakeTurn", "AwsRequestFailed", "No.")}),
    ] {
        let said = told(&input(more), Some(&touched));
        assert!(!said.contains("No service was touched"), "{said}");
        assert!(!said.contains("Nothing was changed"), "{said}");
        let earlier = "An earlier try of this release may have touched services of stack shop.";
        assert!(said.contains(earlier), "{said}");
    }
}

#[test]
fn a_release_that_leaves_what_an_earlier_try_touched() {
    let failed = json!({"failure": failure("TakeTurn", "AwsRequestFailed", "No.")});
    let migrated = Record {
        migration: Some("arn:task/0".to_owned()),
        ..record(Some(0))
    };
    assert_eq!(
        told(&input(failed), Some(&migrated)),
        "v2 may be deployed to a part of stack shop: No.\nAn earlier try of this release may have touched services of stack shop. An earlier try of this release started its migration (task arn:task/0): what that did stays in the database. Look at the deployments in ECS, and release again."
    );
}

#[test]
fn a_failure_that_was_rolled_back() {
    let rolled_back = |target: Value| {
        said(json!({
            "health": health("rolledBack"), "target": target, "rollback": health("succeeded"),
            "current": {}
        }))
    };
    assert_eq!(
        rolled_back(before(false)),
        "v2 was rolled back in stack shop: Service demo/web: it is so. What ran before runs again.\nNo migration was run. All services of stack shop run what they ran before. Mend the image and push it again."
    );
    assert_eq!(
        rolled_back(before(true)),
        "v2 was rolled back in stack shop: Service demo/web: it is so. What ran before runs again.\nNo migration was run. All services of stack shop run what they ran before. Whether that was a good release could not be read from the table. Mend the image and push it again."
    );
    assert_eq!(
        rolled_back(target(false)),
        "v2 was rolled back in stack shop: Service demo/web: it is so. v1 (shop-v1-1) runs again.\nNo migration was run. All services of stack shop are rolled back to the release v1 (shop-v1-1). Mend the image and push it again."
    );
    assert_eq!(
        said(json!({
            "failure": failure("UpdateService", "ServiceUpdateRefused", "ECS refused it."),
            "migration": migration(), "migrated": {"exitCode": 0, "at": 1},
            "target": before(false), "rollback": health("succeeded"), "current": {}
        })),
        "v2 was rolled back in stack shop: ECS refused it. What ran before runs again.\nThe migration of this release has run and stays in the database. All services of stack shop run what they ran before. Correct the service, then start again."
    );
}

/// It is an earlier try, before the execution was redriven, that is rolled back then.
#[test]
fn a_failure_after_which_what_an_earlier_try_did_was_rolled_back() {
    let rolled_back = |more: Value, failure: Value| {
        let mut all = json!({
            "execution": {"id": "arn", "redrives": 1}, "failure": failure, "target": target(false),
            "turn": {"taken": true, "at": 1, "touched": true},
            "rollback": health("succeeded"), "current": {}
        });
        let members = all.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        told(&input(all), Some(&record(Some(0))))
    };
    let earlier = "An earlier try of this release may have touched services of stack shop.";
    let back = "All services of stack shop are rolled back to the release v1 (shop-v1-1).";
    let (first, again) = (
        "v2 was rolled back in stack shop: ",
        "v1 (shop-v1-1) runs again.",
    );
    assert_eq!(
        rolled_back(
            json!({}),
            failure("PlanInTurn", "ImageNotFound", "There is none.")
        ),
        format!(
            "{first}There is none. {again}\n{earlier} No migration was run. {back} Push the image, or correct the input."
        )
    );
    let migrating = json!({"migration": migration()});
    assert_eq!(
        rolled_back(
            migrating.clone(),
            failure("CheckExitCode", "MigrationFailed", "It exited 1.")
        ),
        format!(
            "{first}It exited 1. {again}\n{earlier} What the migration of this release did, if anything, stays in the database. {back}"
        )
    );
    assert_eq!(
        rolled_back(
            migrating.clone(),
            failure("WaitTask", "TaskNotFound", "Gone.")
        ),
        format!(
            "{first}Gone. {again}\n{earlier} If the migration still runs, the next release of the stack waits for it. {back} Look at the log of the task, then start again: a migration tool runs no migration twice."
        )
    );
    assert!(
        rolled_back(migrating, failure("WaitTask", "AwsRequestFailed", "No.")).contains(
            "The migration was not stopped and may still be running: task arn:task/1. The next release of the stack waits for it."
        )
    );
    let updated = rolled_back(
        json!({"updatedAt": 1}),
        failure("VerifyHealth", "DeploymentNotFound", "Gone."),
    );
    assert!(!updated.contains(earlier), "{updated}");
    let unwell = rolled_back(
        json!({"updatedAt": 1, "health": health("unhealthy")}),
        Value::Null,
    );
    assert!(!unwell.contains(earlier), "{unwell}");
}

#[test]
fn every_verdict_on_a_deployment_says_what_to_do() {
    for (verdict, to_do) in [
        ("rolledBack", "Mend the image and push it again."),
        ("unhealthy", "Mend the image and push it again."),
        ("stalled", "Mend the image and push it again."),
        ("stopped", "Deploy again, this release or another."),
    ] {
        let said = said(json!({
            "health": health(verdict), "target": before(false), "rollback": health("succeeded"),
            "current": {}
        }));
        assert!(said.ends_with(to_do), "{verdict}: {said}");
    }
}

const TO_DO: &str = "The services may run different images: look at their deployments in ECS. Then release again, or roll back to a release that you name.";

#[test]
fn a_rollback_that_failed() {
    assert_eq!(
        said(json!({
            "plan": rollback(), "target": target(true),
            "failure": failure("RollBack", "RollbackRefused", "ECS refused it.")
        })),
        format!(
            "The rollback of stack shop to the release v1 (shop-v1-1) failed with RollbackRefused: ECS refused it.\n{TO_DO}"
        )
    );
    let mut failed = failure("RollBack", "RollbackRefused", "ECS refused it.");
    failed["began"] = failure("VerifyHealth", "DeploymentNotFound", "There is none.");
    assert_eq!(
        said(json!({"failure": failed, "target": target(false)})),
        format!(
            "The rollback of v2 in stack shop failed with RollbackRefused: ECS refused it.\nIt was begun because: There is none. No migration was run.\n{TO_DO}"
        )
    );
    assert_eq!(
        said(json!({
            "health": health("unhealthy"), "target": target(false), "rollback": {
                "verdict": "stalled", "cause": "Service demo/web: no tasks.", "at": 1
            }
        })),
        format!(
            "The rollback of v2 in stack shop did not succeed: Service demo/web: no tasks.\nIt was begun because: Service demo/web: it is so. No migration was run.\n{TO_DO}"
        )
    );
}

fn unwritten() -> Value {
    json!({"unwritten": {
        "parameter": "/bluegreen/shop/image",
        "reason": "ssm:PutParameter on /bluegreen/shop/image failed with AccessDeniedException: not you.",
        "serving": {"repository": "shop", "image": "registry/shop@sha256:2"}
    }})
}

const UNWRITTEN: &str = "ssm:PutParameter on /bluegreen/shop/image failed with AccessDeniedException: not you.\nIt may hold an earlier image, and an update of stack shop would bring that into service. Write what runs into it: aws ssm put-parameter --overwrite --type String --name /bluegreen/shop/image --value registry/shop@sha256:2";

#[test]
fn an_image_parameter_that_could_not_be_written() {
    let healthy = |plan: Value| {
        said(json!({"plan": plan, "health": health("succeeded"), "current": unwritten()}))
    };
    let serves = "Stack shop runs v2 and is healthy. Service demo/web: it is so.";
    let not = "The parameter /bluegreen/shop/image could not be written.";
    assert_eq!(
        healthy(plan(json!({}))),
        format!("{serves} {not}\n{UNWRITTEN}")
    );
    assert_eq!(
        healthy(plan(json!({"postDeploy": command()}))),
        format!(
            "{serves} {not} The post-deploy command was not run.\n{UNWRITTEN}\nThen run the post-deploy command by hand."
        )
    );
    let failed = said(json!({
        "plan": plan(json!({"postDeploy": command()})),
        "health": health("rolledBack"), "target": before(false), "rollback": health("succeeded"),
        "current": unwritten()
    }));
    assert!(
        failed
            .lines()
            .next()
            .is_some_and(|line| line.ends_with(not)),
        "{failed}"
    );
    assert!(failed.ends_with(UNWRITTEN), "{failed}");
}

#[test]
fn a_post_deploy_command_that_failed() {
    let failed = |step: &str, error: &str| {
        said(json!({
            "health": health("succeeded"), "current": {}, "postDeploy": post_deploy(),
            "failure": failure(step, error, "It exited 1.")
        }))
    };
    for (step, error, running) in [
        ("CheckPostDeploy", "MigrationFailed", ""),
        ("RunPostDeploy", "TaskNotStarted", ""),
        (
            "RunPostDeploy",
            "AwsRequestFailed",
            " The command may have been started: the next release of the stack waits for it.",
        ),
        (
            "WaitPostDeploy",
            "AwsRequestFailed",
            " The command was not stopped and may still be running: task arn:task/2. The next release of the stack waits for it.",
        ),
        (
            "CheckPostDeploy",
            "MigrationTimedOut",
            " If the command still runs, the next release of the stack waits for it.",
        ),
    ] {
        assert_eq!(
            failed(step, error),
            format!(
                "Stack shop runs v2 and is healthy, but its post-deploy command failed with {error}: It exited 1.\nNothing was rolled back.{running} Run the command by hand; otherwise it runs after the next deployment."
            )
        );
    }
}

#[test]
fn what_serves_and_could_not_be_recorded() {
    let failed = failure("RecordCurrent", "AwsRequestFailed", "The table is gone.");
    let healthy = input(json!({
        "plan": plan(json!({"postDeploy": command()})), "health": health("succeeded"),
        "failure": failed
    }));
    let serves = "Stack shop runs v2 and is healthy. Service demo/web: it is so.";
    assert_eq!(
        told(&healthy, None),
        format!(
            "{serves} That could not be recorded.\nThe table is gone. Start the release again: it changes no service of stack shop. Until then a rollback passes over what runs, and an update of the stack may replace it. The post-deploy command was not run: it runs then."
        )
    );
    let told_before = Record {
        verdict: "succeeded".to_owned(),
        ..record(Some(0))
    };
    assert_eq!(
        told(&healthy, Some(&told_before)),
        format!(
            "{serves} That is recorded, but the image parameter may not be written.\nThe table is gone. Start the release again: it changes no service of stack shop. Until then an update of the stack may bring an earlier image into service. The post-deploy command was not run: run it by hand."
        )
    );
    let restored = input(json!({
        "plan": rollback(), "target": target(true), "rollback": health("succeeded"),
        "failure": failed
    }));
    assert_eq!(
        told(&restored, None),
        "Stack shop runs the release v1 (shop-v1-1) again. The rollback was asked for by a person. That could not be recorded.\nThe table is gone. Start the rollback again: it changes no service of stack shop. Until then a rollback passes over what runs, and an update of the stack may replace it."
    );
    let rolled_back = input(json!({
        "health": health("rolledBack"), "target": before(false), "rollback": health("succeeded"),
        "failure": failed
    }));
    let said = told(&rolled_back, None);
    assert!(
        said.ends_with("\nThe table is gone. An alarm may roll stack shop back once more until its next release succeeds."),
        "{said}"
    );
}

#[test]
fn an_end_that_could_not_be_written() {
    assert_eq!(
        not_given_back(
            "It failed.",
            "dynamodb:TransactWriteItems failed with Timeout."
        ),
        "It failed.\nThis is not on record, and the turn was not given back: dynamodb:TransactWriteItems failed with Timeout. The next release of the stack takes the turn over."
    );
}

#[test]
fn a_text_is_cut_between_characters_and_what_to_do_is_kept() {
    let long = "ü".repeat(40_000);
    let mut failed = failure("RollBack", "RollbackRefused", &long);
    failed["began"] = failure("VerifyHealth", "DeploymentNotFound", &long);
    let mut target = target(false);
    target["migrations"] = json!(vec![long.as_str(); 20]);
    let rollback_failed = said(json!({"failure": failed, "target": target}));
    assert!(rollback_failed.ends_with(TO_DO));
    assert!(rollback_failed.contains("ü…\nIt was begun because: üü"));
    let rolled_back = said(json!({
        "health": {"verdict": "rolledBack", "cause": long, "at": 1}, "target": target,
        "rollback": health("succeeded"), "current": {}
    }));
    assert!(rolled_back.ends_with("Mend the image and push it again."));
    let nothing_to_deploy = said(json!({"plan": plan(json!({
        "action": "record", "reason": long, "ending": {"verdict": "nothingToDeploy"}
    }))}));
    assert_eq!(nothing_to_deploy.chars().count(), REASON);
    for text in [
        rollback_failed,
        rolled_back,
        nothing_to_deploy,
        not_given_back(&long, &long),
    ] {
        assert!(text.chars().count() < 32_768);
    }
    assert_eq!(error(&long).chars().count(), ERROR);
    assert_eq!(error("MigrationFailed"), "MigrationFailed");
}

#[test]
fn a_contract_command_that_exited_0() {
    let ran = json!({"plan": contract(json!({})), "postDeploy": post_deploy(), "current": {}});
    assert_eq!(
        said(ran),
        "The contract command of v2 exited 0 in stack shop. A rollback past that release is refused from now on, unless it is forced."
    );
}

#[test]
fn a_contract_command_that_failed() {
    let contracts = Record {
        contracts: Some("release#0#shop-v2-0".to_owned()),
        ..record(None)
    };
    let begun = " What it did, if anything, stays, and a rollback past that release is refused, unless it is forced.";
    for (step, error, record, known, running) in [
        ("RunPostDeploy", "CommandNotOfStack", None, "", ""),
        (
            "CheckPostDeploy",
            "MigrationFailed",
            Some(&contracts),
            begun,
            "",
        ),
        (
            "WaitPostDeploy",
            "AwsRequestFailed",
            Some(&contracts),
            begun,
            " The command was not stopped and may still be running: task arn:task/2. The next release of the stack waits for it.",
        ),
    ] {
        let failed = input(json!({
            "plan": contract(json!({})), "postDeploy": post_deploy(), "current": {},
            "failure": failure(step, error, "It exited 1.")
        }));
        assert_eq!(
            told(&failed, record),
            format!(
                "The contract command of v2 failed with {error} in stack shop: It exited 1.\nThe services were not touched: they run v2.{known}{running} Run it again when it can succeed: start {{\"stack\":\"shop\",\"action\":\"contract\",\"force\":true}}. Otherwise that of the next release runs."
            )
        );
    }
    let unplanned = json!({
        "plan": contract(json!({})), "failure": failure("PlanInTurn", "ImageNotFound", "It is gone.")
    });
    assert_eq!(
        said(unplanned),
        "The contract command was not run in stack shop: It is gone.\nNo service was touched: stack shop runs what it ran before. Push the image, or correct the input."
    );
}

#[test]
fn a_contract_command_that_does_not_run() {
    for (why, sentence) in [
        (
            json!("noRelease"),
            "no release is known to serve. Deploy first.",
        ),
        (
            json!("rolledBack"),
            "the stack was rolled back since its newest release, and what that one does not need any more may be needed again.",
        ),
        (
            json!("noCommand"),
            "the stack has no output ContractCommand for images of shop.",
        ),
        (
            json!({"notServing": "1 of 2 services do not run it yet."}),
            "1 of 2 services do not run it yet. Release it first.",
        ),
        (
            json!({"already": {"by": "shop-contract-1"}}),
            "it has run for v2 already (shop-contract-1), or a part of it. To run it again, give \"force\": true.",
        ),
        (
            json!({"beforeItsTime": {"until": "2026-01-01T00:05:00.000Z"}}),
            "an alarm would roll v2 back until 2026-01-01T00:05:00.000Z. To run it now, give \"force\": true.",
        ),
        (
            json!({"inAlarm": ["shop-5xx", "shop-latency"]}),
            "these deployment alarms of the services are in ALARM: shop-5xx, shop-latency. A command that is due is tried again every hour. To run it all the same, give \"ignoreAlarms\": true.",
        ),
    ] {
        let ending = json!({"verdict": "nothingToContract", "why": why});
        let ended = json!({"plan": contract(json!({"action": "end", "ending": ending}))});
        assert_eq!(
            said(ended),
            format!("The contract command was not run in stack shop: {sentence}")
        );
    }
}
