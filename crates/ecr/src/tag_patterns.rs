//! Glob patterns for image tags.

use wildmatch::WildMatch;

/// Whether the patterns, separated by spaces, take this tag: one of them matches the whole tag, and none
/// of those that begin with `!` does. Where all begin with `!`, they take every other tag. `*` stands for
/// any characters, `?` for one.
///
/// ECR's tags have no `!`.
#[must_use]
pub fn patterns_take(patterns: &str, tag: &str) -> bool {
    let matches = |pattern: &str| WildMatch::new(pattern).matches(tag);
    let patterns = patterns.split_whitespace();
    let (excluded, wanted): (Vec<_>, Vec<_>) =
        patterns.partition(|pattern| pattern.starts_with('!'));
    let is_wanted = match wanted.is_empty() {
        true => !excluded.is_empty(),
        false => wanted.into_iter().any(matches),
    };
    is_wanted && !excluded.iter().any(|pattern| matches(&pattern[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_tag() {
        for (patterns, tag, expected) in [
            ("v*", "v42", true),
            ("v*", "v", true),
            ("v*", "main-v42", false),
            ("main-*", "main-3f2a", true),
            ("main", "main-1", false),
            ("*", "anything", true),
            ("v?.?", "v1.2", true),
            ("v?.?", "v1.23", false),
            ("*-rc*-x", "v1-rc1-rc2-x", true),
            ("a*b*c", "abcbc", true),
            ("a*b*c", "abcb", false),
            ("V*", "v1", false),
        ] {
            assert_eq!(patterns_take(patterns, tag), expected, "{patterns} {tag}");
        }
    }

    #[test]
    fn one_of_several_patterns_is_enough_and_none_matches_nothing() {
        assert!(patterns_take("release-* v*", "v1"));
        assert!(!patterns_take("release-* v*", "main-1"));
        assert!(!patterns_take("  ", "v1"));
    }

    /// The index of an image that AWS's SOCI index builder pushes beside it
    /// (<https://github.com/awslabs/cfn-ecr-aws-soci-index-builder/issues/137>).
    #[test]
    fn what_is_excluded_is_not_taken() {
        for (patterns, tag, expected) in [
            ("v* !*-soci", "v42", true),
            ("v* !*-soci", "v42-soci", false),
            ("!*-soci v*", "v42-soci", false),
            ("v* !*-soci", "main-1", false),
            ("!*-soci", "main-1", true),
            ("!*-soci !main-*", "main-1", false),
            ("!*", "v1", false),
        ] {
            assert_eq!(patterns_take(patterns, tag), expected, "{patterns} {tag}");
        }
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let tag = "a".repeat(128);
        assert!(!patterns_take(&format!("{}b", "*a".repeat(60)), &tag));
    }
}
