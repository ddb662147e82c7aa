//! The functions' log: one JSON object a line, which Lambda can filter by level
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>).

use tracing::Level;

/// Sends `tracing` to standard output at the level that `AWS_LAMBDA_LOG_LEVEL` asks for.
///
/// A subscriber of our own: the one that `lambda_runtime` brings filters by directives, and the
/// regular expressions for those are a quarter of a megabyte in every zip.
pub fn init_logging() {
    let asked = std::env::var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_default();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_target(false)
        .with_ansi(false)
        .with_max_level(level(&asked))
        .init();
}

/// Lambda's names for levels; everything else is INFO.
fn level(name: &str) -> Level {
    match name.to_ascii_uppercase().as_str() {
        "TRACE" => Level::TRACE,
        "DEBUG" => Level::DEBUG,
        "WARN" => Level::WARN,
        "ERROR" | "FATAL" => Level::ERROR,
        _ => Level::INFO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_lambdas_and_info_by_default() {
        assert_eq!(level("DEBUG"), Level::DEBUG);
        assert_eq!(level("FATAL"), Level::ERROR);
        assert_eq!(level("warn"), Level::WARN);
        assert_eq!(level(""), Level::INFO);
        assert_eq!(level("LOUD"), Level::INFO);
    }
}
