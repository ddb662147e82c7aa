//! From the tag or digest that was asked for to the image that is released.

use crate::failure::Failure;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::ImageIdentifier;
use bluegreen_contract::ExecutionInput;
use bluegreen_ecr::StoredImage;

/// The image, which the repository has. A digest wins over a tag: the tag may have moved on since.
pub(crate) async fn find<'a>(
    client: &Client,
    repository: &'a str,
    input: &ExecutionInput,
) -> Result<StoredImage<'a>, Failure> {
    let id = ImageIdentifier::builder();
    let id = match &input.digest {
        Some(digest) => id.image_digest(digest),
        None => id.set_image_tag(input.tag.clone()),
    };
    Ok(StoredImage::find(client, repository, id.build()).await?)
}
