//! From the tag or digest that was asked for to the digest that is released.

use crate::failure::Failure;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::ImageIdentifier;
use bluegreen_contract::ExecutionInput;
use bluegreen_runtime::failed;

/// The digest of the image, which the repository has. A digest wins over a tag: the tag may have
/// moved on since.
pub(crate) async fn digest(
    client: &Client,
    repository: &str,
    input: &ExecutionInput,
) -> Result<String, Failure> {
    let (id, name) = match (&input.digest, &input.tag) {
        (Some(digest), _) => (
            ImageIdentifier::builder().image_digest(digest),
            digest.clone(),
        ),
        (None, tag) => {
            let tag = tag.as_deref().unwrap_or_default();
            (
                ImageIdentifier::builder().image_tag(tag),
                format!("with the tag {tag}"),
            )
        }
    };
    let not_found = || Failure::ImageNotFound {
        repository: repository.to_owned(),
        image: name.clone(),
    };
    let answer = client
        .describe_images()
        .repository_name(repository)
        .image_ids(id.build())
        .send()
        .await
        .map_err(failed("ecr:DescribeImages", repository))
        .map_err(|failure| match failure.code.as_str() {
            "ImageNotFoundException" => not_found(),
            _ => failure.into(),
        })?;
    answer
        .image_details()
        .first()
        .and_then(|details| details.image_digest())
        .map(str::to_owned)
        .ok_or_else(not_found)
}
