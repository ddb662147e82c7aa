//! Texts of others: they may be long, need not be sentences, and may say something to a terminal.

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

/// A text for a terminal that somebody else has written, an application in its log or whoever started a
/// release: without what a terminal would obey, escape sequences above all, and without what turns the order
/// of its letters (<https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>). Ends of lines
/// and tabulators stay.
#[must_use]
pub fn printable(text: &str) -> String {
    let character = |character: char| match character {
        '\n' | '\t' => character,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        _ if character.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    };
    text.chars().map(character).collect()
}

#[cfg(test)]
mod tests {
    use super::{cut, printable, sentence};

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
    fn what_a_terminal_would_obey_is_not_printed() {
        assert_eq!(printable("größer\n\tals 1 – 😀"), "größer\n\tals 1 – 😀");
        for text in [
            "\u{1b}]0;title\u{7}",
            "\u{1b}[2J",
            "\u{9b}2J",
            "\r",
            "\u{8}",
            "\u{7f}",
            "\u{0}",
            "\u{202e}evil",
            "\u{2066}evil",
        ] {
            let printed = printable(text);
            assert!(!printed.chars().any(char::is_control), "{printed:?}");
            assert!(printed.starts_with('\u{fffd}'), "{printed:?}");
            assert_eq!(printed.chars().count(), text.chars().count());
        }
    }

    #[test]
    fn a_text_that_fits_is_kept_and_a_longer_one_is_cut_by_characters() {
        assert_eq!(cut("", 2), "");
        assert_eq!(cut("éé", 2), "éé");
        assert_eq!(cut("ééé", 2), "é…");
    }
}
