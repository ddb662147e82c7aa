//! `bluegreen down`: everything of an application deleted, after a question.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::names::{ARTIFACTS, Application, PIPELINE};
use crate::running;
use crate::stacks::Stacks;
use crate::trouble::failed;
use crate::world::World;

/// Which application.
#[derive(Args, Clone, Debug)]
pub struct Down {
    /// The name of the application's stack.
    pub stack: Application,
    /// Agree beforehand.
    #[arg(long)]
    pub yes: bool,
}

const REPOSITORY_TAG: &str = "bluegreen:stacks";
/// S3 takes a thousand; the names of so many fit into the argument of a command.
const VERSIONS_AT_ONCE: usize = 500;

/// What there is of an application, and what of it is lost when it is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Its stacks that exist, in the order of their deletion.
    pub stacks: Vec<String>,
    /// Its ECS clusters.
    pub clusters: Vec<String>,
    /// The families of its task definitions, of which the pipeline registered revisions.
    pub families: Vec<String>,
    /// Its database.
    pub database: Option<Database>,
    /// Its ECR repository.
    pub repository: Option<Repository>,
    /// Whether the pipeline goes too.
    pub pipeline: Pipeline,
}

/// A database that is deleted, and of which a snapshot stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The instance's or the cluster's id.
    pub id: String,
    /// Whether it is an Aurora cluster.
    pub is_cluster: bool,
    /// Whether its stack has to give up the protection from deletion first.
    pub is_protected: bool,
}

/// A repository, which CloudFormation retains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// Images in it.
    pub images: usize,
}

/// What becomes of the pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pipeline {
    /// There is none.
    #[default]
    Missing,
    /// These stacks go on using it.
    UsedBy(BTreeSet<String>),
    /// No other stack uses it.
    Unused {
        /// The table of its releases, which stays.
        table: Option<String>,
    },
}

/// Deletes the application, its network, database and repository, and the pipeline with the last
/// application.
///
/// `agreed` leaves the question out.
///
/// # Errors
/// Nobody agreed, or something could not be deleted; all that comes after it still exists then.
pub async fn run(world: &World, application: &Application, agreed: bool) -> Result<()> {
    let account = world.account().await?;
    let inventory = take(world, application).await?;
    let name = application.stack();
    if inventory.is_empty() {
        world.say.line(format!(
            "There is nothing of {name} in account {account}, region {}. Nothing was changed.",
            world.region()
        ));
        return Ok(());
    }
    world.say.line(format!(
        "To be deleted from account {account}, region {}:",
        world.region()
    ));
    for line in inventory.lines() {
        world.say.line(format!("- {line}"));
    }
    refuse_while_releases_run(world, application, &inventory.pipeline).await?;
    if !agreed {
        let stdin = std::io::stdin();
        ask(name, stdin.is_terminal(), stdin.lock(), std::io::stdout())?;
    }
    // A release may have begun while nobody had answered.
    refuse_while_releases_run(world, application, &inventory.pipeline).await?;
    let kept = delete(world, application, &inventory).await?;
    world.say.line("");
    world.say.line(format!("{name} is gone."));
    for line in kept {
        world.say.line(format!("Kept: {line}"));
    }
    Ok(())
}

impl Inventory {
    fn is_empty(&self) -> bool {
        self.stacks.is_empty()
            && self.repository.is_none()
            && !matches!(self.pipeline, Pipeline::Unused { .. })
    }

    /// What a person agrees to.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self
            .stacks
            .iter()
            .map(|stack| format!("stack {stack}"))
            .collect();
        if let Some(database) = &self.database {
            let protected = if database.is_protected {
                ", although it is protected from deletion"
            } else {
                ""
            };
            lines.push(format!(
                "the database {} and all its data{protected}; a last snapshot is kept",
                database.id
            ));
        }
        if let Some(repository) = &self.repository {
            lines.push(format!(
                "the image repository {} with all its images ({}), which nothing brings back",
                repository.name, repository.images
            ));
        }
        match &self.pipeline {
            Pipeline::Missing => {}
            Pipeline::UsedBy(stacks) => {
                let stacks: Vec<_> = stacks.iter().map(String::as_str).collect();
                lines.push(format!(
                    "not the pipeline, which {} uses",
                    stacks.join(", ")
                ));
            }
            Pipeline::Unused { .. } => lines.push(format!(
                "stacks {PIPELINE} and {ARTIFACTS}, the pipeline: no other application uses it"
            )),
        }
        lines
    }
}

/// Agreement is the application's name, typed by a person.
fn ask(
    name: &str,
    is_terminal: bool,
    mut person: impl BufRead,
    mut prompt: impl Write,
) -> Result<()> {
    ensure!(
        is_terminal,
        "Nothing was deleted: there is no terminal to ask in. YES=1 agrees beforehand."
    );
    write!(prompt, "Type {name} to delete all of this: ")?;
    prompt.flush()?;
    let mut answer = String::new();
    person.read_line(&mut answer)?;
    ensure!(answer.trim() == name, "Nothing was deleted.");
    Ok(())
}

/// Looks at what there is.
///
/// # Errors
/// AWS does not answer, or the repository serves other stacks too.
pub async fn take(world: &World, application: &Application) -> Result<Inventory> {
    let stacks = world.stacks();
    let mut inventory = Inventory::default();
    let own = [
        application.stack().to_owned(),
        application.database(),
        application.repository(),
        application.network(),
    ];
    for stack in own {
        if stacks.find(&stack).await?.is_some() {
            inventory.stacks.push(stack);
        }
    }
    if inventory.stacks.iter().any(|it| it == application.stack()) {
        let stack = application.stack();
        inventory.clusters = stacks.resources(stack, "AWS::ECS::Cluster").await?;
        let definitions = stacks.resources(stack, "AWS::ECS::TaskDefinition").await?;
        let families = definitions.iter().filter_map(|arn| family(arn));
        inventory.families = families.map(str::to_owned).collect();
    }
    if inventory.stacks.contains(&application.database()) {
        inventory.database = database(&stacks, application).await?;
    }
    let others = other_stacks(world, application).await?;
    inventory.repository = repository(world, application).await?;
    // A first make up may have failed between the two.
    if stacks.find(PIPELINE).await?.is_some() || stacks.find(ARTIFACTS).await?.is_some() {
        inventory.pipeline = if others.is_empty() {
            let table = stacks.outputs(PIPELINE).await?.remove("ReleasesTableName");
            Pipeline::Unused { table }
        } else {
            Pipeline::UsedBy(others)
        };
    }
    Ok(inventory)
}

/// That of `arn:…:task-definition/FAMILY:REVISION`.
fn family(arn: &str) -> Option<&str> {
    let (_, revision) = arn.rsplit_once('/')?;
    Some(revision.rsplit_once(':')?.0)
}

async fn database(stacks: &Stacks, application: &Application) -> Result<Option<Database>> {
    let stack = application.database();
    let clusters = stacks.resources(&stack, "AWS::RDS::DBCluster").await?;
    let instances = stacks.resources(&stack, "AWS::RDS::DBInstance").await?;
    let is_cluster = !clusters.is_empty();
    let Some(id) = clusters.into_iter().chain(instances).next() else {
        return Ok(None);
    };
    let found = stacks.find(&stack).await?.context("the stack is gone")?;
    let is_protected = found.parameters().iter().any(|parameter| {
        parameter.parameter_key() == Some("DeletionProtection")
            && parameter.parameter_value() == Some("true")
    });
    Ok(Some(Database {
        id,
        is_cluster,
        is_protected,
    }))
}

/// The application's repository, also when its stack is gone already: CloudFormation retains it.
async fn repository(world: &World, application: &Application) -> Result<Option<Repository>> {
    let ecr = aws_sdk_ecr::Client::new(&world.config);
    let name = application.stack();
    let named = named_stacks(&ecr, name).await?;
    let Some(named) = named else {
        return Ok(None);
    };
    // One that does not name this stack belongs to somebody else.
    if !named.contains(name) {
        return Ok(None);
    }
    let others: Vec<_> = named
        .iter()
        .filter(|other| *other != name)
        .cloned()
        .collect();
    if !others.is_empty() {
        bail!(
            "The repository {name} serves other stacks too: {}. Nothing was deleted. Take them \
             out of its tag {REPOSITORY_TAG} (parameter Stacks of stack {}), then run make down \
             again.",
            others.join(", "),
            application.repository()
        );
    }
    let mut pages = ecr
        .list_images()
        .repository_name(name)
        .into_paginator()
        .items()
        .send();
    let mut digests = BTreeSet::new();
    while let Some(image) = pages.try_next().await? {
        digests.extend(image.image_digest().map(str::to_owned));
    }
    Ok(Some(Repository {
        name: name.to_owned(),
        images: digests.len(),
    }))
}

/// The stacks that a repository's tag names; `None` where there is no such repository.
async fn named_stacks(
    ecr: &aws_sdk_ecr::Client,
    repository: &str,
) -> Result<Option<BTreeSet<String>>> {
    let found = match ecr
        .describe_repositories()
        .repository_names(repository)
        .send()
        .await
    {
        Ok(found) => found,
        Err(error) => {
            return match error.as_service_error() {
                Some(known) if known.is_repository_not_found_exception() => Ok(None),
                _ => Err(failed(
                    error,
                    &format!("Repository {repository} can not be looked at"),
                )),
            };
        }
    };
    let arn = found
        .repositories()
        .first()
        .and_then(|repository| repository.repository_arn());
    let arn = arn.context("the repository has no ARN")?;
    Ok(Some(stacks_of_tags(ecr, arn).await?))
}

async fn stacks_of_tags(ecr: &aws_sdk_ecr::Client, arn: &str) -> Result<BTreeSet<String>> {
    let answer = ecr
        .list_tags_for_resource()
        .resource_arn(arn)
        .send()
        .await?;
    let tag = answer.tags().iter().find(|tag| tag.key() == REPOSITORY_TAG);
    let names = tag.map_or("", |tag| tag.value()).split_whitespace();
    Ok(names.map(str::to_owned).collect())
}

/// The other stacks that the pipeline deploys: those named by a repository's tag that exist.
async fn other_stacks(world: &World, application: &Application) -> Result<BTreeSet<String>> {
    let ecr = aws_sdk_ecr::Client::new(&world.config);
    let stacks = world.stacks();
    let mut pages = ecr.describe_repositories().into_paginator().items().send();
    let mut others = BTreeSet::new();
    while let Some(repository) = pages.try_next().await? {
        let arn = repository.repository_arn().unwrap_or_default();
        for name in stacks_of_tags(&ecr, arn).await? {
            if name != application.stack() && stacks.find(&name).await?.is_some() {
                others.insert(name);
            }
        }
    }
    Ok(others)
}

/// The application's own releases, and all where the pipeline goes too.
async fn refuse_while_releases_run(
    world: &World,
    application: &Application,
    pipeline: &Pipeline,
) -> Result<()> {
    let outputs = world.stacks().outputs(PIPELINE).await?;
    // A pipeline whose creation has failed has no state machine that could run.
    let Some(state_machine) = outputs.get("StateMachineArn") else {
        return Ok(());
    };
    let of_stack = match pipeline {
        Pipeline::Unused { .. } => None,
        _ => Some(application.stack()),
    };
    let sfn = aws_sdk_sfn::Client::new(&world.config);
    running::refuse_while_releases_run(&sfn, state_machine, of_stack).await
}

/// Deletes, what needs another before that other; answers what stays.
async fn delete(
    world: &World,
    application: &Application,
    inventory: &Inventory,
) -> Result<Vec<String>> {
    let stacks = world.stacks();
    if let Some(database) = &inventory.database
        && database.is_protected
    {
        let unprotected = [("DeletionProtection", "false")];
        stacks.change(&application.database(), &unprotected).await?;
    }
    for stack in &inventory.stacks {
        stacks.delete(stack).await?;
    }
    if let Some(repository) = &inventory.repository {
        delete_repository(world, &repository.name).await?;
    }
    for parameter in [
        application.image_parameter(),
        application.first_release_parameter(),
    ] {
        delete_parameter(world, &parameter).await?;
    }
    let mut kept = Vec::new();
    if let Some(database) = &inventory.database {
        kept.extend(snapshots(world, database).await?);
        kept.extend(automated_backups(world, database).await?);
        kept.extend(logs_of_database(world, database).await?);
    }
    for cluster in &inventory.clusters {
        // Container Insights makes it.
        let prefix = format!("/aws/ecs/containerinsights/{cluster}/");
        kept.extend(log_groups(world, &prefix).await?);
    }
    for family in &inventory.families {
        kept.extend(revisions(world, family).await?);
    }
    if let Pipeline::Unused { table } = &inventory.pipeline {
        stacks.delete(PIPELINE).await?;
        delete_artifacts(world, &stacks).await?;
        if let Some(table) = table
            && table_exists(world, table).await?
        {
            kept.push(format!(
                "DynamoDB table {table}, the record of the releases"
            ));
        }
    }
    Ok(kept)
}

async fn delete_repository(world: &World, name: &str) -> Result<()> {
    world
        .say
        .line(format!("Repository {name}: deleting with its images"));
    let ecr = aws_sdk_ecr::Client::new(&world.config);
    let request = ecr.delete_repository().repository_name(name).force(true);
    request
        .send()
        .await
        .map_err(|error| failed(error, &format!("Repository {name} was not deleted")))?;
    Ok(())
}

async fn delete_parameter(world: &World, name: &str) -> Result<()> {
    let ssm = aws_sdk_ssm::Client::new(&world.config);
    match ssm.delete_parameter().name(name).send().await {
        Ok(_) => Ok(()),
        Err(error) => match error.as_service_error() {
            Some(known) if known.is_parameter_not_found() => Ok(()),
            _ => Err(failed(
                error,
                &format!("SSM parameter {name} was not deleted"),
            )),
        },
    }
}

async fn delete_artifacts(world: &World, stacks: &Stacks) -> Result<()> {
    if let Some(bucket) = stacks.outputs(ARTIFACTS).await?.get("BucketName") {
        empty_bucket(world, bucket).await?;
    }
    stacks.delete(ARTIFACTS).await?;
    Ok(())
}

/// Deletes every version: CloudFormation deletes no bucket in which one is left.
async fn empty_bucket(world: &World, bucket: &str) -> Result<()> {
    let list = ["s3api", "list-object-versions", "--bucket", bucket];
    let all = "[Versions, DeleteMarkers][].{Key: Key, VersionId: VersionId}";
    let versions = world
        .cli
        .ask(&[&list[..], &["--query", all]].concat())
        .await?;
    let versions = versions.as_array().map(Vec::as_slice).unwrap_or_default();
    for batch in versions.chunks(VERSIONS_AT_ONCE) {
        let which = json!({"Objects": batch, "Quiet": true}).to_string();
        let delete = ["s3api", "delete-objects", "--bucket", bucket, "--delete"];
        let command = [&delete[..], &[which.as_str(), "--query", "Errors"]].concat();
        let refused = world.cli.ask(&command).await?;
        ensure!(
            refused.is_null(),
            "Bucket {bucket} could not be emptied: {refused}"
        );
    }
    Ok(())
}

async fn snapshots(world: &World, database: &Database) -> Result<Vec<String>> {
    let (command, option, list, name) = if database.is_cluster {
        let names = ("DBClusterSnapshots", "DBClusterSnapshotIdentifier");
        (
            "describe-db-cluster-snapshots",
            "--db-cluster-identifier",
            names.0,
            names.1,
        )
    } else {
        let names = ("DBSnapshots", "DBSnapshotIdentifier");
        (
            "describe-db-snapshots",
            "--db-instance-identifier",
            names.0,
            names.1,
        )
    };
    let asked = [
        "rds",
        command,
        option,
        &database.id,
        "--snapshot-type",
        "manual",
    ];
    let answer = world.cli.ask(&asked).await?;
    let found = texts(&answer[list], name);
    Ok(found
        .map(|name| format!("snapshot {name} of the database"))
        .collect())
}

/// RDS keeps those of an instance as `database.yml` asks for, and charges for them.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.Retaining.html>
async fn automated_backups(world: &World, database: &Database) -> Result<Option<String>> {
    // By an identifier, only backups of instances that exist are found.
    let asked = ["rds", "describe-db-instance-automated-backups"];
    let answer = world.cli.ask(&asked).await?;
    let mut found = texts(
        &answer["DBInstanceAutomatedBackups"],
        "DBInstanceIdentifier",
    );
    Ok(found.any(|id| id == database.id).then(|| {
        format!(
            "automated backups of the database {}, which are paid for until they expire \
             (BackupRetentionDays)",
            database.id
        )
    }))
}

/// What the pipeline registered, which no stack knows of.
async fn revisions(world: &World, family: &str) -> Result<Option<String>> {
    let asked = [
        "ecs",
        "list-task-definitions",
        "--status",
        "ACTIVE",
        "--family-prefix",
        family,
    ];
    let answer = world.cli.ask(&asked).await?;
    let count = answer["taskDefinitionArns"].as_array().map_or(0, Vec::len);
    Ok((count > 0).then(|| {
        format!("revisions of the task definition {family} ({count}), which cost nothing")
    }))
}

/// RDS makes these log groups itself, so that no stack deletes them.
async fn logs_of_database(world: &World, database: &Database) -> Result<Vec<String>> {
    let kind = if database.is_cluster {
        "cluster"
    } else {
        "instance"
    };
    log_groups(world, &format!("/aws/rds/{kind}/{}/", database.id)).await
}

async fn log_groups(world: &World, prefix: &str) -> Result<Vec<String>> {
    let asked = [
        "logs",
        "describe-log-groups",
        "--log-group-name-prefix",
        prefix,
    ];
    let answer = world.cli.ask(&asked).await?;
    let found = texts(&answer["logGroups"], "logGroupName");
    Ok(found.map(|name| format!("log group {name}")).collect())
}

fn texts<'a>(list: &'a Value, name: &'a str) -> impl Iterator<Item = &'a str> {
    let members = list.as_array().into_iter().flatten();
    members.filter_map(move |member| member[name].as_str())
}

async fn table_exists(world: &World, table: &str) -> Result<bool> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&world.config);
    match dynamodb.describe_table().table_name(table).send().await {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(known) if known.is_resource_not_found_exception() => Ok(false),
            _ => Err(failed(
                error,
                &format!("Table {table} can not be looked at"),
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory() -> Inventory {
        Inventory {
            stacks: vec!["demo".to_owned(), "demo-database".to_owned()],
            clusters: Vec::new(),
            families: Vec::new(),
            database: Some(Database {
                id: "demo-database-1".to_owned(),
                is_cluster: false,
                is_protected: true,
            }),
            repository: Some(Repository {
                name: "demo".to_owned(),
                images: 12,
            }),
            pipeline: Pipeline::Unused { table: None },
        }
    }

    #[test]
    fn what_is_lost_is_said_before_it_is() {
        let told = inventory().lines().join("\n");
        for words in [
            "stack demo-database",
            "database demo-database-1 and all its data, although it is protected",
            "a last snapshot is kept",
            "repository demo with all its images (12)",
            "no other application uses it",
        ] {
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn a_revision_is_of_a_family() {
        let arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/demo-Web-1:12";
        assert_eq!(family(arn), Some("demo-Web-1"));
        assert_eq!(family("demo"), None);
    }

    #[test]
    fn a_pipeline_that_others_use_is_said_to_stay() {
        let used = Pipeline::UsedBy(BTreeSet::from(["shop".to_owned()]));
        let inventory = Inventory {
            pipeline: used,
            ..inventory()
        };
        let told = inventory.lines().join("\n");
        assert!(told.contains("not the pipeline, which shop uses"), "{told}");
    }

    #[test]
    fn only_who_types_the_name_agrees() {
        for (answer, agrees) in [
            ("demo\n", true),
            ("yes\n", false),
            ("\n", false),
            ("", false),
        ] {
            let asked = ask("demo", true, answer.as_bytes(), std::io::sink());
            assert_eq!(asked.is_ok(), agrees, "{answer:?}");
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_deleted_unasked() {
        let error = ask("demo", false, "demo\n".as_bytes(), std::io::sink());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("YES=1"), "{error}");
    }
}
