//! ECR's events about an image that was pushed, here or elsewhere, from where ECR has replicated it
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>).

use crate::failure::Failure;
use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use bluegreen_contract::{InvalidInput, parse};
use bluegreen_ecr::{is_other_artifact, is_referrer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The keys that a push has; other actions lack some of them. AWS adds keys over time: unknown ones
/// are no error.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Detail {
    action_type: Option<String>,
    result: Option<String>,
    repository_name: Option<String>,
    image_digest: Option<String>,
    image_tag: Option<String>,
    manifest_media_type: Option<String>,
    artifact_media_type: Option<String>,
}

/// In UTC, with as many digits of a second as are needed.
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// The events that tell of an image that has come into a repository, each with its action.
const ARRIVALS: [(&str, &str); 2] = [
    ("ECR Image Action", "PUSH"),
    ("ECR Replication Action", "REPLICATE"),
];

/// An image with a tag that was pushed or replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Push {
    /// Id of the event: the same when EventBridge delivers it once more.
    pub(crate) event: String,
    /// When it happened, RFC 3339 in UTC.
    pub(crate) time: String,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) digest: String,
}

/// Reads the event; `Err` holds a sentence about an event that is no push of a tagged image.
///
/// One of the detail types tells of deletions too, and a push by digest (the parts of an image for
/// several platforms, attestations) has no tag or an empty one. A tag may also be that of something
/// that is no image.
///
/// # Errors
/// `InvalidEvent` names the field.
pub(crate) fn read(event: Value) -> Result<Result<Push, String>, Failure> {
    let event: EventBridgeEvent<Option<Detail>> =
        parse(event).map_err(|InvalidInput(problem)| Failure::InvalidEvent(problem))?;
    let arrival = ARRIVALS
        .into_iter()
        .find(|(detail_type, _)| *detail_type == event.detail_type);
    let Some((_, arrival)) = arrival.filter(|_| event.source == "aws.ecr") else {
        return Ok(Err(format!(
            "{} from {} does not tell of an image that came into a repository.",
            event.detail_type, event.source
        )));
    };
    let detail = event.detail.unwrap_or_default();
    let action = required("detail.action-type", detail.action_type)?;
    let result = required("detail.result", detail.result)?;
    if (action.as_str(), result.as_str()) != (arrival, "SUCCESS") {
        return Ok(Err(format!(
            "{action} with result {result} brings no image into a repository."
        )));
    }
    let repository = required("detail.repository-name", detail.repository_name)?;
    let digest = required("detail.image-digest", detail.image_digest)?;
    let Some(tag) = detail.image_tag.filter(|tag| !tag.is_empty()) else {
        return Ok(Err(format!(
            "{digest} came into {repository} without a tag: it is a part of another image or an attestation."
        )));
    };
    if is_referrer(&tag) {
        return Ok(Err(format!(
            "The tag {tag} in {repository} is that of a signature or an attestation of an image, not of an image."
        )));
    }
    if let (Some(manifest), Some(artifact)) =
        (&detail.manifest_media_type, &detail.artifact_media_type)
        && is_other_artifact(manifest, artifact)
    {
        return Ok(Err(format!(
            "{repository}:{tag} is {artifact}, not an image."
        )));
    }
    Ok(Ok(Push {
        time: required(
            "time",
            event.time.map(|time| time.format(RFC_3339).to_string()),
        )?,
        event: required("id", event.id)?,
        account: required("account", event.account)?,
        region: required("region", event.region)?,
        repository,
        tag,
        digest,
    }))
}

fn required(key: &str, value: Option<String>) -> Result<String, Failure> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Failure::InvalidEvent(format!("`{key}`: missing or empty")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A push as ECR tells of it.
    pub(crate) fn pushed() -> Value {
        json!({
            "version": "0", "id": "13cde686-328b-6117-af20-0e5566167482",
            "detail-type": "ECR Image Action", "source": "aws.ecr", "account": "123456789012",
            "time": "2026-01-11T01:54:34Z", "region": "us-east-1", "resources": [],
            "detail": {
                "result": "SUCCESS", "repository-name": "demo", "image-digest": "sha256:2222",
                "action-type": "PUSH", "image-tag": "v2",
                "manifest-media-type": "application/vnd.oci.image.manifest.v1+json",
                "artifact-media-type": "application/vnd.oci.image.config.v1+json"
            }
        })
    }

    fn changed(mut event: Value, key: &str, value: Value) -> Value {
        event["detail"][key] = value;
        event
    }

    fn with(key: &str, value: Value) -> Value {
        changed(pushed(), key, value)
    }

    #[test]
    fn a_push_with_a_tag_is_read() {
        let push = read(pushed()).unwrap().unwrap();
        assert_eq!(push.repository, "demo");
        assert_eq!(
            (push.tag.as_str(), push.digest.as_str()),
            ("v2", "sha256:2222")
        );
        assert_eq!(push.event, "13cde686-328b-6117-af20-0e5566167482");
        assert_eq!(push.time, "2026-01-11T01:54:34Z");
    }

    /// An image that came from another region, as ECR tells of it.
    fn replicated() -> Value {
        let mut event = pushed();
        event["detail-type"] = json!("ECR Replication Action");
        event["detail"] = json!({
            "result": "SUCCESS", "repository-name": "demo", "image-digest": "sha256:2222",
            "source-account": "123456789012", "action-type": "REPLICATE",
            "source-region": "us-west-2", "image-tag": "v2"
        });
        event
    }

    #[test]
    fn an_image_that_was_replicated_is_read_as_a_push() {
        let pushed = read(pushed()).unwrap().unwrap();
        assert_eq!(read(replicated()).unwrap().unwrap(), pushed);
    }

    #[test]
    fn everything_else_that_ecr_tells_is_ignored_with_a_reason() {
        let mut untagged = pushed();
        untagged["detail"]
            .as_object_mut()
            .unwrap()
            .remove("image-tag");
        let mut other_type = pushed();
        other_type["detail-type"] = json!("ECR Image Scan");
        let mut other_source = pushed();
        other_source["source"] = json!("aws.ec2");
        other_source.as_object_mut().unwrap().remove("detail");
        for (event, reason) in [
            (with("action-type", json!("DELETE")), "DELETE"),
            (
                with("action-type", json!("UPDATE_STORAGE_CLASS")),
                "UPDATE_STORAGE_CLASS",
            ),
            (with("result", json!("FAILURE")), "FAILURE"),
            (with("image-tag", json!("")), "without a tag"),
            (with("image-tag", Value::Null), "without a tag"),
            (untagged, "without a tag"),
            (
                with(
                    "image-tag",
                    json!(format!("sha256-{}.sig", "0a".repeat(32))),
                ),
                "signature",
            ),
            (
                with(
                    "artifact-media-type",
                    json!("application/vnd.cncf.helm.config.v1+json"),
                ),
                "helm",
            ),
            (other_type, "ECR Image Scan"),
            (changed(replicated(), "result", json!("FAILED")), "FAILED"),
            (changed(replicated(), "action-type", json!("PUSH")), "PUSH"),
            (
                changed(replicated(), "image-tag", json!("")),
                "without a tag",
            ),
            (other_source, "aws.ec2"),
        ] {
            let ignored = read(event).unwrap().unwrap_err();
            assert!(ignored.contains(reason), "{ignored}");
        }
    }

    #[test]
    fn an_image_is_read_however_it_is_packed_and_whatever_its_tag() {
        let mut without_types = pushed();
        let detail = without_types["detail"].as_object_mut().unwrap();
        detail.remove("manifest-media-type");
        detail.remove("artifact-media-type");
        let mut index = with(
            "manifest-media-type",
            json!("application/vnd.oci.image.index.v1+json"),
        );
        index["detail"]["artifact-media-type"] = json!("application/vnd.oci.image.index.v1+json");
        for event in [
            without_types,
            index,
            with("artifact-media-type", json!("")),
            with("artifact-media-type", Value::Null),
            with(
                "artifact-media-type",
                json!("application/vnd.docker.container.image.v1+json"),
            ),
            with("image-tag", json!("sha256-2222")),
        ] {
            assert!(read(event.clone()).unwrap().is_ok(), "{event}");
        }
    }

    #[test]
    fn an_event_without_what_a_push_has_names_the_field() {
        let without = |key: &str| {
            let mut event = pushed();
            event.as_object_mut().unwrap().remove(key);
            event
        };
        let at = |time: &str| {
            let mut event = pushed();
            event["time"] = json!(time);
            event
        };
        for (event, field) in [
            (json!({}), "`detail-type`"),
            (without("source"), "`source`"),
            (without("id"), "`id`"),
            (without("time"), "`time`"),
            (without("account"), "`account`"),
            (without("region"), "`region`"),
            (without("detail"), "`detail.action-type`"),
            (at("yesterday"), "`time`"),
            (json!("push"), "must be an object"),
            (
                with("repository-name", Value::Null),
                "detail.repository-name",
            ),
            (with("repository-name", json!(7)), "detail.repository-name"),
            (with("image-digest", json!("")), "detail.image-digest"),
            (with("action-type", Value::Null), "detail.action-type"),
        ] {
            let failure = read(event).unwrap_err();
            assert_eq!(<&str>::from(&failure), "InvalidEvent");
            assert!(failure.to_string().contains(field), "{failure}");
        }
    }
}
