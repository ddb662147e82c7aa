//! Which repository's image is released into the stack.

use crate::failure::Failure;
use crate::services::{AppService, EXPRESS_MODE, ServiceArn};
use crate::stack::Stack;
use aws_sdk_ecr::Client;
use bluegreen_runtime::AwsRequestFailed;
use std::collections::BTreeSet;

/// The repository whose images the stack runs and whose tag names the stack. `wanted` chooses where
/// several do.
pub(crate) async fn choose(
    client: &Client,
    stack: &Stack,
    services: &[AppService],
    wanted: Option<&str>,
) -> Result<String, Failure> {
    let mut linked = linked(client, stack, services, wanted).await?;
    match linked.len() {
        1 => Ok(linked.remove(0)),
        _ => Err(Failure::AmbiguousRepository {
            stack: stack.name.clone(),
            repositories: linked.join(", "),
        }),
    }
}

/// The repositories, at least one, whose images the stack runs and whose tag names the stack. Both
/// must agree: a tag alone gives nobody a way into a stack.
pub(crate) async fn linked(
    client: &Client,
    stack: &Stack,
    services: &[AppService],
    wanted: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let run: BTreeSet<&str> = services
        .iter()
        .flat_map(AppService::repositories)
        .filter(|repository| wanted.is_none_or(|wanted| wanted == *repository))
        .collect();
    let Some(service) = services
        .first()
        .map(AppService::arn)
        .filter(|_| !run.is_empty())
    else {
        return Err(no_services(stack, wanted));
    };
    let mut linked = Vec::new();
    for repository in &run {
        if names_stack(client, service, repository, &stack.name).await? {
            linked.push((*repository).to_owned());
        }
    }
    match linked.is_empty() {
        false => Ok(linked),
        true => Err(Failure::RepositoryNotLinked {
            stack: stack.name.clone(),
            repositories: run.into_iter().collect::<Vec<_>>().join(", "),
        }),
    }
}

/// Whether the tag of a repository beside the services names the stack.
pub(crate) async fn is_linked(
    client: &Client,
    stack: &str,
    services: &[AppService],
    repository: &str,
) -> Result<bool, AwsRequestFailed> {
    match services.first() {
        Some(service) => names_stack(client, service.arn(), repository, stack).await,
        None => Ok(false),
    }
}

fn no_services(stack: &Stack, wanted: Option<&str>) -> Failure {
    if let Some(service) = stack.express_services.first() {
        return stack.unsupported(service, EXPRESS_MODE);
    }
    Failure::NoServices {
        stack: stack.name.clone(),
        wanted: match wanted {
            Some(repository) => format!("the ECR repository {repository}"),
            None => "an ECR repository of this account and region".to_owned(),
        },
    }
}

async fn names_stack(
    client: &Client,
    service: &ServiceArn,
    repository: &str,
    stack: &str,
) -> Result<bool, AwsRequestFailed> {
    let ServiceArn {
        partition,
        region,
        account,
        ..
    } = service;
    let arn = format!("arn:{partition}:ecr:{region}:{account}:repository/{repository}");
    match bluegreen_ecr::stacks(client, &arn).await {
        Ok(stacks) => Ok(stacks.iter().any(|named| named == stack)),
        // A repository that was deleted names nobody.
        Err(failure) if failure.code == "RepositoryNotFoundException" => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// A repository may hold several images that its tags tell apart, `web-12` and `nginx-3`; a release
/// would put the same one into each container
/// (<https://github.com/matrix-org/dendrite/issues/806>).
///
/// By their digests nobody can tell them apart from one image of two releases, as a stack has them in which
/// one service fell behind.
///
/// # Errors
/// `SeveralImages` where containers name different tags.
pub(crate) fn check_one_image(
    stack: &Stack,
    unit: &[AppService],
    repository: &str,
) -> Result<(), Failure> {
    let named: Vec<(&str, &str)> = unit
        .iter()
        .flat_map(|service| service.tags_of(repository))
        .collect();
    let tags: BTreeSet<&str> = named.iter().map(|(_, tag)| *tag).collect();
    if tags.len() < 2 {
        return Ok(());
    }
    let images = named
        .iter()
        .map(|(container, tag)| format!("the container {container} has {repository}:{tag}"));
    Err(Failure::SeveralImages {
        stack: stack.name.clone(),
        repository: repository.to_owned(),
        images: images.collect::<Vec<_>>().join(", "),
    })
}
