//! Glob patterns for image tags.

use wildmatch::WildMatch;

/// Whether any of the patterns, separated by spaces, matches the whole tag. `*` stands for any
/// characters, `?` for one.
#[must_use]
pub fn any_matches(patterns: &str, tag: &str) -> bool {
    patterns
        .split_whitespace()
        .any(|pattern| WildMatch::new(pattern).matches(tag))
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
            assert_eq!(any_matches(patterns, tag), expected, "{patterns} {tag}");
        }
    }

    #[test]
    fn one_of_several_patterns_is_enough_and_none_matches_nothing() {
        assert!(any_matches("release-* v*", "v1"));
        assert!(!any_matches("release-* v*", "main-1"));
        assert!(!any_matches("  ", "v1"));
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let tag = "a".repeat(128);
        assert!(!any_matches(&format!("{}b", "*a".repeat(60)), &tag));
    }
}
