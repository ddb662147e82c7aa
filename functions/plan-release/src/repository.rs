//! Which repository's image is released into the stack.

use crate::failure::Failure;
use crate::services::{AppService, ServiceArn};
use aws_sdk_ecr::Client;
use bluegreen_contract::{STACKS_TAG, stacks_named_by};
use bluegreen_sdk_config::{AwsRequestFailed, failed};
use std::collections::BTreeSet;

/// The repository whose images the stack runs and whose tag names the stack. Both must agree: a tag
/// alone gives nobody a way into a stack. `wanted` chooses where several do.
pub(crate) async fn choose(
    client: &Client,
    stack: &str,
    services: &[AppService],
    wanted: Option<&str>,
) -> Result<String, Failure> {
    let run: BTreeSet<&str> = services
        .iter()
        .flat_map(AppService::repositories)
        .filter(|repository| wanted.is_none_or(|wanted| wanted == *repository))
        .collect();
    let Some(arn) = services
        .first()
        .map(AppService::arn)
        .filter(|_| !run.is_empty())
    else {
        return Err(no_services(stack, wanted));
    };
    let mut linked = Vec::new();
    for repository in &run {
        if names_stack(client, arn, repository, stack).await? {
            linked.push(*repository);
        }
    }
    decide(stack, &run, &linked)
}

fn decide(stack: &str, run: &BTreeSet<&str>, linked: &[&str]) -> Result<String, Failure> {
    let stack = stack.to_owned();
    match linked {
        [only] => Ok((*only).to_owned()),
        [] => Err(Failure::RepositoryNotLinked {
            stack,
            repositories: run.iter().copied().collect::<Vec<_>>().join(", "),
        }),
        several => Err(Failure::AmbiguousRepository {
            stack,
            repositories: several.join(", "),
        }),
    }
}

fn no_services(stack: &str, wanted: Option<&str>) -> Failure {
    Failure::NoServices {
        stack: stack.to_owned(),
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
    let answer = client
        .list_tags_for_resource()
        .resource_arn(&arn)
        .send()
        .await
        .map_err(failed("ecr:ListTagsForResource", arn));
    match answer {
        Ok(answer) => Ok(answer
            .tags()
            .iter()
            .filter(|tag| tag.key() == STACKS_TAG)
            .any(|tag| stacks_named_by(tag.value()).contains(&stack))),
        // A repository that was deleted names nobody.
        Err(failure) if failure.code == "RepositoryNotFoundException" => Ok(false),
        Err(failure) => Err(failure),
    }
}
