//! Volumes that a task definition leaves to whoever starts its tasks. There are none on this
//! machine: what AWS would refuse is refused, and no volume is attached.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskManagedEBSVolumeConfiguration.html>

use std::ops::RangeInclusive;

use serde::Deserialize;

use crate::ecs::model::error::ApiError;
use crate::ecs::model::task_definitions::TaskDefinition;

/// One of a request's `volumeConfigurations`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct VolumeConfiguration {
    #[serde(default)]
    name: String,
    #[serde(rename = "managedEBSVolume")]
    managed_ebs_volume: Option<ManagedVolume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedVolume {
    #[serde(default)]
    role_arn: String,
    #[serde(rename = "sizeInGiB")]
    size_in_gib: Option<i64>,
    snapshot_id: Option<String>,
    volume_type: Option<String>,
    iops: Option<i64>,
    throughput: Option<i64>,
    filesystem_type: Option<String>,
}

/// What RunTask refuses.
pub(in crate::ecs) fn validate(
    configurations: &[VolumeConfiguration],
    definition: &TaskDefinition,
) -> Result<(), ApiError> {
    let volumes = &definition.details.volumes;
    let left_open: Vec<&str> = volumes
        .iter()
        .filter(|volume| volume.configured_at_launch)
        .map(|volume| volume.name.as_str())
        .collect();
    let refuse = |message: String| Err(ApiError::invalid_parameter(message));
    if configurations.len() > 1 {
        return refuse(
            "A task can have at most one volume that is configured at launch.".to_owned(),
        );
    }
    for name in &left_open {
        if !configurations.iter().any(|one| one.name == **name) {
            return refuse(format!(
                "volumeConfigurations must configure the volume {name}, which the task definition \
                 leaves to be configured at launch."
            ));
        }
    }
    for configuration in configurations {
        let name = &configuration.name;
        if !left_open.contains(&name.as_str()) {
            return refuse(format!(
                "The volume {name} is not configured at launch in the task definition."
            ));
        }
        let Some(volume) = &configuration.managed_ebs_volume else {
            return refuse(format!("The volume {name} needs a managedEBSVolume."));
        };
        if let Err(problem) = volume.check() {
            return refuse(format!("The volume {name} {problem}"));
        }
    }
    Ok(())
}

impl ManagedVolume {
    fn check(&self) -> Result<(), String> {
        let refuse = |message: &str| Err(message.to_owned());
        if self.role_arn.is_empty() {
            return refuse("needs a roleArn.");
        }
        if self.size_in_gib.is_none() && self.snapshot_id.is_none() {
            return refuse("needs a sizeInGiB or a snapshotId.");
        }
        let kind = self.volume_type.as_deref().unwrap_or("gp3");
        let Some(sizes) = sizes(kind) else {
            return Err(format!("has the unknown volumeType {kind}."));
        };
        if self.size_in_gib.is_some_and(|size| !sizes.contains(&size)) {
            return Err(format!(
                "must have a sizeInGiB between {} and {}, because it is of type {kind}.",
                sizes.start(),
                sizes.end()
            ));
        }
        match (iops(kind), self.iops) {
            (None, Some(_)) => {
                return Err(format!("cannot set iops, because it is of type {kind}."));
            }
            (Some((true, _)), None) => {
                return Err(format!("needs iops, because it is of type {kind}."));
            }
            (Some((_, range)), Some(iops)) if !range.contains(&iops) => {
                return Err(format!(
                    "must have iops between {} and {}, because it is of type {kind}.",
                    range.start(),
                    range.end()
                ));
            }
            _ => {}
        }
        if let Some(throughput) = self.throughput
            && (kind != "gp3" || throughput > 1000)
        {
            return refuse("can have a throughput of at most 1000, and only if it is of type gp3.");
        }
        match self.filesystem_type.as_deref() {
            None | Some("ext3" | "ext4" | "xfs") => Ok(()),
            Some(_) => refuse("must have the filesystemType ext3, ext4 or xfs."),
        }
    }
}

fn sizes(kind: &str) -> Option<RangeInclusive<i64>> {
    match kind {
        "gp2" | "gp3" => Some(1..=16_384),
        "io1" | "io2" => Some(4..=16_384),
        "st1" | "sc1" => Some(125..=16_384),
        "standard" => Some(1..=1024),
        _ => None,
    }
}

/// Whether `iops` must be given, and its values; `None` where it cannot be given.
fn iops(kind: &str) -> Option<(bool, RangeInclusive<i64>)> {
    match kind {
        "gp2" => Some((false, 100..=16_000)),
        "gp3" => Some((false, 3000..=16_000)),
        "io1" => Some((true, 100..=64_000)),
        "io2" => Some((true, 100..=256_000)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(change: Value) -> Result<(), String> {
        let mut volume = json!({"roleArn": "arn:aws:iam::123456789012:role/ecs", "sizeInGiB": 10});
        let fields = volume.as_object_mut().unwrap();
        fields.extend(change.as_object().cloned().unwrap());
        fields.retain(|_, value| !value.is_null());
        ManagedVolume::deserialize(volume).unwrap().check()
    }

    #[test]
    fn a_volume_needs_a_role_and_a_size_within_the_limits_of_its_type() {
        assert_eq!(checked(json!({})), Ok(()));
        assert_eq!(
            checked(json!({"volumeType": "io2", "iops": 100, "filesystemType": "ext4"})),
            Ok(())
        );
        let snapshot = json!({"sizeInGiB": null, "snapshotId": "snap-1"});
        assert_eq!(checked(snapshot), Ok(()));
        for (change, problem) in [
            (json!({"roleArn": null}), "roleArn"),
            (json!({"sizeInGiB": null}), "snapshotId"),
            (json!({"sizeInGiB": 0}), "sizeInGiB"),
            (json!({"volumeType": "st1"}), "sizeInGiB"),
            (json!({"volumeType": "gp9"}), "volumeType"),
            (json!({"volumeType": "io1"}), "needs iops"),
            (json!({"iops": 1}), "iops"),
            (
                json!({"volumeType": "standard", "iops": 100}),
                "cannot set iops",
            ),
            (json!({"throughput": 1001}), "throughput"),
            (json!({"filesystemType": "btrfs"}), "filesystemType"),
        ] {
            let message = checked(change.clone()).unwrap_err();
            assert!(message.contains(problem), "{change}: {message}");
        }
    }
}
