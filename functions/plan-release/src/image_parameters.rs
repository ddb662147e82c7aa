//! Where the stack's template finds its images: parameters of the Parameter Store.

use crate::services::AppService;
use crate::stack::Stack;
use bluegreen_ecr::EcrImage;
use std::collections::BTreeMap;

/// Names below it are the pipeline's to write. Its role says the same.
const OURS: &str = "/bluegreen/";

/// Of the repositories, those whose image the stack resolves from a parameter that is the
/// pipeline's to write, each with the name of that parameter.
pub(crate) fn of(
    stack: &Stack,
    unit: &[AppService],
    repositories: &[&str],
) -> BTreeMap<String, String> {
    let ours = stack.stored.iter().filter(|it| it.name.starts_with(OURS));
    ours.filter_map(|stored| Some((EcrImage::parse(&stored.value)?, &stored.name)))
        .filter(|(image, _)| repositories.contains(&image.repository))
        .filter(|(image, _)| unit.iter().any(|service| service.is_beside(image)))
        .map(|(image, name)| (image.repository.to_owned(), name.clone()))
        .collect()
}
