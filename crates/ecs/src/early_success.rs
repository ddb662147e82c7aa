//! Rolling deployments that ECS calls successful before all of their tasks run, and before those of
//! the revision before are gone
//! (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/early-success-criteria.html>).

use aws_sdk_ecs::types::{DeploymentEarlySuccessCriteria, Service, ServiceRevisionCleanup};

/// Whether so many running tasks of a complete deployment are as many as ECS wants of it: all, or
/// the part that the service's early success criteria name.
#[must_use]
pub fn is_enough(service: &Service, running: i32, desired: i32) -> bool {
    running == desired || criteria(service).is_some() && running >= enough_tasks(service, desired)
}

/// How many of the desired tasks have to be healthy before ECS calls a deployment successful. ECS waits
/// for one at least.
#[must_use]
pub fn enough_tasks(service: &Service, desired: i32) -> i32 {
    let percent = criteria(service).and_then(DeploymentEarlySuccessCriteria::healthy_percent);
    percent.map_or(desired, |percent| {
        percent_of(desired, percent).max(1).min(desired)
    })
}

/// So many per cent of a number of tasks, rounded up, as ECS does.
#[must_use]
pub fn percent_of(tasks: i32, percent: i32) -> i32 {
    let part = (i64::from(tasks) * i64::from(percent) + 99).div_euclid(100);
    i32::try_from(part).unwrap_or(i32::MAX)
}

/// Whether tasks of the revision before may run on, for two weeks at most, when ECS calls a
/// deployment successful.
pub(crate) fn cleans_up_later(service: &Service) -> bool {
    criteria(service)
        .and_then(DeploymentEarlySuccessCriteria::source_service_revision_cleanup)
        .is_some_and(|cleanup| *cleanup == ServiceRevisionCleanup::Deferred)
}

fn criteria(service: &Service) -> Option<&DeploymentEarlySuccessCriteria> {
    service
        .deployment_configuration()?
        .early_success_criteria()
        .filter(|criteria| criteria.enable())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::DeploymentConfiguration;

    fn service(enable: bool, percent: i32, cleanup: ServiceRevisionCleanup) -> Service {
        let criteria = DeploymentEarlySuccessCriteria::builder()
            .enable(enable)
            .healthy_percent(percent)
            .source_service_revision_cleanup(cleanup)
            .build();
        let configuration = DeploymentConfiguration::builder()
            .early_success_criteria(criteria)
            .build();
        Service::builder()
            .deployment_configuration(configuration)
            .build()
    }

    /// The examples of
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/early-success-criteria.html>.
    #[test]
    fn a_part_of_the_tasks_is_enough_where_the_criteria_say_so() {
        for (desired, percent, enough) in [
            (2, 50, 1),
            (3, 50, 2),
            (10, 80, 8),
            (100, 90, 90),
            (10, 100, 10),
            (4, 0, 1),
            (0, 50, 0),
        ] {
            let early = service(true, percent, ServiceRevisionCleanup::Blocking);
            assert_eq!(enough_tasks(&early, desired), enough, "{desired}");
            assert!(is_enough(&early, enough, desired));
            assert!(!is_enough(&early, enough - 1, desired));
            let disabled = service(false, percent, ServiceRevisionCleanup::Blocking);
            for usual in [disabled, Service::builder().build()] {
                assert_eq!(enough_tasks(&usual, desired), desired);
                assert!(is_enough(&usual, desired, desired));
                assert!(!is_enough(&usual, desired - 1, desired));
                assert!(!is_enough(&usual, desired + 1, desired));
            }
        }
    }

    #[test]
    fn only_a_deferred_clean_up_comes_after_the_success() {
        use ServiceRevisionCleanup::{Blocking, Deferred};
        assert!(cleans_up_later(&service(true, 50, Deferred)));
        assert!(!cleans_up_later(&service(true, 50, Blocking)));
        assert!(!cleans_up_later(&service(false, 50, Deferred)));
        assert!(!cleans_up_later(&Service::builder().build()));
    }
}
