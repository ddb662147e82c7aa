//! The operations on task definitions: families and their revisions.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{includes, page};
use super::tags;
use crate::ecs::life::control_plane::Ecs;
use crate::ecs::model::error::ApiError;
use crate::ecs::model::names::TaskDefinitionName;
use crate::ecs::model::state::State;
use crate::ecs::model::task_definitions::{Details, TaskDefinition};
use crate::ecs::model::values::{Object, Tag, now, parse, put, tags_to_json};
use crate::ecs::rules::size;
use crate::ecs::rules::task_definitions::{complete_container, validate};

#[derive(Deserialize)]
struct Register {
    #[serde(default)]
    family: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    task_definition: String,
    #[serde(default)]
    include: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    family_prefix: Option<String>,
    status: Option<String>,
    sort: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl TaskDefinition {
    fn to_json(&self) -> Value {
        let mut answer = self.document.clone();
        let status = if self.active { "ACTIVE" } else { "INACTIVE" };
        answer.insert("status".to_owned(), json!(status));
        put(&mut answer, "deregisteredAt", self.deregistered_at);
        Value::Object(answer)
    }
}

impl State {
    /// The task definition a request means: with a revision that one, else the latest active.
    pub(super) fn task_definition(&self, text: &str) -> Option<&Arc<TaskDefinition>> {
        let name = TaskDefinitionName::parse(text)?;
        let revisions = self.families.get(&name.family)?;
        match name.revision {
            Some(revision) => revisions.iter().find(|one| one.revision == revision),
            None => revisions.iter().rev().find(|one| one.active),
        }
    }

    /// The same, for starting tasks of it: it has to be active.
    pub(super) fn active_task_definition(
        &self,
        text: &str,
    ) -> Result<Arc<TaskDefinition>, ApiError> {
        if text.is_empty() {
            return Err(ApiError::invalid_parameter(
                "TaskDefinition can not be blank.",
            ));
        }
        let found = self
            .task_definition(text)
            .ok_or_else(|| ApiError::client_exception("TaskDefinition not found."))?;
        if found.active {
            Ok(Arc::clone(found))
        } else {
            Err(ApiError::client_exception("TaskDefinition is inactive"))
        }
    }
}

impl Ecs {
    pub(super) fn register_task_definition(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: Register = parse(&request)?;
        let Value::Object(mut document) = request else {
            return Err(ApiError::invalid_parameter("The request is no object."));
        };
        if !document.contains_key("containerDefinitions") {
            document.insert("containerDefinitions".to_owned(), json!([]));
        }
        size::normalize(&mut document);
        let details: Details = parse(&Value::Object(document.clone()))?;
        validate(&parsed.family, &details)?;
        tags::check_characters(&parsed.tags)?;
        document.remove("tags");
        let awsvpc = details.network_mode.as_deref() == Some("awsvpc");
        if let Some(containers) = document["containerDefinitions"].as_array_mut() {
            for container in containers {
                complete_container(container, awsvpc);
            }
        }
        for list in ["volumes", "placementConstraints"] {
            document.entry(list).or_insert(json!([]));
        }
        let fits = size::is_fargate(details.cpu.as_deref(), details.memory.as_deref());
        let compatibilities = if awsvpc && fits {
            json!(["EC2", "FARGATE"])
        } else {
            json!(["EC2"])
        };
        document.insert("compatibilities".to_owned(), compatibilities);
        document.insert("registeredAt".to_owned(), json!(now()));
        let registered_by = format!("arn:aws:iam::{}:root", self.inner.names.account_id);
        document.insert("registeredBy".to_owned(), json!(registered_by));

        let mut state = self.lock();
        let revisions = state.families.entry(parsed.family.clone()).or_default();
        let revision = revisions.last().map_or(1, |last| last.revision + 1);
        let arn = self.inner.names.task_definition(&parsed.family, revision);
        document.insert("taskDefinitionArn".to_owned(), json!(arn));
        document.insert("revision".to_owned(), json!(revision));
        let definition = TaskDefinition {
            arn,
            family: parsed.family,
            revision,
            active: true,
            tags: parsed.tags,
            document,
            details,
            deregistered_at: None,
        };
        let answer = json!({
            "taskDefinition": definition.to_json(),
            "tags": tags_to_json(&definition.tags),
        });
        revisions.push(Arc::new(definition));
        Ok(answer)
    }

    pub(super) fn describe_task_definition(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: Named = parse(&request)?;
        let state = self.lock();
        let definition = state
            .task_definition(&parsed.task_definition)
            .ok_or_else(|| ApiError::client_exception("Unable to describe task definition."))?;
        let mut answer = json!({"taskDefinition": definition.to_json()});
        if includes(&parsed.include, "TAGS") {
            answer["tags"] = tags_to_json(&definition.tags);
        }
        Ok(answer)
    }

    pub(super) fn deregister_task_definition(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: Named = parse(&request)?;
        let name = TaskDefinitionName::parse(&parsed.task_definition);
        let Some((name, revision)) = name.and_then(|name| {
            let revision = name.revision?;
            Some((name, revision))
        }) else {
            return Err(ApiError::invalid_parameter(
                "The specified task definition must name a revision: family:revision.",
            ));
        };
        let mut state = self.lock();
        let definition = state
            .families
            .get_mut(&name.family)
            .and_then(|revisions| revisions.iter_mut().find(|one| one.revision == revision))
            .ok_or_else(|| {
                ApiError::client_exception("The specified task definition does not exist.")
            })?;
        if !definition.active {
            return Err(ApiError::client_exception(
                "The specified task definition is inactive.",
            ));
        }
        // Tasks and services that use the revision go on with it.
        let definition = Arc::make_mut(definition);
        definition.active = false;
        definition.deregistered_at = Some(now());
        Ok(json!({"taskDefinition": definition.to_json()}))
    }

    pub(super) fn list_task_definitions(&self, request: Value) -> Result<Value, ApiError> {
        let parsed: List = parse(&request)?;
        let active = match parsed.status.as_deref() {
            None | Some("ACTIVE") => true,
            Some("INACTIVE") => false,
            Some(_) => {
                return Err(ApiError::invalid_parameter(
                    "Invalid task definition status.",
                ));
            }
        };
        let state = self.lock();
        // `familyPrefix` is the whole family's name.
        let mut found: Vec<&TaskDefinition> = state
            .families
            .iter()
            .filter(|(family, _)| {
                let wanted = parsed.family_prefix.as_ref();
                wanted.is_none_or(|wanted| wanted == *family)
            })
            .flat_map(|(_, revisions)| revisions.iter().map(Arc::as_ref))
            .filter(|definition| definition.active == active)
            .collect();
        found.sort_by_key(|definition| (&definition.family, definition.revision));
        if parsed.sort.as_deref() == Some("DESC") {
            found.reverse();
        }
        let arns: Vec<&str> = found.iter().map(|found| found.arn.as_str()).collect();
        let (arns, next) = page(arns, parsed.max_results, parsed.next_token.as_deref(), 100)?;
        let mut answer = Object::new();
        answer.insert("taskDefinitionArns".to_owned(), json!(arns));
        put(&mut answer, "nextToken", next);
        Ok(Value::Object(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecs::in_process;

    #[tokio::test]
    async fn a_family_without_a_revision_is_its_latest_active_one() {
        let ecs = in_process::ecs(1.0).await;
        for _ in 0..3 {
            in_process::register(&ecs, "web").await;
        }
        for (deregistered, latest) in [("web:1", 3), ("web:3", 2)] {
            let request = json!({"taskDefinition": deregistered});
            ecs.call("DeregisterTaskDefinition", request).await.unwrap();
            let described = ecs.call("DescribeTaskDefinition", json!({"taskDefinition": "web"}));
            let described = described.await.unwrap();
            assert_eq!(described["taskDefinition"]["revision"], latest);
            let run = ecs.call("RunTask", in_process::run_task("web", &json!({})));
            let started = run.await.unwrap()["tasks"][0]["taskDefinitionArn"].to_string();
            assert!(started.contains(&format!("/web:{latest}")), "{started}");
        }
    }

    /// What an SDK does not know yet, ECS keeps and answers all the same.
    #[tokio::test]
    async fn a_member_that_is_not_known_here_is_kept() {
        let ecs = in_process::ecs(1.0).await;
        let more = json!({"mode": "strict", "limits": [1, 2.5]});
        let mut definition = in_process::definition("web", &json!({"sinceYesterday": more}));
        definition["sinceYesterday"] = json!(true);
        ecs.call("RegisterTaskDefinition", definition)
            .await
            .unwrap();
        let described = ecs.call("DescribeTaskDefinition", json!({"taskDefinition": "web"}));
        let described = &described.await.unwrap()["taskDefinition"];
        assert_eq!(described["sinceYesterday"], json!(true));
        assert_eq!(described["containerDefinitions"][0]["sinceYesterday"], more);
    }
}
