//! Which release brought a task or a revision.

use bluegreen_release::Record;

use super::version;

/// The newest records of a stack, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Versions(Vec<Record>);

impl Versions {
    /// Of these records.
    #[must_use]
    pub fn of(records: Vec<Record>) -> Self {
        Self(records)
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.0
    }

    /// The version of a revision, given by its ARN: that of the newest release that brought it. One that no
    /// release brought is called by its family and number.
    #[must_use]
    pub fn of_revision(&self, task_definition: &str) -> String {
        let brought = |record: &&Record| {
            let mut services = record.services.iter();
            services.any(|service| service.task_definition == task_definition)
        };
        let brought = self.0.iter().find(brought).and_then(version);
        brought.unwrap_or_else(|| {
            let name = task_definition.rsplit('/').next();
            name.unwrap_or(task_definition).to_owned()
        })
    }

    /// The version of a task, given by its ARN and that of its revision: a migration's is its release's.
    #[must_use]
    pub fn of_task(&self, task: &str, task_definition: &str) -> String {
        let migrated = |record: &&Record| record.migration.as_deref() == Some(task);
        let migrated = self.0.iter().find(migrated).and_then(version);
        migrated.unwrap_or_else(|| self.of_revision(task_definition))
    }
}

#[cfg(test)]
mod tests {
    use bluegreen_contract::WantedRevision;

    use super::*;

    #[test]
    fn a_revision_is_called_by_the_newest_release_that_brought_it() {
        let record = |tag: &str, task_definition: &str| Record {
            tag: Some(tag.to_owned()),
            migration: Some(format!("task-of-{tag}")),
            services: vec![WantedRevision {
                cluster: "cluster".to_owned(),
                service: "service".to_owned(),
                task_definition: task_definition.to_owned(),
            }],
            ..Record::default()
        };
        let versions = Versions::of(vec![record("v3", "arn:web:2"), record("v2", "arn:web:2")]);
        assert_eq!(versions.of_revision("arn:web:2"), "v3");
        assert_eq!(versions.of_revision("arn:task-definition/web:1"), "web:1");
        assert_eq!(
            versions.of_task("task-of-v2", "arn:x/web-bluegreen:7"),
            "v2"
        );
        assert_eq!(versions.of_task("another", "arn:web:2"), "v3");
    }
}
