//! The request that runs a command where and how the service runs its own tasks.

use crate::handler::attempt;
use aws_sdk_ecs::operation::run_task::RunTaskInput;
use aws_sdk_ecs::operation::run_task::builders::RunTaskInputBuilder;
use aws_sdk_ecs::types::{
    ContainerOverride, Failure as EcsFailure, PlacementConstraint, Service,
    ServiceManagedEbsVolumeConfiguration, ServiceVolumeConfiguration,
    TaskManagedEbsVolumeConfiguration, TaskOverride, TaskVolumeConfiguration,
};
use bluegreen_contract::{Execution, Purpose, RunMigrationInput};
use bluegreen_ecs::{EXECUTION_TAG, STACK_TAG, started_by, tag};
use sha2::{Digest, Sha256};

/// Tag of a one-off task and of nothing else, so that a policy can tell it from the tasks of a
/// service: those may get the tags of their task definition. Its value is the stack.
const MIGRATION_TAG: &str = "bluegreen:migration";

/// One task with `revision`, in the service's cluster, network and capacity.
///
/// A service has either a capacity provider strategy or a launch type, and RunTask takes only one
/// of them. Where the service has neither, the cluster's default strategy decides for both.
pub(crate) fn request(
    service: &Service,
    input: &RunMigrationInput,
    revision: &str,
) -> RunTaskInputBuilder {
    let strategy = service.capacity_provider_strategy();
    let launch_type = service
        .launch_type()
        .filter(|_| strategy.is_empty())
        .cloned();
    let command = &input.command;
    RunTaskInput::builder()
        .cluster(&command.cluster)
        .task_definition(revision)
        .count(1)
        .set_capacity_provider_strategy(some_if_any(strategy))
        .set_launch_type(launch_type)
        .set_platform_version(service.platform_version().map(str::to_owned))
        .set_network_configuration(service.network_configuration().cloned())
        .set_placement_constraints(some_if_any::<PlacementConstraint>(
            service.placement_constraints(),
        ))
        .set_placement_strategy(some_if_any(service.placement_strategy()))
        .set_volume_configurations(some_if_any(&volumes(service)))
        .enable_ecs_managed_tags(service.enable_ecs_managed_tags())
        .overrides(
            TaskOverride::builder()
                .container_overrides(
                    ContainerOverride::builder()
                        .name(&command.container)
                        .set_command(Some(command.command.clone()))
                        .build(),
                )
                .build(),
        )
        .started_by(started_by(&input.release.stack))
        .tags(tag(STACK_TAG, &input.release.stack))
        .tags(tag(EXECUTION_TAG, &input.execution.id))
        .tags(tag(MIGRATION_TAG, &input.release.stack))
        .client_token(token(&input.execution, command.purpose, attempt(input)))
}

/// The volumes that the task definition leaves to whoever starts its tasks, as the service's current
/// deployment configures them; without them ECS refuses the task
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-ebs-config.html>).
///
/// The two types differ in one field: when a volume is deleted. A service's volumes are deleted with
/// their task, which is what RunTask does where nothing else is asked for.
fn volumes(service: &Service) -> Vec<TaskVolumeConfiguration> {
    service
        .deployments()
        .iter()
        .find(|deployment| deployment.status() == Some("PRIMARY"))
        .into_iter()
        .flat_map(|primary| primary.volume_configurations())
        .filter_map(volume)
        .collect()
}

fn volume(volume: &ServiceVolumeConfiguration) -> Option<TaskVolumeConfiguration> {
    TaskVolumeConfiguration::builder()
        .name(volume.name())
        .set_managed_ebs_volume(volume.managed_ebs_volume().and_then(ebs_volume))
        .build()
        .ok()
}

fn ebs_volume(
    volume: &ServiceManagedEbsVolumeConfiguration,
) -> Option<TaskManagedEbsVolumeConfiguration> {
    let ServiceManagedEbsVolumeConfiguration {
        encrypted,
        kms_key_id,
        volume_type,
        size_in_gib,
        snapshot_id,
        volume_initialization_rate,
        iops,
        throughput,
        tag_specifications,
        role_arn,
        filesystem_type,
        ..
    } = volume.clone();
    TaskManagedEbsVolumeConfiguration::builder()
        .set_encrypted(encrypted)
        .set_kms_key_id(kms_key_id)
        .set_volume_type(volume_type)
        .set_size_in_gib(size_in_gib)
        .set_snapshot_id(snapshot_id)
        .set_volume_initialization_rate(volume_initialization_rate)
        .set_iops(iops)
        .set_throughput(throughput)
        .set_tag_specifications(tag_specifications)
        .role_arn(role_arn)
        .set_filesystem_type(filesystem_type)
        .build()
        .ok()
}

/// Whether ECS would have started the task if it had had room for it. It names what a container
/// instance lacks, and says of Fargate that it has none
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html>).
pub(crate) fn lacks_capacity(failure: &EcsFailure) -> bool {
    failure.reason().is_some_and(|reason| {
        reason.starts_with("RESOURCE:") || reason.starts_with("Capacity is unavailable")
    })
}

/// Why ECS started nothing, from an answer that is not an HTTP error.
pub(crate) fn reasons(failures: &[EcsFailure]) -> String {
    let reasons: Vec<String> = failures
        .iter()
        .map(|failure| {
            let reason = failure.reason().unwrap_or("no reason given");
            let detail = failure.detail().map(|detail| format!(" ({detail})"));
            let arn = failure.arn().map(|arn| format!(" at {arn}"));
            format!(
                "{reason}{}{}",
                detail.unwrap_or_default(),
                arn.unwrap_or_default()
            )
        })
        .collect();
    match reasons.is_empty() {
        true => "it gave neither a task nor a reason".to_owned(),
        false => reasons.join("; "),
    }
}

fn some_if_any<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    (!items.is_empty()).then(|| items.to_vec())
}

/// 64 hexadecimal digits, the most that RunTask takes as a token: the same for every call of one try
/// of an execution, so that ECS answers a repeated request with the task it already has. After a task
/// that never started it is another one.
fn token(execution: &Execution, purpose: Purpose, attempt: u32) -> String {
    let Execution { id, redrives } = execution;
    Sha256::digest(format!("{id}#{redrives}#{}#{attempt}", purpose.name()))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_same_for_every_call_of_a_try_and_fits() {
        let token = |id: &str, redrives, purpose, attempt| {
            let id = id.to_owned();
            token(&Execution { id, redrives }, purpose, attempt)
        };
        let first = token("arn:execution:1", 0, Purpose::Migration, 0);
        assert_eq!(first, token("arn:execution:1", 0, Purpose::Migration, 0));
        assert_eq!(first.len(), 64);
        assert!(first.is_ascii());
        for other in [
            token("arn:execution:1", 1, Purpose::Migration, 0),
            token("arn:execution:2", 0, Purpose::Migration, 0),
            token("arn:execution:1", 0, Purpose::PostDeploy, 0),
            token("arn:execution:1", 0, Purpose::Migration, 1),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_lack_of_capacity_is_told_from_other_failures() {
        for (reason, expected) in [
            ("RESOURCE:MEMORY", true),
            ("RESOURCE:ENI", true),
            (
                "Capacity is unavailable at this time. Please try again later or in a different availability zone",
                true,
            ),
            ("AGENT", false),
            ("ATTRIBUTE", false),
            ("MISSING", false),
        ] {
            let failure = EcsFailure::builder().reason(reason).build();
            assert_eq!(lacks_capacity(&failure), expected, "{reason}");
        }
        assert!(!lacks_capacity(&EcsFailure::builder().build()));
    }

    #[test]
    fn every_failure_is_told_with_its_detail() {
        let failures = [
            EcsFailure::builder()
                .reason("RESOURCE:MEMORY")
                .arn("arn:instance/1")
                .build(),
            EcsFailure::builder()
                .reason("AGENT")
                .detail("not connected")
                .build(),
        ];
        assert_eq!(
            reasons(&failures),
            "RESOURCE:MEMORY at arn:instance/1; AGENT (not connected)"
        );
        assert_eq!(reasons(&[]), "it gave neither a task nor a reason");
    }
}
