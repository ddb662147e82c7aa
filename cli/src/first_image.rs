//! The image that an application's first tasks run.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageDetail, ImageIdentifier, TagStatus};
use aws_sdk_ssm::types::ParameterType;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::names::Application;
use crate::trouble::failed;
use crate::world::World;

/// Where a person says the first image comes from.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// A directory with a Dockerfile.
    pub app: Option<PathBuf>,
    /// The URI of an image that the repository has already.
    pub image: Option<String>,
}

/// Refuses, before anything is made, what could not work after ten minutes.
///
/// # Errors
/// Both are given, there is no Dockerfile, or Docker does not answer.
pub async fn check(given: &Given) -> Result<()> {
    let Some(app) = &given.app else {
        return Ok(());
    };
    ensure!(
        given.image.is_none(),
        "Give APP or IMAGE, not both. Nothing was changed."
    );
    ensure!(
        app.join("Dockerfile").is_file(),
        "APP={} has no Dockerfile. Nothing was changed.",
        app.display()
    );
    docker(&["version", "--format", "{{.Server.Version}}"], None)
        .await
        .context(
            "APP needs Docker, which does not answer: start it, or push an image by other means \
             and give IMAGE. Nothing was changed.",
        )
}

/// The repository of the application.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// By what task definitions name its images.
    pub uri: String,
    /// Where images are pushed to: the same, but for the local AWS.
    pub address: String,
}

/// Refuses to make a repository that is there already, which CloudFormation would say less helpfully.
///
/// # Errors
/// There is one, or ECR does not answer.
pub async fn ensure_no_repository(world: &World, name: &str, stack: &str) -> Result<()> {
    let ecr = aws_sdk_ecr::Client::new(&world.config);
    match ecr
        .describe_repositories()
        .repository_names(name)
        .send()
        .await
    {
        Ok(_) => bail!(
            "There is an ECR repository {name}, but no stack {stack} that has it. Where a make \
             down was interrupted, run make down STACK={name} again: it deletes the repository \
             with its images. Otherwise take it into a stack {stack} (create a stack with \
             existing resources, of infra/image-repository.yml), or give the application another \
             name. Then run make up again: it goes on from here."
        ),
        Err(error) => match error.as_service_error() {
            Some(known) if known.is_repository_not_found_exception() => Ok(()),
            _ => Err(failed(
                error,
                &format!("Repository {name} can not be looked at"),
            )),
        },
    }
}

/// Sees that the application's image parameter names an image. Answers whether it was set now.
/// While no image is in service, what a person gives takes the place of one that was tried before.
///
/// # Errors
/// There is no image to name: then with what to do. Or its build or push failed.
pub async fn provide(
    world: &World,
    application: &Application,
    repository: &Repository,
    given: &Given,
    platform: &str,
    is_in_service: bool,
) -> Result<bool> {
    let name = application.image_parameter();
    let is_given = given.app.is_some() || given.image.is_some();
    let has = read_parameter(world, &name).await?;
    if let Some(image) = &has
        && (is_in_service || !is_given)
    {
        if is_given {
            world.say.line(format!(
                "The application has an image already, {image}: APP and IMAGE are for the first \
                 one. Push the next to {}",
                repository.address
            ));
        }
        return Ok(false);
    }
    let image = choose(world, application, repository, given, platform).await?;
    world.say.line(format!("First image: {image}"));
    write_parameter(world, &name, &image, Write::Over).await?;
    Ok(has != Some(image))
}

async fn choose(
    world: &World,
    application: &Application,
    repository: &Repository,
    given: &Given,
    platform: &str,
) -> Result<String> {
    if let Some(image) = &given.image {
        return existing(world, repository, image).await;
    }
    if let Some(app) = &given.app {
        return build(world, repository, app, platform).await;
    }
    if let Some(image) = newest(world, repository).await? {
        return Ok(image);
    }
    if let Some(local) = &world.local {
        return local.push_sample(world, repository).await;
    }
    bail!(missing(application, repository, platform, world.region()))
}

fn missing(
    application: &Application,
    repository: &Repository,
    platform: &str,
    region: &str,
) -> String {
    let (stack, uri) = (application.stack(), &repository.uri);
    let registry = registry(uri);
    format!(
        "There is no image yet that the application could run. Network, repository and database \
         stay as they are. Give the directory of its Dockerfile:\n\n\
         \x20 make up STACK={stack} APP=path/to/app\n\n\
         or push an image and go on, which takes the newest:\n\n\
         \x20 aws ecr get-login-password --region {region} | docker login --username AWS --password-stdin {registry}\n\
         \x20 docker build --platform {platform} --tag {uri}:v1 path/to/app\n\
         \x20 docker push {uri}:v1\n\
         \x20 make up STACK={stack}"
    )
}

/// An image that a person names has to be one of the repository: no other is deployed later.
async fn existing(world: &World, repository: &Repository, image: &str) -> Result<String> {
    let image = &named_by_ecr(image, repository);
    let id = identifier(image, &repository.uri).with_context(|| {
        format!(
            "IMAGE={image} is not in the application's repository, from where the pipeline deploys. \
             Copy it there, and give that: docker pull {image}; docker tag {image} {uri}:v1; \
             docker push {uri}:v1; make up IMAGE={uri}:v1. The stacks that exist stay.",
            uri = repository.address
        )
    })?;
    aws_sdk_ecr::Client::new(&world.config)
        .describe_images()
        .repository_name(&repository.name)
        .image_ids(id)
        .send()
        .await
        .map_err(|error| failed(error, &format!("IMAGE={image} was not found")))?;
    Ok(image.to_owned())
}

/// The name by which ECR knows an image that a person names by the address it was pushed to.
fn named_by_ecr(image: &str, repository: &Repository) -> String {
    match image.strip_prefix(&repository.address) {
        Some(rest) => format!("{}{rest}", repository.uri),
        None => image.to_owned(),
    }
}

/// What identifies an image of the repository: its tag or its digest.
fn identifier(image: &str, repository: &str) -> Option<ImageIdentifier> {
    let rest = image.strip_prefix(repository)?;
    let id = ImageIdentifier::builder();
    match (rest.strip_prefix('@'), rest.strip_prefix(':')) {
        (Some(digest), _) if digest.starts_with("sha256:") => Some(id.image_digest(digest).build()),
        (_, Some(tag)) if !tag.is_empty() => Some(id.image_tag(tag).build()),
        _ => None,
    }
}

async fn newest(world: &World, repository: &Repository) -> Result<Option<String>> {
    let mut pages = aws_sdk_ecr::Client::new(&world.config)
        .describe_images()
        .repository_name(&repository.name)
        .filter(
            DescribeImagesFilter::builder()
                .tag_status(TagStatus::Tagged)
                .build(),
        )
        .into_paginator()
        .items()
        .send();
    let mut images = Vec::new();
    while let Some(image) = pages.try_next().await? {
        images.push(image);
    }
    Ok(newest_tag(&images).map(|tag| format!("{}:{tag}", repository.uri)))
}

fn newest_tag(images: &[ImageDetail]) -> Option<&str> {
    let tagged = images.iter().filter(|image| !image.image_tags().is_empty());
    let newest = tagged.max_by(|left, right| {
        let times = (left.image_pushed_at(), right.image_pushed_at());
        times
            .0
            .partial_cmp(&times.1)
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    newest?.image_tags().first().map(String::as_str)
}

/// Builds and pushes with Docker. The tag is new each time, so that it can be pushed again where
/// tags are immutable.
async fn build(
    world: &World,
    repository: &Repository,
    app: &Path,
    platform: &str,
) -> Result<String> {
    let second = jiff::Timestamp::now().strftime("first-%Y%m%d-%H%M%S");
    let image = format!("{}:{second}", repository.address);
    world
        .say
        .line(format!("Building {image} from {}", app.display()));
    let password = world.cli.run(["ecr", "get-login-password"]).await?;
    let login = [
        "login",
        "--username",
        "AWS",
        "--password-stdin",
        registry(&repository.address),
    ];
    docker(&login, Some(&password))
        .await
        .context("Docker could not log in to ECR")?;
    let path = app.display().to_string();
    let build = ["build", "--platform", platform, "--tag", &image, &path];
    docker(&build, None).await.with_context(|| {
        format!("The image could not be built from {path}. The stacks that exist stay: mend the build and run make up again.")
    })?;
    docker(&["push", &image], None).await.with_context(|| {
        format!("{image} could not be pushed. The stacks that exist stay: run make up again.")
    })?;
    Ok(format!("{}:{second}", repository.uri))
}

fn registry(uri: &str) -> &str {
    uri.split_once('/').map_or(uri, |(registry, _)| registry)
}

/// Runs Docker; what it says on stderr, its progress, is shown.
async fn docker(arguments: &[&str], input: Option<&str>) -> Result<()> {
    let mut command = Command::new("docker");
    command
        .args(arguments)
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    let mut child = command.spawn().context("cannot run docker")?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).await?;
    }
    let status = child.wait().await?;
    let verb = arguments.first().unwrap_or(&"");
    ensure!(status.success(), "docker {verb} ended with {status}");
    Ok(())
}

/// The value of an SSM parameter, if it exists.
///
/// # Errors
/// The Parameter Store does not answer, or forbids it.
pub async fn read_parameter(world: &World, name: &str) -> Result<Option<String>> {
    let ssm = aws_sdk_ssm::Client::new(&world.config);
    match ssm.get_parameter().name(name).send().await {
        Ok(answer) => Ok(answer
            .parameter()
            .and_then(|parameter| parameter.value().map(str::to_owned))),
        Err(error) => match error.as_service_error() {
            Some(known) if known.is_parameter_not_found() => Ok(None),
            _ => Err(failed(
                error,
                &format!("SSM parameter {name} can not be read"),
            )),
        },
    }
}

/// Whether a parameter may exist that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It must not.
    New,
    /// Its value is replaced.
    Over,
}

/// Sets an SSM parameter.
///
/// # Errors
/// It exists and must not, or the Parameter Store forbids it.
pub async fn write_parameter(world: &World, name: &str, value: &str, write: Write) -> Result<()> {
    aws_sdk_ssm::Client::new(&world.config)
        .put_parameter()
        .name(name)
        .value(value)
        .r#type(ParameterType::String)
        .overwrite(write == Write::Over)
        .send()
        .await
        .map_err(|error| failed(error, &format!("SSM parameter {name} can not be written")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecr::primitives::DateTime;

    use super::*;

    const URI: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo";

    #[test]
    fn only_an_image_of_the_repository_is_taken() {
        let tag = identifier(&format!("{URI}:v1"), URI).unwrap();
        assert_eq!(tag.image_tag(), Some("v1"));
        let digest = identifier(&format!("{URI}@sha256:0123"), URI).unwrap();
        assert_eq!(digest.image_digest(), Some("sha256:0123"));
        for other in [
            "nginx:latest",
            URI,
            &format!("{URI}-2:v1"),
            &format!("{URI}:"),
            &format!("{URI}@v1"),
        ] {
            assert_eq!(identifier(other, URI), None, "{other}");
        }
    }

    #[test]
    fn an_image_is_known_by_the_address_that_it_was_pushed_to() {
        let repository = Repository {
            name: "demo".to_owned(),
            uri: URI.to_owned(),
            address: "127.0.0.1:5000/demo".to_owned(),
        };
        let known = |image: &str| {
            let image = named_by_ecr(image, &repository);
            identifier(&image, URI).map(|_| image)
        };
        let expected = Some(format!("{URI}:v1"));
        assert_eq!(known("127.0.0.1:5000/demo:v1"), expected);
        assert_eq!(known(&format!("{URI}:v1")), expected);
        assert_eq!(known("127.0.0.1:5000/demo-2:v1"), None);
        assert_eq!(known("127.0.0.1:6000/demo:v1"), None);
    }

    #[test]
    fn of_the_images_the_one_pushed_last_is_taken_if_it_has_a_tag() {
        let image = |tags: &[&str], second| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            ImageDetail::builder()
                .set_image_tags(Some(tags))
                .image_pushed_at(DateTime::from_secs(second))
                .build()
        };
        let images = [image(&["v2"], 20), image(&["v1"], 10), image(&[], 30)];
        assert_eq!(newest_tag(&images), Some("v2"));
        assert_eq!(newest_tag(&images[2..]), None);
    }

    #[test]
    fn without_an_image_the_person_is_told_how_to_give_one() {
        let repository = Repository {
            name: "demo".to_owned(),
            uri: URI.to_owned(),
            address: URI.to_owned(),
        };
        let told = missing(
            &"demo".parse().unwrap(),
            &repository,
            "linux/amd64",
            "us-east-1",
        );
        for words in [
            "make up STACK=demo APP=",
            "stay as they are",
            &format!("docker push {URI}:v1"),
            "--password-stdin 123456789012.dkr.ecr.us-east-1.amazonaws.com\n",
        ] {
            assert!(told.contains(words), "{told}");
        }
    }

    #[tokio::test]
    async fn a_directory_without_a_dockerfile_is_refused_before_anything_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let app = Some(directory.path().to_owned());
        let error = check(&Given {
            app: app.clone(),
            image: None,
        })
        .await
        .unwrap_err();
        assert!(error.to_string().contains("has no Dockerfile"), "{error}");
        let image = Some("demo:v1".to_owned());
        let error = check(&Given { app, image }).await.unwrap_err();
        assert!(error.to_string().contains("not both"), "{error}");
    }
}
