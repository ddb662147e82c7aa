//! The input of an execution, given by a person in the console or by `on-ecr-push`.

use crate::InvalidInput;
use serde::{Deserialize, Serialize};

/// What to release and where, e.g. `{"stack": "demo", "tag": "v42"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecutionInput {
    /// Name of the CloudFormation stack that holds the services.
    pub stack: String,
    /// Image tag. It is resolved to a digest once, when the release is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Image digest, `sha256:` and 64 hexadecimal digits. Wins over `tag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Name of the ECR repository; needed only where a stack runs images of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// `false` deploys without the stack's migration. Default: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrate: Option<bool>,
}

impl ExecutionInput {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`InvalidInput`] that names the field and the form AWS asks of it.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        let refuse = |problem: String| Err(InvalidInput(problem));
        if !is_stack_name(&self.stack) {
            return refuse(format!(
                "`stack`: `{}` is not the name of a stack (a letter, then letters, digits and hyphens, at most 128)",
                self.stack
            ));
        }
        if self.tag.is_none() && self.digest.is_none() {
            return refuse("one of `tag` and `digest` must be given".to_owned());
        }
        if let Some(tag) = self.tag.as_deref().filter(|tag| !is_image_tag(tag)) {
            return refuse(format!(
                "`tag`: `{tag}` is not an image tag (letters, digits, `_`, `.` and `-`, at most 128)"
            ));
        }
        if let Some(digest) = self.digest.as_deref().filter(|digest| !is_digest(digest)) {
            return refuse(format!(
                "`digest`: `{digest}` is not a digest (`sha256:` and 64 lower case hexadecimal digits)"
            ));
        }
        if self.repository.as_deref().is_some_and(str::is_empty) {
            return refuse("`repository`: must not be empty".to_owned());
        }
        Ok(())
    }
}

/// CloudFormation's rule for a stack's name.
fn is_stack_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// The OCI distribution specification's rule for a tag, which ECR follows.
fn is_image_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use serde_json::{Value, json};

    fn check(input: Value) -> Result<(), String> {
        parse::<ExecutionInput>(input)
            .unwrap()
            .validate()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_stack_with_a_tag_or_a_digest_is_accepted() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(check(json!({"stack": "demo", "tag": "v42"})), Ok(()));
        assert_eq!(check(json!({"stack": "demo", "digest": digest})), Ok(()));
        assert_eq!(
            check(
                json!({"stack": "d-1", "tag": "main-1.2_3", "migrate": false, "repository": "a/b"})
            ),
            Ok(())
        );
    }

    #[test]
    fn every_refusal_names_its_field() {
        let cases = [
            (json!({"stack": "", "tag": "v1"}), "`stack`"),
            (json!({"stack": "1demo", "tag": "v1"}), "`stack`"),
            (
                json!({"stack": "arn:aws:cloudformation:x", "tag": "v1"}),
                "`stack`",
            ),
            (json!({"stack": "demo"}), "`tag` and `digest`"),
            (json!({"stack": "demo", "tag": ""}), "`tag`"),
            (json!({"stack": "demo", "tag": "a b"}), "`tag`"),
            (json!({"stack": "demo", "digest": "sha256:12"}), "`digest`"),
            (json!({"stack": "demo", "digest": "v1"}), "`digest`"),
            (
                json!({"stack": "demo", "tag": "v1", "repository": ""}),
                "`repository`",
            ),
        ];
        for (input, field) in cases {
            let message = check(input.clone()).unwrap_err();
            assert!(message.contains(field), "{input}: {message}");
        }
    }
}
