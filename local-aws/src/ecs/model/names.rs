//! Names and ARNs of ECS resources.

use uuid::Uuid;

use super::error::ApiError;

/// The account and region all ARNs are made of.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct Names {
    pub(in crate::ecs) account_id: String,
    pub(in crate::ecs) region: String,
}

impl Names {
    fn arn(&self, resource: &str) -> String {
        format!("arn:aws:ecs:{}:{}:{resource}", self.region, self.account_id)
    }

    pub(in crate::ecs) fn cluster(&self, cluster: &str) -> String {
        self.arn(&format!("cluster/{cluster}"))
    }

    pub(in crate::ecs) fn task_definition(&self, family: &str, revision: u32) -> String {
        self.arn(&format!("task-definition/{family}:{revision}"))
    }

    pub(in crate::ecs) fn task(&self, cluster: &str, id: &str) -> String {
        self.arn(&format!("task/{cluster}/{id}"))
    }

    pub(in crate::ecs) fn container(&self, cluster: &str, task: &str) -> String {
        self.arn(&format!("container/{cluster}/{task}/{}", Uuid::new_v4()))
    }

    pub(in crate::ecs) fn capacity_provider(&self, name: &str) -> String {
        self.arn(&format!("capacity-provider/{name}"))
    }

    pub(in crate::ecs) fn service(&self, cluster: &str, service: &str) -> String {
        self.arn(&format!("service/{cluster}/{service}"))
    }

    pub(in crate::ecs) fn service_deployment(&self, cluster: &str, service: &str) -> String {
        let id = unique_id();
        self.arn(&format!(
            "service-deployment/{cluster}/{service}/{}",
            &id[..21]
        ))
    }

    pub(in crate::ecs) fn service_revision(&self, cluster: &str, service: &str) -> String {
        self.arn(&format!(
            "service-revision/{cluster}/{service}/{}",
            unique_number()
        ))
    }
}

/// The availability zone of a task with this ARN: everything runs in the region's first one.
pub(in crate::ecs) fn availability_zone(task_arn: &str) -> Option<String> {
    let region = task_arn.split(':').nth(3)?;
    Some(format!("{region}a"))
}

/// 32 hexadecimal digits, as task ids have.
pub(in crate::ecs) fn unique_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A number of 19 digits, as deployments and service revisions have.
pub(in crate::ecs) fn unique_number() -> u64 {
    const SMALLEST: u64 = 1_000_000_000_000_000_000;
    SMALLEST + Uuid::new_v4().as_u64_pair().0 % (8 * SMALLEST)
}

/// The part behind `kind/` of an ARN, or the text itself where it is no ARN.
fn resource<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    if !text.starts_with("arn:") {
        return Some(text);
    }
    text.splitn(6, ':').nth(5)?.strip_prefix(kind)
}

/// The cluster's name from its name or ARN; `default` where none is given.
pub(in crate::ecs) fn cluster_name(cluster: Option<&str>) -> Result<String, ApiError> {
    match cluster {
        None | Some("") => Ok("default".to_owned()),
        Some(text) => resource(text, "cluster/")
            .map(ToOwned::to_owned)
            .ok_or_else(|| ApiError::invalid_parameter("Invalid identifier: it is no cluster's.")),
    }
}

/// The service's name from its name or ARN, the one with the cluster's name or without.
pub(in crate::ecs) fn service_name(service: &str) -> Option<&str> {
    let path = resource(service, "service/")?;
    Some(path.rsplit_once('/').map_or(path, |(_, name)| name))
}

/// The cluster's name in a service's ARN, if it has one.
pub(in crate::ecs) fn cluster_of_service(service: &str) -> Option<&str> {
    let (_, path) = service.split_once(":service/")?;
    path.split_once('/').map(|(cluster, _)| cluster)
}

/// The task's id from its id or ARN.
pub(in crate::ecs) fn task_id(task: &str) -> Option<&str> {
    let path = resource(task, "task/")?;
    Some(path.rsplit_once('/').map_or(path, |(_, id)| id))
}

/// A task definition as requests name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ecs) struct TaskDefinitionName {
    pub(in crate::ecs) family: String,
    /// `None` means the latest active revision.
    pub(in crate::ecs) revision: Option<u32>,
}

impl TaskDefinitionName {
    /// Reads a family, `family:revision` or an ARN.
    pub(in crate::ecs) fn parse(text: &str) -> Option<Self> {
        let path = resource(text, "task-definition/")?;
        let (family, revision) = match path.split_once(':') {
            Some((family, revision)) => (family, Some(revision.parse().ok()?)),
            None => (path, None),
        };
        is_name(family).then(|| Self {
            family: family.to_owned(),
            revision,
        })
    }
}

/// Whether the text can name a cluster, a family or a service: up to 255 letters, digits,
/// hyphens and underscores.
pub(in crate::ecs) fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            account_id: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
        }
    }

    fn definition(text: &str) -> Option<(String, Option<u32>)> {
        TaskDefinitionName::parse(text).map(|name| (name.family, name.revision))
    }

    #[test]
    fn a_task_definition_is_named_by_family_revision_or_arn() {
        let expected = |revision| Some(("web-app".to_owned(), revision));
        assert_eq!(definition("web-app"), expected(None));
        assert_eq!(definition("web-app:3"), expected(Some(3)));
        assert_eq!(
            definition(&names().task_definition("web-app", 12)),
            expected(Some(12))
        );
        for text in ["", "web app", "web:x", "web:", &names().cluster("web")] {
            assert_eq!(definition(text), None, "{text}");
        }
    }

    #[test]
    fn names_and_arns_mean_the_same() {
        let names = names();
        assert_eq!(cluster_name(None).unwrap(), "default");
        assert_eq!(cluster_name(Some("c")).unwrap(), "c");
        assert_eq!(cluster_name(Some(&names.cluster("c"))).unwrap(), "c");
        assert!(cluster_name(Some(&names.service("c", "s"))).is_err());
        assert_eq!(service_name("s"), Some("s"));
        assert_eq!(service_name(&names.service("c", "s")), Some("s"));
        assert_eq!(
            service_name("arn:aws:ecs:us-east-1:123456789012:service/s"),
            Some("s")
        );
        assert_eq!(service_name(&names.task("c", "1")), None);
        assert_eq!(cluster_of_service(&names.service("c", "s")), Some("c"));
        assert_eq!(cluster_of_service("s"), None);
        assert_eq!(task_id("1"), Some("1"));
        assert_eq!(task_id(&names.task("c", "1")), Some("1"));
    }

    #[test]
    fn identifiers_look_like_those_of_ecs() {
        assert_eq!(unique_id().len(), 32);
        assert_eq!(unique_number().to_string().len(), 19);
        let arn = names().service_deployment("c", "s");
        assert_eq!(arn.rsplit('/').next().unwrap().len(), 21);
    }
}
