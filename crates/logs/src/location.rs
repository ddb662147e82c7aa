//! Where a container writes its log.

use aws_sdk_ecs::types::{LogDriver, TaskDefinition};
use bluegreen_contract::LogLocation;

/// The stream of the container's `awslogs` driver: `prefix/container/task-id`
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html>).
///
/// `None` where the container uses another driver, or no prefix: the stream then has the id that
/// the container engine gives, which nobody knows beforehand.
#[must_use]
pub fn location(
    task_definition: &TaskDefinition,
    container: &str,
    task_arn: &str,
) -> Option<LogLocation> {
    let configuration = task_definition
        .container_definitions()
        .iter()
        .find(|definition| definition.name() == Some(container))?
        .log_configuration()
        .filter(|configuration| *configuration.log_driver() == LogDriver::Awslogs)?;
    let option = |name| configuration.options()?.get(name).map(String::as_str);
    let task_id = task_arn.rsplit('/').next()?;
    Some(LogLocation {
        group: option("awslogs-group")?.to_owned(),
        stream: format!("{}/{container}/{task_id}", option("awslogs-stream-prefix")?),
        region: option("awslogs-region")
            .or_else(|| task_arn.split(':').nth(3))?
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::{ContainerDefinition, LogConfiguration};

    const TASK: &str = "arn:aws:ecs:us-east-1:123456789012:task/demo/0123";

    fn with(driver: LogDriver, options: &[(&str, &str)]) -> TaskDefinition {
        let mut configuration = LogConfiguration::builder().log_driver(driver);
        for (name, value) in options {
            configuration = configuration.options(*name, *value);
        }
        TaskDefinition::builder()
            .container_definitions(ContainerDefinition::builder().name("proxy").build())
            .container_definitions(
                ContainerDefinition::builder()
                    .name("web")
                    .log_configuration(configuration.build().unwrap())
                    .build(),
            )
            .build()
    }

    #[test]
    fn the_stream_is_prefix_container_and_task_id() {
        let definition = with(
            LogDriver::Awslogs,
            &[
                ("awslogs-group", "/ecs/demo"),
                ("awslogs-region", "eu-west-1"),
                ("awslogs-stream-prefix", "app"),
            ],
        );
        assert_eq!(
            location(&definition, "web", TASK),
            Some(LogLocation {
                group: "/ecs/demo".to_owned(),
                stream: "app/web/0123".to_owned(),
                region: "eu-west-1".to_owned(),
            })
        );
    }

    #[test]
    fn without_a_region_it_is_the_tasks() {
        let options = [("awslogs-group", "g"), ("awslogs-stream-prefix", "p")];
        let definition = with(LogDriver::Awslogs, &options);
        assert_eq!(
            location(&definition, "web", TASK).unwrap().region,
            "us-east-1"
        );
    }

    #[test]
    fn a_stream_that_cannot_be_known_is_none() {
        let no_prefix = with(LogDriver::Awslogs, &[("awslogs-group", "g")]);
        assert_eq!(location(&no_prefix, "web", TASK), None);
        let firelens = with(
            LogDriver::Awsfirelens,
            &[("awslogs-group", "g"), ("awslogs-stream-prefix", "p")],
        );
        assert_eq!(location(&firelens, "web", TASK), None);
        assert_eq!(location(&firelens, "proxy", TASK), None);
        assert_eq!(location(&firelens, "absent", TASK), None);
    }
}
