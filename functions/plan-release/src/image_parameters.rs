//! Where the stack's template finds its images: parameters of the Parameter Store.

use crate::services::AppService;
use crate::stack::Stack;
use bluegreen_ecr::EcrImage;
use std::collections::BTreeMap;

/// Names below it are the pipeline's to write, and below it and a stack's name the stack's own. The pipeline's
/// role cannot tell stacks apart.
const OURS: &str = "/bluegreen/";

/// Of the repositories, those whose image the stack resolves from a parameter of its own that is the
/// pipeline's to write, each with the name of that parameter.
pub(crate) fn of(
    stack: &Stack,
    unit: &[AppService],
    repositories: &[&str],
) -> BTreeMap<String, String> {
    let found = with_images(stack, unit, repositories);
    found
        .filter(|(_, name)| is_own(stack, name))
        .map(|(repository, name)| (repository.to_owned(), name.to_owned()))
        .collect()
}

/// A sentence for each parameter that is the pipeline's to write for another stack: a release into this one
/// would otherwise change what the other's next update deploys, without a migration.
pub(crate) fn of_others(stack: &Stack, unit: &[AppService], repositories: &[&str]) -> Vec<String> {
    let found = with_images(stack, unit, repositories);
    let of_others = found.filter(|(_, name)| !is_own(stack, name));
    of_others
        .map(|(_, name)| {
            let stack = &stack.name;
            format!(
                "The template takes its image from the parameter {name}, which is not the stack's own and is not written: an update of the stack may bring an earlier image back. Let it take the image from {OURS}{stack}/image."
            )
        })
        .collect()
}

fn is_own(stack: &Stack, name: &str) -> bool {
    let rest = name
        .strip_prefix(OURS)
        .and_then(|rest| rest.strip_prefix(&*stack.name));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// The repositories with the names of the parameters below [`OURS`] that hold an image of them.
fn with_images<'a>(
    stack: &'a Stack,
    unit: &'a [AppService],
    repositories: &'a [&str],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let ours = stack.stored.iter().filter(|it| it.name.starts_with(OURS));
    ours.filter_map(|stored| Some((EcrImage::parse(&stored.value)?, &*stored.name)))
        .filter(|(image, _)| repositories.contains(&image.repository))
        .filter(|(image, _)| unit.iter().any(|service| service.is_beside(image)))
        .map(|(image, name)| (image.repository, name))
}
