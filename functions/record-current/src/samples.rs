//! Inputs for the tests.

use serde_json::{Value, json};

pub(crate) const EXECUTION: &str = "arn:execution:shop-v2-1";
pub(crate) const RECORD: &str = "release#2026-01-01T00:00:00.000Z#shop-v2-1";
pub(crate) const PARAMETER: &str = "/bluegreen/shop/image";

/// Of a release of version 2 into the stack `shop`, with a command to run afterwards; `more` is what
/// it came to.
pub(crate) fn event(more: Value) -> Value {
    let command = json!({
        "purpose": "postDeploy", "cluster": "c", "service": "web", "taskDefinition": "web:1",
        "container": "web", "command": ["websvc", "contract"],
        "line": ["websvc", "contract"], "timeoutSeconds": 60
    });
    let mut event = json!({
        "plan": {
            "action": "deploy", "reason": "because",
            "release": {
                "stack": "shop", "action": "deploy", "repository": "shop", "tag": "v2",
                "digest": "sha256:2", "image": "registry/shop@sha256:2", "record": RECORD,
                "order": "2026-01-01T00:00:05#", "startedAt": "2026-01-01T00:00:00.000Z",
                "startedBy": "me", "force": false, "ignoreAlarms": false
            },
            "imageParameters": {"shop": PARAMETER}, "services": [], "postDeploy": command,
            "alarms": [],
            "limits": {
                "migrationSeconds": 60, "deploymentSeconds": 60, "rollbackWindowSeconds": 60
            },
            "revisions": [], "imageConfigs": []
        },
        "execution": {"id": EXECUTION, "redrives": 0},
    });
    let members = event.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    event
}

fn updated(from: u32, to: u32) -> Value {
    json!({
        "services": [{
            "cluster": "c", "service": "web", "taskDefinition": format!("web:{to}"),
            "previousTaskDefinition": format!("web:{from}")
        }],
        "at": 7, "deadline": 9, "tries": 1
    })
}

fn target(requested: bool) -> Value {
    let record = "release#2025-12-01T00:00:00.000Z#shop-v1-1";
    json!({
        "requested": requested,
        "release": {
            "record": record, "repository": "shop", "tag": "v1", "digest": "sha256:1",
            "image": "registry/shop@sha256:1", "restores": record
        },
        "serving": {"repository": "shop", "image": "registry/shop@sha256:1"},
        "services": [], "migrations": [], "unread": false
    })
}

pub(crate) fn deployed() -> Value {
    event(json!({"update": updated(1, 2)}))
}

/// It failed, and was rolled back.
pub(crate) fn rolled_back() -> Value {
    event(json!({
        "update": updated(1, 2), "target": target(false), "rolledBack": updated(2, 1)
    }))
}

/// A rollback that was asked for.
pub(crate) fn restored() -> Value {
    let mut restored = event(json!({"target": target(true), "rolledBack": updated(2, 1)}));
    let release = &mut restored["plan"]["release"];
    release["action"] = json!("rollback");
    for name in ["repository", "tag", "digest", "image"] {
        release[name] = Value::Null;
    }
    restored
}

/// A rollback that was asked for to what ran before the first release.
pub(crate) fn restored_before() -> Value {
    let mut restored = restored();
    let target = &mut restored["target"];
    target["release"] = Value::Null;
    target["first"] = json!({
        "record": "release#2025-12-01T00:00:00.000Z#shop-v1-1", "repository": "shop", "tag": "v1",
        "digest": "sha256:1"
    });
    target["serving"] = json!({"repository": "shop", "image": "registry/shop:old"});
    restored
}
