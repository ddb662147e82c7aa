//! What an ECR repository says of the stacks that run its images.

use aws_sdk_ecr::Client;
use bluegreen_contract::{STACKS_TAG, stacks_named_by};
use bluegreen_runtime::{AwsRequestFailed, failed};

/// Names of the stacks in the repository's tag, each once; none where it has no such tag.
///
/// # Errors
/// [`AwsRequestFailed`]; its code is `RepositoryNotFoundException` where there is no such
/// repository.
pub async fn stacks(client: &Client, arn: &str) -> Result<Vec<String>, AwsRequestFailed> {
    let answer = client
        .list_tags_for_resource()
        .resource_arn(arn)
        .send()
        .await
        .map_err(failed("ecr:ListTagsForResource", arn))?;
    Ok(answer
        .tags()
        .iter()
        .filter(|tag| tag.key() == STACKS_TAG)
        .flat_map(|tag| stacks_named_by(tag.value()))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecr::operation::list_tags_for_resource::ListTagsForResourceOutput;
    use aws_sdk_ecr::types::Tag;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    const ARN: &str = "arn:aws:ecr:us-east-1:123456789012:repository/demo";

    async fn named_by(tags: &'static [(&str, &str)]) -> Vec<String> {
        let rule = mock!(Client::list_tags_for_resource)
            .match_requests(|request| request.resource_arn() == Some(ARN))
            .then_output(|| {
                let tags = tags
                    .iter()
                    .map(|(key, value)| Tag::builder().key(*key).value(*value).build().unwrap());
                ListTagsForResourceOutput::builder()
                    .set_tags(Some(tags.collect()))
                    .build()
            });
        let client = mock_client!(aws_sdk_ecr, RuleMode::MatchAny, &[&rule]);
        stacks(&client, ARN).await.unwrap()
    }

    #[tokio::test]
    async fn only_the_tag_for_stacks_names_stacks() {
        let tags = &[("team", "web"), ("bluegreen:stacks", "demo staging demo")];
        assert_eq!(named_by(tags).await, ["demo", "staging"]);
        assert!(named_by(&[("team", "web")]).await.is_empty());
    }
}
