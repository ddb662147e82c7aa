//! Inputs for the tests.

use bluegreen_contract::{EndReleaseInput, parse};
use bluegreen_release::Record;
use serde_json::{Value, json};

pub(crate) const EXECUTION: &str =
    "arn:aws:states:us-east-1:123456789012:execution:bluegreen:shop-v2-1";
pub(crate) const RECORD: &str = "release#2026-01-01T00:00:00.000Z#shop-v2-1";
pub(crate) const IMAGE: &str = "registry/shop@sha256:2";

/// A release of version 2 into the stack `shop` that has its turn and came to nothing else; `more`
/// is what differs.
pub(crate) fn input(more: Value) -> EndReleaseInput {
    let mut input = json!({
        "execution": {"id": EXECUTION, "redrives": 0},
        "retries": 0,
        "plan": plan(json!({})),
        "turn": {"taken": true, "at": 1_767_225_602_340_i64},
    });
    merge(&mut input, more);
    parse(input).unwrap()
}

pub(crate) fn plan(more: Value) -> Value {
    let mut plan = json!({
        "action": "deploy",
        "reason": "Every service of stack shop already runs registry/shop@sha256:2 in a completed deployment.",
        "release": release(json!({})),
        "imageParameters": {"shop": "/bluegreen/shop/image"},
        "services": [{
            "cluster": "c", "service": "web", "taskDefinition": "web:1", "containers": ["web"]
        }],
        "alarms": [],
        "limits": {"migrationSeconds": 60, "deploymentSeconds": 600, "rollbackWindowSeconds": 300},
        "revisions": [], "imageConfigs": []
    });
    merge(&mut plan, more);
    plan
}

pub(crate) fn release(more: Value) -> Value {
    let mut release = json!({
        "stack": "shop", "action": "deploy", "repository": "shop", "tag": "v2",
        "digest": "sha256:2", "image": IMAGE, "record": RECORD,
        "order": "2026-01-01T00:00:00#2026-01-01T00:00:00.000Z",
        "startedAt": "2026-01-01T00:00:00.000Z", "startedBy": "a person", "force": false,
        "ignoreAlarms": false
    });
    merge(&mut release, more);
    release
}

/// The plan of a rollback that somebody asked for.
pub(crate) fn rollback() -> Value {
    let release = release(json!({
        "action": "rollback", "repository": null, "tag": null, "digest": null, "image": null
    }));
    plan(json!({"action": "rollback", "release": release}))
}

/// The plan of a contract command.
pub(crate) fn contract(more: Value) -> Value {
    let release = release(json!({"action": "contract", "contracts": "release#0#shop-v2-0"}));
    let mut plan = plan(json!({"action": "contract", "release": release}));
    merge(&mut plan, more);
    plan
}

pub(crate) fn migration() -> Value {
    json!({
        "purpose": "migration", "stack": "shop", "image": IMAGE, "cluster": "c", "service": "web",
        "taskArn": "arn:task/1", "taskDefinition": "web:2", "container": "web",
        "at": 1_767_225_610_000_i64, "timeoutSeconds": 60
    })
}

pub(crate) fn post_deploy() -> Value {
    let mut task = migration();
    merge(
        &mut task,
        json!({"purpose": "postDeploy", "taskArn": "arn:task/2"}),
    );
    task
}

/// A command to run after the release.
pub(crate) fn command() -> Value {
    json!({
        "purpose": "postDeploy", "cluster": "c", "service": "web", "taskDefinition": "web:1",
        "container": "web", "command": ["websvc", "contract"],
        "line": ["websvc", "contract"], "timeoutSeconds": 60
    })
}

/// The release of version 1, to which the services go back.
pub(crate) fn target(requested: bool) -> Value {
    let record = "release#2025-12-01T00:00:00.000Z#shop-v1-1";
    json!({
        "requested": requested,
        "release": {
            "record": record, "repository": "shop", "tag": "v1", "digest": "sha256:1",
            "image": "registry/shop@sha256:1", "restores": record
        },
        "serving": {"repository": "shop", "image": "registry/shop@sha256:1"},
        "services": [{"cluster": "c", "service": "web", "taskDefinition": "web:1"}],
        "migrations": [],
        "unread": false
    })
}

/// What ran before the release, whatever that is.
pub(crate) fn before(unread: bool) -> Value {
    let mut target = target(false);
    merge(&mut target, json!({"release": null, "unread": unread}));
    target
}

pub(crate) fn health(verdict: &str) -> Value {
    json!({
        "verdict": verdict, "cause": "Service demo/web: it is so.", "at": 1_767_225_680_000_i64
    })
}

pub(crate) fn failure(step: &str, error: &str, message: &str) -> Value {
    let cause = json!({"errorType": error, "errorMessage": message, "stackTrace": []});
    json!({"step": step, "Error": error, "Cause": cause.to_string()})
}

/// The record of the release; `touched` is the redrive count of the first try that was about to
/// change services.
pub(crate) fn record(touched: Option<u32>) -> Record {
    Record {
        key: RECORD.to_owned(),
        verdict: "inProgress".to_owned(),
        touched,
        ..Record::default()
    }
}

fn merge(into: &mut Value, more: Value) {
    let members = into.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
}
