//! The ECS services of the stack and the images they run.

use crate::failure::Failure;
use crate::stack::Stack;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{
    Compatibility, CpuArchitecture, DeploymentControllerType, DeploymentStrategy, OsFamily,
    ResourceManagementType, Service, TaskDefinition,
};
use bluegreen_contract::{Container, ImageConfig, PlannedService, Platform, Revision};
use bluegreen_ecr::{EcrImage, of_platform};
use bluegreen_ecs::{Described, describe_task_definition, is_at_rest, pinned_to};
use bluegreen_runtime::AwsRequestFailed;

pub(crate) const EXPRESS_MODE: &str = "it is in Express Mode (AWS::ECS::ExpressGatewayService), where ECS alone makes task definitions. Make it an AWS::ECS::Service";
const WITHOUT_TASK_DEFINITION: &str =
    "ECS tells no task definition of it, so that nobody knows what it runs. Give it one";
/// CloudFormation keeps the old ARN also when ECS has given the service a new one
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-arn-migration.html>).
const OLD_ARN: &str = "its ARN has the format of before 2021, which does not name its cluster, and the cluster default has no such service. CloudFormation keeps this ARN as long as it has the service: let it make a new one, under another name";

/// An active service with its current task definition.
pub(crate) struct AppService {
    arn: ServiceArn,
    /// Name of a deployment controller that is not ECS's own.
    foreign_controller: Option<String>,
    is_at_rest: bool,
    /// ECS replaces its tasks one after the other, and goes on however many of the new ones fail.
    rolls_without_circuit_breaker: bool,
    /// Names of the CloudWatch alarms that end a deployment of it.
    alarms: Vec<String>,
    /// `None` where another controller keeps it in task sets.
    revision: Option<Revision>,
}

/// The parts of `arn:PARTITION:ecs:REGION:ACCOUNT:service/CLUSTER/NAME`. The oldest services lack
/// the cluster in their ARN; they are looked for in the default one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceArn {
    pub(crate) service: String,
    pub(crate) cluster: String,
    pub(crate) partition: String,
    pub(crate) region: String,
    pub(crate) account: String,
    /// Whether the ARN says so.
    names_cluster: bool,
}

impl ServiceArn {
    pub(crate) fn parse(service: &str) -> Option<Self> {
        let mut parts = service.splitn(6, ':');
        let ("arn", partition, "ecs", region, account, resource) = (
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
        ) else {
            return None;
        };
        let path = resource.strip_prefix("service/")?;
        let cluster = path.split_once('/').map(|(cluster, _)| cluster);
        let names_cluster = cluster.is_some();
        let cluster = cluster.unwrap_or("default");
        Some(ServiceArn {
            service: service.to_owned(),
            cluster: format!("arn:{partition}:ecs:{region}:{account}:cluster/{cluster}"),
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            names_cluster,
        })
    }

    /// The ARN that ECS gives a service of the old format when somebody asks for a new one.
    fn renewed(&self) -> String {
        match self.names_cluster {
            true => self.service.clone(),
            false => self.service.replacen(":service/", ":service/default/", 1),
        }
    }
}

impl AppService {
    pub(crate) fn arn(&self) -> &ServiceArn {
        &self.arn
    }

    /// Containers with an image of a repository of the service's own account and region.
    fn ecr_containers(&self) -> impl Iterator<Item = (&str, EcrImage<'_>)> {
        self.containers()
            .filter_map(|Container { name, image, .. }| Some((&**name, EcrImage::parse(image)?)))
            .filter(|(_, image)| self.is_beside(image))
    }

    fn containers(&self) -> impl Iterator<Item = &Container> {
        self.revision
            .iter()
            .flat_map(|revision| &revision.containers)
    }

    /// The image is in the account and region of the service.
    pub(crate) fn is_beside(&self, image: &EcrImage<'_>) -> bool {
        image.account == self.arn.account && image.region == self.arn.region
    }

    /// Names of those repositories; a repository may come more than once.
    pub(crate) fn repositories(&self) -> impl Iterator<Item = &str> {
        self.ecr_containers().map(|(_, image)| image.repository)
    }

    /// The one of those repositories whose image this container has.
    pub(crate) fn repository_of(&self, container: &str) -> Option<&str> {
        self.ecr_containers()
            .find(|(name, _)| *name == container)
            .map(|(_, image)| image.repository)
    }

    /// The containers whose image of this repository is named by a tag alone, each with the tag.
    pub(crate) fn tags_of(&self, repository: &str) -> impl Iterator<Item = (&str, &str)> {
        self.ecr_containers()
            .filter(move |(_, image)| image.repository == repository && image.digest.is_none())
            .filter_map(|(name, image)| Some((name, image.tag?)))
    }

    /// Names of the containers with an image of one of the repositories.
    pub(crate) fn containers_of(&self, repositories: &[&str]) -> Vec<&str> {
        let containers = self.with_image_of(repositories);
        containers.map(|container| &*container.name).collect()
    }

    /// The images of those containers, as the revision names them.
    pub(crate) fn images_of(&self, repositories: &[&str]) -> impl Iterator<Item = &str> {
        let containers = self.with_image_of(repositories);
        containers.map(|container| &*container.image)
    }

    fn with_image_of(&self, repositories: &[&str]) -> impl Iterator<Item = &Container> {
        self.containers().filter(|container| {
            let image = EcrImage::parse(&container.image);
            image.is_some_and(|image| {
                self.is_beside(&image) && repositories.contains(&image.repository)
            })
        })
    }

    /// On which its tasks run; `None` where that is left to the instances.
    pub(crate) fn platform(&self) -> Option<&Platform> {
        self.revision.as_ref()?.platform.as_ref()
    }

    /// The words before the command of a container that runs an image of these configurations.
    pub(crate) fn entry_point<'a>(
        &'a self,
        container: &str,
        configs: &'a [ImageConfig],
    ) -> &'a [String] {
        let own = self.containers().find(|own| own.name == container);
        let own = own.map(|own| own.entry_point.as_slice());
        match own.filter(|own| !own.is_empty()) {
            Some(own) => own,
            None => of_platform(configs, self.platform())
                .map(|config| config.entry_point.as_slice())
                .unwrap_or_default(),
        }
    }

    pub(crate) fn rolls_without_circuit_breaker(&self) -> bool {
        self.rolls_without_circuit_breaker
    }

    pub(crate) fn alarms(&self) -> impl Iterator<Item = &str> {
        self.alarms.iter().map(String::as_str)
    }

    /// `registry/repository@digest`, the registry spelt as the service spells it.
    pub(crate) fn image(&self, repository: &str, digest: &str) -> Option<String> {
        self.ecr_containers()
            .find(|(_, image)| image.repository == repository)
            .map(|(_, image)| image.pinned_to(digest))
    }

    /// The image, and no other one of its repository, in a completed deployment.
    pub(crate) fn runs(&self, image: &str) -> bool {
        let images = self.containers().map(|container| &*container.image);
        self.is_at_rest && pinned_to(image, images)
    }

    pub(crate) fn planned(&self, repositories: &[&str]) -> PlannedService {
        PlannedService {
            cluster: self.arn.cluster.clone(),
            service: self.arn.service.clone(),
            task_definition: self.task_definition().to_owned(),
            containers: self
                .containers_of(repositories)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        }
    }

    /// ARN of the current task definition.
    pub(crate) fn task_definition(&self) -> &str {
        let revision = self.revision.as_ref();
        revision.map_or("", |revision| &revision.task_definition)
    }

    pub(crate) fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }

    /// # Errors
    /// `UnsupportedDeploymentController` where another controller than ECS's own replaces tasks.
    pub(crate) fn check_controller(&self) -> Result<(), Failure> {
        match &self.foreign_controller {
            None => Ok(()),
            Some(controller) => Err(Failure::UnsupportedDeploymentController {
                service: self.arn.service.clone(),
                controller: controller.clone(),
            }),
        }
    }
}

/// All services of the stack, in the order of their ARNs. Of revisions that are known nobody is
/// asked.
///
/// # Errors
/// `UnsupportedDeploymentController` for a service of which nobody can say what it runs, since its
/// task definition is with another controller; `UnsupportedService` where ECS tells none either.
pub(crate) async fn load(
    client: &Client,
    stack: &Stack,
    known: &[Revision],
) -> Result<Vec<AppService>, Failure> {
    let mut loaded = Vec::new();
    for (arn, service) in describe_all(client, stack).await? {
        let foreign_controller = service
            .deployment_controller()
            .map(|controller| controller.r#type())
            .filter(|controller| **controller != DeploymentControllerType::Ecs)
            .map(|controller| controller.as_str().to_owned());
        let is_express = service.resource_management_type() == Some(&ResourceManagementType::Ecs);
        let revision = match service.task_definition() {
            Some(arn) => match known.iter().find(|known| known.task_definition == arn) {
                Some(known) => Some(known.clone()),
                None => Some(revision(describe_task_definition(client, arn).await?)),
            },
            None => None,
        };
        let service = AppService {
            arn,
            foreign_controller,
            is_at_rest: is_at_rest(&service),
            rolls_without_circuit_breaker: rolls_without_circuit_breaker(&service),
            alarms: alarms(&service),
            revision,
        };
        if service.revision.is_none() {
            service.check_controller()?;
            let problem = match is_express {
                true => EXPRESS_MODE,
                false => WITHOUT_TASK_DEFINITION,
            };
            return Err(stack.unsupported(&service.arn.service, problem));
        }
        loaded.push(service);
    }
    loaded.sort_by(|a, b| a.arn.service.cmp(&b.arn.service));
    Ok(loaded)
}

fn revision(described: Described) -> Revision {
    let task_definition = described.arn().to_owned();
    let platform = platform(&described.task_definition);
    let containers = described.task_definition.container_definitions;
    let containers = containers.into_iter().flatten();
    Revision {
        task_definition,
        containers: containers
            .filter_map(|container| {
                Some(Container {
                    name: container.name?,
                    image: container.image?,
                    entry_point: container.entry_point.unwrap_or_default(),
                })
            })
            .collect(),
        platform,
    }
}

/// Fargate takes Linux and X86_64 where a task definition does not say on what its tasks run; instances
/// are what they are
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#runtime-platform>).
fn platform(revision: &TaskDefinition) -> Option<Platform> {
    let told = revision.runtime_platform();
    let only_fargate = revision.requires_compatibilities() == [Compatibility::Fargate];
    let os = match told.and_then(|told| told.operating_system_family()) {
        Some(OsFamily::Linux) => "linux",
        Some(family) if family.as_str().starts_with("WINDOWS") => "windows",
        None if only_fargate => "linux",
        _ => return None,
    };
    let architecture = match told.and_then(|told| told.cpu_architecture()) {
        Some(CpuArchitecture::X8664) => "amd64",
        Some(CpuArchitecture::Arm64) => "arm64",
        None if only_fargate => "amd64",
        _ => return None,
    };
    Some(Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
    })
}

async fn describe_all(
    client: &Client,
    stack: &Stack,
) -> Result<Vec<(ServiceArn, Service)>, Failure> {
    let mut arns = Vec::with_capacity(stack.services.len());
    for service in &stack.services {
        arns.push(
            ServiceArn::parse(service)
                .ok_or_else(|| missing(stack, service, "its identifier is not an ARN"))?,
        );
    }
    let asked = arns
        .iter()
        .map(|arn| (arn.cluster.as_str(), arn.service.as_str()));
    let described = bluegreen_ecs::describe_services(client, asked).await;
    let mut described = described.map_err(|failure| no_cluster(stack, &arns, failure))?;
    arns.into_iter()
        .map(|arn| {
            let known = described.remove(&arn.service);
            let service = known.or_else(|| described.remove(&arn.renewed()));
            match service {
                None if !arn.names_cluster => Err(stack.unsupported(&arn.service, OLD_ARN)),
                None => Err(missing(stack, &arn.service, "ECS does not know it").into()),
                Some(service) if service.status().is_some_and(|status| status != "ACTIVE") => {
                    Err(missing(stack, &arn.service, "it is not active any more").into())
                }
                Some(service) => Ok((as_told(arn, &service), service)),
            }
        })
        .collect()
}

/// The ARN by which ECS knows the service.
fn as_told(arn: ServiceArn, service: &Service) -> ServiceArn {
    let told = service.service_arn().and_then(ServiceArn::parse);
    told.unwrap_or(arn)
}

/// An account may have no cluster of the name `default`.
fn no_cluster(stack: &Stack, arns: &[ServiceArn], failure: AwsRequestFailed) -> Failure {
    let is_asked_for = |arn: &&ServiceArn| failure.resource.contains(&arn.service);
    let mut old = arns.iter().filter(|arn| !arn.names_cluster);
    match old.find(is_asked_for) {
        Some(old) if failure.code == "ClusterNotFoundException" => {
            stack.unsupported(&old.service, OLD_ARN)
        }
        _ => failure.into(),
    }
}

/// The stack has a service that ECS does not have: somebody deleted it behind CloudFormation's back.
fn missing(stack: &Stack, service: &str, problem: &str) -> AwsRequestFailed {
    AwsRequestFailed {
        action: "ecs:DescribeServices",
        resource: service.to_owned(),
        code: "MISSING".to_owned(),
        message: format!(
            "the stack {} holds this service, but {problem}; bring the stack back in order",
            stack.name
        ),
        refused: true,
    }
}

/// Whether the circuit breaker acts in the other strategies too, AWS's pages do not agree on
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentCircuitBreaker.html>).
fn rolls_without_circuit_breaker(service: &Service) -> bool {
    let configuration = service.deployment_configuration();
    let strategy = configuration.and_then(|configuration| configuration.strategy());
    let breaker =
        configuration.and_then(|configuration| configuration.deployment_circuit_breaker());
    strategy.is_none_or(|strategy| *strategy == DeploymentStrategy::Rolling)
        && !breaker.is_some_and(|breaker| breaker.enable())
}

/// The alarms of the service's deployment configuration, where ECS heeds them.
fn alarms(service: &Service) -> Vec<String> {
    service
        .deployment_configuration()
        .and_then(|configuration| configuration.alarms())
        .filter(|alarms| alarms.enable())
        .map(|alarms| alarms.alarm_names().to_vec())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_part_of_a_services_arn() {
        let arn = "arn:aws-cn:ecs:cn-north-1:123456789012:service/demo/web";
        let parsed = ServiceArn::parse(arn).unwrap();
        assert_eq!(
            parsed.cluster,
            "arn:aws-cn:ecs:cn-north-1:123456789012:cluster/demo"
        );
        assert_eq!(parsed.account, "123456789012");
        assert_eq!(
            (&*parsed.partition, &*parsed.region),
            ("aws-cn", "cn-north-1")
        );
    }

    #[test]
    fn the_oldest_services_are_looked_for_in_the_default_cluster() {
        let arn = "arn:aws:ecs:us-east-1:123456789012:service/web";
        let parsed = ServiceArn::parse(arn).unwrap();
        assert!(parsed.cluster.ends_with(":cluster/default"));
        assert!(parsed.renewed().ends_with(":service/default/web"));
    }

    #[test]
    fn anything_else_is_no_services_arn() {
        for text in [
            "web",
            "arn:aws:ecs:us-east-1:1:cluster/demo",
            "arn:aws:s3:::b",
        ] {
            assert_eq!(ServiceArn::parse(text), None);
        }
    }
}
