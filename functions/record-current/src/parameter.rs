//! The parameter from which the stack's template takes its image.

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::ParameterType;
use bluegreen_contract::{ServingImage, UnwrittenImage};
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::time::Duration;

const TRIES: u32 = 3;
/// Before the second try; before the third it is twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes the image that serves, by its digest: an update of the stack would bring an earlier one
/// back into service. The release stays as it is where that fails.
pub(crate) async fn write(
    client: &Client,
    parameter: &str,
    serving: ServingImage,
) -> Result<(), UnwrittenImage> {
    let mut pauses = (1..TRIES).map(|tries| PAUSE * tries);
    loop {
        let Err(failure) = put(client, parameter, &serving.image).await else {
            tracing::info!(parameter, serving.image, "the image parameter is written");
            return Ok(());
        };
        let is_final = failure.refused && !is_busy(&failure);
        match pauses.next().filter(|_| !is_final) {
            Some(pause) => {
                tracing::warn!(%failure, "the image parameter is written once more");
                tokio::time::sleep(pause).await;
            }
            None => {
                return Err(UnwrittenImage {
                    parameter: parameter.to_owned(),
                    serving,
                    reason: failure.to_string(),
                });
            }
        }
    }
}

async fn put(client: &Client, parameter: &str, image: &str) -> Result<(), AwsRequestFailed> {
    client
        .put_parameter()
        .name(parameter)
        .value(image)
        .r#type(ParameterType::String)
        .overwrite(true)
        .send()
        .await
        .map(drop)
        .map_err(failed("ssm:PutParameter", parameter))
}

/// Somebody else writes the parameter at this moment.
fn is_busy(failure: &AwsRequestFailed) -> bool {
    failure.code == "TooManyUpdates"
}
