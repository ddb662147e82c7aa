//! The image of the services: this executable.

use anyhow::Result;
use local_aws::client::{ACCOUNT, LocalAws, REGION};
use sample::image::{self, Image};

const REPOSITORY: &str = "fleet";

/// Pushes an image that runs this executable as a server, and answers its reference by digest.
pub(super) async fn push(aws: &LocalAws) -> Result<String> {
    let program = std::fs::read(std::env::current_exe()?)?;
    let image = Image::of_program(&program, &["serve"])?;
    let config = aws.sdk_config();
    let ecr = aws_sdk_ecr::Client::new(&config);
    let create = ecr.create_repository().repository_name(REPOSITORY);
    create.send().await?;
    let digest = image::push(aws, &config, REPOSITORY, None, &image).await?;
    Ok(format!(
        "{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{REPOSITORY}@{digest}"
    ))
}
