//! Whether a stack takes a tag.

use crate::glob;
use aws_sdk_cloudformation::Client;
use bluegreen_sdk_config::{AwsRequestFailed, failed};

/// The stack's output with the patterns of the tags that it takes; without it, it takes all.
const IMAGE_TAGS: &str = "ImageTags";

/// A sentence where the stack does not take the tag.
pub(crate) async fn reason_to_skip(
    client: &Client,
    stack: &str,
    tag: &str,
) -> Result<Option<String>, AwsRequestFailed> {
    let absent = |detail: &str| {
        let detail = detail.trim_end_matches('.');
        Some(format!("There is no stack {stack}: {detail}."))
    };
    let answer = client
        .describe_stacks()
        .stack_name(stack)
        .send()
        .await
        .map_err(failed("cloudformation:DescribeStacks", stack));
    let answer = match answer {
        Ok(answer) => answer,
        // CloudFormation has no error code of its own for a stack that does not exist. The name is
        // all that the request holds, so it is also what any other complaint is about.
        Err(failure) if failure.code == "ValidationError" => return Ok(absent(&failure.message)),
        Err(failure) => return Err(failure),
    };
    let Some(stack) = answer.stacks().first() else {
        return Ok(absent("CloudFormation knows none"));
    };
    let patterns = stack
        .outputs()
        .iter()
        .find(|output| output.output_key() == Some(IMAGE_TAGS))
        .and_then(|output| output.output_value())
        .filter(|patterns| !patterns.trim().is_empty());
    Ok(patterns
        .filter(|patterns| !glob::any_matches(patterns, tag))
        .map(|patterns| format!("The tag {tag} is none that the stack takes (its output {IMAGE_TAGS} is `{patterns}`).")))
}
