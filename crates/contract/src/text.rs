//! Texts of others: they may be long, and need not be sentences.

/// At most `length` characters of a text; where it is cut, the last of them says so.
#[must_use]
pub fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        None => text.to_owned(),
        Some(_) => {
            let kept = text.chars().take(length.saturating_sub(1));
            kept.chain(['…']).collect()
        }
    }
}

/// The text, trimmed, with a full stop where it has no end of its own.
#[must_use]
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    match text.ends_with(['.', '!', '?']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

#[cfg(test)]
mod tests {
    use super::{cut, sentence};

    #[test]
    fn a_sentence_ends_once() {
        for (text, expected) in [
            (" it failed\n", "it failed."),
            ("Why?", "Why?"),
            ("No.", "No."),
        ] {
            assert_eq!(sentence(text), expected);
        }
    }

    #[test]
    fn a_text_that_fits_is_kept_and_a_longer_one_is_cut_by_characters() {
        assert_eq!(cut("", 2), "");
        assert_eq!(cut("éé", 2), "éé");
        assert_eq!(cut("ééé", 2), "é…");
    }
}
