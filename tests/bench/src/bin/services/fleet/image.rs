//! The image of the services: this executable.

use anyhow::{Context, Result};
use local_aws::client::{ACCOUNT, LocalAws, REGION};
use serde_json::json;

const REPOSITORY: &str = "fleet";
const PROGRAM: &str = "server";

/// Pushes an image that runs this executable as a server, and answers its reference by digest.
pub(super) async fn push(aws: &LocalAws) -> Result<String> {
    let layer = layer()?;
    let layer_size = layer.len();
    let layer = aws.upload_blob(layer).await?;
    let config = json!({"config": {"Entrypoint": [format!("/{PROGRAM}"), "serve"]}}).to_string();
    let config_size = config.len();
    let config = aws.upload_blob(config).await?;
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": config_size,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer,
            "size": layer_size,
        }],
    });
    let ecr = aws_sdk_ecr::Client::new(&aws.sdk_config());
    let create = ecr.create_repository().repository_name(REPOSITORY);
    create.send().await?;
    let put = ecr.put_image().repository_name(REPOSITORY);
    let put = put.image_manifest_media_type(media_type);
    let answer = put.image_manifest(manifest.to_string()).send().await?;
    let id = answer.image().and_then(|image| image.image_id());
    let digest = id.and_then(|id| id.image_digest());
    let digest = digest.context("ECR tells no digest of the image")?;
    Ok(format!(
        "{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{REPOSITORY}@{digest}"
    ))
}

fn layer() -> Result<Vec<u8>> {
    let program = std::fs::read(std::env::current_exe()?)?;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, PROGRAM, program.as_slice())?;
    Ok(tar.into_inner()?)
}
