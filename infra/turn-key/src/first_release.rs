//! The first release: CloudFormation starts services and runs no migration, so the pipeline brings
//! the database to where the first image expects it.

use anyhow::{Context, Result, bail};
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::json;

use crate::first_image::{read_parameter, write_parameter};
use crate::names::Application;
use crate::stacks::failed;
use crate::world::World;

/// Releases the image that the application runs, with its migration, unless that was done before.
/// Answers whether it was done now.
///
/// # Errors
/// The release failed; what it says then.
pub async fn run(world: &World, application: &Application, state_machine: &str) -> Result<bool> {
    let done = application.first_release_parameter();
    if read_parameter(world, &done).await?.is_some() {
        return Ok(false);
    }
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
            ExecutionStatus::Succeeded => break,
            other => bail!(
                "The first release ended as {other}: {}: {}\nThe stacks stand, and the services \
                 run the image, but its migration may be missing. Remove the reason and run make \
                 up again, or push a mended image.\nExecution: {execution}",
                now.error().unwrap_or("no error"),
                now.cause().unwrap_or("no cause"),
            ),
        }
    }
    write_parameter(world, &done, execution).await?;
    Ok(true)
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
