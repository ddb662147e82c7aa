//! Lengths of time as a person gives them.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Reads `90s`, `45m`, `2h`, `30d`.
///
/// # Errors
/// It is none, or a negative one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = |_| format!("{text:?} is no length of time such as 90s, 45m, 2h or 30d");
    let span: Span = text.parse().map_err(wrong)?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let length = length.map_err(wrong)?;
    Duration::try_from(length).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_by_their_units() {
        for (text, seconds) in [("90s", 90), ("45m", 2700), ("2h", 7200), ("30d", 2_592_000)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "5", "-5m", "1 month"] {
            let error = duration(text).unwrap_err();
            assert!(error.contains("such as 90s"), "{error}");
        }
    }
}
