//! Values of `secrets`, from Secrets Manager and from SSM's Parameter Store.

use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use serde_json::Value;

use crate::ecs::model::task_definitions::Secret;

/// Reads the value of one secret.
///
/// The error is the text that ECS puts behind `ResourceInitializationError: ` when it cannot
/// read one.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/resource-initialization-error.html>
pub(super) async fn resolve(
    secrets_manager: &aws_sdk_secretsmanager::Client,
    ssm: &aws_sdk_ssm::Client,
    secret: &Secret,
) -> Result<String, String> {
    match SecretReference::parse(&secret.value_from) {
        Some(reference) => from_secrets_manager(secrets_manager, &reference)
            .await
            .map_err(|problem| {
                format!(
                    "unable to pull secrets or registry auth: execution resource retrieval failed: \
                     unable to retrieve secret from asm: service call has been retried 1 time(s): \
                     {problem}"
                )
            }),
        None => from_ssm(ssm, parameter_name(&secret.value_from))
            .await
            .map_err(|problem| {
                format!(
                    "unable to pull secrets or registry auth: execution resource retrieval failed: \
                     unable to retrieve secrets from ssm: service call has been retried 1 time(s): \
                     {problem}"
                )
            }),
    }
}

/// `arn:aws:secretsmanager:region:account:secret:name:json-key:version-stage:version-id`, of
/// which the last three may be absent or empty.
#[derive(Debug, PartialEq, Eq)]
struct SecretReference {
    id: String,
    json_key: Option<String>,
    version_stage: Option<String>,
    version_id: Option<String>,
}

impl SecretReference {
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        if parts.len() < 7 || parts[0] != "arn" || parts[2] != "secretsmanager" {
            return None;
        }
        let part = |position: usize| {
            parts
                .get(position)
                .filter(|part| !part.is_empty())
                .map(|part| (*part).to_owned())
        };
        Some(Self {
            id: parts[..7].join(":"),
            json_key: part(7),
            version_stage: part(8),
            version_id: part(9),
        })
    }
}

async fn from_secrets_manager(
    client: &aws_sdk_secretsmanager::Client,
    reference: &SecretReference,
) -> Result<String, String> {
    let answer = client
        .get_secret_value()
        .secret_id(&reference.id)
        .set_version_stage(reference.version_stage.clone())
        .set_version_id(reference.version_id.clone())
        .send()
        .await
        .map_err(|error| {
            let error = error.into_service_error();
            format!(
                "failed to fetch secret {} from secrets manager: {}: {}",
                reference.id,
                error.code().unwrap_or("RequestError"),
                error.message().unwrap_or("send request failed")
            )
        })?;
    let text = answer.secret_string().unwrap_or_default();
    let Some(key) = &reference.json_key else {
        return Ok(text.to_owned());
    };
    let document: Value = serde_json::from_str(text).map_err(|error| {
        format!(
            "failed to parse the value of secret {} as JSON: {error}",
            reference.id
        )
    })?;
    match document.get(key) {
        Some(Value::String(value)) => Ok(value.clone()),
        Some(value) => Ok(value.to_string()),
        None => Err(format!(
            "retrieved secret from Secrets Manager did not contain json key {key}"
        )),
    }
}

/// A parameter's name from its name or ARN. A name with several parts starts with a slash, which
/// the ARN leaves out.
fn parameter_name(text: &str) -> String {
    match text.split_once(":parameter/") {
        Some((_, path)) if path.contains('/') => format!("/{path}"),
        Some((_, name)) => name.to_owned(),
        None => text.to_owned(),
    }
}

async fn from_ssm(client: &aws_sdk_ssm::Client, name: String) -> Result<String, String> {
    let answer = client
        .get_parameters()
        .names(&name)
        .with_decryption(true)
        .send()
        .await
        .map_err(|error| {
            let error = error.into_service_error();
            format!(
                "{}: {}",
                error.code().unwrap_or("RequestError"),
                error.message().unwrap_or("send request failed")
            )
        })?;
    let parameter = answer.parameters().first();
    match parameter.and_then(|parameter| parameter.value()) {
        Some(value) => Ok(value.to_owned()),
        None => Err(format!("invalid parameters: {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_may_name_a_key_a_stage_and_a_version() {
        let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf";
        let plain = SecretReference::parse(arn).unwrap();
        assert_eq!((plain.id.as_str(), plain.json_key), (arn, None));
        let full = SecretReference::parse(&format!("{arn}:url::v1")).unwrap();
        assert_eq!(full.id, arn);
        assert_eq!(full.json_key.as_deref(), Some("url"));
        assert_eq!(full.version_stage, None);
        assert_eq!(full.version_id.as_deref(), Some("v1"));
        assert_eq!(SecretReference::parse("/app/url"), None);
    }

    #[test]
    fn a_parameter_is_named_by_name_or_arn() {
        let arn = |rest: &str| format!("arn:aws:ssm:us-east-1:123456789012:parameter/{rest}");
        assert_eq!(parameter_name("/app/url"), "/app/url");
        assert_eq!(parameter_name(&arn("app/url")), "/app/url");
        assert_eq!(parameter_name(&arn("url")), "url");
    }
}
