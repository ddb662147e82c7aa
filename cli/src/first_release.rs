//! The first release: CloudFormation runs no migration, so the pipeline brings the database to where
//! the first image expects it, before a task of it serves.

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};

use crate::first_image::{Write, read_parameter, write_parameter};
use crate::names::Application;
use crate::trouble::failed;
use crate::world::World;

/// Whether the first image was released and is in service.
///
/// # Errors
/// The Parameter Store does not answer.
pub async fn is_done(world: &World, application: &Application) -> Result<bool> {
    let done = read_parameter(world, &application.first_release_parameter()).await?;
    Ok(done.is_some())
}

/// Notes that the first image is in service, after this execution has released it.
///
/// # Errors
/// It is noted already, or the Parameter Store forbids it.
pub async fn note(world: &World, application: &Application, execution: &str) -> Result<()> {
    let done = application.first_release_parameter();
    write_parameter(world, &done, execution, Write::New).await
}

/// Releases the application's image with its migration, and answers the execution's ARN.
///
/// # Errors
/// The release did not succeed: then with what it says, and with `otherwise`, what that leaves.
pub async fn run(
    world: &World,
    application: &Application,
    state_machine: &str,
    otherwise: &str,
) -> Result<String> {
    let image = read_parameter(world, &application.image_parameter()).await?;
    let image = image.context("the application has no image")?;
    let input = input(application.stack(), &image)?;
    world.say.line(format!("First release: {input}"));
    let sfn = aws_sdk_sfn::Client::new(&world.config);
    let started = sfn
        .start_execution()
        .state_machine_arn(state_machine)
        .input(input.to_string())
        .send()
        .await
        .map_err(|error| failed(error, "The first release could not be started"))?;
    let execution = started.execution_arn();
    loop {
        let now = sfn
            .describe_execution()
            .execution_arn(execution)
            .send()
            .await?;
        match now.status() {
            ExecutionStatus::Running => tokio::time::sleep(world.poll).await,
            ExecutionStatus::Succeeded => {
                let output = serde_json::from_str(now.output().unwrap_or_default())?;
                ensure!(
                    runs(&output),
                    "The first release ended without a deployment: {}\n{otherwise}\n\
                     Execution: {execution}",
                    output["reason"].as_str().unwrap_or("no reason"),
                );
                return Ok(execution.to_owned());
            }
            other => bail!(
                "The first release ended as {other}: {}: {}\n{otherwise}\nExecution: {execution}",
                now.error().unwrap_or("no error"),
                now.cause().unwrap_or("no cause"),
            ),
        }
    }
}

/// Whether the services have the image after an execution that did not fail: one that gave way to
/// a later release did not deploy it.
fn runs(output: &Value) -> bool {
    ["succeeded", "nothingToDeploy"]
        .map(Value::from)
        .contains(&output["verdict"])
}

/// The execution's input: the image by its tag or its digest.
fn input(stack: &str, image: &str) -> Result<serde_json::Value> {
    let name = image.rsplit('/').next().unwrap_or(image);
    if let Some((_, digest)) = name.split_once('@') {
        return Ok(json!({ "stack": stack, "digest": digest, "migrate": true }));
    }
    let (_, tag) = name
        .split_once(':')
        .with_context(|| format!("the image {image} has neither a tag nor a digest"))?;
    Ok(json!({ "stack": stack, "tag": tag, "migrate": true }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_gave_way_has_deployed_nothing() {
        for (verdict, expected) in [
            ("succeeded", true),
            ("nothingToDeploy", true),
            ("superseded", false),
            ("stale", false),
        ] {
            assert_eq!(runs(&json!({ "verdict": verdict })), expected, "{verdict}");
        }
    }

    #[test]
    fn the_image_is_named_by_what_its_uri_names_it_by() {
        let tag = input("demo", "host:5000/team/demo:v1").unwrap();
        assert_eq!(
            tag,
            json!({ "stack": "demo", "tag": "v1", "migrate": true })
        );
        let digest = input("demo", "host/demo@sha256:01").unwrap();
        assert_eq!(
            digest,
            json!({ "stack": "demo", "digest": "sha256:01", "migrate": true })
        );
        let error = input("demo", "host:5000/demo").unwrap_err().to_string();
        assert!(error.contains("neither a tag nor a digest"), "{error}");
    }
}
