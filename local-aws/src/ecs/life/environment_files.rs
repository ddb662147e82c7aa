//! Files of environment variables in S3.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/use-environment-file.html>

use super::settings::Settings;

/// Environment variables; later ones replace earlier ones of the same name.
pub(super) type Environment = Vec<(String, String)>;

/// Reads the file at an ARN.
///
/// The error is the text that ECS puts behind `ResourceInitializationError: `.
pub(super) async fn read(settings: &Settings, arn: &str) -> Result<Environment, String> {
    let content = fetch(settings, arn).await.map_err(|problem| {
        format!(
            "failed to download env files: file download command: non empty error stream: service \
             call has been retried 1 time(s): {arn}: {problem}"
        )
    })?;
    Ok(variables(&content))
}

async fn fetch(settings: &Settings, arn: &str) -> Result<String, String> {
    let (bucket, key) = object(arn).ok_or("it is no ARN of an object in S3")?;
    let mut url = reqwest::Url::parse(&settings.endpoint_url).map_err(|e| e.to_string())?;
    url.path_segments_mut()
        .map_err(|()| "the endpoint takes no path".to_owned())?
        .push(bucket)
        .extend(key.split('/'));
    // The gateway knows a service by the signature's scope, and checks no signature.
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=ecs/20260101/{}/s3/aws4_request, SignedHeaders=host, \
         Signature=0",
        settings.region
    );
    let client = reqwest::Client::builder().no_proxy().build();
    let request = client.map_err(|e| e.to_string())?.get(url);
    let answer = request.header("authorization", scope).send().await;
    let answer = answer.map_err(|e| e.to_string())?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("status code: {}", status.as_u16()));
    }
    answer.text().await.map_err(|e| e.to_string())
}

/// Bucket and key of `arn:aws:s3:::bucket/key`.
fn object(arn: &str) -> Option<(&str, &str)> {
    let path = arn.strip_prefix("arn:aws:s3:::")?;
    path.split_once('/').filter(|(_, key)| !key.is_empty())
}

/// The lines `NAME=value`; there are comments and empty lines, but no quotes and no escapes.
fn variables(content: &str) -> Environment {
    content
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_an_object_by_its_arn() {
        assert_eq!(
            object("arn:aws:s3:::files/app/web.env"),
            Some(("files", "app/web.env"))
        );
        for arn in ["arn:aws:s3:::files", "arn:aws:s3:::files/", "files/web.env"] {
            assert_eq!(object(arn), None, "{arn}");
        }
    }

    #[test]
    fn each_line_is_a_variable_taken_as_it_stands() {
        let content = "# comment\n\nCOLOUR=\"dark blue\"\nURL=http://a/?b=c\nEMPTY=\nnothing\n";
        let expected = [
            ("COLOUR", "\"dark blue\""),
            ("URL", "http://a/?b=c"),
            ("EMPTY", ""),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(variables(content), expected);
    }
}
