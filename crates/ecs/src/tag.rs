//! Tags of what the pipeline makes.

use aws_sdk_ecs::types::Tag;

/// The most characters of a value that ECS takes
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Tag.html>).
const LENGTH: usize = 256;

/// A tag with this value, as far as ECS takes it. The name of an execution may have characters that a
/// tag may not: each is a `_` here.
#[must_use]
pub fn tag(key: &str, value: &str) -> Tag {
    let value: String = value.chars().take(LENGTH).map(allowed).collect();
    Tag::builder().key(key).value(value).build()
}

fn allowed(character: char) -> char {
    match character.is_alphanumeric() || " _.:/=+-@".contains(character) {
        true => character,
        false => '_',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A person names executions: `aws stepfunctions start-execution --name 'hotfix(v42)!'`
    /// (<https://github.com/PrefectHQ/prefect/issues/13174>).
    #[test]
    fn what_a_tag_may_not_have_is_replaced() {
        let long = "a".repeat(300);
        for (value, expected) in [
            (
                "arn:aws:states:…:execution:deploy:hotfix(v42)!",
                "arn:aws:states:_:execution:deploy:hotfix_v42__",
            ),
            (
                "arn:aws:states:us-east-1:123456789012:execution:deploy:shop-v2-3",
                "arn:aws:states:us-east-1:123456789012:execution:deploy:shop-v2-3",
            ),
            ("Grüße +=.@ -_/", "Grüße +=.@ -_/"),
            (long.as_str(), &long[..256]),
        ] {
            assert_eq!(tag("bluegreen:execution", value).value(), Some(expected));
        }
    }
}
