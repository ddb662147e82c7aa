use aws_smithy_types::date_time::{DateTime, Format};

/// A time in milliseconds since 1970 as RFC 3339 in UTC, always with three digits of a second, so
/// that such texts are in the order of their times.
#[must_use]
pub fn rfc3339(millis: i64) -> String {
    let seconds = DateTime::from_secs(millis.div_euclid(1000));
    let text = seconds.fmt(Format::DateTime).unwrap_or_default();
    let fraction = millis.rem_euclid(1000);
    format!("{}.{fraction:03}Z", text.trim_end_matches('Z'))
}

/// Milliseconds since 1970 of an RFC 3339 time in UTC.
pub(crate) fn millis_of(text: &str) -> Option<i64> {
    let time = DateTime::from_str(text, Format::DateTime).ok()?;
    time.to_millis().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_digits_of_a_second() {
        assert_eq!(rfc3339(1_767_225_600_000), "2026-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_767_225_600_120), "2026-01-01T00:00:00.120Z");
        assert_eq!(
            millis_of("2026-01-01T00:00:00.120Z"),
            Some(1_767_225_600_120)
        );
        assert_eq!(millis_of("2026-01-01T00:00:00Z"), Some(1_767_225_600_000));
        assert_eq!(millis_of("yesterday"), None);
    }
}
